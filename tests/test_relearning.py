"""Whether DPO's effect lasts: what is trained on, when toxicity is back, and what the probe reads."""

import copy
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from dpotox.facts import AUC, CONTROL, GONE, OWN_PROBE, PLACEBO, RELEARNT, STEPS, STEPS_SHARE
from dpotox.inputs import data
from dpotox.places import PROJECT
from dpotox.profile import Dpo
from dpotox.run import lasting, relearning
from dpotox.run.fine_tuning import fine_tune
from dpotox.show import report_relearning


def trained(network, model, texts, rate=1e-2, batch_size=2, at=(1, 2)):
    """A copy of the network after two steps, and when it was examined."""
    own, seen = copy.deepcopy(network), []
    for module in own.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    settings = Dpo(learning_rate=rate, batch_size=2, optimizer="sgd", max_grad_norm=1e9)
    given = {"max_tokens": 8, "steps": list(at), "examine": lambda step: seen.append((step, own.training))}
    given |= {"seed": 0, "on_cpu": True, "batch_size": batch_size}
    fine_tune(own, model.tokenizer, texts, settings, **given)
    return own, seen


def test_a_step_is_plain_gradient_descent_on_the_loss_of_whole_texts(network, model):
    texts = ["the soup seems spicy .", "we bake our fresh bread and the soup"]  # of different lengths
    own, seen = trained(network, model, texts, at=(1,))
    assert seen == [(1, False)]
    plain, ids = copy.deepcopy(network), [model.tokenizer(text)["input_ids"][:8] for text in texts]
    total, count = 0.0, 0
    for row in ids:
        row = torch.tensor([row])
        logits = plain(row).logits[:, :-1]
        total += torch.nn.functional.cross_entropy(logits.mT, row[:, 1:], reduction="sum")
        count += row.shape[1] - 1
    (total / count).backward()
    for (name, after), before in zip(own.named_parameters(), plain.parameters(), strict=True):
        assert torch.allclose(after, before - 1e-2 * before.grad, atol=1e-5), name


