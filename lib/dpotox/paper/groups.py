"""Which neurons reduce toxicity and how much: the eight groups and their shares (section 4).

A neuron's *projection* is its activation times the projection of its value vector on the unit probe: how
much it writes in the toxic direction. Its *projection drop* is the projection before DPO minus after.

A group's name says three things: T or A, the value vector points along or against the probe; P or N, the
mean activation before DPO is at least zero or negative; + or -, DPO moves the activation further from or
closer to zero (seen from its own side). TP-, TN+, AP+ and AN- reduce toxicity; the other four increase it.

Shares of the *gross* reduction are taken of the sum over reducing groups, shares of the *net* reduction
of the sum over all eight. They differ much: always say which.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

REDUCING = ("TP-", "AN-", "TN+", "AP+")
INCREASING = ("TP+", "AN+", "TN-", "AP-")
GROUPS = REDUCING + INCREASING
TURNED = {"AN-": "TP-", "AP+": "TN+", "AN+": "TP+", "AP-": "TN-"}
"""What else the groups are when a neuron's activation and its value vector are turned."""
WITHOUT_LARGEST = "TP- share of gross, largest neuron left out"


def are_turned(neurons: pd.DataFrame) -> bool:
    """Whether all neurons were turned towards the probe, so that some of the groups cannot have any."""
    return bool((neurons["cosine"] >= 0).all())


def that_can_be(neurons: pd.DataFrame, names: Sequence[str] = GROUPS) -> list[str]:
    """Those of these groups that can have neurons."""
    return [name for name in names if not (are_turned(neurons) and name in TURNED)]


def group_by_activation(neurons: pd.DataFrame) -> pd.Series:
    """The group of every neuron by the sign of its activation change (the 2024 paper).

    Needs the columns `cosine`, `pre_activation`, `post_activation`.
    """
    return _name(neurons, neurons["post_activation"] >= neurons["pre_activation"])


def group_by_projection(neurons: pd.DataFrame) -> pd.Series:
    """The group of every neuron by the sign of its projection change (the paper's 2025 version).

    It differs where the value vector itself moved. Needs `cosine`, `pre_activation`, `projection_drop`.
    """
    towards_toxicity = neurons["projection_drop"] < 0
    return _name(neurons, towards_toxicity == (neurons["cosine"] > 0))


def _name(neurons: pd.DataFrame, activation_rises: pd.Series) -> pd.Series:
    toxic, positive = neurons["cosine"] > 0, neurons["pre_activation"] >= 0
    # Looked up, as bootstraps name all neurons thousands of times and joining letters is slow.
    names = np.array([a + b + c for a in "AT" for b in "NP" for c in "-+"], dtype=object)
    code = 4 * toxic.to_numpy() + 2 * positive.to_numpy() + (positive == activation_rises).to_numpy()
    return pd.Series(names[code], index=neurons.index, dtype=object)


def group_table(neurons: pd.DataFrame, group: str = "group") -> pd.DataFrame:
    """One row per group: neuron count, summed projection drop, and its shares (figure 2a).

    Args:
        neurons: columns `projection_drop` and the one that `group` names.

    Returns:
        Indexed by group, all eight: `count`, `projection_drop`, `share_of_gross` (NaN for groups that
        increase toxicity) and `share_of_net`.
    """
    drops = neurons.groupby(group)["projection_drop"]
    return shares(drops.size(), drops.sum())


def shares(count: pd.Series, projection_drop: pd.Series) -> pd.DataFrame:
    """`group_table` from the groups' counts and sums, in whatever order they come."""
    counts, sums = count.to_dict(), projection_drop.to_dict()
    drop = np.array([sums.get(group, 0.0) for group in GROUPS])
    reducing = np.where(np.isin(GROUPS, REDUCING), drop, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):  # of nothing, where DPO changes nothing
        columns = {
            "count": [counts.get(group, 0) for group in GROUPS],
            "projection_drop": drop,
            "share_of_gross": reducing / np.nansum(reducing),
            "share_of_net": drop / drop.sum(),
        }
    return pd.DataFrame(columns, index=pd.Index(GROUPS, name="group"))


