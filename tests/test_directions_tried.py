"""How many directions hold the change and carry the effect: moments, directions, trials and what is said."""

import math
import re
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from dpotox.facts import EVERY_DIRECTION, LARGEST, LEADING, NEUTRAL, PROBE, PROMPTED, RANDOM
from dpotox.places import PROJECT
from dpotox.run import beside, counts
from dpotox.run import directions_tried as tried
from dpotox.show import report_directions

NEW = torch.tensor([[5, 6, 7], [8, 9, 10], [11, 12, 13], [5, 7, 9], [6, 8, 10]])
"""Tokens that continue the five prompts."""


def streams_plainly(network, ids, last) -> torch.Tensor:
    """The residual stream after every layer at the last positions of one text, by hooks."""
    seen = []
    hooks = [
        b.register_forward_hook(lambda _, __, out: seen.append(out[0, -last:])) for b in network.transformer.h
    ]
    with torch.no_grad():
        network(ids[None])
    for hook in hooks:
        hook.remove()
    return torch.stack(seen)


def changes_plainly(network, other, texts, last) -> torch.Tensor:
    """The change of every text, `(text, layer, pos, d_model)`, each read alone and so without padding."""
    both = [torch.stack([streams_plainly(one, ids, last) for ids in texts]) for one in (network, other)]
    return both[1] - both[0]


@pytest.fixture
def texts(model, prompts) -> list[torch.Tensor]:
    """The prompts with what continues them, as it is read."""
    ids = [model.tokenizer(prompt, return_tensors="pt")["input_ids"][0] for prompt in prompts]
    return [torch.cat([one, new[:-1]]) for one, new in zip(ids, NEW, strict=True)]


@pytest.mark.parametrize("batch_size", [2, 5])
def test_moments_are_those_of_all_changes_at_the_new_tokens_whatever_the_batch(
    model, network, other, other_model, prompts, texts, batch_size
):
    read = partial(beside.continued, model, prompts, NEW, label="")
    got = tried.moments(model, other_model, lambda size: read(batch_size=size), 3, 2, batch_size=batch_size)
    moved = changes_plainly(network, other, texts, 3)
    rows = moved.transpose(0, 1).flatten(1, 2)
    torch.testing.assert_close(got.change, rows.mT @ rows / 15, atol=1e-3, rtol=1e-3)
    chunks = torch.stack([moved[0::2].mean((0, 2)), moved[1::2].mean((0, 2))])
    torch.testing.assert_close(got.mean, chunks, atol=1e-4, rtol=1e-3)
    stream = torch.stack([streams_plainly(network, ids, 3) for ids in texts]).transpose(0, 1).flatten(1, 2)
    torch.testing.assert_close(got.stream, stream.mT @ stream / 15, atol=1e-3, rtol=1e-3)


def test_windows_are_read_at_all_positions_but_the_first(model, network, other, other_model, windows):
    got = tried.moments(
        model, other_model, partial(beside.in_windows, windows), windows.shape[1] - 1, 1, batch_size=2
    )
    moved = changes_plainly(network, other, windows, windows.shape[1] - 1)
    torch.testing.assert_close(got.mean[0], moved.mean((0, 2)), atol=1e-4, rtol=1e-3)


def test_the_first_directions_are_the_singular_vectors_of_the_changes():
    changes = torch.randn(40, 6, generator=torch.Generator().manual_seed(0)).double()
    squares, directions = tried.spectrum((changes.T @ changes / 40)[None])
    _, values, vectors = torch.linalg.svd(changes)
    torch.testing.assert_close(squares[0], values**2 / 40)
    torch.testing.assert_close((directions[0] * vectors.T).sum(0).abs(), torch.ones(6).double())


def test_a_share_is_held_by_the_first_number_of_directions_that_reaches_it():
    assert [tried.holding(np.array([5.0, 3.0, 1.0, 1.0]), share) for share in (0.5, 0.6, 0.8, 0.9)] == [
        1,
        2,
        2,
        3,
    ]
    assert math.isnan(tried.holding(np.zeros(3), 0.5))


def test_random_directions_stand_at_right_angles_and_more_of_them_contain_fewer():
    basis = tried.random_basis(8, 5, seed=0, draw=1)
    torch.testing.assert_close(basis.T @ basis, torch.eye(5))
    fewer = tried.random_basis(8, 2, seed=0, draw=1)
    torch.testing.assert_close(basis[:, :2], fewer)
    assert not torch.allclose(basis, tried.random_basis(8, 5, seed=0, draw=2))


@pytest.mark.parametrize(
    ("depth", "layers"), [(1, [0]), (2, [0, 1]), (4, [1, 3]), (5, [2, 4]), (24, [11, 23])]
)
def test_directions_are_tried_after_half_of_the_layers_and_after_the_last(depth, layers):
    assert tried.tried_layers(depth) == layers


def test_a_cosine_with_nothing_is_not_known():
    assert math.isnan(tried.cosine(np.zeros(2), np.ones(2)))
    assert math.isclose(tried.cosine(np.array([1.0, 0.0]), np.array([1.0, 1.0])), 0.5**0.5)


# In a study


def test_every_number_is_tried_in_every_order_after_both_layers(study):
    beyond, depth = study.profile.beyond, study.profile.pretraining.layers
    per_layer = len(beyond.ranks) * (2 + beyond.rank_draws) + 2
    assert study.streams_tried.groupby("layer").size().to_dict() == dict.fromkeys(
        tried.tried_layers(depth), per_layer
    )
    alone = study.streams_tried.query("ranked == @PROBE")
    assert set(alone["directions"]) == {1}
    every = study.streams_tried.query("ranked == @EVERY_DIRECTION")
    assert set(every["directions"]) == {study.profile.pretraining.d_model}


