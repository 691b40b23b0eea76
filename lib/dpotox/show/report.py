"""Tables and sentences for the pages, composed from results so that no text can contradict them."""

from __future__ import annotations

import ast
import html
import math
from importlib.resources import files
from pathlib import Path

import pandas as pd
from IPython.display import Code, Markdown
from pandas.io.formats.style import Styler

from dpotox.paper.groups import gross_and_net, group_table, ratio
from dpotox.paper.published import NUMBERS, published_groups, published_table1
from dpotox.paper.selections import dampened_drop, most_toxic
from dpotox.results.claims import CLAIMS, over_seeds
from dpotox.results.folder import Results
from dpotox.show.masking import Mask

VERDICTS = {"holds": "✓ holds", "does not hold": "✗ does not hold", "inconclusive": "? inconclusive"}
TITLES = {
    "03_dpo": "DPO",
    "04_where_dpo_writes": "Where DPO writes",
    "05_four_groups": "Four groups",
    "06_is_it_special": "Is 31.8 % special?",
    "07_ablation_versus_patching": "Ablation versus patching",
    "08_controls": "Controls",
    "14_offset": "A shift upstream? (Lee et al.)",
}


def number(value: float | None) -> str:
    """Three significant digits, whole numbers in full, a dash for what is not known."""
    if value is None or not math.isfinite(value):
        return "-"
    if abs(value) >= 1_000:
        return f"{value:z,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:z.1g}"


def interval(value: float, low: float, high: float) -> str:
    """A value with its interval; the value alone where nothing was sampled, a dash where none is known."""
    if not math.isfinite(value):
        return "-"
    return number(value) if low == high else f"{number(value)} [{number(low)}, {number(high)}]"


def percent(value: float, digits: int = 0, unknown: str = "-") -> str:
    """A share in percent, or what stands for one that is not known."""
    return f"{value:z.{digits}%}" if math.isfinite(value) else unknown


def shown(table: pd.DataFrame, formats: dict | str | None = None) -> Styler:
    """A table for the page, without the index, numbers to three digits unless told otherwise."""
    if table.empty:
        table = pd.DataFrame({"": ["nothing of this kind here"]})
    style = table.style.hide(axis="index").format(formats or number_or_text, escape="html")
    style = style.format_index(escape="html", axis="columns")
    return style.set_table_attributes('class="figures"')


def number_or_text(value) -> str:
    """`number` for floats, thousands separated for whole numbers, text as it is."""
    if isinstance(value, str) or value is None:
        return value or "-"
    return f"{value:,}" if isinstance(value, int) else number(float(value))


def claims_table(claims: pd.DataFrame, carries: pd.Series | None = None) -> Markdown:
    """The claims as a table: statement, the paper's value, ours, verdict, and a link to the making cell.

    Args:
        carries: by claim, what its verdict carries (`results.nothing.standing`); said beside the verdicts.
    """
    lines = [
        "| claim, *quantity* | paper | here, 95 % interval | verdict | made in |",
        "|---|---|---|---|---|",
    ]
    for c in claims.itertuples():
        cell = f'<a href="{c.chapter}.html#{anchor(c.id)}">{TITLES[c.chapter]}</a>'
        here = _judged(c)
        claim = f"{c.statement}: *{c.quantity}*"
        verdict = _with(c, carries)
        lines.append(f"| {claim} | {number(c.paper)} | {here} | {verdict} | {cell} |")
    return Markdown("\n".join(lines))


def _with(claim, carries: pd.Series | None) -> str:
    """A verdict with what it carries, if it is one and that is known."""
    verdict = VERDICTS[claim.verdict]
    known = carries is not None and claim.verdict != "inconclusive"
    return f"{verdict}; *{carries[claim.id]}*" if known else verdict


def _judged(claim) -> str:
    """A claim's value with its interval, to four digits where the interval straddles the rule's limit."""
    if pd.isna(claim.here):
        return "not measured"
    if claim.verdict == "inconclusive" and claim.low < claim.high:
        return f"{claim.here:.4g} [{claim.low:.4g}, {claim.high:.4g}]"
    return interval(claim.here, claim.low, claim.high)


def anchor(claim: str) -> str:
    """Where on its chapter's page a claim's value is shown (`verdicts`)."""
    return f"claim-{claim}"


