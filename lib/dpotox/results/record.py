"""The record of a run: which study the results are of, and what made them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from dpotox.errors import UserError
from dpotox.profile import Profile
from dpotox.results.schema import LARGEST_NUMBER, LONGEST_LABEL, is_label, printable

FILE = "run.json"
FORMAT = 3
"""Of the tables and of the record; counts up when results of before cannot be read any more."""


def _label(text: str) -> str:
    if not is_label(text):
        raise ValueError("must be short, without markup or what cannot be seen")
    return text


Label = Annotated[str, AfterValidator(_label)]
Count = Annotated[int, Field(ge=0, le=10**15)]
Size = Annotated[int, Field(ge=1, le=10**12)]
Labels = Annotated[dict[Label, Label], Field(max_length=50)]
_strict = dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))


@_strict
class Shape:
    """The model's shape."""

    layers: Size
    d_model: Size
    d_mlp: Size
    vocabulary: Size
    parameters: Size
    gated: bool = False  # whether the sign of an activation is a convention
    norm_behind: bool = False  # whether a norm stands behind the MLPs


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
        code: the hash of every function that quantities are measured with, and of all that it reaches; empty
            in results made before it was told.
        small: whether the tables that only whole packs have were left out.
        prompts: how many prompts were read, where the table of them was left out.
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
    code: Labels = Field(default_factory=dict)
    small: bool = False
    prompts: Count | None = None

    @property
    def profile(self) -> Profile:
        """The profile that the settings are of.

        Raises:
            UserError: they are not those of a profile.
        """
        for leaf in _leaves(self.settings):
            if isinstance(leaf, str) and not is_label(leaf):
                raise UserError(f"the settings in {FILE} hold text that no profile needs: {leaf[:40]!a}")
            if isinstance(leaf, int | float) and not abs(leaf) <= LARGEST_NUMBER:
                raise UserError(f"the settings in {FILE} hold a number that no profile needs")
        profile = TypeAdapter(Profile).validate_json(json.dumps(self.settings))
        if not re.fullmatch(r"\w[\w.-]*", profile.name):  # files are named after it
            raise UserError(f"the settings in {FILE} name no profile: {profile.name[:40]!a}")
        return profile


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
        return "".join(c if is_label(c) else " " for c in kept)[:LONGEST_LABEL]

    return told(asdict(profile))


def difference(made_with: dict, asked_for: dict) -> str:
    """The first setting in which two differ, but for what the computer decides.

    A setting that there was not yet when something was made is taken for what it is by default; of a section
    that there was not yet nothing was made.
    """
    usual = asdict(Profile(name=""))
    for section, settings in asked_for.items():
        if isinstance(settings, dict) and section not in made_with:
            continue
        before = made_with.get(section)
        if isinstance(before, dict):
            before = usual.get(section, {}) | before
        if section in ("compute", "name", "extends") or before == settings:
            continue
        if not isinstance(settings, dict):
            return section
        key = next(k for k in settings if not isinstance(before, dict) or before.get(k) != settings[k])
        return f"{section}.{key}"
    return ""


RENAMED = {"dpo_checkpoint": "aligned", "dpo_checkpoint_revision": "aligned_revision"}
"""What settings of `[model]` were called in earlier packs."""


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
            f"{path.name} is of format {str(found)[:20]!a}, and this version reads {FORMAT}; make the "
            "results anew with this version, or read them with the one that made them"
        )
    model = content["settings"].get("model") if isinstance(content.get("settings"), dict) else None
    if isinstance(model, dict):
        content["settings"]["model"] = {RENAMED.get(key, key): value for key, value in model.items()}
    try:
        record = TypeAdapter(Record).validate_json(json.dumps(content))
    except (ValueError, RecursionError) as error:  # pydantic's, too
        raise UserError(f"{path.name} is not as its schema says: {_explained(error)}") from None
    try:
        _ = record.profile
    except (ValueError, RecursionError) as error:
        raise UserError(f"the settings in {path.name} are no profile's: {_explained(error)}") from None
    return record


def _explained(error: Exception) -> str:
    """What is wrong, at most three things of it."""
    wrong = getattr(error, "errors", lambda: [{"loc": (), "msg": str(error)}])()
    said = [f"{'.'.join(map(str, w['loc']))[:60]}: {w['msg'][:80]}".removeprefix(": ") for w in wrong[:3]]
    return printable("; ".join(said))


def _leaves(value) -> Iterator:
    """Every text and number in plain data."""
    if isinstance(value, dict):
        yield from (leaf for pair in value.items() for inner in pair for leaf in _leaves(inner))
    elif isinstance(value, list):
        yield from (leaf for inner in value for leaf in _leaves(inner))
    else:
        yield value
