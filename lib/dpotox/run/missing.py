"""Which steps are still to be made, found out without making or loading any."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from dpotox.errors import UserError
from dpotox.paper import claims
from dpotox.profile import EMBEDDED
from dpotox.run import artifacts
from dpotox.run.study import Study

LONG = {"base", "pairs", "dpo", "readings", "nulls", "table1"}
"""The steps before which inputs are looked up and the time is estimated."""


class _Made(Exception):
    """A step is made."""


class _Missing(Exception):
    """A step is not made, or from something else."""


@dataclass(frozen=True)
class _Looking(Study):
    """A study that neither makes nor loads anything: whatever step it is asked for, it says what there is."""

    @cached_property
    def _known(self) -> dict[str, str]:
        return {}

    def _keep(self, name: str, make: Callable, **decides) -> Path:
        raise _Made if artifacts.is_made(self.folder / name, self._settings(**decides)) else _Missing

    def _identity(self, step: str) -> str:
        if step not in self._known:
            try:
                self._known[step] = super()._identity(step)
            except _Made:
                settings = (self.folder / step / "settings.json").read_bytes()
                self._known[step] = sha256(settings).hexdigest()[:16]
        return self._known[step]


def missing_steps(study: Study) -> set[str]:
    """The names of the steps that are still to be made, and `placebo-KIND`."""
    looking = _Looking(study.profile, study.seed, study.folder)
    model = study.profile.model
    asked: dict[str, Callable] = {
        "probe": lambda: looking.probe,
        "dpo": lambda: looking.dpo_folder,
        "readings": lambda: looking.readings,
        "nulls": lambda: looking.nulls,
        "outcomes": lambda: looking.outcomes,
        "table1": lambda: looking.table1,
        "summary": lambda: looking.summary,
        "nearest-tokens": lambda: looking.nearest_tokens,
    }
    if model.base == EMBEDDED:
        asked["base"] = lambda: looking.base_folder
    if not model.dpo_checkpoint:
        asked["pairs"] = lambda: looking.pairs
    asked |= {f"placebo-{kind}": lambda kind=kind: looking.placebo(kind) for kind in looking.placebos}
    # Chapters are judged apart, and what is not judged yet is made together.
    asked |= {f"claims {chapter}": lambda c=chapter: looking.claims_of(c) for chapter in claims.CHAPTERS}
    return {name.partition(" ")[0] for name, ask in asked.items() if not _is_made(ask)}


def _is_made(ask: Callable) -> bool:
    try:
        ask()
    except _Made:
        return True
    except (_Missing, UserError):
        return False
    return True
