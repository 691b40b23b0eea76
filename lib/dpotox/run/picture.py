"""The picture of the README, which is that of the front page, from the results of one study.

python -m dpotox.run.picture --profile mini --seed 0
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from dpotox.places import PROJECT
from dpotox.progress import note
from dpotox.results.folder import Results, open_results
from dpotox.run import artifacts
from dpotox.run.command import exit_status
from dpotox.show import figures

TARGET = PROJECT / "book" / "_static" / "result.svg"


def draw(results: Results, target: Path) -> None:
    """Write the picture on white, which reads on light and dark pages alike; equal results, equal bytes."""
    figures.use_style()
    figure = figures.overview(results.neurons, results.profile.interventions.figure_top)
    save = partial(figure.savefig, facecolor="white", dpi=240, metadata={"Date": None})
    artifacts.write_file(target, save)
    note(f"written: {target}")


def main() -> int:
    """The command line; needs the study's results. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Draw the picture of the README.")
    parser.add_argument("--profile", default="mini", help="name or path of a profile (default: mini)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    return exit_status(lambda: draw(open_results(arguments.profile, arguments.seed), TARGET))


if __name__ == "__main__":
    sys.exit(main())
