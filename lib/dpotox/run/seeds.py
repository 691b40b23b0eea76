"""Several seeds: each an independent job with its own folder, and their claims side by side.

A job is `python -m dpotox.run.book --seeds N --no-pages`; a scheduler may run the jobs anywhere that sees the
same `artifacts/`. `make book SEEDS="0 1 2"` runs those that are not done, one after the other, and builds
the pages of the first that succeeded.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from dpotox.paper.evaluation import over_seeds
from dpotox.progress import note
from dpotox.run import artifacts

if TYPE_CHECKING:
    from dpotox.run.study import Study

CLAIMS, FAILURE = "claims.json", "failure.txt"


def run_jobs(profile: str, seeds: list[int]) -> list[int]:
    """Run one job after the other, each a process of its own; returns the seeds that failed."""
    failed = []
    for seed in seeds:
        note(f"seed {seed}:")
        command = [
            sys.executable,
            "-m",
            "dpotox.run.book",
            "--profile",
            profile,
            "--seeds",
            str(seed),
            "--no-pages",
        ]
        status = subprocess.call(command)
        if status == 130:
            raise KeyboardInterrupt
        if status:
            failed.append(seed)
    return failed


def begin_job(study: Study) -> None:
    """Remove what an earlier job said, so that only the last one counts.

    Raises:
        UserError: the folder cannot be written.
    """
    with artifacts.disk_errors(study.folder):
        for name in (CLAIMS, FAILURE):
            (study.folder / "results" / name).unlink(missing_ok=True)


def record_failure(study: Study, message: str) -> None:
    """Say in the seed's results why it failed, unless the disk is what failed."""
    path = study.folder / "results" / FAILURE
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(message.replace("\nerror: ", "; "), encoding="utf-8")


def outcome(study: Study, seed: int) -> Path:
    """The file in which the job of a seed left its claims or its failure; the former if there is neither."""
    results = study.folder.with_name(f"seed{seed}") / "results"
    return results / (FAILURE if (results / FAILURE).exists() else CLAIMS)


def claims_by_seed(study: Study, seeds: list[int]) -> tuple[pd.DataFrame, dict[int, str]]:
    """The claims of all seeds that have some, and why the others have none.

    Returns:
        The claims table with a column `seed`, and for every seed without claims the reason.
    """
    tables, missing = [], {}
    for seed in seeds:
        path = outcome(study, seed)
        if seed == study.seed:
            tables.append(study.claims.assign(seed=seed))
        elif path.name == FAILURE:
            missing[seed] = path.read_text(encoding="utf-8")
        elif path.exists():
            tables.append(pd.DataFrame(json.loads(path.read_text(encoding="utf-8"))).assign(seed=seed))
        else:
            missing[seed] = "left no claims: not run, or broken off"
    return pd.concat(tables, ignore_index=True), missing


def recovered_by_seed(study: Study, seeds: list[int]) -> pd.DataFrame:
    """The recovered share of every row by seed, and the mean over seeds with its 95 % interval.

    Returns:
        Indexed by the row's name: a column per seed, `mean`, `low`, `high`.
    """
    columns = {}
    for seed in seeds:
        path = outcome(study, seed)
        if seed == study.seed:
            columns[seed] = study.summary.set_index("name")["recovered"]
        elif path.name == CLAIMS and path.exists():
            columns[seed] = pd.read_csv(path.with_name("table1.csv")).set_index("name")["recovered"]
    table = pd.concat(columns, axis=1, join="inner")  # the rows that every seed has
    means = pd.DataFrame([asdict(over_seeds(row.tolist())) for row in table.to_numpy()], index=table.index)
    return table.join(means.rename(columns={"value": "mean"}))
