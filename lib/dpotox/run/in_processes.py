"""The steps of a study in several processes that were started together, on one or several machines.

    accelerate launch --num_processes 2 --module dpotox.run.in_processes --profile gpt2-medium

All read the prompts, examine the rows of table 1 and train together; what cannot be divided the first makes,
and the others wait. They must see the same folder of artifacts. `make book` then goes on from the results.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from datetime import timedelta

from dpotox import progress
from dpotox.run import artifacts
from dpotox.run.command import exit_status
from dpotox.run.plan import open_plan
from dpotox.run.study import Study
from dpotox.run.together import meet, rank, world_size

PATIENCE = timedelta(days=7)
"""How long processes wait for the first, which may have much to make by itself."""


def main() -> int:
    """The command line: make every step of one profile and seed; returns the exit status."""
    parser = argparse.ArgumentParser(description="Make a study in several processes started together.")
    parser.add_argument("--profile", default="mini", help="name or path of a profile (default: mini)")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--artifacts", default="", help="where everything made is kept")
    arguments = parser.parse_args()
    return exit_status(lambda: _make(arguments))


def _make(arguments: argparse.Namespace) -> None:
    from dpotox.inputs import networks  # which loads torch, once the command line is read

    plan = open_plan(arguments.profile, arguments.seed, arguments.artifacts)
    compute = plan.profile.compute
    here = max(1, compute.threads // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
    compute = replace(compute, processes=1, threads=here)
    on_cpu = networks.device_of(compute).type == "cpu"
    if world_size() > 1:
        from accelerate import PartialState

        PartialState(cpu=on_cpu, timeout=PATIENCE)  # gives each process its GPU
    if rank() > 0:
        progress.silence()
    study = Study(replace(plan, profile=replace(plan.profile, compute=compute)))
    for name in plan.steps:
        make_together(study, name)


def make_together(study: Study, name: str) -> None:
    """Make one step that is not made yet, whose inputs are, with all processes or while the others wait."""
    folder, settings = study.plan.folder_of(name), study.plan.keys.settings(name)
    meet()  # what comes before is made
    made = folder.exists() and not artifacts.wrong(folder, settings)
    meet()  # all have seen that alike
    kept = getattr(Study, name)
    if made or rank() == 0:
        _ = None if made else getattr(study, name)
    elif kept.shared:
        kept.make(study, artifacts.unfinished(folder))
        meet()  # as the first does in `step`, before it takes away what others may be reading


if __name__ == "__main__":
    sys.exit(main())
