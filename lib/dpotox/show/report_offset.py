"""The tables of the chapter on the offset, and its answer in sentences."""

from __future__ import annotations

import math

import pandas as pd
from IPython.display import Markdown
from pandas.io.formats.style import Styler

from dpotox.paper.selections import EVERYTHING
from dpotox.results.folder import Results
from dpotox.show.report import number, percent, shown

LIKE = "random neurons like these"
KINDS = ("embeddings", "attention", "MLP", "norm")
SWAPS = {
    ("before DPO", "before DPO"): "before DPO",
    ("before DPO", "after DPO"): "swap MLP in and MLP out",
    ("after DPO", "before DPO"): "swap attention",
    ("after DPO", "after DPO"): "swap MLP in and MLP out and attention",
}
"""The rows of table 1 by whose attention and whose MLPs they have."""


def sets(table: pd.DataFrame, comparison: str = "DPO") -> Styler:
    """By how much what enters the GELUs of each set is moved, and by what."""
    rows = [
        {
            "neurons": f"{line.which} ({line.neurons:,})",
            "mean change": number(line.change),
            "by the shift": percent(line.upstream, 1),
            "by keys": percent(line.key, 1),
            "by biases": percent(line.bias, 1),
            "left without it": percent(line.left),
            "times random": number(line.times_random),
        }
        for line in table[table["comparison"] == comparison].itertuples()
    ]
    return shown(pd.DataFrame(rows))


def placebos(table: pd.DataFrame) -> Styler:
    """The same for all neurons and the most toxic ones, after DPO and after each placebo."""
    wanted = table["which"].eq(EVERYTHING) | table["which"].str.endswith(" toxic")
    rows = [
        {
            "trained on": line.comparison,
            "neurons": line.which,
            "size of the change": number(line.size),
            "by the shift": percent(line.upstream, 1),
            "mean change": number(line.change),
            "times random": number(line.times_random),
        }
        for line in table[wanted].itertuples()
    ]
    return shown(pd.DataFrame(rows))


def kinds(writers: pd.DataFrame) -> Styler:
    """The shares of each kind of writer over all layers, by set of neurons."""
    shares = writers.pivot_table("share", "which", "writer", "sum", sort=False)[list(KINDS)]
    names = {"MLP": "MLPs", "norm": "the norm itself"}
    table = shares.map(lambda value: percent(value, 1)).rename(columns=names)
    return shown(table.rename_axis("as read by").reset_index())


def layers(table: pd.DataFrame) -> Styler:
    """How long the shift is in each layer, and how much of it is the norm's."""
    rows = {
        "layer": table["layer"],
        "length of the mean input": table["input"],
        "length of the shift": table["shift"],
        "shift / input": (table["shift"] / table["input"]).map(lambda value: percent(value, 1)),
        "of it the norm": (table["norm"] / table["shift"]).map(lambda value: percent(value, 1)),
    }
    return shown(pd.DataFrame(rows))


def crossed(summary: pd.DataFrame, measure: str = "recovered") -> Styler:
    """The share of DPO's effect by whose attention and whose MLPs the model has, all else before DPO."""
    known, rows = summary.set_index("name"), []
    for attention in ("before DPO", "after DPO"):
        row = {"": f"attention {attention}"}
        for mlps in ("before DPO", "after DPO"):
            line = known.loc[SWAPS[attention, mlps]]
            value, low, high = (line[f"{measure}{end}"] for end in ("", "_low", "_high"))
            interval = f" [{low:.2f}, {high:.2f}]" if low < high else ""
            row[f"MLPs {mlps}"] = f"{value:.2f}{interval}" if math.isfinite(value) else "-"
        rows.append(row)
    return shown(pd.DataFrame(rows))


def offset(results: Results) -> Markdown:
    """The answer to the chapter's question, with what was learnt."""
    top = f"top {results.profile.interventions.figure_top} toxic"
    recovered = results.table1.set_index("name")["recovered"]
    by = results.offset_sets.set_index(["comparison", "which"])
    upstream = [percent(by.loc[("DPO", which), "upstream"], 1) for which in (EVERYTHING, top)]
    attention = results.offset_writers.query("which == @top and writer == 'attention'")["share"].sum()
    answer = (
        f"On the same text, the shift upstream makes {upstream[0]} of the change of what enters the GELUs, "
        f"and for the {top} neurons {upstream[1]}. Attention makes {percent(attention)} of the shift as "
        "these read it. Taken away after DPO in all layers, the shift leaves "
        f"{_share(recovered['remove offset, all neurons'])} of DPO's effect; added before DPO, it recovers "
        f"{_share(recovered['add offset, all neurons'])}."
    )
    lessons = [*_of_neurons(by, top), *_of_writers(results.offset_writers, top), *_of_edits(recovered, top)]
    return Markdown("\n".join([answer, "\nWhat was learnt:\n", *(f"- {lesson}." for lesson in lessons)]))


def _of_neurons(by: pd.DataFrame, top: str) -> list[str]:
    every, toxic = (by.loc[("DPO", which)] for which in (EVERYTHING, top))
    aimed = (
        f"**Is it aimed?** The shift moves what enters the {top} neurons {number(toxic['times_random'])} "
        "times as far as a random shift of its length would, in the mean by "
        f"{number(toxic['upstream_change'])}"
    )
    if ("DPO", LIKE) in by.index:
        like = by.loc[("DPO", LIKE)]
        aimed += f"; {LIKE} {number(like['times_random'])} times, by {number(like['upstream_change'])}"
    lessons = [
        f"**Key or shift.** The turn of the keys makes {percent(every['key'], 1)} of the change, and the "
        f"biases {percent(every['bias'], 1)}",
        aimed,
    ]
    if ("shuffled preferences", EVERYTHING) in by.index:
        placebo = by.loc[("shuffled preferences", EVERYTHING)]
        size = percent(placebo["size"] / every["size"])
        lessons.append(
            "**Is that DPO?** After shuffled preferences the shift makes "
            f"{percent(placebo['upstream'], 1)} of a change that is {size} as large"
        )
    return lessons


def _of_writers(writers: pd.DataFrame, top: str) -> list[str]:
    shares = writers[writers["which"] == top]
    if shares["share"].isna().all():  # nothing moved
        return []
    largest = shares.loc[shares["share"].idxmax()]
    norm = shares.loc[shares["writer"] == "norm", "share"].sum()
    return [
        f"**Who writes it.** As the {top} neurons read it, {_writer(largest)} makes most, "
        f"{percent(largest['share'])}; what the norm itself does otherwise makes {percent(norm, 1)}"
    ]


def _of_edits(recovered: pd.Series, top: str) -> list[str]:
    mlps, attention, both = (_share(recovered[SWAPS[key]]) for key in list(SWAPS)[1:])
    return [
        f"**For the most toxic neurons alone.** Taken away from the {top} neurons only, the shift leaves "
        f"{_share(recovered[f'remove offset, {top}'])} of DPO's effect; added to these only, it recovers "
        f"{_share(recovered[f'add offset, {top}'])}",
        f"**Attention and MLPs.** Of DPO's effect the MLPs' weights recover {mlps}, attention's {attention}, "
        f"and both together {both}",
    ]


def _writer(line: pd.Series) -> str:
    layer = "" if math.isnan(line["layer"]) else f" of layer {line['layer']:.0f}"
    return f"{'the ' if line['writer'] != 'attention' else ''}{line['writer']}{layer}"


def _share(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "an unknown share"
