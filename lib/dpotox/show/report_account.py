"""The whole account in a figure, in tables and in a sentence: who writes less along the probe after DPO."""

from __future__ import annotations

import numpy as np
import pandas as pd
from IPython.display import Markdown
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from dpotox.facts import PARTS
from dpotox.paper.groups import ratio
from dpotox.results.folder import Results
from dpotox.show.figure_style import (
    ABLATED,
    BACK,
    DPO,
    GREY,
    INK,
    MUTED,
    PAPER,
    label_right,
    layer_axis,
    name_y,
    nothing,
    panel,
    zero_line,
)
from dpotox.show.report import lines, percent, sentence, shown

NOT_MADE = "These results were made before the account was part of them; make them anew to see it."
COLOURS = dict(zip(PARTS, (INK, DPO, ABLATED, PAPER, GREY), strict=True))
NEURONS = PARTS[1:4]
TEXTS = {"own": "own text", "same": "same text"}
MOST = 5
"""How many single heads and neurons are listed."""


def is_there(results: Results) -> bool:
    """Whether the results have the account; older ones do not."""
    return "account" in results.tables


def by_layer(results: Results, text: str) -> Figure:
    """What each part of each layer writes less, stacked: above zero what lowers toxicity."""
    if not is_there(results):
        return nothing(NOT_MADE)
    table = results.account.query("text == @text").dropna(subset="layer")
    sums = table.pivot_table("drop", "layer", "part", "sum")[list(PARTS)]
    figure, axes = panel(3.2)
    above = below = np.zeros(len(sums))
    for part in PARTS:
        drop = sums[part].to_numpy()
        bottom = np.where(drop >= 0, above, below)
        axes.bar(sums.index, drop, bottom=bottom, color=COLOURS[part], edgecolor=BACK, linewidth=0.5)
        above, below = above + drop.clip(min=0), below + drop.clip(max=0)
    style = {"markersize": 4.5, "markeredgecolor": BACK, "markeredgewidth": 0.7, "linewidth": 1.2}
    axes.plot(sums.index, sums.sum(axis=1), "o-", color=MUTED, **style)
    zero_line(axes)
    layer_axis(axes, len(sums))
    name_y(axes, "how much less is written along the probe")
    low, high = axes.get_ylim()
    names = [*COLOURS.items(), ("sum", MUTED)]
    heights = np.linspace(high, low, 2 * len(names) + 1)[1::2]
    label_right(axes, [(y, name, colour) for y, (name, colour) in zip(heights, names, strict=True)])
    return figure


def parts(results: Results) -> Styler:
    """The sum of each kind of part on either text, and its share of the whole."""
    if not is_there(results):
        return shown([])
    sums = results.account.pivot_table("drop", "part", "text", "sum").loc[["embeddings", *PARTS]]
    sums.loc["all"] = sums.sum()
    columns = {"part": sums.index}
    for text, name in TEXTS.items():
        columns |= {f"{name}: drop": sums[text].to_numpy(), f"{name}: share": _shares(sums[text])}
    return shown(columns)


def _shares(sums: pd.Series) -> list[str]:
    return [percent(ratio(value, sums["all"])) for value in sums]


def largest(results: Results) -> Styler:
    """The single heads and neurons that write less by the most, each model on its own text."""
    if not is_there(results):
        return shown([])
    account, neurons = results.account, results.neurons
    heads = account.query("text == 'own' and part == 'heads'").nlargest(MOST, "drop")
    single = neurons.nlargest(MOST, "projection_drop")
    whole = account.query("text == 'own'")["drop"].sum()
    rows = [(f"head {row.layer:.0f}:{row.head:.0f}", row.drop) for row in heads.itertuples()]
    rows += [(f"neuron {row.layer}:{row.neuron}", row.projection_drop) for row in single.itertuples()]
    return shown(
        [{"writer": n, "drop": drop, "of the whole": percent(ratio(drop, whole))} for n, drop in rows]
    )


def answer(results: Results) -> Markdown:
    """Who writes less, by kind."""
    if not is_there(results):
        return sentence(NOT_MADE)
    sums = results.account.pivot_table("drop", "part", "text", "sum")
    said = []
    for text, name in TEXTS.items():
        whole = sums[text].sum()
        if not whole:
            return sentence("nothing is written along the probe otherwise than before DPO")
        share = {part: percent(ratio(sums[text][part], whole)) for part in sums.index}
        neurons = percent(ratio(sums[text][list(NEURONS)].sum(), whole))
        said.append(
            f"On the {name} heads of attention make {share['heads']} of the change along the probe, "
            f"neurons {neurons} ({share['activations']} by their activations alone, "
            f"{share['value vectors']} by their value vectors alone), biases {share['biases']} and the "
            f"embeddings {share['embeddings']}"
        )
    return lines(*said)
