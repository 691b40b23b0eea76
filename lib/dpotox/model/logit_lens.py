"""Which tokens does a vector write? The logit lens without the final norm (section 2 of the paper)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dpotox.progress import bar

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOKENS = 6
"""How many nearest tokens are kept per neuron."""
AT_ONCE = 512
"""Neurons at a time: for GPT-2's vocabulary their logits take 100 MB."""


def nearest_tokens(
    network: PreTrainedModel, tokenizer, direction: Float[Tensor, "d_model"], k: int = 10
) -> list[str]:
    """The tokens whose output embeddings have the largest dot product with a direction.

    This is the logit lens without the final norm, as the paper reads value vectors (section 2).
    """
    unembedding = network.get_output_embeddings().weight.detach().float().cpu()
    unembedding = unembedding - unembedding.mean(0)
    top = (unembedding @ direction.float().cpu()).topk(k).indices
    return [tokenizer.decode([i]).strip() for i in top.tolist()]


def nearest_token_ids(
    network: PreTrainedModel, values: Float[Tensor, "layer neuron d_model"], k: int = TOKENS
) -> Int[Tensor, "layer neuron k"]:
    """The tokens whose output embeddings have the largest dot product with each value vector, nearest first.

    The same reading as `nearest_tokens`, in float32 on the model's device. A vocabulary of
    fewer than k tokens gives as many as it has.
    """
    with torch.no_grad():
        unembedding = network.get_output_embeddings().weight.detach().float()
        unembedding = (unembedding - unembedding.mean(0)).T
        k, flat, found = min(k, unembedding.shape[1]), values.flatten(0, 1), []
        for start in bar(range(0, len(flat), AT_ONCE), "nearest tokens", "batch"):
            logits = flat[start : start + AT_ONCE].to(unembedding) @ unembedding
            found.append(logits.topk(k).indices.int().cpu())
    return torch.cat(found).unflatten(0, values.shape[:2])
