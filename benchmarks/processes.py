"""What reading and table 1 take in two processes that are started together, beside one, each with one thread.

    python benchmarks/processes.py --profile mini

The readings and table 1 of the models that `make book` made are made again, in one process and in two
(`dpotox.run.in_processes`), in folders of their own. Seconds are those that the two steps took by the clock,
without the start of Python, so run nothing beside it. The largest difference is taken over the means of all
neurons, and over the loss of every window in every row. Writes `artifacts/benchmarks/processes.csv`.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from machine import describe, write

from dpotox.run import artifacts
from dpotox.run.plan import Plan
from dpotox.run.study import Study, open_study

REMADE = ("readings", "table1")
MOST_TIME, FARTHEST = 0.6, 1e-5
"""Limits: two processes' time over one's, and the largest difference."""


def made_in(processes: int, study: Study, root: Path) -> Study:
    """The study with its readings and table 1 made again in so many processes."""
    folder = root / study.profile.name / f"seed{study.seed}"
    shutil.copytree(study.folder, folder, ignore=shutil.ignore_patterns(*REMADE, "notebooks"))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc_per_node", str(processes), "-m", "dpotox.run.in_processes"]
    command += ["--artifacts", str(root), "--profile", str(root / f"{study.profile.name}.toml")]
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return Study(Plan(study.profile, study.seed, folder))


def farthest(one: Study, two: Study) -> tuple[float, float]:
    """The largest difference between the neuron tables' means, and between losses in table 1."""
    means = [
        (r.base.activation, r.dpo.activation, r.dpo_on_base.activation) for r in (one.readings, two.readings)
    ]
    of_means = max((a - b).abs().max().item() for a, b in zip(*means, strict=True))
    of_rows = max(abs(one.table1[r].nll - two.table1[r].nll).max() for r in one.table1.rows["name"])
    return of_means, float(of_rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--profile", default="mini")
    study = open_study(parser.parse_args().profile)
    print(describe(1))
    with TemporaryDirectory() as root:
        studies, rows = {}, []
        for processes in (1, 2):
            place = Path(root) / str(processes)
            place.mkdir()
            text = f'extends = "{study.profile.name}"\n[compute]\nprocesses = 1\nthreads = {processes}\n'
            (place / f"{study.profile.name}.toml").write_text(text)
            there = studies[processes] = made_in(processes, study, place)
            seconds = {step: artifacts.made(there.folder / step)["seconds"] for step in REMADE}
            rows.append({"processes": processes} | seconds | {"both": sum(seconds.values())})
        of_means, of_rows = farthest(studies[1], studies[2])
    table = pd.DataFrame(rows)
    ratio = table["both"].iloc[1] / table["both"].iloc[0]
    write("processes", table)
    print(f"two processes take {ratio:.2f} of one's time (limit {MOST_TIME})")
    print(f"means differ by {of_means:.1e}, losses by {of_rows:.1e} at most (limit {FARTHEST})")
    sys.exit(ratio > MOST_TIME or max(of_means, of_rows) > FARTHEST)


if __name__ == "__main__":
    main()
