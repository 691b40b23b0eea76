"""From a profile to the rendered book: make every step, execute the notebooks, build the pages.

python -m dpotox.run.book --profile mini --seeds 0
python -m dpotox.run.book --from some-pack.zip

Where nothing is to be made, neither torch nor a model is loaded.
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
from typing import TYPE_CHECKING

import nbformat
import papermill
from jupytext import read as read_notebook
from nbformat.v4 import new_markdown_cell
from papermill.exceptions import PapermillExecutionError

from dpotox.errors import UserError
from dpotox.places import OUTPUT, PROJECT
from dpotox.progress import bar, note
from dpotox.results import pack
from dpotox.results.claims import CHAPTERS
from dpotox.results.folder import ENDING, Results, is_pack
from dpotox.results.seeds import outcome
from dpotox.run import artifacts, seeds
from dpotox.run.command import exit_status
from dpotox.run.keys import Keys, file_identity
from dpotox.run.pages import LADDER, SHOWN, build_pages
from dpotox.run.plan import Plan, open_plan
from dpotox.show import passages

if TYPE_CHECKING:
    from dpotox.run.study import Study  # which loads torch

NOTEBOOKS = sorted(SHOWN)
"""In order of execution: by their numbers, and then the index."""
ACROSS_SEEDS = ("10_claims", "index")
"""Those that show the claims of several seeds."""
WITH_MODELS = ("09_by_hand",)
"""Those that run the models here; of a pack, which has none, or of models at NDIF they stand unexecuted."""
PACKS = {"10_claims", "13_results_by_others", "index"} | {*CHAPTERS}
"""Those that show what lies in `book/packs/`."""
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
        _ = study.given, study.exam, study.second_score
    folders = {step: study.plan.folder_of(step).name for step in study.plan.steps}
    for step in bar([s for s in folders if folders[s] in missing], "steps", "made"):
        _go_on()
        began = time.monotonic()
        getattr(study, step)
        note(f"{folders[step]}: ready after {time.monotonic() - began:.0f} s")


def execute_notebooks(results: Results, profile: str, among: list[int]) -> list[Path]:
    """Execute the notebooks whose text, results or library changed; returns the executed copies.

    Cells that are not about the profile are left out (`dpotox.show.passages`).

    Args:
        profile: what the notebooks open: a profile's name or path, or a pack.
        among: the seeds whose claims `ACROSS_SEEDS` show together.

    Raises:
        UserError: a notebook failed; the message says where its partly executed copy is.
    """
    keys, content = Keys(results.profile, results.seed), pack.digest(results.folder)

    def execute(name: str) -> Path:
        _go_on()
        source = PROJECT / "notebooks" / f"{name}.ipynb"
        script = source.with_suffix(".py").read_text(encoding="utf-8")
        settings = keys.of_script(script) | {"holds": results.holds, "results": content}
        parameters = {"profile": profile, "seed": results.seed}
        kept = results.folder.parent / "notebooks" / name
        if name in ACROSS_SEEDS and len(among) > 1:
            parameters["seeds"] = among
            settings["seeds"] = {seed: file_identity(str(outcome(results, seed))) for seed in among}
            kept = kept.with_name(f"{name}-of-{len(among)}-seeds")
        if name in PACKS or name in LADDER:
            folder = PROJECT / "book" / "packs" / ("ladder" if name in LADDER else "")
            there = folder.glob(f"*{ENDING}")
            settings["packs"] = {path.name: file_identity(str(path)) for path in there}
        make = partial(_execute, results, source, parameters=parameters)
        if name in WITH_MODELS and (is_pack(profile) or results.holds["remote"]):
            make = partial(_as_it_stands, results, source)
        return artifacts.keep(kept, settings, make) / f"{name}.ipynb"

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(bar(pool.map(execute, NOTEBOOKS), "notebooks", "notebook", total=len(NOTEBOOKS)))


def _as_it_stands(results: Results, source: Path, folder: Path) -> None:
    """Lay a notebook into a folder without executing it, and say so in it."""
    notebook = passages.of_study(read_notebook(source), results.holds)
    said = (
        "```{note}\nThis page runs the models, and the book you read was made from a pack of results, which "
        "has none. So its cells are shown without what they give.\n```"
    )
    notebook.cells.insert(1, new_markdown_cell(said))
    nbformat.write(notebook, folder / source.name)


def _execute(results: Results, source: Path, folder: Path, parameters: dict) -> None:
    target = folder / source.name
    notebook = passages.of_study(read_notebook(source), results.holds)
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
        both = [read_notebook(PROJECT / "notebooks" / f"{name}{end}").cells for end in (".py", ".ipynb")]
        script, notebook = ([(c.cell_type, c.source, c.metadata.get("tags", [])) for c in n] for n in both)
        if script != notebook:
            raise UserError(f"notebooks/{name}.py and .ipynb differ; run `make notebooks` after an edit")
        if any(cell.get("outputs") for cell in both[1]):
            raise UserError(f"notebooks/{name}.ipynb has outputs; run `make notebooks`, then commit")


def main() -> int:
    """The command line: make the book of one profile and some seeds; returns the exit status."""
    parser = argparse.ArgumentParser(description="Make the book: steps, notebooks, pages.")
    parser.add_argument("--profile", default="mini", help="name or path of a profile (default: mini)")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0], help="the pages are of the first (default: 0)"
    )
    parser.add_argument("--no-pages", action="store_true", help="stop when the notebooks are executed")
    parser.add_argument("--results", action="store_true", help="stop when the results are there")
    parser.add_argument("--from", dest="pack", type=Path, help="a pack of results to make the book of")
    arguments = parser.parse_args()
    began = time.monotonic()
    signal.signal(signal.SIGINT, _interrupt)
    return exit_status(lambda: _of_pack(arguments, began) if arguments.pack else _of_study(arguments, began))


def _of_pack(arguments: argparse.Namespace, began: float) -> None:
    check_pairs()
    results = pack.opened(arguments.pack)
    if missing := results.left_out:
        raise UserError(
            f"{arguments.pack.name} is a small pack, without the tables {', '.join(missing)}, of "
            "which no book can be made; ask for a whole one, or lay it into book/packs/ to compare it"
        )
    note(f"profile {results.profile.name}, seed {results.seed}, from {arguments.pack.name}")
    name = str(arguments.pack.resolve())
    _build(results, execute_notebooks(results, name, [results.seed]), began)


def _of_study(arguments: argparse.Namespace, began: float) -> int:
    check_pairs()
    some, failed = list(dict.fromkeys(arguments.seeds)), []
    for seed in some:
        open_plan(arguments.profile, seed)  # a mistake is said before any work
    # A path as seen from anywhere: notebooks executed at the same time may leave the process in their folder.
    path = Path(arguments.profile)
    profile = str(path.resolve()) if path.is_file() else arguments.profile
    if len(some) > 1:
        failed = seeds.run_jobs(profile, some)
        if failed == some:
            raise UserError("every seed failed; the reasons are above")
    shown = next(seed for seed in some if seed not in failed)
    results, executed = _make(profile, shown, some, only_results=arguments.results)
    if not (arguments.no_pages or arguments.results):
        _build(results, executed, began)
    if failed:
        note(f"error: seeds {', '.join(map(str, failed))} failed, as said above; the others are in the pages")
    return int(bool(failed))


def _build(results: Results, executed: list[Path], began: float) -> None:
    note("building the pages")
    with artifacts.disk_errors(OUTPUT / "_build"):
        page = build_pages(results, executed)
    note(f"done in {time.monotonic() - began:.0f} s: {page.relative_to(OUTPUT)}")


def _make(
    profile: str, seed: int, among: list[int], *, only_results: bool = False
) -> tuple[Results, list[Path]]:
    """All steps and notebooks of one seed; a failure is left in its folder for the others to show."""
    plan = open_plan(profile, seed)
    note(f"profile {plan.profile.name}, seed {seed}, results in {plan.folder}")
    try:
        if len(among) == 1:
            seeds.begin_job(plan)
        if (missing := plan.missing()) or artifacts.damage(plan.results):
            _make_missing(profile, plan, missing)
        results = Results(plan.results)
        return results, [] if only_results else execute_notebooks(results, profile, among)
    except UserError as error:
        seeds.record_failure(plan, str(error))
        raise


def _make_missing(profile: str, plan: Plan, missing: set[str]) -> None:
    from dpotox.run.study import open_study  # which loads torch

    study = open_study(profile, plan.seed)
    if missing & LONG:
        from dpotox.run import check

        check.before_the_work(study, missing)
    make_steps(study, missing)
    _ = study.results_folder


if __name__ == "__main__":
    sys.exit(main())
