"""What the account predicts beside what happens: single writers' changes, and one kind's change undone."""

from __future__ import annotations

import pandas as pd
from IPython.display import Markdown
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from dpotox.estimates import ENDS
from dpotox.paper.groups import ratio
from dpotox.results.folder import Results
from dpotox.show.figure_style import ABLATED, DPO, INK, MUTED, PAPER, SMALL, name_y, nothing, panel, zero_line
from dpotox.show.report import lines, number, percent, sentence, shown

NOT_MADE = "These results were made before this was part of them; make them anew to see it."
KINDS = {
    "head": ("o", INK),
    "neuron": ("o", DPO),
    "heads of a layer": ("s", PAPER),
    "neurons of a layer": ("s", ABLATED),
}
"""Marks and colours of the writers."""
MEASURES = {
    "toxicity": "greedy toxicity falls by",
    "log_probability": "log-probability of toxic tokens falls by, nats",
}
ALIKE = {
    ("head",): "single heads",
    ("neuron",): "single neurons",
    ("heads of a layer", "neurons of a layer"): "whole layers of heads or neurons",
}
"""Writers among which predictions are compared."""
ENOUGH = 5
"""Writers of a correlation, at least."""


def without(results: Results) -> Styler:
    """What is left of heads' and neurons' part on the same text where the change of one is undone."""
    if "undone" not in results.tables:
        return shown([])
    drops = results.undone.pivot(index="undone", columns="part", values="drop")
    rows = []
    for undone in ("nothing", "MLPs", "attention"):
        row = {"undone": undone}
        for part in ("heads", "neurons", "the rest"):
            row |= {part: drops.loc[undone, part]}
        row |= {"all": drops.loc[undone].sum()}
        rows.append(row)
    return shown(rows)


def left(results: Results) -> Markdown:
    """The same in a sentence."""
    if "undone" not in results.tables:
        return sentence(NOT_MADE)
    drops = results.undone.pivot(index="undone", columns="part", values="drop")
    heads, neurons = (
        percent(ratio(drops.loc[undone, part], drops.loc["nothing", part]))
        for undone, part in (("MLPs", "heads"), ("attention", "neurons"))
    )
    return sentence(
        f"with the MLPs' weights as before DPO, heads write {heads} of what they wrote less; with "
        f"attention's as before DPO, neurons {neurons}"
    )


def scatter(results: Results) -> Figure:
    """Predicted against measured, a mark for each writer."""
    if "causes" not in results.tables:
        return nothing(NOT_MADE)
    table = results.causes
    there = [measure for measure in MEASURES if table[measure].notna().any()]
    figure, panels = panel(2.7 * len(there) + 0.4, len(there), squeeze=False, sharex=True)
    for axes, measure in zip(panels[:, 0], there, strict=True):
        for kind, (marker, colour) in KINDS.items():
            some = table[table["writer"] == kind]
            if measure == "toxicity":
                axes.vlines(
                    some["predicted"], some["low"], some["high"], color=colour, linewidth=0.6, alpha=0.5
                )
            axes.plot(some["predicted"], some[measure], marker, color=colour, markersize=4, label=kind)
        zero_line(axes)
        axes.axvline(0, color=MUTED, linewidth=0.6, zorder=0)
        name_y(axes, MEASURES[measure])
    axes.set_xlabel("predicted: how much less is written along the probe")
    handles = axes.get_legend_handles_labels()
    close = {"handletextpad": 0.2, "columnspacing": 1.0, "borderpad": 0, "handlelength": 1}
    place = {"loc": "outside upper left", "frameon": False, "fontsize": SMALL}
    figure.legend(*handles, ncols=len(KINDS), **place, **close)
    return figure


def correlations(results: Results) -> Markdown:
    """How well what is predicted orders what is measured."""
    if "causes" not in results.tables:
        return sentence(NOT_MADE)
    said = []
    for measure, name in MEASURES.items():
        parts = []
        for kinds, called in ALIKE.items():
            some = results.causes[results.causes["writer"].isin(kinds)]
            if (found := _spearman(some["predicted"], some[measure])) is not None:
                parts.append(f"{number(found)} over {len(some)} {called}")
        if parts:
            said.append(f"*{name}*: Spearman's correlation with what is predicted is {', '.join(parts)}")
    clear = results.causes[results.causes["low"] > 0]
    tried = len(results.causes)
    said.append(
        f"of {tried} writers the change of {len(clear)} alone lowers greedy toxicity with an interval over "
        f"prompts above zero, where {tried * (1 - ENDS[1]):.1f} would by luck; random vectors were not tried"
    )
    return lines(*said)


def _spearman(one: pd.Series, other: pd.Series) -> float | None:
    both = pd.DataFrame({"one": one, "other": other}).dropna()
    if len(both) < ENOUGH or (both.nunique() < 2).any():
        return None
    return float(both["one"].corr(both["other"], "spearman"))
