"""The claims as tables and sentences: what was measured here and over seeds, the verdicts, and chance."""

from __future__ import annotations

import html
import math

import pandas as pd
from IPython.display import Markdown
from pandas.io.formats.style import Styler

from dpotox.results.claims import CLAIMS, DEPENDS, FAILS, HOLDS, OPEN, chance, over_seeds
from dpotox.show.report import interval, number, shown

VERDICTS = {
    HOLDS: "✓ holds",
    FAILS: "✗ does not hold",
    OPEN: "? inconclusive",
    DEPENDS: "↔ depends on the seed",
}
AGAIN = ", again"
"""Follows the seed of its second run."""
TITLES = {
    "03_dpo": "DPO",
    "04_where_dpo_writes": "Where DPO writes",
    "05_four_groups": "Four groups",
    "06_is_it_special": "Is 31.8 % special?",
    "07_ablation_versus_patching": "Ablation versus patching",
    "08_controls": "Controls",
    "14_offset": "A shift upstream? (Lee et al.)",
}


def claims_table(claims: pd.DataFrame, over: pd.DataFrame | None = None) -> Markdown:
    """The claims as a table: statement, the paper's value, ours, verdict, and a link to the making cell.

    Args:
        over: every claim over seeds and what its verdict carries (`results.nothing.standing`). If there are
            several, they come first, and this run beside them.
    """
    several = over is not None and over["seeds"].max() > 1
    heads = ["claim, *quantity*", "paper", "here, 95 % interval", "verdict", "made in"]
    if several:
        heads[2:4] = [f"over {over['seeds'].max()} seeds, 95 % interval", "verdict over seeds", "this run"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for c in claims.itertuples():
        cells = [f"{c.statement}: *{c.quantity}*", number(c.paper), judged(c.here, c.low, c.high, c.verdict)]
        if several:
            whole = over.loc[c.id]
            value = judged(*whole[["value", "low", "high", "verdict"]])
            verdict = f"{VERDICTS[whole['verdict']]} ({counted(whole)}){_carried(whole)}"
            cells[2:] = [f"{value}; seeds {spread(whole)}", verdict, marked(c.verdict, cells[2])]
        else:
            cells.append(_with(c, over))
        cells.append(f'<a href="{c.chapter}.html#{anchor(c.id)}">{TITLES[c.chapter]}</a>')
        lines.append(f"| {' | '.join(cells)} |")
    return Markdown("\n".join(lines))


def marked(verdict: str, value: str) -> str:
    """A value with the mark of its verdict."""
    return f"{VERDICTS[verdict][0]} {value}"


def spread(claim: pd.Series) -> str:
    """The least and the greatest value of a seed."""
    return f"{number(claim['least'])} to {number(claim['greatest'])}"


def counted(claim: pd.Series) -> str:
    """By how many seeds a claim holds, does not, and is inconclusive."""
    parts = zip(("hold", "fail", "open"), (HOLDS, FAILS, OPEN), strict=True)
    mark = "{}\N{NO-BREAK SPACE}{}"
    return ", ".join(mark.format(claim[count], VERDICTS[name][0]) for count, name in parts if claim[count])


def _carried(claim: pd.Series) -> str:
    """What a verdict carries, if it is one."""
    return f"; *{claim['carries']}*" if claim["verdict"] in (HOLDS, FAILS) else ""


def _with(claim, over: pd.DataFrame | None) -> str:
    """This run's verdict, beside it that over seeds, if there are several, and what it carries."""
    verdict = VERDICTS[claim.verdict]
    if over is None:
        return verdict
    whole = over.loc[claim.id]
    if whole["seeds"] > 1:
        verdict += f" here; over {whole['seeds']} seeds {VERDICTS[whole['verdict']]}"
    return verdict + _carried(whole)


def judged(value: float, low: float, high: float, verdict: str) -> str:
    """A claim's value with its interval, to four digits where the interval straddles the rule's limit."""
    if pd.isna(value):
        return "not measured"
    if verdict == OPEN and low < high:
        return f"{value:.4g} [{low:.4g}, {high:.4g}]"
    return interval(value, low, high)


def anchor(claim: str) -> str:
    """Where on its chapter's page a claim's value is shown (`verdicts`)."""
    return f"claim-{claim}"


def claims_by_seed(table: pd.DataFrame, missing: dict[int, str]) -> Styler:
    """Every claim's value and verdict over all seeds, and by seed.

    Args:
        table: the claims with the columns `seed` and `again` (`results.seeds.claims_by_seed`).
        missing: why a seed has none.
    """
    together, rows = over_seeds(table), []
    for name, part in table.groupby("id", sort=False):
        row, whole = {"claim": name, "rule": part["rule"].iloc[0]}, together.loc[name]
        if whole["seeds"] > 1:
            row["over seeds"] = marked(whole["verdict"], interval(*whole[["value", "low", "high"]]))
            row |= {"least to greatest": spread(whole), "seeds": counted(whole)}
        for one in part.itertuples():
            row[f"seed {one.seed}{AGAIN if one.again else ''}"] = marked(
                one.verdict, interval(one.here, one.low, one.high)
            )
        rows.append(row)
    reasons = "; ".join(f"seed {seed}: {reason}" for seed, reason in missing.items())
    return shown(rows).set_caption(reasons and f"Missing: {reasons}")


def verdicts_by_seed(table: pd.DataFrame, missing: dict[int, str]) -> Markdown:
    """How the verdicts on the paper's claims come out over several seeds, in a few words."""
    n = table["seed"].nunique()
    if n + len(missing) == 1:
        return Markdown("One seed was run. Intervals are for its one model; other seeds can differ by more.")
    paper = over_seeds(table[table["source"] == "paper"])
    always, never = ((paper[count] == paper["seeds"]).sum() for count in ("hold", "fail"))
    text = (
        f"Over the seeds {', '.join(map(str, sorted(table['seed'].unique())))}: of the paper's {len(paper)} "
        f"claims, {always} hold in all {n} and {never} in none; the others differ or are inconclusive in "
        "some. [Every seed's values](10_claims.ipynb)."
    )
    failed = "".join(f" Seed {seed} is missing: {reason}." for seed, reason in missing.items())
    return Markdown(text + html.escape(failed))


def rules_table() -> Markdown:
    """Every claim's id and the rule that its verdict follows from."""
    lines = ["| claim | rule |", "|---|---|"]
    lines += [f"| `{c.id}`: {c.statement} | {c.rule.replace('<', '&lt;')} |" for c in CLAIMS]
    return Markdown("\n".join(lines))


def chance_sentences(claims: pd.DataFrame) -> Markdown:
    """How many verdicts chance may have turned, and which would not stand if all had to hold at once."""
    found = chance(claims)
    if not found.decided:
        return Markdown("No verdict is decided by an interval here, so chance has turned none.")
    text = (
        f"Of {len(claims)} claims {found.judged} are judged by an interval, and {found.decided} of these are "
        f"decided. If every interval keeps its 95 %, at most {math.ceil(10 * found.wrong) / 10:.1f} verdicts "
        "are wrong on average, however much the claims depend on each other. That is of this one model: "
        "other seeds, and how the rules were chosen, are not in it. "
    )
    if found.open:
        names = ", ".join(f"`{name}`" for name in found.open)
        text += (
            "If the intervals are stretched until all together keep 95 % (Bonferroni's correction; each side "
            f"by the same factor, which is rough for ranks), these are no longer decided: {names}."
        )
    else:
        text += "All stay decided if the intervals are stretched until all together keep 95 % (Bonferroni)."
    return Markdown(text)


def verdicts(claims: pd.DataFrame, over: pd.DataFrame | None = None) -> Markdown:
    """A chapter's claims, one sentence each, as measured here, with a place that links lead to.

    Args:
        over: every claim over seeds and what its verdict carries (`results.nothing.standing`).
    """
    sentences = []
    for c in claims.itertuples():
        paper = "" if c.paper is None or math.isnan(c.paper) else f"; the paper: {number(c.paper)}"
        ours = "" if c.source == "paper" else " *(ours)*"
        resampled = f" over {c.resampled}" if c.low < c.high else ""
        sentences.append(
            f'- <span id="{anchor(c.id)}"></span>**{_with(c, over)}**: {c.statement}{ours}. '
            f"Here: {judged(c.here, c.low, c.high, c.verdict)}{resampled}{paper}; "
            f"rule: {c.rule.replace('<', '&lt;')}."
        )
    return Markdown("\n".join(sentences))
