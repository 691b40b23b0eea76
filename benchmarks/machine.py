"""What benchmarks share: the machine by name, and where their tables go."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import torch

from dpotox.places import PROJECT

TABLES = PROJECT / "artifacts" / "benchmarks"


def describe(threads: int) -> str:
    """The machine, as far as the system tells it, and the versions that matter for time."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.split(": ")[1] for line in lines if line.startswith("model name")), "unknown")
    cores = f"{os.cpu_count()} cores, {threads} threads"
    return f"{model} ({platform.machine()}), {cores}, torch {torch.__version__}"


@contextmanager
def busy(programs: int = 1) -> Iterator[None]:
    """Other programs that keep a core busy each, the first core the first, while the context lasts."""
    loop = "import os, sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"
    some = [subprocess.Popen([sys.executable, "-c", loop, str(i % os.cpu_count())]) for i in range(programs)]
    try:
        yield
    finally:
        for one in some:
            one.kill()
            one.wait()


def write(name: str, table: pd.DataFrame) -> None:
    """Print a table and write it to `artifacts/benchmarks/`."""
    print(table.to_string(index=False, float_format="{:.3f}".format), flush=True)
    TABLES.mkdir(parents=True, exist_ok=True)
    table.to_csv(TABLES / f"{name}.csv", index=False, float_format="%.4g")
