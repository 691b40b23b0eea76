"""What the ladder says, in tables and sentences: what was predicted, what came out, what is missing."""

from __future__ import annotations

import html
from collections.abc import Iterable

import pandas as pd
from IPython.display import Markdown
from pandas.io.formats.style import Styler

from dpotox.estimates import over_seeds
from dpotox.results.agreement import BEST
from dpotox.results.claims import FAILS, HOLDS, OPEN
from dpotox.results.ladder import CONTENT, NAMES, NET, OWN, SEEDS, WORDS, published, words_per_dimension
from dpotox.results.ladder_rules import NO_EVIDENCE, NOT_RUN, RULES, is_tested, range_of, runs_of
from dpotox.show.report import interval, number, shown
from dpotox.show.report_claims import VERDICTS
from dpotox.show.wording import lines, sentence

SIGNS = VERDICTS | {NO_EVIDENCE: "~ no evidence", NOT_RUN: "- not run"}
NOTHING_RUN = "nothing of the ladder has been run here; `make ladder` runs it"
UNDONE = ("more-cancels", "noise-cancels", "depth-cancels")
"""The rules that explain what is undone."""
SUFFICE = ("narrow-needs-more", "rich-needs-more")
"""Those on what makes few neurons too few."""
SAID = {
    HOLDS: "came out",
    FAILS: "did not come out",
    OPEN: "undecided",
    NO_EVIDENCE: "came out, but in untrained networks as well",
    NOT_RUN: "not run whole",
}


def runs(table: pd.DataFrame, refused: dict[str, str]) -> Markdown:
    """How much of the ladder there is, which rungs are missing and what makes them."""
    if table.empty and not refused:
        return sentence(NOTHING_RUN)
    there = set(table[["rung", "seed"]].itertuples(index=False, name=None))
    missing = [name for name in NAMES.values() if any((name, seed) not in there for seed in SEEDS)]
    said = [f"{len(there)} of {len(NAMES) * len(SEEDS)} runs are here"]
    if missing:
        said.append(
            f"these rungs are missing, or lack a seed: {_listed(missing)}; "
            f"`make ladder RUNG={missing[0]}` makes the first of them, and `make ladder` all"
        )
    if untested := _untested(table):
        said.append(f"untested, as DPO did not do its work or broke the text: {_listed(untested)}")
    said += [
        f"`{html.escape(name)}` does not count: {html.escape(why)}; take it away and run `make ladder`"
        for name, why in refused.items()
    ]
    return lines(said)


def _untested(table: pd.DataFrame) -> list[str]:
    found = runs_of(table[table["trained"]])
    return [f"{NAMES[rung]} (seed {seed})" for (rung, seed), run in found.items() if not is_tested(run)]


def _listed(names: Iterable[str]) -> str:
    *some, last = names
    return f"{', '.join(some)} and {last}" if some else last


def predictions() -> Styler:
    """What was predicted before the runs."""
    return shown(
        pd.DataFrame(
            {
                "rule": [rule.claim.id for rule in RULES],
                "prediction": [rule.claim.statement for rule in RULES],
                "what is measured": [rule.claim.quantity for rule in RULES],
                "range": [range_of(rule.claim) for rule in RULES],
            }
        )
    )


def verdicts(judged: pd.DataFrame) -> Styler:
    """What came out, by seed and over seeds, beside the untrained networks."""
    rows = []
    for rule in judged.to_dict("records"):
        seeds = {f"seed {seed}": number(rule[f"seed {seed}"]) for seed in SEEDS}
        rows.append(
            {"rule": rule["id"], "range": rule["rule"]}
            | seeds
            | {
                "mean": interval(rule["value"], rule["low"], rule["high"]),
                "untrained": number(rule["untrained"]),
                "untested": f"{rule['untested']} of {rule['runs']}",
                "verdict": SIGNS[rule["verdict"]],
            }
        )
    return shown(pd.DataFrame(rows))


def about(judged: pd.DataFrame, ids: Iterable[str]) -> Markdown:
    """What was predicted and what came out of some rules, a line each."""
    by = {rule["id"]: rule for rule in judged.to_dict("records")}
    return lines(_told(by[name]) for name in ids)


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
    size, undone = (_held(judged, ids) for ids in (SUFFICE, UNDONE))
    found = [f"how few neurons suffice depends on {_listed(size)}"] if size else []
    found += [f"what is undone goes with {_listed(undone)}"] if undone else []
    first = "; ".join(found) or "no effect of size is shown"
    return sentence(f"{first}. Of {len(judged)} predictions {'; '.join(said)}")


def _held(judged: pd.DataFrame, ids: Iterable[str]) -> list[str]:
    """What the rules that hold say a thing depends on."""
    words = {
        "narrow-needs-more": "the width",
        "rich-needs-more": "the language",
        "more-cancels": "the number of neurons",
        "noise-cancels": "the noise of the reading",
        "depth-cancels": "the depth",
    }
    held = set(judged.loc[judged["verdict"] == HOLDS, "id"])
    return [words[name] for name in ids if name in held]
