"""What the shares of the groups are compared with. None of it is in the paper.

1. *Directions*: the same models along random directions, and along probes fitted to shuffled labels.
2. *Placebos*: DPO trained the same way on pairs whose preferences are shuffled, or all reversed.
3. *Noise*: the model before DPO against itself, both sampled.
4. *Texts*: the models before and after DPO read on the same text, instead of each on its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from dpotox.estimates import around
from dpotox.facts import NOISE
from dpotox.paper.neurons import neuron_table, resampled_neuron_tables, tables_along
from dpotox.paper.readings import Pass, Readings

HEADLINE = "DPO, each model's own text"
SAMPLED = "DPO, each model's own sampled text"
SAME_TEXT = "DPO, both on the text from before DPO"
NOTHING = "nothing"
Measure = Callable[[pd.DataFrame], dict[str, float]]
"""Quantities of a neuron table."""


def placebo_pairs(pairs: pd.DataFrame, kind: str, validation: int, seed: int) -> pd.DataFrame:
    """Pairs with the preference turned round: in every other pair at random, or in all.

    The last ones, for validation, stay as they are.
    """
    flip = np.ones(len(pairs), dtype=bool)
    if kind == "shuffled":
        flip = np.random.default_rng(seed).permutation(len(pairs)) % 2 == 0
    flip[-validation:] = False
    turned = pairs.copy()
    turned.loc[flip, ["chosen", "rejected"]] = pairs.loc[flip, ["rejected", "chosen"]].to_numpy()
    return turned


@dataclass(frozen=True)
class Nulls:
    """Mean activations of each pass by chunk, and what the placebos wrote."""

    activation: dict[str, Float[Tensor, "chunk layer neuron"]]
    values: dict[str, Float[Tensor, "layer neuron d_model"]]  # of the placebos
    texts: dict[str, list[str]]


def gathered(passes: dict[str, Pass], values: dict[str, Float[Tensor, "layer neuron d_model"]]) -> Nulls:
    """The nulls from what was read, and the value vectors of the placebos."""
    activation = {name: read.activation for name, (_, read) in passes.items()}
    return Nulls(activation, values, {name: written.texts for name, (written, _) in passes.items()})


def random_directions(n: int, d_model: int, seed: int) -> Float[Tensor, "draw d_model"]:
    """Directions drawn evenly from the sphere, but for their lengths."""
    return torch.randn(n, d_model, generator=torch.Generator().manual_seed(seed))


def matched_directions(
    features: Float[Tensor, "text d_model"], n: int, seed: int
) -> Float[Tensor, "draw d_model"]:
    """Directions that vary as features of texts do: sums of the features' deviations, weighted at random."""
    deviations = features.double() - features.double().mean(0)
    weights = torch.randn(n, len(features), dtype=torch.double, generator=torch.Generator().manual_seed(seed))
    return (weights @ deviations).float()


def along(
    directions: dict[str, Float[Tensor, "draw d_model"]],
    readings: Readings,
    base_values: Float[Tensor, "layer neuron d_model"],
    dpo_values: Float[Tensor, "layer neuron d_model"],
    measure: Measure,
    *,
    gated: bool = False,
) -> pd.DataFrame:
    """What follows from the neuron table along each direction: a row per direction, its `kind`, and `text`.

    That is `own`, each model on its own text, or `same`, both on the text from before DPO.
    """
    before = readings.base.activation.mean(0)
    after = {"own": readings.dpo.activation.mean(0), "same": readings.dpo_on_base.activation.mean(0)}
    rows = [
        {"kind": kind, "text": text} | measure(table)
        for text in after
        for kind, some in directions.items()
        for table in tables_along(some, before, after[text], base_values, dpo_values, gated=gated)
    ]
    return pd.DataFrame(rows)


def comparisons(
    nulls: Nulls,
    readings: Readings,
    base_values: Float[Tensor, "layer neuron d_model"],
    dpo_values: Float[Tensor, "layer neuron d_model"],
    direction: Float[Tensor, "d_model"],
    measure: Measure,
    *,
    draws: int,
    seed: int,
    gated: bool = False,
) -> pd.DataFrame:
    """What follows from the neuron table of each comparison, with intervals over chunks of prompts.

    The probe is signed in each so that the net is a reduction, as other directions are.

    Returns:
        A row per comparison and quantity: `comparison`, `place` (the text, or `nothing` where there is
        nothing to find), `sign` (-1 where the probe was turned), `quantity`, `value`, `low`, `high`.
    """
    read = {name: getattr(readings, name).activation for name in ("base", "dpo", "dpo_on_base")}
    read |= nulls.activation
    pairs = {
        HEADLINE: ("own", "base", "dpo", dpo_values),
        SAMPLED: ("sampled", "base sampled once", "dpo sampled", dpo_values),
        SAME_TEXT: ("same", "base", "dpo_on_base", dpo_values),
        "DPO, both on the text from after DPO": ("after", "base on the text of dpo", "dpo", dpo_values),
    }
    pairs |= {f"{kind} preferences": (NOTHING, "base", kind, nulls.values[kind]) for kind in nulls.values}
    pairs[NOISE] = (NOTHING, "base sampled once", "base sampled again", base_values)
    rows, own = [], {}
    for name, (place, before, after, values) in pairs.items():
        means = read[before].mean(0), read[after].mean(0)
        table = neuron_table(*means, base_values, values, direction, gated=gated)
        sign = -1 if table["projection_drop"].sum() < 0 else 1
        if sign < 0:
            table = neuron_table(*means, base_values, values, -direction, gated=gated)
        tables = resampled_neuron_tables(
            *(read[before], read[after], base_values, values, sign * direction),
            **{"draws": draws, "seed": seed, "gated": gated},
        )
        # The same prompts are resampled in every comparison, so differences are paired.
        found = pd.DataFrame([measure(table), *map(measure, tables)])
        own.setdefault(name == SAMPLED, found)
        whole = own.get(True, found)["gross"]
        found = found.assign(
            **{
                "TP- share, minus DPO's": found["TP- share of gross"] - own[False]["TP- share of gross"],
                "gross / DPO's, both sampled": found["gross"] / whole.where(whole != 0),
            }
        )
        for quantity, (value, *some) in found.items():
            e = around(value, np.array(some), len(read[before]))
            row = {"comparison": name, "place": place, "sign": sign, "quantity": quantity}
            rows.append(row | {"value": value, "low": e.low, "high": e.high})
    return pd.DataFrame(rows)
