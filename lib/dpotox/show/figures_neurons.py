"""The figures of the neuron table: what each neuron, group and layer adds, in the style of the book.

Lines over many neurons are thinned out to what can be seen, so that a figure of 98,304 neurons stays small.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dpotox.paper.groups import (
    GROUPS,
    INCREASING,
    REDUCING,
    are_turned,
    gross_and_net,
    group_table,
    layer_drops,
    ranking,
    that_can_be,
)
from dpotox.paper.published import NUMBERS, published_groups
from dpotox.paper.selections import dampened_drop, most_toxic
from dpotox.show.figure_style import (
    AFTER,
    BACK,
    BASE,
    BEFORE,
    COLOURS,
    DPO,
    GREY,
    INK,
    MEANING,
    MUTED,
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
    share,
    spread,
    zero_line,
)

POINTS = 300  # of a line: more cannot be seen at this width
NO_DROP = "No neuron writes less along the probe after DPO: there is nothing to divide."


def cumulative_reduction(neurons: pd.DataFrame) -> Figure:
    """Running sum of projection drops over neurons, largest first, as a share of its peak (figure 1b).

    The peak is the sum of all positive drops, which is a little more than the four groups' sum. The paper's
    marks are its peak, and its net reduction at the end.
    """
    ranked = ranking(neurons)
    if not (ranked["projection_drop"] > 0).any():
        return nothing(NO_DROP)
    running = (ranked["cumulative_drop"] / ranked["cumulative_drop"].max()).to_numpy()
    part = np.arange(1, len(running) + 1) / len(running)
    some = _thinned(len(running))
    figure, axes = panel(3.3)
    axes.plot(np.append(0, part[some]), np.append(0, running[some]), color=BASE, linewidth=1.8)
    for level in (0.5, 0.95):
        at = int((running >= level).argmax())
        x = part[at]
        axes.plot([0, x, x], [level, level, 0], color=MUTED, linewidth=0.8, linestyle=":")
        axes.plot(x, level, "o", color=BASE, markersize=4)
        falls = running[(part >= x) & (part < x + 0.3)].min() < level or x > 0.7  # no room below the line
        place = {"xytext": (-7, -16), "ha": "right"} if falls else {"xytext": (7, -7)}
        note(axes, f"{level:.0%}:\n{at + 1:,} neurons", (x, level), va="top", **place)
    paper = NUMBERS["groups"]
    peak = paper["neurons_that_reduce"] / paper["neurons"]
    end = paper["net_projection_drop"] / paper["gross_by_projection"]
    paper_mark(axes, [peak, 1], [1, end])
    note(axes, f"{PUBLISHED}:\npeak at {peak:.1%} of neurons", (peak, 1), (0, 8), ha="center", va="bottom")
    note(axes, f"{PUBLISHED}:\nnet {share(end)} of these", (1, end), (-9, 0), ha="right")
    note(axes, f"net {share(running[-1])}\nof these", (1, running[-1]), (6, 0))
    name_y(axes, "share of all positive drops")
    percent(axes.xaxis)
    percent(axes.yaxis)
    axes.set_yticks(np.arange(0, 1.01, 0.25))
    axes.set(xlabel="neurons, largest projection drop first", xlim=(0, 1))
    axes.set_ylim(min(0, running[-1], end) - 0.02, 1.22)
    return figure


def _thinned(n: int) -> np.ndarray:
    """At most so many indices of n ranked neurons that a line can be drawn of, closer in the first tenth."""
    tenth = max(n // 10, 1)
    whole, first = np.linspace(0, n - 1, min(n, POINTS)), np.linspace(0, tenth - 1, min(tenth, POINTS // 2))
    return np.union1d(whole.round(), first.round()).astype(int)


def group_shares(neurons: pd.DataFrame, intervals: pd.DataFrame | None = None) -> Figure:
    """Every group's summed projection drop as a share of the gross reduction, beside the paper's (2a).

    Args:
        intervals: `low` and `high` by group, for the four reducing groups.
    """
    names = that_can_be(neurons)
    tables = group_table(neurons), published_groups(are_turned(neurons))
    here, paper = (table["projection_drop"] / gross_and_net(table)[0] for table in tables)
    if here.isna().any():
        return nothing(NO_DROP)
    figure, axes = panel(0.39 * len(names) + 0.8)
    rows_only(axes)
    edge = axes.get_yaxis_transform()
    for y, group in enumerate(names):
        axes.barh(-y, here[group], color=COLOURS[group], height=0.42, zorder=2)
        if intervals is not None and group in intervals.index:
            axes.plot(intervals.loc[group, ["low", "high"]], [-y, -y], color=INK, linewidth=1.2, zorder=3)
        name_row(axes, 0.41 - y, f"{group}:  {MEANING[group]}")
        for x, value in ((1.1, here[group]), (1.24, paper[group])):
            note(axes, share(value), (x, -y), (0, 0), ha="right", xycoords=edge)
    paper_mark(axes, paper[names], -np.arange(len(names)))
    side = "center" if here.min() > -0.8 else "right"  # of a wide axis, there is no room on the right
    note(axes, PUBLISHED, (paper[names[0]], 0.22), (0, 3), ha=side, va="bottom")
    for x, head in ((1.1, "here"), (1.24, "paper")):
        note(axes, head, (x, 0.22), (0, 3), ha="right", va="bottom", xycoords=edge)
    axes.axvline(0, color=MUTED, linewidth=0.8, zorder=1)
    percent(axes.xaxis)
    axes.margins(x=0.05)
    axes.set(xlabel="share of the gross reduction", ylim=(-len(names) + 0.5, 0.75))
    return figure


def stacked_shares(neurons: pd.DataFrame) -> Figure:
    """What each reducing group adds along the ranking (figure 2b); marks are the paper's at its end."""
    ranked = ranking(neurons)
    ranked = ranked[ranked["projection_drop"] > 0]
    if not ranked["group"].isin(REDUCING).any():
        return nothing(NO_DROP)
    some = _thinned(len(ranked))
    groups = that_can_be(neurons, REDUCING)
    running = ranked[[f"cumulative_{g}" for g in groups]].to_numpy()[some].T
    running = np.hstack([np.zeros((len(groups), 1)), running / running[:, -1].sum()])
    figure, axes = panel(3.3)
    rank = np.append(0, ranked["rank"].to_numpy()[some])
    tops = running.cumsum(0)
    for group, top, own in zip(groups, tops, running, strict=True):
        axes.fill_between(rank, top - own, top, color=COLOURS[group], linewidth=0)
        axes.plot(rank, top, color=BACK, linewidth=1)
    name_y(axes, "share of the four groups' positive drops", grid=False)
    percent(axes.yaxis)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.locator_params(axis="x", nbins=5)
    axes.set(xlabel="neurons, largest projection drop first", xlim=(0, rank[-1]), ylim=(0, 1))
    paper, last = published_groups(are_turned(neurons))["share_of_gross"][groups], running[:, -1]
    paper_mark(axes, [rank[-1]] * (len(paper) - 1), paper.cumsum()[:-1])
    ends = zip(groups, last.cumsum() - last / 2, last, strict=True)
    labels = [(y, f"{g} {share(own)}\npaper {share(paper[g])}", COLOURS[g]) for g, y, own in ends]
    label_right(axes, labels, lines=2.4)
    return figure


