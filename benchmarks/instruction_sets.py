"""How far the claims on the embedded model hang on the processor: the same seeds under two instruction sets.

    python benchmarks/instruction_sets.py --seeds 0 1 2

Makes the study of `mini` for every seed twice, with all that the processor can do and with AVX2 at most, in
float32 both times. Only rounding differs, and what training makes of it. Writes
`artifacts/benchmarks/instruction_sets.csv`, every claim in each run, and `instruction_sets_summary.csv`: how
far runs differ that differ in the set alone, or in the seed alone.
"""

import argparse
import os
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pandas as pd
from machine import TABLES, write

from dpotox.run.study import open_study

AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
SETS = {"all that it has": {}, "AVX2": AVX2}


def start(seed: int, name: str, folder: Path) -> subprocess.Popen:
    """A process that makes the claims of a seed; it says which instructions torch uses."""
    command = [sys.executable, __file__, "--seeds", str(seed), "--one", str(folder)]
    environment = {k: v for k, v in os.environ.items() if k not in AVX2} | SETS[name]
    return subprocess.Popen(command, env=environment)


Run = tuple[int, str]  # a seed and a set


def difference(one: pd.DataFrame, other: pd.DataFrame) -> dict[str, float | str]:
    """How far the claims of two runs differ: verdicts, and values in half-widths of their intervals."""
    verdicts = one["verdict"] + other["verdict"]
    half = ((one["high"] - one["low"]) + (other["high"] - other["low"])) / 4
    apart = ((one["here"] - other["here"]).abs() / half.where(half > 0)).dropna()
    turned = verdicts.isin(["holdsdoes not hold", "does not holdholds"])
    return {
        "verdicts that differ": int((one["verdict"] != other["verdict"]).sum()),
        "holds against does not hold": int(turned.sum()),
        "median difference, half-widths": apart.median(),
        "largest": apart.max(),
    }


def summary(claims: dict[Run, pd.DataFrame], seeds: list[int]) -> pd.DataFrame:
    """A row per pair of runs that differ in the set alone, then in the seed alone."""
    pairs = {f"seed {seed}, either set": [(seed, name) for name in SETS] for seed in seeds}
    for one, other in combinations(seeds, 2):
        pairs |= {f"seeds {one} and {other}, {name}": [(one, name), (other, name)] for name in SETS}
    return pd.DataFrame(
        [{"runs": name} | difference(*(claims[run] for run in pair)) for name, pair in pairs.items()]
    )


def side_by_side(claims: dict[Run, pd.DataFrame]) -> pd.DataFrame:
    """Every claim's verdict and value in each run."""
    marks = {"holds": "✓", "does not hold": "✗", "inconclusive": "?"}
    columns = {
        f"{seed}, {name}": run["verdict"].map(marks) + " " + run["here"].map("{:.3g}".format)
        for (seed, name), run in claims.items()
    }
    return pd.DataFrame(columns).rename_axis("claim").reset_index()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        import torch

        print(f"seed {arguments.seeds[0]}: {torch.backends.cpu.get_cpu_capability()}", flush=True)
        _ = open_study("mini", arguments.seeds[0], arguments.one).results_folder
        return 0
    folders = {name: TABLES / f"instructions-{name.replace(' ', '-')}" for name in SETS}
    for seed in arguments.seeds:
        running = [start(seed, *some) for some in folders.items()]  # side by side, on a thread's worth each
        if sum([process.wait() for process in running]):
            return 1
    claims = {}
    for seed in arguments.seeds:
        for name, folder in folders.items():
            found = pd.read_json(folder / "mini" / f"seed{seed}" / "results" / "claims.json")
            claims[seed, name] = found.set_index("id")
    write("instruction_sets", side_by_side(claims))
    write("instruction_sets_summary", summary(claims, arguments.seeds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
