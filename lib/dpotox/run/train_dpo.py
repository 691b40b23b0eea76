"""The DPO step by itself, to be started in several processes, on one or several machines.

    python -m dpotox.run.train_dpo --profile gpt2-medium --prepare
    accelerate launch --num_processes 2 --module dpotox.run.train_dpo --profile gpt2-medium

The first makes everything up to the pairs, the second trains. Several machines must share the folder of
artifacts. `make book` then goes on from the result.
"""

from __future__ import annotations

import argparse
import sys

from dpotox.run import training
from dpotox.run.command import exit_status
from dpotox.run.study import open_study


def main() -> int:
    """The command line: train the model of one profile and seed; returns the exit status."""
    parser = argparse.ArgumentParser(description="Train the model of a profile by DPO.")
    parser.add_argument("--profile", default="mini", help="name or path of a profile (default: mini)")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--prepare", action="store_true", help="only make what comes before the training")
    parser.add_argument("--artifacts", default="", help="where everything made is kept")
    arguments = parser.parse_args()
    return exit_status(lambda: _train(arguments))


def _train(arguments: argparse.Namespace) -> None:
    study = open_study(arguments.profile, arguments.seed, arguments.artifacts)
    _ = study.pairs if arguments.prepare else training.join(study)


if __name__ == "__main__":
    sys.exit(main())
