"""How a command ends: a user's mistake in a line without a traceback, and what an interruption leaves."""

from __future__ import annotations

from collections.abc import Callable

from dpotox.errors import UserError
from dpotox.progress import note


def exit_status(work: Callable[[], int | None]) -> int:
    """The exit status of a command's work: what it returns, 1 after a mistake, 130 if it was interrupted."""
    try:
        return work() or 0
    except UserError as error:
        note(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        note("interrupted; finished steps are kept, and the same command goes on from there")
        return 130
