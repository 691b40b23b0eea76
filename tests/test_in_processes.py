"""A study in processes that are started together, beside the same in one."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import TINY
from safetensors.torch import load_file
from torch.testing import assert_close

from dpotox.model.tracing import read_generation, whole
from dpotox.run import in_processes, matching, training
from dpotox.run.plan import Plan
from dpotox.run.study import Study

REMADE = (
    "dpo",
    "readings",
    "nulls",
    "table1",
    "tried",
    "streams-tried",
    "along",
    "objective-trials",
)


@pytest.fixture(scope="module")
def two(study, tmp_path_factory) -> Study:
    """The tiny study, some steps of which two processes have made."""
    root = tmp_path_factory.mktemp("two")
    there = root / "tiny" / "seed0"
    shutil.copytree(study.folder, there, ignore=shutil.ignore_patterns(*REMADE))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += ["-m", "dpotox.run.in_processes", "--profile", TINY, "--artifacts", str(root)]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "1000"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=one_thread)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "2 processes share the work" in done.stderr
    return Study(Plan(study.profile, 0, there))


def test_two_processes_train_to_the_weights_of_one(study, two):
    one, both = (load_file(some.folder / "dpo" / "model.safetensors") for some in (study, two))
    base = load_file(study.folder / "base" / "model.safetensors")
    moved = max((one[k] - base[k]).abs().max().item() for k in one)
    assert moved > 1e-3
    for name, weight in one.items():
        trained = torch.ones_like(weight, dtype=torch.bool)
        if name.endswith("c_attn.bias"):  # a bias of keys moves no attention: its gradient is rounding alone
            trained.chunk(3)[1][:] = False
        assert_close(weight[trained], both[name][trained], atol=moved / 100, rtol=0)
    curves = [pd.read_parquet(some.folder / "dpo" / "curves.parquet") for some in (study, two)]
    assert curves[0]["step"].equals(curves[1]["step"])
    assert np.allclose(curves[0]["loss"], curves[1]["loss"], atol=1e-3)


@pytest.mark.parametrize("name", ["base", "dpo"])
def test_two_processes_read_what_one_does(two, name):
    model, sizes = getattr(two, name), two.profile.sizes
    batch = two.profile.compute.batch_size
    common = {"batch_size": batch, "chunks": sizes.chunks}
    written, read = read_generation(model, two.prompts, sizes.new_tokens, two.probe.direction, **common)
    kept = two.readings
    assert kept.continuations[name].tolist() == written.texts
    for field, one in vars(read).items():
        assert_close(getattr(getattr(kept, name), field), one, atol=1e-5, rtol=1e-5)


def test_two_processes_examine_what_one_does(study, two):
    rows = study.table1.rows
    assert rows.equals(two.table1.rows)
    # Others have something of the model that was trained anew.
    alike = rows[rows["kind"].isin(["none", "ablate"]) & rows["which"].str.endswith(("before DPO", " toxic"))]
    assert len(alike) > 2
    for row in alike["name"]:
        one, both = study.table1[row], two.table1[row]
        np.testing.assert_allclose(one.nll, both.nll, atol=1e-5)
        assert one.texts.tolist() == both.texts.tolist()


def test_nothing_is_left_unfinished(two):
    assert not [path.name for path in two.folder.glob(".*-unfinished")]


TOGETHER = """
import sys
from pathlib import Path
from accelerate import PartialState
from dpotox.run import matching
from dpotox.run.study import open_study
PartialState(cpu=True)
matching.training_jobs(open_study(sys.argv[1], 0, sys.argv[2]), Path(sys.argv[3]))(0)
"""


def test_two_processes_train_by_another_objective_together_and_end_together(two, tmp_path):
    script, root = tmp_path / "together.py", str(two.folder.parents[1])
    script.write_text(TOGETHER)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += [str(script), TINY, root, str(tmp_path)]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    matching.training_jobs(two, tmp_path / "alone")(0)
    both, one = (pd.read_parquet(folder / "sft/tries.parquet") for folder in (tmp_path, tmp_path / "alone"))
    assert both["steps"].equals(one["steps"])
    base = load_file(two.folder / "base/model.safetensors")
    for name in ("sft", "sft-shuffled"):
        alike, weights = (
            load_file(folder / name / "model.safetensors") for folder in (tmp_path / "alone", tmp_path)
        )
        moved = max((weight - base[key]).abs().max().item() for key, weight in alike.items())
        key = "transformer.h.0.mlp.c_proj.weight"
        assert_close(weights[key], alike[key], atol=moved / 50, rtol=0)


def test_what_is_made_is_not_made_again(two, monkeypatch):
    monkeypatch.setattr(training, "train_into", None)
    in_processes.make_together(Study(two.plan), "dpo_folder")


def test_shares_add_up_whatever_their_batches(two):
    common = {"new_tokens": 3, "direction": two.probe.direction, "chunks": 4}
    prompts = two.prompts[:7]
    every, read = read_generation(two.base, prompts, batch_size=7, **common)
    shares = [
        read_generation(two.base, prompts, batch_size=size, share=(one, 3), **common)
        for one, size in enumerate((1, 2, 7))
    ]
    together, summed = whole(shares, two.tokenizer)
    assert together.texts == every.texts
    for field, one in vars(read).items():
        assert_close(getattr(summed, field), one, atol=1e-5, rtol=1e-5)


def test_one_process_alone_is_told_how_to_start_several(monkeypatch, capsys):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr(sys, "argv", ["in_processes"])
    assert in_processes.main() == 1
    assert "torch.distributed.run" in capsys.readouterr().err


def test_a_model_spread_over_all_gpus_is_not_for_several_processes(study, monkeypatch, capsys, tmp_path):
    spread = replace(study.profile, compute=replace(study.profile.compute, device_map="auto"))
    monkeypatch.setattr(in_processes, "open_plan", lambda *_: Plan(spread, 0, tmp_path))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(sys, "argv", ["in_processes"])
    assert in_processes.main() == 1
    assert "compute.device_map" in capsys.readouterr().err


def test_a_profile_s_threads_are_shared_out(study, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(in_processes, "make_together", lambda some, name: seen.append(some.profile.compute))
    monkeypatch.setattr(in_processes, "open_plan", lambda *_: Plan(four, 0, tmp_path))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(sys, "argv", ["in_processes"])
    four = replace(study.profile, compute=replace(study.profile.compute, threads=4, processes=2))
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert in_processes.main() == 0
    assert {(compute.threads, compute.processes) for compute in seen} == {(2, 1)}
