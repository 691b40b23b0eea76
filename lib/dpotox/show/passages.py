"""Which cells of the notebooks belong in a study's book.

A chapter tells of what was done. A cell that is about something that not every profile does has the tag
`only-X`, and one that stands in its place `not-X`, where X is one of `dpotox.facts`. The book leaves out the
cells whose tags do not hold; a notebook that is run by itself shows them all.
"""

from __future__ import annotations

import re

from nbformat import NotebookNode

_CONDITION = re.compile("(only|not)-(.+)")


def belongs(tags: list[str], holds: dict[str, bool]) -> bool:
    """Whether a cell with these tags belongs in the book of a study for which `holds` is what holds.

    Raises:
        KeyError: a tag names nothing that `facts` knows.
    """
    conditions = [found.groups() for tag in tags if (found := _CONDITION.fullmatch(tag))]
    return all(holds[name] == (kind == "only") for kind, name in conditions)


def of_study(notebook: NotebookNode, holds: dict[str, bool]) -> NotebookNode:
    """The notebook without the cells that are not about a study for which `holds` is what holds, in place."""
    notebook.cells = [cell for cell in notebook.cells if belongs(cell.metadata.get("tags", []), holds)]
    return notebook
