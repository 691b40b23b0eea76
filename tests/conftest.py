"""Fixtures: a tiny study, made once, and a tiny GPT-2 with random weights."""

import copy
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from filelock import FileLock
from transformers import GPT2Config, GPT2LMHeadModel

from dpotox.inputs.language import Language
from dpotox.inputs.pretraining import word_tokenizer
from dpotox.model.architecture import traced
from dpotox.results.folder import Results
from dpotox.run.book import NOTEBOOKS
from dpotox.run.pages import build_pages
from dpotox.run.study import Study, open_study

ROOT = Path(__file__).parents[1]
TINY = str(Path(__file__).with_name("tiny.toml"))
SHARED = Path(__file__).parents[2] / "shared"
CHROMIUM = shutil.which("chromium")

ONE_OF_SEVERAL = "PYTEST_XDIST_WORKER" in os.environ
torch.set_num_threads(1 if ONE_OF_SEVERAL else int(os.environ.get("OMP_NUM_THREADS", "2")))


def once(tmp_path_factory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that `make` fills; of several processes that test the first one does so, for all of them."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if ONE_OF_SEVERAL else own) / name
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            begun = folder.with_name(f"{name}-begun")
            begun.mkdir()
            make(begun)
            begun.rename(folder)
    return folder


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> Study:
    """The tiny study with every step made, in a folder of this process."""

    def make(folder: Path) -> Study:
        made = open_study(TINY, 0, folder)
        for step in made.plan.steps:
            getattr(made, step)
        return made

    there = once(tmp_path_factory, "study", make)
    return make(shutil.copytree(there, tmp_path_factory.mktemp("artifacts"), dirs_exist_ok=True))


@pytest.fixture(scope="session")
def results(study) -> Results:
    """What the tiny study left for the pages."""
    return Results(study.results_folder)


LONG = ("test_browser.py", "test_book.py", "test_in_processes.py", "test_dpo.py", "test_hub.py")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items) -> None:
    """Begin with the files that take longest, so that no process is left alone with one at the end."""
    order = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path.name, len(LONG)))


def pytest_addoption(parser) -> None:
    parser.addoption("--site", help="check these pages in the browser instead of the tiny study's")


def pytest_terminal_summary(terminalreporter) -> None:
    """Say at the end what was not looked at for want of a browser, and how to get one."""
    if not CHROMIUM and (skipped := terminalreporter.stats.get("skipped", [])):
        n = sum("Chromium" in str(report.longrepr) for report in skipped)
        terminalreporter.write_line(
            f"{n} tests were skipped because there is no Chromium to look at the pages with; install it "
            "(Debian and Ubuntu: apt-get install chromium) and rerun"
        )


@pytest.fixture(scope="session")
def packs(tmp_path_factory) -> Path:
    """Where what is read of packs is kept for all books that tests make."""
    return once(tmp_path_factory, "packs", lambda _: None)


@pytest.fixture(scope="session")
def job(tmp_path_factory, packs) -> tuple[subprocess.CompletedProcess, Study]:
    """The tiny study with executed notebooks, made by the Slurm example in a folder of its own."""
    variables = {"SLURM_ARRAY_TASK_ID": "0", "PROFILE": TINY, "PYTHON": sys.executable}

    def make(output: Path) -> None:
        (output / "artifacts").mkdir()
        (output / "artifacts" / "packs").symlink_to(packs)
        done = subprocess.run(
            ["bash", "examples/seeds.slurm"],
            env=os.environ | variables | {"DPOTOX_OUTPUT": str(output)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        (output / "done").write_bytes(pickle.dumps(done))

    output = once(tmp_path_factory, "job", make)
    return pickle.loads((output / "done").read_bytes()), open_study(TINY, 0, output / "artifacts")


@pytest.fixture(scope="session")
def site(request, tmp_path_factory) -> Path:
    """The folder of the built pages."""
    if given := request.config.getoption("--site"):
        return Path(given).resolve()
    _, made = request.getfixturevalue("job")
    executed = [made.folder / "notebooks" / name / f"{name}.ipynb" for name in NOTEBOOKS]
    return build_pages(Results(made.plan.results), executed, tmp_path_factory.mktemp("site")).parent


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium, headless."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM:
        pytest.skip("there is no Chromium (Debian: chromium)")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def network() -> GPT2LMHeadModel:
    """Random weights, large enough that neurons matter."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(Language().vocabulary) + 2,
        n_positions=64,
        n_embd=16,
        n_layer=3,
        n_head=2,
        n_inner=24,
        initializer_range=0.5,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
        attn_implementation="eager",
    )
    network = GPT2LMHeadModel(config).eval()
    for block in network.transformer.h:
        torch.nn.init.normal_(block.mlp.c_fc.bias, std=0.5)
    return network


@pytest.fixture(scope="session")
def model(network):
    """The random network with nnsight around it and the language's tokenizer."""
    return traced(network, word_tokenizer(Language().vocabulary))


@pytest.fixture(scope="session")
def other(network):
    """Another network, as DPO might leave it: all weights moved."""
    moved = copy.deepcopy(network)
    torch.manual_seed(2)
    for parameter in moved.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return moved


@pytest.fixture(scope="session")
def other_model(other, model):
    """The other network with nnsight around it."""
    return traced(other, model.tokenizer)


@pytest.fixture(scope="session")
def prompts() -> list[str]:
    """Prompts of different lengths, so that batches are padded."""
    return [
        "the soup seems spicy .",
        "we bake our fresh bread",
        "you must be a very kind friend , we boil",
        "another oven",
        "CRY well , both the pan and the pie look sweet .".removeprefix("CRY "),
    ]


@pytest.fixture
def some_neurons() -> pd.DataFrame:
    """Neurons of two layers with a value each."""
    return pd.DataFrame({"layer": [0, 0, 2], "neuron": [3, 11, 7], "value": [0.7, -0.4, 1.5]})


@pytest.fixture(scope="session")
def windows(network):
    """Equally long texts of random tokens."""
    torch.manual_seed(1)
    return torch.randint(2, network.config.vocab_size, (5, 12))
