"""Time and peak memory of `make book`, from nothing and again when nothing changed.

    python benchmarks/book.py --profile mini --seed 0

Removes what that profile and seed made before, so that the first run starts from nothing; the
environment stays. Memory is the sum over the processes that run at the same time, sampled twice a second.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import time

import psutil

from dpotox.profile import load_profile
from dpotox.study import PROJECT


def run(profile: str, seed: int) -> tuple[float, float]:
    """Seconds and peak gigabytes of one run, with its report going to this terminal."""
    command = [sys.executable, "-m", "dpotox.book", "--profile", profile, "--seeds", str(seed)]
    began, peak = time.monotonic(), 0
    process = subprocess.Popen(command, cwd=PROJECT)
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        peak = max(peak, memory(watched))
        time.sleep(0.5)
    if process.returncode:
        sys.exit(process.returncode)
    return time.monotonic() - began, peak / 1e9


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
    arguments = parser.parse_args()
    name = load_profile(arguments.profile).name
    shutil.rmtree(PROJECT / "artifacts" / name / f"seed{arguments.seed}", ignore_errors=True)
    shutil.rmtree(PROJECT / "_build", ignore_errors=True)
    print(f"{platform.machine()}, {os.cpu_count()} cores")
    for label in ("from nothing", "nothing changed"):
        seconds, gigabytes = run(arguments.profile, arguments.seed)
        print(f"{label}: {seconds:.0f} s, peak {gigabytes:.2f} GB")


if __name__ == "__main__":
    main()
