"""The results of one study as a pack, a file to give to others.

python -m dpotox.run.pack --profile mini --seed 0
python -m dpotox.run.pack --profile mini --seed 3 --small --to book/packs/mini-seed3.zip
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dpotox.progress import note
from dpotox.results import pack
from dpotox.results.folder import ENDING, open_results
from dpotox.run.command import exit_status


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Put the results of one study into one file.")
    parser.add_argument("--profile", default="mini", help="name or path of a profile (default: mini)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--to", type=Path, help="the file to write (default: beside the results)")
    parser.add_argument(
        "--small", action="store_true", help="only what judging and comparing need: no book can be made of it"
    )
    arguments = parser.parse_args()
    return exit_status(lambda: _write(arguments))


def _write(arguments: argparse.Namespace) -> None:
    results = open_results(arguments.profile, arguments.seed)
    name = f"{results.profile.name}-seed{results.seed}{'-small' if arguments.small else ''}{ENDING}"
    path = pack.write(results, arguments.to or results.folder.parent / name, arguments.small)
    note(f"written: {path}, {path.stat().st_size / 1e3:,.0f} kB")


if __name__ == "__main__":
    sys.exit(main())
