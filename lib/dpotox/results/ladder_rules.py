"""The rules of 'Does size matter?' and 'Other architectures', and what the ladder says to them.

1. The value of a rule is computed for each seed, from that seed's runs. The three seeds are the sample: their
   mean is judged with Student's interval, no narrower than the seeds' own intervals are.
2. A run is *untested* if DPO does not lower its greedy toxicity by a third, or more than doubles perplexity
   on all text, or if a quantity has no value there, as shares of an effect that may be none. It is left out.
   With more than a third of a rule's runs untested, the rule does not hold.
3. A rule that holds is *no evidence* if untrained networks meet it as well: if the mean of their seeds lies
   in the range, however unsure that mean is and whatever DPO does to them.
4. Where a run is missing, the rule is *not run*; untrained networks must be there only where it would hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean

import numpy as np
import pandas as pd
from scipy import special

from dpotox.estimates import ENDS, Estimate, Evidence, over_seeds, unknown
from dpotox.estimates import SEEDS as OVER_SEEDS
from dpotox.results.claims import FAILS, HOLDS, Claim, as_estimates
from dpotox.results.ladder import (
    CONTENT,
    DIMENSIONS,
    FAMILY,
    NAMED,
    NAMES,
    PERPLEXITY,
    SEEDS,
    TOXICITY,
    Rung,
    along,
    minus,
)

NO_EVIDENCE, NOT_RUN = "no evidence", "not run"
"""Verdicts beside those on claims."""
SIZE, ARCHITECTURES = "15_does_size_matter", "17_other_architectures"
"""The chapters that have rules."""
BASE = "gpt2"
"""The family of which there are several sizes."""
MOST_TOXICITY, MOST_PERPLEXITY = 2 / 3, 2.0
"""Of what they were before DPO; beyond either a run is untested."""
MOST_UNTESTED = 1 / 3
"""Of a rule's runs."""
FEWEST = 4
"""Shapes of a correlation: of four as of five, chance puts one of 24 orders beyond the limits."""
DRAWS = 2_000
Runs = dict[tuple[Rung, int], Evidence]
"""What was measured, by rung and seed."""


@dataclass(frozen=True)
class Rule:
    """A prediction: the claim about what is measured, and how that is computed.

    Attributes:
        at: the rungs over which a mean is taken.
        less: those whose mean is taken off it.
        least: take the least over the rungs instead.
        beside: what the quantity is correlated with over these: a dimension or another quantity.
    """

    claim: Claim
    quantity: str
    at: tuple[Rung, ...]
    less: tuple[Rung, ...] = ()
    least: bool = False
    beside: str = ""

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """All that it is about."""
        return self.at + self.less


def _rule(entry: dict) -> Rule:
    ends = entry.get("above", -math.inf), entry.get("below", math.inf)
    words = (entry["id"], entry["prediction"], entry["measured"])
    claim = Claim(*words, *ends, chapter=entry.get("chapter", SIZE), source="ours")
    at, less = (_rungs(entry.get(key, [])) for key in ("at", "less"))
    return Rule(claim, entry["quantity"], at, less, entry.get("least", False), entry.get("beside", ""))


def _rungs(names: list[str]) -> tuple[Rung, ...]:
    """The rungs of some names and along some dimensions, each once."""
    some = [along(name) if name in DIMENSIONS else [NAMED[name]] for name in names]
    return tuple(dict.fromkeys(rung for rungs in some for rung in rungs))


RULES = [_rule(entry) for entry in CONTENT["rule"]]


def judge(table: pd.DataFrame, chapter: str) -> pd.DataFrame:
    """What came out for every rule of a chapter.

    Args:
        table: of `ladder_packs.read`.
        chapter: `SIZE` or `ARCHITECTURES`.

    Returns:
        A row per rule: `id`, `prediction`, `measured`, `rule` (the range), the values `seed 0` and on, their
        mean `value` with `low` and `high`, `verdict`, how many `runs` it is about and how many of them are
        `untested`, the mean of the `untrained` networks, and the `missing` runs that the verdict waits for.
    """
    runs = runs_of(table)
    return pd.DataFrame([_judged(rule, runs) for rule in RULES if rule.claim.chapter == chapter])


def rungs_of(chapter: str) -> list[str]:
    """The names of the rungs that a chapter is about: the architectures, or all of one."""
    families = along(FAMILY)
    among = families + [replace(rung, trained=False) for rung in families]
    own = [rung for rung in NAMES if (rung in among if chapter == ARCHITECTURES else rung.family == BASE)]
    return [NAMES[rung] for rung in own]


def runs_of(table: pd.DataFrame) -> Runs:
    """The table as what was measured by run."""
    by_run = table.groupby(["rung", "seed"], sort=False)
    return {(NAMED[name], seed): as_estimates(some) for (name, seed), some in by_run}


