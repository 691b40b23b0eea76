"""What is done to which neurons: interventions as data (section 5 and table 1 of the paper).

An intervention names neurons, one value per neuron, and a function of (activations, values). All of the
paper's are one-liners below, and so is a new one: write the function, pick the neurons.
`dpotox.tracing` applies them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

Change = Callable[[Float[Tensor, "*pos neuron"], Float[Tensor, "neuron"]], Tensor]


@dataclass(frozen=True)
class Intervention:
    """One kind of edit of some neurons, at every position of the text.

    Attributes:
        name: what the tables call it.
        neurons: columns `layer`, `neuron` and `value` (what `change` needs to know of each neuron).
        change: maps activations `(*pos, neuron)` and values `(neuron,)` to new activations.
        site: `activation` is the coefficient of the value vector, after the GELU; `pre_activation` is
            what enters the GELU.
    """

    name: str
    neurons: pd.DataFrame
    change: Change
    site: Literal["activation", "pre_activation"] = "activation"

    def by_layer(self) -> Iterator[tuple[int, Int[Tensor, neuron], Float[Tensor, neuron]]]:
        """Each touched layer with its neurons and their values."""
        for layer, here in self.neurons.groupby("layer"):
            neurons = torch.tensor(here["neuron"].to_numpy())
            yield int(layer), neurons, torch.tensor(here["value"].to_numpy(), dtype=torch.float32)

    def __str__(self) -> str:
        return f"{self.name} ({len(self.neurons)} neurons)"


def ablate(neurons: pd.DataFrame, name: str = "ablate") -> Intervention:
    """Set activations to zero, which removes the neurons' value vectors from the residual stream."""
    return Intervention(name, _with_value(neurons, 0.0), lambda acts, _: torch.zeros_like(acts))


def clamp(neurons: pd.DataFrame, to: pd.Series, name: str = "clamp") -> Intervention:
    """Hold each activation at one constant: the paper's "patching", to the mean after DPO."""
    return Intervention(name, _with_value(neurons, to), lambda acts, value: value.expand_as(acts).clone())


def shift(neurons: pd.DataFrame, by: pd.Series, name: str = "shift") -> Intervention:
    """Add a constant to each activation, so that it still varies with the text. Ours."""
    return Intervention(name, _with_value(neurons, by), lambda acts, value: acts + value)


def scale_keys(
    neurons: pd.DataFrame, bias: pd.Series, factor: float, name: str = "scale keys"
) -> Intervention:
    """Multiply key vectors by `factor`: the pre-activation `k.x + b` becomes `factor * k.x + b`."""

    def change(pre: Tensor, bias: Tensor) -> Tensor:
        return factor * (pre - bias) + bias

    return Intervention(name, _with_value(neurons, bias), change, "pre_activation")


def _with_value(neurons: pd.DataFrame, value: float | pd.Series) -> pd.DataFrame:
    return neurons[["layer", "neuron"]].assign(value=value)
