"""Which tokens does a vector write? The logit lens without the final norm (section 2 of the paper)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dpotox.model.weights import cosines
from dpotox.progress import bar

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOKENS = 6
"""How many nearest tokens are kept per neuron."""
VECTORS, TOKENS_OF_VECTOR, TOKENS_OF_PROBE = 8, 8, 10
"""How many value vectors, and tokens of each and of the probe, are listed."""
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


def along_the_probe(
    network: PreTrainedModel,
    tokenizer,
    values: Float[Tensor, "layer neuron d_model"],
    direction: Float[Tensor, "d_model"],
) -> pd.DataFrame:
    """The probe and its opposite, and the value vectors most aligned with it, with their nearest tokens.

    Returns:
        `list` (`probe`; `closest` and `opposed` by cosine; `projection`, the longest along it), `vector`,
        `cosine` with the probe, and `tokens`, a line each, nearest first.
    """
    cosine = cosines(values, direction)
    lists = {"closest": cosine, "opposed": -cosine, "projection": values @ (direction / direction.norm())}
    some = [
        ("probe", "W, the probe", direction, TOKENS_OF_PROBE),
        ("probe", "-W", -direction, TOKENS_OF_PROBE),
    ]
    for name, score in lists.items():
        for i in score.flatten().topk(min(VECTORS, score.numel())).indices.tolist():
            layer, neuron = divmod(i, values.shape[1])
            some.append((name, f"{layer}:{neuron}", values[layer, neuron], TOKENS_OF_VECTOR))
    return pd.DataFrame(
        {
            "list": name,
            "vector": vector,
            "cosine": float(cosines(along, direction)),
            "tokens": "\n".join(nearest_tokens(network, tokenizer, along, k)),
        }
        for name, vector, along, k in some
    )
