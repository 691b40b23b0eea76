"""The ladder: small models of different shapes, each a study that leaves a small pack.

python -m dpotox.run.ladder                               # all that is not there yet, rung by rung
python -m dpotox.run.ladder --rung width-64 --seeds 1     # one job, for a scheduler
python -m dpotox.run.ladder --list                        # every rung, and what of it is there

What the rungs are stands in `dpotox/results/ladder.toml`; what came out, in the chapter 'Does size matter?'.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from dpotox.errors import UserError
from dpotox.places import OUTPUT, PROJECT
from dpotox.progress import note
from dpotox.results import pack
from dpotox.results.folder import open_results
from dpotox.results.ladder import NAMES, SEEDS, Rung, pack_name, rung_named, settings
from dpotox.run import seeds
from dpotox.run.artifacts import disk_errors
from dpotox.run.command import exit_status

PACKS, ARTIFACTS = PROJECT / "book" / "packs" / "ladder", OUTPUT / "artifacts"
PROFILES = ARTIFACTS / "ladder"


def profile_of(rung: Rung) -> str:
    """The profile of a rung as TOML."""
    title = (
        f"the ladder: {rung.width} wide, {rung.neurons:,} neurons in {rung.layers} layers, {rung.language}, "
        f"DPO at {rung.strength:g} times the rate"
    )
    lines = ["# Written by dpotox.run.ladder.", 'extends = "mini"']
    lines += [f'title = "{title}{"" if rung.trained else ", not trained"}"']
    for section, values in settings(rung).items():
        lines += ["", f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    return "\n".join(lines) + "\n"


def write_profile(rung: Rung, folder: Path = PROFILES) -> Path:
    """Write the profile of a rung, unless it lies there as it is."""
    path, text = folder / f"ladder-{NAMES[rung]}.toml", profile_of(rung)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    return path


def climb(rungs: list[Rung], some: list[int], folder: Path = PACKS) -> list[str]:
    """Run all that is not there yet; returns the names of the runs that failed."""
    failed = []
    for rung in rungs:
        for seed in some:
            path = folder / pack_name(rung, seed)
            if path.is_file():
                note(f"{path.name}: there already")
            elif not _run(rung, seed, path):
                failed.append(f"{NAMES[rung]} seed {seed}")
    return failed


def _run(rung: Rung, seed: int, path: Path) -> bool:
    """Run one study up to its results, and pack them; whether that worked."""
    note(f"rung {NAMES[rung]}")
    profile = str(write_profile(rung))
    with disk_errors(ARTIFACTS):
        take_over(rung, seed)
    if seeds.run_jobs(profile, [seed], "--results"):
        return False
    try:
        pack.write(open_results(profile, seed), path, small=True)
    except UserError as error:
        note(f"error: {error}")
        return False
    note(f"written: {path}")
    return True


def take_over(rung: Rung, seed: int, artifacts: Path = ARTIFACTS) -> None:
    """Begin with what the same model has left under DPO of strength 1, if it was run.

    All steps before DPO are the same; those that differ are made anew, as always.
    """
    model = replace(rung, strength=1)
    if model not in NAMES:
        return
    begun, own = (artifacts / f"ladder-{NAMES[one]}" / f"seed{seed}" for one in (model, rung))
    if begun.is_dir() and not own.exists():
        shutil.copytree(begun, own)


def listed(folder: Path = PACKS) -> list[str]:
    """A line for every rung: its name, and which seeds of it are there."""
    lines = []
    for rung, name in NAMES.items():
        there = [str(seed) for seed in SEEDS if (folder / pack_name(rung, seed)).is_file()]
        lines.append(f"{name}: {'seeds ' + ', '.join(there) if there else 'nothing'} there")
    return lines


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Run models of different shapes, one dimension at a time.")
    parser.add_argument("--rung", nargs="+", default=list(NAMES.values()), help="by name (default: all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), help="default: 0 1 2")
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(listed()))
        return 0
    return exit_status(lambda: _climb(arguments))


def _climb(arguments: argparse.Namespace) -> int:
    rungs = dict.fromkeys(map(rung_named, arguments.rung))
    failed = climb(list(rungs), list(dict.fromkeys(arguments.seeds)))
    if failed:
        note(f"error: {', '.join(failed)} failed, as said above; the same command tries them again")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
