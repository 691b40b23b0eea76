import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dpotox.errors import UserError
from dpotox.run.artifacts import PARTS, keep, part, write_file
from dpotox.run.kept import Format
from dpotox.run.keys import file_identity


def writer(text: str):
    return lambda folder: (folder / "result.txt").write_text(text)


def writing_text(text: str, folder: Path) -> None:
    (folder / "text").write_text(text)


def reading_text(folder: Path) -> str:
    return (folder / "text").read_text()


def test_an_artifact_is_made_once_for_the_same_settings(tmp_path):
    folder = keep(tmp_path / "step", {"a": 1}, writer("first"))
    keep(folder, {"a": 1}, writer("second"))
    assert (folder / "result.txt").read_text() == "first"
    assert json.loads((folder / "settings.json").read_text()) == {"a": 1}


def test_changed_settings_make_it_anew_and_leave_nothing_else(tmp_path):
    folder = keep(tmp_path / "step", {"a": 1}, writer("first"))
    keep(folder, {"a": 2}, writer("second"))
    assert (folder / "result.txt").read_text() == "second"
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == ["step"]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_a_failure_halfway_leaves_no_artifact_and_keeps_the_old_one(tmp_path, failure):
    def fail(folder):
        (folder / "result.txt").write_text("half")
        raise failure

    with pytest.raises(failure):
        keep(tmp_path / "step", {"a": 1}, fail)
    assert not (tmp_path / "step").exists()
    keep(tmp_path / "step", {"a": 1}, writer("whole"))
    with pytest.raises(failure):
        keep(tmp_path / "step", {"a": 2}, fail)
    assert (tmp_path / "step" / "result.txt").read_text() == "whole"


def test_what_an_interrupted_run_finished_is_gone_on_with_and_removed_at_the_end(tmp_path):
    kept, done = Format(writing_text, reading_text), []

    def make(folder, fail):
        found = []
        for name in ("one", "two"):
            found.append(part(folder / PARTS / name, kept, lambda name=name: done.append(name) or name))
            if fail:
                raise KeyboardInterrupt
        (folder / "whole").write_text(" ".join(found))

    with pytest.raises(KeyboardInterrupt):
        keep(tmp_path / "step", {"a": 1}, lambda folder: make(folder, True))
    folder = keep(tmp_path / "step", {"a": 1}, lambda folder: make(folder, False))
    assert done == ["one", "two"]
    assert (folder / "whole").read_text() == "one two"
    assert {p.name for p in folder.iterdir()} == {"whole", "settings.json", "made.json"}


def test_a_part_that_was_cut_off_is_not_used(tmp_path):
    def cut_off(value, folder):
        writing_text(value, folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        part(tmp_path / "parts" / "one", Format(cut_off, reading_text), lambda: "half")
    assert part(tmp_path / "parts" / "one", Format(writing_text, reading_text), lambda: "whole") == "whole"


def test_what_was_begun_with_other_settings_is_thrown_away(tmp_path):
    def fail(folder):
        (folder / "old").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keep(tmp_path / "step", {"a": 1}, fail)
    folder = keep(tmp_path / "step", {"a": 2}, writer("new"))
    assert not (folder / "old").exists()


def test_what_was_whole_but_not_yet_in_its_place_is_not_made_again(tmp_path, monkeypatch):
    keep(tmp_path / "step", {"a": 1}, writer("old"))

    def killed(self, target):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(type(tmp_path), "rename", killed)
        keep(tmp_path / "step", {"a": 2}, writer("new"))
    folder = keep(tmp_path / "step", {"a": 2}, writer("newer"))
    assert (folder / "result.txt").read_text() == "new"
    assert {p.name for p in folder.iterdir()} == {"result.txt", "settings.json", "made.json"}


def test_an_artifact_with_damaged_settings_is_made_anew(tmp_path):
    folder = keep(tmp_path / "step", {"a": 1}, writer("first"))
    (folder / "settings.json").write_text("{")
    keep(folder, {"a": 1}, writer("second"))
    assert (folder / "result.txt").read_text() == "second"


@pytest.mark.parametrize(
    ("now", "named"),
    [
        ({"profile": {"dpo": {"beta": 0.2, "steps": 9}}, "seed": 0}, "profile dpo beta"),
        ({"profile": {"dpo": {"beta": 0.1, "steps": 9, "new": 1}}, "seed": 0}, "profile dpo new"),
        ({"profile": {"dpo": {"beta": 0.1}}, "seed": 0}, "profile dpo steps"),
        ({"profile": {"dpo": {"beta": 0.1, "steps": 9}}, "seed": 1}, "seed"),
        ({"profile": [], "seed": 0}, "profile"),
    ],
)
def test_what_an_artifact_was_made_with_is_named_where_it_differs(tmp_path, capsys, now, named):
    before = {"profile": {"dpo": {"beta": 0.1, "steps": 9}}, "seed": 0}
    keep(tmp_path / "step", before, writer("first"))
    keep(tmp_path / "step", now, writer("second"))
    assert f"making step again: it was made with another {named}\n" in capsys.readouterr().err
    assert (tmp_path / "step" / "result.txt").read_text() == "second"


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("hurt", [truncate, flip_a_bit, lambda path: path.unlink()])
def test_a_damaged_artifact_is_named_and_made_again(tmp_path, capsys, hurt):
    folder = keep(tmp_path / "step", {"a": 1}, writer("first"))
    hurt(folder / "result.txt")
    keep(folder, {"a": 1}, writer("second"))
    assert (folder / "result.txt").read_text() == "second"
    assert "making step again: result.txt" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "[]", "{}"])
