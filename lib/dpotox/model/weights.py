"""What can be said of a model by looking at its weights (section 2 of the paper)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
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


def key_vectors(network: PreTrainedModel) -> Float[Tensor, "layer neuron d_model"]:
    """The key vector of every neuron: the columns of each MLP's up projection."""
    return torch.stack([b.mlp.c_fc.weight.detach().float().cpu().T for b in network.transformer.h])


def cosines(
    vectors: Float[Tensor, "*neuron d_model"], direction: Float[Tensor, "d_model"]
) -> Float[Tensor, "*neuron"]:
    """Cosine similarity of vectors with a direction."""
    return torch.nn.functional.cosine_similarity(vectors, direction.expand_as(vectors), dim=-1)


def shape(network: PreTrainedModel) -> pd.DataFrame:
    """One row: `layers`, `d_model`, `d_mlp`, `vocabulary` and `parameters`."""
    config = network.config
    return pd.DataFrame(
        {
            "layers": [config.n_layer],
            "d_model": config.n_embd,
            "d_mlp": config.n_inner or 4 * config.n_embd,
            "vocabulary": config.vocab_size,
            "parameters": sum(p.numel() for p in network.parameters()),
        }
    )


def weight_change(before: PreTrainedModel, after: PreTrainedModel) -> pd.DataFrame:
    """Per kind of parameter: the norm of the `change` over the norm before, and the `cosine` of the two.

    The paper finds that DPO moves the weights very little (section 3).
    """
    changed = dict(after.named_parameters())
    kinds: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for name, old in before.named_parameters():
        kind = name.split(".", 3)[-1] if ".h." in name else name.removeprefix("transformer.")
        pair = old.detach().float().cpu(), changed[name].detach().float().cpu()
        kinds.setdefault(kind, []).append(pair)
    rows = []
    for kind, pairs in kinds.items():
        old, new = (torch.cat([one.flatten() for one in some]) for some in zip(*pairs, strict=True))
        cosine = torch.nn.functional.cosine_similarity(old, new, dim=0)
        change = (new - old).norm() / old.norm()
        rows.append({"parameters": kind, "change": float(change), "cosine": float(cosine)})
    return pd.DataFrame(rows)
