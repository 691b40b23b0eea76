"""What a log is told while something takes long."""

import sys
import time

import pytest

from dpotox import progress


@pytest.fixture
def said(monkeypatch) -> list[str]:
    """The lines of a log that is told every tenth of a second."""
    lines: list[str] = []

    class Log:
        isatty = staticmethod(lambda: False)

    monkeypatch.setattr(progress, "EVERY", 0.1)
    monkeypatch.setattr(progress, "note", lambda text: (lines.append(text), again())[0])
    monkeypatch.setattr(sys, "stderr", Log())

    def again() -> None:
        progress._Logged.said = time.monotonic()

    again()
    monkeypatch.setattr(progress._Logged, "running", [])
    # The thread of an earlier bar may sleep for half a minute yet.
    monkeypatch.setattr(progress._Logged, "thread", None)
    return lines


def wait(lines: list[str], text: str) -> bool:
    """Whether a line comes within ten seconds."""
    until = time.monotonic() + 10
    while time.monotonic() < until and not any(text in line for line in lines):
        time.sleep(0.01)
    return any(text in line for line in lines)


def test_a_log_is_told_what_is_done_of_how_many_and_the_time_left(said):
    for number in progress.bar(range(3), "rows", "row"):
        time.sleep(0.2)
        if number == 1:
            assert wait(said, "rows: 1 of 3 row, 0:00:0")


def test_a_turn_that_takes_long_is_told_too_and_what_it_is_part_of(said):
    for _ in progress.bar(range(1), "steps", "step"):
        for _ in progress.bar(range(1), "table 1", "row"):
            assert wait(said, "steps: 0 of 1 step; table 1: 0 of 1 row")


def test_nothing_is_told_when_nothing_runs(said):
    list(progress.bar(range(3), "rows"))
    said.clear()
    time.sleep(0.5)
    assert not said
    assert not progress._Logged.running


def test_one_of_several_processes_tells_for_all(said, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    for _ in progress.bar(range(1), "rows"):
        time.sleep(0.4)
    assert not said
