"""Every kind of profile makes its whole book: each case below, at tiny sizes, through to its pages.

    python tests/matrix.py                     # all cases
    python tests/matrix.py given finished      # some of them
    python tests/matrix.py --folder somewhere  # keep what is made
    python tests/matrix.py --pages mini        # none, but read the pages that `make book` made of a profile

The embedded model has no case here, as its book is the one that everybody makes. The inputs are written
here, in the formats that people have. Then `make book` is run for each case, with its artifacts and pages
in a folder of its own, and the pages are read: every one is there, no figure is empty, no number is missing
without a word, and nothing is told of what this profile does not do.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml
from bs4 import BeautifulSoup
from hub import Hub
from matrix_inputs import write_inputs

from dpotox.facts import facts
from dpotox.places import PROJECT
from dpotox.profile import load_profile
from dpotox.results.folder import open_results

TINY = """
[sizes]
comments = 240
prompts = 24
new_tokens = 8
text_windows = 12
window_tokens = 32
references = 8
chunks = 4

[probe]
{probe}
C = [1e-3, 1e-1]

[scorer]
{scorer}
mask_from = 0.6

[pairs]
count = 40
samples = 4
margin = 0.02
steering = [4.0, 8.0, 16.0]
validation = 8

[dpo]
batch_size = 8
steps = 10
eval_every = 5
{dpo}

[interventions]
ablate_top = [2, 4]
ablate_top_positive = [2, 4]
scale_top = 3
scale_factors = [2.0]
figure_top = 5
counted = [0.2]
counted_draws = 1
{interventions}

[beyond]
ranks = [2]
along = [0.5]
strengths = [8.0]
shifts = [1.0]
best_of = [2]
relearning_steps = [2]
objectives = ["sft"]
objective_tries = 1
objective_placebos = false

[nulls]
directions = 20
shuffled_labels = 5
{nulls}

[compute]
batch_size = 64
bootstrap = 50
neuron_bootstrap = 5
threads = 1
"""
FILES = """
[data]
comments = "../inputs/comments.csv"
prompts = "../inputs/prompts.jsonl"
text = "../inputs/held-out.txt"
references = "../inputs/held-out.txt"
pair_text = "../inputs/text.txt"
"""
GIVEN = '[model]\nbase = "../inputs/model"\n'
SMALL = "layers = 2\nd_model = 32\nheads = 2\nd_mlp = 64\nwarmup_steps = 5\n"
ON_THE_HUB = """
[model]
base = "matrix/model"

[data]
comments = "matrix/comments"
prompts = "matrix/prompts"
text = "matrix/text"
references = "matrix/text"
"""
ONE_SET = 'sets = ["TP-"]\ndraws = 0'
ALL_SETS = "draws = 2"
TRAINED = 'name = "trained"\nsecond = ""'
NO_PLACEBOS, PLACEBOS = "placebos = []", 'placebos = ["shuffled", "reversed"]'
LEARN, HARDLY = "learning_rate = 3e-4", "learning_rate = 1e-8"


def profile(head: str, **sections: str) -> str:
    """A profile's text from what its kind needs and the tiny sizes."""
    usual = {"probe": "", "scorer": TRAINED, "dpo": LEARN, "interventions": ONE_SET, "nulls": NO_PLACEBOS}
    return head + TINY.format(**(usual | sections))


