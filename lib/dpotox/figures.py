"""The figures: one family, one colour per group everywhere, the paper's value drawn where there is one.

Every function takes tables and returns a matplotlib figure; none computes a result.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dpotox.groups import INCREASING, REDUCING, gross_and_net, group_table, layer_drops, ranking
from dpotox.pretraining import LossReport
from dpotox.published import published_groups

# Okabe and Ito's palette, which colour-blind readers can tell apart.
COLOURS = {
    "TP-": "#D55E00",
    "AN-": "#0072B2",
    "TN+": "#E69F00",
    "AP+": "#56B4E9",
    "TP+": "#8C6D5A",
    "AN+": "#7A8691",
    "TN-": "#B39B7D",
    "AP-": "#A5B3BF",
}
BASE, ABLATED, DPO, PAPER, HERE = "#333333", "#CC79A7", "#009E73", "#AA3377", "#333333"


def use_style() -> None:
    """Set the book's look; call it once at the top of a notebook."""
    plt.rcParams.update(
        {
            "figure.dpi": 110,
            "savefig.dpi": 220,
            "savefig.bbox": "tight",
            "font.size": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 10,
            "axes.titlelocation": "left",
            "legend.frameon": False,
            "figure.constrained_layout.use": True,
        }
    )


def pretraining_curve(curve: pd.DataFrame, report: LossReport) -> Figure:
    """Training loss of batches; at its end the loss on unseen text and a mark to compare it with."""
    figure, axes = plt.subplots(figsize=(6, 3))
    end, marks = curve["step"].max(), {"token frequencies alone": report.unigram}
    if report.bound is not None:
        marks = {"generator's information": report.bound}
    axes.plot(curve["step"], curve["loss"], color="#BBBBBB")
    axes.plot(end, report.loss, "o", color=BASE)
    axes.annotate(
        f"unseen text, {report.loss:.2f}",
        (end, report.loss),
        xytext=(0, 10),
        textcoords="offset points",
        ha="right",
    )
    for name, value in marks.items():
        axes.axhline(value, color=DPO, linestyle="--")
        axes.annotate(
            f"{name}, {value:.2f}",
            (end, value),
            xytext=(0, -12),
            textcoords="offset points",
            ha="right",
            color=DPO,
        )
    low = min(report.loss, *marks.values()) - 0.5
    high = max(4.5, report.loss + 1, *(v + 0.5 for v in marks.values()))
    axes.set(xlabel="training step", ylabel="loss in nats per token", ylim=(low, high))
    return figure


def probe_selection(selection: pd.DataFrame) -> Figure:
    """AUC over the regularisation strength, the chosen one marked."""
    figure, axes = plt.subplots(figsize=(5, 2.8))
    axes.semilogx(selection["C"], selection["auc"], "o-", color=BASE)
    chosen = selection[selection["chosen"]].iloc[0]
    axes.plot(chosen["C"], chosen["auc"], "o", color=COLOURS["TP-"], markersize=10)
    axes.annotate("chosen", (chosen["C"], chosen["auc"]), xytext=(8, 8), textcoords="offset points")
    axes.set(xlabel="C (small: strong regularisation)", ylabel="AUC, selection set")
    return figure


def calibration(points: pd.DataFrame) -> Figure:
    """Observed share of toxic comments against the probe's predicted probability."""
    figure, axes = plt.subplots(figsize=(3.6, 3.4))
    axes.plot([0, 1], [0, 1], color="#BBBBBB", linestyle="--")
    axes.plot(points["predicted"], points["observed"], "o-", color=BASE)
    axes.set(xlabel="predicted probability", ylabel="observed share", xlim=(0, 1), ylim=(0, 1))
    axes.set_aspect("equal")
    return figure


def dpo_curves(curves: pd.DataFrame) -> Figure:
    """Loss, reward margin and accuracy by step, training and validation."""
    figure, panels = plt.subplots(1, 3, figsize=(9, 2.6))
    for axes, measure in zip(panels, ("loss", "margin", "accuracy"), strict=True):
        for split, colour in (("train", "#BBBBBB"), ("validation", DPO)):
            part = curves[curves["split"] == split]
            axes.plot(part["step"], part[measure], color=colour, label=split)
        axes.set(title=measure, xlabel="step")
    panels[0].legend()
    return figure


