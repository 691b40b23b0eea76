"""What lowers toxicity without training: what is edited, how far is steered, and what it costs."""

import math
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import cross_entropy, log_softmax

from dpotox.facts import (
    BEST_OF,
    BY_STRENGTH,
    COST_RATIO,
    COST_RATIO_THERE,
    DIFFERENCE,
    EDITING,
    SHIFTS,
    STEERING,
    TRAINED_ON,
    UNCHANGED,
)
from dpotox.model.interventions import ablate
from dpotox.model.tracing import window_nll, window_nll_and_kl
from dpotox.places import PROJECT
from dpotox.run import costs, without_training
from dpotox.show import report_without_training


@pytest.fixture
def neurons():
    """Two neurons of each group before DPO: TP, AN, TN, AP; in two layers."""
    cosine = [0.1, 0.4, -0.1, -0.4, 0.1, 0.4, -0.1, -0.4]
    activation = [2.0, 2.0, -2.0, -2.0, -2.0, -2.0, 2.0, 2.0]
    table = pd.DataFrame({"cosine": cosine, "pre_activation": activation, "layer": [0, 1] * 4})
    return table.assign(neuron=range(8), pre_projection=table["cosine"] * 10 * table["pre_activation"])


def test_half_of_each_group_is_edited_the_largest_cosines_where_it_writes_along_the_probe(neurons):
    edited = without_training.edited_neurons(neurons, 0.5)
    assert edited["neuron"].tolist() == [1, 3, 4, 6]
    assert edited["side"].tolist() == [1, 1, -1, -1]
    assert len(without_training.edited_neurons(neurons, 1.0)) == 8


def test_what_layers_write_less_is_what_editing_takes_from_their_neurons_projections(neurons):
    edited = without_training.edited_neurons(neurons, 0.5)
    to = edited["pre_activation"] * (1 - 0.1 * edited["side"])
    per_activation = edited["pre_projection"] / edited["pre_activation"]
    change = ((to - edited["pre_activation"]) * per_activation).groupby(edited["layer"]).sum()
    assert np.allclose(without_training.written_less(edited, 0.1), -change)
    assert (change < 0).all()


def test_steering_goes_as_far_in_every_layer_whatever_its_direction(study):
    alpha, share = study.profile.beyond.edit_alpha, study.profile.beyond.edit_share
    edited = without_training.edited_neurons(study.neurons, share)
    total = edited["pre_projection"].abs().groupby(edited["layer"]).sum()
    directions = {
        STEERING: study.probe.unit,
        DIFFERENCE: without_training.mean_difference(**study.comments),
    }
    tried = [one for one in without_training.trials(study) if one.way in directions]
    assert len(tried) == 2 * len(study.profile.beyond.strengths)
    for one in tried:
        found = {layer: by for steer in one.interventions for layer, _, by in steer.by_layer()}
        assert found.keys() == set(total.index)
        for layer, by in found.items():
            wanted = -alpha * one.strength * total[layer] * directions[one.way]
            assert torch.allclose(by, wanted.float(), atol=1e-5)


def test_the_mean_difference_points_from_other_comments_to_toxic_ones():
    features = torch.tensor([[3.0, 1.0], [5.0, 1.0], [1.0, 1.0]])
    found = without_training.mean_difference(features, torch.tensor([True, True, False]))
    assert torch.equal(found, torch.tensor([1.0, 0.0]))


def test_shifts_are_multiples_of_what_dpo_does_on_the_same_text(study):
    every = [one for one in without_training.trials(study) if one.way == SHIFTS[1]]
    for one in every:
        (edit,) = one.interventions
        assert np.allclose(edit.neurons["value"], one.strength * study.neurons["same_text_change"])


def test_loss_and_divergence_are_those_of_plain_predictions(model, other_model, network, other, windows):
    found = window_nll_and_kl(model, other_model, windows, batch_size=2)
    with torch.no_grad():
        before, after = (log_softmax(some(windows).logits[:, :-1], -1) for some in (network, other))
    kl = (before.exp() * (before - after)).sum(-1).mean(1)
    loss = cross_entropy(after.mT, windows[:, 1:], reduction="none").mean(1)
    assert torch.allclose(found, torch.stack([loss, kl]), atol=1e-4)
    assert (kl > 0.01).all()


