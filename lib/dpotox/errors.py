"""The one error a user can mend: what happened, why, and the way out, in a single line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_BROKEN_OFF = {"ReadError", "ReadTimeout", "RemoteProtocolError", "IncompleteRead"}
"""What the hub's client calls a download that stops halfway."""


class UserError(Exception):
    """A mistake in a setting, a file or the surroundings, or several; shown without a traceback.

    The command line (`python -m dpotox.run.book`) prints it and exits with status 1. In a notebook IPython
    calls `_render_traceback_`, so that papermill's report and the page show the line alone too.
    """

    def __str__(self) -> str:
        return "\nerror: ".join(map(str, self.args))

    def _render_traceback_(self) -> list[str]:
        return [f"error: {self}"]


def first_line(error: BaseException) -> str:
    """What another library's error says, in one line of at most 200 characters; if nothing, its kind."""
    return (_lines(error) or [type(error).__name__])[0][:200]


def hub_reason(error: BaseException) -> str:
    """Why something could not be had from the hub, in one line, where it is known with the way out."""
    if type(error).__name__ == "DatasetGenerationError" and error.__cause__:  # which says no more itself
        error = error.__cause__
    # The client's own errors begin with "404 Client Error", and say only below what was not found.
    telling = [line for line in _lines(error) if not re.match(r"\d{3} \w+ Error", line)]
    said = telling[0][:200] if telling else first_line(error)
    if re.search(r"\bgated\b", said):
        return f"{said} Accept its terms on its page there, log in with `hf auth login` and rerun"
    cause: BaseException | None = error
    while cause is not None:  # it may be wrapped in an error that only guesses at the reason
        if type(cause).__name__ in _BROKEN_OFF:
            return "the download broke off; rerun, nothing half is kept"
        cause = cause.__cause__ or cause.__context__
    return said


@contextmanager
def refused(what: str, way_out: str, reason: Callable[[BaseException], str] = hub_reason) -> Iterator[None]:
    """Within it, whatever another library raises becomes one line: `what (reason); way_out`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # the hub's client and damaged files raise many kinds
        raise UserError(f"{what} ({reason(error)}); {way_out}") from None


def _lines(error: BaseException) -> list[str]:
    return [line.strip() for line in str(error).splitlines() if line.strip()]