CASES = {
    # A model pre-trained on text files, two seeds.
    "texts": (
        profile(
            f'title = "a small model of text files"\n[pretraining]\n{SMALL}passes = 2\nvocabulary = 600\n'
            f'texts = ["../inputs/comments.csv", "../inputs/text.txt"]\n{FILES}',
            interventions=ALL_SETS,
        ),
        [0, 1],
    ),
    # A model in a folder, pairs sampled from it, placebos, two scorers; a parent's title is not this one's.
    "given": (
        profile(
            f'extends = "mini"\n{GIVEN}{FILES}',
            scorer='name = "trained"\nsecond = "../inputs/words.py:share_of_long_words"',
            nulls=PLACEBOS,
        ),
        [0],
    ),
    # A chat model with gated MLPs and norms behind them, and all data, from the hub: a stand-in answers.
    "hub": (
        profile(
            'title = "gated MLPs of the hub"\n'
            + ON_THE_HUB.replace('"matrix/model"', '"matrix/gated"\nchat = true'),
            interventions=ALL_SETS,
        ),
        [0],
    ),
    # A model after DPO, and a probe, that are given too; both models as NDIF would run them.
    "finished": (
        profile(
            f'title = "a finished model"\n{GIVEN}aligned = "../inputs/dpo.pt"\nremote = "local"\n{FILES}',
            probe='path = "../inputs/probe.pt"',
            interventions=ALL_SETS,
        ),
        [0],
    ),
    # The same from the hub.
    "hub-finished": (
        profile(
            'title = "a finished model of the hub"\n'
            + ON_THE_HUB.replace("\n\n[data]", '\naligned = "matrix/after/dpo.pt"\n\n[data]'),
            probe='path = "matrix/after/probe.pt"',
        ),
        [0],
    ),
    # Pairs that are given; DPO so weak that it has no effect, whose shares are of nothing.
    "weak": (
        profile(
            f'title = "given pairs and hardly any DPO"\n{GIVEN}{FILES}pairs = "../inputs/pairs.jsonl"\n',
            dpo=HARDLY,
            interventions=ALL_SETS,
            nulls=PLACEBOS,
        ),
        [0],
    ),
    # A model "after DPO" that is the one before: not even neurons move.
    "unchanged": (
        profile(f'title = "an unchanged model"\n{GIVEN}aligned = "../inputs/same.pt"\n{FILES}'),
        [0],
    ),
}
"""Each case's profile, in a folder beside `inputs`, and its seeds."""

ABOUT = {
    r"\bmini\b|generated language|generator|\bembedded\b|[Mm]odel organism": "generated",
    r"[Pp]re-train|stands? in for|trained from random weights": "made-here",
    r"[Rr]egularisation|as predicted|Calibration": "fitted-probe",
    r"DPOTrainer|validation pairs|was not trained on": "trained-dpo",
    r"samples several continuations": "sampled-pairs",
    r"DPO is trained the same way|On reversed ones|Reversed preferences, where": "placebos",
    r"second scorer|[Bb]y another scorer": "second-scorer",
    r"Random edits": "draws",
    r"\bNDIF\b": "remote",
}
"""Words that belong in a chapter only where something is done, by the names of `dpotox.facts`."""
OF_OTHERS = ("10_claims", "13_results_by_others")
"""The pages whose tables tell of other runs, of whatever profile."""
AT_ONCE = 2
"""Books made at the same time; at these sizes each keeps one core busy."""
MISSING = re.compile(r"(?<![\w.])(nan|None|NaN|NaT|inf|<NA>)(?![\w.])|nan%|\bundefined\b")


def write_profile(case: str, folder: Path) -> Path:
    """Write the profile of one case, in a folder beside the inputs; returns its path."""
    path = folder / case / f"{case}.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(CASES[case][0], encoding="utf-8")
    return path


