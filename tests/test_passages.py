"""Whatever a profile does, its chapters are whole: no label that is referred to is left out."""

import re
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


def left(name: str, holds: dict[str, bool]) -> list:
    return [c for c in NOTEBOOKS[name].cells if passages.belongs(c.metadata.get("tags", []), holds)]


def possible() -> list[dict[str, bool]]:
    """Every combination of facts that a profile can have."""
    combinations = (dict(zip(NAMES, v, strict=True)) for v in product([True, False], repeat=len(NAMES)))
    needs = {"generated": "made-here", "sampled-pairs": "trained-dpo", "placebos": "trained-dpo"}
    return [holds for holds in combinations if all(holds[b] for a, b in needs.items() if holds[a])]


@pytest.mark.parametrize("holds", possible(), ids=lambda h: " ".join(k for k, v in h.items() if v) or "none")
def test_no_reference_is_left_without_its_label(holds):
    labels, references = set(), set()
    for name in NOTEBOOKS:
        cells = left(name, holds)
        assert cells[0].source.startswith("# ")
        for cell in cells:
            figure = cell.metadata.get("mystnb", {}).get("figure", {})
            labels |= {figure.get("name"), *re.findall(r"^\((.+)\)=$", cell.source, re.M)}
            captions = cell.source + figure.get("caption", "")
            references |= set(re.findall(r"\{numref\}`(.+?)`|\]\(#(.+?)\)", captions))
    assert {one or other for one, other in references} <= labels


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
