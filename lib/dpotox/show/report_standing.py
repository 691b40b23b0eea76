"""What the claims carry: beside places with nothing to find, other runs, and their own history."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
from IPython.display import Markdown
from pandas.io.formats.style import Styler

from dpotox.places import PROJECT
from dpotox.results import nothing
from dpotox.results.claims import CLAIMS, CODE, DEPENDS, FAILS, HOLDS, OPEN
from dpotox.results.folder import Results
from dpotox.results.nothing import EVIDENCE, NONE, STANDINGS, UNTRIED, WEAK, standing
from dpotox.results.pack import packs_in
from dpotox.show import report_claims
from dpotox.show.report import interval, number, percent, shown
from dpotox.show.report_claims import counted, marked

AT_PAPERS_SHARE = "-at-papers-share"
"""What the name of a claim ends in that judges another at the paper's share of all neurons."""
COUNTED = {HOLDS: "hold", FAILS: "do not hold", DEPENDS: "depend on the seed", OPEN: "cannot be decided"}
SAID = {
    EVIDENCE: "come{} out so nearly nowhere where there is nothing to find: evidence",
    WEAK: "come{} out so there at times, or could hardly be tried: weak evidence",
    NONE: "come{} out so where there is nothing to find as well: no evidence",
    UNTRIED: "could not be tried there",
}


def what_they_carry(results: Results, runs: dict[str, Results]) -> Markdown:
    """The front page: how the paper's claims come out, here and elsewhere, and what that carries.

    Args:
        runs: other runs by their names, untrained ones among them.
    """
    paper, held = _paper(results), nothing.beside(results, runs)
    over = standing(results, runs).loc[paper["id"]]
    late = sum(c.history[-1]["seen"] for c in CLAIMS if c.source == "paper")
    said = (
        f"The paper's claims are judged by {len(paper)} rules of ours, {late} of which were written or last "
        f"changed after results had been seen. {_by_seeds(results, held.seeds, over)}"
    )
    if held.untrained:
        said += (
            " In networks that were never trained, so many hold, do not, and cannot be decided: "
            f"{_in_short(held.untrained)}. That a rule is met says little by itself."
        )
    if held.elsewhere:
        own = _in_short(held.elsewhere.values())
        said += f" In [runs of other profiles](13_results_by_others.ipynb) the three counts are {own}."
    said += " So each verdict is also told by what it carries:\n"
    for verdict, kind in ((HOLDS, "the verdicts that hold"), (FAILS, "those that do not hold")):
        counts = over.loc[over["verdict"] == verdict, "carries"].value_counts()
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


def _by_seeds(results: Results, others: dict[str, Results], over: pd.DataFrame) -> str:
    """How the paper's claims come out over seeds, if there are several, and in this run."""
    here = _counted(_paper(results))
    if not others:
        return f"**On this model {here}.** One seed was run, and with another they can come out otherwise."
    holding = [(_paper(one)["verdict"] == HOLDS).sum() for one in (results, *others.values())]
    return (
        f"**Over {len(holding)} seeds {_counted(over)}.** In this run alone, seed {results.seed}, {here}; "
        f"seed by seed, {min(holding)} to {max(holding)} hold."
    )


def on_another_processor(by_seed: pd.DataFrame) -> Markdown:
    """How far the verdicts of a seed hang on the processor that it was run on.

    Args:
        by_seed: of `results.seeds.claims_by_seed`.
    """
    runs = {again: some.set_index(["seed", "id"]) for again, some in by_seed.groupby("again")}
    if True not in runs:
        return Markdown("No seed was run on another processor and came out otherwise.")
    one, other = (runs[again].groupby(level=[0, 1]).first() for again in (False, True))
    both = other.join(one, rsuffix=" first", how="inner")
    pairs = both["verdict"] + both["verdict first"]
    differ, turned = both["verdict"] != both["verdict first"], pairs.isin([HOLDS + FAILS, FAILS + HOLDS])
    widths = (both["high"] - both["low"] + both["high first"] - both["low first"]) / 4
    moved = ((both["here"] - both["here first"]).abs() / widths.where(widths > 0)).median()
    seeds = ", ".join(map(str, both.index.get_level_values("seed").unique()))
    return Markdown(
        "A processor that rounds otherwise makes another model of a seed. Where there are two runs of one, "
        f"here of seed {seeds}, {differ.sum()} of {len(both)} verdicts differ{_named(both[differ])}, and "
        f"{turned.sum() or 'none'} of them from holding to not holding or back{_named(both[turned])}. Values "
        f"move by {number(moved)} half-widths of their intervals in the median."
    )


