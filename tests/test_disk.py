"""A real disk that is full, or that cannot be written, for everything the library writes."""

import shutil
import subprocess
import sys

import pytest

WRITE = """
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from dpotox.errors import UserError
from dpotox.run.artifacts import keep, write_file
from dpotox.run.scores import remembered

folder = Path(sys.argv[1])
table = pd.DataFrame({"number": np.random.default_rng(0).random(20_000)})
network = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=64, n_head=1, vocab_size=2_000))
texts = [f"text {i}" for i in range(10_000)]
some = {
    "table.csv": lambda: keep(folder / "csv", {}, lambda f: table.to_csv(f / "table.csv")),
    "table.parquet": lambda: keep(folder / "parquet", {}, lambda f: table.to_parquet(f / "table.parquet")),
    "picture": lambda: write_file(folder / "shown" / "a.svg", lambda path: path.write_text("<g/>" * 30_000)),
    "weights": lambda: keep(folder / "weights", {}, network.save_pretrained),
    "checkpoint": lambda: keep(folder / "ck", {}, lambda f: torch.save(network.state_dict(), f / "a.pt")),
    "arrays": lambda: keep(folder / "arrays", {}, lambda f: np.savez(f / "a.npz", table["number"])),
    "scores": lambda: remembered(lambda some: np.zeros(len(some)), "x", folder / "scores.sqlite")(texts),
}
for name, write in some.items():
    try:
        write()
        print(name, "written", sep=": ")
    except UserError as error:
        print(name, error, sep=": ")
hidden = [p for p in folder.iterdir() if p.name.startswith(".")]  # what is unfinished
print("left:", sorted(p.name for p in {*folder.iterdir()}.difference(hidden)), [*folder.glob("shown/*")])
"""


def on_a_disk(folder, options: str) -> list[str]:
    """What writing says on a disk of its own, which only this process sees."""
    mount = f'mount -t tmpfs -o {options} tmpfs "$0" && exec "$@"'
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, folder]
    done = subprocess.run(
        [*command, sys.executable, "-c", WRITE, folder], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    return done.stdout.splitlines()


@pytest.fixture(autouse=True)
def own_disks(tmp_path):
    command = ["unshare", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", tmp_path]
    if not shutil.which("unshare") or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this system lets no one mount a disk of one's own (unshare)")


def test_on_a_disk_with_space_everything_is_written(tmp_path):
    *said, left = on_a_disk(tmp_path, "size=100m")
    assert len(said) == 7
    assert all(line.endswith(": written") for line in said), said
    assert "a.svg" in left
    assert "'parquet'" in left


def test_a_full_disk_is_said_and_leaves_nothing_half_written(tmp_path):
    *said, left = on_a_disk(tmp_path, "size=64k")
    assert len(said) == 7
    for line in said:
        assert "disk is full" in line, line
        assert "rerun" in line, line
    assert left == "left: ['scores.sqlite', 'shown'] []"


def test_a_disk_that_cannot_be_written_is_said(tmp_path):
    *said, left = on_a_disk(tmp_path, "ro")
    assert len(said) == 7
    for line in said:
        assert "cannot be written" in line or "cannot write" in line, line
        assert "permissions" in line, line
    assert left == "left: [] []"
