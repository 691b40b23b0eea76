"""Several seeds: each an independent job with its own folder, and their claims side by side.

A job is `python -m dpotox.run.book --seeds N --no-pages`; a scheduler may run the jobs anywhere that sees the
same `artifacts/`. `make book SEEDS="0 1 2"` runs those that are not done, one after the other, and builds
the pages of the first that succeeded.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import suppress

from dpotox.progress import note
from dpotox.results.seeds import FAILURE
from dpotox.run import artifacts
from dpotox.run.plan import Plan


def run_jobs(profile: str, seeds: list[int], until: str = "--no-pages") -> list[int]:
    """Run one job after the other, each a process of its own; returns the seeds that failed.

    Args:
        until: the option of `dpotox.run.book` that says where a job stops.
    """
    command, failed = [sys.executable, "-m", "dpotox.run.book", "--profile", profile], []
    for seed in seeds:
        note(f"seed {seed}:")
        status = subprocess.call([*command, "--seeds", str(seed), until])
        if status == 130:
            raise KeyboardInterrupt
        if status:
            failed.append(seed)
    return failed


def begin_job(plan: Plan) -> None:
    """Remove what an earlier job said, if it is out of date, so that only the last one counts.

    Raises:
        UserError: the folder cannot be written.
    """
    with artifacts.disk_errors(plan.folder):
        (plan.folder / FAILURE).unlink(missing_ok=True)
        if plan.results.name in plan.missing() and plan.results.exists():
            shutil.rmtree(plan.results)


def record_failure(plan: Plan, message: str) -> None:
    """Say in the seed's folder why it failed, unless the disk is what failed."""
    path = plan.folder / FAILURE
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(message.replace("\nerror: ", "; "), encoding="utf-8")