def activation_shifts(neurons: pd.DataFrame, top: int = 500) -> Figure:
    """Mean activation before and after DPO of the neurons with the largest drops, by group (2c)."""
    ranked = ranking(neurons).head(top)
    if not (ranked["projection_drop"] > 0).any():
        return nothing(NO_DROP)
    groups = that_can_be(neurons, REDUCING)
    figure, panels = panel(1.4 * len(groups), len(groups), sharex=True)
    for axes, group in zip(panels, groups, strict=True):
        part = ranked[ranked["group"] == group]
        rank, before, after = (part[c] for c in ("rank", "pre_activation", "post_activation"))
        axes.vlines(rank, before, after, color=COLOURS[group], linewidth=0.7, rasterized=len(part) > 300)
        dots = {"rasterized": len(part) > 300, "linestyle": "none", "clip_on": False}
        axes.plot(rank, before, marker="o", color=GREY, markersize=1.8, **dots)
        axes.plot(rank, after, marker="o", color=COLOURS[group], markersize=2.4, **dots)
        zero_line(axes)
        name_y(axes, f"{group}  {MEANING[group]}: {len(part)} of the top {len(ranked)}")
        axes.title.set_color(INK)
        axes.locator_params(axis="y", nbins=4)
        axes.set_xlim(0, len(ranked) + 1)
    panels[-1].set_xlabel("rank by projection drop")
    legend = "mean activation; grey dots: before DPO, coloured: after"
    figure.suptitle(legend, x=0.01, ha="left", fontsize=9, color=MUTED)
    return figure


def drops_by_layer(neurons: pd.DataFrame) -> Figure:
    """Summed projection drop per layer and group, with the net (figure 3)."""
    table = layer_drops(neurons)
    figure, axes = panel(3.6)
    above, below = np.zeros(len(table)), np.zeros(len(table))
    for group in GROUPS:  # by sign, not by name: moved value vectors can turn a sum
        drop = table[group].to_numpy()
        bottom = np.where(drop >= 0, above, below)
        axes.bar(table.index, drop, bottom=bottom, color=COLOURS[group], edgecolor=BACK, linewidth=0.5)
        above, below = above + drop.clip(min=0), below + drop.clip(max=0)
    net = table.sum(axis=1)
    style = {"markersize": 4.5, "markeredgecolor": BACK, "markeredgewidth": 0.7, "linewidth": 1.2}
    axes.plot(table.index, net, "o-", color=INK, **style)
    zero_line(axes)
    layer_axis(axes, len(table))
    name_y(axes, "summed projection drop")
    some = [that_can_be(neurons, names) for names in (REDUCING[::-1], INCREASING)]
    names = [(g, COLOURS[g]) for g in some[0]] + [("net", INK)] + [(g, COLOURS[g]) for g in some[1]]
    low, high = axes.get_ylim()
    heights = np.linspace(high, low, 2 * len(names) + 1)[1::2]
    label_right(axes, [(y, name, colour) for y, (name, colour) in zip(heights, names, strict=True)])
    return figure