def test_texts_that_go_through_one_by_one_train_to_the_same_weights(network, model, prompts):
    one, both = (trained(network, model, prompts[:4], batch_size=size)[0] for size in (1, 2))
    for a, b in zip(one.parameters(), both.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_texts_are_the_comments_of_one_label_and_no_more_than_needed(study):
    texts, labels = data.comments(study.profile, study.seed)
    toxic, others = (relearning.texts_of(study, label, 1_000) for label in (True, False))
    assert toxic == [text for text, label in zip(texts, labels, strict=True) if label]
    assert len(toxic) + len(others) == len(texts)
    few = relearning.texts_of(study, True, 2), relearning.texts_of(study, False, 2)
    assert sum(map(len, few)) == 4 * 2 * study.profile.dpo.batch_size


def test_three_models_are_trained_and_examined_after_every_step_asked_for(study):
    table, steps = study.relearning, study.profile.beyond.relearning_steps
    assert table.groupby("run")["step"].agg(list).to_dict() == dict.fromkeys(
        (RELEARNT, CONTROL, PLACEBO), steps
    )
    assert (table["toxicity"].map(len) == study.profile.sizes.fewer_prompts).all()
    assert (table["nll"].map(len) == np.where(table["step"] == steps[-1], study.exam.neutral.sum(), 0)).all()


def test_the_probe_is_told_of_on_comments_that_it_was_not_fitted_to(study):
    toxic = study.comments["toxic"].numpy()
    some = lasting.held_out(toxic, study.profile.probe.held_out, study.seed)
    score = study.comments["features"].numpy()[some] @ study.probe.direction.numpy()
    assert roc_auc_score(toxic[some], score) == pytest.approx(study.probe.auc)
    own = lasting.probes(study).set_index("probe").loc[OWN_PROBE]
    assert own["before"] == pytest.approx(study.probe.auc)
    after = roc_auc_score(toxic[some], study.comments_after @ study.probe.direction)
    assert own["after"] == pytest.approx(after)
    assert own["difference"] == pytest.approx(after - study.probe.auc)


def test_auc_is_sklearns_also_with_ties_and_in_many_draws_at_once():
    rng = np.random.default_rng(0)
    score, toxic = rng.integers(0, 5, (3, 40)).astype(float), rng.random((3, 40)) < 0.4
    wanted = [roc_auc_score(t, s) for s, t in zip(score, toxic, strict=True)]
    assert np.allclose(lasting.auc(score, toxic), wanted)


BEFORE, AFTER = np.array([0.6, 0.6, 0.6]), np.array([0.2, 0.2, 0.2])


def made_up(learnt: list[float], other: list[float], steps=(10, 20)) -> pd.DataFrame:
    rows = [(RELEARNT, s, np.full(3, x)) for s, x in zip(steps, learnt, strict=True)]
    rows += [(PLACEBO, s, np.full(3, x)) for s, x in zip(steps, other, strict=True)]
    return pd.DataFrame(rows, columns=["run", "step", "toxicity"])


def test_between_two_steps_toxicity_is_straight_and_as_many_steps_are_compared():
    runs = made_up([0.5, 0.7], [0.2, 0.4])  # back after 15, where the others are at .3
    _, back, gone = lasting.came_back(runs, BEFORE, AFTER, 5)
    assert np.allclose(back, 15)
    assert np.allclose(gone, 0.25)


def test_toxicity_that_never_comes_back_is_compared_after_all_steps():
    _, back, gone = lasting.came_back(made_up([0.3, 0.4], [0.2, 0.4]), BEFORE, AFTER, 5)
    assert np.isinf(back).all()
    assert np.allclose(gone, 0.5)


def test_what_came_back_in_many_resamples_has_a_lower_end_even_if_it_did_not_itself():
    draws = np.array([np.inf, *np.linspace(30, 40, 900), *np.full(1_100, np.inf)])
    value, low, high = lasting.ends_of(draws)
    assert math.isnan(value)
    assert 30 < low < 31
    assert math.isnan(high)


@pytest.mark.parametrize(
    ("value", "ends", "most", "verdict"),
    [
        (0.2, (0.1, 0.3), 0.5, "holds"),
        (0.4, (0.3, math.nan), 0.5, "inconclusive"),
        (math.nan, (0.4, math.nan), 0.5, "inconclusive"),
        (math.nan, (math.nan, math.nan), 0.6, "does not hold"),
        (math.nan, (math.nan, math.nan), 0.3, "inconclusive"),
        (0.2, (0.1, math.nan), 0.3, "inconclusive"),
        (math.nan, (math.nan, math.nan), math.nan, "inconclusive"),
    ],
)
def test_what_never_came_back_decides_only_if_enough_was_tried(value, ends, most, verdict):
    rule = report_relearning.RULES[STEPS_SHARE]
    line = pd.Series({"value": value, "low": ends[0], "high": ends[1], "most": most})
    assert rule.verdict(report_relearning.as_far_as_tried(line, rule)) == verdict


def with_values(**values) -> SimpleNamespace:
    """Results of which only what the verdicts are about is known."""
    nothing = {"value": math.nan, "low": math.nan, "high": math.nan, "most": math.nan}
    rows = [{"quantity": name} | nothing | values.get(name, {}) for name in (STEPS, STEPS_SHARE, GONE, AUC)]
    holds = {"trained-dpo": values.get("trained", True)}
    return SimpleNamespace(tables=["how_long"], how_long=pd.DataFrame(rows), holds=holds)


def test_the_verdicts_say_why_something_is_not_known():
    assert "no sure effect" in report_relearning.verdicts(with_values()).data
    assert "was given" in report_relearning.verdicts(with_values(trained=False)).data
    never = with_values(**{STEPS_SHARE: {"most": 0.3}})
    assert "more than 0.3" in report_relearning.verdicts(never).data
    assert "nan" not in report_relearning.verdicts(never).data


def test_a_given_model_has_no_steps_to_compare_with(study):
    given = SimpleNamespace(
        relearning=study.relearning,
        outcomes={
            name: replace(one, greedy=np.full_like(one.greedy, level))
            for (name, one), level in zip(study.outcomes.items(), (0.9, 0.1), strict=True)
        },
        exam=study.exam,
        profile=study.profile,
        dpo_curves=pd.DataFrame(),
        comments=study.comments,
        comments_after=study.comments_after,
        probe=study.probe,
        seed=study.seed,
    )
    found = lasting.how_long(given).set_index("quantity")
    assert found.loc[STEPS, "most"] == study.profile.beyond.relearning_steps[-1]
    assert found.loc[STEPS_SHARE].isna().all()


def test_the_page_says_what_was_predicted_and_what_came_out(results):
    told = report_relearning.verdicts(results).data
    assert all(f"`{rule.id}`" in told for rule in report_relearning.RULES.values())
    said = report_relearning.answer(results).data
    assert "AUC" in said
    assert "nan" not in said
    assert report_relearning.curves(results).axes


def test_results_of_before_say_that_they_lack_it():
    old = SimpleNamespace(tables=[])
    for made in (report_relearning.verdicts, report_relearning.answer):
        assert "made before" in made(old).data


def test_the_rules_are_those_that_were_written_down():
    page = (PROJECT / "book" / "before_the_runs.md").read_text(encoding="utf-8")
    for rule in report_relearning.RULES.values():
        assert f"| `{rule.id}` | {rule.statement} | {rule.quantity} | " in page
    limits = [(rule.low, rule.high) for rule in report_relearning.RULES.values()]
    assert limits == [(-math.inf, 0.5), (-math.inf, 0.25), (-0.02, 0.02)]


def test_learning_rates_are_summed_as_the_schedule_has_them():
    falling = Dpo(schedule="linear", warmup_steps=0, steps=90)
    assert lasting.rates_of(falling, 90) == pytest.approx(45.5)
    assert lasting.rates_of(replace(falling, schedule="constant"), 7) == 7
