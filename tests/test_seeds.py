"""Several seeds: independent jobs, one table."""

import errno
import json
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from dpotox.errors import UserError
from dpotox.paper.claims import CLAIMS, judge, over_seeds
from dpotox.paper.evaluation import Estimate
from dpotox.run import book, seeds


@pytest.fixture
def study(tmp_path) -> SimpleNamespace:
    """What is asked of a study here, with made-up claims and shares: every claim well inside its range."""
    found = {c.quantity: Estimate(*[(max(c.low, -9) + min(c.high, 9)) / 2] * 3) for c in CLAIMS}
    return SimpleNamespace(
        seed=0,
        folder=tmp_path / "seed0",
        profile=SimpleNamespace(name="made-up"),
        claims=judge(found),
        summary=pd.DataFrame({"name": ["ablate", "shift TP-", "after DPO"], "recovered": [0.4, 0.3, 1.0]}),
    )


def write_claims(study, seed: int, add: float) -> None:
    folder = study.folder.with_name(f"seed{seed}") / "results"
    folder.mkdir(parents=True, exist_ok=True)
    table = study.claims.assign(here=study.claims["here"] + add)
    (folder / "claims.json").write_text(json.dumps(table.to_dict("records")))
    study.summary.assign(recovered=study.summary["recovered"] + add).to_csv(
        folder / "table1.csv", index=False
    )


@pytest.fixture
def three_seeds(study):
    """Two more seeds beside the made-up study: one with claims, one that failed."""
    write_claims(study, 1, 0.2)
    failed = study.folder.with_name("seed2") / "results"
    failed.mkdir(parents=True)
    (failed / "failure.txt").write_text("the disk is full")
    return [0, 1, 2, 3]


def test_seeds_without_claims_are_named_with_the_reason(study, three_seeds):
    table, missing = seeds.claims_by_seed(study, three_seeds)
    assert set(table["seed"]) == {0, 1}
    assert missing == {2: "the disk is full", 3: "left no claims: not run, or broken off"}


def test_the_value_over_seeds_is_their_mean_and_is_judged_by_the_same_rule(study, three_seeds):
    table, _ = seeds.claims_by_seed(study, three_seeds)
    together = over_seeds(table)
    for claim in CLAIMS:
        values = table.loc[table["id"] == claim.id, "here"]
        assert together.loc[claim.id, "value"] == pytest.approx(values.mean(), nan_ok=True)
        assert together.loc[claim.id, "verdict"] in ("holds", "does not hold", "inconclusive")


def test_recovered_shares_stand_side_by_side(study, three_seeds):
    table = seeds.recovered_by_seed(study, three_seeds)
    assert list(table.columns) == [0, 1, "mean", "low", "high"]
    assert table.loc["shift TP-", [0, 1, "mean"]].tolist() == pytest.approx([0.3, 0.5, 0.4])
    assert len(table) == 3


def test_a_seed_that_fails_does_not_stop_the_others(monkeypatch):
    ran = []

    def call(command):
        ran.append(command[command.index("--seeds") + 1])
        assert "--no-pages" in command
        return int(ran[-1] == "1")

    monkeypatch.setattr(seeds.subprocess, "call", call)
    assert seeds.run_jobs("mini", [0, 1, 2]) == [1]
    assert ran == ["0", "1", "2"]


def test_an_interrupted_job_stops_all(monkeypatch):
    monkeypatch.setattr(seeds.subprocess, "call", lambda _: 130)
    with pytest.raises(KeyboardInterrupt):
        seeds.run_jobs("mini", [0, 1])


def test_a_job_begins_without_what_an_earlier_one_said(study, three_seeds):
    other = SimpleNamespace(profile=study.profile, seed=2, folder=study.folder.with_name("seed2"))
    seeds.begin_job(other)
    assert seeds.outcome(study, 2).name == "claims.json"
    seeds.record_failure(other, "no memory")
    assert seeds.claims_by_seed(study, [0, 2])[1] == {2: "no memory"}


def test_a_failure_that_cannot_be_recorded_does_not_hide_itself(study, tmp_path):
    (tmp_path / "results").write_text("where a folder should be")
    seeds.record_failure(SimpleNamespace(profile=study.profile, seed=2, folder=tmp_path), "the disk is full")


@pytest.mark.parametrize(("error", "said"), [(errno.EROFS, "permissions"), (errno.ENOSPC, "full")])
def test_a_job_that_cannot_begin_says_why(study, monkeypatch, error, said):
    def refuse(self, missing_ok):
        raise OSError(error, "refused")

    with monkeypatch.context() as patched, pytest.raises(UserError, match=said):
        patched.setattr(Path, "unlink", refuse)
        seeds.begin_job(study)


def test_notebooks_that_show_seeds_take_them_as_a_parameter():
    for name in book.ACROSS_SEEDS:
        text = (book.PROJECT / "notebooks" / f"{name}.py").read_text()
        assert "seeds = [0]" in text


def test_pages_show_every_seed(study, three_seeds):
    from dpotox.show import report

    html = report.claims_by_seed(*seeds.claims_by_seed(study, three_seeds)).to_html()
    assert "seed 0" in html
    assert "seed 1" in html
    assert "seed 2: the disk is full" in html
    assert isinstance(seeds.claims_by_seed(study, three_seeds)[0], pd.DataFrame)
