"""Figures of the ladder: a column for each dimension, a row for each quantity; every seed is drawn."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dpotox.paper.groups import REDUCING
from dpotox.results.agreement import BEST
from dpotox.results.ladder import (
    BEYOND,
    CHANGE,
    DIMENSIONS,
    MEDIUM,
    NAMES,
    NET,
    NOTHING,
    OWN,
    POSITIVE,
    SAME,
    SHIFTED,
    SHIFTED_TP,
    TOP,
    WITHOUT_NOISE,
    WORDS,
    along,
    published,
    wide,
    words_per_dimension,
)
from dpotox.show.figure_style import (
    BACK,
    BASE,
    COLOURS,
    DPO,
    GREY,
    INK,
    MUTED,
    PAPER,
    SMALL,
    WIDTH,
    name_y,
    nothing,
    panel,
)

NOT_RUN = "Nothing of this has been run."
LEAST, MOST = -1.0, 1.5
"""What lies beyond is drawn at the edge: a share of a small effect can be anything."""
ASIDE = 0.2
"""How far untrained networks stand beside the trained models of their shape."""
SEVERAL = 1_000
"""From here numbers are told in thousands of 1,024."""
SHARES = {f"{group} share of gross, {OWN}": f"share of {group}" for group in REDUCING}
UNDONE = {
    f"{NET}, {OWN}": "net / gross, own text",
    f"{NET}, {SAME}": "net / gross, same text",
    WITHOUT_NOISE: "net / gross, own text, without noise",
}
FEW = {
    f"{TOP}, {OWN}": "share of the most toxic .13 %",
    f"{CHANGE}, {OWN}": "correlation of change and cosine",
}
EDITS = {
    BEST: "recovered by the best ablation",
    SHIFTED: "by shifting all four groups",
    SHIFTED_TP: "by shifting TP- alone",
    BEYOND: "all four, minus the best ablation",
}


def shares(table: pd.DataFrame) -> Figure:
    """The groups' shares, beside those of the model before DPO against itself."""
    colours = {quantity: COLOURS[group] for quantity, group in zip(SHARES, REDUCING, strict=True)}
    return multiples(table, SHARES, colours, nulls={q: q.replace(OWN, NOTHING) for q in SHARES})


def undone(table: pd.DataFrame) -> Figure:
    """How much of the gross reduction is left, on either text, and without the noise of the reading."""
    return multiples(table, UNDONE)


def few(table: pd.DataFrame) -> Figure:
    """Whether the most toxic neurons do the work."""
    return multiples(table, FEW)


def edits(table: pd.DataFrame) -> Figure:
    """What ablations and shifts recover."""
    return multiples(table, EDITS)


def multiples(
    table: pd.DataFrame,
    rows: Mapping[str, str],
    colours: Mapping[str, str] | None = None,
    nulls: Mapping[str, str] | None = None,
) -> Figure:
    """Small multiples of some quantities over all rungs.

    Args:
        rows: what each quantity is called.
        colours: of the trained models' dots, where they have a meaning.
        nulls: by quantity another one, what it is where there is nothing to find.
    """
    if table.empty:
        return nothing(NOT_RUN)
    letters = [sum(len(label) + 1 for label in _labels(dimension)) for dimension in DIMENSIONS]
    figure, panels = plt.subplots(
        len(rows),
        len(DIMENSIONS),
        figsize=(WIDTH, 1.15 * len(rows) + 0.75),
        sharex="col",
        sharey="row",
        squeeze=False,
        gridspec_kw={"width_ratios": letters},
    )
    paper = published()
    for (quantity, name), line in zip(rows.items(), panels, strict=True):
        for axes, dimension in zip(line, DIMENSIONS, strict=True):
            colour = (colours or {}).get(quantity, DPO)
            _panel(axes, table, dimension, quantity, colour, (nulls or {}).get(quantity, ""))
            for model, value in paper.get(quantity, {}).items():
                dots = model != MEDIUM
                style = (0, (1, 2)) if dots else (0, (4, 3))
                axes.axhline(value, color=PAPER, linewidth=0.9, linestyle=style, zorder=1)
        _name_row(line, name)
    for axes, dimension in zip(panels[-1], DIMENSIONS, strict=True):
        _rung_axis(axes, dimension)
    _legend(figure, nulls is not None)
    return figure


