"""What the ladder says, in tables and sentences: what was predicted, what came out, what is missing."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping
from dataclasses import astuple

import pandas as pd
from IPython.display import Markdown
from pandas.io.formats.style import Styler

from dpotox.estimates import Estimate, over_seeds
from dpotox.results.agreement import BEST
from dpotox.results.claims import FAILS, HOLDS, OPEN
from dpotox.results.folder import Results
from dpotox.results.ladder import (
    CONTENT,
    FAMILY,
    MEDIUM,
    NAMES,
    NET,
    OWN,
    PERPLEXITY,
    SEEDS,
    TOXICITY,
    WORDS,
    along,
    measured,
    published,
    words_per_dimension,
)
from dpotox.results.ladder_rules import NO_EVIDENCE, NOT_RUN, is_tested, rungs_of, runs_of
from dpotox.show.figures_ladder import DIVIDED, EDITS, FAMILY_NAMES, FEW, RECOVERED, SHARES
from dpotox.show.figures_ladder import UNDONE as LEFT
from dpotox.show.report import interval, lines, number, sentence, shown
from dpotox.show.report_claims import VERDICTS

SIGNS = VERDICTS | {NO_EVIDENCE: "~ no evidence", NOT_RUN: "- not run"}
NOTHING_RUN = "nothing of the ladder has been run here; `make ladder` runs it"
UNDONE = {
    "more-cancels": "the number of neurons",
    "noise-cancels": "the noise of the reading",
    "stronger-cancels-less": "how weakly DPO acts",
    "depth-cancels": "the depth",
}
"""The rules on what is undone, and what it goes with by each."""
SUFFICE = {"narrow-needs-more": "the width", "rich-needs-more": "the language"}
"""Those on how few neurons suffice, and what that depends on."""
SAID = {
    HOLDS: "came out",
    FAILS: "did not come out",
    OPEN: "undecided",
    NO_EVIDENCE: "came out, but in untrained networks as well",
    NOT_RUN: "not run whole",
}


def runs(table: pd.DataFrame, refused: dict[str, str], chapter: str) -> Markdown:
    """How much there is of what a chapter is about, which rungs are missing and what makes them."""
    rungs = rungs_of(chapter)
    table = table[table["rung"].isin(rungs)]
    if table.empty and not refused:
        return sentence(NOTHING_RUN)
    there = set(table[["rung", "seed"]].itertuples(index=False, name=None))
    missing = [name for name in rungs if any((name, seed) not in there for seed in SEEDS)]
    said = [f"{len(there)} of {len(rungs) * len(SEEDS)} runs are here"]
    if missing:
        said.append(
            f"these rungs are missing, or lack a seed: {_listed(missing)}; "
            f"`make ladder RUNG={missing[0]}` makes the first of them, and `make ladder` all"
        )
    trained = runs_of(table[table["trained"]]).items()
    if untested := [f"{NAMES[rung]} (seed {seed})" for (rung, seed), run in trained if not is_tested(run)]:
        said.append(f"untested, as DPO did not do its work or broke the text: {_listed(untested)}")
    said += [
        f"`{html.escape(name)}` does not count: {html.escape(why)}; take it away and run `make ladder`"
        for name, why in refused.items()
    ]
    return lines(*said)


def _listed(names: Iterable[str]) -> str:
    *some, last = names
    return f"{', '.join(some)} and {last}" if some else last


def predictions(judged: pd.DataFrame) -> Styler:
    """What was predicted before the runs."""
    names = {"id": "rule", "measured": "what is measured", "rule": "range"}
    return shown(judged[["id", "prediction", "measured", "rule"]].rename(columns=names))


def verdicts(judged: pd.DataFrame) -> Styler:
    """What came out, by seed and over seeds, beside the untrained networks."""
    columns = {"rule": judged["id"], "range": judged["rule"]}
    columns |= {f"seed {seed}": judged[f"seed {seed}"] for seed in SEEDS}
    columns |= {
        "mean": judged[["value", "low", "high"]].apply(lambda ends: interval(*ends), axis=1),
        "untrained": judged["untrained"],
        "untested": judged["untested"].astype(str) + " of " + judged["runs"].astype(str),
        "verdict": judged["verdict"].map(SIGNS),
    }
    return shown(columns)


def about(judged: pd.DataFrame, ids: Iterable[str]) -> Markdown:
    """What was predicted and what came out of some rules, a line each."""
    by = {rule["id"]: rule for rule in judged.to_dict("records")}
    return lines(*(_told(by[name]) for name in ids))


def _told(rule: dict) -> str:
    predicted = f"`{rule['id']}`: {rule['prediction']} (rule: {html.escape(rule['rule'])})"
    if rule["verdict"] == NOT_RUN:
        n = len(rule["missing"])
        command = f"`make ladder RUNG={rule['missing'][0].split()[0]}`"
        return f"{predicted}. **Not run**: {n} of the runs it needs are missing; {command} makes the first"
    here = interval(rule["value"], rule["low"], rule["high"])
    beside = f", untrained networks {number(rule['untrained'])}" if pd.notna(rule["untrained"]) else ""
    return f"{predicted}. Here: {here}{beside}. **{SIGNS[rule['verdict']]}**"


def features(table: pd.DataFrame) -> Markdown:
    """How the best ablation's share goes with the words per dimension, over all trained rungs, by seed."""
    some = words_per_dimension(table)
    if BEST not in some:
        return sentence(NOTHING_RUN)
    by_seed = {
        seed: runs[[WORDS, BEST]].corr("spearman").iloc[0, 1]
        for seed, runs in some[some["trained"]].dropna(subset=BEST).groupby("seed")
        if runs[WORDS].nunique() > 2 and runs[BEST].nunique() > 1
    }
    if not by_seed:
        return sentence("too few shapes have been run for a correlation; `make ladder` runs them")
    mean = over_seeds(list(by_seed.values()))
    values = ", ".join(f"{number(value)} (seed {seed})" for seed, value in by_seed.items())
    over = f"; mean {interval(mean.value, mean.low, mean.high)}" if len(by_seed) > 1 else ""
    return sentence(
        f"over all trained rungs Spearman's correlation of that share with words per dimension is "
        f"{values}{over}. No rule was written for it, so it describes and proves nothing"
    )


