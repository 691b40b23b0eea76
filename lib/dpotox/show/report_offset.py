"""The chapter on the offset, 14: its tables, what it has learnt, and how to read them one at a time."""

from __future__ import annotations

import math

import pandas as pd
from IPython.display import Markdown
from pandas.io.formats.style import Styler

from dpotox.paper.selections import EVERYTHING
from dpotox.results.folder import Results
from dpotox.show.report import NO_SHIFT, lines, number, percent, sentence, share, shown, with_ends

LIKE = "random neurons like these"
PLACEBO = "shuffled preferences", EVERYTHING
KINDS = ("embeddings", "attention", "MLP", "norm")
SWAPS = {
    ("before DPO", "before DPO"): "before DPO",
    ("before DPO", "after DPO"): "swap MLP in and MLP out",
    ("after DPO", "before DPO"): "swap attention",
    ("after DPO", "after DPO"): "swap MLP in and MLP out and attention",
}
"""The rows of table 1 by whose attention and whose MLPs they have."""


def top_toxic(results: Results) -> str:
    """What the set of the most toxic neurons is called."""
    return f"top {results.profile.interventions.figure_top} toxic"


def sets(table: pd.DataFrame) -> Styler:
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
        for line in table[table["comparison"] == "DPO"].itertuples()
    ]
    return shown(rows)


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
    return shown(rows)


def kinds(writers: pd.DataFrame) -> Styler:
    """The shares of each kind of writer over all layers, by set of neurons."""
    shares = writers.pivot_table("share", "which", "writer", "sum", sort=False)[list(KINDS)]
    names = {"MLP": "MLPs", "norm": "the norm itself"}
    table = shares.map(lambda value: percent(value, 1)).rename(columns=names)
    return shown(table.rename_axis("as read by").reset_index())


def layers(table: pd.DataFrame) -> Styler:
    """How long the shift is in each layer, and how much of it is the norm's."""
    columns = {
        "layer": table["layer"],
        "length of the mean input": table["input"],
        "length of the shift": table["shift"],
        "shift / input": (table["shift"] / table["input"]).map(lambda value: percent(value, 1)),
        "of it the norm": (table["norm"] / table["shift"]).map(lambda value: percent(value, 1)),
    }
    return shown(columns)


def crossed(summary: pd.DataFrame, measure: str = "recovered") -> Styler:
    """The share of DPO's effect by whose attention and whose MLPs the model has, all else before DPO."""
    known, rows = summary.set_index("name"), []
    for attention in ("before DPO", "after DPO"):
        row = {"": f"attention {attention}"}
        for mlps in ("before DPO", "after DPO"):
            value, low, high = with_ends(known.loc[SWAPS[attention, mlps]], measure)
            interval = f" [{low:.2f}, {high:.2f}]" if low < high else ""
            row[f"MLPs {mlps}"] = f"{value:.2f}{interval}" if math.isfinite(value) else "-"
        rows.append(row)
    return shown(rows)


# Sentences


def offset(results: Results) -> Markdown:
    """Chapter 14: what does a shift of what the MLPs read explain?"""
    top, shares = top_toxic(results), results.table1.set_index("name")["recovered"]
    by = results.offset_sets.set_index(["comparison", "which"])
    every, toxic = (by.loc[("DPO", which)] for which in (EVERYTHING, top))
    if math.isnan(every["upstream"]):
        return lines(NO_SHIFT)
    attention = results.offset_writers.query("which == @top and writer == 'attention'")["share"].sum()
    aimed = (
        f"**Aim.** It moves the {top} neurons {number(toxic['times_random'])} times as far as a random shift "
        "of its length"
    )
    if ("DPO", LIKE) in by.index:
        aimed += f", and {LIKE} {number(by.loc[('DPO', LIKE), 'times_random'])} times"
    facts = [
        f"**Size.** The shift makes {percent(every['upstream'], 1)} of the change of what enters the "
        f"GELUs, and for the {top} neurons {percent(toxic['upstream'], 1)}",
        aimed,
        f"**Writer.** Attention makes {percent(attention)} of the shift as these read it",
    ]
    if PLACEBO in by.index:
        placebo = by.loc[PLACEBO]
        facts.append(
            "**{term}`Placebo <placebo>`.** After shuffled preferences it makes "
            f"{percent(placebo['upstream'], 1)} of a change that is "
            f"{percent(placebo['size'] / every['size'])} as large"
        )
    return lines(
        *facts,
        "**Effect.** Without the shift the model after DPO keeps "
        f"{share(shares['remove offset, all neurons'])} of DPO's effect; with it the model before gains "
        f"{share(shares['add offset, all neurons'])}",
    )


def keys_and_biases(results: Results) -> Markdown:
    """What besides the shift changes what enters the GELUs, and how far the shift moves the toxic neurons."""
    by = results.offset_sets.set_index(["comparison", "which"])
    every, toxic = (by.loc[("DPO", which)] for which in (EVERYTHING, top_toxic(results)))
    if math.isnan(every["upstream"]):
        return sentence(NO_SHIFT)
    return sentence(
        f"the turn of the keys makes {percent(every['key'], 1)} of the change, and the biases "
        f"{percent(every['bias'], 1)}. In the mean the shift moves the {top_toxic(results)} neurons by "
        f"{number(toxic['upstream_change'])}"
    )


def largest_writer(results: Results) -> Markdown | None:
    """Who makes most of the shift as the most toxic neurons read it; nothing where nothing moved."""
    shares = results.offset_writers[results.offset_writers["which"] == top_toxic(results)]
    if shares["share"].isna().all():
        return None
    largest = shares.loc[shares["share"].idxmax()]
    norm = shares.loc[shares["writer"] == "norm", "share"].sum()
    layer = "" if math.isnan(largest["layer"]) else f" of layer {largest['layer']:.0f}"
    article = "" if largest["writer"] == "attention" else "the "
    return sentence(
        f"as the {top_toxic(results)} neurons read it, {article}{largest['writer']}{layer} makes most, "
        f"{percent(largest['share'])}; the norm itself makes {percent(norm, 1)}"
    )


def for_the_most_toxic_alone(results: Results) -> Markdown:
    """What the shift does where only the most toxic neurons lose or get it."""
    shares, top = results.table1.set_index("name")["recovered"], top_toxic(results)
    removed, added = (share(shares[f"{edit} offset, {top}"]) for edit in ("remove", "add"))
    return sentence(
        f"taken away from the {top} neurons alone, the shift leaves {removed} of DPO's effect; given to them "
        f"alone, it recovers {added}"
    )


def attention_and_mlps(results: Results) -> Markdown:
    """What attention's and the MLPs' weights recover, alone and together."""
    shares = results.table1.set_index("name")["recovered"]
    mlps, attention, both = (share(shares[SWAPS[key]]) for key in list(SWAPS)[1:])
    return sentence(
        f"the MLPs' weights recover {mlps} of DPO's effect, attention's {attention}, and both together {both}"
    )