def top_toxic_activations(toxic: pd.DataFrame) -> Figure:
    """Mean activations before and after DPO of the most toxic neurons, by rank of cosine (figure 4)."""
    figure, axes = panel(3)
    rank = np.arange(1, len(toxic) + 1)
    before, after = (toxic[c].to_numpy() for c in ("pre_activation", "post_activation"))
    axes.vlines(rank, before, after, color=GREY, linewidth=0.8)
    axes.plot(rank, before, "o", color=BASE, markersize=3, clip_on=False)
    axes.plot(rank, after, "^", color=DPO, markersize=3.6, clip_on=False)
    zero_line(axes)
    positive, paper = int((before > 0).sum()), NUMBERS["groups"]["top_128_positive"]
    name_y(axes, f"mean activation; above 0 before DPO: {positive} of {len(toxic)} (paper: {paper} of 128)")
    axes.set(xlabel="neurons, largest cosine with the probe first", xlim=(0, len(toxic) + 1))
    if len(toxic):
        label_right(axes, [(before[-1], BEFORE, BASE), (after[-1], AFTER, DPO)])
    return figure


def overview(neurons: pd.DataFrame, top: int) -> Figure:
    """The paper's claim in one picture: which part of the reduction comes from which neurons.

    Two columns, this model and the published GPT-2 medium, divide the gross reduction among the four groups;
    inside them the part of the most toxic neurons that become less active, which are the explanation that
    the paper tests; beside them what the other four groups take back.

    Args:
        top: how many neurons count as the most toxic.
    """
    here, paper = group_table(neurons), published_groups(are_turned(neurons))
    published = NUMBERS["groups"]
    dampened = dampened_drop(most_toxic(neurons, top))
    figure, axes = panel(4.5)
    _column(axes, 0, here, dampened, f"this model\n{len(neurons):,} neurons", top)
    head = PUBLISHED.replace(", ", ",\n") + f"\n{published['neurons']:,} neurons"
    _column(axes, 2.2, paper, published["top_128_drop"], head, 128)
    axes.set(xlim=(-0.85, 3), ylim=(-0.15, 1.16))
    axes.set_axis_off()
    axes.set_title("shares of the gross reduction of toxicity", pad=10)
    middle = paper["share_of_gross"][list(REDUCING)]
    middle = middle.cumsum() - middle / 2
    names = [(middle[g], MEANING[g].replace(", ", " neurons,\n"), COLOURS[g]) for g in REDUCING]
    top_of_others = (1.06, "taken back by the\nother four groups", GREY)
    label_right(axes, [*names, top_of_others], lines=2.9)
    return figure


def _column(axes: Axes, x: float, table: pd.DataFrame, dampened: float, head: str, top: int) -> None:
    """One model's column of `overview`, with its numbers left of it and what is taken back right of it."""
    gross, net = gross_and_net(table)
    note(axes, head, (x, 1), (0, 8), ha="center", va="bottom")
    if not gross:
        note(axes, "no neuron writes\nless after DPO", (x, 0.5), (0, 0), ha="center")
        return
    own, colours = table["share_of_gross"][list(REDUCING)], [COLOURS[group] for group in REDUCING]
    bottom = own.cumsum().shift(fill_value=0.0)
    axes.bar([x] * len(own), own, 0.6, bottom, color=colours, edgecolor=BACK, linewidth=1)
    axes.bar(x - 0.36, dampened / gross, 0.06, color=INK)
    foot = f"the {top} most toxic\nneurons give {share(dampened / gross)}"
    note(axes, foot, (x - 0.39, 0), (0, -6), va="top")
    left = max(net / gross, 0)
    axes.bar(x + 0.47, 1 - left, 0.2, left, color=GREY)
    place = {"va": "top", "ha": "center", "xytext": (0, -4)}
    if left < 0.12:  # no room under the bar
        place = {"va": "bottom", "ha": "left", "xytext": (13, 0)}
    note(axes, f"net\n{share(net / gross)}", (x + 0.47, left), **place)
    for y, value in zip(spread(bottom + own / 2, 0.06), own, strict=True):
        note(axes, share(value), (x - 0.45, y), (0, 0), ha="right", fontsize=9.5)