def claims_by_seed(table: pd.DataFrame, missing: dict[int, str]) -> Styler:
    """Every claim's value and verdict by seed, and over all of them.

    Args:
        table: the claims with a column `seed`.
        missing: why a seed has none.
    """
    together, rows = over_seeds(table), []
    for name, part in table.groupby("id", sort=False):
        row = {"claim": name, "rule": part["rule"].iloc[0]}
        for one in part.itertuples():
            row[f"seed {one.seed}"] = f"{VERDICTS[one.verdict][0]} {interval(one.here, one.low, one.high)}"
        if table["seed"].nunique() > 1:
            whole = together.loc[name]
            value = interval(whole["value"], whole["low"], whole["high"])
            row["over seeds"] = f"{VERDICTS[whole['verdict']][0]} {value}"
        rows.append(row)
    reasons = "; ".join(f"seed {seed}: {reason}" for seed, reason in missing.items())
    return shown(pd.DataFrame(rows)).set_caption(reasons and f"Missing: {reasons}")


def verdicts_by_seed(table: pd.DataFrame, missing: dict[int, str]) -> Markdown:
    """How the verdicts on the paper's claims come out over several seeds, in a few words."""
    n = table["seed"].nunique()
    if n + len(missing) == 1:
        return Markdown("One seed was run. Intervals are for its one model; other seeds can differ by more.")
    paper = table[table["source"] == "paper"].groupby("id")["verdict"]
    always = {v: int(paper.apply(lambda found, v=v: (found == v).all()).sum()) for v in VERDICTS}
    text = (
        f"Over the seeds {', '.join(map(str, sorted(table['seed'].unique())))}: of the paper's {len(paper)} "
        f"claims, {always['holds']} hold in all {n} and {always['does not hold']} in none; the others "
        "differ or are inconclusive in some. [Every seed's values](10_claims.ipynb)."
    )
    failed = "".join(f" Seed {seed} is missing: {reason}." for seed, reason in missing.items())
    return Markdown(text + html.escape(failed))


def rules_table() -> Markdown:
    """Every claim's id and the rule that its verdict follows from."""
    lines = ["| claim | rule |", "|---|---|"]
    lines += [f"| `{c.id}`: {c.statement} | {c.rule.replace('<', '&lt;')} |" for c in CLAIMS]
    return Markdown("\n".join(lines))


def verdicts(claims: pd.DataFrame, carries: pd.Series | None = None) -> Markdown:
    """A chapter's claims, one sentence each, as measured here, with a place that links lead to.

    Args:
        carries: by claim, what its verdict carries (`results.nothing.standing`); said beside it.
    """
    sentences = []
    for c in claims.itertuples():
        paper = "" if c.paper is None or math.isnan(c.paper) else f"; the paper: {number(c.paper)}"
        ours = "" if c.source == "paper" else " *(ours)*"
        over = f" over {c.resampled}" if c.low < c.high else ""
        sentences.append(
            f'- <span id="{anchor(c.id)}"></span>**{_with(c, carries)}**: {c.statement}{ours}. '
            f"Here: {_judged(c)}{over}{paper}; rule: {c.rule.replace('<', '&lt;')}."
        )
    return Markdown("\n".join(sentences))


def provenance(results: Results) -> Markdown:
    """Which model the numbers are from, and what it is not."""
    shape, profile, holds = results.record.shape, results.profile, results.holds
    texts = "the generated language" if holds["generated"] else "text files"
    made = (
        f"pre-trained here on {texts}"
        if holds["made-here"]
        else f"given as `{Path(profile.model.base).name}`"
    )
    named = f" ({html.escape(profile.title)})" if profile.title else ""
    return Markdown(
        f"The numbers of these pages are from the profile `{profile.name}`{named}, seed {results.seed}. Its "
        f"model is {made}, has {shape.layers} layers and {len(results.neurons):,} neurons, and was read on "
        f"{len(results.prompts):,} prompts. The paper's are from GPT-2 medium, with 24 layers and "
        f"{NUMBERS['groups']['neurons']:,} neurons, on 1,199 prompts."
    )


def token_table(directions: pd.DataFrame, mask: Mask) -> Styler:
    """The nearest tokens of named directions, with their cosine with the probe."""
    table = pd.DataFrame(
        {
            "vector": directions["vector"],
            "cosine with probe": directions["cosine"].map(number),
            "nearest tokens": directions["tokens"],
        }
    )
    return texts_table(table, mask, dict.fromkeys(("vector", "cosine with probe"), html.escape))


def published_outcomes() -> dict[str, tuple[float, float]]:
    """The paper's values before and after DPO, by the name of our measure."""
    published = published_table1().loc[["gpt2: none", "dpo: none"]]
    ours = {"toxicity, greedy": "toxicity", "F1": "f1", "perplexity, neutral text": "perplexity"}
    return {name: tuple(published[column]) for name, column in ours.items()}