def _judged(rule: Rule, runs: Runs) -> dict:
    trained, untrained = (by_seed(rule, runs, trained=trained) for trained in (True, False))
    mean, beside = mean_of(trained), mean_of(untrained)
    there = [runs[rung, seed] for rung in rule.rungs for seed in SEEDS if (rung, seed) in runs]
    untested = sum(not is_tested(run) or not _has(rule, run) for run in there)
    verdict, missing = rule.claim.verdict(mean), _missing(rule, runs, trained=True)
    if untested > MOST_UNTESTED * len(rule.rungs) * len(SEEDS):
        verdict = FAILS
    if verdict == HOLDS and not missing:
        missing = _missing(rule, runs, trained=False)
        if rule.claim.low < beside.value < rule.claim.high:
            verdict = NO_EVIDENCE
    return {
        "id": rule.claim.id,
        "prediction": rule.claim.statement,
        "measured": rule.claim.quantity,
        "rule": range_of(rule.claim),
        **{f"seed {seed}": trained[seed].value if seed in trained else math.nan for seed in SEEDS},
        **asdict(mean),
        "verdict": NOT_RUN if missing else verdict,
        "runs": len(rule.rungs) * len(SEEDS),
        "untested": untested,
        "untrained": beside.value,
        "missing": missing,
    }


def range_of(claim: Claim) -> str:
    """The range that a rule asks for."""
    return claim.rule.removeprefix(f"{claim.quantity} ").replace(f" < {claim.quantity} < ", " to ")


def is_tested(run: Evidence) -> bool:
    """Whether DPO did its work there without breaking the text."""
    limits = {TOXICITY: MOST_TOXICITY, PERPLEXITY: MOST_PERPLEXITY}
    return all(name in run and run[name].value <= most for name, most in limits.items())


def by_seed(rule: Rule, runs: Runs, *, trained: bool) -> dict[int, Estimate]:
    """The value of a rule for each seed that has one, of trained models or of untrained networks."""
    found = {}
    for seed in SEEDS:
        some = {rung: runs.get((replace(rung, trained=trained), seed), {}) for rung in rule.rungs}
        counts = {
            rung: run for rung, run in some.items() if _has(rule, run) and (is_tested(run) or not trained)
        }
        if len(counts) >= (FEWEST if rule.beside else len(rule.rungs)):
            found[seed] = _value(rule, counts)
    return found


def _has(rule: Rule, run: Evidence) -> bool:
    """Whether all that a rule is about has a value in a run."""
    names = {rule.quantity, rule.beside} - {"", *DIMENSIONS}
    return all(name in run and math.isfinite(run[name].value) for name in names)


def _value(rule: Rule, runs: dict[Rung, Evidence]) -> Estimate:
    values = [run[rule.quantity] for run in runs.values()]
    if rule.beside in DIMENSIONS:
        sizes = [float(getattr(rung, rule.beside)) for rung in runs]
        return correlation(values, [Estimate(size, size, size) for size in sizes])
    if rule.beside:
        return correlation(values, [run[rule.beside] for run in runs.values()])
    if rule.least:
        return _over(min, values)
    mean = _over(fmean, values[: len(rule.at)])
    return minus(mean, _over(fmean, values[len(rule.at) :])) if rule.less else mean


def _over(several: Callable[[list[float]], float], values: list[Estimate]) -> Estimate:
    """The mean or the least of values, with an interval as if all erred together, so never too narrow."""
    ends = zip(*((one.value, one.low, one.high) for one in values), strict=True)
    return Estimate(*(several(list(some)) for some in ends))


def correlation(one: Sequence[Estimate], other: Sequence[Estimate]) -> Estimate:
    """Spearman's correlation; its interval is of values drawn anew, as their own intervals have them."""
    from scipy import stats  # slow to import

    rng = np.random.default_rng(0)

    def ranks(some: Sequence[Estimate]) -> np.ndarray:
        values, low, high = np.array([[e.value, e.low, e.high] for e in some]).T
        spread = np.nan_to_num((high - low) / 2 / special.ndtri(ENDS[1]))
        drawn = rng.normal(values, spread, (DRAWS, len(values)))
        return stats.rankdata(np.vstack([values, drawn]), axis=1)

    a, b = (rows - rows.mean(axis=1, keepdims=True) for rows in map(ranks, (one, other)))
    with np.errstate(invalid="ignore"):  # of values that are all the same
        value, *drawn = (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))
    low, high = np.quantile(drawn, ENDS)
    return Estimate(float(value), min(float(low), float(value)), max(float(high), float(value)))


def mean_of(values: dict[int, Estimate]) -> Estimate:
    """The mean over seeds with its interval; unknown where there is no seed."""
    if not values:
        return unknown(math.nan, OVER_SEEDS)
    return over_seeds(*zip(*((e.value, e.low, e.high) for e in values.values()), strict=True))


def _missing(rule: Rule, runs: Runs, *, trained: bool) -> list[str]:
    """The runs that a rule needs and that are not there, by rung and seed."""
    rungs = [replace(rung, trained=trained) for rung in rule.rungs]
    return [f"{NAMES[r]} seed {s}" for r in rungs for s in SEEDS if (r, s) not in runs]
