"""DPO: resumed, stopped early, and divided between processes."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from trl import DPOConfig

from dpotox import profile, progress
from dpotox.errors import UserError
from dpotox.paper import dpo
from dpotox.run import training
from dpotox.run.study import Study

WEIGHT = "transformer.h.0.mlp.c_fc.weight"


def train(study: Study, folder: Path, **changes) -> tuple[torch.Tensor, pd.DataFrame]:
    """A weight after training, and the curves."""
    folder.mkdir(exist_ok=True)
    network = study.base_network(study.profile.compute)
    curves = dpo.train_dpo(
        network,
        study.tokenizer,
        study.pairs,
        replace(study.profile.dpo, **changes),
        study.profile.pairs,
        folder,
        seed=0,
        on_cpu=True,
    )
    return network.state_dict()[WEIGHT], curves


class Killed(Exception):
    pass


@pytest.fixture
def kill_at_step(monkeypatch):
    """Make training fail at a step, and count how often reference log-probabilities are computed."""
    counts = {"reference": 0, "kill": None}
    step, compute = dpo.PairTrainer.training_step, dpo.PairTrainer.compute_ref_log_probs

    def training_step(self, *args, **kwargs):
        if self.state.global_step == counts["kill"]:
            raise Killed
        return step(self, *args, **kwargs)

    def compute_ref_log_probs(self, *args, **kwargs):
        counts["reference"] += 1
        return compute(self, *args, **kwargs)

    monkeypatch.setattr(dpo.PairTrainer, "training_step", training_step)
    monkeypatch.setattr(dpo.PairTrainer, "compute_ref_log_probs", compute_ref_log_probs)
    return counts


@pytest.mark.parametrize("patience", [0, 2])
def test_training_that_was_killed_goes_on_to_the_same_weights(study, tmp_path, kill_at_step, patience):
    whole, curves = train(study, tmp_path / "whole", patience=patience)
    computed = kill_at_step["reference"]
    kill_at_step["kill"] = 14
    with pytest.raises(Killed):
        train(study, tmp_path / "killed", patience=patience)
    assert not progress._Logged.running  # no log is told of it any more
    assert training.latest_checkpoint(tmp_path / "killed" / "checkpoints").name == "checkpoint-10"
    kill_at_step.update(kill=None, reference=0)
    resumed, resumed_curves = train(study, tmp_path / "killed", patience=patience)
    assert torch.equal(whole, resumed)
    pd.testing.assert_frame_equal(curves, resumed_curves)
    assert computed > 0
    assert kill_at_step["reference"] == 0  # kept with the checkpoint
    training.remove_checkpoints(tmp_path / "killed")
    assert list((tmp_path / "killed").iterdir()) == []


@pytest.mark.parametrize("full_at_step", [0, 14])
def test_a_batch_that_does_not_fit_goes_through_in_parts_to_the_same_weights(
    study, tmp_path, monkeypatch, capsys, full_at_step
):
    step = dpo.PairTrainer.training_step

    def training_step(self, model, inputs, *args, **kwargs):
        if self.state.global_step >= full_at_step and len(inputs["input_ids"]) > 2 * 2:  # chosen and rejected
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(dpo.PairTrainer, "training_step", training_step)
    training.train_into(tmp_path, study, study.pairs, study.profile.dpo)
    got, curves = (
        load_file(tmp_path / "model.safetensors")[WEIGHT],
        pd.read_parquet(tmp_path / "curves.parquet"),
    )
    assert "a batch of 8 does not fit into memory; going on with 4" in capsys.readouterr().err
    whole = load_file(study.folder / "dpo" / "model.safetensors")[WEIGHT]
    moved = (whole - load_file(study.folder / "base" / "model.safetensors")[WEIGHT]).abs().max()
    assert torch.allclose(got, whole, atol=float(moved) / 100)
    assert curves["step"].equals(study.dpo_curves["step"])


def test_a_checkpoint_that_was_cut_off_is_not_used(tmp_path):
    for name, state in (("checkpoint-10", "{}"), ("checkpoint-20", "{"), ("checkpoint-30", None)):
        (tmp_path / name).mkdir()
        if state:
            (tmp_path / name / "trainer_state.json").write_text(state)
    assert training.latest_checkpoint(tmp_path).name == "checkpoint-10"
    assert training.latest_checkpoint(tmp_path / "nowhere") is None


def test_training_ends_when_validation_no_longer_improves_and_takes_the_best(study, tmp_path, monkeypatch):
    losses = {0: 0.7, 2: 0.6, 4: 0.5, 6: 0.55, 8: 0.52, 10: 0.4}
    weights, loop = {}, dpo.PairTrainer.evaluation_loop

    def evaluation_loop(self, *args, **kwargs):
        step = self.state.global_step
        weights[step] = dict(self.model.named_parameters())[WEIGHT].detach().clone()
        output = loop(self, *args, **kwargs)
        output.metrics["eval_loss"] = losses[step]
        return output

    monkeypatch.setattr(dpo.PairTrainer, "evaluation_loop", evaluation_loop)
    got, curves = train(study, tmp_path, eval_every=2, steps=40, patience=2)
    validation = curves[curves["split"] == "validation"]
    assert dict(zip(validation["step"], validation["loss"], strict=True)) == {
        step: losses[step] for step in (0, 2, 4, 6, 8)
    }
    assert torch.equal(got, weights[4])
    assert not torch.equal(got, weights[8])


def test_pairs_are_cut_to_the_lengths_of_the_profile(study):
    pair = next(study.pairs.itertuples())
    short = replace(study.profile.pairs, prompt_tokens=3, new_tokens=4)
    ids = dpo._token_ids(study.tokenizer, pair, short)
    assert len(ids["prompt_ids"]) == 3
    assert len(ids["chosen_ids"]) == len(ids["rejected_ids"]) == 4
    assert ids["prompt_ids"] == study.tokenizer(pair.prompt)["input_ids"][:3]


def test_a_batch_that_processes_cannot_share_is_refused(study, tmp_path, monkeypatch):
    monkeypatch.setattr(DPOConfig, "world_size", property(lambda self: 3))
    with pytest.raises(UserError, match=r"batch_size = 8.*3 processes"):
        dpo._arguments(study.profile.dpo, tmp_path, 0, True)


def test_a_placebo_is_trained_for_the_steps_behind_the_weights_that_were_kept():
    at, losses = [0, 10, 20, 30], [0.7, 0.6, 0.5, 0.55]
    curves = pd.DataFrame({"step": at, "split": "validation", "loss": losses})
    assert training.steps_kept(curves, profile.Dpo(steps=40, patience=2)) == 20
    assert training.steps_kept(curves, profile.Dpo(steps=30, patience=0)) == 30
