"""What can be said of a model by looking at its weights (section 2 of the paper)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:  # slow to import
    from transformers import PreTrainedModel


def value_vectors(network: PreTrainedModel) -> Float[Tensor, "layer neuron d_model"]:
    """The value vector of every neuron: the rows of each MLP's down projection (section 2)."""
    return torch.stack([b.mlp.c_proj.weight.detach().float().cpu() for b in network.transformer.h])


def key_biases(network: PreTrainedModel) -> Float[Tensor, "layer neuron"]:
    """The bias of every neuron's pre-activation."""
    return torch.stack([b.mlp.c_fc.bias.detach().float().cpu() for b in network.transformer.h])


def cosines(
    vectors: Float[Tensor, "*neuron d_model"], direction: Float[Tensor, "d_model"]
) -> Float[Tensor, "*neuron"]:
    """Cosine similarity of vectors with a direction."""
    return torch.nn.functional.cosine_similarity(vectors, direction.expand_as(vectors), dim=-1)


def weight_change(before: PreTrainedModel, after: PreTrainedModel) -> dict[str, tuple[float, float]]:
    """Per kind of parameter: the norm of the change over the norm before, and the smallest cosine.

    The paper finds that DPO moves the weights very little (section 3).
    """
    changed = dict(after.named_parameters())
    kinds: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for name, old in before.named_parameters():
        kind = name.split(".", 3)[-1] if ".h." in name else name.removeprefix("transformer.")
        pair = old.detach().float().cpu(), changed[name].detach().float().cpu()
        kinds.setdefault(kind, []).append(pair)
    result = {}
    for kind, pairs in kinds.items():
        old = torch.cat([o.flatten() for o, _ in pairs])
        new = torch.cat([n.flatten() for _, n in pairs])
        result[kind] = (
            float((new - old).norm() / old.norm()),
            float(torch.nn.functional.cosine_similarity(old, new, dim=0)),
        )
    return result
