"""The arithmetic of the decomposition, on made-up neurons and on the published numbers."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SHARED

from dpotox.errors import UserError
from dpotox.paper.groups import (
    GROUPS,
    INCREASING,
    REDUCING,
    TURNED,
    change_with,
    gross_and_net,
    group_by_activation,
    group_by_projection,
    group_table,
    layer_drops,
    moved_by_activations,
    neurons_for_share,
    quantities,
    ranking,
    without_largest,
)
from dpotox.paper.neurons import neuron_table, resampled_neuron_tables
from dpotox.paper.published import NUMBERS, published_groups, published_table1
from dpotox.paper.selections import dampened_drop, most_toxic


@pytest.fixture(scope="module")
def parts():
    """Random activations and value vectors, which do not move."""
    rng = torch.Generator().manual_seed(0)
    pre, post = (torch.randn(3, 50, generator=rng) for _ in range(2))
    values = torch.randn(3, 50, 8, generator=rng)
    return pre, post, values, values, torch.randn(8, generator=rng)


@pytest.fixture(scope="module")
def neurons(parts):
    return neuron_table(*parts)


@pytest.mark.parametrize(
    ("cosine", "pre", "post", "group"),
    [
        (0.2, 0.5, 0.1, "TP-"),
        (0.2, 0.5, 0.9, "TP+"),
        (0.2, 0.5, -0.1, "TP-"),
        (0.2, -0.5, -0.9, "TN+"),
        (0.2, -0.5, -0.1, "TN-"),
        (-0.2, 0.5, 0.9, "AP+"),
        (-0.2, 0.5, 0.1, "AP-"),
        (-0.2, -0.5, -0.1, "AN-"),
        (-0.2, -0.5, -0.9, "AN+"),
        (0.2, 0.0, -0.1, "TP-"),
    ],
)
def test_a_group_name_tells_direction_sign_and_change(cosine, pre, post, group):
    direction = torch.tensor([1.0, 0.0])
    value = torch.tensor([[[cosine, (1 - cosine**2) ** 0.5]]])
    table = neuron_table(torch.tensor([[pre]]), torch.tensor([[post]]), value, value, direction)
    assert table["group"].item() == group
    assert table["group_by_projection"].item() == group
    assert (table["projection_drop"].item() > 0) == (group in REDUCING)


def published_neurons() -> pd.DataFrame:
    """The five published neuron rows."""
    table = NUMBERS["neurons"]
    return pd.DataFrame(table["rows"], columns=table["columns"])


def test_no_change_counts_as_a_rise_and_no_cosine_as_anti_toxic():
    columns = {"cosine": [0.0, 0.2], "pre_activation": 0.5, "post_activation": 0.5, "projection_drop": 0.0}
    unchanged = pd.DataFrame(columns, index=[7, 3])
    assert group_by_activation(unchanged).to_dict() == {7: "AP+", 3: "TP+"}
    assert group_by_projection(unchanged).to_dict() == {7: "AP+", 3: "TP-"}


def test_a_moved_value_vector_can_change_the_group_by_projection_only():
    pre, post = torch.tensor([[1.0]]), torch.tensor([[0.9]])
    before, after = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[2.0, 0.0]]])
    table = neuron_table(pre, post, before, after, torch.tensor([1.0, 0.0]))
    assert (table["group"].item(), table["group_by_projection"].item()) == ("TP-", "TP+")


def test_the_eight_groups_partition_the_neurons(neurons):
    table = group_table(neurons)
    assert list(table.index) == list(GROUPS)
    assert table["count"].sum() == len(neurons)
    assert table["projection_drop"].sum() == pytest.approx(neurons["projection_drop"].sum())
    assert table["share_of_gross"].sum() == pytest.approx(1)
    assert table["share_of_net"].sum() == pytest.approx(1)


def test_groups_by_projection_hold_only_drops_of_their_sign(neurons):
    group = group_by_projection(neurons)
    assert (neurons["projection_drop"][group.isin(REDUCING)] >= 0).all()
    assert (neurons["projection_drop"][group.isin(INCREASING)] <= 0).all()


def test_shares_do_not_depend_on_the_probe_length_or_the_order_of_neurons(parts, neurons):
    pre, post, before, after, direction = parts
    longer = group_table(neuron_table(pre, post, before, after, 7 * direction))
    shuffled = group_table(neurons.sample(frac=1, random_state=0))
    pd.testing.assert_frame_equal(longer, group_table(neurons), rtol=1e-4)
    pd.testing.assert_frame_equal(shuffled, group_table(neurons), rtol=1e-4)


def test_an_empty_group_is_listed_with_zero(neurons):
    table = group_table(neurons[neurons["group"] != "AP+"])
    assert table.index.name == "group"
    assert table["count"].dtype == int
    assert table.loc["AP+", "count"] == 0
    assert table.loc["AP+", "projection_drop"] == 0


def test_a_neuron_that_is_not_a_number_is_named(parts):
    pre, post, before, after, direction = parts
    broken = pre.clone()
    broken[2, 17] = torch.nan
    with pytest.raises(UserError, match="2:17"):
        neuron_table(broken, post, before, after, direction)


def test_ranking_runs_from_the_largest_drop_to_the_net(neurons):
    ranked = ranking(neurons)
    assert ranked["projection_drop"].is_monotonic_decreasing
    assert ranked["cumulative_drop"].iloc[-1] == pytest.approx(neurons["projection_drop"].sum(), rel=1e-4)
    four = ranked[[f"cumulative_{g}" for g in REDUCING]].iloc[-1].sum()
    assert four == pytest.approx(gross_and_net(group_table(neurons))[0], rel=1e-4)


def test_ranks_begin_at_one_and_ties_keep_their_order():
    made_up = pd.DataFrame({"projection_drop": [1.0, 3.0, 1.0, -2.0] * 8, "group": ["TP-", "AP+"] * 16})
    made_up["neuron"] = range(32)
    ranked = ranking(made_up)
    assert ranked["rank"].tolist() == list(range(1, 33))
    assert ranked.index.tolist() == list(range(32))
    assert ranked["neuron"].tolist() == sorted(range(32), key=lambda i: (-made_up["projection_drop"][i], i))
    assert list(ranked.columns) == [
        *made_up.columns,
        "rank",
        "cumulative_drop",
        *(f"cumulative_{group}" for group in REDUCING),
    ]
    assert ranked["cumulative_TP-"].iloc[-1] == 16
    assert ranked["cumulative_TN+"].iloc[-1] == 0


def test_layer_drops_are_summed_by_layer_and_group():
    columns = {"layer": [4, 4, 2, 4], "group": ["TP-", "TP-", "AN+", "AP-"]}
    made_up = pd.DataFrame(columns | {"projection_drop": [1.0, 2.0, -3.0, -0.5]})
    table = layer_drops(made_up)
    assert table.index.tolist() == [2, 4]
    assert list(table.columns) == list(GROUPS)
    assert table.loc[4, "TP-"] == 3
    assert table.loc[4, "AP-"] == -0.5
    assert table.loc[2, "AN+"] == -3
    assert (table.to_numpy() == 0).sum() == 13


def test_neurons_for_share_counts_the_largest_drops():
    table = pd.DataFrame({"projection_drop": [4.0, -9.0, 3.0, 2.0, 1.0]})
    assert [neurons_for_share(table, s) for s in (0.4, 0.41, 0.7, 1.0)] == [1, 2, 2, 4]
    assert neurons_for_share(-table, 0.5) == 1
    assert neurons_for_share(table[table < 0].dropna(), 0.5) == 0  # nothing drops


def test_layer_drops_sum_to_the_group_table(neurons):
    by_layer = layer_drops(neurons).sum()
    assert np.allclose(by_layer[list(GROUPS)], group_table(neurons)["projection_drop"], rtol=1e-4)


def test_most_toxic_takes_the_largest_cosines_and_can_ask_for_active_ones(neurons):
    top = most_toxic(neurons, 10)
    assert top["cosine"].min() >= neurons.drop(top.index)["cosine"].max()
    active = most_toxic(neurons, 10, only_positive=True)
    assert (active["pre_activation"] > 0).all()
    some = pd.DataFrame({"pre_activation": [0.0, 0.5, 1.5, -1.0], "cosine": [0.9, 0.8, 0.7, 0.6]})
    assert most_toxic(some, 3, only_positive=True).index.tolist() == [1, 2]


def test_resampled_tables_scatter_around_the_table(parts, neurons):
    pre, post, before, after, direction = parts
    noise = 0.1 * torch.randn(20, *pre.shape, generator=torch.Generator().manual_seed(1))
    tables = list(
        resampled_neuron_tables(pre + noise, post + noise, before, after, direction, draws=30, seed=0)
    )
    drops = [t["projection_drop"].sum() for t in tables]
    assert np.std(drops) < 1e-3  # the same prompts before and after: the noise cancels
    activations = [t["pre_activation"].mean() for t in tables]
    assert 0 < np.std(activations) < 0.1


def test_the_quantities_of_a_table_are_its_sums_and_what_they_make_of_each_other():
    table = pd.DataFrame(
        {
            "group": ["TP-", "TP-", "AN-", "AP+", "TN-", "AP-"],
            "projection_drop": [4.0, 1.0, 3.0, 2.0, -5.0, -1.0],
        }
    )
    found = quantities(table)
    assert (found["gross"], found["net"], found["net / gross"]) == (10.0, 4.0, 0.4)
    assert found["TP- share of gross"] == 0.5
    assert found["TP- share of gross, largest neuron left out"] == pytest.approx(1 / 6)
    assert dampened_drop(table.iloc[1:]) == 1.0
    assert dampened_drop(table.iloc[2:]) == 0.0


def test_what_activations_move_is_their_change_along_the_value_vectors_before_dpo():
    table = pd.DataFrame(
        {
            "activation_change": [-1.0, 0.5, 0.0],
            "pre_value_projection": [2.0, -1.0, 3.0],
            "projection_drop": [2.5, 0.5, 1.0],
        }
    )
    assert moved_by_activations(table) == pytest.approx((2.0 + 0.5) / 4.0)
    assert change_with(table, "projection_drop") == pytest.approx(
        np.corrcoef(table["activation_change"], table["projection_drop"])[0, 1]
    )
    assert np.isnan(change_with(table.assign(activation_change=0.1), "projection_drop"))


# On the published numbers


def test_published_projections_are_activation_times_value_projection():
    rows = published_neurons()
    for when in ("pre", "post"):
        product = rows[f"{when}_activation"] * rows[f"{when}_value_projection"]
        assert np.allclose(product, rows[f"{when}_projection"], atol=1e-6)


def test_published_groups_add_up_to_the_published_totals():
    table = published_groups()
    gross, net = gross_and_net(table)
    assert table["count"].sum() <= NUMBERS["groups"]["neurons"] == 98_304
    assert gross == pytest.approx(47.48, abs=0.005)
    assert net == pytest.approx(7.216, abs=0.0005)
    assert net == pytest.approx(NUMBERS["groups"]["net_projection_drop"], abs=1e-6)


def test_the_headline_share_is_of_the_gross_reduction():
    share = published_groups()["share_of_gross"]
    assert share["TP-"] == pytest.approx(0.318, abs=0.0005)
    assert share[["AN-", "TN+", "AP+"]].round(3).tolist() == [0.373, 0.239, 0.070]
    assert published_groups()["share_of_net"]["TP-"] == pytest.approx(2.09, abs=0.005)


def test_quoted_numbers_are_the_published_ones():
    path = SHARED / "reference" / "published.json"
    if not path.exists():
        pytest.skip("the reference copy of the published numbers is not here")
    reference = json.loads(path.read_text())
    table = published_table1()
    for row in reference["table1"]["rows"]:
        mine = table.loc[f"{row['model']}: {row['intervention']}"]
        assert mine.tolist() == [row["toxicity"], row["ppl"], row["f1"]]
    groups = reference["neuron_groups"]
    for name, group in (groups["reducing"] | groups["increasing"]).items():
        assert published_groups().loc[name, "count"] == group["count"]
        assert published_groups().loc[name, "projection_drop"] == group["sum_projection_drop"]
    columns = reference["neuron_rows"]["columns"][1:]
    assert published_neurons()[columns].to_numpy().tolist() == [
        row[1:] for row in reference["neuron_rows"]["rows"]
    ]


def test_without_the_largest_the_shares_are_those_of_the_others(neurons):
    rest = without_largest(neurons)
    assert len(rest) == len(neurons) - 1
    assert rest["projection_drop"].max() < neurons["projection_drop"].max()
    assert rest["projection_drop"].sum() + neurons["projection_drop"].max() == pytest.approx(
        neurons["projection_drop"].sum()
    )


def test_turned_neurons_count_for_the_group_that_they_are_turned_into():
    signed, turned = published_groups(), published_groups(turned=True)
    for other, group in TURNED.items():
        assert turned["count"][group] == signed["count"][group] + signed["count"][other]
        assert turned["count"][other] == 0
    assert gross_and_net(turned) == pytest.approx(gross_and_net(signed))
