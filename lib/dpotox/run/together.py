"""Processes that were started together by `accelerate launch`, and how they wait for each other."""

from __future__ import annotations

import os
from collections.abc import Callable

from dpotox import progress


def rank() -> int:
    """The number of this process among those that were started together."""
    return int(os.environ.get("RANK", 0))


def world_size() -> int:
    """How many processes were started together, by `accelerate launch`."""
    return int(os.environ.get("WORLD_SIZE", 1))


def meet() -> None:
    """Wait for all processes that were started together."""
    if world_size() > 1:
        from accelerate import PartialState  # slow to import

        PartialState().wait_for_everyone()


def divide(make_part: Callable[[int], None], parts: int, label: str, unit: str) -> None:
    """Make those parts that fall to this process, all if it is alone, and go on when all are made."""
    meet()  # where the first has made the folder for them
    for number in progress.bar(range(rank(), parts, world_size()), label, unit):
        make_part(number)
    meet()
