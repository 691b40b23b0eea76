"""Several seeds: independent jobs, one table."""

import errno
from pathlib import Path

import pandas as pd
import pytest
from conftest import TINY
from made_up import a_table, write_made_up

from dpotox.errors import UserError
from dpotox.estimates import Estimate
from dpotox.profile import load_profile
from dpotox.results.claims import CLAIMS, DEPENDS, FAILS, HOLDS, OPEN, VERDICTS, judge, over_seeds
from dpotox.results.folder import Results
from dpotox.results.seeds import claims_by_seed, outcome, recovered_by_seed, runs_beside
from dpotox.run import book, seeds
from dpotox.run.plan import Plan
from dpotox.show import report_claims

NAMES, SHARES = ["ablate", "shift TP-", "after DPO"], [0.4, 0.3, 1.0]


def write_results(artifacts: Path, seed: int, add: float) -> Results:
    """Made-up results of a seed, with every claim inside its range, and then all values moved."""
    middle = {c.quantity: (max(c.low, -9) + min(c.high, 9)) / 2 + add for c in CLAIMS}
    rows = {name: {"value": v, "low": v, "high": v, "resampled": "prompts"} for name, v in middle.items()}
    values = [{"quantity": name} | row for name, row in rows.items()]
    table1 = a_table("table1").assign(name=NAMES, recovered=[share + add for share in SHARES])
    folder, profile = artifacts / "tiny" / f"seed{seed}" / "results", load_profile(TINY)
    return Results(write_made_up(folder, profile, seed, evidence=pd.DataFrame(values), table1=table1))


@pytest.fixture
def results(tmp_path) -> Results:
    """Those of seed 0."""
    return write_results(tmp_path, 0, 0.0)


@pytest.fixture
def plan(results) -> Plan:
    """That of seed 2."""
    return Plan(results.profile, 2, results.folder.parents[1] / "seed2")


@pytest.fixture
def three_seeds(results, plan):
    """Two more seeds beside the made-up results: one with results, one that failed."""
    write_results(results.folder.parents[2], 1, 0.2)
    seeds.record_failure(plan, "the disk is full")
    return [0, 1, 2, 3]


def test_seeds_without_claims_are_named_with_the_reason(results, three_seeds):
    table, missing = claims_by_seed(results, three_seeds, {})
    assert set(table["seed"]) == {0, 1}
    assert missing == {2: "the disk is full", 3: "left no results: not run, or broken off"}


def test_the_value_over_seeds_is_their_mean_and_is_judged_by_the_same_rule(results, three_seeds):
    table, _ = claims_by_seed(results, three_seeds, {})
    together = over_seeds(table)
    for claim in CLAIMS:
        values = table.loc[table["id"] == claim.id, "here"]
        assert together.loc[claim.id, "value"] == pytest.approx(values.mean(), nan_ok=True)
        assert together.loc[claim.id, "verdict"] in (*VERDICTS, DEPENDS)


CLAIM = next(claim for claim in CLAIMS if claim.id == "tp-is-a-minority")  # whose share is below a half


def over(*values: float, reach: float = 0.02) -> pd.Series:
    """A claim over seeds of such values, each with an interval that reaches so far."""
    tables = [judge({CLAIM.quantity: Estimate(v, v - reach, v + reach, "prompts")}) for v in values]
    return over_seeds(pd.concat(tables)).loc[CLAIM.id]


def test_a_claim_holds_over_seeds_if_the_mean_does_and_no_seed_contradicts():
    assert over(0.3, 0.31, 0.32)["verdict"] == HOLDS
    assert over(0.3, 0.31, 0.32, 0.49, 0.3, 0.31, 0.3)["verdict"] == HOLDS  # one is inconclusive
    assert over(0.6, 0.61, 0.62)["verdict"] == FAILS
    assert over(0.3, 0.49, 0.32)["verdict"] == OPEN


def test_a_claim_that_a_seed_contradicts_depends_on_the_seed_whatever_the_mean():
    assert over(*[0.3] * 9, 0.53)["verdict"] == DEPENDS
    assert over(0.3, 0.7)["verdict"] == DEPENDS
    assert over(*[0.49] * 9, 0.53)["verdict"] == OPEN  # no seed holds, nor does the mean


def test_one_seed_stands_for_itself():
    alone = over(0.3)
    assert alone["verdict"] == HOLDS
    assert (alone["low"], alone["high"]) == pytest.approx((0.28, 0.32))
    assert (alone["seeds"], alone["least"], alone["greatest"]) == (1, 0.3, 0.3)


def test_what_seeds_reach_and_how_many_hold_is_counted():
    some = over(0.3, 0.49, 0.6, 0.31)
    assert (some["least"], some["greatest"]) == (0.3, 0.6)
    assert (some["seeds"], some["hold"], some["fail"], some["open"]) == (4, 2, 1, 1)


def test_a_claim_that_one_seed_cannot_measure_is_open_over_seeds():
    found = pd.concat([judge({CLAIM.quantity: Estimate(0.3, 0.28, 0.32, "prompts")}), judge({})])
    assert over_seeds(found).loc[CLAIM.id, "verdict"] == OPEN


