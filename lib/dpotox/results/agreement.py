"""What tables must have in common, so that whatever can be opened can be shown.

A schema sees one table at a time. Here the tables of one study are held against each other, against its
settings and its model's shape, and against what the chapters look up in them by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dpotox.facts import SIGNED
from dpotox.paper.groups import GROUPS, REDUCING, group_quantities, group_table, quantities
from dpotox.paper.selections import EVERYTHING, SETS
from dpotox.results.catalogue import WRITERS

if TYPE_CHECKING:
    from dpotox.results.folder import Results

EDITS = {
    *product(("patch", "hold"), ("all", "newest")),
    *product(("shift", "shift, same text", "copy"), ("all",)),
}
"""Kind and positions of the edits that table 1 has of every set of neurons that it names."""
BEST = "best recovered share among ablations by cosine"
NAMED = {
    "groups": ("group", {*GROUPS}),
    "evidence": ("quantity", {f"{group} share of gross" for group in REDUCING}),
    "other_directions": ("kind", {"random", "matched"}),
    "comparisons": ("place", {"own", "same"}),
    "table1": ("name", {"before DPO", "after DPO"}),
    "outcomes": ("measure", {"toxicity, greedy", "perplexity, neutral text", "perplexity, all text"}),
    "writers": ("writer", {"attention", "MLPs", "embeddings", "all"}),
    "directions": ("list", {"probe", "closest", "opposed", "projection"}),
    "dpo_curves": ("split", {"train"}),
    "step_through": ("condition", {"before DPO", "after DPO"}),
}
"""Rows that the chapters look up: in which column, and by which names."""
NEVER_EMPTY = ("weight_change", "prompts", "tokens", "pretraining", "probe_calibration", "comparisons")
FEW = {"comparisons": ("comparison", 20), "step_through": ("number", 50)}
"""Columns that a figure or a page has a part for each value of, and how many it has room for."""


def disagreements(results: Results) -> list[str]:
    """All in which the tables do not fit together, a line each.

    Args:
        results: every table of them is as its schema says.
    """
    if found := [*_record(results), *_named(results)]:
        return found  # what follows takes these for granted
    whole = () if results.record.small else (_neurons, _directions, _step_through)
    checks = (_groups, _layers, _table1, _offset, _comparisons, *whole)
    return [line for check in checks for line in check(results)]


def _record(results: Results) -> Iterator[str]:
    record, holds = results.record, results.holds
    if (record.loss is not None) != holds["made-here"]:
        yield "run.json tells a model's loss exactly where none is made here"
    elif record.loss and record.loss.bound is not None and record.loss.bound >= record.loss.unigram:
        yield "run.json tells a loss of token frequencies that nothing can have"
    if (record.accuracy is not None) != holds["fitted-probe"]:
        yield "run.json tells a probe's accuracy exactly where none is fitted here"
    if record.small != (record.prompts is not None):
        yield "run.json tells how many prompts there are exactly where their table does"


def _named(results: Results) -> Iterator[str]:
    there = {name: getattr(results, name) for name in results.tables}
    for name in NEVER_EMPTY:
        if name in there and there[name].empty:
            yield f"the table {name} is empty"
    for name, (column, wanted) in NAMED.items():
        if name in there and (missing := sorted(wanted - set(there[name][column]))):
            yield f"the table {name} has no row {missing[0]!r}"
    for name, (column, most) in FEW.items():
        if name in there and there[name][column].nunique() > most:
            yield f"the table {name} tells of more than {most} kinds"
    selection = there.get("probe_selection")
    if selection is not None and (selection["chosen"].sum() != 1 or (selection["C"] <= 0).any()):
        yield "the table probe_selection does not say which strength is chosen"
    for name in ("draws", "second_scorer"):
        if name in there and not set(there[name]["row"]) <= set(results.table1["name"]):
            yield f"the table {name} tells of rows that table 1 lacks"


def _neurons(results: Results) -> Iterator[str]:
    neurons, shape = results.neurons, results.record.shape
    inside = (neurons["layer"] < shape.layers) & (neurons["neuron"] < shape.d_mlp)
    if len(neurons) != shape.layers * shape.d_mlp or not inside.all():
        yield f"the table neurons is not of {shape.layers} layers of {shape.d_mlp} neurons, as run.json says"
    nearest = results.nearest_tokens
    if len(nearest) != len(neurons):
        yield "the table nearest_tokens has another number of rows than neurons"
    if nearest.to_numpy().max(initial=0) >= len(results.tokens):
        yield "the table nearest_tokens names tokens that are not there"
    table = group_table(neurons)
    if not _same(results.groups.set_index("group").reindex(table.index), table):
        yield "the tables groups and neurons are not of the same neurons"
    if not results.offset_neurons[["layer", "neuron"]].equals(neurons[["layer", "neuron"]]):
        yield "the tables offset_neurons and neurons are not of the same neurons"


def _groups(results: Results) -> Iterator[str]:
    here = pd.Series(group_quantities(results.groups.set_index("group")))
    if results.record.shape.gated:
        here[here.index.isin(SIGNED)] = np.nan
    known = results.evidence.set_index("quantity")["value"]
    both = here.index.intersection(known.index)
    if not _same(known[both], here[both]):
        yield "the tables evidence and groups are not of the same neurons"


def _layers(results: Results) -> Iterator[str]:
    table, layers = results.layers, results.record.shape.layers
    if len(table) != 6 * layers or table["layer"].max() >= layers:
        yield "the table layers lacks a layer, or has one that the model lacks"
    if (table["reach"] < 0).any():
        yield "the table layers has an interval that ends before it begins"


def _table1(results: Results) -> Iterator[str]:
    rows = results.table1
    if rows.duplicated(["kind", "which", "positions"]).any():
        yield "the table table1 has two rows of the same edit"
    for name, published in (("before DPO", "gpt2: none"), ("after DPO", "dpo: none")):
        if not ((rows["name"] == name) & (rows["kind"] == "none") & (rows["published"] == published)).any():
            yield f"the row {name!r} of table1 is not that of a whole model"
    if (rows[[c for c in rows if c.startswith("perplexity")]] <= 0).any(axis=None):
        yield "the table table1 tells a perplexity that no text can have"
    ablated = rows[(rows["kind"] == "ablate") & rows["which"].str.endswith("toxic")]
    known = results.evidence.set_index("quantity")["value"].reindex([BEST]).notna().any()
    if ablated.empty or (known and ablated["recovered"].isna().any()):
        yield "the table table1 has no ablation by cosine whose effect is known"
    for which in SETS:
        edits = rows[(rows["which"] == which) & rows["kind"].isin([kind for kind, _ in EDITS])]
        if len(edits) and (EDITS - set(zip(edits["kind"], edits["positions"], strict=True))):
            yield f"the table table1 lacks an edit of {which}"


def _offset(results: Results) -> Iterator[str]:
    layers, sets = results.record.shape.layers, results.offset_sets
    if results.offset_layers["layer"].tolist() != list(range(layers)):
        yield "the table offset_layers lacks a layer, or has one that the model lacks"
    writers = results.offset_writers
    every = {f"top {results.profile.interventions.figure_top} toxic", EVERYTHING}
    if not every <= set(writers["which"]) or not every <= set(sets.loc[sets["comparison"] == "DPO", "which"]):
        yield "the tables of the offset lack a set of neurons"
    kinds = writers.groupby("which")["writer"].value_counts().unstack().reindex(columns=WRITERS)
    if not ((kinds == [1, layers, layers, 1]).all(axis=None) and writers["layer"].max() < layers):
        yield "the table offset_writers lacks a writer, or has one that the model lacks"
    names = {f"{kind}, {which}" for kind, which in product(("add offset", "remove offset"), every)}
    swaps = {"swap attention", "swap MLP in and MLP out", "swap MLP in and MLP out and attention"}
    if missing := sorted((names | swaps) - set(results.table1["name"])):
        yield f"the table table1 has no row {missing[0]!r}"


def _comparisons(results: Results) -> Iterator[str]:
    here = pd.Series(group_quantities(results.groups.set_index("group")))
    lines = results.comparisons.groupby("comparison")["quantity"].agg(set)
    every = {*here.index}.union(*lines)
    if not all(every <= line for line in lines):
        yield "the table comparisons lacks a quantity of some comparison"
    elif not _is_own(here, results):
        yield "the tables comparisons and groups are not of the same neurons"


def _directions(results: Results) -> Iterator[str]:
    """Takes for granted that every comparison has the same quantities."""
    along, here = set(results.other_directions) - {"kind", "text"}, pd.Series(quantities(results.neurons))
    if not set(here.index) <= along:
        yield "the table other_directions lacks a quantity"
    elif not along <= set(_own(results).index):
        yield "the table comparisons lacks a quantity of some comparison"
    elif not _is_own(here, results):
        yield "the tables comparisons and neurons are not of the same neurons"


def _own(results: Results) -> pd.DataFrame:
    """The comparison of the run itself, by its quantities."""
    compared = results.comparisons
    return compared[compared["comparison"] == compared["comparison"].iloc[0]].set_index("quantity")


def _is_own(here: pd.Series, results: Results) -> bool:
    """Whether quantities are those of the run's own comparison.

    Where the probe was turned in that, as where DPO moves away from it, they cannot be held against it.
    """
    own = _own(results)
    return own["sign"].iloc[0] < 0 or _same(own["value"][here.index], here)


def _step_through(results: Results) -> Iterator[str]:
    table = results.step_through
    if not set(table["number"]) <= set(results.prompts["number"]):
        yield "the table step_through tells of prompts that the table prompts lacks"
    if table["condition"].iloc[0] != "before DPO" or (table["condition"].str.strip() == "").any():
        yield "the table step_through does not begin with the model before DPO"
    lanes = table.groupby(["number", "condition"])["step"].agg(["size", "min", "max"])
    lengths = lanes["size"].groupby("number").agg(["min", "max", "size"])
    whole = (lanes["min"] == 1) & (lanes["max"] == lanes["size"])
    equal = (lengths["min"] == lengths["max"]) & (lengths["size"] == table["condition"].nunique())
    if not (whole.all() and equal.all()):
        yield "the table step_through lacks tokens of some continuation"


def _same(one: pd.DataFrame | pd.Series, other: pd.DataFrame | pd.Series) -> bool:
    """Whether two tables hold the same numbers, but for what rounding does to sums that nearly cancel."""
    known = [np.where(np.isfinite(v), v, np.nan) for v in (one.to_numpy(float), other.to_numpy(float))]
    return np.allclose(*known, rtol=1e-2, atol=1e-3, equal_nan=True)
