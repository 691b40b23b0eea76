"""Keeping what was made: a folder per artifact, whole or not at all, with the settings that made it.

An artifact is made in a hidden folder beside its place, `.NAME-unfinished`, and renamed into it when
everything is written. `settings.json` in it records what it is made from; if that differs from what is asked
for now, the artifact is made again. A run that goes on with an unfinished folder finds the parts that are
already there. `made.json` says when an artifact was made, in what time, and what its files are: damage is
noticed, and the artifact made again. A step of the study gives what is kept so, made when first asked for.
"""

from __future__ import annotations

import errno
import hashlib
import inspect
import json
import os
import resource
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from safetensors import SafetensorError

from dpotox.errors import UserError
from dpotox.progress import note
from dpotox.run.together import meet, tell

if TYPE_CHECKING:  # which load torch
    from dpotox.run.kept import Format
    from dpotox.run.study import Study

PARTS = "parts"
"""A folder in an unfinished artifact for what a run that goes on with it needs, and nobody afterwards."""
NO_SPACE = ("No space left", "iostream error", "unexpected pos", "PytorchStreamWriter failed")
"""What errors say when a disk is full; torch's do not say why they could not write."""


def keep(folder: Path, settings: dict, make: Callable[[Path], None]) -> Path:
    """Return `folder`, after `make(unfinished folder)` if it is not there with the same settings.

    `make` may find in its folder what an interrupted run with the same settings left there.

    Raises:
        UserError: the disk is full or the folder cannot be written; the old artifact stays as it was.
    """
    if folder.exists() and not wrong(folder, settings):
        return folder
    with disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f".{folder.name}.lock"):  # a second run waits, then reuses
            found = wrong(folder, settings) if folder.exists() else ""
            if folder.exists() and not found:
                return folder
            note(f"making {folder.name}" + (f" again: {found}" if found else ""))
            begun = unfinished(folder)
            if not is_made(begun, settings):  # else what is in it is gone on with
                shutil.rmtree(begun, ignore_errors=True)
                begun.mkdir()
                (begun / "settings.json").write_text(json.dumps(settings, indent=1))
            if not (begun / "done").exists():  # else it was killed between the two renames below
                seconds = _own_seconds(partial(make, begun))
                facts = {"seconds": round(seconds, 1), "date": str(datetime.now().date())}
                facts["memory"] = peak_memory()
                facts["files"] = {str(p.relative_to(begun)): _digest(p) for p in _files(begun)}
                (begun / "made.json").write_text(json.dumps(facts, indent=1))
                (begun / "done").touch()
            old = folder.with_name(f".{folder.name}-old")
            shutil.rmtree(old, ignore_errors=True)
            if folder.exists():
                folder.rename(old)
            begun.rename(folder)
            (folder / "done").unlink()
            shutil.rmtree(folder / PARTS, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)
    return folder


class step:
    """Makes a method of `Study` a step, whose value is kept in the way given.

    The method may take the folder it is kept in besides. What it keeps in `PARTS` there (`part`) is
    found again by a run that goes on with an interrupted one, and removed when the step is made.

    Args:
        shared: whether processes that were started together make it together (`dpotox.run.in_processes`).
    """

    def __init__(self, kept: Format, *, shared: bool = False) -> None:
        self.kept, self.shared = kept, shared

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
        folder = keep(plan.folder_of(self.name), settings, partial(self._write, study))
        value = study.__dict__[self.name] = self.kept.read(folder)  # found there from now on
        return value

    def _write(self, study: Study, folder: Path) -> None:
        if self.shared:
            tell(True)
        takes_folder = len(inspect.signature(self.make).parameters) > 1
        value = self.make(study, folder) if takes_folder else self.make(study)
        if self.shared:
            meet()
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


_within = threading.local()


def _own_seconds(make: Callable[[], None]) -> float:
    """What making something takes, without the artifacts that are made meanwhile because it needs them."""
    outer, _within.seconds = getattr(_within, "seconds", 0.0), 0.0
    began = time.monotonic()
    try:
        make()
    finally:
        took = time.monotonic() - began
        own, _within.seconds = took - _within.seconds, outer + took
    return own


def peak_memory() -> int:
    """The most memory that this process, or one that it started and that has ended, has held, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    kinds = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    return unit * max(resource.getrusage(kind).ru_maxrss for kind in kinds)


def unfinished(folder: Path) -> Path:
    """Where an artifact lies while it is being made."""
    return folder.with_name(f".{folder.name}-unfinished")


def made(folder: Path) -> dict:
    """When a folder was made (`date`), in how many `seconds` (of the run that ended it, without what was made
    meanwhile because it needs it), and its `files`.

    And `memory`, the most that this process or one that it started had held by then, in bytes.
    """
    return json.loads((folder / "made.json").read_text())


def wrong(folder: Path, settings: dict) -> str:
    """Why an artifact that is there cannot be used: made from something else, or damaged; empty if it can."""
    try:
        made_from = json.loads((folder / "settings.json").read_text())
    except (OSError, ValueError):
        return "its settings.json cannot be read"
    if made_from != (asked_for := json.loads(json.dumps(settings))):
        return f"it was made with another {_first_difference(made_from, asked_for)}"
    return damage(folder)


def _first_difference(one: object, other: object) -> str:
    """The name of the first setting in which two differ, with the sections it is in."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return ""
    name = next(key for key in [*other, *one] if key not in one or key not in other or one[key] != other[key])
    return f"{name} {_first_difference(one.get(name), other.get(name))}".strip()


def damage(folder: Path) -> str:
    """What differs between an artifact's files and what was written; empty if nothing does."""
    try:
        written = made(folder)["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return "made.json cannot be read"
    there = {str(p.relative_to(folder)): p for p in _files(folder)}
    if missing := sorted(written.keys() - there.keys()):
        return f"{missing[0]} is missing"
    changed = sorted(name for name, digest in written.items() if _digest(there[name]) != digest)
    return f"{changed[0]} is not what was written" if changed else ""


def _files(folder: Path) -> list[Path]:
    """What an artifact holds, without what this module itself keeps there."""
    own = {"settings.json", "made.json", "done", PARTS}
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.relative_to(folder).parts[0] not in own)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_file(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write(temporary path)` write a file and put it in place whole."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{os.getpid()}-{path.name}")
        try:
            write(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def is_made(folder: Path, settings: dict) -> bool:
    """Whether a folder was made, or has begun to be made, with these settings."""
    try:
        return json.loads((folder / "settings.json").read_text()) == json.loads(json.dumps(settings))
    except (OSError, json.JSONDecodeError):
        return False


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what a disk refuses into one line with the way out."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors wrap the disk's errors
        if type(error).__name__ == "OutOfMemoryError":  # torch's
            raise UserError(
                f"the device has not enough memory to make {path.name}; free some of it, take a smaller "
                "model or train in more processes, and rerun; what is finished is kept"
            ) from None
        number = getattr(error, "errno", None)
        if number == errno.ENOSPC or any(text in str(error) for text in NO_SPACE):
            raise UserError(f"the disk is full while writing {path}; free some space and rerun") from None
        if number in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
            raise UserError(f"{path} cannot be written ({error}); check the folder's permissions") from None
        raise