def before_and_after(outcomes: pd.DataFrame) -> Styler:
    """Every measure of the models before and after DPO with its interval, and the paper's."""
    paper, rows = published_outcomes(), []
    for line in outcomes.itertuples():
        row = {"measure": line.measure}
        for when in ("before", "after"):
            value, low, high = (getattr(line, f"{when}{end}") for end in ("", "_low", "_high"))
            row[f"{when} DPO"] = f"{value:.3f} [{low:.3f}, {high:.3f}]"
        values = paper.get(line.measure, (math.nan, math.nan))
        row |= {f"paper: {when}": number(v) for when, v in zip(("before", "after"), values, strict=True)}
        rows.append(row)
    return shown(pd.DataFrame(rows))


def dpo_settings(settings: dict) -> Styler:
    """DPO's settings here, beside those that the paper's model was trained with."""
    paper = NUMBERS["dpo_training"]
    rows = [
        {"setting": name, "here": value, "paper": paper.get(name, "-")} for name, value in settings.items()
    ]
    return shown(pd.DataFrame(rows), str)


def groups_beside_published(here: pd.DataFrame) -> Styler:
    """A group table with the published counts and shares beside it."""
    paper = published_groups()
    table = pd.DataFrame(
        {
            "group": here.index,
            "neurons": here["count"],
            "paper: neurons": paper["count"],
            "share of gross": here["share_of_gross"],
            "paper: of gross": paper["share_of_gross"],
            "share of net": here["share_of_net"],
            "paper: of net": paper["share_of_net"],
            "summed drop": here["projection_drop"],
        }
    )
    return shown(table)


def most_toxic_table(neurons: pd.DataFrame, numbers: list[int]) -> pd.DataFrame:
    """Of so many most toxic neurons: how many are active before DPO, and the dampened ones' share."""
    gross, _ = gross_and_net(group_table(neurons))
    rows = []
    for top in dict.fromkeys(numbers):
        toxic = most_toxic(neurons, top)
        rows.append(
            {
                "most toxic neurons": f"{top:,} ({top / len(neurons):.2%})",
                "positively active before DPO": int((toxic["pre_activation"] > 0).sum()),
                "share of gross by those dampened": percent(ratio(dampened_drop(toxic), gross), 1),
            }
        )
    return pd.DataFrame(rows)


def continuations(texts: pd.DataFrame, mask: Mask) -> Styler:
    """Prompts with what the model wrote before and after DPO, side by side, toxic words masked."""
    return texts_table(texts.rename(columns={"before": "before DPO", "after": "after DPO"}), mask)


def texts_table(table: pd.DataFrame, mask: Mask, formats: dict | None = None) -> Styler:
    """A table of running text, toxic words masked; shown as text, never as HTML.

    Args:
        formats: of columns that are not text.
    """
    style = table.style.hide(axis="index").format(dict.fromkeys(table, mask.html) | (formats or {}))
    return style.set_table_attributes('class="texts"')


def shares_elsewhere(neurons: pd.DataFrame) -> pd.DataFrame:
    """The shares of gross here, in GPT-2 medium and in the models of the 2025 version, as a table."""
    order = ["TP-", "TN+", "AP+", "AN-"]
    rows = {
        "here": group_table(neurons)["share_of_gross"][order],
        "GPT-2 medium (published)": published_groups()["share_of_gross"][order],
    }
    for model, values in NUMBERS["other_models"].items():
        if model != "source":
            rows[f"{model} (published)"] = pd.Series(values, index=order)
    return pd.DataFrame(rows).T


def pair_yield(table: pd.DataFrame) -> Styler:
    """How many prompts gave a pair at each strength of steering."""
    names = {
        "steering": "steering of the rejected",
        "of_tried": "of the prompts tried",
        "chosen_toxicity": "toxicity of the chosen",
        "rejected_toxicity": "toxicity of the rejected",
    }
    return shown(table.rename(columns=names))


def weight_change(table: pd.DataFrame) -> Styler:
    """How far each kind of parameter moved."""
    names = {"change": "relative change"}
    return shown(table.rename(columns=names), {"relative change": "{:.5f}", "cosine": "{:.6f}"})


def writers(table: pd.DataFrame) -> Styler:
    """What each kind of writer adds to the change, on each model's own text and on the same text."""
    shares = table.set_index("writer")
    for text in ("own", "same"):
        drop = shares.pop(f"{text}_text")
        shares[f"{text} text: drop"] = drop
        shares[f"{text} text: share"] = drop / drop["all"]
    drops = [f"{text} text: {what}" for what in ("drop", "share") for text in ("own", "same")]
    return shown(shares[drops].reset_index())


def source(module: str, *names: str) -> Code:
    """Functions of this package as they stand in its source, which is not run.

    Args:
        module: the file's path below the package.
    """
    text = files("dpotox").joinpath(module).read_text(encoding="utf-8")
    found = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
    return Code("\n\n\n".join(ast.get_source_segment(text, found[name]) for name in names), language="python")
