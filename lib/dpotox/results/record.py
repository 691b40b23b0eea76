"""The record of a run: which study the results are of, and what made them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter
from pydantic.dataclasses import dataclass

from dpotox.errors import UserError
from dpotox.profile import Profile
from dpotox.results.schema import LONGEST_LABEL, MARKUP

FORMAT = 1
"""Of the tables and of the record; counts up when results of before cannot be read any more."""
Label = Annotated[str, StringConstraints(pattern=rf"\A[^{MARKUP}]{{0,{LONGEST_LABEL}}}\z")]
Count = Annotated[int, Field(ge=0)]
Labels = Annotated[dict[Label, Label], Field(max_length=50)]
_strict = dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))


@_strict
class Shape:
    """The model's shape."""

    layers: Count
    d_model: Count
    d_mlp: Count
    vocabulary: Count
    parameters: Count


@_strict
class Loss:
    """How good a model made here is on unseen text, in nats per token."""

    loss: float
    unigram: float  # what token frequencies alone would reach
    bound: float | None  # the generator's own information content, where it is known


@_strict
class Record:
    """All of `run.json`.

    Attributes:
        settings: the profile, of whose files only the names are told.
        auc, accuracy: of the probe, on comments that it was not fitted to; a given one has no accuracy.
        pairs: how many preference pairs there are; 0 for a finished model.
        seconds: of each step.
        memory: the most that the process of a step held, in bytes.
    """

    format: int
    seed: Count
    settings: dict
    shape: Shape
    loss: Loss | None
    auc: float
    accuracy: float | None
    pairs: Count
    versions: Labels
    commit: Label
    device: Label
    date: Label
    seconds: Annotated[dict[Label, float], Field(max_length=100)]
    memory: Count

    @property
    def profile(self) -> Profile:
        """The profile that the settings are of.

        Raises:
            UserError: they are not those of a profile.
        """
        for text in _texts(self.settings):
            if re.search(f"[{MARKUP}]", text) or len(text) > LONGEST_LABEL:
                raise UserError("the record's settings hold text that no profile needs")
        return TypeAdapter(Profile).validate_json(json.dumps(self.settings))


def settings_of(profile: Profile) -> dict:
    """A profile as plain data that can travel: of files on this machine only their names."""

    def told(value):
        if isinstance(value, dict):
            return {key: told(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [told(inner) for inner in value]
        if not isinstance(value, str):
            return value
        file = value.partition(".py:")[0] + ".py" if ".py:" in value else value
        local = Path(file).is_absolute() or Path(file).exists()
        kept = value.replace(file, Path(file).name) if value and local else value
        return re.sub(f"[{MARKUP}]", " ", kept)[:LONGEST_LABEL]

    return told(asdict(profile))


def write(record: Record, path: Path) -> None:
    """Write a record as JSON."""
    path.write_text(json.dumps(asdict(record), indent=1), encoding="utf-8")


def read(path: Path) -> Record:
    """Read a record.

    Raises:
        UserError: it is not one, or of another version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise UserError(f"{path.name} cannot be read as JSON; make the results anew") from None
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise UserError(
            f"{path.name} is of format {str(found)[:20]!r}, and this version reads {FORMAT}; make the "
            "results anew with this version, or read them with the one that made them"
        )
    try:
        record = TypeAdapter(Record).validate_json(json.dumps(content))
        _ = record.profile
    except ValueError as error:  # pydantic's, too
        wrong = getattr(error, "errors", lambda: [{"loc": (), "msg": str(error)}])()
        what = "; ".join(f"{'.'.join(map(str, w['loc']))[:60]}: {w['msg'][:80]}" for w in wrong[:3])
        raise UserError(f"{path.name} is not as its schema says: {what}") from None
    return record


def _texts(value) -> Iterator[str]:
    """Every text in plain data."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for pair in value.items() for inner in pair for text in _texts(inner))
    elif isinstance(value, list):
        yield from (text for inner in value for text in _texts(inner))
