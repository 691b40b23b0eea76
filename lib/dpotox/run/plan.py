"""What a study is made of and what is still to be made, found out without making or loading anything."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dpotox.errors import UserError
from dpotox.facts import facts, placebos
from dpotox.places import OUTPUT
from dpotox.profile import EMBEDDED, Profile, load_profile
from dpotox.run import artifacts
from dpotox.run.keys import Keys


def open_plan(profile: str | Path = "mini", seed: int = 0, artifacts: str | Path = "") -> Plan:
    """The plan of a profile (name or path) and a seed.

    Args:
        artifacts: where everything made is kept; `artifacts/` in `OUTPUT` if not given.

    Raises:
        UserError: the profile is unknown or wrong, or the seed is negative.
    """
    if not isinstance(seed, int) or seed < 0:
        raise UserError(f"the seed is {seed!r}; give a whole number from 0")
    loaded = load_profile(profile)
    root = Path(artifacts) if artifacts else OUTPUT / "artifacts"
    return Plan(loaded, seed, root / loaded.name / f"seed{seed}")


@dataclass(frozen=True)
class Plan:
    """One profile and seed, and the folder in which its steps are kept."""

    profile: Profile
    seed: int
    folder: Path

    @cached_property
    def keys(self) -> Keys:
        """What decides what each step makes."""
        return Keys(self.profile, self.seed)

    @property
    def steps(self) -> list[str]:
        """The names of the steps that this study has, in their order."""
        kinds = {"shuffled", "reversed"} - set(placebos(self.profile))
        absent = {f"placebo_{kind}_folder" for kind in kinds}
        if self.profile.model.base != EMBEDDED:
            absent.add("base_folder")
        if self.profile.model.aligned:
            absent.add("pairs")  # a finished model needs none
        if not facts(self.profile)["causes"]:
            absent |= {"undone", "causes"}
        if not facts(self.profile)["counts"]:
            absent.add("tried")
        if not facts(self.profile)["ranks"]:
            absent |= {"stream_changes", "streams_tried"}
        if not facts(self.profile)["along"]:
            absent.add("along")
        if not facts(self.profile)["objectives"]:
            absent |= {"objectives_folder", "objective_trials"}
        if not facts(self.profile)["untrained-edits"]:
            absent.add("without_training")
        if not facts(self.profile)["relearning"]:
            absent |= {"relearning", "comments_after"}
        return [name for name in self.keys.code.steps if name not in absent]

    def folder_of(self, step: str) -> Path:
        """Where a step is kept."""
        return self.folder / step.removesuffix("_folder").replace("_", "-")

    def missing(self) -> set[str]:
        """The folders of the steps that are still to be made."""
        return {
            self.folder_of(name).name
            for name in self.steps
            if not artifacts.is_made(self.folder_of(name), self.keys.settings(name))
        }

    @property
    def results(self) -> Path:
        """Where the results are kept."""
        return self.folder_of("results_folder")
