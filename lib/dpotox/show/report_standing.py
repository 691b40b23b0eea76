"""What the claims carry: beside places with nothing to find, other runs, and their own history."""

from __future__ import annotations

import pandas as pd
from IPython.display import Markdown
from pandas.io.formats.style import Styler

from dpotox.places import PROJECT
from dpotox.results import nothing
from dpotox.results.claims import CLAIMS, CODE, FAILS, HOLDS, OPEN
from dpotox.results.claims import over_seeds as judged_over_seeds
from dpotox.results.folder import Results
from dpotox.results.nothing import EVIDENCE, NONE, SEED, STANDINGS, UNTRIED, WEAK
from dpotox.results.pack import packs_in
from dpotox.show import report
from dpotox.show.report import VERDICTS, interval, number, percent, shown

AT_PAPERS_SHARE = "-at-papers-share"
"""What the name of a claim ends in that judges another at the paper's share of all neurons."""
COUNTED = {HOLDS: "hold", FAILS: "do not hold", OPEN: "cannot be decided"}
SAID = {
    EVIDENCE: "come{} out so nearly nowhere where there is nothing to find: evidence",
    WEAK: "come{} out so there at times, or could hardly be tried: weak evidence",
    NONE: "come{} out so where there is nothing to find as well: no evidence",
    UNTRIED: "could not be tried there",
    SEED: "come{} out otherwise with another seed",
}


def what_they_carry(results: Results, runs: dict[str, Results]) -> Markdown:
    """The front page: how the paper's claims come out, here and elsewhere, and what that carries.

    Args:
        runs: other runs by their names, untrained ones among them.
    """
    paper = results.claims[results.claims["source"] == "paper"]
    held, standing = nothing.beside(results, runs), of_claims(results, runs)
    late = sum(c.history[-1]["seen"] for c in CLAIMS if c.source == "paper")
    said = (
        f"The paper's claims are judged by {len(paper)} rules of ours, {late} of which were written or last "
    )
    said += f"changed after results had been seen. **On this model {_counted(paper)}.**"
    if held.seeds:
        own = " and ".join(_counted(_paper(one), short=True) for one in held.seeds.values())
        seeds = [results, *held.seeds.values()]
        together = judged_over_seeds(pd.concat([_paper(one) for one in seeds]))
        said += f" With other seeds the three counts are {own}; over all {len(seeds)} seeds together "
        said += f"{_counted(together)}."
    if held.untrained:
        own = " and ".join(_counted(_paper(one), short=True) for one in held.untrained)
        said += (
            f" In networks that were never trained they are {own}: that a rule is met says little by itself."
        )
    if held.elsewhere:
        own = " and ".join(_counted(_paper(one), short=True) for one in held.elsewhere.values())
        said += f" In [runs of other profiles](13_results_by_others.ipynb) they are {own}."
    said += " So each verdict is also told by what it carries:\n"
    for verdict, kind in ((HOLDS, "the verdicts that hold"), (FAILS, "those that do not hold")):
        counts = standing[paper.loc[paper["verdict"] == verdict, "id"]].value_counts()
        parts = [
            f"{n} {SAID[name].format('s' if n == 1 else '')}"
            for name in STANDINGS
            if (n := counts.get(name, 0))
        ]
        said += f"\n- Of {kind}, {'; '.join(parts)}." if parts else ""
    return Markdown(
        f"{said}\n\nThis is no score of the paper, whose own models were not tested. "
        "[Which claim is which, and where each was tried](10_claims.ipynb)."
    )


def _paper(results: Results) -> pd.DataFrame:
    return results.claims[results.claims["source"] == "paper"]


def _counted(claims: pd.DataFrame, short: bool = False) -> str:
    """How many claims hold, do not, and cannot be decided."""
    counts = claims["verdict"].value_counts()
    numbers = [int(counts.get(verdict, 0)) for verdict in COUNTED]
    if short:
        return ", ".join(map(str, numbers))
    return ", ".join(f"{n} {said}" for n, said in zip(numbers, COUNTED.values(), strict=True))


def verdicts(results: Results, chapter: str) -> Markdown:
    """A chapter's claims with what their verdicts carry beside the packs that lie in `book/packs/`."""
    packs, _ = packs_in(PROJECT / "book" / "packs")
    return report.verdicts(results.claims_of(chapter), of_claims(results, packs))


def of_claims(results: Results, runs: dict[str, Results]) -> pd.Series:
    """By claim, what its verdict carries (`nothing.standing`)."""
    tells = nothing.told(_cases(results, runs), results.claims)
    return nothing.standing(results.claims, tells, nothing.beside(results, runs).seeds)


def carried(results: Results, runs: dict[str, Results], source: str = "paper") -> Styler:
    """Every claim with what its verdict carries, and its verdicts in other runs.

    What a claim carries follows from other seeds, not from runs of other profiles.
    """
    held, standing = nothing.beside(results, runs), of_claims(results, runs)
    seeds = pd.concat([results.claims, *(one.claims for one in held.seeds.values())])
    together = judged_over_seeds(seeds)
    rows = []
    for claim in results.claims[results.claims["source"] == source].itertuples():
        row = {"claim": claim.id, "its verdict carries": standing[claim.id], "here": _marked(claim)}
        for name, other in held.seeds.items():
            row[name] = _marked(other.claims.set_index("id").loc[claim.id])
        if held.seeds:
            row["over seeds"] = _marked(together.loc[claim.id].rename({"value": "here"}))
        for name, other in held.elsewhere.items():
            row[name] = _marked(other.claims.set_index("id").loc[claim.id])
        rows.append(row)
    return shown(pd.DataFrame(rows))


def passes(results: Results, runs: dict[str, Results]) -> Styler:
    """In how many of the decided cases every claim holds, in each kind of place with nothing to find."""
    places = _cases(results, runs)
    decided = places["hold"] + places["fail"]
    told = places["hold"].astype(str) + " of " + decided.astype(str)
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


def _cases(results: Results, runs: dict[str, Results]) -> pd.DataFrame:
    held = nothing.beside(results, runs)
    return nothing.cases(results, held.untrained, list(held.seeds.values()))


def _marked(claim) -> str:
    return f"{VERDICTS[claim.verdict][0]} {number(claim.here)}"