def test_the_tried_directions_are_the_first_of_the_change_and_the_unit_probe(study):
    for trial in tried.trials(study):
        k = trial.basis.shape[1]
        torch.testing.assert_close(trial.basis.T @ trial.basis, torch.eye(k), atol=1e-5, rtol=0)
        if trial.ranked == LEADING:
            assert torch.equal(trial.basis, study.stream_changes["leading"][trial.layer][:, :k])
        if trial.ranked == LARGEST:
            assert torch.equal(trial.basis, study.stream_changes["stream_leading"][trial.layer][:, :k])
        if trial.ranked == PROBE:
            assert torch.equal(trial.basis[:, 0], study.probe.unit)


def test_first_directions_point_to_where_the_mean_change_does(study):
    found = study.stream_changes
    along = torch.einsum("ld,ldk->lk", found["mean"].mean(0), found["leading"])
    assert (along >= 0).all()


def test_the_shares_of_the_change_rise_to_one(results):
    for _, line in results.stream_ranks.groupby("layer"):
        assert line["share"].is_monotonic_increasing
        assert math.isclose(line["share"].iloc[-1], 1, abs_tol=1e-6)
        assert list(line["directions"]) == [1, 2, 4, 8, 16, 32]


def test_levels_are_reached_as_for_neurons_in_shares_of_the_dimensions(study, monkeypatch):
    prompts = [column for column in study.streams_tried if column.isdigit()]
    rows = [(1, LEADING, 0, 1, 0.2), (1, LEADING, 0, 8, 0.8), (1, EVERY_DIRECTION, 0, 32, 1.0)]
    rows += [(1, RANDOM, 0, 1, 0.0), (1, RANDOM, 0, 8, 0.2), (1, RANDOM, 1, 1, 0.0), (1, RANDOM, 1, 8, 0.6)]
    named = pd.DataFrame([row[:4] for row in rows], columns=tried.COLUMNS)
    ends = np.linspace(0.6, 1, len(prompts)), np.linspace(0, 0.4, len(prompts))
    toxicity = np.stack([ends[0] + row[4] * (ends[1] - ends[0]) for row in rows])
    monkeypatch.setattr(counts, "judged", lambda *_: (named, toxicity, ends, 20))
    found = tried.streams_enough(study).set_index(["ranked", "level"])["share"]
    assert math.isclose(found[LEADING, 0.5], 8**0.5 / 32)  # half of the way from 1 to 8 on a logarithmic axis
    between = 0.1 / 0.6  # the draws have .4 of the effect in the mean with 8, and all have 1 with 32
    assert math.isclose(found[RANDOM, 0.5], 8 / 32 * 4**between)


def test_tokens_are_told_of_both_texts_and_masked(results, study):
    table = results.stream_tokens
    assert set(table["text"]) == {PROMPTED, NEUTRAL}
    assert len(table) == 2 * study.profile.pretraining.layers
    assert study.masking.texts(table["less"].tolist()) == table["less"].tolist()


# What is said


def test_the_page_says_what_was_predicted_and_what_came_out(results):
    said = report_directions.verdicts(results).data
    for rule in (report_directions.FEW, report_directions.PROBE_ALONE):
        assert re.search(rf"`{rule.id}`.*\*\*(holds|does not hold|inconclusive)\*\*", said)
    assert "directions" in report_directions.answer(results).data
    assert "nan" not in report_directions.answer(results).data


class Made:
    """Results with these tables."""

    def __init__(self, results, **tables) -> None:
        self.tables, self.record, self.mild_words = set(tables), results.record, results.mild_words
        vars(self).update(tables)


def test_where_nothing_changes_or_no_effect_is_sure_no_share_is_told(results):
    unknown = ["half", "most", "first_probe", "first_mean", "mean_probe", "neutral_length", "neutral"]
    nothing = results.stream_changes.assign(**dict.fromkeys(unknown, np.nan))
    none = results.streams_tried.assign(recovered=np.nan, low=np.nan, high=np.nan)
    enough = results.streams_enough.assign(share=np.nan, low=np.nan, high=np.nan)
    ranks = results.stream_ranks.assign(share=np.nan)
    tables = {"stream_ranks": ranks, "streams_tried": none, "streams_enough": enough}
    made = Made(results, stream_changes=nothing, **tables)
    assert report_directions.answer(made).data == report_directions.NO_CHANGE
    unsure = Made(results, stream_changes=results.stream_changes, **tables)
    assert "no sure effect" in report_directions.answer(unsure).data
    assert report_directions.verdicts(unsure).data.count("Here: -. **inconclusive**") == 2
    for figure in (report_directions.spectrum(made), report_directions.curves(made)):
        assert figure.axes[0].texts
    assert "nan" not in report_directions.tried(made).to_html() + report_directions.layers(made).to_html()


def test_results_that_lack_the_tables_say_so(results):
    made = Made(results)
    for said in (report_directions.answer(made), report_directions.verdicts(made)):
        assert "before this was part of them" in said.data
    for table in (
        report_directions.tried,
        report_directions.layers,
        report_directions.neutral,
        report_directions.tokens,
    ):
        assert "nothing of this kind" in table(made).to_html()


def test_the_rules_are_those_that_were_written_down():
    page = (PROJECT / "book" / "before_the_runs.md").read_text(encoding="utf-8")
    for rule in (report_directions.FEW, report_directions.PROBE_ALONE):
        limit = f"< {rule.high:g}".replace("0.", ".")
        assert f"| `{rule.id}` | {rule.statement} | {rule.quantity} | {limit} |" in page
