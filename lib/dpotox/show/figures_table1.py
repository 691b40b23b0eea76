"""The figures of the paper's table 1 and our controls, in the style of `dpotox.show.figure_style`."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dpotox.paper.published import published_table1
from dpotox.paper.selections import SETS
from dpotox.show.figure_style import (
    BACK,
    COLOURS,
    GREY,
    INK,
    MUTED,
    PUBLISHED,
    SMALL,
    WIDTH,
    name_row,
    note,
    nothing,
    panel,
    paper_mark,
    rows_only,
)
from dpotox.show.report_table1 import broken

WAYS = {  # kind and positions
    ("patch", "newest"): "patch, newest position",
    ("patch", "all"): "patch",
    ("hold", "all"): "hold: own means",
    ("shift", "all"): "shift",
    ("shift, same text", "all"): "shift, same text",
    ("copy", "all"): "copy",
}
SHORT = {"all four groups": "all four", "the other four groups": "other four"}
NO_EFFECT = "No share of an effect on toxicity can be taken here."


def table1_chart(summary: pd.DataFrame) -> Figure:
    """Toxicity and perplexity of rows with intervals, the paper's values beside them (table 1).

    Perplexities are taken times that before DPO, which is what can be compared between models.
    """
    published = published_table1()
    before = summary.loc[summary["published"] == "gpt2: none", "perplexity"].iloc[0]
    y = np.arange(len(summary))[::-1].astype(float)
    size = (WIDTH, 0.37 * len(summary) + 0.8)
    figure, (left, right) = plt.subplots(1, 2, figsize=size, sharey=True, width_ratios=[2, 1])
    for axes in (left, right):
        rows_only(axes)
    for place, name in zip(y, summary["name"], strict=True):
        name_row(left, place + 0.38, name)
    _dots(left, y, summary, "toxicity")
    _dots(left, y - 0.2, summary, "sampled_toxicity", markerfacecolor=BACK, markeredgewidth=1)
    _dots(right, y, summary, "perplexity", before)
    reference = summary["published"].map(published["toxicity"])
    paper_mark(left, reference, y)
    first = summary.iloc[0]
    note(left, "greedy", (first["toxicity_high"], y[0]), (5, 3))
    note(left, "sampled", (first["sampled_toxicity_high"], y[0] - 0.2), (5, -4))
    _label_paper(left, y, summary, reference.to_numpy())
    relative = published["perplexity"] / published["perplexity"]["gpt2: none"]
    paper_mark(right, summary["published"].map(relative), y)
    left.set(xlabel="toxicity", xlim=(0, None), ylim=(-0.6, len(summary) - 0.3))
    largest = summary["perplexity"].max() / before
    right.set_xscale("log" if largest > 10 else "linear")
    right.set_xlabel("perplexity,\nneutral text,\ntimes before DPO")
    return figure


def recovered_chart(rows: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """The recovered share of edits between the model before DPO (0) and after (1), beside the paper's.

    A ring beside a patch is the hold of the same neurons; a cross in place of a dot says that the text is
    broken (`report_table1.broken`); the number at a row's end is perplexity on all text, times DPO's.

    Args:
        summary: all rows, among them those before and after DPO.
    """
    rows = rows[rows["kind"] != "none"].reset_index(drop=True)
    if not np.isfinite(rows["recovered"]).any():
        return nothing(NO_EFFECT)
    dpo = summary.set_index("name").loc["after DPO", "perplexity_all"]
    y = -np.arange(len(rows), dtype=float)
    figure, axes = panel(0.37 * len(rows) + 1.0)
    rows_only(axes)
    for place in (0, 1):
        axes.plot([place] * 2, [0.6, y[-1] - 0.6], color=MUTED, linewidth=0.9, zorder=1)
    edge = axes.get_yaxis_transform()
    ring = {"marker": "o", "color": INK, "markerfacecolor": BACK, "markersize": 5.5, "linestyle": "none"}
    for place, row, bad in zip(y, rows.itertuples(), broken(rows, summary), strict=True):
        name_row(axes, place + 0.38, row.name)
        axes.plot([row.recovered_low, row.recovered_high], [place, place], color=INK, linewidth=1)
        axes.plot(row.recovered, place, "x" if bad else "o", color=INK, markersize=6 if bad else 4.5)
        if row.positions == "all":  # elsewhere what is measured is hardly the edit
            note(axes, _times(row.perplexity_all / dpo), (1.03, place), (0, 0), xycoords=edge)
        held = summary[(summary["kind"] == "hold") & (summary["which"] == row.which)]
        held = held[held["positions"] == row.positions]
        if row.kind == "patch" and len(held):
            axes.plot(held["recovered"].iloc[0], place, **ring)
    published = published_table1()["toxicity"]
    before, after = published["gpt2: none"], published["dpo: none"]
    paper_mark(axes, (before - rows["published"].map(published)) / (before - after), y)
    paper_mark(axes, 0.02, 1, transform=edge)
    axes.plot(0.62, 1, transform=edge, **ring)
    for x, name in ((0.02, PUBLISHED), (0.62, "held still"), (0.96, "perplexity")):
        note(axes, name, (x, 1), (7, 0), xycoords=edge)
    axes.set(xlabel="recovered share: 0 as before DPO, 1 as after DPO", ylim=(y[-1] - 0.6, 1.2))
    return figure


def _times(value: float) -> str:
    return f"×{value:.2f}" if value < 9.95 else f"×{value:,.0f}"  # noqa: RUF001


def _label_paper(axes: Axes, y: np.ndarray, table: pd.DataFrame, reference: np.ndarray) -> None:
    """The label of the paper's marks, right of the one with the most room there."""
    room = np.full(len(table), table[["toxicity_high", "sampled_toxicity_high"]].max(axis=None))
    for name in ("toxicity", "sampled_toxicity"):
        above = table[f"{name}_high"] >= reference
        room = np.where(above, np.minimum(room, table[f"{name}_low"]), room)
    room = room - reference
    if np.isfinite(room).any():
        most = int(np.nanargmax(room))
        note(axes, PUBLISHED, (reference[most], y[most]))


