"""Tables and sentences for the pages, composed from results so that no text can contradict them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import pandas as pd
from IPython.display import Markdown
from jaxtyping import Float
from pandas.io.formats.style import Styler
from scipy import stats
from torch import Tensor

from dpotox.claims import CLAIMS
from dpotox.evaluation import Result, estimate, mean
from dpotox.models import cosines, nearest_tokens
from dpotox.published import published_groups, published_table1
from dpotox.table1 import Table1

if TYPE_CHECKING:
    from dpotox.study import Study

VERDICTS = {"holds": "✓ holds", "does not hold": "✗ does not hold", "inconclusive": "? inconclusive"}
TITLES = {
    "03_dpo": "DPO",
    "04_where_dpo_writes": "Where DPO writes",
    "05_four_groups": "Four groups",
    "06_ablation_versus_patching": "Ablation versus patching",
}


def number(value: float | None) -> str:
    """Three significant digits, whole numbers in full, a dash for what is not known."""
    if value is None or not math.isfinite(value):
        return "-"
    if abs(value) >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.1g}"


def interval(value: float, low: float, high: float) -> str:
    """A value with its interval; the value alone where nothing was sampled."""
    return number(value) if low == high else f"{number(value)} [{number(low)}, {number(high)}]"


def shown(table: pd.DataFrame, formats: dict | str | None = None) -> Styler:
    """A table for the page, without the index, numbers to three digits unless told otherwise."""
    style = table.style.hide(axis="index").format(formats or number_or_text, escape="html")
    return style.set_table_attributes('class="figures"')


def number_or_text(value) -> str:
    """`number` for floats, thousands separated for whole numbers, text as it is."""
    if isinstance(value, str) or value is None:
        return value or "-"
    return f"{value:,}" if isinstance(value, int) else number(float(value))


def claims_table(claims: pd.DataFrame) -> Markdown:
    """The claims as a table: statement, the paper's value, the value here, verdict, chapter."""
    lines = [
        "| claim, *quantity* | paper | here, 95 % interval | verdict | chapter |",
        "|---|---|---|---|---|",
    ]
    for c in claims.itertuples():
        mark = "" if c.source == "paper" else " *(ours)*"
        chapter = f"[{TITLES[c.chapter]}]({c.chapter}.ipynb)"
        here = interval(c.here, c.low, c.high)
        claim = f"{c.statement}{mark}: *{c.quantity}*"
        lines.append(f"| {claim} | {number(c.paper)} | {here} | {VERDICTS[c.verdict]} | {chapter} |")
    return Markdown("\n".join(lines))


def rules_table() -> Markdown:
    """Every claim's id and the rule that its verdict follows from."""
    lines = ["| claim | rule |", "|---|---|"]
    lines += [f"| `{c.id}`: {c.statement} | {c.rule.replace('<', '&lt;')} |" for c in CLAIMS]
    return Markdown("\n".join(lines))


def answer(claims: pd.DataFrame) -> Markdown:
    """The answer to a chapter's question: one sentence per claim, as measured here."""
    sentences = []
    for c in claims.itertuples():
        paper = "" if c.paper is None or math.isnan(c.paper) else f"; the paper: {number(c.paper)}"
        sentences.append(
            f"- **{VERDICTS[c.verdict]}**: {c.statement}. "
            f"Here {interval(c.here, c.low, c.high)}{paper}; rule: {c.rule.replace('<', '&lt;')}."
        )
    return Markdown("\n".join(sentences))


def verdict_counts(claims: pd.DataFrame) -> Markdown:
    """How many of the paper's claims hold, do not hold and stay open here, in one sentence."""
    counts = claims[claims["source"] == "paper"]["verdict"].value_counts()
    hold, fail, rest = (int(counts.get(v, 0)) for v in VERDICTS)
    return Markdown(
        f"Of the paper's {hold + fail + rest} claims tested here, **{hold} hold**, **{fail} do not hold** "
        f"and **{rest} are inconclusive** on this model and seed."
    )


