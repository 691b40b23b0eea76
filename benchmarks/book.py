"""Time by stage and peak memory of `make book`, from nothing and again when nothing changed.

    python benchmarks/book.py --profile mini --seed 0

Removes what that profile and seed made before, so that the first run starts from nothing; the environment
stays. With `--beside 1` another program keeps the first core busy meanwhile. Stages are told apart by
what the run reports. Memory is the sum over the processes that run at the same time, sampled twice a
second. Writes `artifacts/benchmarks/book.csv`.
"""

import argparse
import re
import shutil
import subprocess
import sys
import threading
import time

import pandas as pd
import psutil
import torch
from machine import busy, describe, write

from dpotox.places import OUTPUT, PROJECT
from dpotox.profile import load_profile


def run(profile: str, seed: int) -> dict[str, float]:
    """Seconds by stage and the peak in gigabytes of one run, with its report going to this terminal."""
    command = [sys.executable, "-m", "dpotox.run.book", "--profile", profile, "--seeds", str(seed)]
    begun = last = time.monotonic()
    process = subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, text=True)
    peaks = [0]
    watch = threading.Thread(target=sample, args=[psutil.Process(process.pid), peaks])
    watch.start()
    stages: dict[str, float] = {}
    for line in process.stderr:
        print(line, end="", file=sys.stderr, flush=True)
        now = time.monotonic()
        if ready := re.match(r"(.+): ready after", line):
            stages[ready[1]] = now - last
        elif line.startswith("profile "):
            stages["start"] = now - last
        elif line.startswith("building the pages"):
            stages["notebooks"] = now - last
        else:
            continue
        last = now
    if process.wait():
        sys.exit(process.returncode)
    watch.join()
    now = time.monotonic()
    return stages | {"pages": now - last, "whole": now - begun, "peak GB": max(peaks) / 1e9}


def sample(process: psutil.Process, peaks: list[int]) -> None:
    """Note the memory twice a second until the process ends."""
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        peaks.append(memory(process))
        time.sleep(0.5)


def memory(process: psutil.Process) -> int:
    """Resident memory of a process and all below it, in bytes."""
    total = 0
    try:
        for member in [process, *process.children(recursive=True)]:
            total += member.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="mini")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--beside", type=int, default=0, help="programs that keep a core busy meanwhile")
    arguments = parser.parse_args()
    name = load_profile(arguments.profile).name
    shutil.rmtree(OUTPUT / "artifacts" / name / f"seed{arguments.seed}", ignore_errors=True)
    shutil.rmtree(OUTPUT / "_build", ignore_errors=True)
    print(describe(torch.get_num_threads()))
    with busy(arguments.beside):
        labels = ("from nothing", "nothing changed")
        runs = {label: run(arguments.profile, arguments.seed) for label in labels}
    write(
        "book" + "_beside_another" * bool(arguments.beside),
        pd.DataFrame(runs).rename_axis("stage").reset_index(),
    )


if __name__ == "__main__":
    main()
