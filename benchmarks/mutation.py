"""How many small mistakes in the bookkeeping the tests catch: a mutation run by mutmut.

    .venv/bin/python -m pip install mutmut==3.8.1
    python benchmarks/mutation.py

mutmut changes one thing at a time in the modules named below and runs the tests
that use the function it is in. It wants the library under `src/`, so this works on a copy, in
`artifacts/mutation/`, which stays for a look at the survivors. The tests are those that need no trained
study, as every mutant is tried in a process of its own. Writes `artifacts/benchmarks/mutation.csv` and
`survivors.txt`.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys

import pandas as pd
from machine import TABLES, write

from dpotox.places import PROJECT

COPY = PROJECT / "artifacts" / "mutation"
MODULES = (
    *("paper/groups", "paper/selections", "estimates", "paper/evaluation"),
    *("paper/table1_evidence", "model/interventions", "results/claims"),
)
TESTS = (
    *("groups", "properties", "interventions", "edits", "claims", "evaluation", "examine"),
    *("table1", "rows", "coverage", "nothing", "seeds"),
)
WITHOUT = "tests/test_nothing.py::test_the_code_behind_the_quantities_is_that_of_its_last_entry"
"""Any change fails it, as it compares hashes of the code."""
AT_LEAST = 0.93
CONFIG = """
[tool.mutmut]
source_paths = ["src/"]
only_mutate = [{modules}]
pytest_add_cli_args_test_selection = [{tests}]
pytest_add_cli_args = ["--deselect", "{without}"]
also_copy = ["tests", "notebooks", "_toc.yml", "benchmarks", "book"]
"""


def copy_project() -> None:
    """What git tracks or would track, with the library where mutmut looks for it."""
    shutil.rmtree(COPY, ignore_errors=True)
    list_files = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(list_files, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    for name in listed.split():
        if (PROJECT / name).exists():
            target = COPY / re.sub("^lib/", "src/", name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(PROJECT / name, target)
    (COPY / "mutants" / "src").mkdir(parents=True)  # where it is not, Python remembers that and does not look
    quoted = {
        "modules": ", ".join(f'"src/dpotox/{module}.py"' for module in MODULES),
        "without": WITHOUT,
        "tests": ", ".join(f'"tests/test_{test}.py"' for test in TESTS),
    }
    with (COPY / "pyproject.toml").open("a") as file:
        file.write(CONFIG.format(**quoted))


def mutmut(*arguments: str, output: int | None = subprocess.PIPE) -> str:
    """Run mutmut in the copy, with one thread, as the others of a process do not survive its fork."""
    paths = [str(COPY / "mutants" / "src"), os.environ.get("PYTHONPATH", "")]
    variables = {
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    command = [sys.executable, "-m", "mutmut", *arguments]
    return subprocess.run(
        command, cwd=COPY, env=os.environ | variables, stdout=output, text=True, check=True
    ).stdout


def outcomes() -> pd.DataFrame:
    """One row per mutant: module, name and what became of it."""
    lines = re.findall(r"dpotox\.([\w.]+)\.([^.\s]+): (.+)", mutmut("results", "--all", "true"))
    return pd.DataFrame(lines, columns=["module", "mutant", "outcome"])


def survivors(rows: pd.DataFrame) -> str:
    """What was changed in the mutants that no test caught."""
    told = []
    for name in (f"dpotox.{row.module}.{row.mutant}" for row in rows.itertuples()):
        changed = [line for line in mutmut("show", name).splitlines() if re.match("[-+] ", line)]
        told.append("\n".join([name, *changed]))
    return "\n\n".join(told)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--go-on", action="store_true", help="with what a run before has found")
    arguments = parser.parse_args()
    if not arguments.go_on:
        copy_project()
    mutmut("run", "--max-children", str(arguments.processes), output=None)
    found = outcomes()
    caught = found["outcome"] == "killed"
    table = found.assign(caught=caught).groupby("module")["caught"].agg(mutants="size", caught="sum")
    table.loc["all"] = table.sum()
    table["share"] = table["caught"] / table["mutants"]
    write("mutation", table.reset_index())
    (TABLES / "survivors.txt").write_text(survivors(found[~caught]))
    return int(table.loc["all", "share"] < AT_LEAST)


if __name__ == "__main__":
    sys.exit(main())