def _named(verdicts: pd.DataFrame) -> str:
    names = verdicts.index.get_level_values("id").unique()
    return f" ({', '.join(f'`{name}`' for name in names)})" if len(names) else ""


def _paper(results: Results) -> pd.DataFrame:
    return results.claims[results.claims["source"] == "paper"]


def _counted(claims: pd.DataFrame, word: str = "{} {}") -> str:
    """How many claims hold, do not, depend on the seed if some do, and cannot be decided."""
    counts = claims["verdict"].value_counts().reindex(COUNTED, fill_value=0)
    told = counts[(counts > 0) | (counts.index != DEPENDS)]
    return ", ".join(word.format(n, COUNTED[verdict]) for verdict, n in told.items())


def _in_short(runs: Iterable[Results]) -> str:
    """The same of the paper's claims in each of some runs, without words."""
    return " and ".join(_counted(_paper(one), "{}") for one in runs)


def verdicts(results: Results, chapter: str) -> Markdown:
    """A chapter's claims with what their verdicts carry beside the packs that lie in `book/packs/`."""
    packs, _ = packs_in(PROJECT / "book" / "packs")
    return report_claims.verdicts(results.claims_of(chapter), standing(results, packs))


def carried(results: Results, runs: dict[str, Results], source: str = "paper") -> Styler:
    """Every claim with what its verdict carries, over seeds if there are several, and in other runs.

    What a claim carries follows from seeds of this profile, not from runs of other ones.
    """
    held, over = nothing.beside(results, runs), standing(results, runs)
    rows = []
    for claim in results.claims.loc[results.claims["source"] == source, "id"]:
        whole = over.loc[claim]
        row = {"claim": claim, "its verdict carries": whole["carries"]}
        if held.seeds:
            row[f"over {whole['seeds']} seeds"] = marked(whole["verdict"], number(whole["value"]))
            row["seeds"] = counted(whole)
        for name, one in ({"this run": results} | held.elsewhere).items():
            own = one.claims.set_index("id").loc[claim]
            row[name] = marked(own["verdict"], number(own["here"]))
        rows.append(row)
    return shown(rows)


def passes(results: Results, runs: dict[str, Results]) -> Styler:
    """In how many of the decided cases every claim holds, in each kind of place with nothing to find."""
    held = nothing.beside(results, runs)
    places = nothing.cases(results, held.untrained, list(held.seeds.values()))
    told = places["hold"].astype(str) + " of " + (places["hold"] + places["fail"]).astype(str)
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
    return shown(rows)


def history() -> Styler:
    """When and why each rule last changed, and whether results had been seen."""
    return _history(nothing.history())


def code_history() -> Styler:
    """When and why the code behind the quantities last changed, comments and formatting aside."""
    return _history(pd.DataFrame(CODE).drop(columns="same").rename(columns={"of": "function"}))


def _history(entries: pd.DataFrame) -> Styler:
    seen = entries["seen"].map({True: "yes", False: "no"})
    table = shown(entries.assign(seen=seen).rename(columns={"seen": "results seen"}))
    return table.set_table_attributes('class="texts"')


def flips(results: Results) -> Markdown:
    """The claims on the most toxic neurons that come out otherwise at the paper's share of all neurons."""
    verdicts = results.claims.set_index("id")["verdict"]
    pairs = {name: other for name in verdicts.index if (other := f"{name}{AT_PAPERS_SHARE}") in verdicts}
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