def layer_projections(base: np.ndarray, ablated: np.ndarray, dpo: np.ndarray, ylabel: str) -> Figure:
    """A projection on the probe by layer, for the three models (figure 1a). Arrays: (prompt, layer)."""
    figure, axes = plt.subplots(figsize=(6, 3.2))
    for values, name, colour, marker in (
        (base, "before DPO", BASE, "o"),
        (ablated, "top toxic neurons ablated", ABLATED, "s"),
        (dpo, "after DPO", DPO, "^"),
    ):
        centre = values.mean(0)
        spread = 1.96 * values.std(0) / np.sqrt(len(values))
        layers = np.arange(len(centre))
        axes.errorbar(layers, centre, spread, color=colour, marker=marker, label=name, capsize=2)
    axes.axhline(0, color="#DDDDDD", zorder=0)
    axes.set(xlabel="layer", ylabel=ylabel, xticks=layers)
    axes.legend()
    return figure


def cumulative_reduction(neurons: pd.DataFrame) -> Figure:
    """Running sum of projection drops over neurons, largest first, as a share of its peak (figure 1b).

    The peak is the sum of all positive drops, which is a little more than the four groups' sum.
    """
    ranked = ranking(neurons)
    share = ranked["cumulative_drop"] / ranked["cumulative_drop"].max()
    figure, axes = plt.subplots(figsize=(6, 3.2))
    axes.plot(ranked["rank"], share, color=BASE)
    for level in (0.5, 0.95):
        at = int((share >= level).idxmax()) + 1
        axes.plot([at, at, 0], [0, level, level], color="#BBBBBB", linewidth=1)
        axes.annotate(f"{level:.0%}: {at:,}", (at, level), xytext=(6, -10), textcoords="offset points")
    axes.set(
        xlabel="neurons, largest projection drop first",
        ylabel="share of all positive drops",
        xlim=(0, len(ranked)),
        ylim=(0, 1.05),
    )
    return figure