def _panel(axes: Axes, table: pd.DataFrame, dimension: str, quantity: str, colour: str, null: str) -> None:
    """One quantity along one dimension."""
    names = {NAMES[rung]: x for x, rung in enumerate(along(dimension))}
    of = table[table["quantity"] == quantity]
    trained = _placed(of[of["trained"]], names)
    means = trained.groupby("x")["y"].mean()
    axes.plot(means.index, means, color=colour, linewidth=1.2, marker="_", markersize=9)
    axes.plot(trained["x"], trained["y"], "o", color=colour, markersize=3.2)
    bare = _placed(of[~of["trained"]].replace({"rung": "-untrained$"}, "", regex=True), names)
    style = {"markersize": 3.4, "markerfacecolor": BACK, "markeredgecolor": GREY}
    axes.plot(bare["x"] + ASIDE, bare["y"], "o", **style)
    if null:
        there = table[(table["quantity"] == null) & table["trained"]]
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
    line[0].annotate(
        name, (0, 1), (0, 5), xycoords="axes fraction", textcoords="offset points", color=INK, fontsize=9
    ).set_in_layout(False)
    line[0].locator_params(axis="y", nbins=3)


def _rung_axis(axes: Axes, dimension: str) -> None:
    labels = _labels(dimension)
    axes.set_xticks(range(len(labels)), labels)
    axes.set(xlabel=dimension, xlim=(-0.5, len(labels) - 0.5))


def _labels(dimension: str) -> list[str]:
    """What the rungs along a dimension are called at an axis."""
    values = [getattr(rung, dimension) for rung in along(dimension)]
    return [f"{v // 1024}k" if isinstance(v, int) and v >= SEVERAL else str(v) for v in values]


def _legend(figure: Figure, nulls: bool) -> None:
    hollow = {"markerfacecolor": BACK, "markeredgecolor": GREY, "markersize": 4, "linestyle": "none"}
    marks = {
        "trained": Line2D([], [], color=BASE, marker="o", markersize=4, linewidth=1.2),
        "untrained": Line2D([], [], marker="o", **hollow),
        "against itself": Line2D([], [], color=MUTED, marker="_", linestyle="none"),
        "published": Line2D([], [], color=PAPER, linestyle=(0, (4, 3)), linewidth=0.9),
    }
    if not nulls:
        del marks["against itself"]
    figure.legend(
        marks.values(),
        marks.keys(),
        loc="outside upper left",
        ncols=len(marks),
        frameon=False,
        fontsize=SMALL,
        handlelength=1.4,
        columnspacing=1.2,
        borderpad=0,
    )


def size_and_share(table: pd.DataFrame) -> Figure:
    """The share of TP- against the share of positively active neurons: a dot for each run."""
    figure, axes = _against(wide(table), f"{POSITIVE}, {SAME}", f"TP- share of gross, {SAME}")
    if axes:
        name_y(axes, "TP-'s share of the gross reduction, same text")
        axes.set_xlabel("share of neurons with a positive mean activation")
    return figure


def features(table: pd.DataFrame) -> Figure:
    """The best ablation's recovered share against the words per dimension of the residual stream."""
    figure, axes = _against(words_per_dimension(table), WORDS, BEST)
    if axes:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
        name_y(axes, EDITS[BEST])
        axes.set_xlabel(WORDS)
    return figure


def _against(runs: pd.DataFrame, x: str, y: str) -> tuple[Figure, Axes | None]:
    """Trained models, of either language, and untrained networks."""
    if not {x, y} <= set(runs) or runs[[x, y]].dropna().empty:
        return nothing(NOT_RUN), None
    figure, axes = panel(3)
    kinds = {
        "untrained": (~runs["trained"], {"markerfacecolor": BACK, "markeredgecolor": GREY}),
        "plain language": (runs["trained"] & (runs["language"] == "plain"), {"color": BASE}),
        "rich language": (runs["trained"] & (runs["language"] == "rich"), {"color": DPO}),
    }
    for name, (some, style) in kinds.items():
        axes.plot(
            runs.loc[some, x], runs.loc[some, y].clip(LEAST, MOST), "o", markersize=4, label=name, **style
        )
    figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=SMALL, borderpad=0)
    return figure, axes
