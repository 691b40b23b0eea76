"""From a profile to the rendered book: make every step, execute the notebooks, build the pages.

python -m dpotox.run.book --profile mini --seeds 0
"""

from __future__ import annotations

import argparse
import logging
import shutil
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event

import papermill
from jupytext import read as read_notebook
from papermill.exceptions import PapermillExecutionError

from dpotox.errors import UserError
from dpotox.profile import Profile
from dpotox.progress import bar, note
from dpotox.run import artifacts, seeds
from dpotox.run.keys import file_identity
from dpotox.run.pages import TABLES, build_pages
from dpotox.run.step import folder_of
from dpotox.run.study import OUTPUT, PROJECT, Study, open_study
from dpotox.show import passages

NOTEBOOKS = sorted(TABLES)
"""In order of execution: by their numbers, and then the index."""
ACROSS_SEEDS = ("10_claims", "index")
"""Those that show the claims of several seeds."""
AT_ONCE = 2
"""Notebooks executed at a time: much of a short one is the start of its kernel."""
LONG = {"base", "pairs", "dpo", "readings", "nulls", "table1"}
"""The steps before which inputs are looked up and the time is estimated."""

_interrupted = Event()


def _interrupt(*_) -> None:
    """Ctrl-C. A callback of a library may swallow the exception; the flag stops the next step then."""
    _interrupted.set()
    raise KeyboardInterrupt


def _go_on() -> None:
    if _interrupted.is_set():
        raise KeyboardInterrupt


def make_steps(study: Study, missing: set[str]) -> None:
    """Make what is missing of every step, in this process, so that its progress is seen.

    What is wrong with an input is said before the work, if there is any.
    """
    if missing:
        _ = study.base, study.exam, study.second_score
    for step in bar(study.steps, "steps", "made"):
        _go_on()
        began = time.monotonic()
        getattr(study, step)
        if folder_of(study, step).name in missing:
            note(f"{folder_of(study, step).name}: ready after {time.monotonic() - began:.0f} s")
    study.save_results()


def execute_notebooks(study: Study, profile: str, among: list[int]) -> list[Path]:
    """Execute the notebooks whose text, profile, seed or library changed; returns the executed copies.

    Cells that are not about the profile are left out (`dpotox.show.passages`).

    Args:
        among: the seeds whose claims `ACROSS_SEEDS` show together.

    Raises:
        UserError: a notebook failed; the message says where its partly executed copy is.
    """
    holds = passages.facts(study.profile)

    def execute(name: str) -> Path:
        _go_on()
        source = PROJECT / "notebooks" / f"{name}.ipynb"
        script = source.with_suffix(".py").read_text(encoding="utf-8")
        settings = study.keys.of_script(script) | {"holds": holds}
        parameters = {"profile": profile, "seed": study.seed}
        kept = study.folder / "notebooks" / name
        if name in ACROSS_SEEDS and len(among) > 1:
            parameters["seeds"] = among
            settings["seeds"] = {seed: file_identity(str(seeds.outcome(study, seed))) for seed in among}
            kept = kept.with_name(f"{name}-of-{len(among)}-seeds")
        make = partial(_execute, study.profile, source, parameters=parameters)
        return artifacts.keep(kept, settings, make) / f"{name}.ipynb"

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(bar(pool.map(execute, NOTEBOOKS), "notebooks", "notebook", total=len(NOTEBOOKS)))


def _execute(profile: Profile, source: Path, folder: Path, parameters: dict) -> None:
    target = folder / source.name
    notebook = passages.of_study(read_notebook(source), profile)
    logging.getLogger("papermill").setLevel(logging.ERROR)
    try:
        papermill.execute_notebook(
            notebook, target, parameters, progress_bar=False, kernel_name="python3", cwd=source.parent
        )
    except PapermillExecutionError as error:
        failed = OUTPUT / "_build" / f"failed-{source.name}"
        failed.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(target, failed)
        raise UserError(
            f"notebook {source.name} failed in cell {error.exec_count}: {error.ename}: {error.evalue}; "
            f"its output so far is in {failed.relative_to(OUTPUT)}"
        ) from None


def check_pairs() -> None:
    """See that every committed .ipynb is what its .py makes, and holds no outputs.

    Raises:
        UserError: a pair is out of step, or a notebook has outputs.
    """
    for name in NOTEBOOKS:
        script, notebook = (read_notebook(PROJECT / "notebooks" / f"{name}{e}") for e in (".py", ".ipynb"))
        cells = [
            [(c.cell_type, c.source, c.metadata.get("tags", [])) for c in n.cells] for n in (script, notebook)
        ]
        if cells[0] != cells[1]:
            raise UserError(f"notebooks/{name}.py and .ipynb differ; run `make notebooks` after an edit")
        if any(c.get("outputs") for c in notebook.cells):
            raise UserError(f"notebooks/{name}.ipynb has outputs; run `make notebooks`, then commit")


def main() -> int:
    """The command line: make the book of one profile and some seeds; returns the exit status."""
    parser = argparse.ArgumentParser(description="Make the book: steps, notebooks, pages.")
    parser.add_argument("--profile", default="mini", help="name or path of a profile (default: mini)")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0], help="the pages are of the first (default: 0)"
    )
    parser.add_argument("--no-pages", action="store_true", help="stop when the notebooks are executed")
    arguments = parser.parse_args()
    began = time.monotonic()
    signal.signal(signal.SIGINT, _interrupt)
    failed = []
    try:
        check_pairs()
        some = list(dict.fromkeys(arguments.seeds))
        for seed in some:
            open_study(arguments.profile, seed)  # a mistake is said before any work
        # Notebooks that are executed at the same time may leave the process in their folder.
        arguments.profile = _absolute(arguments.profile)
        if len(some) > 1:
            failed = seeds.run_jobs(arguments.profile, some)
            if failed == some:
                raise UserError("every seed failed; the reasons are above")
        shown = next(seed for seed in some if seed not in failed)
        executed = _make(arguments.profile, shown, some)
        if not arguments.no_pages:
            note("building the pages")
            with artifacts.disk_errors(OUTPUT / "_build"):
                page = build_pages(open_study(arguments.profile, shown), executed)
            note(f"done in {time.monotonic() - began:.0f} s: {page.relative_to(OUTPUT)}")
    except UserError as error:
        note(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        note("interrupted; finished steps are kept, and the same command goes on from there")
        return 130
    if failed:
        note(f"error: seeds {', '.join(map(str, failed))} failed, as said above; the others are in the pages")
    return int(bool(failed))


def _make(profile: str, seed: int, among: list[int]) -> list[Path]:
    """All steps and notebooks of one seed; a failure is left in its results for the others to show."""
    study = open_study(profile, seed)
    note(f"profile {study.profile.name}, seed {seed}, results in {study.folder}")
    try:
        if len(among) == 1:
            seeds.begin_job(study)
        missing = study.missing()
        if missing & LONG:
            from dpotox.run import check

            check.before_the_work(study, missing)
        make_steps(study, missing)
        study = open_study(profile, seed)  # lets go of the models
        return execute_notebooks(study, profile, among)
    except UserError as error:
        seeds.record_failure(study, str(error))
        raise


def _absolute(profile: str) -> str:
    """A profile's path seen from anywhere; a name stays."""
    return str(Path(profile).resolve()) if Path(profile).is_file() else profile


if __name__ == "__main__":
    sys.exit(main())
