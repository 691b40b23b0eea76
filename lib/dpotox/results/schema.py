"""The tables of `results/`: for each column its type, its unit and what it means.

Tables are checked with pandera when they are written and whenever they are read, as they may come from
strangers. Labels, such as a row's name, hold no character that a page could take for markup; running text may
hold any, and is escaped where it is shown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaError, SchemaErrors

from dpotox.errors import UserError
from dpotox.estimates import RESAMPLED
from dpotox.paper.groups import GROUPS, REDUCING, WITHOUT_LARGEST

MARKUP = r"<>&`\[\]{}$\\|\n\r"
"""Characters that labels must not have, for a regular expression."""
LONGEST_LABEL, LONGEST_TEXT = 200, 20_000
"""In characters."""
LARGEST_NUMBER, LARGEST_WHOLE = 1e30, 10**12
"""What is larger was not measured; figures and pages could not show it either."""
STREAM = "residual stream"
"""The unit of projections: the length of a vector in the residual stream."""


@dataclass(frozen=True)
class Table:
    """One table of the results.

    Attributes:
        file: its name in the folder; the ending says the format.
        meaning: what it is, and what a row is.
        needs: which of `facts` must hold for it to be there; empty where it always is.
        drawn: whether other columns of whole numbers may follow, as many as the model gives.
        key: the columns that tell a row from all others.
        most: how many rows it may have.
    """

    file: str
    meaning: str
    columns: dict[str, pa.Column]
    needs: str = ""
    drawn: bool = False
    key: tuple[str, ...] = ()
    most: int = 1_000

    @property
    def schema(self) -> pa.DataFrameSchema:
        """The pandera schema that it is checked with."""
        return pa.DataFrameSchema(self.columns, strict=not self.drawn, coerce=True, description=self.meaning)


def _column(kind: type, meaning: str, unit: str = "", *checks: pa.Check, **options: Any) -> pa.Column:
    return pa.Column(kind, list(checks), description=meaning, metadata={"unit": unit}, **options)


def is_label(text: str) -> bool:
    """Whether a text can stand anywhere in a page: short, without markup or anything that cannot be seen."""
    return len(text) <= LONGEST_LABEL and text.isprintable() and not re.search(f"[{MARKUP}]", text)


def printable(text: str) -> str:
    """A text from elsewhere for a message: nothing in it moves a terminal's cursor."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _label(meaning: str, *among: str) -> pa.Column:
    plain = pa.Check(is_label, element_wise=True, name="a label without markup")
    return _column(str, meaning, "", pa.Check.isin(among) if among else plain)


def _text(meaning: str) -> pa.Column:
    return _column(str, meaning, "", pa.Check.str_length(max_value=LONGEST_TEXT))


def _whole(meaning: str, unit: str = "") -> pa.Column:
    return _column(int, meaning, unit, pa.Check.in_range(0, LARGEST_WHOLE))


def _number(meaning: str, unit: str = "", *, empty: bool = False) -> pa.Column:
    finite = pa.Check.in_range(-LARGEST_NUMBER, LARGEST_NUMBER)
    return _column(float, meaning, unit, finite, nullable=empty)


def _interval(name: str, meaning: str, unit: str = "") -> dict[str, pa.Column]:
    """A value with the ends of its 95 % interval; all may be empty."""
    ends = {"": meaning, "_low": "lower end of its 95 % interval", "_high": "upper end of its 95 % interval"}
    return {f"{name}{end}": _number(text, unit, empty=True) for end, text in ends.items()}


