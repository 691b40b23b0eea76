"""The figures of table 1 and its controls, in the style of `dpotox.figures`."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dpotox.figures import BASE, DPO, PAPER
from dpotox.published import published_table1
from dpotox.rows import SETS

WAYS = {  # kind and positions: label, marker, colour
    ("patch", "newest"): ("patch, newest position", "v", "#CC79A7"),
    ("patch", "all"): ("patch", "s", "#D55E00"),
    ("hold", "all"): ("hold: own means", "x", "#999999"),
    ("shift", "all"): ("shift", "o", "#0072B2"),
    ("shift, same text", "all"): ("shift, same text", "^", "#56B4E9"),
    ("copy", "all"): ("copy", "D", "#009E73"),
}


def table1_chart(summary: pd.DataFrame) -> Figure:
    """Toxicity and perplexity of rows with intervals, the paper's toxicity beside it (table 1)."""
    published = published_table1()["toxicity"]
    y = np.arange(len(summary))[::-1]
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(9, 0.27 * len(summary) + 1), sharey=True, width_ratios=[2, 1]
    )
    for name, colour, label, offset in (
        ("toxicity", BASE, "greedy", 0.12),
        ("sampled_toxicity", DPO, "sampled", -0.12),
    ):
        _dots(left, summary, name, y + offset, colour, label)
    reference = [published.get(name, np.nan) for name in summary["published"]]
    left.plot(reference, y, "|", color=PAPER, markersize=12, markeredgewidth=2, label="GPT-2 medium")
    left.set(xlabel="toxicity", xlim=(0, None))
    left.set_yticks(y, summary["name"])
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=9)
    _dots(right, summary, "perplexity", y, BASE, "")
    wide = summary["perplexity"].max() > 10 * summary["perplexity"].min()
    right.set_xscale("log" if wide else "linear")
    right.set_xlabel("perplexity (log)" if wide else "perplexity")
    for axes in (left, right):
        axes.grid(axis="y", color="#EEEEEE", zorder=0)
    return figure


def _dots(axes: Axes, table: pd.DataFrame, name: str, y: np.ndarray, colour: str, label: str) -> None:
    value = table[name]
    reach = [value - table[f"{name}_low"], table[f"{name}_high"] - value]
    axes.errorbar(value, y, xerr=np.clip(reach, 0, None), fmt="o", color=colour, markersize=4, label=label)


def recovered_by_set(summary: pd.DataFrame) -> Figure:
    """The recovered share and the perplexity of each way to set each set of neurons to where DPO puts it."""
    sets = [which for which in SETS if which in set(summary["which"])]
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(9, 0.75 * len(sets) + 1), sharey=True, width_ratios=[2, 1]
    )
    before = summary.loc[summary["name"] == "before DPO", "perplexity"].iloc[0]
    for i, ((kind, positions), (label, marker, colour)) in enumerate(WAYS.items()):
        part = summary[(summary["kind"] == kind) & (summary["positions"] == positions)]
        part = part[part["which"].isin(sets)]
        y = -np.array([sets.index(which) for which in part["which"]]) - 0.13 * (i - 2.5)
        reach = np.clip(
            [part["recovered"] - part["recovered_low"], part["recovered_high"] - part["recovered"]], 0, None
        )
        style = {"fmt": marker, "color": colour, "markersize": 5, "linewidth": 1}
        left.errorbar(part["recovered"], y, xerr=reach, label=label, **style)
        right.plot(part["perplexity"] / before, y, marker, color=colour, markersize=5)
    for place, name in ((0, "before DPO"), (1, "DPO")):
        left.axvline(place, color="#888888", linewidth=0.8)
        left.annotate(name, (place, 0.6), ha="center", fontsize=8, color="#555555", annotation_clip=False)
    left.set_yticks(-np.arange(len(sets)), sets)
    left.set(xlabel="share of DPO's effect on greedy toxicity", ylim=(-len(sets) + 0.4, 0.55))
    right.set_xscale("log")
    right.set_xlabel("perplexity, times that before DPO (log)")
    right.axvline(1, color="#888888", linewidth=0.8)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=9)
    return figure
