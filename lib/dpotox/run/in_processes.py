"""The steps of a study in several processes that were started together, on one or several machines.

    accelerate launch --multi_gpu --num_processes 2 --module dpotox.run.in_processes --profile gpt2-medium
    python -m torch.distributed.run --nproc_per_node 2 -m dpotox.run.in_processes      # on processors

All read the prompts, examine the rows of table 1 and train together; what cannot be divided the first makes,
and the others wait. They must see the same folder of artifacts. `make book` then goes on from the results.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

from dpotox import progress
from dpotox.errors import UserError
from dpotox.run import artifacts
from dpotox.run.command import exit_status
from dpotox.run.plan import open_plan
from dpotox.run.study import Study
from dpotox.run.together import hear, meet, rank, tell, told, world_size

PATIENCE = timedelta(days=7)
"""How long processes wait for the first, which may have much to make by itself."""
LAUNCHERS = ("RANK", "LOCAL_", "WORLD_", "GROUP_", "ROLE_", "MASTER_", "TORCHELASTIC_", "ACCELERATE_")
"""How variables begin by which launchers tell processes of each other."""


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

    if "WORLD_SIZE" not in os.environ:
        raise UserError(
            "this is one process alone; start several by torch.distributed.run, or on GPUs by accelerate "
            "launch --multi_gpu, or call make book"
        )
    plan = open_plan(arguments.profile, arguments.seed, arguments.artifacts)
    compute = plan.profile.compute
    if compute.device_map and world_size() > 1:
        raise UserError(
            "compute.device_map spreads a model over all GPUs, and each of several processes has but one; "
            "leave one of both out"
        )
    here = max(1, compute.threads // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
    compute = replace(compute, processes=1, threads=here)
    on_cpu = networks.device_of(compute).type == "cpu"
    if world_size() > 1:
        from accelerate import PartialState

        PartialState(cpu=on_cpu, timeout=PATIENCE)  # gives each process its GPU
    if rank() > 0:
        progress.silence()
    else:
        progress.note(f"{world_size()} processes share the work")
    if rank() == 0 and world_size() > 1 and "base_folder" in plan.steps:
        _pretrain_alone(arguments)
    study = Study(replace(plan, profile=replace(plan.profile, compute=compute)))
    for name in plan.steps:
        make_together(study, name)


def make_together(study: Study, name: str) -> None:
    """Make one step whose inputs are made, with all processes or while the others wait for the first."""
    kept, before = getattr(Study, name), told()
    meet()  # what comes before is made
    if rank() > 0:
        if kept.shared and hear():
            kept.make(study, artifacts.unfinished(study.plan.folder_of(name)))
            meet()  # as the first does in `step`, before it takes away what others may be reading
    else:
        _ = getattr(study, name)
        if kept.shared and told() == before:  # it was there
            tell(False)


def _pretrain_alone(arguments: argparse.Namespace) -> None:
    """Make the embedded model in a process of its own, as its trainer would wait for the others here."""
    study = f"open_study({arguments.profile!r}, {arguments.seed}, {arguments.artifacts!r})"
    code = f"from dpotox.run.study import open_study; {study}.base_folder"
    alone = {k: v for k, v in os.environ.items() if not k.startswith(LAUNCHERS)}
    if subprocess.run([sys.executable, "-c", code], env=alone, check=False).returncode:
        raise UserError("the embedded model was not made; what stands above says why")


if __name__ == "__main__":
    sys.exit(main())