def test_a_model_diverges_from_itself_only_where_it_is_edited(model, windows, some_neurons):
    edit = [ablate(some_neurons)]
    loss, kl = window_nll_and_kl(model, model, windows, batch_size=5, interventions=edit)
    assert torch.allclose(loss, window_nll(model, windows, batch_size=5, interventions=edit), atol=1e-5)
    assert (kl > 1e-6).all()
    assert window_nll_and_kl(model, model, windows, batch_size=5)[1].abs().max() < 1e-6


def test_the_least_toxic_sample_of_each_prompt_is_taken():
    texts = np.array([["a", "b"], ["c", "d"]], dtype=object)
    chosen, least = without_training.least_toxic(texts, np.array([[0.3, 0.1], [0.2, 0.5]]))
    assert chosen.tolist() == ["c", "b"]
    assert least.tolist() == [0.2, 0.1]


def test_every_way_is_tried_at_every_strength_and_best_of_one_is_a_sample(study):
    table, beyond = study.without_training.set_index(["way", "strength"]), study.profile.beyond
    strengths = {way: set(beyond.shifts if way in SHIFTS else beyond.strengths) for way in BY_STRENGTH}
    strengths[EDITING] |= {0.0}
    strengths |= {UNCHANGED: {0.0}, TRAINED_ON: {1.0}, BEST_OF: {1.0, *beyond.best_of}}
    assert table.groupby("way").groups.keys() == strengths.keys()
    assert all(set(table.loc[way].index) == some for way, some in strengths.items())
    few = study.profile.sizes.fewer_prompts
    outcomes = study.outcomes["before DPO"]
    assert np.allclose(table.loc[(BEST_OF, 1.0), "toxicity"], outcomes.sampled[:few], atol=1e-6)
    assert np.allclose(table.loc[(UNCHANGED, 0.0), "nll"], outcomes.neutral_nll, atol=1e-5)
    best = [np.mean(table.loc[(BEST_OF, n), "toxicity"]) for n in (1.0, *sorted(beyond.best_of))]
    assert best == sorted(best, reverse=True)


def test_only_points_that_no_other_beats_in_both_are_in_front():
    removed, added = [0.2, 0.3, 0.1, 0.3, math.nan], [0.1, 0.5, 0.2, 0.6, 0.0]
    assert costs.in_front(removed, added).tolist() == [True, True, False, False, False]


def test_where_the_weakest_editing_removes_more_than_half_the_ratio_is_told_at_as_much(study):
    n, windows = len(study.exam.prompts), int(study.exam.neutral.sum())
    rows = [(UNCHANGED, 0, 0.8, 1.0), (TRAINED_ON, 1, 0.4, 1.0), (EDITING, 0, 0.5, 1.5)]  # .3 is gone of .4
    rows += [(STEERING, 1, 0.6, 1.1), (STEERING, 2, 0.4, 1.2)]
    cells = [
        {"way": way, "strength": s, "toxicity": np.full(n, toxic), "nll": np.full(windows, np.log(cost))}
        for way, s, toxic, cost in rows
    ]
    study = SimpleNamespace(without_training=pd.DataFrame(cells), profile=study.profile)
    found = costs.half_way(study).set_index("way")["value"]
    assert found[COST_RATIO] == pytest.approx(0.5 / 0.1)
    assert found[COST_RATIO_THERE] == pytest.approx(0.5 / 0.15)


def test_between_two_strengths_cost_is_straight_in_what_is_removed():
    removed, added = np.array([[0.0, 0.2, 0.6]]), np.array([[0.0, 1.0, 5.0]])
    assert costs.cost_at(removed, added, np.array([0.3])) == pytest.approx(2.0)
    assert costs.cost_at(removed, added, np.array([0.1])) == pytest.approx(0.5)
    assert math.isinf(costs.cost_at(removed, added, np.array([0.7]))[0])
    assert math.isnan(costs.cost_at(removed, added, np.array([np.nan]))[0])


