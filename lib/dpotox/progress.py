"""Progress on stderr: bars in a terminal; in a log or a notebook a line every half minute."""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from datetime import timedelta
from typing import ClassVar

from tqdm import tqdm

if not sys.stderr.isatty():  # libraries' own bars would fill a log
    os.environ.setdefault("TQDM_DISABLE", "1")


_silent = False
EVERY = 30.0
"""Seconds after which a log is told how far things are."""


def bar(iterable, label: str, unit: str = "it", total: int | None = None):
    """A progress bar over an iterable, gone when it is done; in a log, lines instead (`_Logged`)."""
    hidden = _silent or os.environ.get("RANK", "0") != "0"  # one of several processes shows it for all
    shown = {"desc": label, "unit": unit, "total": total, "leave": False, "disable": hidden}
    if sys.stderr.isatty():
        return tqdm(iterable, file=sys.stderr, **shown)
    return _Logged(iterable, file=io.StringIO(), **shown)


def silence() -> None:
    """Show no bars in this process: another shows them."""
    global _silent
    _silent = True


def note(text: str) -> None:
    """A line about what is going on."""
    _Logged.said = time.monotonic()
    print(text, file=sys.stderr, flush=True)


class _Logged(tqdm):
    """A bar in a log. A thread says how far all of them are, as one turn may take longer than `EVERY`."""

    running: ClassVar[list[_Logged]] = []  # of all bars, the outermost first
    said = 0.0
    thread: threading.Thread | None = None

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if self.disable:
            return
        _Logged.running = [*self.running, self]
        if _Logged.thread is None:
            _Logged.said = time.monotonic()
            _Logged.thread = threading.Thread(target=_say_regularly, daemon=True)
            _Logged.thread.start()

    def close(self) -> None:
        _Logged.running = [some for some in self.running if some is not self]
        super().close()

    def done(self) -> str:
        """What is done of how many."""
        return f"{self.desc.rstrip(': ')}: {self.n:,} of {self.total or '?'} {self.unit}"

    def left(self) -> str:
        """The time left, if what is done is as long as what is not."""
        if not (self.n and self.total):
            return ""
        seconds = (self.total - self.n) * (time.time() - self.start_t) / self.n
        return f", {timedelta(seconds=round(seconds))} left"


def _say_regularly() -> None:
    while True:
        time.sleep(max(0.1, _Logged.said + EVERY - time.monotonic()))
        bars = list(_Logged.running)
        if bars and time.monotonic() >= _Logged.said + EVERY:
            note("; ".join(some.done() for some in bars) + bars[-1].left())
        elif not bars:
            _Logged.said = time.monotonic()
