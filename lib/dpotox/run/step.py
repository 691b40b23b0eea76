"""A step of the study: a value that is made when it is first asked for, kept, and read again."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpotox.run import artifacts
from dpotox.run.kept import Format

if TYPE_CHECKING:
    from dpotox.run.study import Study


class step:
    """Makes a method of `Study` a step, whose value is kept in the way given.

    The method may take the folder it is kept in besides. What it keeps in `artifacts.PARTS` there (`part`) is
    found again by a run that goes on with an interrupted one, and removed when the step is made.
    """

    def __init__(self, kept: Format) -> None:
        self.kept = kept

    def __call__(self, make: Callable) -> step:
        self.make, self.__doc__ = make, make.__doc__
        return self

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, study: Study | None, owner: type | None = None) -> Any:
        if study is None:
            return self
        plan = study.plan
        settings = plan.keys.settings(self.name)
        folder = artifacts.keep(plan.folder_of(self.name), settings, partial(self._write, study))
        value = study.__dict__[self.name] = self.kept.read(folder)  # found there from now on
        return value

    def _write(self, study: Study, folder: Path) -> None:
        takes_folder = len(inspect.signature(self.make).parameters) > 1
        value = self.make(study, folder) if takes_folder else self.make(study)
        self.kept.write(value, folder)


def part(folder: Path, kept: Format, make: Callable[[], Any]) -> Any:
    """A part of a step, kept whole in a folder of its own unless an interrupted run has left it."""
    if not folder.exists():
        temporary = folder.with_name(f".{folder.name}")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        kept.write(make(), temporary)
        temporary.rename(folder)
    return kept.read(folder)
