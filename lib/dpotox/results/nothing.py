"""How often a claim comes out the same where there is nothing to find, and what its verdict thus carries.

1. Where there is nothing: along *directions* that mean nothing, random ones, ones that vary as the residual
   stream does, and probes fitted to shuffled labels, each with every model on its own text and with both on
   the same; with the model *against itself*, sampled twice; after *placebos*, DPO on preferences that are
   shuffled or reversed, signed so that what they change counts as a reduction, with every seed whose pack
   lies there; and in *untrained* networks, which are taken through the whole study.
2. Each of these is a case with a verdict: by the value along a direction, by the interval elsewhere. Cases
   that are inconclusive do not count, nor do kinds of place that the quantity cannot see: those that
   differ in nothing that it is about (`BEFORE_ALONE`, `HELD`), and for claims on what DPO does to
   the text (`DPO_ITSELF`) untrained networks, as it is what these are trained to do.
3. A verdict is *no evidence* if in some kind of place at least half of the cases have the same one. It is
   *evidence* if in every kind at most one of twenty have, of `ENOUGH` cases or more in all; else *weak
   evidence*.
4. What is told so is the verdict over seeds (`claims.over_seeds`), this run's where there is only one. A
   claim *depends on the seed* if it holds by one seed or by the mean, and does not hold by another.

The first rule, and the limits of the third, were written before any of it was run here, but after a trial on
one untrained network and a review had found that claims pass there. The fourth was narrowed to seeds, and the
second and the rest of the third became what they are, after results had been seen: a review found that
inconclusive cases had counted like verdicts against a claim, that a claim that fails was told by how often it
holds elsewhere, and that some places could not differ at all. The fourth became what it is before ten
seeds were run, but knowing three: it had told this run's verdict, and had taken one that is inconclusive
with another seed for a contradiction, of which ten seeds nearly always have some.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from dpotox.estimates import Estimate
from dpotox.facts import NOISE
from dpotox.results.claims import CLAIMS, DEPENDS, FAILS, HOLDS, WITHDRAWN, Claim, over_seeds
from dpotox.results.folder import Results
from dpotox.results.seeds import run_again

UNTRAINED = "untrained"
"""The name of the profile whose runs are of untrained networks."""
OFTEN, RARELY, ENOUGH = 0.5, 0.05, 20
STANDINGS = EVIDENCE, WEAK, NONE, UNTRIED, SEED, OPEN = (
    "evidence",
    "weak evidence",
    "no evidence",
    "not tried where there is nothing",
    DEPENDS,
    "cannot be decided here",
)
"""What a verdict carries."""
BEFORE_ALONE = {
    "positively active share of all neurons",
    "positively active share of the top toxic neurons",
    "positively active share of the top toxic neurons, as many as the paper's share",
}
"""Quantities of the model before DPO alone, which is the same after placebos and against itself."""
HELD = "part of the net reduction with value vectors held"
"""Against itself a model has the same value vectors, so that this is 1."""
DPO_ITSELF = ("dpo-reduces", "dpo-keeps-perplexity", "dpo-keeps-f1", "placebo-does-little")
"""Claims on what DPO does to the text."""


@dataclass(frozen=True)
class Beside:
    """What a run is held against: other runs, by their names where these are shown.

    Attributes:
        untrained: untrained networks of the same shape.
        seeds: other seeds of the same profile, in their order, each once: the first run of it counts.
        elsewhere: runs of other profiles, which decide nothing here.
    """

    untrained: list[Results]
    seeds: dict[str, Results]
    elsewhere: dict[str, Results]


def beside(results: Results, runs: dict[str, Results]) -> Beside:
    """Some runs, sorted by what they are for one."""
    shape, profile = results.record.shape, results.profile.name
    trained = {name: one for name, one in runs.items() if one.profile.name != UNTRAINED}
    seeds: dict[int, str] = {}
    for name, one in runs.items():
        if one.profile.name == profile and one.seed != results.seed:
            seeds.setdefault(one.seed, name)
    return Beside(
        [one for n, one in runs.items() if n not in trained and one.record.shape == shape],
        {name: runs[name] for _, name in sorted(seeds.items())},
        {n: one for n, one in trained.items() if one.profile.name != profile},
    )


def cases(results: Results, untrained: list[Results], others: Sequence[Results] = ()) -> pd.DataFrame:
    """How each claim comes out in each kind of place where there is nothing to find.

    Args:
        results: of the run that the pages are of, along whose directions claims are looked for.
        others: other seeds of it, whose placebos and noise count beside its own.

    Returns:
        `id` of the claim, `where`, and how many cases there `hold` and `fail`; no row where none is decided.
    """
    rows = [
        {"id": claim.id, "where": where, "hold": verdicts.count(HOLDS), "fail": verdicts.count(FAILS)}
        for claim in CLAIMS
        for where, verdicts in _verdicts(claim, results, untrained, others).items()
    ]
    table = pd.DataFrame(rows, columns=["id", "where", "hold", "fail"])
    return table[table["hold"] + table["fail"] > 0].reset_index(drop=True)


def _verdicts(
    claim: Claim, results: Results, untrained: list[Results], others: Sequence[Results]
) -> dict[str, list[str]]:
    """The verdicts on a claim by kind of place."""
    found: dict[str, list[str]] = {}
    if claim.quantity in results.other_directions:
        for (kind, text), some in results.other_directions.groupby(["kind", "text"], sort=False):
            values = some[claim.quantity].dropna()
            if values.nunique() > 1:  # else it does not depend on the direction
                found[f"{kind}, {text} text"] = [claim.verdict(Estimate(v, v, v)) for v in values]
    for one in (results, *others):
        compared = one.comparisons
        here = compared[(compared["quantity"] == claim.quantity) & (compared["place"] == "nothing")]
        for line in here.itertuples():
            same = claim.quantity in BEFORE_ALONE or (claim.quantity == HELD and line.comparison == NOISE)
            if not same:
                verdict = claim.verdict(Estimate(line.value, line.low, line.high))
                found.setdefault(line.comparison, []).append(verdict)
    if untrained and claim.id not in DPO_ITSELF:
        verdicts = [one.claims.set_index("id").loc[claim.id, "verdict"] for one in untrained]
        found["untrained networks"] = verdicts
    return found


def told(found: pd.DataFrame, judged: pd.DataFrame) -> pd.Series:
    """By claim that is decided, what its verdict carries beside places with nothing to find.

    Args:
        found: of `cases`.
        judged: every claim's `id` and `verdict`.
    """

    def of(claim) -> str:
        here = found[found["id"] == claim.id]
        if here.empty:
            return UNTRIED
        decided = here["hold"] + here["fail"]
        most = (here["hold" if claim.verdict == HOLDS else "fail"] / decided).max()
        if most >= OFTEN:
            return NONE
        return EVIDENCE if most <= RARELY and decided.sum() >= ENOUGH else WEAK

    decided = judged[judged["verdict"].isin([HOLDS, FAILS])]
    return pd.Series({claim.id: of(claim) for claim in decided.itertuples()}, dtype=object)


def standing(results: Results, runs: dict[str, Results]) -> pd.DataFrame:
    """Every claim over all seeds among some runs, and what its verdict carries.

    Args:
        results: of the run that the pages are of.
        runs: other runs by their names.

    Returns:
        What `claims.over_seeds` gives, and `carries`, one of `STANDINGS`.
    """
    held = beside(results, runs)
    seeds = [results, *held.seeds.values()]
    again = run_again({one.seed: one for one in seeds}, runs.values())
    tables = [one.claims.assign(again=False) for one in seeds] + [
        one.claims.assign(again=True) for one in again
    ]
    found = over_seeds(pd.concat(tables))
    tells = told(cases(results, held.untrained, seeds[1:]), found.reset_index())
    undecided = found["verdict"].map({DEPENDS: SEED}).fillna(OPEN)
    return found.assign(carries=tells.reindex(found.index).fillna(undecided))


def beside_directions(results: Results) -> pd.DataFrame:
    """For each claim about a quantity of the neuron table, where the probe stands among matched directions.

    All is of both models on the same text.

    Returns:
        Indexed by the claim's id: the value `here`, the `median`, `low` and `high` (95 %) along the
        directions, and `beyond`, the share of these that lie at least as far from the median as the probe.
    """
    others, compared = results.other_directions, results.comparisons
    others = others[(others["kind"] == "matched") & (others["text"] == "same")]
    here = compared[compared["place"] == "same"].set_index("quantity")["value"]
    rows = {}
    for claim in CLAIMS:
        if claim.quantity in others and claim.quantity in here:
            values, own = others[claim.quantity].dropna(), here[claim.quantity]
            if values.nunique() < 2:
                continue  # it is the same along any direction
            low, median, high = values.quantile([0.025, 0.5, 0.975])
            beyond = ((values - median).abs() >= abs(own - median)).mean()
            rows[claim.id] = {"here": own, "median": median, "low": low, "high": high, "beyond": beyond}
    return pd.DataFrame.from_dict(rows, orient="index")


def history() -> pd.DataFrame:
    """When and why each rule became what it is: `claim`, `on`, `rule`, `why`, `seen`."""
    entries = [{"claim": claim.id} | entry for claim in CLAIMS for entry in claim.history]
    return pd.DataFrame([*entries, *WITHDRAWN])
