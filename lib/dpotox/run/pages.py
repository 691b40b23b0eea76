"""The pages: executed notebooks and the files of `book/`, rendered by Jupyter Book.

Beside every page lie its downloads and a line on what made it; `book/_ext/colophon.py` writes them under it.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path

import nbformat

from dpotox.errors import UserError
from dpotox.run import artifacts
from dpotox.run.study import OUTPUT, PROJECT, Study
from dpotox.show import explorer, passages

TABLES = {
    "index": ["results/claims.json"],
    "01_model": ["base/curve.csv"],
    "02_toxic_direction": ["probe/selection.csv", "probe/direction.safetensors"],
    "03_dpo": ["dpo/curves.parquet"],
    "04_where_dpo_writes": ["results/neurons.parquet"],
    "05_four_groups": ["results/groups.csv", "results/neurons.parquet"],
    "06_is_it_special": ["results/comparisons.csv", "results/other_directions.csv"],
    "07_ablation_versus_patching": ["results/table1.csv"],
    "08_controls": ["results/table1.csv"],
    "09_by_hand": ["results/neurons.parquet", "results/table1.csv"],
    "10_claims": ["results/claims.json"],
    "11_neuron_explorer": ["results/neurons.parquet"],
    "12_step_through": ["results/step_through.csv"],
}
"""The results that each notebook shows, in the study's folder, as far as the profile has them."""
ONLY = {"probe/selection.csv": "fitted-probe"}
"""Those that are shown only where this holds (`passages.facts`), though they are always made."""
PACKAGES = ("dpotox", "torch", "transformers", "nnsight", "trl", "scikit-learn")
UNUSED = ("*.map", "fontawesome/webfonts/*.ttf")
"""Of the theme's files: for its developers, and for browsers older than what the pages need."""


def build_pages(study: Study, executed: list[Path], output: Path = OUTPUT) -> Path:
    """Lay the executed notebooks out like the repository and let Jupyter Book render them.

    Args:
        output: the folder that `_build/html` is made in.

    Raises:
        UserError: Jupyter Book reported an error or a warning.
    """
    source = output / "_build" / "source"
    for name in ("notebooks", "book"):
        shutil.rmtree(source / name, ignore_errors=True)
    shutil.copytree(PROJECT / "book", source / "book")
    (source / "notebooks").mkdir()
    for path in executed:
        _lay_out(path, source / "notebooks")
    for name in ("_config.yml", "_toc.yml"):
        shutil.copyfile(PROJECT / name, source / name)
    static = source / "book" / "_static"
    write_explorer(study, static)
    colophon = _colophon(study, executed, static / "downloads")
    (source / "colophon.json").write_text(json.dumps(colophon))
    html = output / "_build" / "html"
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", str(source)]
    command += ["--path-output", str(output), "-W", "-n", "--keep-going", "--quiet"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode or not (html / "index.html").is_file():
        print(done.stdout[-3_000:], done.stderr[-3_000:], file=sys.stderr)
        raise UserError("Jupyter Book could not build the pages; its report is above")
    for pattern in UNUSED:
        for file in (html / "_static").rglob(pattern):
            file.unlink()
    return html / "index.html"


def write_explorer(study: Study, static: Path) -> None:
    """Write what the explorer's page loads, and the neuron table to be downloaded."""
    static.mkdir(parents=True, exist_ok=True)
    script = explorer.script(study)
    artifacts.write_file(static / "neurons.js", lambda path: path.write_text(script, encoding="ascii"))
    artifacts.write_table(static / explorer.TABLE, study.neurons)
    shutil.copyfile(explorer.plotly_script(), static / "plotly.min.js")


def _lay_out(executed: Path, folder: Path) -> None:
    """Copy a notebook, with its parameters once: papermill shows those in use beside the defaults."""
    notebook = nbformat.read(executed, as_version=4)
    hidden = False
    for cell in notebook.cells:
        tags = cell.metadata.setdefault("tags", [])
        if "parameters" in tags:
            hidden = "remove-cell" in tags
            tags.append("remove-cell")
        if "injected-parameters" in tags and hidden:
            tags.append("remove-cell")
    nbformat.write(notebook, folder / executed.name)


def _colophon(study: Study, executed: list[Path], downloads: Path) -> dict:
    """What stands under the pages: what made them, and for each notebook when, how fast, and its downloads.

    Copies the files to download into the folder.
    """
    downloads.mkdir(parents=True)
    pages, holds = {}, passages.facts(study.profile)
    for path in executed:
        run = nbformat.read(path, as_version=4).metadata["papermill"]
        files = [PROJECT / "notebooks" / f"{path.stem}{ending}" for ending in (".ipynb", ".py")]
        shown = [name for name in TABLES[path.stem] if holds.get(ONLY.get(name), True)]
        files += [file for name in shown if (file := study.folder / name).exists()]
        for file in files:
            shutil.copyfile(file, downloads / file.name)
        pages[f"notebooks/{path.stem}"] = {
            "date": run["end_time"][:10],
            "seconds": round(run["duration"]),
            "downloads": [file.name for file in files],
        }
    steps = [artifacts.made(folder)["seconds"] for folder in study.folder.iterdir() if _is_step(folder)]
    return {
        "profile": study.profile.name,
        "title": study.profile.title,
        "seed": study.seed,
        "date": str(date.today()),
        "steps": round(sum(steps)),
        "versions": {"Python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "pages": pages,
    }


def _is_step(folder: Path) -> bool:
    return not folder.name.startswith(".") and (folder / "made.json").is_file()
