"""Where a family of models keeps what this study reads and edits: one record per family.

The study speaks of every model by the same names, which nnsight gives to its modules (`rename`): the model
has `layers`, `embedding`, `positions` where it learns them, `final_norm` and `head`; a layer has `attention`
and in it `attention_out`, which maps what the heads gather to the residual stream, `mlp_norm`, `up` and
`down`, and `gate` where its MLP is gated: `down(act(gate) * up)`. What leaves `gate`, or `up` where there is
none, enters the nonlinearity; where one matrix makes both it is `gate`, whose first half does. Where norms
stand behind attention and MLP they are `attention_post_norm` and `mlp_post_norm`. Another family is another
record in `families.toml`.

A neuron's activation times its value vector is what it adds to the residual stream; all neurons of a layer
and the bias add up to what its MLP adds. So activations are what enters `down`, and value vectors what `down`
maps the neurons to; where a norm stands behind, its gain is in the value vectors, and what it divides a token
by is in the activations.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float
from nnsight import TransformersModel
from torch import Tensor

from dpotox.errors import UserError
from dpotox.model.interventions import Block

if TYPE_CHECKING:  # slow to import
    from nnsight import Envoy
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
        centred: whether the norms take the mean away, as a LayerNorm does and an RMSNorm does not.
        gain_from: what is added to the weight of a norm to make its gain.
        needs: settings without which a model of the family keeps things elsewhere.
    """

    names: dict[str, str]
    d_mlp: str = "intermediate_size"
    weights_from: int = 1
    parallel: bool | str = False
    centred: bool = True
    gain_from: float = 0.0
    needs: dict[str, bool | str] = field(default_factory=dict)

    @property
    def gated(self) -> bool:
        """Whether `gate` decides how much of `up` is an activation, whose sign is then a convention."""
        return "gate" in self.names.values()

    @property
    def behind(self) -> bool:
        """Whether norms stand behind attention and MLP, before what they write is added."""
        return "mlp_post_norm" in self.names.values()

    @property
    def entering(self) -> str:
        """The module whose output enters the nonlinearity, or the first half of it."""
        return "gate" if self.gated else "up"


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
        UserError: there is none, or the model has other settings than its record needs.
    """
    if config.model_type not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise UserError(
            f"{config.name_or_path!r} is a {config.model_type} model; this study knows {known}, "
            "and another family once dpotox/model/families.toml has a record of it"
        )
    record = FAMILIES[config.model_type]
    for setting, needed in record.needs.items():
        wanted = getattr(config, needed) if isinstance(needed, str) else needed
        if (given := getattr(config, setting)) != wanted:
            raise UserError(
                f"{config.name_or_path!r} is a {config.model_type} model with {setting} = {given}; this "
                f"study knows those with {wanted} only"
            )
    return record


def neurons_per_layer(config: PretrainedConfig) -> int:
    """How many neurons each layer has."""
    return getattr(config, architecture_of(config).d_mlp) or 4 * config.hidden_size


def is_parallel(config: PretrainedConfig) -> bool:
    """Whether each MLP reads what its layer reads, without what attention adds there."""
    parallel = architecture_of(config).parallel
    return getattr(config, parallel) if isinstance(parallel, str) else parallel


def traced(
    network: PreTrainedModel,
    tokenizer,
    *,
    remote: bool | Literal["local"] = False,
    served: tuple[str, str] = ("", ""),
) -> TransformersModel:
    """The same network with nnsight around it, its modules under the study's names beside their own.

    Args:
        remote: whether its forward passes are NDIF's, or `local`, as nnsight tries that without it.
        served: the hub id of what NDIF then runs, and its revision.

    Raises:
        UserError: it is of a family without a record.
    """
    names = architecture_of(network.config).names
    model = TransformersModel(network, task="text-generation", tokenizer=tokenizer, rename=names)
    model.remote, model.signs = remote, None
    if remote:
        model.repo_id, model.revision = served[0], served[1] or None
    return model


@dataclass(frozen=True)
class Layer:
    """One layer of a running trace: what is read and edited there, `(batch, pos, width)`, under one name."""

    block: Envoy
    record: Architecture
    rows: int  # of the batch, which some families lay flat with the positions
    d_mlp: int
    n_heads: int
    signs: Float[Tensor, "neuron"] | None = None  # of neurons that are turned here and not where it runs

    @property
    def heads(self) -> Tensor:
        """What each head of attention gathers, `(batch, pos, head, width)`, before `attention_out`."""
        return self.block.attention_out.input.unflatten(-1, (self.n_heads, -1))

    @property
    def by_attention(self) -> Tensor:
        """What attention adds to the residual stream."""
        return self.block.attention_post_norm.output if self.record.behind else self.block.attention.output[0]

    @property
    def normed(self) -> Tensor:
        """What the MLP reads, behind its norm."""
        return self._shaped(getattr(self.block, self.record.entering).input)

    def scale_of(self, stream: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos"]:
        """By what the norm before the MLP divides a residual stream."""
        centred = self.record.centred
        square = stream.var(-1, correction=0) if centred else stream.square().mean(-1)
        return (square + _eps(self.block.mlp_norm)).sqrt()

    @property
    def gelu_input(self) -> Tensor:
        """What enters the nonlinearity."""
        return self._shaped(getattr(self.block, self.record.entering).output)[..., : self.d_mlp]

    @property
    def entering_down(self) -> Tensor:
        """The activations, but for what a norm behind the MLP divides by."""
        return self._shaped(self.block.down.input)

    @property
    def activation(self) -> Tensor:
        """The coefficients of the value vectors; `put` sets them."""
        acts = self.entering_down
        turned = acts if self.signs is None else acts * self.signs.to(acts)
        return turned / self._divisor(acts) if self.record.behind else turned

    def put(self, acts: Float[Tensor, "batch pos neuron"]) -> None:
        """Set the activations; what a norm behind the MLP divides by is taken from what they were."""
        if self.signs is not None:
            acts = acts * self.signs.to(acts)
        if self.record.behind:
            acts = acts * self._divisor(self.entering_down)
        if self.record.behind or self.signs is not None:  # else they are what was edited
            self.entering_down.copy_(acts)

    @property
    def heads_divided(self) -> Tensor:
        """The same, divided as a norm behind attention divides what the heads write, where there is one."""
        heads = self.heads
        if not self.record.behind:
            return heads
        square = self.block.attention.output[0].float().square().mean(-1, keepdim=True)
        return heads / (square + _eps(self.block.attention_post_norm)).sqrt()[..., None]

    def _divisor(self, acts: Float[Tensor, "batch pos neuron"]) -> Float[Tensor, "batch pos 1"]:
        written = torch.nn.functional.linear(acts, self.block.down.weight).float()
        return (written.square().mean(-1, keepdim=True) + _eps(self.block.mlp_post_norm)).sqrt().to(acts)

    @property
    def by_mlp(self) -> Tensor:
        """What the MLP adds to the residual stream."""
        last = self.block.mlp_post_norm if self.record.behind else self.block.down
        return self._shaped(last.output)

    @property
    def residual(self) -> Tensor:
        """The residual stream after the layer."""
        return self.block.output

    def _shaped(self, acts: Tensor) -> Tensor:
        return acts if acts.ndim == 3 else acts.unflatten(0, (self.rows, -1))


def _eps(norm) -> float:
    return norm.eps if hasattr(norm, "eps") else norm.variance_epsilon


def layers(model: TransformersModel, rows: int) -> list[Layer]:
    """All layers, for a trace of so many rows."""
    record, d_mlp = architecture_of(model.config), neurons_per_layer(model.config)
    heads = model.config.num_attention_heads
    signs = [None] * len(model.layers) if model.signs is None else model.signs
    blocks = zip(model.layers, signs, strict=True)
    return [Layer(block, record, rows, d_mlp, heads, turned) for block, turned in blocks]


def matrix(model: TransformersModel, linear) -> Float[Tensor, "inputs outputs"]:
    """The weights of a linear module, a row for each input."""
    weight = linear.weight.detach()
    return weight if architecture_of(model.config).weights_from == 0 else weight.T


def gain(model: TransformersModel, norm) -> Float[Tensor, "d_model"]:
    """What a norm multiplies by."""
    return norm.weight.detach() + architecture_of(model.config).gain_from


def bias(model: TransformersModel, linear) -> Float[Tensor, "outputs"]:
    """The bias of a linear module; zero where it has none."""
    outputs = matrix(model, linear)[0]
    return torch.zeros_like(outputs) if linear.bias is None else linear.bias.detach()


@torch.no_grad()
def turn(model: TransformersModel, signs: Float[Tensor, "layer neuron"]) -> None:
    """Turn the signs of gated neurons: a row of `up` and a column of `down` each.

    The model computes the same. Where one matrix makes gate and up, the row is one of its second half.
    One that runs at NDIF has its weights there, so that what is read and edited is turned (`Layer.signs`).
    """
    if model.remote is True:
        model.signs = signs
    record = architecture_of(model.config)
    for layer, sign in zip(model.layers, signs, strict=True):
        up = layer.up if "up" in record.names.values() else layer.gate
        for parameter in up.parameters():
            rows = parameter[-len(sign) :]
            rows *= sign.to(rows).reshape(-1, *[1] * (rows.ndim - 1))
        layer.down.weight *= sign.to(layer.down.weight)


def parameters(model: TransformersModel, block: Block) -> list[torch.nn.Parameter]:
    """The parameters of one kind of block in all layers; the norms are what no other kind has."""
    outer = [getattr(model, name, None) for name in ("embedding", "positions", "head")]
    names = architecture_of(model.config).names.values()
    entering = [name for name in ("gate", "up") if name in names]
    found = {
        "MLP in": [getattr(layer, name) for layer in model.layers for name in entering],
        "MLP out": [layer.down for layer in model.layers],
        "attention": [layer.attention for layer in model.layers],
        "embeddings": [module for module in outer if module is not None],
    }
    of = {kind: [p for m in modules for p in m.parameters()] for kind, modules in found.items()}
    if block in of:
        return of[block]
    named = {id(parameter) for some in of.values() for parameter in some}
    return [parameter for parameter in model.parameters() if id(parameter) not in named]
