"""The tables of the chapter on the offset."""

from __future__ import annotations

import math

import pandas as pd
from pandas.io.formats.style import Styler

from dpotox.paper.selections import EVERYTHING
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
