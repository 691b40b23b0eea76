"""What the claims carry: beside places with nothing to find, other runs, and their own history."""

from __future__ import annotations

import pandas as pd
from IPython.display import Markdown
from pandas.io.formats.style import Styler

from dpotox.results import nothing
from dpotox.results.folder import Results
from dpotox.results.nothing import ALONE, ANYWHERE, FAILS, OPEN, SPECIMEN, STANDINGS
from dpotox.show.report import VERDICTS, interval, number, percent, shown

SAID = {
    ALONE: "hold here and seldom or never where there is nothing to find",
    ANYWHERE: "hold here, but also where there is nothing to find, so they tell nothing about toxicity",
    SPECIMEN: "come out otherwise in another run of ours, so they are about the specimen",
    FAILS: "do not hold here",
    OPEN: "cannot be decided here",
}


def what_they_carry(results: Results, runs: dict[str, Results]) -> Markdown:
    """The front page: the paper's claims by what their verdicts carry, in sentences.

    Args:
        runs: other runs by their names, untrained ones among them.
    """
    paper = results.claims[results.claims["source"] == "paper"]
    standing = _standing(results, runs).loc[paper["id"]]
    counts = {kind: int((standing == kind).sum()) for kind in STANDINGS}
    first = "; ".join(f"**{counts[kind]}** {SAID[kind]}" for kind in STANDINGS if counts[kind])
    untrained, others = nothing.split(runs)
    seen = f"{len(untrained)} untrained networks" if untrained else "no untrained network"
    beside = f"{len(others)} other runs" if others else "no other run"
    return Markdown(
        f"Of the paper's {len(paper)} claims tested on this small model, {first}. "
        f"This is no score of the paper: its own models were not tested. Each claim was also tried along "
        f"directions that mean nothing, after placebos and in {seen}, and beside {beside}; "
        "[which claim is which](10_claims.ipynb)."
    )


def carried(results: Results, runs: dict[str, Results], source: str = "paper") -> Styler:
    """Every claim with what its verdict carries, and its verdicts in other runs."""
    claims = results.claims[results.claims["source"] == source]
    untrained, others = nothing.split(runs)
    places = nothing.passes(results, untrained)
    tells, standing = nothing.told(places), _standing(results, runs)
    rows = []
    for claim in claims.itertuples():
        here = places[places["id"] == claim.id]
        row = {"claim": claim.statement, "standing": standing[claim.id]}
        row["here"] = _marked(claim)
        for name, other in others.items():
            row[name] = _marked(other.claims.set_index("id").loc[claim.id])
        row["where there is nothing"] = tells.get(claim.id, "not looked for")
        row["passes"] = "; ".join(f"{one.where} {one.passed} of {one.of}" for one in here.itertuples())
        rows.append(row)
    return shown(pd.DataFrame(rows))


def beside_directions(results: Results) -> Styler:
    """Where the probe stands among directions that vary as the residual stream does, on the same text."""
    found = nothing.beside_directions(results)
    rows = [
        {
            "claim": name,
            "along the probe": number(line["here"]),
            "along 95 % of directions": interval(line["median"], line["low"], line["high"]),
            "directions at least as far out": percent(line["beyond"], 1),
        }
        for name, line in found.iterrows()
    ]
    return shown(pd.DataFrame(rows))


def history() -> Styler:
    """When and why each rule last changed, and whether results had been seen."""
    entries = nothing.history()
    seen = entries["seen"].map({True: "yes", False: "no"})
    return shown(entries.assign(seen=seen).rename(columns={"seen": "results seen"}))


def _standing(results: Results, runs: dict[str, Results]) -> pd.Series:
    untrained, others = nothing.split(runs)
    return nothing.standing(results.claims, nothing.told(nothing.passes(results, untrained)), others)


def _marked(claim) -> str:
    return f"{VERDICTS[claim.verdict][0]} {number(claim.here)}"
