"""Parts of a step shared out between processes, each with its own models and its share of the threads.

Threads wait for each other after every product of small matrices, and where the machine is shared for long;
processes wait for nobody. What that gains is measured by `benchmarks/processes.py`.

Either this process starts the others, as many as `compute.processes` says, or all were started from outside,
by a launcher (`dpotox.run.in_processes`), on GPUs or machines; then each comes here by itself.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import wait
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from loky import BrokenProcessPool, as_completed, get_reusable_executor

from dpotox import progress
from dpotox.errors import UserError
from dpotox.inputs import networks
from dpotox.profile import Profile
from dpotox.run.together import divide, world_size

if TYPE_CHECKING:
    from dpotox.run.study import Study

Prepare = Callable[["Study"], Callable[[int], None]]
"""From a study to what makes one part of it, by number."""

IDLE = 60
"""Seconds that processes wait for more to be shared out before they end: each takes some to begin."""
_numbers = count()
"""Of what is shared out."""
_study: Study
_asked: int
_make_part: Callable[[int], None]
"""In a worker: of which study it makes parts, of which that is shared out, and with what."""


def share_out(study: Study, prepare: Prepare, parts: int, label: str, unit: str) -> None:
    """Make all parts, in `compute.processes` processes, or in this one if that is 1 or there is a GPU.

    Of processes that were started together each makes some, and goes on when all of them have.

    Args:
        prepare: a function of a module, or `functools.partial` of one, as it is sent to the processes.

    Raises:
        UserError: a part raised it, or a process was ended from outside.
    """
    processes = min(processes_of(study.profile), parts)
    if processes <= 1 or world_size() > 1:
        return divide(prepare(study), parts, label, unit)
    compute = study.profile.compute
    compute = replace(compute, processes=1, threads=max(1, compute.threads // processes))
    plan = replace(study.plan, profile=replace(study.profile, compute=compute))
    alike = replace(study, plan=plan)
    # Started anew, as threads and their locks do not survive a fork; by loky, as Python's own would run the
    # script that asked for this, say a notebook's, once more in each.
    pool = get_reusable_executor(processes, timeout=IDLE, initializer=_open, initargs=(os.getpid(), alike))
    asked = next(_numbers)
    waiting = [pool.submit(_make, asked, prepare, number) for number in range(parts)]
    try:
        for part in progress.bar(as_completed(waiting), label, unit, total=parts):
            part.result()
    except BrokenProcessPool:
        raise UserError(
            f"a process that made {label} was ended from outside, perhaps as memory ran out; rerun, or set "
            "compute.processes = 1; what is finished is kept"
        ) from None
    finally:
        for part in waiting:
            part.cancel()  # unless it is being made
        wait(waiting)


def processes_of(profile: Profile) -> int:
    """How many processes share parts out; one on a GPU, which is busy with one."""
    return profile.compute.processes if networks.device_of(profile.compute).type == "cpu" else 1


def _open(parent: int, study: Study) -> None:
    """Begin a worker."""
    global _study, _asked
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    threading.Thread(target=_end_with, args=[parent], daemon=True).start()
    progress.silence()
    _study, _asked = study, -1


def _make(asked: int, prepare: Prepare, number: int) -> None:
    global _asked, _make_part
    if asked != _asked:
        _make_part = prepare(_study)
        _asked = asked
    _make_part(number)


def _end_with(parent: int) -> None:
    """End this process when its parent is gone, killed perhaps, as nobody would fetch what it makes."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
