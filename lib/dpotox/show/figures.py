"""The figures: one family, one colour per group everywhere, the paper's value drawn where there is one.

Every function takes tables and returns a matplotlib figure; none computes a result. The style is in
`dpotox.show.figure_style`; those of the neuron table are in `dpotox.show.figures_neurons`, and of table 1 in
`dpotox.show.figures_table1`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dpotox.results.ladder import MEDIUM, OWN, published
from dpotox.results.record import Loss
from dpotox.show.figure_style import (
    ABLATED,
    AFTER,
    BACK,
    BASE,
    BEFORE,
    COLOURS,
    DPO,
    GREY,
    INK,
    MUTED,
    PAPER,
    PUBLISHED,
    label_right,
    layer_axis,
    name_row,
    name_y,
    note,
    nothing,
    panel,
    paper_mark,
    percent,
    rows_only,
    use_style,
    zero_line,
)
from dpotox.show.figures_neurons import (
    activation_shifts,
    cumulative_reduction,
    drops_by_layer,
    group_shares,
    overview,
    stacked_shares,
    top_toxic_activations,
)
from dpotox.show.report import published_outcomes

__all__ = [
    "COLOURS",
    "activation_shifts",
    "calibration",
    "cumulative_reduction",
    "dpo_curves",
    "drops_by_layer",
    "group_shares",
    "layer_projections",
    "null_shares",
    "outcomes",
    "overview",
    "pretraining_curve",
    "probe_selection",
    "stacked_shares",
    "top_toxic_activations",
    "use_style",
]

KINDS = {
    "random": "random",
    "matched": "as the residual stream varies",
    "shuffled labels": "probes of shuffled labels",
}
"""Kinds of directions that mean nothing."""


def pretraining_curve(curve: pd.DataFrame, report: Loss) -> Figure:
    """Training loss of batches; at its end the loss on unseen text and a mark to compare it with."""
    figure, axes = panel(2.9)
    end = curve["step"].max()
    known, mark = "token frequencies alone", report.unigram
    if report.bound is not None:
        known, mark = "generator's information", report.bound
    axes.plot(curve["step"], curve["loss"], color=GREY, linewidth=1.2)
    axes.plot(end, report.loss, "o", color=BASE, clip_on=False, zorder=4)
    axes.axhline(mark, color=MUTED, linestyle=(0, (4, 3)), linewidth=1)
    low, high = min(report.loss, mark) - 0.5, max(4.5, report.loss + 1, mark + 0.5)
    name_y(axes, "loss, nats per token")
    axes.set(xlabel="training step", ylim=(low, high), xlim=(0, end))
    inside = curve[(curve["loss"] < high - 0.2 * (high - low)) & (curve["step"] > 0.04 * end)]
    if len(inside):
        at = inside.iloc[0]
        note(axes, "training batches", (at["step"], at["loss"]), (8, 6), va="bottom", color=MUTED)
    above = report.loss >= mark
    for name, value, up in (("unseen text", report.loss, above), (known, mark, not above)):
        place = {"ha": "right", "va": "bottom" if up else "top"}
        note(axes, f"{name}: {value:.2f}", (end, value), (0, 8 if up else -5), **place)
    return figure


def probe_selection(selection: pd.DataFrame) -> Figure:
    """AUC over the regularisation strength, the chosen one marked."""
    figure, axes = panel(2.5)
    axes.semilogx(selection["C"], selection["auc"], "o-", color=GREY, markersize=4, linewidth=1.2)
    chosen = selection[selection["chosen"]].iloc[0]
    axes.plot(chosen["C"], chosen["auc"], "o", color=INK, markersize=8, zorder=4)
    left = chosen["C"] > np.sqrt(selection["C"].min() * selection["C"].max())
    text = f"chosen: C = {chosen['C']:g}, AUC {chosen['auc']:.3f}"
    below = chosen["auc"] < selection["auc"].mean()  # the line goes the other way
    note(axes, text, (chosen["C"], chosen["auc"]), (0, -14 if below else 14), ha="right" if left else "left")
    axes.margins(0.05, 0.28)
    axes.minorticks_off()
    axes.xaxis.set_major_formatter("{x:g}")
    name_y(axes, "AUC on the selection part")
    axes.set_xlabel("C (small: strong regularisation)")
    return figure


def calibration(points: pd.DataFrame) -> Figure:
    """Observed share of toxic comments against the probe's predicted probability."""
    figure, axes = panel(3.4)
    axes.plot([0, 1], [0, 1], color=MUTED, linestyle=(0, (4, 3)), linewidth=1)
    note(axes, "as predicted", (0.16, 0.19), (0, 0), ha="center", color=MUTED, rotation=45)
    axes.plot(points["predicted"], points["observed"], "o-", color=INK, markersize=4, clip_on=False)
    middle = points.iloc[len(points) // 2]
    beside, side = (-8, "right") if middle["observed"] > middle["predicted"] else (8, "left")
    note(axes, "this probe", (middle["predicted"], middle["observed"]), (beside, 4), ha=side)
    for axis in (axes.xaxis, axes.yaxis):
        percent(axis)
    name_y(axes, "observed share of toxic comments")
    axes.set(xlabel="predicted probability", xlim=(0, 1), ylim=(0, 1))
    axes.set_aspect("equal")
    return figure


def dpo_curves(curves: pd.DataFrame) -> Figure:
    """Loss, reward margin and accuracy by step, training and validation."""
    names = {
        "loss": "loss, nats",
        "margin": "reward margin, nats",
        "accuracy": "pairs with a positive margin",
    }
    figure, panels = panel(4.6, len(names), sharex=True)
    for axes, (measure, name) in zip(panels, names.items(), strict=True):
        labels = []
        for split, label, colour in (("train", "training", GREY), ("validation", "validation", DPO)):
            part = curves[curves["split"] == split]
            axes.plot(part["step"], part[measure], color=colour, linewidth=1.3)
            if len(part):
                labels.append((part[measure].iloc[-1], label, colour))
        name_y(axes, name)
        axes.locator_params(axis="y", nbins=4)
        if measure == "accuracy":
            percent(axes.yaxis)
        label_right(axes, labels, drawn={"training", "validation"})
    panels[-1].set_xlabel("training step")
    return figure


def outcomes(table: pd.DataFrame) -> Figure:
    """Every measure after DPO as a multiple of its value before, beside the published ones.

    Args:
        table: `measure`, `before`, `after`.
    """
    paper = published_outcomes()
    figure, axes = panel(0.42 * len(table) + 0.9)
    rows_only(axes)
    axes.axvline(1, color=MUTED, linewidth=0.9, zorder=1)
    for i, line in enumerate(table.itertuples()):
        name_row(axes, 0.38 - i, line.measure)
        if line.before:
            axes.plot([1, line.after / line.before], [-i, -i], color=DPO, linewidth=1.6)
            axes.plot(line.after / line.before, -i, "o", color=DPO, markersize=6)
        if line.measure in paper:
            before, after = paper[line.measure]
            paper_mark(axes, after / before, -i)
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0), max(high, 1.15))
    edge = axes.get_yaxis_transform()
    paper_mark(axes, 0.02, 0.95, transform=edge)
    note(axes, PUBLISHED, (0.02, 0.95), (7, 0), xycoords=edge)
    axes.set(xlabel="after DPO, times before", ylim=(-len(table) + 0.4, 1.2))
    return figure


