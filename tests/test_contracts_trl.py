"""What we take for granted of trl's trainer, one idiom a test, against plain PyTorch.

After an update, the test that fails names what has changed. All of it is leaned on in `dpotox.paper.dpo`.
"""

import copy
import math
from dataclasses import replace

import pandas as pd
import pytest
import torch
from datasets import Dataset, load_from_disk
from torch.nn.functional import logsigmoid
from transformers import EarlyStoppingCallback
from trl import DPOTrainer

from dpotox import profile
from dpotox.inputs.training_progress import show_progress
from dpotox.paper import dpo

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # as in `train_dpo`

SETTINGS = profile.Dpo(
    learning_rate=0.01, optimizer="rmsprop", schedule="constant", batch_size=4, steps=1, eval_every=1
)
ROWS = [
    {"prompt_ids": [0, 5 + i, 6], "chosen_ids": [7, 8 + i, 9, 10][: 2 + i % 3], "rejected_ids": [20 + i, 21]}
    for i in range(10)
]
REVERSED = [row | {"chosen_ids": row["rejected_ids"], "rejected_ids": row["chosen_ids"]} for row in ROWS[:4]]
"""Pairs on which the loss rises as it falls on `ROWS`."""


@pytest.fixture
def make(network, model, tmp_path):
    """Makes a trainer of a copy of the random network, as `dpo.train_dpo` makes it."""

    def make(settings=SETTINGS, rows=ROWS, unseen=ROWS[:4], at_once=None, kind=dpo.PairTrainer, **changes):
        arguments = dpo._arguments(settings, tmp_path / "checkpoints", 0, True, at_once)
        for name, value in changes.items():
            setattr(arguments, name, value)
        stopping = [EarlyStoppingCallback(settings.patience)] if settings.patience else []
        return kind(
            copy.deepcopy(network),
            args=arguments,
            train_dataset=Dataset.from_list(rows),
            eval_dataset=Dataset.from_list(unseen),
            processing_class=model.tokenizer,
            callbacks=stopping,
        )

    return make


def log_probability(network, row, side: str) -> torch.Tensor:
    """The sum over a continuation's tokens, each given all before it."""
    ids = torch.tensor([row["prompt_ids"] + row[side]])
    start = len(row["prompt_ids"]) - 1
    each = network(ids).logits[0, :-1].log_softmax(-1).gather(-1, ids[0, 1:, None])[:, 0]
    return each[start:].sum()


def margins(policy, reference, rows) -> torch.Tensor:
    """DPO's reward of the chosen less that of the rejected continuation."""

    def moved(row, side):
        with torch.no_grad():
            before = log_probability(reference, row, side)
        return SETTINGS.beta * (log_probability(policy, row, side) - before)

    return torch.stack([moved(row, "chosen_ids") - moved(row, "rejected_ids") for row in rows])


def train(trainer, checkpoint=None) -> pd.DataFrame:
    """The history, after training without a word."""
    with show_progress(trainer, "DPO"):
        trainer.train(resume_from_checkpoint=checkpoint)
    return pd.DataFrame(trainer.state.log_history)


def weights(network) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


# Rows


@pytest.mark.parametrize("name", ["_prepare_dataset", "_get_train_sampler"])
def test_what_our_trainer_overrides_is_there_to_be_overridden(name):
    """`PairTrainer`: under another name it would never be called."""
    assert callable(getattr(DPOTrainer, name, None))
    assert name in vars(dpo.PairTrainer)


def test_rows_of_token_ids_are_taken_as_they_are_without_an_end_of_text(make):
    """`_token_ids`: the columns' names; a batch has the chosen texts first, then the rejected."""
    trainer = make()
    assert {"prompt_ids", "chosen_ids", "rejected_ids"} <= set(trainer.train_dataset.column_names)
    batch = next(iter(trainer.get_eval_dataloader()))
    texts = [row["prompt_ids"] + row[side] for side in ("chosen_ids", "rejected_ids") for row in ROWS[:4]]
    for ids, there, text in zip(batch["input_ids"], batch["attention_mask"], texts, strict=True):
        assert ids[there.bool()].tolist() == text
    counted = [len(row[side]) for side in ("chosen_ids", "rejected_ids") for row in ROWS[:4]]
    assert batch["completion_mask"].sum(1).tolist() == counted


