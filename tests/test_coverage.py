"""Intervals hold the truth as often as they say: on made-up data, with the simulations of the benchmark."""

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from dpotox.estimates import (
    CHUNKS,
    DIRECTIONS,
    NOTHING,
    PROMPTS,
    RESAMPLED,
    SEEDS,
    Estimate,
    around,
    over_seeds,
    rank,
)
from dpotox.paper.groups import change_with, quantities
from dpotox.paper.neurons import neuron_table
from dpotox.results.claims import CLAIMS, chance, judge
from dpotox.results.claims import over_seeds as claims_over_seeds

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
REPEATS = 80
LEAST = 0.93 - 2.5 * math.sqrt(0.93 * 0.07 / REPEATS)
"""The slack is two and a half standard deviations of what so few repeats measure; the benchmark has more."""
CHECKED = (
    "mean toxicity, mostly zero, fewer prompts",
    "toxicity after DPO / before",
    "recovered share, fewer prompts",
    "best recovered share of seven equal rows",
    *("perplexity", "beyond random draws", "neuron quantities", "noise", "rank"),
    *("mean of shares, 3 seeds", "mean of small ranks, 3 seeds", "mean of small ranks, 5 seeds"),
    "mean of ranks, most 0 and a few large, 3 seeds",
)
"""One of each kind, and the hard ones."""


def benchmark():
    """The benchmark's module, under a name that no package has."""
    sys.path.insert(0, str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("simulated", BENCHMARKS / "coverage.py")
    module = sys.modules["simulated"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


simulated = benchmark()
assert set(CHECKED) <= {kind.name for kind in simulated.KINDS}


@pytest.mark.parametrize("kind", [k for k in simulated.KINDS if k.name in CHECKED], ids=lambda k: k.name)
def test_intervals_hold_the_truth_in_93_of_100_cases(kind):
    measured = simulated.measure(kind, REPEATS, resamples=200).set_index("interval of")
    assert kind.resampled in RESAMPLED
    assert (measured["coverage now"] >= LEAST).all(), measured


def test_the_made_up_neurons_are_counted_as_the_library_counts():
    world = simulated.world(3)
    before, change, values = (torch.tensor(x)[None] for x in (world.before, world.change, world.values))
    table = neuron_table(before, before + change, values, values, torch.eye(64, dtype=torch.float64)[0])
    found = simulated.neuron_quantities(world, world.before, world.change)
    expected = quantities(table) | {
        "correlation of activation change with cosine": change_with(table, "cosine")
    }
    for name in set(found) & set(expected):
        assert found[name] == pytest.approx(expected[name]), name
    shares = simulated.tp_shares(world, np.eye(64)[:1], world.before, world.change)
    assert shares[0] == pytest.approx(expected["TP- share of gross"])


def test_resamples_that_lie_to_one_side_widen_the_interval_on_both():
    found = around(1.0, np.array([1.4, 1.5, 1.6]), blocks=20)
    assert found.low < 0.1
    assert found.high > 1.9
    assert around(1.0, np.array([np.nan]), 20).resampled == CHUNKS
    assert np.isnan(around(1.0, np.array([np.nan]), 20).low)
    assert np.isnan(around(1.0, np.array([1.1, 0.9]), blocks=1).low)
    assert (around(0.5, np.full(9, 0.5), 20).low, around(0.5, np.full(9, 0.5), 20).high) == (0.5, 0.5)


def test_the_reach_around_a_value_is_students_over_the_blocks():
    draws = np.array([1.2, 0.9, 1.1, np.nan, 0.7])
    spread = np.sqrt(np.mean((draws[np.isfinite(draws)] - 1.0) ** 2) * 3 / 2)
    found = around(1.0, draws, blocks=3, resampled=PROMPTS)
    reach = stats.t.ppf(0.975, 2) * spread
    assert (found.low, found.high) == pytest.approx((1.0 - reach, 1.0 + reach))
    assert (found.value, found.resampled) == (1.0, PROMPTS)
    assert np.isfinite(around(1.0, draws, blocks=2).low)
    for nothing in (around(1.0, draws, blocks=1), around(np.nan, draws, 3), around(1.0, draws[3:4], 3)):
        assert np.isnan(nothing.low)
    assert around(1.0, draws[3:4], 3).value == 1.0


def test_a_rank_s_interval_has_as_many_own_values_as_its_width_says():
    rng = np.random.default_rng(5)
    others = np.linspace(0, 1, 200)
    own = Estimate(0.8, 0.7, 0.9)
    found = rank(others, own, seed=4)
    larger = (others[None] > rng.normal(0.8, 0.1 / stats.norm.ppf(0.975), (4000, 1))).sum(1)
    low, high = (
        np.quantile(ends, q)
        for ends, q in (
            (np.where(larger > 0, rng.beta(np.maximum(larger, 1), 201 - larger), 0), 0.025),
            (np.where(larger < 200, rng.beta(larger + 1, np.maximum(200 - larger, 1)), 1), 0.975),
        )
    )
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.01)
    assert (found.value, found.resampled) == (pytest.approx(0.2), DIRECTIONS)
    assert rank(others, own) == rank(others, own, seed=0) != rank(others, own, seed=1)


@pytest.mark.parametrize(
    ("value", "ends"), [(2.0, (0.0, 1 - 0.025 ** (1 / 9))), (-1.0, (0.025 ** (1 / 9), 1.0))]
)
def test_beyond_all_others_the_rank_is_none_or_all_of_them(value, ends):
    found = rank(np.linspace(0, 1, 9), Estimate(value, value, value))
    assert (found.low, found.high) == pytest.approx(ends, abs=0.01)
    assert found.value == float(value < 0)
    equal = rank(np.array([0.5, 0.5]), Estimate(0.5, 0.5, 0.5))
    assert (equal.value, equal.low) == (0.0, 0.0)  # equal is not larger


def test_ranks_over_seeds_are_clopper_and_pearsons_of_what_they_add_up_to():
    found = over_seeds([0.5, 0.3, 0.1], rank=True)
    ends = stats.beta.ppf(0.025, 0.9, 3.1), stats.beta.ppf(0.975, 1.9, 2.1)
    assert (found.low, found.high) == pytest.approx(ends)
    assert (found.value, found.resampled) == (pytest.approx(0.3), SEEDS)
    assert over_seeds([1.0, 1.0, 1.0], rank=True).high == 1.0
    assert over_seeds([0.2], rank=True).resampled == SEEDS


def test_the_interval_of_a_rank_is_clopper_and_pearsons_where_the_own_value_is_sure_and_wider_where_not():
    others = np.linspace(0, 1, 200)
    sure, unsure = (rank(others, Estimate(0.951, 0.951 - r, 0.951 + r)) for r in (0, 0.05))
    assert sure.value == unsure.value == pytest.approx(0.05)
    assert (sure.low, sure.high) == pytest.approx((0.0242, 0.0900), abs=1e-3)
    assert unsure.low < sure.low
    assert unsure.high > 0.1
    assert np.isnan(rank(others, Estimate(0.5, math.nan, math.nan)).value)
    assert np.isnan(rank(np.array([np.nan]), Estimate(0.5, 0.4, 0.6)).value)


def test_three_ranks_of_zero_say_little_of_a_fourth():
    found = over_seeds([0.0, 0.0, 0.0], rank=True)
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 3))  # Clopper and Pearson's, of none of three
    assert over_seeds([1.0, 1.0], rank=True).low == pytest.approx(0.025 ** (1 / 2))
    some = over_seeds([0.1, 0.4, 0.0], rank=True)
    assert some.low < 0.5 / 3 < some.high < 0.9


