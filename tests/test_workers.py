"""Parts of a step, shared out between processes."""

import os
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from dpotox.errors import UserError
from dpotox.profile import Profile
from dpotox.run.kept import RESULTS
from dpotox.run.plan import Plan
from dpotox.run.study import Study
from dpotox.run.table1_jobs import table1_jobs
from dpotox.run.workers import share_out


@pytest.fixture
def opened(tmp_path) -> Study:
    plain = Profile(name="two processes")
    two = replace(plain, compute=replace(plain.compute, device="cpu", processes=2))
    return Study(Plan(two, 0, tmp_path))


def write_where(study):
    def make(number: int) -> None:
        time.sleep(0.5)  # so that one process does not make all of them before the other has begun
        said = f"{os.getpid()} {torch.get_num_threads()} {study.profile.compute.processes}"
        (study.folder / str(number)).write_text(said)
        if number == 19:
            raise UserError("part 19 cannot be made")

    return make


def die(study):
    return lambda number: os._exit(9)


def test_parts_are_made_in_processes_of_their_own_and_what_one_refuses_is_said_here(opened):
    with pytest.raises(UserError, match="part 19 cannot be made"):
        share_out(opened, write_where, 20, "parts", "part")
    said = [(opened.folder / str(n)).read_text().split() for n in range(20)]
    processes = {int(process) for process, *_ in said}
    assert len(processes) == 2
    assert os.getpid() not in processes
    assert {within for *_, within in said} == {"1"}


def test_processes_that_are_there_make_the_next_step_as_well(opened):
    found = []
    for step in ("first", "second"):
        share_out(opened, partial(write_who, step=step), 6, "parts", "part")
        found.append({(opened.folder / f"{step}{n}").read_text() for n in range(6)})
    assert found[0] == found[1]
    assert len(found[0]) == 2


def write_who(study, step):
    def make(number: int) -> None:
        time.sleep(0.3)
        (study.folder / f"{step}{number}").write_text(str(os.getpid()))

    return make


def test_a_process_that_is_ended_from_outside_is_said_with_the_way_out(opened):
    with pytest.raises(UserError, match=r"rerun, or set compute\.processes = 1"):
        share_out(opened, die, 3, "parts", "part")


def test_table_1_is_the_same_in_two_processes(study, tmp_path):
    compute = replace(study.profile.compute, processes=2)
    shared = Study(replace(study.plan, profile=replace(study.profile, compute=compute)))
    share_out(shared, partial(table1_jobs, folder=tmp_path), 6, "table 1", "row")
    for number in range(6):
        for name, there in RESULTS.read(tmp_path / f"row{number:03}").items():
            here = study.table1[name]
            assert there.texts.tolist() == here.texts.tolist()
            np.testing.assert_allclose(there.nll, here.nll, rtol=1e-4)