VALUE = {
    "value": _number("the value", empty=True),
    "low": _number("lower end of its 95 % interval", empty=True),
    "high": _number("upper end of its 95 % interval", empty=True),
}
NEURON = {"layer": _whole("its layer, from 0"), "neuron": _whole("its place in the layer, from 0")}
PER_NEURON = {
    "cosine": _number("cosine of the value vector before DPO with the probe"),
    "post_cosine": _number("the same after DPO"),
    "pre_activation": _number("mean activation over new tokens before DPO"),
    "post_activation": _number("the same after DPO"),
    "pre_value_projection": _number("projection of the value vector on the unit probe before DPO", STREAM),
    "post_value_projection": _number("the same after DPO", STREAM),
    "pre_projection": _number("what it writes along the probe before DPO", STREAM),
    "post_projection": _number("the same after DPO", STREAM),
    "projection_drop": _number("how much less that is after DPO", STREAM),
    "activation_change": _number("mean activation after DPO minus before"),
    "group": _label("its group by the activation change", *GROUPS),
    "group_by_projection": _label("its group by the projection change", *GROUPS),
    "pre_gelu_input": _number("mean of what enters the GELU before DPO"),
    "post_gelu_input": _number("the same after DPO"),
    "same_text_change": _number("activation change where both models read the text from before DPO"),
}
WRITERS = ("embeddings", "attention", "MLP", "norm")
QUANTITIES = (
    *(f"{group} share of gross" for group in REDUCING),
    *("smallest group's share of gross", "AN- and AP+ share of gross", "increase / gross reduction"),
    *("gross", "net", "net / gross", WITHOUT_LARGEST),
    *("positively active share of the top toxic neurons", "top toxic neurons' share of gross"),
    "positively active share of the top toxic neurons, as many as the paper's share",
    "top toxic neurons' share of gross, as many as the paper's share",
    "correlation of activation change with cosine",
    "part of the net reduction with value vectors held",
)

