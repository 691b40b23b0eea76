"""What must be true of the bookkeeping for any neurons at all, tried on generated ones."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dpotox.errors import UserError
from dpotox.paper.groups import GROUPS, REDUCING, group_table, layer_drops, neurons_for_share, ranking
from dpotox.paper.neurons import neuron_table

settings.register_profile("few", max_examples=25, deadline=None, derandomize=True)
settings.load_profile("few")

numbers = st.floats(-10, 10, width=32).filter(lambda x: x == 0 or abs(x) > 1e-3)


@st.composite
def parts(draw) -> tuple[torch.Tensor, ...]:
    """Activations and value vectors before and after DPO, and a direction."""
    layers, width, d_model = (draw(st.integers(1, n)) for n in (3, 12, 6))

    def tensor(*shape: int) -> torch.Tensor:
        return torch.tensor(draw(arrays(np.float32, shape, elements=numbers)))

    activations = tensor(layers, width), tensor(layers, width)
    values = tensor(layers, width, d_model), tensor(layers, width, d_model)
    direction = tensor(d_model)
    assume(all((v.norm(dim=-1) > 0).all() for v in values) and direction.norm() > 0)
    return *activations, *values, direction


@given(parts())
def test_the_eight_groups_partition_the_neurons(given_parts):
    neurons = neuron_table(*given_parts)
    table = group_table(neurons)
    assert list(table.index) == list(GROUPS)
    assert table["count"].sum() == len(neurons) == given_parts[0].numel()
    assert neurons["group"].isin(GROUPS).all()
    assert neurons["group_by_projection"].isin(GROUPS).all()


@given(parts())
def test_sums_over_groups_layers_and_ranks_equal_the_net(given_parts):
    neurons = neuron_table(*given_parts)
    net = neurons["projection_drop"].sum()
    scale = neurons["projection_drop"].abs().sum() + 1e-12
    for total in (
        group_table(neurons)["projection_drop"].sum(),
        layer_drops(neurons).to_numpy().sum(),
        ranking(neurons)["cumulative_drop"].iloc[-1],
        (neurons["pre_projection"] - neurons["post_projection"]).sum(),
    ):
        assert abs(total - net) <= 1e-9 * scale


@given(parts())
def test_shares_equal_one_where_there_is_something_to_share(given_parts):
    table = group_table(neuron_table(*given_parts))
    gross, net = table.loc[list(REDUCING), "projection_drop"].sum(), table["projection_drop"].sum()
    assume(abs(gross) > 1e-3 and abs(net) > 1e-3)
    assert table["share_of_gross"].sum() == pytest.approx(1)
    assert table["share_of_net"].sum() == pytest.approx(1)


@given(parts(), st.randoms(use_true_random=False))
def test_the_order_of_neurons_does_not_matter(given_parts, random):
    neurons = neuron_table(*given_parts)
    order = list(range(len(neurons)))
    random.shuffle(order)
    pd.testing.assert_frame_equal(group_table(neurons), group_table(neurons.iloc[order]))
    if (neurons["projection_drop"] > 0).any():
        assert neurons_for_share(neurons, 0.5) == neurons_for_share(neurons.iloc[order], 0.5)


@given(parts(), st.floats(0.01, 100))
def test_the_length_of_the_probe_does_not_matter(given_parts, factor):
    *rest, direction = given_parts
    scaled = group_table(neuron_table(*rest, direction * factor))
    kept = group_table(neuron_table(*rest, direction))
    assert np.allclose(scaled["projection_drop"], kept["projection_drop"], rtol=1e-4, atol=1e-4)


@given(parts())
def test_turning_probe_and_activations_round_renames_groups_and_keeps_their_drops(given_parts):
    """Toxic becomes anti-toxic and positive negative; what a neuron writes along the probe stays."""
    pre, post, pre_values, post_values, direction = given_parts
    here = neuron_table(pre, post, pre_values, post_values, direction)
    turned = neuron_table(-pre, -post, pre_values, post_values, -direction)
    assert np.allclose(turned["projection_drop"], here["projection_drop"])
    # Zero counts as positive and as anti-toxic, and no change as a rise: these stay where they were.
    clear = (here["pre_activation"] != 0) & (here["activation_change"] != 0) & (here["cosine"] != 0)
    names = str.maketrans("TAPN", "ATNP")
    renamed = here["group"].map(lambda name: name.translate(names))
    assert (turned["group"] == renamed)[clear].all()


@given(parts(), st.sampled_from([float("nan"), float("inf"), float("-inf")]), st.data())
def test_a_number_that_is_not_finite_is_refused_and_its_neuron_named(given_parts, bad, data):
    some = [part.clone() for part in given_parts]
    layer = data.draw(st.integers(0, some[0].shape[0] - 1))
    neuron = data.draw(st.integers(0, some[0].shape[1] - 1))
    which = data.draw(st.integers(0, 3))
    some[which][layer, neuron] = bad
    with pytest.raises(UserError, match=f"neuron {layer}:{neuron} "):
        neuron_table(*some)


@given(parts(), st.data())
def test_a_value_vector_without_length_is_refused_and_its_neuron_named(given_parts, data):
    some = [part.clone() for part in given_parts]
    layer = data.draw(st.integers(0, some[0].shape[0] - 1))
    neuron = data.draw(st.integers(0, some[0].shape[1] - 1))
    some[data.draw(st.integers(2, 3))][layer, neuron] = 0
    with pytest.raises(UserError, match=f"neuron {layer}:{neuron} "):
        neuron_table(*some)


@given(parts())
def test_a_probe_without_length_is_refused(given_parts):
    *rest, direction = given_parts
    with pytest.raises(UserError, match="probe"):
        neuron_table(*rest, torch.zeros_like(direction))
