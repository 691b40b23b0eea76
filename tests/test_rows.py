"""Which rows table 1 has, and the random choices beside them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from dpotox.paper.groups import GROUPS, REDUCING
from dpotox.paper.rows import random_draws, table1_rows
from dpotox.paper.selections import SETS, matched, neurons_of
from dpotox.profile import Interventions

SETTINGS = Interventions(ablate_top=[2], ablate_top_positive=[3], scale_top=2, scale_factors=[2.0], draws=4)


@pytest.fixture(scope="module")
def neurons() -> pd.DataFrame:
    """A made-up neuron table of 3 layers of 60 neurons."""
    rng, n = np.random.default_rng(0), 180
    columns = (
        "cosine",
        "pre_activation",
        "post_activation",
        "pre_gelu_input",
        "post_gelu_input",
        "pre_projection",
        "projection_drop",
    )
    table = pd.DataFrame({name: rng.normal(size=n) for name in columns})
    table["activation_change"] = table["post_activation"] - table["pre_activation"]
    table["same_text_change"] = table["activation_change"] / 2
    table["group"] = rng.choice(GROUPS, size=n)
    return table.assign(layer=np.repeat(range(3), n // 3), neuron=np.tile(range(n // 3), 3))


def rows_for(neurons, settings=SETTINGS):
    return table1_rows(neurons, torch.zeros(3, 60), {1: torch.ones(8), 2: torch.ones(8)}, settings)


def draws_for(neurons, settings=SETTINGS):
    made = random_draws(neurons, torch.zeros(3, 60), {1: torch.ones(8), 2: torch.ones(8)}, settings, seed=0)
    return {some.beside: some for some in made}


def test_every_set_has_a_patch_its_hold_a_shift_and_a_copy(neurons):
    found = {(row.which, row.kind, row.positions) for row in rows_for(neurons)}
    for which in SETTINGS.sets:
        for kind in ("patch", "hold"):
            assert (which, kind, "newest") in found
        for kind in ("patch", "hold", "shift", "shift, same text", "copy"):
            assert (which, kind, "all") in found


def test_a_hold_differs_from_its_patch_in_the_values_alone(neurons):
    by_name = {row.name: row.interventions[0] for row in rows_for(neurons) if row.interventions}
    for which in SETTINGS.sets:
        patch, hold = by_name[f"patch {which}"], by_name[f"hold {which}"]
        assert patch.site == hold.site == "gelu_input"
        pd.testing.assert_frame_equal(patch.neurons[["layer", "neuron"]], hold.neurons[["layer", "neuron"]])
        assert np.allclose(hold.neurons["value"], neurons_of(neurons, which)["pre_gelu_input"])
        assert np.allclose(patch.neurons["value"], neurons_of(neurons, which)["post_gelu_input"])


def test_the_reducing_groups_and_the_other_four_are_all_neurons_once(neurons):
    four, other = (neurons_of(neurons, which) for which in ("all four groups", "the other four groups"))
    assert set(four["group"]) == set(REDUCING)
    assert sorted([*four.index, *other.index]) == list(neurons_of(neurons, "all neurons").index)


def test_a_set_can_be_any_of_the_eight_groups(neurons):
    rows = rows_for(neurons, replace(SETTINGS, sets=list(SETS)))
    for group in GROUPS:
        (row,) = [row for row in rows if row.name == f"shift {group}"]
        assert len(row.interventions[0].neurons) == (neurons["group"] == group).sum()


def test_a_profile_can_ask_for_fewer_sets_and_no_draws(neurons):
    few = replace(SETTINGS, sets=["TP-"], draws=0)
    assert {row.which for row in rows_for(neurons, few) if row.kind == "copy"} == {"TP-"}
    assert draws_for(neurons, few) == {}


def test_row_names_are_unique(neurons):
    names = [row.name for row in rows_for(neurons)]
    assert len(names) == len(set(names))


def test_a_matched_neuron_is_the_nearest_that_is_left_by_its_activation_with_its_sign():
    table = pd.DataFrame({"layer": 0, "pre_activation": [-1.0, -1.1, 0.9, 3.0]})
    drawn = [matched(table, table.iloc[:1], np.random.default_rng(seed), nearest=1) for seed in range(5)]
    assert [one.index.tolist() for one in drawn] == [[1]] * 5
    as_many = pd.DataFrame({"layer": 0, "pre_activation": [0.0, 1.0, 0.1, 1.1]})
    assert sorted(matched(as_many, as_many.iloc[:2], np.random.default_rng(0)).index) == [2, 3]


def test_matched_neurons_are_others_of_the_same_layer_and_activation(neurons):
    chosen = neurons_of(neurons, "TP-")
    drawn = matched(neurons, chosen, np.random.default_rng(1))
    assert not set(drawn.index) & set(chosen.index)
    assert drawn.index.is_unique
    assert sorted(drawn["layer"]) == sorted(chosen["layer"])
    assert abs(drawn["pre_activation"].mean() - chosen["pre_activation"].mean()) < 0.35
    assert set(drawn.index) != set(matched(neurons, chosen, np.random.default_rng(2)).index)


def test_matching_more_neurons_than_are_left_is_refused(neurons):
    with pytest.raises(ValueError, match="layer 0"):
        matched(neurons, neurons[neurons["neuron"] < 40], np.random.default_rng(0))


def test_draws_repeat_the_edit_of_their_row_on_other_neurons(neurons):
    draws = draws_for(neurons)
    rows = {row.name: row.interventions[0] for row in rows_for(neurons) if row.interventions}
    assert set(draws) <= set(rows)
    for beside, some in draws.items():
        assert len(some.interventions) == 4
        for edit in some.interventions:
            assert (len(edit.neurons), edit.site) == (len(rows[beside].neurons), rows[beside].site)


def test_dealt_shifts_are_the_same_shifts_on_the_same_neurons(neurons):
    dealt = draws_for(neurons)["shift all four groups"]
    four = neurons_of(neurons, "all four groups")
    for edit in dealt.interventions:
        assert not np.allclose(edit.neurons["value"], four["activation_change"])
        for _, own in four.groupby(["layer", "group"])["activation_change"]:
            assert np.allclose(np.sort(edit.neurons.loc[own.index, "value"]), np.sort(own))


def test_keys_are_scaled_after_dpo_and_directions_drawn_as_long_as_the_steering(neurons):
    draws = draws_for(neurons)
    keys, steering = draws["scale keys of top 2 toxic by 2"], draws["steer along the probe after layer 2"]
    assert (keys.model, steering.model) == ("dpo", "base")
    toxic = neurons.nlargest(2, "cosine").index
    assert not any(set(edit.neurons.index) & set(toxic) for edit in keys.interventions)
    for edit in steering.interventions:
        assert set(edit.neurons["layer"]) == {2}
        assert np.linalg.norm(edit.neurons["value"]) == pytest.approx(np.sqrt(8), rel=1e-5)