def by_strength(table: pd.DataFrame) -> Styler:
    """What is left of the toxicity, and what edits recover, the stronger DPO acts: means over seeds."""
    columns = {TOXICITY: "toxicity left"} | EDITS | {f"{NET}, {OWN}": LEFT[f"{NET}, {OWN}"]}
    means = table.groupby(["rung", "quantity"])["value"].mean()
    values = table.pivot_table("value", ["rung", "seed"], "quantity").reindex(columns=[BEST, TOXICITY])
    out = (values[BEST] * (1 - values[TOXICITY])).groupby("rung").mean()
    seeds = table.groupby("rung")["seed"].nunique()
    rows = []
    for rung in along("strength"):
        if (name := NAMES[rung]) in seeds.index:
            row = {"DPO's rate": f"{rung.strength:g}", "seeds": seeds[name]}
            row |= {said: means.get((name, q), math.nan) for q, said in columns.items()}
            rows.append(row | {"taken out by the best ablation": out.get(name, math.nan)})
    return shown(rows)


def natural(table: pd.DataFrame, packs: Mapping[str, Results]) -> Styler:
    """Models of natural text beside the ladder and the published values; packs of others are passed over."""
    found = {}
    for one in packs.values():
        if one.profile.pretraining.texts:
            neurons = one.record.shape.layers * one.record.shape.d_mlp
            found[f"natural text, {neurons:,} neurons, seed {one.seed}"] = measured(one)
    known, paper = table[table["trained"]].groupby("quantity")["value"], published()
    ends = {quantity: f"{number(some.min())} to {number(some.max())}" for quantity, some in known}
    names = {TOXICITY: TOXICITY, PERPLEXITY: PERPLEXITY} | SHARES | LEFT | FEW | EDITS
    rows = [
        {"": name}
        | {run: _with_interval(there.get(quantity)) for run, there in found.items()}
        | {"the ladder": ends.get(quantity, "-")}
        | {f"{MEDIUM}, published": number(paper.get(quantity, {}).get(MEDIUM))}
        for quantity, name in names.items()
    ]
    return shown(rows if found else [])