def test_claims_on_ranks_are_judged_over_seeds_as_ranks():
    claim = next(c for c in CLAIMS if c.id == "share-is-special")
    judged = judge({claim.quantity: Estimate(0.0, 0.0, 0.02, DIRECTIONS)})
    together = claims_over_seeds(pd.concat([judged.assign(seed=i) for i in range(3)]))
    assert together.loc[claim.id, "verdict"] == "inconclusive"


def test_equal_seeds_are_no_surer_than_each_of_them():
    found = over_seeds([0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.018, 0.018, 0.018])
    assert (found.value, found.low, found.resampled) == (0, 0, SEEDS)
    assert found.high == pytest.approx(0.018)
    wide = over_seeds([0.4, 0.5, 0.6], [0.39, 0.49, 0.59], [0.41, 0.51, 0.61])
    assert wide == over_seeds([0.4, 0.5, 0.6])
    assert over_seeds([0.3, 0.3], [math.nan, 0.2], [math.nan, 0.4]).high == pytest.approx(0.35)


def test_what_chance_may_decide_is_counted():
    claim = next(c for c in CLAIMS if c.id == "tp-is-a-minority")
    two_ends = next(c for c in CLAIMS if c.id == "change-ignores-toxicity")
    sure = next(c for c in CLAIMS if c.id == "vectors-stay")
    evidence = {
        claim.quantity: Estimate(0.45, 0.41, 0.49, CHUNKS),
        two_ends.quantity: Estimate(0.0, -0.01, 0.01, PROMPTS),
        sure.quantity: Estimate(0.0, 0.0, 0.0, NOTHING),
    }
    found = chance(judge(evidence))
    assert (found.judged, found.decided) == (2, 2)
    assert found.wrong == pytest.approx(0.025 + 0.05)
    assert found.open == ()
    many = {c.quantity: Estimate(c.high - 1, c.high - 2, c.high - 0.2, PROMPTS) for c in CLAIMS}
    stretched = chance(judge(many | {claim.quantity: Estimate(0.45, 0.41, 0.49, CHUNKS)}))
    assert claim.id in stretched.open
    nothing = chance(judge({}))
    assert (nothing.judged, nothing.decided, nothing.wrong, nothing.open) == (0, 0, 0, ())


def test_pages_say_what_an_interval_resamples():
    from dpotox.show import report_claims

    claims = judge({c.quantity: Estimate(0.1, 0.09, 0.11, CHUNKS) for c in CLAIMS})
    assert f"[0.09, 0.11] over {CHUNKS}" in report_claims.verdicts(claims).data
    assert "verdicts are wrong on average" in report_claims.chance_sentences(claims).data
    assert "No verdict" in report_claims.chance_sentences(judge({})).data
    assert set(pd.unique(claims["resampled"])) == {CHUNKS}
