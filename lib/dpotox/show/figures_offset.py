"""The figures of the chapter on the offset, in the style of `dpotox.show.figure_style`."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dpotox.paper.selections import most_toxic
from dpotox.show.figure_style import (
    ABLATED,
    GREY,
    INK,
    MUTED,
    label_right,
    name_y,
    nothing,
    panel,
    percent,
    zero_line,
)

KINDS = {"embeddings": MUTED, "attention": INK, "MLP": GREY, "norm": MUTED}
NO_SHIFT = "Nothing that the neurons read was shifted: there is nothing to divide."


def upstream_beside_change(moved: pd.DataFrame, neurons: pd.DataFrame, top: int) -> Figure:
    """For every neuron the shift upstream's part and the whole change of what enters its GELU.

    Args:
        moved: the table `offset_neurons`, in the order of the neuron table.
        top: how many of the most toxic neurons are marked.
    """
    if not moved["upstream"].any():
        return nothing(NO_SHIFT)
    figure, axes = panel(3.9)
    toxic = moved.loc[most_toxic(neurons, top).index]
    ends = [moved["upstream"].min(), moved["upstream"].max()]
    axes.plot(ends, ends, color=MUTED, linewidth=0.8, zorder=1)
    dots = {"marker": "o", "linestyle": "none"}
    axes.plot(moved["upstream"], moved["change"], color=GREY, markersize=1.8, rasterized=True, **dots)
    axes.plot(toxic["upstream"], toxic["change"], color=ABLATED, markersize=3.6, **dots)
    axes.set_xlabel("key vector times the shift upstream")
    name_y(axes, "change of what enters the GELU, mean over tokens")
    axes.grid(axis="x")
    line = "all by the shift"
    labels = [(ends[1], line, MUTED), (0, f"top {top} toxic", ABLATED), (ends[0], "others", GREY)]
    label_right(axes, labels, drawn={line})
    return figure


def writers(table: pd.DataFrame) -> Figure:
    """What each writer makes of the shift, as each set of neurons reads it: a panel per set."""
    if table["share"].isna().all():
        return nothing(NO_SHIFT)
    sets = list(dict.fromkeys(table["which"]))
    depth = int(table["layer"].max()) + 1
    place = table["layer"].fillna(table["writer"].map({"embeddings": -1.2, "norm": depth + 0.2}))
    table = table.assign(place=place + table["writer"].map({"attention": -0.2, "MLP": 0.2}).fillna(0))
    figure, panels = panel(1.9 * len(sets) + 0.4, len(sets), sharex=True, squeeze=False)
    for axes, which in zip(panels[:, 0], sets, strict=True):
        part = table[table["which"] == which]
        for kind, colour in KINDS.items():
            here = part[part["writer"] == kind]
            axes.bar(here["place"], here["share"], width=0.36, color=colour, zorder=2)
        zero_line(axes)
        name_y(axes, which)
        axes.title.set_color(INK)
        percent(axes.yaxis)
        axes.locator_params(axis="y", nbins=5)
        middle = np.mean(axes.get_ylim())
        label_right(axes, [(middle + 1e-9, "attention", KINDS["attention"]), (middle, "MLP", KINDS["MLP"])])
    layers = range(0, depth, -(-depth // 8))
    panels[-1, 0].set_xticks([-1.2, *layers, depth + 0.2], ["emb.", *map(str, layers), "norm"])
    panels[-1, 0].set_xlabel("the writer's layer")
    return figure