def group_shares(neurons: pd.DataFrame, intervals: pd.DataFrame | None = None) -> Figure:
    """Every group's summed projection drop as a share of the gross reduction, beside the paper's (2a).

    Args:
        intervals: `low` and `high` by group, for the four reducing groups.
    """
    here, paper = group_table(neurons), published_groups()
    order = list(REDUCING) + list(INCREASING)
    figure, axes = plt.subplots(figsize=(7, 3.4))
    for i, group in enumerate(order):
        gross = here.loc[list(REDUCING), "projection_drop"].sum()
        value = here.loc[group, "projection_drop"] / gross
        reference = paper.loc[group, "projection_drop"] / paper.loc[list(REDUCING), "projection_drop"].sum()
        axes.bar(i, value, color=COLOURS[group], width=0.7)
        if intervals is not None and group in intervals.index:
            low, high = intervals.loc[group, ["low", "high"]]
            axes.plot([i, i], [low, high], color="black", linewidth=1)
        axes.plot([i - 0.4, i + 0.4], [reference] * 2, color=PAPER, linewidth=2)
        axes.annotate(
            f"{value:.0%}",
            (i, value),
            xytext=(-14, 4 if value > 0 else -12),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    axes.plot([], [], color=PAPER, linewidth=2, label="GPT-2 medium, published")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set(xticks=range(len(order)), xticklabels=order, ylabel="share of the gross reduction")
    axes.legend(loc="lower left")
    return figure


def stacked_shares(neurons: pd.DataFrame) -> Figure:
    """What each reducing group adds along the ranking (figure 2b)."""
    ranked = ranking(neurons)
    ranked = ranked[ranked["projection_drop"] > 0]
    running = ranked[[f"cumulative_{g}" for g in REDUCING]].to_numpy().T
    running = running / running[:, -1].sum()
    figure, axes = plt.subplots(figsize=(6, 3.2))
    axes.stackplot(ranked["rank"], running, colors=[COLOURS[g] for g in REDUCING], linewidth=0)
    middle = np.cumsum(running[:, -1]) - running[:, -1] / 2
    for group, height in zip(REDUCING, middle, strict=True):
        axes.annotate(
            group,
            (ranked["rank"].iloc[-1], height),
            xytext=(4, -3),
            textcoords="offset points",
            color=COLOURS[group],
            annotation_clip=False,
        )
    axes.set(
        xlabel="neurons, largest projection drop first",
        ylabel="share of the four groups' positive drops",
        xlim=(1, ranked["rank"].iloc[-1]),
        ylim=(0, 1),
    )
    return figure


def activation_shifts(neurons: pd.DataFrame, top: int = 500) -> Figure:
    """Mean activation before and after DPO of the neurons with the largest drops, by group (2c)."""
    ranked = ranking(neurons).head(top)
    figure, panels = plt.subplots(2, 2, figsize=(8, 4.6), sharex=True)
    for axes, group in zip(panels.flat, REDUCING, strict=True):
        part = ranked[ranked["group"] == group]
        axes.vlines(part["rank"], part["pre_activation"], part["post_activation"], color=COLOURS[group])
        axes.plot(part["rank"], part["pre_activation"], "o", color="#999999", markersize=2)
        axes.plot(part["rank"], part["post_activation"], "o", color=COLOURS[group], markersize=2.5)
        axes.axhline(0, color="#DDDDDD", zorder=0)
        axes.set_title(f"{group}: {len(part)} of the top {len(ranked)}", color=COLOURS[group])
    figure.supxlabel("rank by projection drop", fontsize=10)
    figure.supylabel("mean activation", fontsize=10)
    return figure


def drops_by_layer(neurons: pd.DataFrame) -> Figure:
    """Summed projection drop per layer and group, with the net (figure 3)."""
    table = layer_drops(neurons)
    figure, axes = plt.subplots(figsize=(7, 3.4))
    above, below = np.zeros(len(table)), np.zeros(len(table))
    for group in REDUCING + INCREASING:  # by sign, not by name: moved value vectors can turn a sum
        drop = table[group].to_numpy()
        bottom = np.where(drop >= 0, above, below)
        axes.bar(table.index, drop, bottom=bottom, color=COLOURS[group], label=group)
        above, below = above + drop.clip(min=0), below + drop.clip(max=0)
    axes.plot(table.index, table.sum(axis=1), "D-", color="black", markersize=4, label="net")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set(xlabel="layer", ylabel="projection drop", xticks=table.index)
    axes.legend(ncols=1, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def top_toxic_activations(toxic: pd.DataFrame) -> Figure:
    """Mean activations before and after DPO of the most toxic neurons, by rank of cosine (figure 4)."""
    figure, axes = plt.subplots(figsize=(7, 3))
    rank = np.arange(1, len(toxic) + 1)
    axes.vlines(rank, toxic["pre_activation"], toxic["post_activation"], color="#BBBBBB")
    axes.plot(rank, toxic["pre_activation"], "o", color=BASE, markersize=3, label="before DPO")
    axes.plot(rank, toxic["post_activation"], "^", color=DPO, markersize=3.5, label="after DPO")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set(xlabel="neurons, largest cosine with the probe first", ylabel="mean activation")
    axes.legend()
    return figure


def null_shares(others: pd.DataFrame, comparisons: pd.DataFrame, quantity: str, label: str) -> Figure:
    """A quantity along other directions, beside its value in each comparison and the published one.

    Args:
        others: `kind` and the quantity, a row per direction.
        comparisons: `comparison`, `quantity`, `value`, `low`, `high`.
    """
    kinds = list(others["kind"].unique())
    here = comparisons[comparisons["quantity"] == quantity].reset_index(drop=True)
    figure, axes = plt.subplots(figsize=(7, 0.42 * (len(kinds) + len(here)) + 1))
    names = [f"{kind}: {(others['kind'] == kind).sum()} directions" for kind in kinds]
    for i, kind in enumerate(kinds):
        values = others.loc[others["kind"] == kind, quantity].dropna()
        low, middle, high = values.quantile([0.025, 0.5, 0.975])
        axes.plot(values, np.full(len(values), -i), "|", color="#BBBBBB", markersize=9)
        axes.plot([low, high], [-i, -i], color="#666666", linewidth=3, solid_capstyle="butt")
        axes.plot(middle, -i, "o", color="white", markeredgecolor="#666666", markersize=6)
    for i, row in enumerate(here.itertuples(), start=len(kinds)):
        colour = DPO if i == len(kinds) else BASE
        axes.plot([row.low, row.high], [-i, -i], color=colour)
        axes.plot(row.value, -i, "o", color=colour, markersize=6)
    reference = _published_quantity(quantity)
    axes.axvline(reference, color=PAPER, linewidth=1.5)
    axes.annotate(
        f" GPT-2 medium, published: {reference:.2f}",
        (reference, 0.6),
        color=PAPER,
        fontsize=9,
        annotation_clip=False,
    )
    axes.set_yticks(-np.arange(len(kinds) + len(here)), [*names, *here["comparison"]])
    axes.set(xlabel=label, ylim=(-len(kinds) - len(here) + 0.5, 1))
    return figure


def _published_quantity(quantity: str) -> float:
    table = published_groups()
    gross, net = gross_and_net(table)
    if quantity == "net / gross":
        return net / gross
    return float(table["share_of_gross"][quantity.removesuffix(" share of gross")])
