"""How many neurons carry the effect: which are chosen, and where a level is reached."""

import math
import re

import numpy as np
import pandas as pd
import pytest

from dpotox.facts import COPIED, EVERY, RANDOM, RANKINGS, SET_BACK
from dpotox.places import PROJECT
from dpotox.run import counts
from dpotox.show import report_counts


@pytest.fixture
def neurons():
    """Eight neurons of two layers."""
    return pd.DataFrame(
        {
            "layer": [0, 0, 0, 0, 1, 1, 1, 1],
            "neuron": [0, 1, 2, 3] * 2,
            "cosine": [0.1, 0.2, -0.9, 0.4, 0.5, 0.6, -0.1, 0.0],
            "same_text_change": [0.0, -5.0, 1.0, 0.5, 0.1, 0.2, 0.3, 0.4],
            "projection_drop": [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, -8.0],
        }
    )


def places(order: pd.DataFrame, n: int) -> list[tuple[int, int]]:
    return list(order.head(n)[["layer", "neuron"]].itertuples(index=False, name=None))


def test_neurons_are_chosen_by_what_the_order_is_named_after(neurons):
    by = {name: order for (name, _), order in counts.orders(neurons, 0, 0).items()}
    assert places(by["activation change"], 2) == [(0, 1), (0, 2)]
    assert places(by["projection drop"], 2) == [(0, 0), (0, 1)]
    assert places(by["cosine"], 2) == [(1, 1), (1, 0)]
    assert set(places(by["projection drop within its layer"], 2)) == {(0, 0), (1, 0)}


def test_random_choices_are_of_all_neurons_and_differ(neurons):
    ordered = counts.orders(neurons, 3, 0)
    drawn = [places(ordered[RANDOM, n], 8) for n in range(3)]
    assert all(sorted(one) == places(neurons, 8) for one in drawn)
    assert len(set(map(tuple, drawn))) == 3
    assert drawn == [places(counts.orders(neurons, 3, 0)[RANDOM, n], 8) for n in range(3)]


ENDS = np.array([1.0, 0.8, 1.0, 0.8]), np.array([0.0, 0.2, 0.0, 0.2])  # on average .9 and .1


def reached(recovered: list[float], level: float, resamples: int = 50):
    before, after = ENDS
    toxicity = np.stack([before + share * (after - before) for share in recovered])
    return counts.reached(np.array([0.01, 0.1, 1.0]), toxicity, ENDS, level, resamples=resamples)


def test_between_two_sizes_a_level_is_reached_on_a_straight_line_over_the_logarithm():
    found = reached([0.2, 0.6, 0.9], 0.5)
    assert math.isclose(math.log10(found.value), -2 + 0.75)
    assert found.low <= found.value + 1e-12
    assert found.high >= found.value - 1e-12
    assert math.isclose(reached([0.2, 0.6, 0.9], 0.75).value, 10**-0.5)


def test_a_level_that_the_smallest_number_reaches_is_told_at_that_and_one_that_none_does_not_at_all():
    assert math.isclose(reached([0.7, 0.8, 0.9], 0.5).value, 0.01)
    assert math.isnan(reached([0.1, 0.2, 0.3], 0.5).value)


def test_of_no_effect_nothing_is_reached():
    same = ENDS[0], ENDS[0]
    toxicity = np.stack([ENDS[0]] * 3)
    assert math.isnan(counts.reached(np.array([0.01, 0.1, 1.0]), toxicity, same, 0.5, resamples=9).value)


def test_every_number_is_tried_in_every_order_and_all_neurons_do_what_their_row_does(study):
    tried, settings = study.tried, study.profile.interventions
    sizes = len({max(1, round(share * len(study.neurons))) for share in settings.counted})
    per_kind = sizes * (len(RANKINGS) + settings.counted_draws) + 1
    assert tried.groupby("kind").size().to_dict() == {COPIED: per_kind, SET_BACK: per_kind}
    prompts = [column for column in tried if column.isdigit()]
    copied = tried[(tried["kind"] == COPIED) & (tried["ranked"] == EVERY)][prompts].iloc[0]
    row = study.table1["copy all neurons"].greedy[: len(prompts)]
    assert np.allclose(copied, row, atol=1e-6)


def test_the_page_says_what_was_predicted_and_what_came_out(results):
    said = report_counts.verdicts(results).data
    for rule in report_counts.RULES.values():
        assert re.search(rf"`{rule.id}`.*\*\*(holds|does not hold|inconclusive)\*\*", said)
    assert "neurons" in report_counts.answer(results).data


def test_the_rules_are_those_that_were_written_down():
    page = (PROJECT / "book" / "before_the_runs.md").read_text(encoding="utf-8")
    for rule in report_counts.RULES.values():
        assert (
            f"| `{rule.id}` | {rule.statement} | {rule.quantity} | < {rule.high:g}".replace("0.1", ".1")
            in page
        )
