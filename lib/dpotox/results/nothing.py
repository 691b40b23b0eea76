"""How often each claim passes where there is nothing to find, and what it therefore carries.

The first three of these rules were written before any of it was run here, but after a trial on one untrained
network and a review had found that claims pass there; the fourth was narrowed to seeds after results had been
seen:

1. Where there is nothing: along *directions* that mean nothing, random ones, ones that vary as the residual
   stream does, and probes fitted to shuffled labels, each with every model on its own text and with both on
   the same; with the model *against itself*, sampled twice; after *placebos*, DPO on preferences that are
   shuffled or reversed, signed so that what they change counts as a reduction, with every seed whose pack
   lies there; and in *untrained* networks, which are taken through the whole study.
2. Along a direction a claim passes if its quantity lies in the claim's range. Elsewhere it passes if it holds
   by the rule of `claims`, with its interval. What cannot be measured somewhere does not pass there.
3. A claim *tells nothing* if in some kind of place it passes in at least half of the cases, *tells* if in
   every kind it passes in at most one of twenty, and else *tells little*.
4. A claim that is not inconclusive *hangs on the specimen* if its verdict is another one with another seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from dpotox.estimates import Estimate
from dpotox.results.claims import CLAIMS, Claim
from dpotox.results.folder import Results

UNTRAINED = "untrained"
"""The name of the profile whose runs are of untrained networks."""
OFTEN, RARELY = 0.5, 0.05
TELLS, LITTLE, NOTHING = "tells", "tells little", "tells nothing"
STANDINGS = ALONE, SOMETIMES, ANYWHERE, UNTRIED, SPECIMEN, FAILS, OPEN = (
    "holds, and not found where there is nothing",
    "holds, and sometimes where there is nothing",
    "holds, and holds also where there is nothing",
    "holds, and was not tried where there is nothing",
    "hangs on the specimen",
    "does not hold",
    "cannot be decided here",
)
"""What becomes of a claim: of those that apply the last one counts."""


@dataclass(frozen=True)
class Beside:
    """What a run is held against: other runs, by their names where these are shown.

    Attributes:
        untrained: untrained networks of the same shape.
        seeds: other seeds of the same profile.
        elsewhere: runs of other profiles, which decide nothing here.
    """

    untrained: list[Results]
    seeds: dict[str, Results]
    elsewhere: dict[str, Results]


def beside(results: Results, runs: dict[str, Results]) -> Beside:
    """Some runs, sorted by what they are for one."""
    shape, profile = results.record.shape, results.profile.name
    trained = {name: one for name, one in runs.items() if one.profile.name != UNTRAINED}
    return Beside(
        [one for n, one in runs.items() if n not in trained and one.record.shape == shape],
        {n: one for n, one in runs.items() if one.profile.name == profile and one.seed != results.seed},
        {n: one for n, one in trained.items() if one.profile.name != profile},
    )


def passes(results: Results, untrained: list[Results], others: Sequence[Results] = ()) -> pd.DataFrame:
    """How often each claim passes in each kind of place where there is nothing to find.

    Args:
        results: of the run that the pages are of, along whose directions claims are looked for.
        others: other seeds of it, whose placebos and noise count beside its own.

    Returns:
        `id` of the claim, `where`, `passed`, `of`; no row where a claim's quantity is not known there.
    """
    rows = [
        {"id": claim.id, "where": where, "passed": passed, "of": of}
        for claim in CLAIMS
        for where, (passed, of) in _places(claim, results, untrained, others).items()
    ]
    return pd.DataFrame(rows, columns=["id", "where", "passed", "of"])


def _places(
    claim: Claim, results: Results, untrained: list[Results], others: Sequence[Results]
) -> dict[str, tuple[int, int]]:
    """By kind of place: in how many cases the claim passes, and of how many."""
    found, along = {}, results.other_directions
    if claim.quantity in along:
        for (kind, text), some in along.groupby(["kind", "text"], sort=False):
            values = some[claim.quantity]
            inside = (values > claim.low) & (values < claim.high)
            found[f"{kind}, {text} text"] = int(inside.sum()), len(values)
    for one in (results, *others):
        compared = one.comparisons
        nothing = compared[(compared["quantity"] == claim.quantity) & (compared["place"] == "nothing")]
        for line in nothing.itertuples():
            verdict = claim.verdict(Estimate(line.value, line.low, line.high))
            passed, of = found.get(line.comparison, (0, 0))
            found[line.comparison] = passed + int(verdict == "holds"), of + 1
    if untrained:
        verdicts = [one.claims.set_index("id").loc[claim.id, "verdict"] for one in untrained]
        found["untrained networks"] = verdicts.count("holds"), len(verdicts)
    return found


def told(places: pd.DataFrame) -> pd.Series:
    """By claim, `TELLS`, `LITTLE` or `NOTHING`; a claim that was looked for nowhere is left out."""
    most = (places["passed"] / places["of"]).groupby(places["id"], sort=False).max()
    return most.map(lambda share: NOTHING if share >= OFTEN else TELLS if share <= RARELY else LITTLE)


def standing(judged: pd.DataFrame, tells: pd.Series, others: dict[str, Results]) -> pd.Series:
    """By claim, one of `STANDINGS`.

    Args:
        judged: the claims table of the run that the pages are of.
        tells: of `told`.
        others: other runs by their names.
    """
    verdicts = [results.claims.set_index("id")["verdict"] for results in others.values()]

    def of(claim) -> str:
        if claim.verdict == "inconclusive":
            return OPEN
        if any(other[claim.id] != claim.verdict for other in verdicts):
            return SPECIMEN
        if claim.verdict == "does not hold":
            return FAILS
        return {TELLS: ALONE, LITTLE: SOMETIMES, NOTHING: ANYWHERE}.get(tells.get(claim.id), UNTRIED)

    return pd.Series({claim.id: of(claim) for claim in judged.itertuples()})


def beside_directions(results: Results, kind: str = "matched", text: str = "same") -> pd.DataFrame:
    """For each claim about a quantity of the neuron table, where the probe stands among directions.

    Returns:
        Indexed by the claim's id: the value `here`, the `median`, `low` and `high` (95 %) along the
        directions, and `beyond`, the share of these that lie at least as far from the median as the probe.
    """
    others, compared = results.other_directions, results.comparisons
    others = others[(others["kind"] == kind) & (others["text"] == text)]
    here = compared[compared["place"] == text].set_index("quantity")["value"]
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
    return pd.DataFrame([{"claim": claim.id} | entry for claim in CLAIMS for entry in claim.history])
