"""The notebooks and the command line."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import papermill
import pytest
from conftest import ROOT, TINY

from dpotox.errors import UserError
from dpotox.profile import load_profile
from dpotox.results import pack
from dpotox.run import book


def run(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "dpotox.run.book", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.fixture
def artifacts(tmp_path, monkeypatch) -> Path:
    """Where the processes that a test starts keep what they make of the tiny profile: an empty place."""
    monkeypatch.setenv("DPOTOX_OUTPUT", str(tmp_path))
    return tmp_path / "artifacts" / "tiny"


def test_scripts_and_notebooks_are_in_step_and_hold_no_outputs():
    book.check_pairs()


def test_a_pair_out_of_step_is_noticed(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    for ending, name in ((".py", "reopen"), (".ipynb", "open_results")):
        source = ROOT / "notebooks" / f"index{ending}"
        text = source.read_text().replace("results = open_results", f"results = {name}")
        (tmp_path / "notebooks" / source.name).write_text(text)
    monkeypatch.setattr(book, "PROJECT", tmp_path)
    monkeypatch.setattr(book, "NOTEBOOKS", ["index"])
    with pytest.raises(UserError, match="make notebooks"):
        book.check_pairs()


def execute(name: str, folder: Path, source: Path = ROOT / "notebooks") -> list[dict]:
    """Run one notebook on the tiny profile as a user would; returns its outputs."""
    executed = folder / f"{name}.ipynb"
    papermill.execute_notebook(
        source / f"{name}.ipynb",
        executed,
        {"profile": TINY, "seed": 0},
        progress_bar=False,
        kernel_name="python3",
        cwd=folder,
    )
    cells = json.loads(executed.read_text())["cells"]
    return [output for cell in cells for output in cell.get("outputs", [])]


def test_a_notebook_runs_alone_on_the_results_and_makes_nothing(tmp_path, artifacts, study):
    shutil.copytree(study.results_folder, artifacts / "seed0" / "results")
    before = pack.digest(artifacts / "seed0" / "results")
    outputs = execute("05_four_groups", tmp_path)
    assert sum("image/svg+xml" in o.get("data", {}) for o in outputs) == 5
    assert [p.name for p in (artifacts / "seed0").iterdir()] == ["results"]
    assert pack.digest(artifacts / "seed0" / "results") == before


def test_a_job_of_the_slurm_example_runs_every_notebook_to_its_end(job):
    done, study = job
    assert done.returncode == 0, done.stderr
    for name in book.NOTEBOOKS:
        cells = json.loads((study.folder / "notebooks" / name / f"{name}.ipynb").read_text())["cells"]
        assert any(cell.get("outputs") for cell in cells), name
    results = {path.name for path in (study.folder / "results").iterdir()}
    assert results >= {"claims.json", "table1.csv", "neurons.parquet", "comparisons.csv"}


def test_one_seed_that_fails_is_named_and_the_others_are_shown(artifacts, job):
    shutil.copytree(job[1].folder.parent, artifacts)
    (artifacts / "seed7").write_text("not a folder")  # where that seed's results would go
    done = run("--profile", TINY, "--seeds", "0", "7", "--no-pages")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("error: seeds 7 failed")
    shown = artifacts / "seed0" / "notebooks" / "10_claims-of-2-seeds" / "10_claims.ipynb"
    assert "seed 7" in shown.read_text()


def test_what_is_made_by_hand_is_held_to_the_study_s_numbers(tmp_path, artifacts, study):
    shutil.copytree(study.folder, artifacts / "seed0")
    right = (ROOT / "notebooks" / "09_by_hand.ipynb").read_text()
    wrong = right.replace("drop = projections", "drop = 0.01 + projections")
    assert wrong != right
    (tmp_path / "wrong.ipynb").write_text(wrong)
    with pytest.raises(papermill.PapermillExecutionError, match="assert difference"):
        execute("wrong", tmp_path, tmp_path)


def test_a_profile_is_found_also_where_notebooks_leave_the_process_in_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["book", "--profile", "tests/tiny.toml"])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(book, "check_pairs", lambda: None)

    def make(profile, *_, **__):
        os.chdir(tmp_path)
        return load_profile(profile), []

    monkeypatch.setattr(book, "_make", make)
    monkeypatch.setattr(book, "build_pages", lambda made, _: book.OUTPUT / made.name)
    assert book.main() == 0


@pytest.mark.parametrize(
    ("profile", "said"),
    [("gpt5", "there is no profile or file 'gpt5'"), (TINY, f'make results PROFILE="{TINY}" SEED=0')],
)
def test_a_mistake_in_a_notebook_shows_one_line(tmp_path, artifacts, profile, said):
    executed = tmp_path / "executed.ipynb"
    with pytest.raises(papermill.PapermillExecutionError) as error:
        papermill.execute_notebook(
            ROOT / "notebooks" / "10_claims.ipynb",
            executed,
            {"profile": profile},
            progress_bar=False,
            kernel_name="python3",
        )
    assert error.value.traceback == ["error: " + error.value.evalue]
    assert said in error.value.evalue


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--profile", "gpt5"], "error: there is no profile or file 'gpt5'"),
        (["--seeds", "-1"], "error: the seed is -1"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line_and_a_status(arguments, message):
    done = run(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert len(done.stderr.strip().splitlines()) == 1


def test_inputs_are_looked_at_before_the_work():
    class Study:
        given = None

        @property
        def exam(self):
            raise UserError("no sentence")

    with pytest.raises(UserError, match="no sentence"):
        book.make_steps(Study(), {"table1"})


def test_an_interrupted_run_says_so_and_leaves_nothing_half_written(artifacts, study):
    shutil.copytree(study.folder / "base", artifacts / "seed0" / "base")
    command = [sys.executable, "-m", "dpotox.run.book", "--profile", TINY]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    for line in process.stderr:
        if line.startswith("making probe"):
            process.send_signal(signal.SIGINT)
            break
    rest = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "interrupted" in rest
    assert "Traceback" not in rest
    folders = [p for p in (artifacts / "seed0").iterdir() if p.is_dir() and p.name[0] != "."]
    assert folders
    assert all((p / "settings.json").is_file() for p in folders)


def test_chapters_are_in_the_table_of_contents():
    contents = (ROOT / "_toc.yml").read_text()
    for name in book.NOTEBOOKS:
        assert f"notebooks/{name}" in contents
