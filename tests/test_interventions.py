"""Interventions as data: what each changes, where, and what the tables call it."""

import pandas as pd
import pytest
import torch

from dpotox.model.interventions import (
    Intervention,
    Swap,
    ablate,
    at_newest,
    clamp,
    copy,
    scale_keys,
    shift,
    steer,
)

ACTS = torch.tensor([[0.5, -1.0, 2.0], [1.0, 3.0, -0.5]])
VALUES = torch.tensor([0.7, -0.4, 1.5])


@pytest.mark.parametrize(
    ("made", "name", "site", "value", "after"),
    [
        (lambda n: ablate(n), "ablate", "activation", [0.0] * 3, 0 * ACTS),
        (lambda n: ablate(n, "mine"), "mine", "activation", [0.0] * 3, 0 * ACTS),
        (lambda n: clamp(n, n["value"]), "clamp", "activation", VALUES, VALUES.expand(2, 3)),
        (lambda n: clamp(n, n["value"], "m", "gelu_input"), "m", "gelu_input", VALUES, VALUES.expand(2, 3)),
        (lambda n: shift(n, n["value"]), "shift", "activation", VALUES, ACTS + VALUES),
        (lambda n: shift(n, n["value"], "mine"), "mine", "activation", VALUES, ACTS + VALUES),
        (lambda n: copy(n), "copy", "activation", [0.0] * 3, VALUES.expand(2, 3)),
        (lambda n: copy(n, "mine"), "mine", "activation", [0.0] * 3, VALUES.expand(2, 3)),
        (
            lambda n: scale_keys(n, n["value"], 5.0),
            "scale keys",
            "gelu_input",
            VALUES,
            5 * (ACTS - VALUES) + VALUES,
        ),
        (lambda n: scale_keys(n, n["value"], 1.0, "mine"), "mine", "gelu_input", VALUES, ACTS),
    ],
)
def test_an_edit_says_what_it_does_to_which_neurons(some_neurons, made, name, site, value, after):
    edit = made(some_neurons)
    assert (edit.name, edit.site, edit.positions) == (name, site, "all")
    assert edit.neurons[["layer", "neuron"]].equals(some_neurons[["layer", "neuron"]])
    assert torch.allclose(torch.tensor(edit.neurons["value"].tolist()), torch.as_tensor(value))
    assert torch.allclose(edit.change(ACTS, VALUES), torch.as_tensor(after))
    assert list(edit.neurons.columns) == ["layer", "neuron", "value"]


def test_only_copies_take_from_another_model(some_neurons):
    value = some_neurons["value"]
    assert copy(some_neurons).copies
    others = ablate(some_neurons), clamp(some_neurons, value), shift(some_neurons, value)
    assert not any(edit.copies for edit in (*others, scale_keys(some_neurons, value, 2.0)))


@pytest.mark.parametrize(("given", "name"), [([], "steer"), (["mine"], "mine")])
def test_steering_adds_to_every_coordinate_of_one_layer(given, name):
    edit = steer(VALUES, 2, *given)
    assert (edit.name, edit.site, edit.positions, edit.copies) == (name, "residual", "all", False)
    assert edit.neurons["layer"].tolist() == [2, 2, 2]
    assert edit.neurons["neuron"].tolist() == [0, 1, 2]
    assert torch.allclose(torch.tensor(edit.neurons["value"].tolist()), VALUES)
    assert torch.allclose(edit.change(ACTS, VALUES), ACTS + VALUES)


def test_an_edit_is_dealt_out_by_layer(some_neurons):
    dealt = list(shift(some_neurons, some_neurons["value"]).by_layer())
    assert [layer for layer, _, _ in dealt] == [0, 2]
    assert all(type(layer) is int for layer, _, _ in dealt)
    assert [neurons.tolist() for _, neurons, _ in dealt] == [[3, 11], [7]]
    for (_, neurons, values), expected in zip(dealt, ([0.7, -0.4], [1.5]), strict=True):
        assert neurons.dtype == torch.int64
        assert values.dtype == torch.float32
        assert torch.allclose(values, torch.tensor(expected))


def test_the_newest_position_is_all_that_changes(some_neurons):
    whole = clamp(some_neurons, some_neurons["value"], site="gelu_input")
    newest = at_newest(whole, "as published")
    assert (newest.name, newest.positions) == ("as published", "newest")
    assert (newest.neurons, newest.change, newest.site, newest.copies) == (
        whole.neurons,
        whole.change,
        "gelu_input",
        False,
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"site": "mlp"}, "^site is 'mlp'; it must be one of gelu_input, activation, residual$"),
        ({"positions": "last"}, "^positions is 'last'; it must be 'all' or 'newest'$"),
        ({"copies": True, "site": "gelu_input"}, "^what enters the GELU cannot be copied"),
    ],
)
def test_what_means_nothing_is_refused_with_the_way_out(wrong, said):
    with pytest.raises(ValueError, match=said):
        Intervention("wrong", pd.DataFrame(), lambda acts, _: acts, **wrong)


def test_in_print_an_edit_tells_name_number_site_and_positions(some_neurons):
    assert str(ablate(some_neurons)) == "ablate (3 neurons, activation, all positions)"
    assert str(Swap("swap MLP in", ("MLP in",))) == "swap MLP in (weights)"
