"""The whole account: who writes less along the probe after DPO, divided exactly among all that write.

The residual stream before the final norm is the sum of the embeddings and of what every head of attention,
every neuron and every bias has added. So its change along the probe is the sum of theirs. That of a neuron
has three parts: its activation changes, its value vector does, and both do at once. Beyond the paper, which
counts neurons only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from dpotox.facts import PARTS
from dpotox.model.tracing import Reading


@dataclass(frozen=True)
class Account:
    """By how much less each part writes along the unit probe after DPO: means over prompts and new tokens."""

    embeddings: float
    heads: Float[Tensor, "layer head"]
    activations: Float[Tensor, "layer neuron"]
    vectors: Float[Tensor, "layer neuron"]
    both: Float[Tensor, "layer neuron"]
    biases: Float[Tensor, "layer"]
    total: float

    def by_layer(self) -> pd.DataFrame:
        """A row per layer, a column for each of `PARTS`."""
        neurons = (self.activations, self.vectors, self.both)
        sums = [self.heads.sum(-1), *(some.sum(-1) for some in neurons), self.biases]
        return pd.DataFrame({name: some.numpy() for name, some in zip(PARTS, sums, strict=True)})

    def table(self) -> pd.DataFrame:
        """A row for the embeddings, for each head, and for every other part of each layer.

        Columns: `layer` and `head` (NaN where there is none), `part`, `drop`.
        """
        first = pd.DataFrame({"layer": [np.nan], "part": ["embeddings"], "drop": [self.embeddings]})
        heads = pd.DataFrame(self.heads.numpy()).rename_axis("layer").reset_index()
        heads = heads.melt("layer", var_name="head", value_name="drop").assign(part=PARTS[0])
        rest = self.by_layer()[list(PARTS[1:])].rename_axis("layer").reset_index()
        rest = rest.melt("layer", var_name="part", value_name="drop")
        whole = pd.concat([first, heads, rest], ignore_index=True)
        return whole.astype({"layer": float, "head": float})[["layer", "part", "head", "drop"]]


class Vectors(NamedTuple):
    """With what activations of neurons, and what heads gather, are multiplied to be written."""

    values: Float[Tensor, "layer neuron d_model"]
    heads: Float[Tensor, "layer head width d_model"]


def account(
    before: Reading, after: Reading, old: Vectors, new: Vectors, direction: Float[Tensor, "d_model"]
) -> Account:
    """Divide the change of the last residual stream along the probe among all that write to it.

    Biases are what is left in a layer, to which nothing else writes; a test holds that to the weights.

    Args:
        old, new: of the models that `before` and `after` were read of.
    """
    unit = direction.double() / direction.double().norm()
    u, v = (torch.stack([layer.double() @ unit for layer in some.values]) for some in (old, new))
    a, b = (mean_activations(read) for read in (before, after))
    parts = (a - b) * u, a * (u - v), -(a - b) * (u - v)
    by_heads = [
        torch.stack(
            [torch.einsum("hw,hwd,d->h", z.double(), w.double(), unit) for z, w in zip(*two, strict=True)]
        )
        for two in ((before.heads, old.heads), (after.heads, new.heads))
    ]
    heads = by_heads[0] - by_heads[1]

    def drop(field: str) -> Tensor:
        return (getattr(before, field) - getattr(after, field)).double().mean(0)

    layers = drop("attention") + drop("mlp")
    residual = drop("residual")
    return Account(
        float(residual[0] - layers[0]),
        heads,
        *parts,
        layers - heads.sum(-1) - sum(parts).sum(-1),
        float(residual[-1]),
    )


def mean_activations(read: Reading) -> Float[Tensor, "layer neuron"]:
    """Mean activations over prompts, of which not all chunks need have as many."""
    prompts, chunks = len(read.mlp), len(read.activation)
    sizes = torch.bincount(torch.arange(prompts) % chunks, minlength=chunks).double()
    return torch.einsum("c,cln->ln", sizes / prompts, read.activation.double())