def without_largest(neurons: pd.DataFrame) -> pd.DataFrame:
    """All neurons but the one with the largest projection drop, to see what hangs on it. Not in the paper."""
    return neurons.drop(neurons["projection_drop"].idxmax())


def ratio(part: float, whole: float) -> float:
    """A part of a whole; NaN where the whole is nothing, as where DPO changes nothing."""
    return float(part) / float(whole) if whole else float("nan")


def gross_and_net(table: pd.DataFrame) -> tuple[float, float]:
    """Summed projection drop of the four reducing groups, and of all eight, from a group table."""
    drop = table["projection_drop"]
    return float(drop[list(REDUCING)].sum()), float(drop.sum())


def group_quantities(table: pd.DataFrame) -> dict[str, float]:
    """The quantities that follow from a group table."""
    gross, net = gross_and_net(table)
    share = table["share_of_gross"]
    return {f"{group} share of gross": share[group] for group in REDUCING} | {
        "smallest group's share of gross": share[list(REDUCING)].min(),
        "AN- and AP+ share of gross": share["AN-"] + share["AP+"],
        "increase / gross reduction": ratio(gross - net, gross),
    }


def ranking(neurons: pd.DataFrame) -> pd.DataFrame:
    """Neurons from the largest projection drop down, with running sums (figures 1b and 2b).

    Adds `rank` (from 1), `cumulative_drop`, and for every reducing group `cumulative_<group>`.
    """
    ranked = neurons.sort_values("projection_drop", ascending=False, kind="stable").copy()
    ranked["rank"] = np.arange(1, len(ranked) + 1)
    ranked["cumulative_drop"] = ranked["projection_drop"].cumsum()
    for group in REDUCING:
        own = ranked["projection_drop"].where(ranked["group"] == group, 0.0)
        ranked[f"cumulative_{group}"] = own.cumsum()
    return ranked.reset_index(drop=True)


def neurons_for_share(neurons: pd.DataFrame, share: float) -> int:
    """How many neurons, from the largest drop down, make up this share of all positive drops.

    That sum is the gross reduction by the sign of the projection change (47.96 in the paper); the four
    groups by activation change sum to a little less (47.48).
    """
    drops = np.sort(neurons["projection_drop"].to_numpy())[::-1]
    running = np.cumsum(drops[drops > 0])
    return int(np.searchsorted(running, share * running[-1]) + 1) if len(running) else 0


def layer_drops(neurons: pd.DataFrame) -> pd.DataFrame:
    """Summed projection drop per layer (rows) and group (columns), all eight (figure 3)."""
    table = neurons.pivot_table(
        index="layer", columns="group", values="projection_drop", aggfunc="sum", fill_value=0.0
    )
    return table.reindex(columns=list(GROUPS), fill_value=0.0)


def quantities(neurons: pd.DataFrame) -> dict[str, float]:
    """The quantities of a neuron table's groups, with the sums they are shares of."""
    table = group_table(neurons)
    gross, net = gross_and_net(table)
    rest = group_table(without_largest(neurons))
    return group_quantities(table) | {
        "gross": gross,
        "net": net,
        "net / gross": ratio(net, gross),
        WITHOUT_LARGEST: rest["share_of_gross"]["TP-"],
    }


def change_with(neurons: pd.DataFrame, column: str) -> float:
    """Pearson's correlation of the change in activation with a column; NaN where nothing changes."""
    from scipy import stats  # slow to import, and not needed to show what was measured before

    change = neurons["activation_change"]
    return stats.pearsonr(change, neurons[column]).statistic if np.ptp(change) else float("nan")


def with_vectors_held(neurons: pd.DataFrame) -> pd.DataFrame:
    """All neurons with the projection drop that they would have if value vectors were as before DPO."""
    return neurons.assign(projection_drop=-neurons["activation_change"] * neurons["pre_value_projection"])


def moved_by_activations(neurons: pd.DataFrame) -> float:
    """The part of the net reduction that is left when the value vectors are held as before DPO."""
    held = with_vectors_held(neurons)["projection_drop"].sum()
    return ratio(held, neurons["projection_drop"].sum())
