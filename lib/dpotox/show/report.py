"""How pages say numbers, facts and tables, composed from results so that no text can contradict them."""

from __future__ import annotations

import ast
import html
import math
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path

import pandas as pd
from IPython.display import Code, Markdown
from pandas.io.formats.style import Styler

from dpotox.paper.groups import TURNED, are_turned, gross_and_net, group_table, ratio
from dpotox.paper.published import NUMBERS, published_groups, published_table1
from dpotox.paper.selections import dampened_drop, most_toxic
from dpotox.results.claims import CLAIMS, published_evidence
from dpotox.results.folder import Results
from dpotox.show.masking import Mask

NO_DROP = "no neuron writes less along the probe after DPO, so there is no reduction to divide"
NO_SHIFT = "nothing that the neurons read is shifted on the same text, so there is nothing to divide"


def number(value: float | None) -> str:
    """Three significant digits, whole numbers in full, a dash for what is not known."""
    if value is None or not math.isfinite(value):
        return "-"
    if abs(value) >= 1_000:
        return f"{value:z,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:z.1g}"


def interval(value: float, low: float, high: float) -> str:
    """A value with its interval; the value alone where there is none, a dash where it is not known."""
    if not math.isfinite(value):
        return "-"
    return (
        number(value)
        if low == high or math.isnan(low)
        else f"{number(value)} [{number(low)}, {number(high)}]"
    )


def with_ends(line: Mapping, measure: str) -> tuple[float, float, float]:
    """A measure in a row, with the ends of its interval."""
    return line[measure], line[f"{measure}_low"], line[f"{measure}_high"]


def percent(value: float, digits: int = 0, unknown: str = "-") -> str:
    """A share in percent, or what stands for one that is not known."""
    return f"{value:z.{digits}%}" if math.isfinite(value) else unknown


def sentence(text: str) -> Markdown:
    """A text as a sentence of its own."""
    return Markdown(f"{text[0].upper()}{text[1:]}{'' if text.endswith('.') else '.'}")


def lines(*texts: str) -> Markdown:
    """A list of facts, each a line of its own."""
    return Markdown("\n".join(f"- {sentence(text).data}" for text in texts))


def share(value: float) -> str:
    """A share of DPO's effect, which cannot be measured where DPO may have none."""
    return f"{value:z.2f}" if math.isfinite(value) else "an unknown share"


def part(value: float, digits: int = 0) -> str:
    """A part of a whole in percent, which cannot be said where the whole is nothing."""
    return percent(value, digits, "an unknown part")


def found(results: Results) -> pd.Series:
    """The values that the claims are about, by claim; NaN for what was not measured."""
    return results.claims.set_index("id")["here"].astype(float)


def paper(claim: str) -> float:
    """The published value that a claim is about."""
    quantity = next(c.quantity for c in CLAIMS if c.id == claim)
    return published_evidence()[quantity].value


def no_effect(results: Results) -> str:
    """Why nothing is said of shares of DPO's effect."""
    toxicity = results.outcomes.set_index("measure").loc["toxicity, greedy"]
    return (
        f"DPO does not surely lower greedy toxicity here ({toxicity['before']:.3f} before, "
        f"{toxicity['after']:.3f} after), so nothing is concluded from shares of that effect"
    )


def shown(table: pd.DataFrame | list | dict, formats: dict | Callable | None = None) -> Styler:
    """A table, its rows or its columns for the page: no index, three digits unless told otherwise."""
    table = pd.DataFrame(table)
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


def provenance(results: Results) -> Markdown:
    """Which model the numbers are from, and what it is not."""
    shape, profile, holds = results.record.shape, results.profile, results.holds
    texts = "the generated language" if holds["generated"] else "text files"
    given = f"given as `{Path(profile.model.base).name}`"
    made = f"pre-trained here on {texts}" if holds["made-here"] else given
    named = f" ({html.escape(profile.title)})" if profile.title else ""
    return Markdown(
        f"The numbers of these pages are from the profile `{profile.name}`{named}, seed {results.seed}. Its "
        f"model is {made}, has {shape.layers} layers and {len(results.neurons):,} neurons, and was read on "
        f"{len(results.prompts):,} prompts. The paper's are from GPT-2 medium, with 24 layers and "
        f"{NUMBERS['groups']['neurons']:,} neurons, on 1,199 prompts."
    )


def token_table(directions: pd.DataFrame, mask: Mask) -> Styler:
    """The nearest tokens of named directions, with their cosine with the probe."""
    names = {"vector": "vector", "cosine": "cosine with probe", "tokens": "nearest tokens"}
    table = directions[list(names)].rename(columns=names)
    return texts_table(table, mask, {"vector": html.escape, "cosine with probe": number})


def published_outcomes() -> dict[str, tuple[float, float]]:
    """The paper's values before and after DPO, by the name of our measure."""
    published = published_table1().loc[["gpt2: none", "dpo: none"]]
    ours = {"toxicity, greedy": "toxicity", "F1": "f1", "perplexity, neutral text": "perplexity"}
    return {name: tuple(published[column]) for name, column in ours.items()}


def before_and_after(outcomes: pd.DataFrame) -> Styler:
    """Every measure of the models before and after DPO with its interval, and the paper's."""
    published, rows = published_outcomes(), []
    for line in outcomes.to_dict("records"):
        row = {"measure": line["measure"]}
        for when in ("before", "after"):
            row[f"{when} DPO"] = "{:.3f} [{:.3f}, {:.3f}]".format(*with_ends(line, when))
        before, after = published.get(line["measure"], (math.nan, math.nan))
        rows.append(row | {"paper: before": number(before), "paper: after": number(after)})
    return shown(rows)


def dpo_settings(settings: dict) -> Styler:
    """DPO's settings here, beside those that the paper's model was trained with."""
    published = NUMBERS["dpo_training"]
    rows = [
        {"setting": name, "here": here, "paper": published.get(name, "-")} for name, here in settings.items()
    ]
    return shown(rows, str)


def groups_beside_published(here: pd.DataFrame) -> Styler:
    """A group table with the published counts and shares beside it."""
    turned = not here["count"][list(TURNED)].any()
    published = published_groups(turned)
    if turned:
        here, published = here.drop(index=list(TURNED)), published.drop(index=list(TURNED))
    columns = {
        "group": here.index,
        "neurons": here["count"],
        "paper: neurons": published["count"],
        "share of gross": here["share_of_gross"],
        "paper: of gross": published["share_of_gross"],
        "share of net": here["share_of_net"],
        "paper: of net": published["share_of_net"],
        "summed drop": here["projection_drop"],
    }
    return shown(columns)


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
    order, turned = ["TP-", "TN+", "AP+", "AN-"], are_turned(neurons)
    rows = {
        "here": group_table(neurons)["share_of_gross"][order],
        "GPT-2 medium (published)": published_groups(turned)["share_of_gross"][order],
    }
    for model, values in NUMBERS["other_models"].items():
        if model != "source":
            rows[f"{model} (published)"] = pd.Series(values, index=order)
    table = pd.DataFrame(rows).T
    return table.rename(columns=TURNED).T.groupby(level=0).sum().T if turned else table


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
    moved = shown(table.rename(columns=names))
    return moved.format({"relative change": "{:.5f}", "cosine": "{:.6f}"}, na_rep="zero before")


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
    known = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
    return Code("\n\n\n".join(ast.get_source_segment(text, known[name]) for name in names), language="python")