@pytest.mark.parametrize("n", [1, 2, 10])
def test_the_front_page_s_table_is_as_wide_for_any_number_of_seeds(n):
    tables = [judge({CLAIM.quantity: Estimate(v, v, v, "prompts")}) for v in [0.39] * (n - 1) + [0.4]]
    together = over_seeds(pd.concat(tables)).assign(carries="evidence")
    said = report_claims.claims_table(tables[0], together).data
    widths = {line.count(" | ") + 1 for line in said.splitlines() if line.startswith("| ")}
    assert widths == {5 if n == 1 else 6}
    row = next(line for line in said.splitlines() if CLAIM.quantity in line and CLAIM.statement in line)
    told = "✓ holds" if n == 1 else f"seeds 0.39 to 0.4 | ✓ holds ({n}\N{NO-BREAK SPACE}✓)"
    assert f"{told}; *evidence* | " in row


def test_recovered_shares_stand_side_by_side(results, three_seeds):
    table = recovered_by_seed(results, three_seeds, {})
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


def test_a_job_begins_without_what_an_earlier_one_said(results, plan, three_seeds):
    seeds.begin_job(plan)
    assert outcome(results, 2) == plan.results / "run.json"
    seeds.record_failure(plan, "no memory")
    assert claims_by_seed(results, [0, 2], {})[1] == {2: "no memory"}


def test_a_job_begins_without_results_that_are_out_of_date(results, plan):
    write_results(results.folder.parents[2], 2, 0.0)
    assert set(claims_by_seed(results, [0, 2], {})[0]["seed"]) == {0, 2}
    seeds.begin_job(plan)  # of whose steps none is made
    assert claims_by_seed(results, [0, 2], {})[1] == {2: "left no results: not run, or broken off"}


def test_results_that_cannot_be_read_are_a_reason(results, plan, three_seeds):
    (results.folder.parents[1] / "seed1" / "results" / "evidence.csv").write_text("quantity\nx\n")
    table, missing = claims_by_seed(results, three_seeds, {})
    assert set(table["seed"]) == {0}
    assert "evidence" in missing[1]


def test_a_failure_that_cannot_be_recorded_does_not_hide_itself(results, tmp_path):
    (tmp_path / "seed2").write_text("where a folder should be")
    seeds.record_failure(Plan(results.profile, 2, tmp_path / "seed2"), "the disk is full")


@pytest.mark.parametrize(("error", "said"), [(errno.EROFS, "permissions"), (errno.ENOSPC, "full")])
def test_a_job_that_cannot_begin_says_why(plan, monkeypatch, error, said):
    def refuse(self, missing_ok):
        raise OSError(error, "refused")

    with monkeypatch.context() as patched, pytest.raises(UserError, match=said):
        patched.setattr(Path, "unlink", refuse)
        seeds.begin_job(plan)


def test_notebooks_that_show_seeds_take_them_as_a_parameter():
    for name in book.ACROSS_SEEDS:
        text = (book.PROJECT / "notebooks" / f"{name}.py").read_text()
        assert "seeds = [0]" in text


def test_seeds_made_here_stand_beside_packs_under_their_names(results, three_seeds):
    assert list(runs_beside(results, three_seeds, {"a.zip": results})) == ["seed 1", "a.zip"]
    assert list(runs_beside(results, [0], {})) == []


def test_pages_show_every_seed(results, three_seeds):
    html = report_claims.claims_by_seed(*claims_by_seed(results, three_seeds, {})).to_html()
    assert "seed 0" in html
    assert "seed 1" in html
    assert "seed 2: the disk is full" in html
    assert isinstance(claims_by_seed(results, three_seeds, {})[0], pd.DataFrame)


def test_another_run_of_a_seed_can_contradict_and_counts_for_nothing_else(results):
    same, turned = Results(results.folder), Results(results.folder)
    same.__dict__["claims"] = results.claims.assign(here=results.claims["here"] * (1 + 1e-14))
    turned.__dict__["claims"] = results.claims.assign(verdict=FAILS, here=9.0)
    first = results.claims.loc[results.claims["verdict"] == HOLDS, "id"]
    table, _ = claims_by_seed(results, [0], {"a.zip": same})
    assert not table["again"].any()  # the same model
    table, _ = claims_by_seed(results, [0], {"a.zip": same, "b.zip": turned})
    over = over_seeds(table)
    assert (over["seeds"] == 1).all()
    assert (over.loc[first, "verdict"] == DEPENDS).all()
    assert over["value"].equals(over_seeds(results.claims)["value"])
    assert "seed 0, again" in report_claims.claims_by_seed(table, {}).to_html()


def test_of_two_packs_of_a_seed_the_first_counts(results):
    one, two = Results(results.folder), Results(results.folder)
    for pack, here in ((one, 0.1), (two, 0.2)):
        pack.__dict__["record"] = results.record.__class__(**vars(results.record) | {"seed": 5})
        pack.__dict__["claims"] = results.claims.assign(here=here)
    table, _ = claims_by_seed(results, [0], {"a.zip": one, "b.zip": two})
    assert set(table.query("seed == 5 and not again")["here"]) == {0.1}
    assert set(table.query("seed == 5 and again")["here"]) == {0.2}
