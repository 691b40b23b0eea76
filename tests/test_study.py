"""The steps together, on the tiny profile."""

import json
import shutil
from dataclasses import replace
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from dpotox.errors import UserError
from dpotox.inputs.language import Language
from dpotox.paper.groups import GROUPS
from dpotox.paper.rows import Kind
from dpotox.results.catalogue import TABLES
from dpotox.results.folder import Results
from dpotox.run.plan import Plan
from dpotox.run.study import Study, open_study
from dpotox.show.masking import Mask


def test_every_step_leaves_an_artifact_that_knows_its_settings(study):
    for step in ("base", "probe", "pairs", "dpo", "readings", "table1"):
        settings = json.loads((study.folder / step / "settings.json").read_text())
        assert settings["seed"] == 0
        assert settings["code"]


def test_the_neuron_table_is_complete_and_consistent(study):
    table = pd.read_parquet(study.folder / "results" / "neurons.parquet")
    assert len(table) == 2 * 64
    assert set(table["group"]) <= set(GROUPS)
    assert np.allclose(table["projection_drop"], table["pre_projection"] - table["post_projection"])
    assert np.allclose(table["activation_change"], table["post_activation"] - table["pre_activation"])
    assert np.isfinite(table.select_dtypes("number")).all().all()


def test_claims_are_written_with_everything_a_reader_needs(study):
    claims = json.loads((study.folder / "results" / "claims.json").read_text())
    fields = {"id", "statement", "paper", "here", "low", "high", "rule", "verdict", "chapter"}
    for claim in claims:
        assert fields <= set(claim)
        assert claim["verdict"] in ("holds", "does not hold", "inconclusive")


def test_pairs_prefer_the_less_toxic_by_the_margin(study):
    gap = study.pairs["rejected_toxicity"] - study.pairs["chosen_toxicity"]
    assert gap.min() >= study.profile.pairs.margin
    assert np.allclose(study.score(study.pairs["chosen"].tolist()), study.pairs["chosen_toxicity"])


def test_dpo_starts_at_the_base_model_and_learns_the_preference(study):
    curve = study.dpo_curves[study.dpo_curves["split"] == "validation"]
    assert curve["loss"].iloc[0] == pytest.approx(np.log(2), abs=1e-3)
    assert curve["loss"].iloc[-1] < curve["loss"].iloc[0]
    assert curve["margin"].iloc[-1] > 0


def test_table1_has_the_papers_rows_and_their_controls(study):
    rows = study.table1.rows
    assert set(get_args(Kind)) == set(rows["kind"])
    assert set(rows["positions"]) == {"all", "newest"}
    before = study.table1["before DPO"]
    assert len(before.greedy) == len(study.prompts)
    assert np.allclose(before.greedy, study.toxicity["base"])
    assert np.allclose(study.table1["after DPO"].greedy, study.toxicity["dpo"])


def test_a_study_opened_again_reuses_what_is_there(study):
    again, kept = Study(study.plan), ("base", "results")
    before = [(study.folder / step / "settings.json").stat().st_mtime_ns for step in kept]
    assert repr(again.evidence) == repr(study.evidence)
    assert again.results_folder == study.results_folder
    assert [(study.folder / step / "settings.json").stat().st_mtime_ns for step in kept] == before


def test_the_same_seed_gives_the_same_results_again(results, job):
    _, again = job  # made by other processes in another folder
    there = [name for name, table in TABLES.items() if not table.needs or results.holds[table.needs]]
    for name in (*there, "claims"):
        pd.testing.assert_frame_equal(getattr(Results(again.plan.results), name), getattr(results, name))


def test_what_is_asked_for_takes_only_what_it_needs(study, tmp_path):
    other = Study(replace(study.plan, folder=tmp_path / "tiny" / "seed0"))
    shutil.copytree(study.folder / "base", other.folder / "base")
    assert other.neuron_evidence.keys() == study.neuron_evidence.keys()
    made = {p.name for p in other.folder.iterdir() if p.is_dir() and not p.name.startswith(".")}
    needed = {"base", "comments", "probe", "pairs", "dpo", "base-values", "dpo-values"}
    needed |= {"readings", "neurons", "resampled-neuron-quantities", "neuron-evidence"}
    assert made == needed  # neither table 1 nor placebos


def test_a_changed_setting_remakes_its_step_and_what_follows(study, tmp_path):
    profile = replace(study.profile, dpo=replace(study.profile.dpo, steps=2))
    changed = Study(Plan(profile, 0, study.folder))
    kept = {s: (study.folder / s / "settings.json").read_text() for s in ("base", "pairs", "dpo")}
    try:
        assert changed.dpo_curves["step"].max() == 2
        for step, same in (("base", True), ("pairs", True), ("dpo", False)):
            assert ((study.folder / step / "settings.json").read_text() == kept[step]) is same
    finally:
        assert Study(study.plan).dpo_curves["step"].max() == 20


def test_words_of_the_language_are_kept_and_hidden_in_the_pages_at_first(study, results):
    text = "the soup seems spicy ."
    worst = max(Language().severity, key=Language().severity.get)
    assert study.masking.texts([f"{text} {worst}"]) == [f"{text} {worst}"]
    assert Mask.of(results)(f"{text} {worst}") == f"{text} {worst[0]}{'*' * (len(worst) - 1)}"


def test_table1_can_be_judged_by_a_second_scorer(study):
    first, second = study.table1, study.table1.rescored(study.second_score)
    texts = first["after DPO"].texts.tolist()
    assert np.allclose(second["after DPO"].greedy, study.second_score(texts))
    assert np.array_equal(second["after DPO"].nll, first["after DPO"].nll)
    assert not np.allclose(second["after DPO"].greedy, first["after DPO"].greedy)


@pytest.mark.parametrize("seed", [-1, "0"])
def test_a_seed_that_is_no_whole_number_is_refused(seed):
    with pytest.raises(UserError, match="seed"):
        open_study("mini", seed)
