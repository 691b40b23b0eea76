"""How many neurons carry what DPO does: the chapter's figure, tables, verdicts and answer."""

from __future__ import annotations

import math

import pandas as pd
from IPython.display import Markdown
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from dpotox.estimates import Estimate
from dpotox.facts import COPIED, EVERY, RANDOM, RANKINGS, SET_BACK
from dpotox.results.claims import Claim
from dpotox.results.folder import Results
from dpotox.show.figure_style import ABLATED, DPO, GREY, INK, MUTED, PAPER, SMALL, name_y, nothing, panel
from dpotox.show.report import interval, lines, sentence, share, shown

NOT_MADE = "These results were made before this was part of them; make them anew to see it."
NO_EFFECT = "No share of an effect on toxicity can be taken here."
STYLES = dict(zip((*RANKINGS, RANDOM), (DPO, PAPER, ABLATED, INK, GREY), strict=True))
TITLES = {COPIED: "share of the effect, neurons copied", SET_BACK: "what is left of it, neurons set back"}
RULES = {
    (COPIED, 0.5): Claim(
        *("few-carry", "Half of the effect can be copied with few neurons"),
        "share of all neurons, ranked by activation change, whose copying recovers half",
        *(-math.inf, 0.1, "18_how_many_neurons", "ours"),
    ),
    (SET_BACK, 0.5): Claim(
        *("few-are-needed", "Half of the effect goes if few neurons are set back"),
        "share of all neurons, ranked by activation change, whose setting back in the model after DPO leaves "
        "half",
        *(-math.inf, 0.1, "18_how_many_neurons", "ours"),
    ),
}
"""The rules of `book/before_the_runs.md`, by what is done and the level that is asked for."""
RULED = RANKINGS[0]
"""The ranking that the rules are about."""


def _of(table: pd.DataFrame, kind: str, ranked: str) -> pd.DataFrame:
    """The trials of one order, a row per number of neurons: the mean of its draws, and last all neurons."""
    some = table[(table["kind"] == kind) & table["ranked"].isin([ranked, EVERY])]
    return some.groupby("neurons")[["recovered", "low", "high"]].mean().reset_index()


def curves(results: Results) -> Figure:
    """The share of DPO's effect that is there against the number of neurons, a line per order."""
    if "counts" not in results.tables:
        return nothing(NOT_MADE)
    table = results.counts
    if table["recovered"].isna().all():
        return nothing(NO_EFFECT)
    figure, panels = panel(6.4, 2, sharex=True)
    for axes, (kind, title) in zip(panels, TITLES.items(), strict=True):
        for ranked, colour in STYLES.items():
            line = _of(table, kind, ranked)
            style = {"color": colour, "markersize": 3.5, "linewidth": 1.3, "label": ranked}
            axes.plot(line["neurons"], line["recovered"], "o-", **style)
            if ranked == RULED:
                axes.fill_between(
                    line["neurons"], line["low"], line["high"], color=colour, alpha=0.15, linewidth=0
                )
        for level in (0, 1):
            axes.axhline(level, color=MUTED, linewidth=0.6, zorder=0)
        axes.set_xscale("log")
        name_y(axes, title)
    panels[-1].set_xlabel("neurons")
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, ncols=2, loc="outside upper left", frameon=False, fontsize=SMALL)
    return figure


def counts(results: Results, kind: str) -> Styler:
    """The same in numbers, with the intervals of single choices."""
    if "counts" not in results.tables:
        return shown([])
    rows = []
    for ranked in STYLES:
        line = _of(results.counts, kind, ranked)
        cells = {f"{row.neurons:,.0f}": _cell(row, ranked) for row in line.itertuples()}
        rows.append({"neurons, chosen by": ranked} | cells)
    return shown(rows)


def _cell(row, ranked: str) -> str:
    ends = (math.nan, math.nan) if ranked == RANDOM else (row.low, row.high)  # a mean of draws has none
    return interval(row.recovered, *ends)


def enough(results: Results) -> Styler:
    """At which share of all neurons half and nine tenths are recovered, or gone."""
    if "enough" not in results.tables:
        return shown([])
    none = "-" if results.counts["recovered"].isna().all() else "more than all"
    rows = []
    for ranked in STYLES:
        some = results.enough[results.enough["ranked"] == ranked]
        cells = {_asked(line.kind, line.level): _percent(line, none) for line in some.itertuples()}
        rows.append({"neurons, chosen by": ranked} | cells)
    return shown(rows)


def _asked(kind: str, level: float) -> str:
    return f"{level:.0%} recovered" if kind == COPIED else f"{1 - level:.0%} gone"


def _percent(line, none: str) -> str:
    if not math.isfinite(line.share):
        return none
    ends = f" [{line.low:.1%}, {line.high:.1%}]" if math.isfinite(line.low) else ""
    return f"{line.share:.1%}{ends}"


def verdicts(results: Results) -> Markdown:
    """What was predicted, and what came out on this run."""
    if "enough" not in results.tables:
        return sentence(NOT_MADE)
    said = []
    by = results.enough.set_index(["kind", "ranked", "level"])
    for (kind, level), rule in RULES.items():
        found = Estimate(*by.loc[(kind, RULED, level), ["share", "low", "high"]].astype(float))
        told = interval(found.value, found.low, found.high)
        said.append(
            f"`{rule.id}`: {rule.statement} (rule: < {rule.high:g}). Here: {told}. **{rule.verdict(found)}**"
        )
    return lines(*said)


def answer(results: Results) -> Markdown:
    """How few neurons suffice, by the best of the orders, and how many are drawn at random."""
    if "enough" not in results.tables:
        return sentence(NOT_MADE)
    every = results.counts.query("ranked == @EVERY").set_index("kind")["recovered"]
    if every.isna().any():
        return sentence("DPO has no sure effect on toxicity here, of which neurons could carry a share")
    said = [
        f"copying all neurons recovers {share(every[COPIED])} of DPO's effect, and setting all of them back "
        f"leaves {share(every[SET_BACK])}"
    ]
    half = {
        COPIED: ("copying", "of all neurons", "recovers half of the effect"),
        SET_BACK: ("setting", "of them back", "leaves half of it"),
    }
    for kind, (verb, those, done) in half.items():
        asked = (results.enough["kind"] == kind) & (results.enough["level"] == 0.5)
        halves = results.enough[asked].set_index("ranked")["share"]
        known = halves.drop(RANDOM).dropna()
        if known.empty:
            said.append(f"{verb} no number {those} {done}")
            continue
        beside = f"{halves[RANDOM]:.1%} are needed" if math.isfinite(halves[RANDOM]) else "all are too few"
        best = f"{verb} {known.min():.1%} {those} {done}, if they are those with the largest {known.idxmin()}"
        said.append(f"{best}, the best of the orders here; at random {beside}")
    return lines(*said)
