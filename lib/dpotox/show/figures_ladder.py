"""Figures of the ladder: a column for each dimension, a row for each quantity; every seed is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dpotox.paper.groups import REDUCING
from dpotox.results import ladder
from dpotox.results.agreement import BEST
from dpotox.show.figure_style import (
    BASE,
    COLOURS,
    DPO,
    HOLLOW,
    INK,
    MUTED,
    PAPER,
    SMALL,
    WIDTH,
    name_y,
    note,
    nothing,
    panel,
)

NOT_RUN = "Nothing of this has been run."
LEAST, MOST = -1.0, 1.5
"""What lies beyond is drawn at the edge: a share of a small effect can be anything."""
ASIDE = 0.2
"""How far untrained networks stand beside the trained models of their shape."""
SEVERAL = 1_024
"""Neurons are told in so many."""
TICKS = 7.0
"""Points; larger ones touch each other."""
AXES = {"neurons": "neurons / 1,024", "strength": "DPO's rate", ladder.FAMILY: ""}
"""What else a dimension is called at an axis."""
LEGEND = {"loc": "outside upper left", "frameon": False, "fontsize": SMALL, "borderpad": 0}
SHARES = {f"{group} share of gross, {ladder.OWN}": f"share of {group}" for group in REDUCING}
UNDONE = {
    f"{ladder.NET}, {ladder.OWN}": "net / gross, own text",
    f"{ladder.NET}, {ladder.SAME}": "net / gross, same text",
    ladder.WITHOUT_NOISE: "net / gross, own text, without noise",
}
FEW = {
    f"{ladder.TOP}, {ladder.OWN}": "share of the most toxic .13 %",
    f"{ladder.CHANGE}, {ladder.OWN}": "correlation of change and cosine",
}
FAMILY_NAMES = {"gpt2": "GPT-2", "gpt_neox": "GPT-NeoX", "llama": "Llama, gated", "gemma2": "Gemma 2, gated"}
DIVIDED = {
    f"{ladder.TOGETHER}, {ladder.OWN}": "share of TP- and AN-, own text",
    f"{ladder.TOGETHER}, {ladder.SAME}": "the same, same text",
    f"{ladder.NET}, {ladder.OWN}": "net / gross, own text",
    f"{ladder.NET}, {ladder.SAME}": "net / gross, same text",
}
EDITS = {
    BEST: "recovered by the best ablation",
    ladder.SHIFTED: "by shifting all four groups",
    ladder.SHIFTED_TP: "by shifting TP- alone",
    ladder.BEYOND: "all four, minus the best ablation",
}
RECOVERED = {
    BEST: "recovered by the best ablation",
    ladder.SHIFTED: "by shifting all four groups",
    ladder.COPIED: "by copying all neurons",
    ladder.SWAPPED: "by swapping attention",
}


def shares(table: pd.DataFrame) -> Figure:
    """The groups' shares, beside those of the model before DPO against itself."""
    return multiples(table, SHARES, nulls=True)


def undone(table: pd.DataFrame) -> Figure:
    """How much of the gross reduction is left, on either text, and without the noise of the reading."""
    return multiples(table, UNDONE)


def few(table: pd.DataFrame) -> Figure:
    """Whether the most toxic neurons do the work."""
    return multiples(table, FEW)


def edits(table: pd.DataFrame) -> Figure:
    """What ablations and shifts recover."""
    return multiples(table, EDITS)


def divided(table: pd.DataFrame) -> Figure:
    """How the reduction is divided and how much is left of it, by family."""
    return multiples(table, DIVIDED, nulls=True, dimensions=(ladder.FAMILY,))


def recovered(table: pd.DataFrame) -> Figure:
    """What edits recover, by family."""
    return multiples(table, RECOVERED, dimensions=(ladder.FAMILY,))


def multiples(
    table: pd.DataFrame,
    rows: Mapping[str, str],
    nulls: bool = False,
    dimensions: Sequence[str] = ladder.SIZES,
) -> Figure:
    """Small multiples of some quantities over rungs; those of a group have its colour.

    Args:
        rows: what each quantity is called.
        nulls: draw beside each what it is where there is nothing to find.
        dimensions: a column each.
    """
    if table.empty:
        return nothing(NOT_RUN)
    labels = [_labels(dimension) for dimension in dimensions]
    letters = [len(names) * (max(map(len, names)) + 1.5) for names in labels]
    size = (WIDTH, 1.15 * len(rows) + 0.75)
    shared = {"sharex": "col", "sharey": "row", "squeeze": False}
    figure, panels = plt.subplots(len(rows), len(labels), figsize=size, width_ratios=letters, **shared)
    paper = ladder.published()
    for (quantity, name), line in zip(rows.items(), panels, strict=True):
        for axes, dimension in zip(line, dimensions, strict=True):
            _panel(axes, table, dimension, quantity, nulls)
            for model, value in paper.get(quantity, {}).items():
                style = (0, (4, 3)) if model == ladder.MEDIUM else (0, (1, 2))
                axes.axhline(value, color=PAPER, linewidth=0.9, linestyle=style, zorder=1)
        _name_row(line, name)
    for axes, dimension, names in zip(panels[-1], dimensions, labels, strict=True):
        axes.set_xticks(range(len(names)), names, fontsize=TICKS)
        axes.set(xlabel=AXES.get(dimension, dimension), xlim=(-0.5, len(names) - 0.5))
    _legend(figure, nulls)
    return figure


