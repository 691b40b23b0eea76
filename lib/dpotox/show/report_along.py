"""What lies on the way from before DPO to after it, and which tokens change: figures, tables and answer."""

from __future__ import annotations

import math

import pandas as pd
from IPython.display import Markdown
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from pandas.io.formats.style import Styler

from dpotox.estimates import Estimate
from dpotox.facts import AFTER_TEXT, BEFORE_TEXT, FIRST, LAST, RATIO
from dpotox.paper.groups import REDUCING, TURNED
from dpotox.results.claims import Claim
from dpotox.results.folder import Results
from dpotox.show.figure_style import ABLATED, DPO, INK, MUTED, SMALL, name_y, nothing, panel
from dpotox.show.report import interval, lines, number, percent, sentence, share, shown, with_ends
from dpotox.show.report_counts import NOT_MADE

COLOURS = {BEFORE_TEXT: INK, AFTER_TEXT: DPO}
HALF_WAY = Claim(
    *("half-way-half-done", "Half of the way has half of the effect"),
    "recovered share of the weights half way between before and after DPO, W + a (W' - W) with a = .5",
    *(0.35, 0.65, "20_how_far_along", "ours"),
)
BACKWARDS = Claim(
    *("backwards-rises", "The other way toxicity rises"),
    "greedy toxicity at a = -1 minus before DPO",
    *(0.0, math.inf, "20_how_far_along", "ours"),
)
SHALLOW = Claim(
    *("change-is-shallow", "DPO changes the first tokens of a continuation most"),
    "KL divergence of the model after DPO from that before, on text from after DPO: mean of the first "
    "quarter of the new tokens over that of the last",
    *(1.0, math.inf, "20_how_far_along", "ours"),
)
"""The rules of `book/before_the_runs.md`."""


def way(results: Results) -> Figure:
    """Greedy toxicity and perplexity on neutral text along the way, under each other."""
    if "along" not in results.tables:
        return nothing(NOT_MADE)
    table = results.along
    figure, panels = panel(5.2, 2, sharex=True)
    shown_here = {"toxicity": (ABLATED, "greedy toxicity"), "perplexity": (DPO, "perplexity, neutral text")}
    for axes, (measure, (colour, title)) in zip(panels, shown_here.items(), strict=True):
        axes.plot(table["a"], table[measure], "o-", color=colour, markersize=4, linewidth=1.3)
        ends = table[f"{measure}_low"], table[f"{measure}_high"]
        axes.fill_between(table["a"], *ends, color=colour, alpha=0.15, linewidth=0)
        for a in (0, 1):
            axes.axvline(a, color=MUTED, linewidth=0.6, zorder=0)
        name_y(axes, title)
    panels[0].set_ylim(bottom=0)
    panels[1].set_xlabel("a (0: before DPO, 1: after)")
    return figure


def stops(results: Results) -> Styler:
    """The same in numbers, with the part of DPO's effect on toxicity."""
    if "along" not in results.tables:
        return shown([])
    rows = [
        {
            "a": f"{line['a']:g}",
            "greedy toxicity": interval(*with_ends(line, "toxicity")),
            "part of DPO's effect": interval(*with_ends(line, "recovered")),
            "perplexity, neutral text": interval(*with_ends(line, "perplexity")),
        }
        for line in results.along.to_dict("records")
    ]
    return shown(rows)


def shares(results: Results) -> Styler:
    """How the reduction on the same text divides among the groups at every a."""
    if "along" not in results.tables:
        return shown([])
    can_be = [group for group in REDUCING if not (results.holds["gated"] and group in TURNED)]
    rows = [
        {"a": f"{line['a']:g}", "net / gross": number(line["net"])}
        | {f"{group} of gross": percent(line[group], 1) for group in can_be}
        for line in results.along.to_dict("records")
    ]
    return shown(rows)


