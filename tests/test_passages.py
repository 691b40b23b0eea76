"""Whatever a profile does, its chapters are whole: no label that is referred to is left out."""

import re
from collections import defaultdict
from itertools import product

import jupytext
import pytest
from conftest import ROOT
from nbformat.v4 import new_markdown_cell, new_notebook

from dpotox.facts import facts
from dpotox.profile import load_profile
from dpotox.run import book
from dpotox.show import passages

NAMES = list(facts(load_profile("mini")))
NOTEBOOKS = {name: jupytext.read(ROOT / "notebooks" / f"{name}.py") for name in book.NOTEBOOKS}


NEEDS = {"generated": "made-here", "sampled-pairs": "trained-dpo", "placebos": "trained-dpo"}
"""Facts that hold only where another one does."""


def conditions(cell) -> list[str]:
    """The tags of a cell that say for which profiles it stays."""
    return [tag for tag in cell.metadata.get("tags", []) if tag.startswith(("only-", "not-"))]


def labels_and_references() -> tuple[dict[str, list], dict[str, list]]:
    """The conditions of all cells that have each label, and of all that refer to it."""
    labels, references = defaultdict(list), defaultdict(list)
    for notebook in NOTEBOOKS.values():
        for cell in notebook.cells:
            figure = cell.metadata.get("mystnb", {}).get("figure", {})
            for label in {figure.get("name"), *re.findall(r"^\((.+)\)=$", cell.source, re.M)} - {None}:
                labels[label].append(conditions(cell))
            told = cell.source + figure.get("caption", "")
            for one, other in re.findall(r"\{numref\}`(.+?)`|\]\(#(.+?)\)", told):
                references[one or other].append(conditions(cell))
    return labels, references


def possible(names: set[str]) -> list[dict[str, bool]]:
    """Every combination of these facts, and those that they need, that a profile can have."""
    names = sorted(names | {NEEDS[name] for name in names & set(NEEDS)})
    combinations = (dict(zip(names, v, strict=True)) for v in product([True, False], repeat=len(names)))
    return [h for h in combinations if all(h[NEEDS[a]] for a in set(names) & set(NEEDS) if h[a])]


LABELS, REFERENCES = labels_and_references()


@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_no_reference_is_left_without_its_label(name):
    concerned = {tag.split("-", 1)[1] for tags in LABELS[name] + REFERENCES[name] for tag in tags}
    for holds in possible(concerned):
        if any(passages.belongs(tags, holds) for tags in REFERENCES[name]):
            assert any(passages.belongs(tags, holds) for tags in LABELS[name]), holds


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_chapter_begins_with_its_title(name):
    first = NOTEBOOKS[name].cells[0]
    assert first.source.startswith("# ") and not conditions(first)


@pytest.mark.parametrize("name", NAMES)
def test_every_fact_is_used(name):
    tags = {tag for n in NOTEBOOKS.values() for c in n.cells for tag in c.metadata.get("tags", [])}
    assert {f"only-{name}", f"not-{name}"} & tags


def test_a_cell_stays_where_all_its_conditions_hold():
    holds = {"a": True, "b": False}
    for tags, stays in (
        (["hide-input"], True),
        (["only-a"], True),
        (["not-a"], False),
        (["only-a", "only-b"], False),
        (["only-a", "not-b"], True),
    ):
        assert passages.belongs(tags, holds) == stays
    with pytest.raises(KeyError):
        passages.belongs(["only-c"], holds)


def test_a_notebook_keeps_what_is_about_the_profile():
    cells = [new_markdown_cell(tag, metadata={"tags": [tag]}) for tag in ("only-generated", "not-generated")]
    kept = passages.of_study(new_notebook(cells=cells), facts(load_profile("gpt2"))).cells
    assert [cell.source for cell in kept] == ["not-generated"]