def make(case: str, folder: Path) -> Path:
    """The book of one case; returns the folder of its pages.

    Raises:
        RuntimeError: `dpotox.run.book` failed; what it said.
    """
    toml, seeds = write_profile(case, folder), CASES[case][1]
    here = toml.parent
    (folder / "packs").mkdir(exist_ok=True)  # what is read of them is the same in every case
    (here / "artifacts").mkdir(exist_ok=True)
    if not (here / "artifacts" / "packs").exists():
        (here / "artifacts" / "packs").symlink_to(folder / "packs")
    command = [sys.executable, "-m", "dpotox.run.book", "--profile", str(toml), "--seeds", *map(str, seeds)]
    with Hub(folder / "inputs" / "hub") as hub:
        environment = os.environ | hub.environment(here / "cache") | {"DPOTOX_OUTPUT": str(here)}
        done = subprocess.run(
            command, env=environment, cwd=PROJECT, capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise RuntimeError(done.stderr)
    for seed in seeds:
        if wrong := open_results(str(toml), seed, here / "artifacts").wrong():
            raise RuntimeError(f"seed {seed} could not be packed: {'; '.join(wrong)}")
    return here / "_build" / "html"


def chapters(html: Path) -> dict[str, BeautifulSoup]:
    """What readers see of each notebook's page, without code and what models wrote, which may be anything."""
    found = {}
    for path in sorted((html / "notebooks").glob("*.html")):
        article = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser").select_one("article")
        for hidden in article.select(
            ".cell_input, .toctree-wrapper, .tableofcontents-wrapper, table.texts, script, style"
        ):
            hidden.decompose()
        found[path.stem] = article
    return found


def faults(case: str, folder: Path) -> list[str]:
    """What is wrong with the pages of a case, a line each."""
    here = folder / case
    return faults_of(here / "_build" / "html", str(here / f"{case}.toml"), gated=case == "hub")


def faults_of(html: Path, profile: str, *, gated: bool = False) -> list[str]:
    """What is wrong with pages made of a profile, a line each."""
    holds = facts(load_profile(profile), gated, gated)
    contents = yaml.safe_load((PROJECT / "_toc.yml").read_text(encoding="utf-8"))
    pages = [contents["root"], *(c["file"] for part in contents["parts"] for c in part["chapters"])]
    found = [f"the page {page} is missing" for page in pages if not (html / f"{page}.html").is_file()]
    for name, article in chapters(html).items():
        charts = article.select("svg.chart")
        found += [f"{name}: an empty figure" for chart in charts if _empty(chart)]
        found += [
            f"{name}: a figure without a picture"
            for f in article.select("figure")
            if not f.select("svg, img")
        ]
        text = article.get_text(" ", strip=True)
        found += [_around(name, text, m) for m in MISSING.finditer(text)]
        if name in OF_OTHERS:
            for table in article.select("table"):
                table.decompose()
            text = article.get_text(" ", strip=True)
        wrong = [re.compile(words) for words, fact in ABOUT.items() if not holds[fact]]
        found += [_around(name, text, m) for w in wrong for m in w.finditer(text)]
    return found


def _around(name: str, text: str, found: re.Match) -> str:
    """Where on a page something was found, with the words around it."""
    return f"{name}: ...{text[max(0, found.start() - 60) : found.end() + 40]}..."


def _empty(chart) -> bool:
    """Whether a figure has hardly anything drawn in it, nor a sentence that says why."""
    return len(chart.select("path, use")) < 10 and not chart.get_text(strip=True).endswith(".")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cases", nargs="*", help="default: all")
    parser.add_argument("--folder", type=Path, help="keep everything here (default: a temporary folder)")
    parser.add_argument("--pages", metavar="PROFILE", help="read the pages in _build/html, made of this")
    arguments = parser.parse_args()
    if arguments.pages:
        wrong = faults_of(PROJECT / "_build" / "html", arguments.pages)
        print("\n".join(wrong) or f"the pages of {arguments.pages}: well")
        return int(bool(wrong))
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).resolve()
        if not (folder / "inputs").exists():
            write_inputs(folder / "inputs")
        with ThreadPoolExecutor(AT_ONCE) as pool:
            well = list(pool.map(lambda case: makes_its_book(case, folder), arguments.cases or CASES))
    return int(not all(well))


def makes_its_book(case: str, folder: Path) -> bool:
    """Whether a case makes its whole book without a fault; says so, or what is wrong."""
    began = time.monotonic()
    try:
        make(case, folder)
        wrong = faults(case, folder)
    except RuntimeError as error:
        wrong = [f"the book could not be made\n{error}"]
    print(f"{case}: {'; '.join(wrong) or 'well'}, {time.monotonic() - began:.0f} s", flush=True)
    return not wrong


if __name__ == "__main__":
    sys.exit(main())
