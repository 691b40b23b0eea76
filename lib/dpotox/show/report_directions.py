"""In how many directions DPO's change lies, and how many carry it: figures, tables, verdicts and answer."""

from __future__ import annotations

import math

import pandas as pd
from IPython.display import Markdown
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter
from pandas.io.formats.style import Styler

from dpotox.estimates import Estimate
from dpotox.facts import EVERY_DIRECTION, LARGEST, LEADING, PROBE, PROMPTED, RANDOM
from dpotox.results.claims import Claim
from dpotox.results.folder import Results
from dpotox.show.figure_style import ABLATED, DPO, GREY, MUTED, PAPER, SMALL, name_y, nothing, panel, percent
from dpotox.show.masking import Mask
from dpotox.show.report import interval, lines, sentence, share, shown, texts_table, with_ends
from dpotox.show.report_counts import NO_EFFECT, NOT_MADE

NO_CHANGE = "DPO leaves the residual stream as it was here."
STYLES = {LEADING: DPO, LARGEST: ABLATED, RANDOM: GREY}
FEW = Claim(
    *("few-directions", "Half of the effect lies in few directions of the residual stream"),
    "share of the stream's dimensions, the largest of its change after the last layer, whose copying there "
    "recovers half of DPO's effect",
    *(-math.inf, 0.1, "19_how_many_directions", "ours"),
)
PROBE_ALONE = Claim(
    *("probe-is-not-all", "The probe's direction alone is not enough"),
    "recovered share of copying the projection on the probe after the last layer",
    *(-math.inf, 0.5, "19_how_many_directions", "ours"),
)
"""The rules of `book/before_the_runs.md`."""


def spectrum(results: Results) -> Figure:
    """The share of the squared change in its first directions, a line per layer."""
    if "stream_ranks" not in results.tables:
        return nothing(NOT_MADE)
    table = results.stream_ranks
    if table["share"].isna().all():
        return nothing(NO_CHANGE)
    figure, axes = panel(3.4)
    layers = sorted(table["layer"].unique())
    shades = LinearSegmentedColormap.from_list("layers", [ABLATED, DPO], len(layers))
    for place, layer in enumerate(layers):
        line = table[table["layer"] == layer]
        named = f"layer {layer}" if len(layers) <= 4 or layer in (layers[0], layers[-1]) else None
        style = {"color": shades(place), "markersize": 3, "linewidth": 1.3, "label": named}
        axes.plot(line["directions"], line["share"], "o-", **style)
    _count_directions(axes)
    axes.set_ylim(0, 1.03)
    percent(axes.yaxis)
    name_y(axes, "share of the squared change in its first directions")
    axes.legend(frameon=False, fontsize=SMALL, loc="lower right")
    return figure


def _count_directions(axes) -> None:
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_xlabel("directions")


def layers(results: Results) -> Styler:
    """Each layer's change: its size, how many directions hold it, and where the first and the mean point."""
    if "stream_changes" not in results.tables:
        return shown([])
    rows = []
    for line in results.stream_changes.itertuples():
        row = {"after layer": line.layer, "size": line.size, "directions that hold half": _whole(line.half)}
        row |= {"nine tenths": _whole(line.most)}
        row |= {
            "of the stream: half": _whole(line.stream_half),
            "nine tenths of it": _whole(line.stream_most),
        }
        row |= {"cosine of first and probe": line.first_probe, "of first and mean": line.first_mean}
        rows.append(row | {"of mean and probe": line.mean_probe})
    return shown(rows)


def _whole(number: float) -> str:
    return f"{number:,.0f}" if math.isfinite(number) else "-"


def neutral(results: Results) -> Styler:
    """Whether the mean change on neutral text points where it does after the prompts."""
    if "stream_changes" not in results.tables:
        return shown([])
    rows = [
        {
            "after layer": line.layer,
            "cosine of the two mean changes": interval(line.neutral, line.neutral_low, line.neutral_high),
            "length on neutral text / after the prompts": line.neutral_length,
        }
        for line in results.stream_changes.itertuples()
    ]
    return shown(rows)


def tokens(results: Results, text: str = PROMPTED) -> Styler:
    """The tokens nearest to each layer's mean change on a text and to its opposite, toxic words masked."""
    if "stream_tokens" not in results.tables:
        return shown([])
    table = results.stream_tokens[results.stream_tokens["text"] == text]
    names = {"layer": "after layer", "more": "nearest to it", "less": "nearest to its opposite"}
    table = table[list(names)].rename(columns=names)
    return texts_table(table, Mask.of(results), {"after layer": str})


def _of(table: pd.DataFrame, layer: int, ranked: str) -> pd.DataFrame:
    """The trials of one order after a layer, a row per number: the mean of its draws, and last all."""
    some = table[(table["layer"] == layer) & table["ranked"].isin([ranked, EVERY_DIRECTION])]
    return some.groupby("directions")[["recovered", "low", "high"]].mean().reset_index()


