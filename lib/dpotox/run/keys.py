"""What decides what a step makes: the code it reaches, settings, files, seed, versions, and earlier steps."""

from __future__ import annotations

import json
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from dpotox.profile import TRAINED, Profile
from dpotox.run.reach import Package, Reached, package

COMPUTING = (
    *("torch", "transformers", "tokenizers", "trl", "accelerate", "nnsight", "safetensors"),
    *("scikit-learn", "numpy", "scipy", "pandas"),
)
"""The libraries whose versions decide results."""
NO_TRACE = {f"compute.{key}" for key in ("device", "device_map", "threads", "processes", "batch_size")}
"""Settings that leave no trace in a result."""
MEASURING = {
    "paper.evidence.neuron_quantities",
    "paper.nulls.along",
    "paper.nulls.comparisons",
    "paper.rows.table1_rows",
    "paper.rows.random_draws",
}
"""What quantities are measured with, besides the functions that are named after evidence."""
SCORER = "inputs.scoring", "load_scorer"


class Keys:
    """The keys of one study's steps.

    Args:
        code: the package whose code makes them.
    """

    def __init__(self, profile: Profile, seed: int, code: Package | None = None) -> None:
        self.profile, self.seed, self.code = profile, seed, code or package()
        self.versions = {name: version(name) for name in COMPUTING}
        self._known: dict[str, dict] = {}

    def settings(self, step: str) -> dict:
        """All that decides what a step makes, as plain data to be kept beside it."""
        if step not in self._known:
            self._known[step] = self._of(self.code.step(step))
        return self._known[step]

    def key(self, step: str) -> str:
        """The same as one hash."""
        return _hash(json.dumps(self.settings(step), sort_keys=True))

    def of_script(self, text: str) -> dict:
        """All that decides what a script gives that uses the study, such as a notebook."""
        return self._of(self.code.reached_by_code(text)) | {"text": _hash(text), "title": self.profile.title}

    def of_scorer(self, name: str) -> str:
        """What decides the scores of a scorer; of a function of one's own its file alone."""
        path, own, _ = name.partition(".py:")
        if own:
            return file_identity(f"{path}.py")
        decides = self._of(self.code.reached(SCORER)) | {"scorer": file_identity(name)}
        if name != TRAINED:
            decides |= {"profile": {}, "files": {}, "seed": 0}
        return _hash(json.dumps(decides, sort_keys=True))

    def _of(self, reached: Reached) -> dict:
        settings = _settings(self.profile, reached.settings)
        return {
            "profile": settings,
            "versions": self.versions,
            "seed": self.seed,
            "code": _of_code(reached),
            "files": _file_identities(settings),
            "made of": {name: self.key(name) for name in sorted(reached.steps)},
        }


def fingerprint(module: str, name: str, code: Package | None = None) -> str:
    """A definition with all that it reaches, as a hash that comments, docstrings and formatting leave."""
    return _of_code((code or package()).reached((module, name)))


def behind_quantities() -> dict[str, str]:
    """The fingerprint of every function that quantities are measured with, by its module and name."""
    named = {
        f"{module}.{name}"
        for module, content in package().modules.items()
        for name in content.definitions
        if name.endswith("_evidence") and not name.startswith("_")
    }
    return {name: fingerprint(*name.rsplit(".", 1)) for name in sorted(named | MEASURING)}


def _of_code(reached: Reached) -> str:
    return _hash(sorted(reached.code.items()), sorted(reached.data.items()))


def _settings(profile: Profile, names: set[str]) -> dict:
    """What the named settings are; of `compute` only what leaves a trace."""
    whole = {"compute.dtype" if name == "compute" else name for name in names}
    return profile.settings(*sorted(whole - NO_TRACE))


def _hash(*what: object) -> str:
    return sha256(repr(what).encode()).hexdigest()[:16]


def _file_identities(settings: dict) -> dict[str, str]:
    """The content of every local file that the settings name."""
    values = [v for section in settings.values() for v in section.values()]
    values += [v for some in values if isinstance(some, list) for v in some]
    named = {v.partition(".py:")[0] + ".py" if ".py:" in v else v for v in values if isinstance(v, str)}
    return {path: file_identity(path) for path in sorted(named) if path and Path(path).exists()}


def file_identity(path: str) -> str:
    """The content of a file or folder given by the user, as a hash; other names stand for themselves."""
    source = Path(path)
    if path and source.is_file():
        return sha256(source.read_bytes()).hexdigest()
    if path and source.is_dir():
        stamps = [
            (str(f.relative_to(source)), f.stat().st_size, f.stat().st_mtime_ns)
            for f in sorted(source.rglob("*"))
        ]
        return sha256(repr(stamps).encode()).hexdigest()
    return path