def test_where_the_first_strength_removes_enough_its_cost_is_told():
    removed, added = np.array([[0.4, 0.5]]), np.array([[3.0, 4.0]])
    assert costs.cost_at(removed, added, np.array([0.2])) == [3.0]


def test_a_ratio_is_unknown_where_a_way_never_gets_there_or_the_other_adds_nothing():
    one, other = np.array([2.0, 2.0, 4.0, 3.0]), np.array([1.0, 1.0, 1.0, 1.0])
    assert costs.ratio_of(one, other) == (2.0, 2.0, 4.0)
    assert np.isnan(costs.ratio_of(np.full(4, np.inf), other)).all()
    assert np.isnan(costs.ratio_of(one, np.zeros(4))).all()
    value, low, high = costs.ratio_of(one, np.array([1.0, np.inf, 1.0, 1.0]))
    assert (value, low) == (2.0, 0.0)
    assert math.isnan(high)


def made_up(trained: float, edited: float) -> SimpleNamespace:
    """A study in which steering removes a quarter of the toxicity at a perplexity of 2, and more at 3."""
    level = np.random.default_rng(0).uniform(0.4, 0.6, 40)

    def row(way, strength, left, perplexity):
        return {
            "way": way,
            "strength": strength,
            "toxicity": level * left,
            "nll": np.full(10, np.log(perplexity)),
        }

    rows = [row(UNCHANGED, 0.0, 1.0, 1.0), row(TRAINED_ON, 1.0, trained, 1.5)]
    rows += [row(EDITING, 0.0, 1.0, 1.0), row(EDITING, 1.0, edited, 5.0)]
    rows += [row(STEERING, 1.0, 0.75, 2.0), row(STEERING, 2.0, 0.4, 3.0)]
    compute = SimpleNamespace(bootstrap=50)
    return SimpleNamespace(without_training=pd.DataFrame(rows), profile=SimpleNamespace(compute=compute))


def test_ways_are_compared_at_half_of_dpos_effect():
    found = costs.half_way(made_up(0.0, 0.4)).set_index("way")["value"]
    assert found[EDITING] == pytest.approx(4 * 0.5 / 0.6)
    assert found[STEERING] == pytest.approx(1 + 0.25 / 0.35)
    assert found[COST_RATIO] == pytest.approx(found[EDITING] / found[STEERING])
    assert math.isnan(found[DIFFERENCE])


@pytest.mark.parametrize(
    ("trained", "edited", "said"),
    [
        (0.0, 0.4, "**does not hold**"),
        (0.0, 0.9, "no number, as editing by group never removes half"),
        (1.0, 0.5, "no way removes half of an effect that DPO surely has"),
    ],
)
def test_the_verdict_says_why_there_is_no_number(trained, edited, said):
    table = costs.half_way(made_up(trained, edited))
    results = SimpleNamespace(tables=["half_way"], half_way=table)
    told = report_without_training.verdict(results).data
    assert said in told
    assert "nan" not in told


def test_the_page_says_what_was_predicted_and_what_came_out(results):
    told = report_without_training.verdict(results).data
    assert re.search(r"`steering-is-as-good`.*\*\*(holds|does not hold|inconclusive)\*\*", told)
    assert "DPO removes" in report_without_training.answer(results).data
    assert report_without_training.plane(results).axes


def test_results_of_before_say_that_they_lack_it():
    old = SimpleNamespace(tables=[])
    for made in (report_without_training.verdict, report_without_training.answer):
        assert "made before" in made(old).data


def test_the_rule_is_the_one_that_was_written_down():
    page = (PROJECT / "book" / "before_the_runs.md").read_text(encoding="utf-8")
    rule = report_without_training.RULE
    told = f"| `{rule.id}` | {rule.statement} | {rule.quantity} | {rule.low:g} to {rule.high:g} |"
    assert told.replace("0.67", ".67") in page
