"""The pages: executed notebooks and the files of `book/`, rendered by Jupyter Book.

Beside every page lie its downloads and a line on what made it; `book/_ext/colophon.py` writes them under it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import nbformat

from dpotox.errors import UserError
from dpotox.places import OUTPUT, PROJECT
from dpotox.results import catalogue, ladder_packs
from dpotox.results.catalogue import TABLES
from dpotox.results.folder import CLAIMS, ENDING, PROBE, RECORD, Results
from dpotox.run import artifacts
from dpotox.show import explorer

LADDER = ("15_does_size_matter", "17_other_architectures")
"""The notebooks that show runs of the ladder, and no table of this one."""
SHOWN = {
    "index": ["evidence", "groups"],
    "01_model": ["pretraining"],
    "02_toxic_direction": ["directions", "probe_selection", "probe_calibration"],
    "03_dpo": ["outcomes", "dpo_curves", "weight_change"],
    "04_where_dpo_writes": ["neurons", "layers", "writers"],
    "05_four_groups": ["groups", "neurons"],
    "06_is_it_special": ["comparisons", "other_directions"],
    "07_ablation_versus_patching": ["table1"],
    "08_controls": ["table1", "draws", "second_scorer"],
    "09_by_hand": ["neurons", "table1"],
    "10_claims": ["evidence"],
    "11_neuron_explorer": ["neurons", "nearest_tokens", "tokens"],
    "12_step_through": ["step_through", "prompts"],
    "13_results_by_others": ["groups", "evidence"],
    "14_offset": ["offset_sets", "offset_writers", "offset_layers", "offset_neurons", "table1", "draws"],
    **{name: [] for name in LADDER},
    "16_whole_account": ["account", "causes", "undone"],
    "18_how_many_neurons": ["counts", "enough"],
    "19_how_many_directions": [
        "stream_ranks",
        "stream_changes",
        "stream_tokens",
        "streams_tried",
        "streams_enough",
    ],
    "20_how_far_along": ["along", "kl_by_token", "kl_quarters"],
    "22_is_it_dpo": ["objectives", "objective_tries"],
    "21_does_it_last": ["relearning", "how_long", "probes", "table1"],
    "23_without_training": ["without_training", "half_way"],
}
"""The tables that each notebook shows, as far as the results have them."""
BESIDES = {"index": [CLAIMS, RECORD], "02_toxic_direction": [PROBE], "10_claims": [CLAIMS]}
"""Other files of the results that are downloaded from its page."""
UNUSED = ("*.map", "fontawesome/webfonts/*.ttf")
"""Of the theme's files: for its developers, and for browsers older than what the pages need."""


def build_pages(results: Results, executed: list[Path], output: Path = OUTPUT) -> Path:
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
    catalogue.described().to_csv(source / "book" / "measured" / "schema.csv", index=False)
    write_explorer(results, static)
    colophon = _colophon(results, executed, static / "downloads")
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


def write_explorer(results: Results, static: Path) -> None:
    """Write what the explorer's page loads."""
    static.mkdir(parents=True, exist_ok=True)
    script = explorer.script(results)
    artifacts.write_file(static / "neurons.js", lambda path: path.write_text(script, encoding="ascii"))
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
        if "injected-parameters" in tags and (hidden or f'{ENDING}"' in cell.source):  # a pack's path
            tags.append("remove-cell")
    nbformat.write(notebook, folder / executed.name)


def _colophon(results: Results, executed: list[Path], downloads: Path) -> dict:
    """What stands under the pages: what made them, and for each notebook when, how fast, and its downloads.

    Copies the files to download into the folder.
    """
    downloads.mkdir(parents=True)
    pages, record = {}, results.record
    for path in executed:
        run = nbformat.read(path, as_version=4).metadata.get("papermill", {})
        files = [PROJECT / "notebooks" / f"{path.stem}{ending}" for ending in (".ipynb", ".py")]
        names = [TABLES[name].file for name in SHOWN[path.stem] if name in results.tables]
        files += [results.folder / name for name in (*names, *BESIDES.get(path.stem, []))]
        for file in files:
            shutil.copyfile(file, downloads / file.name)
        given = [file.name for file in files]
        if path.stem in LADDER:
            table, _ = ladder_packs.read(PROJECT / "book" / "packs" / "ladder")
            table.to_csv(downloads / "ladder.csv", index=False, float_format="%.6g")
            given.append("ladder.csv")
        pages[f"notebooks/{path.stem}"] = {
            "date": run.get("end_time", "")[:10],
            "seconds": round(run.get("duration", 0)),
            "downloads": given,
        }
    return {
        "profile": results.profile.name,
        "title": results.profile.title,
        "seed": results.seed,
        "date": str(date.today()),
        "steps": round(sum(record.seconds.values())),
        "versions": record.versions,
        "pages": pages,
    }
