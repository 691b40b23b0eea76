"""What the chapter on the offset, 14, has learnt, and how to read its tables one at a time."""

from __future__ import annotations

import math

from IPython.display import Markdown

from dpotox.paper.selections import EVERYTHING
from dpotox.results.folder import Results
from dpotox.show.report import number, percent
from dpotox.show.report_offset import LIKE, SWAPS
from dpotox.show.wording import NO_SHIFT, lines, sentence, share


def offset(results: Results) -> Markdown:
    """Chapter 14: what does a shift of what the MLPs read explain?"""
    top = _top(results)
    shares = results.table1.set_index("name")["recovered"]
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
    if ("shuffled preferences", EVERYTHING) in by.index:
        placebo = by.loc[("shuffled preferences", EVERYTHING)]
        facts.append(
            "**{term}`Placebo <placebo>`.** After shuffled preferences it makes "
            f"{percent(placebo['upstream'], 1)} of a change that is "
            f"{percent(placebo['size'] / every['size'])} as large"
        )
    facts.append(
        "**Effect.** Without the shift the model after DPO keeps "
        f"{share(shares['remove offset, all neurons'])} of DPO's effect; with it the model before gains "
        f"{share(shares['add offset, all neurons'])}"
    )
    return lines(*facts)


def keys_and_biases(results: Results) -> Markdown:
    """What besides the shift changes what enters the GELUs, and how far the shift moves the toxic neurons."""
    by = results.offset_sets.set_index(["comparison", "which"])
    every, toxic = (by.loc[("DPO", which)] for which in (EVERYTHING, _top(results)))
    if math.isnan(every["upstream"]):
        return sentence(NO_SHIFT)
    return sentence(
        f"the turn of the keys makes {percent(every['key'], 1)} of the change, and the biases "
        f"{percent(every['bias'], 1)}. In the mean the shift moves the {_top(results)} neurons by "
        f"{number(toxic['upstream_change'])}"
    )


def largest_writer(results: Results) -> Markdown | None:
    """Who makes most of the shift as the most toxic neurons read it; nothing where nothing moved."""
    shares = results.offset_writers[results.offset_writers["which"] == _top(results)]
    if shares["share"].isna().all():
        return None
    largest = shares.loc[shares["share"].idxmax()]
    norm = shares.loc[shares["writer"] == "norm", "share"].sum()
    layer = "" if math.isnan(largest["layer"]) else f" of layer {largest['layer']:.0f}"
    article = "" if largest["writer"] == "attention" else "the "
    return sentence(
        f"as the {_top(results)} neurons read it, {article}{largest['writer']}{layer} makes most, "
        f"{percent(largest['share'])}; the norm itself makes {percent(norm, 1)}"
    )


def for_the_most_toxic_alone(results: Results) -> Markdown:
    """What the shift does where only the most toxic neurons lose or get it."""
    shares, top = results.table1.set_index("name")["recovered"], _top(results)
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


def _top(results: Results) -> str:
    return f"top {results.profile.interventions.figure_top} toxic"
