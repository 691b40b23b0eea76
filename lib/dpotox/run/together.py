"""Processes that a launcher, accelerate's or torch's, started together, and how they wait for each other."""

from __future__ import annotations

import os
from collections.abc import Callable

from dpotox import progress


def rank() -> int:
    """The number of this process among those that were started together."""
    return int(os.environ.get("RANK", 0))


def world_size() -> int:
    """How many processes were started together."""
    return int(os.environ.get("WORLD_SIZE", 1))


def meet() -> None:
    """Wait for all processes that were started together."""
    if world_size() > 1:
        from accelerate import PartialState  # slow to import

        PartialState().wait_for_everyone()


_told = 0


def tell(begins: bool) -> None:
    """As the first process, tell the others whether a step that is made together begins, or was there."""
    global _told
    _told += 1
    if world_size() > 1:
        from accelerate.utils import broadcast_object_list

        broadcast_object_list([begins])


def told() -> int:
    """How often the others have been told something."""
    return _told


def hear() -> bool:
    """As another process, wait for what the first tells."""
    from accelerate.utils import broadcast_object_list

    return broadcast_object_list([None])[0]


def by_first(make: Callable[[], float]) -> float:
    """A number that the first process makes, in all of those that were started together."""
    made = [make() if rank() == 0 else None]
    if world_size() > 1:
        from accelerate.utils import broadcast_object_list

        broadcast_object_list(made)
    return made[0]


def divide(make_part: Callable[[int], None], parts: int, label: str, unit: str) -> None:
    """Make those parts that fall to this process, all if it is alone, and go on when all are made."""
    meet()  # where the first has made the folder for them
    for number in progress.bar(range(rank(), parts, world_size()), label, unit):
        make_part(number)
    meet()
