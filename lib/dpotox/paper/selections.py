"""Which neurons: chosen by rules that look at numbers only."""

from __future__ import annotations

from bisect import bisect_left
from typing import get_args

import numpy as np
import pandas as pd

from dpotox import profile
from dpotox.paper.groups import REDUCING

SETS: tuple[profile.NeuronSet, ...] = get_args(profile.NeuronSet)
ALL_FOUR, OTHER_FOUR, EVERYTHING = SETS[-3:]


def most_toxic(neurons: pd.DataFrame, k: int, *, only_positive: bool = False) -> pd.DataFrame:
    """The k neurons whose value vectors have the largest cosine with the probe (section 3).

    Args:
        only_positive: take them from the neurons whose mean activation before DPO is positive.
    """
    pool = neurons[neurons["pre_activation"] > 0] if only_positive else neurons
    return pool.nlargest(k, "cosine")


def dampened_drop(toxic: pd.DataFrame) -> float:
    """Summed projection drop of those of some toxic neurons that become less active (section 3)."""
    return float(toxic.loc[toxic["group"] == "TP-", "projection_drop"].sum())


def matched(
    neurons: pd.DataFrame, chosen: pd.DataFrame, rng: np.random.Generator, *, nearest: int = 10
) -> pd.DataFrame:
    """Random neurons like the chosen ones: as many in each layer, with similar activations before DPO.

    For each chosen neuron, in random order, one of the `nearest` that are left in its layer by mean
    activation, none of them chosen itself.

    Raises:
        ValueError: a layer has more chosen neurons than others.
    """
    taken: list[int] = []
    pool = neurons.drop(chosen.index)
    for layer, here in chosen.groupby("layer"):
        rest = pool.loc[pool["layer"] == layer, "pre_activation"].sort_values()
        if len(rest) < len(here):
            raise ValueError(f"layer {layer} has {len(here)} chosen neurons and only {len(rest)} others")
        left, names = rest.to_list(), rest.index.to_list()
        for activation in rng.permutation(here["pre_activation"].to_numpy()):
            place = bisect_left(left, activation)
            beside = range(max(0, place - nearest), min(len(left), place + nearest))
            near = sorted(beside, key=lambda i: abs(left[i] - activation))[:nearest]
            pick = near[rng.integers(len(near))]
            taken.append(names.pop(pick))
            del left[pick]
    return neurons.loc[taken]


def neurons_of(neurons: pd.DataFrame, which: str) -> pd.DataFrame:
    """The neurons of one of `SETS`."""
    if which == EVERYTHING:
        return neurons
    if which == OTHER_FOUR:
        return neurons[~neurons["group"].isin(REDUCING)]
    return neurons[neurons["group"].isin(REDUCING if which == ALL_FOUR else [which])]
