"""What the claims carry: beside places with nothing to find, other runs, and their own history."""

from __future__ import annotations

import pandas as pd
from IPython.display import Markdown
from pandas.io.formats.style import Styler

from dpotox.results import nothing
from dpotox.results.claims import CODE
from dpotox.results.folder import Results
from dpotox.results.nothing import (
    ALONE,
    ANYWHERE,
    FAILS,
    OPEN,
    SOMETIMES,
    SPECIMEN,
    STANDINGS,
    UNTRIED,
)
from dpotox.show.report import VERDICTS, interval, number, percent, shown

AT_PAPERS_SHARE = "-at-papers-share"
"""What the name of a claim ends in that judges another at the paper's share of all neurons."""
SAID = {
    ALONE: (
        "holds here and was not found, or hardly ever, in the cases tried where there is nothing to find",
        "hold here and were not found, or hardly ever, in the cases tried where there is nothing to find",
    ),
    SOMETIMES: (
        "holds here and sometimes where there is nothing to find",
        "hold here and sometimes where there is nothing to find",
    ),
    ANYWHERE: (
        "holds here, but also where there is nothing to find, so that its holding is no evidence",
        "hold here, but also where there is nothing to find, so that their holding is no evidence",
    ),
    UNTRIED: (
        "holds here and was not tried where there is nothing to find",
        "hold here and were not tried where there is nothing to find",
    ),
    SPECIMEN: (
        "comes out otherwise with another seed, so it depends on which model was drawn",
        "come out otherwise with another seed, so they depend on which model was drawn",
    ),
    FAILS: ("does not hold here", "do not hold here"),
    OPEN: ("cannot be decided here", "cannot be decided here"),
}
"""What is said of one claim, and of several."""


def what_they_carry(results: Results, runs: dict[str, Results]) -> Markdown:
    """The front page: the paper's claims by what their verdicts carry, in sentences.

    Args:
        runs: other runs by their names, untrained ones among them.
    """
    paper = results.claims[results.claims["source"] == "paper"]
    standing, held = _standing(results, runs).loc[paper["id"]], nothing.beside(results, runs)
    counts = {kind: int((standing == kind).sum()) for kind in STANDINGS}
    listed = "\n".join(f"- **{n}** {SAID[kind][n > 1]}" for kind, n in counts.items() if n)
    bare = [one.claims.set_index("id").loc[paper["id"], "verdict"] for one in held.untrained]
    hold = sorted(int((verdicts == "holds").sum()) for verdicts in bare)
    where = ["along directions that mean nothing", "after placebos"]
    where += [f"in {len(bare)} untrained networks"] if bare else []
    beside = f" Verdicts were compared with those of {len(held.seeds)} other seeds." if held.seeds else ""
    first = f"Of the paper's {len(paper)} claims, judged by this book's rules on this small model:"
    if bare:
        spread = " to ".join(map(str, sorted({hold[0], hold[-1]})))
        first = (
            f"By this book's rules, {spread} of the paper's {len(paper)} claims hold in small networks that "
            "were never trained, so it says little that a claim holds. What the verdicts on this model carry:"
        )
    return Markdown(
        f"{first}\n\n{listed}\n\nThis is no score of the paper, whose own models were not tested. Claims "
        f"were also tried {', '.join(where[:-1])} and {where[-1]}.{beside} "
        "[Which claim is which](10_claims.ipynb)."
    )


def tells(results: Results, runs: dict[str, Results]) -> pd.Series:
    """By claim, whether it tells anything (`nothing.told`)."""
    return nothing.told(_passes(results, runs))


def carried(results: Results, runs: dict[str, Results], source: str = "paper") -> Styler:
    """Every claim with what its verdict carries, and its verdicts in other runs.

    What a claim carries follows from other seeds, not from runs of other profiles.
    """
    held = nothing.beside(results, runs)
    told, standing = tells(results, runs), _standing(results, runs)
    rows = []
    for claim in results.claims[results.claims["source"] == source].itertuples():
        row = {"claim": claim.id, "standing": standing[claim.id], "here": _marked(claim)}
        for name, other in (held.seeds | held.elsewhere).items():
            row[name] = _marked(other.claims.set_index("id").loc[claim.id])
        rows.append(row | {"where there is nothing": told.get(claim.id, "not tried")})
    return shown(pd.DataFrame(rows))


def passes(results: Results, runs: dict[str, Results]) -> Styler:
    """In how many cases every claim passes in each kind of place where there is nothing to find."""
    places = _passes(results, runs)
    told = places["passed"].astype(str) + " of " + places["of"].astype(str)
    table = places.assign(told=told).pivot(index="id", columns="where", values="told").fillna("-")
    table = table.loc[places["id"].unique(), places["where"].unique()]
    return shown(table.rename_axis("claim").reset_index())


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
    table = shown(entries.assign(seen=seen).rename(columns={"seen": "results seen"}))
    return table.set_table_attributes('class="texts"')


def code_history() -> Styler:
    """When and why the code behind the quantities last changed, comments and formatting aside."""
    entries = pd.DataFrame(CODE)
    entries["seen"] = entries["seen"].map({True: "yes", False: "no"})
    table = shown(entries.rename(columns={"of": "function", "seen": "results seen"}))
    return table.set_table_attributes('class="texts"')


def flips(results: Results) -> Markdown:
    """The claims on the most toxic neurons that come out otherwise at the paper's share of all neurons."""
    verdicts = results.claims.set_index("id")["verdict"]
    pairs = {name: f"{name}{AT_PAPERS_SHARE}" for name in verdicts.index}
    pairs = {name: other for name, other in pairs.items() if other in verdicts}
    top = results.profile.interventions.figure_top
    turned = [
        f"`{name}` *{verdicts[name]}* with {top} neurons, and *{verdicts[other]}* with the paper's share"
        for name, other in pairs.items()
        if verdicts[name] != verdicts[other]
    ]
    if not turned:
        return Markdown(f"The {len(pairs)} claims that are judged at both sizes come out the same at both.")
    return Markdown(
        f"Of {len(pairs)} claims that are judged at both sizes, {len(turned)} turn: {'; '.join(turned)}."
    )


def _passes(results: Results, runs: dict[str, Results]) -> pd.DataFrame:
    held = nothing.beside(results, runs)
    return nothing.passes(results, held.untrained, list(held.seeds.values()))


def _standing(results: Results, runs: dict[str, Results]) -> pd.Series:
    return nothing.standing(results.claims, tells(results, runs), nothing.beside(results, runs).seeds)


def _marked(claim) -> str:
    return f"{VERDICTS[claim.verdict][0]} {number(claim.here)}"