def test_an_artifact_that_cannot_say_what_it_holds_is_made_again(tmp_path, capsys, content):
    folder = keep(tmp_path / "step", {"a": 1}, writer("first"))
    (folder / "made.json").write_text(content)
    keep(folder, {"a": 1}, writer("second"))
    assert (folder / "result.txt").read_text() == "second"
    assert "made.json cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk is full"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "disk is full"),
        (
            RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 92928 vs 92816"),
            "disk is full",
        ),
        (torch.OutOfMemoryError("CUDA out of memory"), "not enough memory"),
        (PermissionError(errno.EACCES, "Permission denied"), "permissions"),
    ],
)
def test_what_the_disk_refuses_is_one_line(tmp_path, error, message):
    def refuse(_):
        raise error

    with pytest.raises(UserError, match=message):
        keep(tmp_path / "step", {}, refuse)
    with pytest.raises(UserError, match=message):
        write_file(tmp_path / "file.txt", refuse)
    assert [p for p in tmp_path.iterdir() if not p.name.startswith(".step")] == []


def test_a_result_file_is_replaced_whole(tmp_path):
    path = tmp_path / "results" / "table.csv"
    write_file(path, lambda p: p.write_text("old"))
    write_file(path, lambda p: p.write_text("new"))
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_a_files_identity_is_its_content(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("same")
    two.write_text("same")
    assert file_identity(str(one)) == file_identity(str(two))
    two.write_text("other")
    assert file_identity(str(one)) != file_identity(str(two))
    assert file_identity("openai-community/gpt2") == "openai-community/gpt2"


TWO_AT_ONCE = """
import sys, time
from pathlib import Path
from dpotox.run.artifacts import keep

folder, go = Path(sys.argv[1]), Path(sys.argv[2])

def make(unfinished):
    with (folder.parent / "log").open("a") as log:
        log.write("made ")
    (unfinished / "result.txt").write_text("half")
    time.sleep(0.5)
    (unfinished / "result.txt").write_text("whole")

print("ready", flush=True)
while not go.exists():
    time.sleep(0.01)
print((keep(folder, {"a": 1}, make) / "result.txt").read_text())
"""


def test_two_runs_at_once_make_an_artifact_once_and_both_read_it_whole(tmp_path):
    command = [sys.executable, "-c", TWO_AT_ONCE, tmp_path / "step", tmp_path / "go"]
    two = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in two:
        assert process.stdout.readline() == "ready\n"
    (tmp_path / "go").touch()
    assert [process.communicate()[0] for process in two] == ["whole\n", "whole\n"]
    assert (tmp_path / "log").read_text() == "made "