def by_token(results: Results) -> Figure:
    """The divergence of after from before at every new token, on both texts."""
    if "kl_by_token" not in results.tables:
        return nothing(NOT_MADE)
    figure, axes = panel(3.2)
    for text, line in results.kl_by_token.groupby("text", sort=False):
        style = {"color": COLOURS[text], "markersize": 3.5, "linewidth": 1.3, "label": text}
        axes.plot(line["token"], line["kl"], "o-", **style)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("new token")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    name_y(axes, "KL divergence of after DPO from before, nats")
    figure.legend(ncols=2, loc="outside upper left", frameon=False, fontsize=SMALL)
    return figure


def quarters(results: Results) -> Styler:
    """The mean divergence over the first and the last quarter of the new tokens."""
    if "kl_quarters" not in results.tables:
        return shown([])
    rows = [
        {"text": text} | {line.part: interval(line.value, line.low, line.high) for line in some.itertuples()}
        for text, some in results.kl_quarters.groupby("text", sort=False)
    ]
    return shown(rows)


def _at(results: Results, a: float, measure: str) -> Estimate | None:
    """A measure at one a; None if that was not tried."""
    lines = results.along[results.along["a"] == a].to_dict("records")
    return Estimate(*with_ends(lines[0], measure)) if lines else None


def _quarter(results: Results, part: str) -> Estimate:
    """Of the text from after DPO."""
    table = results.kl_quarters.set_index(["text", "part"])
    return Estimate(*table.loc[(AFTER_TEXT, part), ["value", "low", "high"]].astype(float))


def verdicts(results: Results) -> Markdown:
    """What was predicted, and what came out on this run."""
    if "along" not in results.tables:
        return sentence(NOT_MADE)
    judged = {
        HALF_WAY: ("between .35 and .65", _at(results, 0.5, "recovered")),
        BACKWARDS: ("> 0", _at(results, -1.0, "rise")),
        SHALLOW: ("> 1", _quarter(results, RATIO)),
    }
    said = []
    for rule, (limits, found) in judged.items():
        told = "not tried" if found is None else interval(found.value, found.low, found.high)
        said.append(
            f"`{rule.id}`: {rule.statement} (rule: {limits}). Here: {told}. **{rule.verdict(found)}**"
        )
    return lines(*said)


def answer(results: Results) -> Markdown:
    """What half of the way does, what the ends of the way do, and where in a text DPO acts."""
    if "along" not in results.tables:
        return sentence(NOT_MADE)
    table, said = results.along, []
    half, first, last = _at(results, 0.5, "recovered"), table.iloc[0], table.iloc[-1]
    if table["recovered"].isna().all():
        said.append("DPO has no sure effect on toxicity here, of which a part of the way could have a share")
    elif half is not None:
        said.append(f"half of the way recovers {share(half.value)} of DPO's effect on toxicity")
    if first["a"] < 0:
        said.append(f"the other way, at a = {first['a']:g}, {_became(first, table)}")
    if last["a"] > 1:
        said.append(f"past DPO, at a = {last['a']:g}, {_became(last, table)}")
    return lines(*said, _where(results))


def _became(line: pd.Series, table: pd.DataFrame) -> str:
    before = table[table["a"] == 0].iloc[0]
    toxicity, perplexity = (
        f"{name} is {number(line[name])} (before DPO {number(before[name])})"
        for name in ("toxicity", "perplexity")
    )
    return f"{toxicity}, and {perplexity}"


def _where(results: Results) -> str:
    found = _quarter(results, RATIO)
    if not math.isfinite(found.value):
        return "both models would write the same at every token"
    first, last = (number(_quarter(results, part).value) for part in (FIRST, LAST))
    told = f"{first} nats over the first quarter of the new tokens and {last} over the last"
    if found.low > 1:
        return f"DPO changes the first tokens most: the divergence is {told}"
    if found.high < 1:
        return f"DPO changes the last tokens most: the divergence is {told}"
    return f"it is not sure that DPO changes early tokens otherwise than late ones: the divergence is {told}"
