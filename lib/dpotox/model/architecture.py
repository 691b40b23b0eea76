"""Where a family of models keeps what this study reads and edits: one record per family.

The study speaks of every model by the same names, which nnsight gives to its modules (`rename`): the model
has `layers`, `embedding`, `positions` where it learns them, `final_norm` and `head`; a layer has `attention`,
`mlp_norm`, `up` and `down`. What enters `down` are the neurons' activations, what leaves `up` is what enters
the nonlinearity, and `down` maps each neuron to its value vector. Another family is another record in
`families.toml`.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from nnsight import TransformersModel
from torch import Tensor

from dpotox.errors import UserError
from dpotox.model.interventions import Block

if TYPE_CHECKING:  # slow to import
    from transformers import PretrainedConfig, PreTrainedModel


@dataclass(frozen=True)
class Architecture:
    """One family.

    Attributes:
        names: the study's name of each module by the family's own, seen from the model or from a layer.
        d_mlp: the setting that says how many neurons a layer has; four times `d_model` where it is empty.
        weights_from: the axis of a weight matrix along which its inputs lie: 1 in `torch.nn.Linear`.
        parallel: whether an MLP reads what its layer does, before attention adds to it, or the setting that
            says so.
    """

    names: dict[str, str]
    d_mlp: str = "intermediate_size"
    weights_from: int = 1
    parallel: bool | str = False


FAMILIES: dict[str, Architecture] = {
    family: Architecture(**record)
    for family, record in tomllib.loads(
        files("dpotox.model").joinpath("families.toml").read_text(encoding="utf-8")
    ).items()
}
"""By `model_type`."""


def architecture_of(config: PretrainedConfig) -> Architecture:
    """The record of a model's family.

    Raises:
        UserError: there is none.
    """
    if config.model_type not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise UserError(
            f"{config.name_or_path!r} is a {config.model_type} model; this study knows {known}, "
            "and another family once dpotox/model/families.toml has a record of it"
        )
    return FAMILIES[config.model_type]


def neurons_per_layer(config: PretrainedConfig) -> int:
    """How many neurons each layer has."""
    return getattr(config, architecture_of(config).d_mlp) or 4 * config.hidden_size


def is_parallel(config: PretrainedConfig) -> bool:
    """Whether each MLP reads what its layer reads, without what attention adds there."""
    parallel = architecture_of(config).parallel
    return getattr(config, parallel) if isinstance(parallel, str) else parallel


def traced(network: PreTrainedModel, tokenizer) -> TransformersModel:
    """The same network with nnsight around it, its modules under the study's names beside their own.

    Raises:
        UserError: it is of a family without a record.
    """
    names = architecture_of(network.config).names
    return TransformersModel(network, task="text-generation", tokenizer=tokenizer, rename=names)


def matrix(model: TransformersModel, linear) -> Float[Tensor, "inputs outputs"]:
    """The weights of an `up` or a `down`, a row for each input."""
    weight = linear.weight.detach()
    return weight if architecture_of(model.config).weights_from == 0 else weight.T


def parameters(model: TransformersModel, block: Block) -> list[torch.nn.Parameter]:
    """The parameters of one kind of block in all layers; the norms are what no other kind has."""
    outer = [getattr(model, name, None) for name in ("embedding", "positions", "head")]
    found = {
        "MLP in": [layer.up for layer in model.layers],
        "MLP out": [layer.down for layer in model.layers],
        "attention": [layer.attention for layer in model.layers],
        "embeddings": [module for module in outer if module is not None],
    }
    of = {kind: [p for m in modules for p in m.parameters()] for kind, modules in found.items()}
    if block in of:
        return of[block]
    named = {id(parameter) for some in of.values() for parameter in some}
    return [parameter for parameter in model.parameters() if id(parameter) not in named]