def layer_projections(layers: pd.DataFrame, part: str) -> Figure:
    """A projection on the probe by layer, for the three models (figure 1a).

    Args:
        layers: `part`, `model`, `layer`, `value`, `reach` (half an interval's width).
        part: what is projected.
    """
    figure, axes = panel(3)
    labels, shown = [], layers[layers["part"] == part].set_index("model")
    for model, name, colour, marker in (
        ("before", BEFORE, BASE, "o"),
        ("ablated", "top toxic neurons\nablated", ABLATED, "s"),
        ("after", AFTER, DPO, "^"),
    ):
        lines = shown.loc[[model]]
        style = {"color": colour, "marker": marker, "markersize": 4, "linewidth": 1.4, "elinewidth": 1}
        axes.errorbar(lines["layer"], lines["value"], lines["reach"], **style)
        labels.append((lines["value"].iloc[-1], name, colour))
    zero_line(axes)
    layer_axis(axes, layers["layer"].max() + 1)
    name_y(axes, f"projection of the {part} on the unit probe")
    label_right(axes, labels, lines=1.9)
    return figure


def null_shares(
    others: pd.DataFrame, comparisons: pd.DataFrame, quantity: str, label: str, text: str = "own"
) -> Figure:
    """A quantity along other directions, beside its value in each comparison and the published one.

    Args:
        others: `kind`, `text` and the quantity, a row per direction.
        comparisons: `comparison`, `place`, `quantity`, `value`, `low`, `high`.
        text: directions and comparisons of each model's own text, or of the same text.
    """
    others = others[others["text"] == text].groupby("kind", sort=False)[quantity]
    here = comparisons[comparisons["place"].isin({"same", "after"}) == (text == "same")]
    here = here[here["quantity"] == quantity]
    count = len(others) + len(here)
    if not others.count().any() and here["value"].isna().all():
        return nothing(
            "No neuron writes less after DPO, along whichever direction: there is nothing to divide."
        )
    figure, axes = panel(0.37 * count + 0.95)
    rows_only(axes)
    for i, (kind, values) in enumerate(others):
        values = values.dropna()
        name_row(axes, -i + 0.36, f"{KINDS[kind]}: {len(values)} directions")
        low, middle, high = values.quantile([0.025, 0.5, 0.975])
        axes.plot(values, np.full(len(values), -i), "|", color=GREY, markersize=7, markeredgewidth=0.6)
        axes.plot([low, high], [-i, -i], color=MUTED, linewidth=3, solid_capstyle="butt")
        axes.plot(middle, -i, "o", markerfacecolor=BACK, markeredgecolor=MUTED, markersize=6)
    for i, row in enumerate(here.itertuples(), start=len(others)):
        colour = DPO if i == len(others) else BASE
        name_row(axes, -i + 0.36, row.comparison)
        axes.plot([row.low, row.high], [-i, -i], color=colour)
        axes.plot(row.value, -i, "o", color=colour, markersize=6)
    reference = published()[f"{quantity}, {OWN}"][MEDIUM]
    axes.plot([reference] * 2, [-count + 0.6, 0.85], color=PAPER, linewidth=1, zorder=1)
    axes.margins(x=0.03)
    axes.set(xlabel=label, ylim=(-count + 0.5, 0.75))
    low, high = axes.get_xlim()
    beside, side = (-7, "right") if reference > (low + high) / 2 else (7, "left")
    paper_mark(axes, reference, 0.95)
    note(axes, f"{PUBLISHED}: {reference:.2f}", (reference, 0.95), (beside, 0), ha=side)
    return figure