def _dots(axes: Axes, y: np.ndarray, table: pd.DataFrame, name: str, unit: float = 1, **style) -> None:
    """A column of the table with its intervals, in times the unit."""
    value, low, high = (table[f"{name}{end}"] / unit for end in ("", "_low", "_high"))
    reach = np.clip([value - low, high - value], 0, None)
    axes.errorbar(value, y, xerr=reach, fmt="o", color=INK, markersize=4, elinewidth=1, zorder=6, **style)


def recovered_by_set(summary: pd.DataFrame) -> Figure:
    """The recovered share and the perplexity of each way to set each set of neurons to where DPO puts it.

    A panel per way, a row per set; the number at a row's end is its perplexity, times that before DPO, and a
    cross in place of a dot says that the text is broken.
    """
    patched = set(summary.loc[summary["kind"] == "patch", "which"])
    sets = [which for which in SETS if which in patched]
    known = summary[summary["which"].isin(sets) & summary["perplexity"].notna()]
    if not np.isfinite(known["recovered"]).any():
        return nothing(NO_EFFECT)
    before = summary.loc[summary["name"] == "before DPO", "perplexity"].iloc[0]
    size = (WIDTH, 0.54 * len(sets) + 2.2)
    figure, panels = plt.subplots(3, 2, figsize=size, sharex=True, sharey=True)
    for axes, ((kind, positions), title) in zip(panels.flat, WAYS.items(), strict=True):
        part = known[(known["kind"] == kind) & (known["positions"] == positions)]
        axes.set_title(title if len(part) else f"{title}: not made", color=INK, fontsize=9.5)
        for place in (0, 1):
            axes.axvline(place, color=MUTED, linewidth=0.8, zorder=1)
        if kind == "patch":  # beside it, the same clamp with nothing of DPO in it
            control = known[(known["kind"] == "hold") & (known["positions"] == positions)]
            for row in control.itertuples():
                axes.plot(row.recovered, -sets.index(row.which), "o", color=INK, mfc="none", markersize=7)
        for row, bad in zip(part.itertuples(), broken(part, summary), strict=True):
            y, colour = -sets.index(row.which), COLOURS.get(row.which, GREY if "other" in row.which else INK)
            axes.plot([row.recovered_low, row.recovered_high], [y, y], color=colour, linewidth=1.4)
            axes.plot(row.recovered, y, "x" if bad else "o", color=colour, markersize=6 if bad else 5)
            if positions == "all":  # elsewhere what is measured is hardly the edit
                edge = axes.get_yaxis_transform()
                note(axes, _times(row.perplexity / before), (1.02, y), (0, 0), xycoords=edge)
        axes.spines["left"].set_visible(False)
        axes.set_yticks(-np.arange(len(sets)), [SHORT.get(which, which) for which in sets])
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set_ylim(-len(sets) + 0.4, 0.6)
    for axes in panels[-1]:
        if np.ptp(axes.get_xlim()) < 8:  # where they can be told apart
            axes.set_xticks([0, 1])
        axes.set_xlabel("recovered share")
    legend = "0: before DPO, 1: after; numbers: perplexity on neutral text, times before"
    figure.suptitle(legend, x=0.01, ha="left", fontsize=SMALL, color=MUTED)
    return figure
