"""Scorers of a study, with scores kept by text: an interruption loses none, and no text is scored twice."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dpotox.errors import UserError
from dpotox.inputs.scoring import AT_ONCE, Score, load_scorer
from dpotox.profile import EMBEDDED
from dpotox.progress import bar
from dpotox.run import artifacts
from dpotox.run.together import rank

if TYPE_CHECKING:
    from dpotox.run.study import Study


def score_of(study: Study) -> Score:
    """The function that says how toxic texts are."""
    return _scorer(study, study.profile.scorer.name, study.profile.scorer.revision)


def second_score_of(study: Study) -> Score | None:
    """Another such function, if the profile names one, to see how much depends on the first."""
    name, revision = study.profile.scorer.second, study.profile.scorer.second_revision
    return _scorer(study, name, revision) if name else None


def _scorer(study: Study, name: str, revision: str) -> Score:
    score = load_scorer(study.profile, study.seed, name, revision)
    if name == EMBEDDED:
        return score
    identity = f"{name} {revision} {study.plan.keys.of_scorer(name)}"
    return remembered(score, identity, study.folder.parent.parent / _store())


def _store() -> str:
    """The name of the file; processes started together have one each, as not every shared disk locks."""
    return f"scores-{rank()}.sqlite" if rank() else "scores.sqlite"


def remembered(score: Score, identity: str, path: Path) -> Score:
    """The same function, which keeps every score in a SQLite file, by text.

    Args:
        identity: scores are found again under it only.
    """

    def key(text: str) -> str:
        return sha256(f"{identity}\0{text}".encode()).hexdigest()

    def look_up(texts: list[str]) -> np.ndarray:
        with artifacts.disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with closing(sqlite3.connect(path, timeout=60)) as store:
                    return _from_store(store, texts)
            except sqlite3.OperationalError as error:  # another run holds it for long, or the disk is full
                raise UserError(
                    f"cannot write scores to {path} ({error}); see that no other run hangs, "
                    "that there is space, and the folder's permissions, then rerun"
                ) from None
            except sqlite3.DatabaseError as error:
                raise UserError(
                    f"cannot use the kept scores in {path} ({error}); remove the file and rerun"
                ) from None

    def _from_store(store: sqlite3.Connection, texts: list[str]) -> np.ndarray:
        store.execute("CREATE TABLE IF NOT EXISTS scores (key TEXT PRIMARY KEY, score REAL) WITHOUT ROWID")
        found = {}
        for text in texts:
            row = store.execute("SELECT score FROM scores WHERE key = ?", [key(text)]).fetchone()
            if row:
                found[text] = row[0]
        missing = sorted(set(texts) - set(found), key=len)
        for start in bar(range(0, len(missing), AT_ONCE), "score", "batch"):
            batch = missing[start : start + AT_ONCE]
            scores = dict(zip(batch, score(batch).tolist(), strict=True))
            with store:
                rows = [(key(text), value) for text, value in scores.items()]
                store.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?)", rows)
            found |= scores
        return np.array([found[text] for text in texts])

    return look_up
