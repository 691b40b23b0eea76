"""Which versions are asked for, locked and installed, and how newer ones are tried."""

from importlib.metadata import distributions, requires
from pathlib import Path

import pytest
import update
from conftest import ROOT
from packaging.requirements import Requirement
from update import canonical, pins

ASKED_FOR = [Requirement(line) for line in (ROOT / "requirements.txt").read_text().splitlines()]
LOCKED = pins((ROOT / "constraints.txt").read_text())


def test_the_environment_is_the_one_that_is_locked():
    there = {canonical(d.name): d.version.partition("+")[0] for d in distributions()}
    differing = {n: there[canonical(n)] for n, v in LOCKED.items() if there.get(canonical(n), v) != v}
    assert not differing, "remove .venv and run `make test`"


def test_what_is_asked_for_has_bounds_on_both_sides_and_the_locked_version_between():
    locked = {canonical(name): version for name, version in LOCKED.items()}
    for requirement in ASKED_FOR:
        kinds = {specifier.operator for specifier in requirement.specifier}
        assert kinds in ({">=", "<"}, {"=="}), requirement
        assert requirement.specifier.contains(locked[canonical(requirement.name)]), requirement


def test_everything_that_is_needed_is_locked():
    """But what one kind of machine alone needs, and what builds of torch for a GPU bring along."""
    needed, to_see = set(), [*ASKED_FOR]
    while to_see:
        requirement = to_see.pop()
        name, extras = canonical(requirement.name), ("", *requirement.extras)
        if (name, extras) in needed:
            continue
        needed.add((name, extras))
        for other in map(Requirement, (requires(name) or []) if name != "torch" else []):
            marker = other.marker
            if marker is None or (
                "platform" not in str(marker) and any(marker.evaluate({"extra": extra}) for extra in extras)
            ):
                to_see.append(other)
    assert len(needed) > len(ASKED_FOR) * 2
    assert not {name for name, _ in needed} - {canonical(name) for name in LOCKED}


def test_locked_versions_are_written_as_they_are_read():
    text = (ROOT / "constraints.txt").read_text()
    assert update.as_constraints(dict(reversed(LOCKED.items()))) == text
    assert pins("torch==2.0+cpu\n# nothing==1\n-e .\n") == {"torch": "2.0"}


NEWER = {**LOCKED, "tqdm": "999.1", "one_more": "1.0"}


@pytest.fixture
def tried(monkeypatch, tmp_path):
    """Tries versions in place of installed ones, where some tests fail; what is said, and what was run."""
    (tmp_path / "constraints.txt").write_text((ROOT / "constraints.txt").read_text())
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_contracts_some.py").touch()
    monkeypatch.setattr(update, "ROOT", tmp_path)

    def tried(versions: dict[str, str], failing: str = "nothing") -> tuple[str | None, list]:
        ran = []
        monkeypatch.setattr(update, "installed", lambda: versions)
        monkeypatch.setattr(update, "tested", lambda *args: ran.append(args) or failing not in args[0])
        return update.main(), ran

    return tried


def test_newer_versions_that_pass_are_written_beside_the_locked_ones(tried, tmp_path, capsys):
    problem, ran = tried(NEWER)
    assert problem is None
    assert ran == [("tests/test_contracts_some.py",), ("--deselect", update.LOCK_TEST)]
    assert pins((tmp_path / update.WRITTEN).read_text()) == NEWER
    assert pins((tmp_path / "constraints.txt").read_text()) == LOCKED
    said = capsys.readouterr().out
    assert f"one-more none -> 1.0\ntqdm {LOCKED['tqdm']} -> 999.1\n" in said
    assert f"cp {update.WRITTEN} constraints.txt" in said


@pytest.mark.parametrize(
    ("failing", "says", "runs"), [("contracts", "library", 1), ("deselect", "a test", 2)]
)
def test_newer_versions_that_fail_are_not_written(tried, tmp_path, failing, says, runs):
    problem, ran = tried(NEWER, failing)
    assert problem.startswith("error: ")
    assert says in problem
    assert len(ran) == runs
    assert not (tmp_path / update.WRITTEN).exists()


def test_where_nothing_is_newer_no_tests_run(tried, capsys):
    assert tried(LOCKED) == (None, [])
    assert "nothing is newer" in capsys.readouterr().out


def test_the_test_that_an_update_leaves_out_exists():
    file, name = update.LOCK_TEST.split("::")
    assert Path(file).name == Path(__file__).name
    assert callable(globals()[name])