TABLES = {
    "neurons": Table(
        "neurons.parquet",
        "The neuron table: a row per neuron.",
        NEURON | PER_NEURON,
        key=("layer", "neuron"),
        most=2_000_000,
    ),
    "groups": Table(
        "groups.csv",
        "The eight groups of neurons.",
        {
            "group": _label("the group", *GROUPS),
            "count": _whole("its neurons"),
            "projection_drop": _number("sum of their projection drops", STREAM),
            "share_of_gross": _number("its share of the gross reduction; of reducing groups", empty=True),
            "share_of_net": _number("its share of the net reduction", empty=True),
        },
        key=("group",),
    ),
    "evidence": Table(
        "evidence.csv",
        "Every quantity that the claims are about; verdicts follow from it and the rules.",
        {"quantity": _label("the quantity")}
        | VALUE
        | {"resampled": _label("what was drawn again for the interval", *RESAMPLED)},
        key=("quantity",),
    ),
    "comparisons": Table(
        "comparisons.csv",
        "The groups' quantities in each comparison of two models or texts.",
        {
            "comparison": _label("what is compared"),
            "place": _label("on which text, or nothing", "own", "sampled", "same", "after", "nothing"),
            "sign": _column(int, "-1 where the probe was turned, so that the net is a reduction"),
            "quantity": _label("the quantity"),
        }
        | VALUE
        | {"toxicity": _number("greedy toxicity of what the second model wrote of its own", empty=True)},
        key=("comparison", "quantity"),
    ),
    "other_directions": Table(
        "other_directions.csv",
        "The groups' quantities along directions that mean nothing: a row per direction.",
        {
            "kind": _label("where it is from", "random", "matched", "shuffled labels"),
            "text": _label("each model on its own text, or both on the same", "own", "same"),
        }
        | {name: _number(f"{name} along it", empty=True) for name in QUANTITIES},
        most=20_000,
    ),
    "table1": Table(
        "table1.csv",
        "Table 1: a row per model and edit.",
        {
            "name": _label("the row's name"),
            "model": _label("the model that is edited", "base", "dpo"),
            "kind": _label("the kind of edit"),
            "which": _label("what is edited"),
            "positions": _label("where the edit acts", "all", "newest"),
            "neurons": _whole("how many neurons are edited"),
            "published": _label("the row's name in the paper's table, if it has one"),
            "of_all_neurons": _number("their share of all neurons"),
        }
        | _interval("recovered", "share of DPO's effect on greedy toxicity")
        | _interval("recovered_sampled", "share of DPO's effect on sampled toxicity")
        | _interval("toxicity", "mean toxicity of greedy continuations")
        | _interval("sampled_toxicity", "mean toxicity of sampled continuations")
        | _interval("above_half", "share of greedy continuations of a toxicity above .5")
        | _interval("perplexity", "perplexity on neutral text")
        | _interval("perplexity_all", "perplexity on all text")
        | _interval("f1", "F1 of continuations against the true ones")
        | _interval("repetition", "share of word pairs that occurred before in the continuation"),
        key=("name",),
    ),
    "draws": Table(
        "draws.csv",
        "Rows of table 1 beside random choices, on the prompts of the draws.",
        {
            "row": _label("the row"),
            "drawn": _label("what was drawn"),
            "draws": _whole("how often"),
            "mean": _number("mean share of DPO's effect of the draws", empty=True),
            "least": _number("the least of them", empty=True),
            "most": _number("the most of them", empty=True),
            "reach": _number("the share of draws that recover as much as the row", empty=True),
        }
        | _interval("beyond", "the row's share minus the draws' mean"),
        needs="draws",
    ),
    "second_scorer": Table(
        "second_scorer.csv",
        "Rows of table 1 as the second scorer judges the same continuations.",
        {
            "row": _label("the row"),
            "toxicity": _number("greedy toxicity by the second scorer"),
            "rank_correlation": _number("Spearman's, of the two scorers over prompts", empty=True),
        }
        | _interval("recovered", "share of DPO's effect by the second scorer"),
        needs="second-scorer",
        key=("row",),
    ),
    "outcomes": Table(
        "outcomes.csv",
        "The models before and after DPO: a row per measure.",
        {"measure": _label("what is measured")}
        | _interval("before", "before DPO")
        | _interval("after", "after DPO"),
        key=("measure",),
    ),
    "prompts": Table(
        "prompts.csv",
        "The evaluation prompts by their numbers, and what was written after each.",
        {
            "number": _whole("the prompt's number, from 0"),
            "before": _number("toxicity of the greedy continuation before DPO"),
            "ablated": _number("with the most toxic neurons ablated"),
            "after": _number("after DPO"),
            "first_other_token": _number("the first new token, from 1, that DPO changes", empty=True),
        },
        key=("number",),
        most=1_000_000,
    ),
    "layers": Table(
        "layers.csv",
        "What is along the probe in each layer, over prompts.",
        {
            "part": _label("what is projected on it", "MLP output", "residual stream"),
            "model": _label("in which model", "before", "ablated", "after"),
            "layer": _whole("the layer, from 0"),
            "value": _number("mean projection on the unit probe", STREAM),
            "reach": _number("half the width of its 95 % interval", STREAM),
        },
        key=("part", "model", "layer"),
        most=10_000,
    ),
    "writers": Table(
        "writers.csv",
        "By how much less each kind of writer writes along the probe after DPO, over all layers.",
        {
            "writer": _label("attention, MLPs, embeddings, or all"),
            "own_text": _number("each model on its own text", STREAM),
            "same_text": _number("both on the text from before DPO", STREAM),
        },
        key=("writer",),
    ),
    "offset_neurons": Table(
        "offset_neurons.parquet",
        "What enters the GELU of every neuron on the text from before DPO: by how much DPO moves it.",
        NEURON
        | {
            "change": _number("change of its mean by DPO"),
            "upstream": _number("the key vector before DPO times the shift of the MLP's mean input"),
            "random": _number("root mean square of the key times a random vector as long as the shift"),
        },
        key=("layer", "neuron"),
        most=2_000_000,
    ),
    "offset_sets": Table(
        "offset_sets.csv",
        "The same for sets of neurons, after DPO and after training on placebo preferences.",
        {
            "comparison": _label("what was trained on"),
            "which": _label("the set of neurons"),
            "neurons": _whole("how many they are; of random draws, those that were drawn at all"),
            "change": _number("mean change of what enters their GELUs"),
            "upstream_change": _number("the shift upstream's part of that mean"),
            "size": _number("root mean square of the change"),
            "upstream": _number("share of the change by the shift upstream", empty=True),
            "key": _number("share by the turn of the keys", empty=True),
            "bias": _number("share by the biases; the three add up to 1", empty=True),
            "left": _number("size of the change without the shift's part, over its size", empty=True),
            "times_random": _number("size of the shift's part over that of a random shift", empty=True),
        },
        key=("comparison", "which"),
    ),
    "offset_writers": Table(
        "offset_writers.csv",
        "Who makes the shift of the MLPs' input, as sets of neurons read it: a row per writer.",
        {
            "which": _label("the set of neurons"),
            "writer": _label("who writes; or the norm, for what it does otherwise", *WRITERS),
            "layer": _number("the writer's layer, from 0; of attention and MLPs", empty=True),
            "share": _number("share of what the shift makes of their GELU inputs; sums to 1", empty=True),
            "mean": _number("mean over the neurons of their keys times this part of the shift"),
        },
        key=("which", "writer", "layer"),
        most=10_000,
    ),
    "offset_layers": Table(
        "offset_layers.csv",
        "How far DPO moves what the MLP of each layer reads in the mean.",
        {
            "layer": _whole("the layer, from 0"),
            "input": _number("length of its mean input before DPO"),
            "shift": _number("length of the shift"),
            "norm": _number("length of the part that is the norm's, not the writers'"),
        },
        key=("layer",),
    ),
    "weight_change": Table(
        "weight_change.csv",
        "How far DPO moved the weights: a row per kind of parameter.",
        {
            "parameters": _label("the kind"),
            "change": _number("length of the change over the length before", empty=True),
            "cosine": _number("cosine between before and after"),
        },
        key=("parameters",),
    ),
    "directions": Table(
        "directions.csv",
        "Directions and the tokens nearest to them, by the logit lens.",
        {
            "list": _label("the list it stands in", "probe", "closest", "opposed", "projection"),
            "vector": _label("the probe, or a value vector as layer:neuron"),
            "cosine": _number("its cosine with the probe"),
            "tokens": _text("the nearest tokens, nearest first"),
            "count": _whole("how many tokens these are"),
            "toxic": _whole("how many of them are toxic on their own"),
        },
    ),
    "probe_selection": Table(
        "probe_selection.csv",
        "The probe's regularisation strengths on the selection part.",
        {
            "C": _number("inverse strength of the regularisation"),
            "auc": _number("AUC"),
            "accuracy": _number("accuracy"),
            "chosen": _column(bool, "whether the rule takes it"),
        },
        needs="fitted-probe",
    ),
    "probe_calibration": Table(
        "probe_calibration.csv",
        "The probe's probabilities on the report part, by deciles.",
        {
            "predicted": _number("mean predicted probability"),
            "observed": _number("share of toxic comments"),
        },
        needs="fitted-probe",
    ),
    "pretraining": Table(
        "pretraining.csv",
        "Loss of training batches while the model was pre-trained here.",
        {"step": _number("training step"), "loss": _number("loss", "nats per token")},
        needs="made-here",
        most=100_000,
    ),
    "dpo_curves": Table(
        "dpo_curves.csv",
        "DPO's curves.",
        {
            "step": _whole("training step"),
            "split": _label("which pairs", "train", "validation"),
            "loss": _number("DPO's loss", "nats", empty=True),
            "margin": _number("reward margin, scaled by beta", "nats", empty=True),
            "accuracy": _number("share of pairs with a positive margin", empty=True),
        },
        needs="trained-dpo",
        most=100_000,
    ),
    "pair_yield": Table(
        "pair_yield.csv",
        "How many preference pairs came of it, by the steering that the rejected continuation needed.",
        {
            "steering": _label("the strength, or all"),
            "pairs": _whole("how many pairs"),
            "of_tried": _number("their share of the prompts tried"),
            "chosen_toxicity": _number("mean toxicity of the chosen continuation"),
            "rejected_toxicity": _number("mean toxicity of the rejected one"),
        },
        needs="sampled-pairs",
    ),
    "pair_examples": Table(
        "pair_examples.csv",
        "The first preference pairs; toxic words that are not mild are masked.",
        {
            "prompt": _text("the prompt"),
            "chosen": _text("the preferred continuation"),
            "rejected": _text("the other"),
        },
        needs="trained-dpo",
    ),
    "continuations": Table(
        "continuations.csv",
        "Greedy continuations of the first prompts; toxic words that are not mild are masked.",
        {
            "prompt": _text("the prompt"),
            "before": _text("what follows before DPO"),
            "after": _text("after DPO"),
        },
    ),
    "step_through": Table(
        "step_through.csv",
        "A few continuations, a row per token; toxic words that are not mild are masked.",
        {
            "number": _whole("the prompt's number"),
            "prompt": _text("the prompt"),
            "condition": _label("the model or edit"),
            "step": _whole("the token's place, from 1"),
            "token": _text("its text"),
            "token_id": _whole("its number in the vocabulary"),
            "projection": _number("projection of the last residual stream where it is predicted", STREAM),
            "toxicity": _number("toxicity of the continuation up to it"),
        },
        key=("number", "condition", "step"),
        most=50_000,
    ),
    "nearest_tokens": Table(
        "nearest_tokens.parquet",
        "The tokens nearest to each value vector before DPO, nearest first: a row per neuron.",
        {"token_1": _whole("row of the nearest in the table of tokens; the others follow")},
        drawn=True,
        most=2_000_000,
    ),
    "tokens": Table(
        "tokens.csv",
        "The tokens that are near some value vector; toxic ones that are not mild are masked.",
        {"text": _text("the token's text")},
        most=1_000_000,
    ),
    "mild_words": Table(
        "mild_words.csv",
        "Mild words that the pages hide at first.",
        {"word": _label("the word")},
        most=100_000,
    ),
}


