"""What is done to which neurons: interventions as data (section 5 and table 1 of the paper).

An intervention names neurons, one value per neuron, a function of (activations, values), and the positions
where it acts. All of the paper's are one-liners below, and so is a new one: write the function, pick the
neurons. A `Swap` exchanges weights instead. Lists of them are applied in order, by `dpotox.model.tracing`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, get_args

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

Site = Literal["gelu_input", "activation", "residual"]
SITES = get_args(Site)  # in the order of the forward pass
Positions = Literal["all", "newest"]
Block = Literal["MLP in", "MLP out", "attention", "embeddings", "norms"]
BLOCKS: tuple[Block, ...] = get_args(Block)
"""Every parameter belongs to one of them (`dpotox.model.architecture.parameters`)."""
Change = Callable[[Float[Tensor, "*pos neuron"], Float[Tensor, "neuron"]], Tensor]


@dataclass(frozen=True)
class Intervention:
    """One kind of edit of some neurons.

    Attributes:
        name: what the tables call it.
        neurons: columns `layer`, `neuron` and `value` (what `change` needs to know of each neuron).
        change: maps activations `(*pos, neuron)` and values `(neuron,)` to new activations.
        site: `activation` is the coefficient of the value vector, which leaves the GELU; `gelu_input` is
            what enters it; `residual` is the residual stream after the layer, whose coordinates then take
            the place of neurons.
        positions: `all` of the text; or, as the published patching does it, only the `newest`, which
            predicts the token being generated. In a text whose loss is measured that is the first position,
            where the published code's counter stands.
        copies: the values are what another model has there on the same text, position by position.
    """

    name: str
    neurons: pd.DataFrame
    change: Change
    site: Site = "activation"
    positions: Positions = "all"
    copies: bool = False

    def __post_init__(self) -> None:
        if self.site not in SITES:
            raise ValueError(f"site is {self.site!r}; it must be one of {', '.join(SITES)}")
        if self.positions not in get_args(Positions):
            raise ValueError(f"positions is {self.positions!r}; it must be 'all' or 'newest'")
        if self.copies and self.site == "gelu_input":
            raise ValueError("what enters the GELU cannot be copied from another model")

    def by_layer(self) -> Iterator[tuple[int, Int[Tensor, "neuron"], Float[Tensor, "neuron"]]]:
        """Each touched layer with its neurons and their values."""
        for layer, here in self.neurons.groupby("layer"):
            neurons = torch.tensor(here["neuron"].to_numpy())
            yield int(layer), neurons, torch.tensor(here["value"].to_numpy(), dtype=torch.float32)

    def __str__(self) -> str:
        return f"{self.name} ({len(self.neurons)} neurons, {self.site}, {self.positions} positions)"


@dataclass(frozen=True)
class Swap:
    """The weights of some blocks taken from the other model, in every layer. Ours."""

    name: str
    blocks: tuple[Block, ...]

    def __str__(self) -> str:
        return f"{self.name} (weights)"


def ablate(neurons: pd.DataFrame, name: str = "ablate") -> Intervention:
    """Set activations to zero; the same as setting the neurons' value vectors to zero."""
    return Intervention(name, _with_value(neurons, 0.0), lambda acts, _: torch.zeros_like(acts))


def clamp(
    neurons: pd.DataFrame, to: pd.Series, name: str = "clamp", site: Site = "activation"
) -> Intervention:
    """Hold neurons at one constant each: the paper's "patching", to their means after DPO.

    The published code of 2024 does it to what enters the GELU (`site="gelu_input"`), that of 2025 to what
    leaves it.
    """
    return Intervention(
        name, _with_value(neurons, to), lambda acts, value: value.expand_as(acts).clone(), site
    )


def shift(
    neurons: pd.DataFrame, by: pd.Series, name: str = "shift", site: Site = "activation"
) -> Intervention:
    """Add a constant to each activation, so that it still varies with the text. Ours."""
    return Intervention(name, _with_value(neurons, by), lambda acts, value: acts + value, site)


def copy(neurons: pd.DataFrame, name: str = "copy") -> Intervention:
    """Give neurons the activations that the other model has on the same text, token by token. Ours."""
    return Intervention(name, _with_value(neurons, 0.0), lambda _, theirs: theirs.clone(), copies=True)


def copy_stream(layer: int, basis: Float[Tensor, "d_model k"], name: str = "copy stream") -> Intervention:
    """Give the residual stream after a layer the part along an orthonormal basis that the other has. Ours."""

    def change(stream: Tensor, theirs: Tensor) -> Tensor:
        along = basis.to(stream.device)
        return stream + ((theirs - stream).float() @ along @ along.T).to(stream)

    coordinates = pd.DataFrame({"layer": layer, "neuron": range(len(basis))})
    return Intervention(name, _with_value(coordinates, 0.0), change, site="residual", copies=True)


def scale_keys(
    neurons: pd.DataFrame, bias: pd.Series, factor: float, name: str = "scale keys"
) -> Intervention:
    """Multiply key vectors by `factor`: what enters the GELU, `k.x + b`, becomes `factor * k.x + b`."""

    def change(gelu_input: Tensor, bias: Tensor) -> Tensor:
        return factor * (gelu_input - bias) + bias

    return Intervention(name, _with_value(neurons, bias), change, "gelu_input")


def steer(by: Float[Tensor, "d_model"], layer: int, name: str = "steer") -> Intervention:
    """Add a vector to the residual stream after a layer, for example a multiple of the probe. Ours."""
    coordinates = pd.DataFrame({"layer": layer, "neuron": range(len(by))})
    value = pd.Series(by.detach().cpu().numpy())
    return Intervention(
        name, _with_value(coordinates, value), lambda acts, value: acts + value, site="residual"
    )


def at_newest(intervention: Intervention, name: str) -> Intervention:
    """The same edit at the newest position only, as the published patching does it."""
    return replace(intervention, name=name, positions="newest")


def _with_value(neurons: pd.DataFrame, value: float | pd.Series) -> pd.DataFrame:
    if isinstance(value, pd.Series) and not neurons.index.isin(value.index).all():
        raise ValueError("a neuron has no value: the values must have the neurons' index")
    return neurons[["layer", "neuron"]].assign(value=value)