def _with_interval(one: Estimate | None) -> str:
    return interval(one.value, one.low, one.high) if one else "-"


def families(table: pd.DataFrame) -> Styler:
    """What each family measured, means over seeds, beside what is published."""
    trained, paper = table[table["trained"]], published()
    columns = [*FAMILY_NAMES, *paper[f"{NET}, {OWN}"]]
    rates = {rung.family: f"{rung.strength:g}" for rung in along(FAMILY)}
    named = {FAMILY_NAMES.get(column, column): rates.get(column, "-") for column in columns}
    rows = [{"": "DPO's rate, in those of the first"} | named]
    for quantity, name in ({TOXICITY: "toxicity left"} | DIVIDED | RECOVERED).items():
        found = trained[trained["quantity"] == quantity]
        row = dict.fromkeys(columns, "-") | {m: number(v) for m, v in paper.get(quantity, {}).items()}
        for rung in along(FAMILY):
            seeds = found[found["rung"] == NAMES[rung]]
            if len(seeds):
                mean = over_seeds(*(seeds[end].tolist() for end in ("value", "low", "high")))
                alone = f"{number(mean.value)} (one seed)"
                row[rung.family] = interval(*astuple(mean)[:3]) if len(seeds) > 1 else alone
        rows.append({"": name} | {FAMILY_NAMES.get(column, column): row[column] for column in columns})
    return shown(rows)


def by_ablation(table: pd.DataFrame, dimension: str = FAMILY) -> dict[str, Estimate]:
    """What the best ablation recovers at each rung along a dimension, over its seeds."""
    some = table[table["trained"] & (table["quantity"] == BEST)]
    seeds = {getattr(rung, dimension): some[some["rung"] == NAMES[rung]] for rung in along(dimension)}
    return {
        name: over_seeds(*(found[end].tolist() for end in ("value", "low", "high")))
        for name, found in seeds.items()
        if len(found)
    }


def answer_families(judged: pd.DataFrame, table: pd.DataFrame) -> Markdown:
    """Do other architectures change alike? As far as the rules say, and what no rule asks."""
    if (judged["verdict"] == NOT_RUN).all():
        return sentence("no rule has been run whole, so there is no answer yet")
    said = [f"{rule['prediction']}: {SAID[rule['verdict']]}" for rule in judged.to_dict("records")]
    found = by_ablation(table).items()
    shares = [f"{interval(e.value, e.low, e.high)} in {FAMILY_NAMES[family]}" for family, e in found]
    said.append(
        "**Ablation**, for which no rule was written down: over seeds the best one by cosine recovers "
        f"{', '.join(shares)}"
    )
    return lines(*said)


def published_net() -> Markdown:
    """The published values of net over gross, and where they are from."""
    medium, *larger = published()[f"{NET}, {OWN}"].items()
    others = _listed(f"{model} {value:.3f}" for model, value in larger)
    return sentence(
        f"dashed is the published value of {medium[0]}, {medium[1]:.3f}; dotted are {others}, "
        f"{CONTENT['published']['source']}"
    )


def answer(judged: pd.DataFrame) -> Markdown:
    """Does size matter? As far as the rules say."""
    if (judged["verdict"] == NOT_RUN).all():
        return sentence("no rule has been run whole, so there is no answer yet")
    by_verdict = judged.groupby("verdict")["id"].agg(list)
    said = [
        f"{len(by_verdict[verdict])} {words} ({', '.join(by_verdict[verdict])})"
        for verdict, words in SAID.items()
        if verdict in by_verdict
    ]
    held = set(judged.loc[judged["verdict"] == HOLDS, "id"])
    size, undone = ([what for rule, what in of.items() if rule in held] for of in (SUFFICE, UNDONE))
    found = [f"how few neurons suffice depends on {_listed(size)}"] if size else []
    found += [f"what is undone goes with {_listed(undone)}"] if undone else []
    first = "; ".join(found) or "no effect of size is shown"
    return sentence(f"{first}. Of {len(judged)} predictions {'; '.join(said)}")