def table1_toxicity(summary: pd.DataFrame) -> Styler:
    """Table 1's toxicity with intervals, the paper's beside it, and the share of DPO's effect."""
    rows = [
        {
            "row": line.name,
            "neurons": f"{line.neurons:,} ({line.of_all_neurons:.1%})" if line.neurons else "-",
            "toxicity, greedy": interval(line.toxicity, line.toxicity_low, line.toxicity_high),
            "paper": _paper(line.published, "toxicity"),
            "share of DPO's effect": interval(line.recovered, line.recovered_low, line.recovered_high),
            "toxicity, sampled": interval(
                line.sampled_toxicity, line.sampled_toxicity_low, line.sampled_toxicity_high
            ),
        }
        for line in summary.itertuples()
    ]
    return shown(pd.DataFrame(rows))


def table1_quality(summary: pd.DataFrame) -> Styler:
    """Table 1's perplexity and F1 with intervals, the paper's beside them."""
    rows = [
        {
            "row": line.name,
            "perplexity": interval(line.perplexity, line.perplexity_low, line.perplexity_high),
            "paper: perplexity": _paper(line.published, "perplexity"),
            "F1": interval(line.f1, line.f1_low, line.f1_high),
            "paper: F1": _paper(line.published, "f1"),
        }
        for line in summary.itertuples()
    ]
    return shown(pd.DataFrame(rows))


def two_scorers(table: Table1, second: Table1, resamples: int) -> Styler:
    """The share of DPO's effect in every row by two scorers, and their rank correlation over prompts."""

    def share(of: Table1, name: str) -> str:
        e = of.recovered(name, resamples)
        return interval(e.value, e.low, e.high)

    rows = [
        {
            "row": name,
            "toxicity": number(table[name].greedy.mean()),
            "toxicity, second scorer": number(second[name].greedy.mean()),
            "share of DPO's effect": share(table, name),
            "share, second scorer": share(second, name),
            "rank correlation": number(stats.spearmanr(table[name].greedy, second[name].greedy).statistic),
        }
        for name in table.rows["name"]
    ]
    return shown(pd.DataFrame(rows))


def _paper(row: str, measure: str) -> str:
    published = published_table1()
    return number(published.loc[row, measure]) if row in published.index else "-"


def token_table(
    study: Study, vectors: dict[str, Float[Tensor, "d_model"]], mask: Callable[[str], str], k: int = 8
) -> Styler:
    """The nearest tokens of named directions, with their cosine with the probe."""
    rows = [
        {
            "vector": name,
            "cosine with probe": number(float(cosines(vector, study.probe.direction))),
            "nearest tokens": mask(", ".join(nearest_tokens(study.base, study.tokenizer, vector, k))),
        }
        for name, vector in vectors.items()
    ]
    return texts_table(pd.DataFrame(rows))


def before_and_after(before: Result, after: Result, resamples: int) -> Styler:
    """Every measure of two examinations with its interval."""
    measures = {"toxicity, greedy": "greedy", "toxicity, sampled": "sampled", "F1": "f1"}
    measures["loss, nats per token"] = "nll"
    rows = [
        {"measure": name}
        | {
            when: str(estimate(mean, getattr(result, field), resamples=resamples))
            for when, result in (("before DPO", before), ("after DPO", after))
        }
        for name, field in measures.items()
    ]
    perplexity = {
        "measure": "perplexity",
        "before DPO": f"{before.perplexity:.2f}",
        "after DPO": f"{after.perplexity:.2f}",
    }
    return shown(pd.DataFrame([*rows, perplexity]))


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


def continuations(texts: pd.DataFrame, mask, rows: int = 8) -> Styler:
    """Prompts with what the model wrote before and after DPO, side by side, toxic words masked."""
    table = texts[["prompt", "base", "dpo"]].head(rows).map(mask)
    return texts_table(table.rename(columns={"base": "before DPO", "dpo": "after DPO"}))


def texts_table(table: pd.DataFrame, formats: dict | None = None) -> Styler:
    """A table of running text, which may break lines and is shown as text, never as HTML."""
    style = table.style.hide(axis="index").format(formats or str, escape="html")
    return style.set_table_attributes('class="texts"')


def random_directions(here: pd.DataFrame, random: pd.DataFrame) -> Styler:
    """Quantities of the probe beside their median and 95 % range over random directions."""
    rows = [
        {
            "quantity": name,
            "probe": number(here[name]),
            "random directions, median [95 % range]": interval(*random[name].quantile([0.5, 0.025, 0.975])),
            "random directions below the probe": f"{(random[name] < here[name]).mean():.0%}",
        }
        for name in random
    ]
    return shown(pd.DataFrame(rows))
