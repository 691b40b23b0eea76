"""Which cells of the notebooks belong in a study's book.

A chapter tells of what was done. A cell that is about something that not every profile does has the tag
`only-X`, and one that stands in its place `not-X`, where X is one of `facts`. The book leaves out the cells
whose tags do not hold; a notebook that is run by itself shows them all.
"""

from __future__ import annotations

import re

from nbformat import NotebookNode

from dpotox.profile import EMBEDDED, Profile

_CONDITION = re.compile("(only|not)-(.+)")


def facts(profile: Profile) -> dict[str, bool]:
    """What holds for a profile, by the names that the cells' tags use."""
    made_here, trained = profile.model.base == EMBEDDED, not profile.model.dpo_checkpoint
    return {
        "made-here": made_here,
        "generated": made_here and not profile.pretraining.texts,
        "fitted-probe": not profile.probe.path,
        "trained-dpo": trained,
        "sampled-pairs": trained and profile.data.pairs == EMBEDDED,
        "placebos": trained and bool(profile.nulls.placebos),
        "second-scorer": bool(profile.scorer.second),
        "draws": profile.interventions.draws > 0,
    }


def belongs(tags: list[str], holds: dict[str, bool]) -> bool:
    """Whether a cell with these tags belongs in the book of a study for which `holds` is what holds.

    Raises:
        KeyError: a tag names nothing that `facts` knows.
    """
    conditions = [found.groups() for tag in tags if (found := _CONDITION.fullmatch(tag))]
    return all(holds[name] == (kind == "only") for kind, name in conditions)


def of_study(notebook: NotebookNode, profile: Profile) -> NotebookNode:
    """The notebook without the cells that are not about this profile, in place."""
    holds = facts(profile)
    notebook.cells = [cell for cell in notebook.cells if belongs(cell.metadata.get("tags", []), holds)]
    return notebook
