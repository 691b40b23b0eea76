"""The picture of the README: what each group of neurons contributes, from the results of one study.

python -m dpotox.picture --profile mini --seed 0
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import matplotlib.pyplot as plt

from dpotox import artifacts, figures
from dpotox.errors import UserError
from dpotox.progress import note
from dpotox.study import PROJECT, Study, open_study

TARGET = PROJECT / "book" / "_static" / "result.svg"


def draw(study: Study, target: Path) -> None:
    """Write the picture as SVG, on white so that it reads on light and dark pages alike.

    The same results give the same bytes: no date, and no random names inside.
    """
    figures.use_style()
    with plt.rc_context({"svg.hashsalt": "dpotox"}):
        figure = figures.group_shares(study.neurons)
        artifacts.write_file(
            target,
            lambda path: figure.savefig(path, format="svg", facecolor="white", metadata={"Date": None}),
        )


def main() -> int:
    """The command line; makes what is missing of the study first. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Draw the picture of the README.")
    parser.add_argument("--profile", default="mini", help="name or path of a profile (default: mini)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    try:
        draw(open_study(arguments.profile, arguments.seed), TARGET)
    except UserError as error:
        note(f"error: {error}")
        return 1
    note(f"written: {TARGET.relative_to(PROJECT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