def checked(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """The table with the types of its schema.

    Raises:
        UserError: it is not as the schema says; the message names the first things that are wrong.
    """
    key, most = list(TABLES[name].key), TABLES[name].most
    if len(table) > most:
        raise UserError(f"the table {name} has more than {most:,} rows, which no study's has")
    try:
        table = TABLES[name].schema.validate(table, lazy=True)
        if TABLES[name].drawn:
            more = dict.fromkeys(table, TABLES[name].columns["token_1"])
            table = pa.DataFrameSchema(more, strict=True, coerce=True).validate(table, lazy=True)
    except (SchemaError, SchemaErrors) as error:
        raise UserError(f"the table {name} is not as its schema says: {_explained(error)}") from None
    if key and table.duplicated(key).any():
        raise UserError(f"the table {name} has two rows of the same {', '.join(key)}")
    return table


def _explained(error: SchemaError | SchemaErrors) -> str:
    """What is wrong, at most three things of it."""
    cases = getattr(error, "failure_cases", None)
    if not isinstance(cases, pd.DataFrame):
        return printable(str(error).splitlines()[0][:200])
    said = []
    for case in cases.drop_duplicates(["column", "check"]).head(3).itertuples():
        column = case.column if case.column in TABLES_COLUMNS else case.failure_case
        said.append(f"{str(column)[:50]!r}: {str(case.check)[:100]}")
    return "; ".join(said)


TABLES_COLUMNS = {column for table in TABLES.values() for column in table.columns}


def described() -> pd.DataFrame:
    """All columns of all tables, for people: `table`, `column`, `type`, `unit`, `meaning`."""
    rows = []
    for table in TABLES.values():
        there = f" Only where it holds: {table.needs}." if table.needs else ""
        rows.append({"table": table.file, "meaning": table.meaning + there})
        for name, column in table.columns.items():
            kind = f"{column.dtype}{' or empty' if column.nullable else ''}"
            row = {"column": name, "type": kind, "unit": column.metadata["unit"]}
            rows.append(row | {"meaning": column.description})
    return pd.DataFrame(rows, columns=["table", "column", "type", "unit", "meaning"]).fillna("")
