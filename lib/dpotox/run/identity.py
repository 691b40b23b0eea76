"""What decides what a step makes: settings, seed, code, files and versions, so that nothing stale is used."""

from __future__ import annotations

import ast
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from dpotox.profile import Profile

# Read at once, so that an edit during a run is not taken for the code that runs.
_HERE = Path(__file__).parents[1]
_CODE = {path.stem: path.read_text(encoding="utf-8") for path in _HERE.rglob("*.py")}
_DATA = {path.stem: path.read_text(encoding="utf-8") for path in _HERE.rglob("*.toml")}
NO_TRACE = ("errors", "profile", "progress", "training_progress", "workers")
"""Modules that leave no trace in a result."""


def step_settings(
    profile: Profile, seed: int, *, code: list[str], sections: list[str], content: str, made_of: dict
) -> dict:
    """All that decides what a step makes, as plain data to be kept beside it.

    Args:
        code: the modules that make it.
        sections: the sections of the profile, or `section.key`s, that it depends on.
        content: anything else, such as texts.
        made_of: the identities of earlier steps.
    """
    return {
        "profile": profile.settings(*sections),
        "dtype": profile.compute.dtype,
        "versions": {name: version(name) for name in ("torch", "transformers", "trl", "nnsight")},
        "seed": seed,
        "code": code_identity(*code),
        "files": _file_identities(profile, sections),
        "content": sha256(content.encode()).hexdigest()[:16],
        "made of": made_of,
    }


def _file_identities(profile: Profile, sections: list[str]) -> dict[str, str]:
    """The content of every local file that the sections name."""
    values = [v for s in profile.settings(*sections).values() for v in s.values()]
    named = {v.partition(".py:")[0] + ".py" if ".py:" in v else v for v in values if isinstance(v, str)}
    paths = sorted(v for v in named if v and Path(v).exists())
    return {path: file_identity(path) for path in paths}


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


def code_identity(*modules: str) -> str:
    """A hash of the code of modules of this package and of all they import from it.

    Comments and formatting do not count, nor do modules that leave no trace in a result, so that an
    artifact is made again only when it might differ.
    """
    done: dict[str, str] = {}
    todo = list(modules)
    while todo:
        name = todo.pop()
        if name in done or name in NO_TRACE:
            continue
        done[name], imported = _parsed(_CODE[name])
        todo += imported
    data = [_DATA[name] for name in sorted(done) if name in _DATA]
    return sha256(repr((sorted(done.items()), data)).encode()).hexdigest()[:16]


@cache
def _parsed(code: str) -> tuple[str, list[str]]:
    """A module's code without comments and formatting, and the modules of this package that it imports."""
    tree, imported = ast.parse(code), []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dpotox"):
            names = [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
            imported += [stem for n in names if (stem := n.rpartition(".")[2]) in _CODE]
    return ast.dump(tree), imported