def _panel(axes: Axes, table: pd.DataFrame, dimension: str, quantity: str, nulls: bool) -> None:
    """One quantity along one dimension."""
    colour = COLOURS.get(quantity.partition(" ")[0], DPO)
    names = {ladder.NAMES[rung]: x for x, rung in enumerate(ladder.along(dimension))}
    of = table[table["quantity"] == quantity]
    trained = _placed(of[of["trained"]], names)
    means = trained.groupby("x")["y"].mean()
    joined = "none" if dimension == ladder.FAMILY else "-"  # as families have no order
    axes.plot(means.index, means, color=colour, linestyle=joined, linewidth=1.2, marker="_", markersize=9)
    axes.plot(trained["x"], trained["y"], "o", color=colour, markersize=3.2)
    bare = _placed(of[~of["trained"]].replace({"rung": "-untrained$"}, "", regex=True), names)
    axes.plot(bare["x"] + ASIDE, bare["y"], "o", markersize=3.4, **HOLLOW)
    if nulls and quantity.endswith(ladder.OWN):
        there = table[(table["quantity"] == quantity.replace(ladder.OWN, ladder.NOTHING)) & table["trained"]]
        beside = _placed(there, names)
        axes.plot(beside["x"] - ASIDE, beside["y"], "_", color=MUTED, markersize=5)


def _placed(table: pd.DataFrame, names: dict[str, int]) -> pd.DataFrame:
    """The values of these rungs with a place each."""
    some = table[table["rung"].isin(names) & np.isfinite(table["value"])]
    places = some["rung"].map(names).astype(float)
    return pd.DataFrame({"x": places, "y": some["value"].clip(LEAST, MOST)})


def _name_row(line: np.ndarray, name: str) -> None:
    """The name of a row of panels above its first, for which the others make no room."""
    for axes in line:
        name_y(axes, " ")
    place = {"xycoords": "axes fraction", "va": "baseline", "in_layout": False}
    note(line[0], name, (0, 1), (0, 5), color=INK, fontsize=9, **place)
    line[0].locator_params(axis="y", nbins=3)


def _labels(dimension: str) -> list[str]:
    """What the rungs along a dimension are called at an axis."""
    values = [getattr(rung, dimension) for rung in ladder.along(dimension)]
    if dimension == ladder.FAMILY:
        return [FAMILY_NAMES[value] for value in values]
    return [str(v // SEVERAL if dimension == "neurons" else v).removeprefix("0") for v in values]


def _legend(figure: Figure, nulls: bool) -> None:
    marks = {
        "trained": Line2D([], [], color=BASE, marker="o", markersize=4, linewidth=1.2),
        "untrained": Line2D([], [], marker="o", markersize=4, linestyle="none", **HOLLOW),
        "against itself": Line2D([], [], color=MUTED, marker="_", linestyle="none"),
        "published": Line2D([], [], color=PAPER, linestyle=(0, (4, 3)), linewidth=0.9),
    }
    if not nulls:
        del marks["against itself"]
    close = {"handlelength": 1.4, "columnspacing": 1.2}
    figure.legend(marks.values(), marks.keys(), ncols=len(marks), **close, **LEGEND)


def size_and_share(table: pd.DataFrame) -> Figure:
    """The share of TP- against the share of positively active neurons: a dot for each run."""
    active, own = f"{ladder.POSITIVE}, {ladder.SAME}", f"TP- share of gross, {ladder.SAME}"
    label = "share of neurons with a positive mean activation"
    return _against(ladder.wide(table), active, own, label, "TP-'s share of the gross reduction, same text")


def features(table: pd.DataFrame) -> Figure:
    """The best ablation's recovered share against the words per dimension of the residual stream."""
    runs = ladder.words_per_dimension(table)
    return _against(runs, ladder.WORDS, BEST, ladder.WORDS, EDITS[BEST], doubling=True)


def _against(runs: pd.DataFrame, x: str, y: str, x_name: str, y_name: str, doubling: bool = False) -> Figure:
    """Trained models, of either language, and untrained networks; x may be drawn by how often it doubles."""
    if not {x, y} <= set(runs) or runs[[x, y]].dropna().empty:
        return nothing(NOT_RUN)
    figure, axes = panel(3)
    kinds = {
        "untrained": (~runs["trained"], HOLLOW),
        "plain language": (runs["trained"] & (runs["language"] == "plain"), {"color": BASE}),
        "rich language": (runs["trained"] & (runs["language"] == "rich"), {"color": DPO}),
    }
    for name, (some, style) in kinds.items():
        shown = runs[some]
        axes.plot(shown[x], shown[y].clip(LEAST, MOST), "o", markersize=4, label=name, **style)
    figure.legend(ncols=3, **LEGEND)
    name_y(axes, y_name)
    axes.set_xlabel(x_name)
    if doubling:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
    return figure
