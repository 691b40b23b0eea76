"""The tables of the edits, the paper's table 1 and our controls, for the pages."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd
from pandas.io.formats.style import Styler

from dpotox.paper.published import published_table1
from dpotox.paper.selections import SETS
from dpotox.show.report import interval, number, percent, shown, with_ends

RECOVERED = "recovered share"
BROKEN = "†"
SURPRISED, REPEATS = 2.0, 1.5
"""A text is broken from so many times DPO's perplexity on all text, or its repetition."""


def paper_rows(summary: pd.DataFrame) -> pd.DataFrame:
    """The rows that the published table has, or has at other numbers of neurons."""
    ours = summary["which"].str.contains(" by ")
    published = summary["kind"].isin(["none", "ablate", "scale keys"]) & ~ours
    return summary[published | (summary["published"] != "")]


def rows_of(summary: pd.DataFrame, *kinds: str) -> pd.DataFrame:
    """The rows of these kinds."""
    return summary[summary["kind"].isin(kinds)]


def broken(rows: pd.DataFrame, summary: pd.DataFrame) -> pd.Series:
    """Whether an edit leaves text so surprised or so repetitive that its low toxicity means nothing.

    Args:
        summary: all rows, among them that after DPO.
    """
    dpo = summary.set_index("name").loc["after DPO"]
    surprised = rows["perplexity_all"].astype(float) > SURPRISED * dpo["perplexity_all"]
    return surprised | (rows["repetition"].astype(float) > REPEATS * dpo["repetition"])


def toxicity(rows: pd.DataFrame, summary: pd.DataFrame) -> Styler:
    """Toxicity with intervals, the paper's beside it, and the recovered share, broken texts marked.

    Args:
        summary: all rows, among them that after DPO.
    """
    marks = broken(rows, summary).map({True: f" {BROKEN}", False: ""})
    table = [
        {
            "row": line["name"],
            "neurons": f"{line['neurons']:,} ({line['of_all_neurons']:.1%})" if line["neurons"] else "-",
            RECOVERED: _interval(line, "recovered") + mark,
            "toxicity, greedy": _interval(line, "toxicity"),
            "paper": _paper(line["published"], "toxicity"),
            "toxicity, sampled": _interval(line, "sampled_toxicity"),
            "share, sampled": _interval(line, "recovered_sampled"),
            "prompts above .5": number(line["above_half"]),
        }
        for line, mark in zip(rows.to_dict("records"), marks, strict=True)
    ]
    caption = (
        f"{BROKEN} broken text, whose toxicity means nothing: perplexity above {SURPRISED:g} or repetition "
        f"above {REPEATS:g} times DPO's"
    )
    return shown(table).set_caption(caption if marks.any() else "")


def quality(summary: pd.DataFrame) -> Styler:
    """Perplexity, F1 and repetition with intervals, the paper's beside them."""
    rows = [
        {
            "row": line["name"],
            "perplexity, neutral text": _interval(line, "perplexity"),
            "paper, WikiText-2": _paper(line["published"], "perplexity"),
            "perplexity, all text": _interval(line, "perplexity_all"),
            "F1": _interval(line, "f1"),
            "paper: F1": _paper(line["published"], "f1"),
            "repetition": _interval(line, "repetition"),
        }
        for line in summary.to_dict("records")
    ]
    return shown(rows)


def by_set(summary: pd.DataFrame, measure: str) -> Styler:
    """One measure of every way to edit each set of neurons, a line per set."""
    ways = {f"{kind}, newest": (kind, "newest") for kind in ("patch", "hold")}
    ways |= {kind: (kind, "all") for kind in ("patch", "hold", "shift", "shift, same text", "copy")}
    summary, rows = rows_of(summary, *(kind for kind, _ in ways.values())), []
    for which in SETS:
        part = summary[summary["which"] == which].set_index(["kind", "positions"])
        if len(part):
            first = part.iloc[0]
            row = {"neurons": f"{which} ({first['neurons']:,})"}
            rows.append(row | {way: _short(part.loc[key], measure) for way, key in ways.items()})
    return shown(rows)


def recovered_by_seed(table: pd.DataFrame) -> Styler:
    """The recovered share of every row by seed, and over seeds (`seeds.recovered_by_seed`)."""
    seeds = [column for column in table if isinstance(column, int)]
    rows = []
    for name, values in table.iterrows():
        row = {"row": name} | {f"seed {seed}": number(values[seed]) for seed in seeds}
        if len(seeds) > 1:
            row["over seeds"] = interval(values["mean"], values["low"], values["high"])
        rows.append(row)
    return shown(rows)


def draws(drawn: pd.DataFrame, summary: pd.DataFrame) -> Styler:
    """Rows beside random choices: the share that each recovers, and the difference."""
    known, rows = summary.set_index("name"), []
    for line in drawn.to_dict("records"):
        own = known.loc[line["row"]]
        # Of no effect, rounding would make a share.
        sure = math.isfinite(own["recovered"])
        rows.append(
            {
                "row": line["row"],
                "recovers": _interval(own, "recovered"),
                "on the draws' prompts": number(line["own"]) if sure else "-",
                "beside": f"{line['draws']} times {line['drawn']}",
                "their mean [least, most]": interval(line["mean"], line["least"], line["most"]),
                "row minus their mean": _interval(line, "beyond") if sure else "-",
                "draws that do as much": percent(line["reach"]),
            }
        )
    return shown(rows)


def _short(line: pd.Series, name: str) -> str:
    """With fewer digits, so that eight columns fit on a page."""
    value, low, high = with_ends(line, name)
    if not all(map(math.isfinite, (value, low, high))):
        return number(value)
    digits = ".2f" if abs(high) < 10 else ".0f"
    return f"{value:{digits}} [{low:{digits}}, {high:{digits}}]"


def _interval(line: Mapping, name: str) -> str:
    return interval(*with_ends(line, name))


def two_scorers(summary: pd.DataFrame, second: pd.DataFrame) -> Styler:
    """The share of DPO's effect in every row by two scorers, and their rank correlation over prompts."""
    known = summary.set_index("name")
    rows = [
        {
            "row": line["row"],
            "toxicity": number(known.loc[line["row"], "toxicity"]),
            "toxicity, second scorer": number(line["toxicity"]),
            RECOVERED: _interval(known.loc[line["row"]], "recovered"),
            "share, second scorer": _interval(line, "recovered"),
            "rank correlation": number(line["rank_correlation"]),
        }
        for line in second.to_dict("records")
    ]
    return shown(rows)


def _paper(row: str, measure: str) -> str:
    published = published_table1()
    return number(published.loc[row, measure]) if row in published.index else "-"