@pytest.mark.parametrize("at_once", [4, 2])
def test_an_epoch_has_whole_batches_only(make, at_once):
    """`_get_train_sampler`: ten rows in batches of four leave two out, also where a batch goes in parts."""
    parts = list(make(at_once=at_once).get_train_dataloader())
    assert [len(part["input_ids"]) for part in parts] == [2 * at_once] * (8 // at_once)


# The reference


def test_reference_log_probabilities_are_sums_over_the_continuation_and_stay_with_the_rows(make, network):
    """`precompute_ref_log_probs`: the model before training is the reference, and is not kept."""
    trainer = make()
    for name, side in (("ref_chosen_logps", "chosen_ids"), ("ref_rejected_logps", "rejected_ids")):
        with torch.no_grad():
            expected = [float(log_probability(network, row, side)) for row in ROWS]
        assert trainer.train_dataset[name][:] == pytest.approx(expected, abs=1e-3)
        assert trainer.eval_dataset[name][:] == pytest.approx(expected[:4], abs=1e-3)
    assert trainer.ref_model is None


def test_reference_log_probabilities_are_found_beside_the_rows_again(make, network, tmp_path, monkeypatch):
    """`_token_rows`: rows that were loaded from a folder have them written there, for a run that goes on."""
    Dataset.from_list(ROWS).save_to_disk(tmp_path / "token_ids")
    monkeypatch.setattr(Dataset, "from_list", lambda rows: load_from_disk(tmp_path / "token_ids"))
    first = make().train_dataset["ref_chosen_logps"][:]

    def fail(*_):
        raise AssertionError("they are computed again")

    monkeypatch.setattr(dpo.PairTrainer, "compute_ref_log_probs", fail)
    assert make().train_dataset["ref_chosen_logps"][:] == first


# The loss


def test_before_the_first_step_the_loss_is_ln_2_and_the_margin_0(make):
    """`eval_on_start`, set after the arguments are made: the first point of the curves."""
    history = train(make(eval_on_start=True))
    first = history[history["step"] == 0].iloc[0]
    assert first["eval_loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert first["eval_rewards/margins"] == pytest.approx(0, abs=1e-6)


def test_loss_margin_and_accuracy_are_those_of_the_formula(make, network, other):
    """`_curves`: minus the log-sigmoid of the margin, its mean, and the share that is positive."""
    trainer = make()
    trainer.model.load_state_dict(other.state_dict())
    measured = trainer.evaluate()
    with torch.no_grad():
        expected = margins(other, network, ROWS[:4])
    assert measured["eval_loss"] == pytest.approx(float(-logsigmoid(expected).mean()), abs=1e-4)
    entry = trainer.state.log_history[-1]
    assert entry["eval_rewards/margins"] == pytest.approx(float(expected.mean()), abs=1e-4)
    assert entry["eval_rewards/accuracies"] == pytest.approx(float((expected > 0).float().mean()))
    assert expected.abs().min() > 0.01


def test_the_history_has_the_names_that_the_curves_are_made_of(make):
    """`_curves`: `step`, `loss`, `rewards/margins`, `rewards/accuracies`, for validation after `eval_`."""
    trainer = make(eval_on_start=True)
    train(trainer)
    curves = dpo._curves(trainer.state.log_history)
    assert curves[["step", "split"]].values.tolist() == [[1, "train"], [0, "validation"], [1, "validation"]]
    assert curves.notna().all(axis=None)


@pytest.mark.parametrize("at_once", [4, 2])
def test_a_step_follows_the_clipped_gradient_of_a_batchs_mean_loss_without_dropout(make, network, at_once):
    """`_arguments`: parts add up to a whole batch; shown by an optimiser that does not rescale gradients."""
    settings = replace(SETTINGS, optimizer="sgd", max_grad_norm=0.5)
    assert network.config.resid_pdrop > 0
    expected = stepped_by_hand(network, settings, torch.optim.SGD)
    trainer = make(settings, ROWS[:4], at_once=at_once)
    train(trainer)
    assert trainer.state.global_step == 1
    moved, by_hand = (weights(n) - weights(network) for n in (trainer.model, expected))
    assert float(by_hand.norm()) == pytest.approx(0.5 * SETTINGS.learning_rate, rel=0.01)  # it was clipped
    assert float((moved - by_hand).norm() / by_hand.norm()) < 0.01


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [("rmsprop", torch.optim.RMSprop, {}), ("adamw_torch", torch.optim.AdamW, {"weight_decay": 0.0})],
)
def test_the_optimisers_of_the_profiles_are_torchs_own(make, network, name, kind, options):
    """`dpo.optimizer`: known by these names, with torch's settings and no weight decay."""
    settings = replace(SETTINGS, optimizer=name)
    expected = stepped_by_hand(network, settings, kind, **options)
    trainer = make(settings, ROWS[:4])
    train(trainer)
    moved, by_hand = (weights(n) - weights(network) for n in (trainer.model, expected))
    assert float((moved - by_hand).norm() / by_hand.norm()) < 0.02  # signs of gradients near zero may differ


def stepped_by_hand(network, settings, kind, **options):
    stepped = copy.deepcopy(network)
    optimizer = kind(stepped.parameters(), settings.learning_rate, **options)
    (-logsigmoid(margins(stepped, network, ROWS[:4]))).mean().backward()
    torch.nn.utils.clip_grad_norm_(stepped.parameters(), settings.max_grad_norm)
    optimizer.step()
    return stepped


# Checkpoints and the end


def test_training_goes_on_from_a_checkpoint_to_the_same_weights_and_history(make, tmp_path):
    """`resume_from_checkpoint`: optimiser, order of the rows and history are all restored."""
    settings = replace(SETTINGS, steps=4, eval_every=2)
    whole = make(settings, save_total_limit=None)
    history = train(whole)
    second = make(settings, save_total_limit=None)
    steps = []
    step = second.training_step
    second.training_step = lambda *args, **kw: steps.append(second.state.global_step) or step(*args, **kw)
    resumed = train(second, str(tmp_path / "checkpoints" / "checkpoint-2"))
    assert steps == [2, 3]
    assert torch.equal(weights(whole.model), weights(second.model))
    names = ["step", "loss", "eval_loss", "rewards/margins"]
    pd.testing.assert_frame_equal(history[names].iloc[:-1], resumed[names].iloc[:-1])


def test_a_checkpoint_is_a_folder_by_its_step_with_the_state_of_the_trainer(make, tmp_path):
    """`latest_checkpoint`: `checkpoint-<step>/trainer_state.json` is written last, and is JSON."""
    train(make(replace(SETTINGS, steps=2)))
    (found,) = (tmp_path / "checkpoints").glob("checkpoint-*")
    assert found.name == "checkpoint-2"
    assert max(found.iterdir(), key=lambda path: path.stat().st_mtime_ns).name == "trainer_state.json"


def test_without_progress_training_ends_and_the_best_weights_come_back(make):
    """`EarlyStoppingCallback` with `load_best_model_at_end`; the best outlasts `save_total_limit=1`."""
    trainer = make(replace(SETTINGS, steps=9, patience=2), unseen=REVERSED)
    seen, evaluate = [], trainer.evaluate

    def evaluated(*args, **kwargs):
        seen.append(weights(trainer.model))
        return evaluate(*args, **kwargs)

    trainer.evaluate = evaluated
    losses = train(trainer)["eval_loss"].dropna()
    assert losses.is_monotonic_increasing
    assert trainer.state.global_step == len(seen) == 1 + 2
    assert torch.equal(weights(trainer.model), seen[0])
    assert not torch.equal(weights(trainer.model), seen[-1])


def test_the_count_of_evaluations_without_progress_goes_on_from_a_checkpoint(make, tmp_path):
    """`restore_callback_states_from_checkpoint`: a run that was killed ends where it would have."""
    settings = replace(SETTINGS, steps=9, patience=2)
    train(make(settings, unseen=REVERSED, save_total_limit=None))
    again = make(settings, unseen=REVERSED, save_total_limit=None)
    train(again, str(tmp_path / "checkpoints" / "checkpoint-2"))
    assert again.state.global_step == 1 + 2
