"""What can be said of a model by looking at its weights (section 2 of the paper)."""

from __future__ import annotations

import math
import re

import pandas as pd
import torch
from jaxtyping import Float
from nnsight import TransformersModel
from torch import Tensor
from torch.nn.functional import cosine_similarity

from dpotox.model.architecture import architecture_of, bias, gain, matrix, neurons_per_layer


def value_vectors(model: TransformersModel) -> Float[Tensor, "layer neuron d_model"]:
    """The value vector of every neuron: what its activation is multiplied with (section 2).

    With the gain of the norm behind the MLP, where there is one.
    """
    behind, found = architecture_of(model.config).behind, []
    for layer in model.layers:
        values = matrix(model, layer.down).float()
        found.append((values * gain(model, layer.mlp_post_norm) if behind else values).cpu())
    return torch.stack(found)


def head_vectors(model: TransformersModel) -> Float[Tensor, "layer head width d_model"]:
    """What is written of one unit of what each head gathers, as value vectors are of an activation's."""
    behind, found = architecture_of(model.config).behind, []
    for layer in model.layers:
        vectors = matrix(model, layer.attention_out).float()
        found.append((vectors * gain(model, layer.attention_post_norm) if behind else vectors).cpu())
    return torch.stack(found).unflatten(1, (model.config.num_attention_heads, -1))


def key_biases(model: TransformersModel) -> Float[Tensor, "layer neuron"]:
    """The bias of what enters every neuron's nonlinearity; zero where there is none."""
    n, entering = neurons_per_layer(model.config), architecture_of(model.config).entering
    return torch.stack([bias(model, getattr(b, entering))[:n].float().cpu() for b in model.layers])


def key_vectors(model: TransformersModel) -> Float[Tensor, "layer neuron d_model"]:
    """The key vector of every neuron: with what its nonlinearity reads; of a gated neuron, with its gate."""
    n, entering = neurons_per_layer(model.config), architecture_of(model.config).entering
    return torch.stack([matrix(model, getattr(b, entering)).T[:n].float().cpu() for b in model.layers])


def cosines(
    vectors: Float[Tensor, "*neuron d_model"], direction: Float[Tensor, "d_model"]
) -> Float[Tensor, "*neuron"]:
    """Cosine similarity of vectors with a direction."""
    return cosine_similarity(vectors, direction.expand_as(vectors), dim=-1)


def shape(model: TransformersModel) -> pd.DataFrame:
    """One row: `layers`, `d_model`, `d_mlp`, `vocabulary`, `parameters`, `gated` and `norm_behind`."""
    config = model.config
    return pd.DataFrame(
        {
            "layers": [config.num_hidden_layers],
            "d_model": config.hidden_size,
            "d_mlp": neurons_per_layer(config),
            "vocabulary": config.vocab_size,
            "parameters": sum(p.numel() for p in model.parameters()),
            "gated": architecture_of(config).gated,
            "norm_behind": architecture_of(config).behind,
        }
    )


def weight_change(before: TransformersModel, after: TransformersModel) -> pd.DataFrame:
    """Per kind of parameter: the norm of the `change` over the norm before, and the `cosine` of the two.

    Neither is a number where all were zero before, as biases may be.
    The paper finds that DPO moves the weights very little (section 3).
    """
    changed = dict(after.named_parameters())
    kinds: dict[str, list[tuple[Tensor, Tensor]]] = {}
    prefix = re.escape(before.base_model_prefix)
    for name, old in before.named_parameters():
        kind = re.sub(rf"^({prefix}\.)?(.+\.\d+\.)?", "", name)  # the same in every layer
        pair = old.detach().float().cpu(), changed[name].detach().float().cpu()
        kinds.setdefault(kind, []).append(pair)
    rows = []
    for kind, pairs in kinds.items():
        old, new = (torch.cat([one.flatten() for one in some]) for some in zip(*pairs, strict=True))
        change, cosine = (new - old).norm() / old.norm(), cosine_similarity(old, new, dim=0)
        told = {"change": float(change), "cosine": float(cosine)} if old.any() else {}
        rows.append({"parameters": kind, "change": math.nan, "cosine": math.nan} | told)
    return pd.DataFrame(rows)