def curves(results: Results) -> Figure:
    """The recovered share against the number of directions copied, a panel per layer."""
    if "streams_tried" not in results.tables:
        return nothing(NOT_MADE)
    table = results.streams_tried
    if table["recovered"].isna().all():
        return nothing(NO_EFFECT)
    tried = sorted(table["layer"].unique())
    figure, panels = panel(0.8 + 2.8 * len(tried), len(tried), sharex=True, squeeze=False)
    for axes, layer in zip(panels[:, 0], tried, strict=True):
        for ranked, colour in STYLES.items():
            line = _of(table, layer, ranked)
            style = {"color": colour, "markersize": 3.5, "linewidth": 1.3, "label": ranked}
            axes.plot(line["directions"], line["recovered"], "o-", **style)
            if ranked == LEADING:
                ends = line["low"], line["high"]
                axes.fill_between(line["directions"], *ends, color=colour, alpha=0.15, linewidth=0)
        probe = table[(table["layer"] == layer) & (table["ranked"] == PROBE)].iloc[0]
        reach = [[probe["recovered"] - probe["low"]], [probe["high"] - probe["recovered"]]]
        style = {"color": PAPER, "markersize": 6, "elinewidth": 1.2, "label": PROBE}
        axes.errorbar([1], [probe["recovered"]], reach, fmt="D", **style)
        for level in (0, 1):
            axes.axhline(level, color=MUTED, linewidth=0.6, zorder=0)
        _count_directions(axes)
        name_y(axes, f"share of the effect, copied after layer {layer}")
    for axes in panels[:-1, 0]:
        axes.set_xlabel("")
    handles = panels[0, 0].get_legend_handles_labels()
    figure.legend(*handles, ncols=3, loc="outside upper left", frameon=False, fontsize=SMALL)
    return figure


def tried(results: Results) -> Styler:
    """The same in numbers, with the intervals of single choices."""
    if "streams_tried" not in results.tables:
        return shown([])
    rows, table = [], results.streams_tried
    for layer in sorted(table["layer"].unique()):
        for ranked in (*STYLES, PROBE, EVERY_DIRECTION):
            some = table[(table["layer"] == layer) & (table["ranked"] == ranked)]
            line = _of(some, layer, ranked)
            drawn = ranked == RANDOM and some["draw"].nunique() > 1  # a mean of draws has no interval here
            cells = {f"{row.directions:,}": _cell(row, drawn) for row in line.itertuples()}
            rows.append({"after layer": layer, "directions, chosen by": ranked} | cells)
    return shown(pd.DataFrame(rows).fillna("-"))


def _cell(row, drawn: bool) -> str:
    return interval(row.recovered, *((math.nan, math.nan) if drawn else (row.low, row.high)))


def _last(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["layer"] == table["layer"].max()]


def few(results: Results) -> Estimate:
    """The share of the dimensions at which half is recovered after the last layer."""
    some = _last(results.streams_enough)
    some = some[(some["ranked"] == LEADING) & (some["level"] == 0.5)]
    return Estimate(*some[["share", "low", "high"]].astype(float).iloc[0])


def probe_alone(results: Results) -> Estimate:
    """What copying the projection on the probe after the last layer recovers."""
    some = _last(results.streams_tried)
    return Estimate(*some[some["ranked"] == PROBE][["recovered", "low", "high"]].astype(float).iloc[0])


def verdicts(results: Results) -> Markdown:
    """What was predicted, and what came out on this run."""
    if "streams_enough" not in results.tables:
        return sentence(NOT_MADE)
    said = []
    for rule, found in ((FEW, few(results)), (PROBE_ALONE, probe_alone(results))):
        told = interval(found.value, found.low, found.high)
        said.append(
            f"`{rule.id}`: {rule.statement} (rule: < {rule.high:g}). Here: {told}. **{rule.verdict(found)}**"
        )
    return lines(*said)


def answer(results: Results) -> Markdown:
    """How few directions hold the change, how few carry the effect, and what the probe's does alone."""
    if "stream_changes" not in results.tables:
        return sentence(NOT_MADE)
    last, width = _last(results.stream_changes).iloc[0], results.record.shape.d_model
    if not math.isfinite(last["half"]):
        return sentence(NO_CHANGE)
    said = [
        f"after the last layer half of the squared change lies in {_number(last['half'])} of {width:,}, and "
        f"nine tenths in {last['most']:,.0f}; half of the stream itself lies in {last['stream_half']:,.0f}",
    ]
    if math.isfinite(last["neutral"]):
        told = interval(*with_ends(last, "neutral"))
        said.append(f"the mean change there has a cosine of {told} with that on neutral text")
    return lines(*said, *_carried(results, width))


def _carried(results: Results, width: int) -> list[str]:
    table = _last(results.streams_tried)
    every = table.loc[table["ranked"] == EVERY_DIRECTION, "recovered"].iloc[0]
    if not math.isfinite(every):
        return ["DPO has no sure effect on toxicity here, of which directions could carry a share"]
    some = _last(results.streams_enough)
    halves = some[some["level"] == 0.5].set_index("ranked")["share"]
    said = [f"copying the whole stream after the last layer recovers {share(every)} of DPO's effect"]
    if math.isfinite(halves.get(LEADING, math.nan)):
        controls = {"of those in which the stream is largest": LARGEST, "at random": RANDOM}
        needed = [f"{which} {halves[one]:.0%}" for which, one in controls.items() if one in halves.dropna()]
        said.append(
            f"half of the effect is recovered by about {halves[LEADING] * width:,.1f} of its {width:,} "
            f"dimensions ({halves[LEADING]:.1%}), those of the largest change, if the curve is straight "
            "between the numbers tried" + (f"; {', '.join(needed)} are needed" if needed else "")
        )
    else:
        said.append("no number of directions recovers half of the effect")
    return [*said, f"the probe's direction alone recovers {share(probe_alone(results).value)}"]


def _number(directions: float) -> str:
    return f"{directions:,.0f} direction{'s' if directions > 1 else ''}"
