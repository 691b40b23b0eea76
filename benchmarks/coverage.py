"""How often each kind of interval holds the truth, on made-up data of which the truth is known.

    python benchmarks/coverage.py --repeats 500

Sizes are those of the profile `mini`. Each kind of interval is made twice from the same data: as it was made
first, with percentiles of the bootstrap alone (`before`), and as the library makes it. Writes
`artifacts/benchmarks/coverage.csv`; the table in `book/measured/` is of 500 repeats. Seeds are fixed.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from machine import write
from scipy import stats

from dpotox import estimates
from dpotox.estimates import CHUNKS as OF_CHUNKS
from dpotox.estimates import DIRECTIONS as OF_DIRECTIONS
from dpotox.estimates import DRAWS as OF_DRAWS
from dpotox.estimates import PROMPTS as OF_PROMPTS
from dpotox.estimates import SEEDS as OF_SEEDS
from dpotox.estimates import WINDOWS as OF_WINDOWS
from dpotox.estimates import Estimate

PROMPTS, FEWER, CHUNKS, DIRECTIONS, DRAWS, WINDOWS = 480, 160, 20, 200, 20, 160
PLAIN, STUDENT = "bootstrap, percentiles", "bootstrap, Student's t about the value"
PERCENTILES = np.array([0.025, 0.975])
WORLDS = 20
"""Of so many repeats the made-up model is the same."""

Made = tuple[float, tuple[float, float], tuple[float, float]]
"""The truth, and the ends of the interval as it was made first and as it is made now."""


@dataclass(frozen=True)
class Kind:
    """A kind of interval: what is resampled, how the interval is made, and what makes data up."""

    name: str
    resampled: str
    method: str
    simulate: Callable[[int, int], dict[str, Made]]  # from the number of the repeat and that of resamples


def percentiles(draws: np.ndarray) -> tuple[float, float]:
    """The interval as it was made first."""
    return tuple(np.quantile(draws, PERCENTILES))


def ends(found: Estimate) -> tuple[float, float]:
    """The interval as it is made now."""
    return found.low, found.high


def resampled(rng: np.random.Generator, n: int, resamples: int) -> np.ndarray:
    """Weights `(resample, n)` of a bootstrap."""
    places = rng.integers(n, size=(resamples, n)) + n * np.arange(resamples)[:, None]
    return np.bincount(places.ravel(), minlength=n * resamples).reshape(resamples, n) / n


# Toxicity over prompts: half of the values or more are zero, the others lie between .5 and 1.

TENDENCY = 2.0
"""How much prompts differ in how toxic what follows is, on the logit scale."""


def toxicity(rng: np.random.Generator, tendency: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Toxicity `(row, prompt)`: of prompts that differ in their tendency, rows that differ in their level."""
    chance = 1 / (1 + np.exp(-np.asarray(level)[..., None] - tendency))
    return (rng.random(chance.shape) < chance) * rng.beta(8, 2, size=chance.shape)


def true_means(levels: np.ndarray) -> np.ndarray:
    """The means of `toxicity` by level, over the normal distribution of tendencies."""
    points, weights = np.polynomial.hermite_e.hermegauss(80)
    chance = 1 / (1 + np.exp(-np.asarray(levels)[..., None] - TENDENCY * points))
    return 0.8 * (chance * weights).sum(-1) / weights.sum()


def over_prompts(name: str, statistic: Callable, levels: list[float], n: int) -> Kind:
    """A kind that is a function of means over prompts, one for each row."""

    def simulate(repeat: int, resamples: int) -> dict[str, Made]:
        rng = np.random.default_rng([repeat, n])
        rows = toxicity(rng, TENDENCY * rng.normal(size=n), np.array(levels))
        truth = statistic(*true_means(np.array(levels)))
        now = estimates.estimate(lambda *s: statistic(*(x.mean(-1) for x in s)), *rows, resamples=resamples)
        draws = statistic(*(rows @ resampled(rng, n, resamples).T))
        return {name: (float(truth), percentiles(draws), ends(now))}

    return Kind(name, OF_PROMPTS, PLAIN, simulate)


def best_of(name: str, levels: list[float]) -> Kind:
    """The largest recovered share of several rows."""
    levels = np.array([0.0, -4.0, *levels])

    def simulate(repeat: int, resamples: int) -> dict[str, Made]:
        rng = np.random.default_rng([repeat, 8])
        none, dpo, *rows = toxicity(rng, TENDENCY * rng.normal(size=PROMPTS), levels)
        truth = best(*true_means(levels))
        now = estimates.largest(estimates.recovered_share, none, rows, dpo, resamples=resamples)
        draws = best(*(np.stack([none, dpo, *rows]) @ resampled(rng, PROMPTS, resamples).T))
        return {name: (float(truth), percentiles(draws), ends(now))}

    return Kind(name, OF_PROMPTS, "each row's, shared out among rows", simulate)


def share(none, row, dpo):
    """The recovered share from means."""
    return (none - row) / (none - dpo)


def best(none, dpo, *rows):
    """The largest recovered share from means."""
    return np.max([share(none, row, dpo) for row in rows], axis=0)


def losses(repeat: int, resamples: int) -> dict[str, Made]:
    """Perplexity over windows of text, whose mean losses are skewed."""
    rng = np.random.default_rng([repeat, WINDOWS])
    loss = 1.2 + rng.gamma(4, 0.1, size=WINDOWS)
    now = estimates.estimate(estimates.perplexity, loss, resamples=resamples, resampled=OF_WINDOWS)
    draws = np.exp(loss @ resampled(rng, WINDOWS, resamples).T)
    return {"perplexity": (float(np.exp(1.6)), percentiles(draws), ends(now))}


def beyond_draws(repeat: int, resamples: int) -> dict[str, Made]:
    """A row's recovered share beyond that of random choices, which differ among themselves."""
    rng = np.random.default_rng([repeat, DRAWS])
    tendency, levels, spread = TENDENCY * rng.normal(size=FEWER), np.array([-0.2, -2.5, -4.0]), 0.4
    none, row, dpo = toxicity(rng, tendency, levels)
    drawn = toxicity(rng, tendency, -0.2 + spread * rng.normal(size=DRAWS))
    points, weights = np.polynomial.hermite_e.hermegauss(80)
    mean = (true_means(-0.2 + spread * points) * weights).sum() / weights.sum()
    truth = (mean - true_means(levels)[1]) / (true_means(levels)[0] - true_means(levels)[2])
    prompts, draws = resampled(rng, FEWER, resamples), resampled(rng, DRAWS, resamples)
    means = ((prompts @ drawn.T) * draws).sum(1)
    old = percentiles((means - prompts @ row) / (prompts @ (none - dpo)))
    return {"share beyond random neurons": (float(truth), old, old)}


# Neurons: chunks of prompts are resampled; the noise of chunks is shared between neurons.


@dataclass(frozen=True)
class World:
    """A made-up model: value vectors, mean activations before DPO, their changes, and the noise of chunks."""

    values: np.ndarray  # (neuron, d_model)
    before: np.ndarray
    change: np.ndarray
    noise: np.ndarray
    shared: np.ndarray  # (factor, neuron)

    def chunks(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Mean activations before DPO `(chunk, neuron)`, and their changes."""

        def noise() -> np.ndarray:
            own = rng.normal(size=(CHUNKS, len(self.before)))
            return self.noise * (own + 0.6 * rng.normal(size=(CHUNKS, len(self.shared))) @ self.shared)

        return self.before + 2 * noise(), self.change + noise()


def world(number: int, neurons: int = 600, changes: float = 1.0) -> World:
    """One like `mini`: most neurons are negative, in a few per cent the sign is not sure, few carry much."""
    rng = np.random.default_rng([number, neurons])
    values = rng.normal(size=(neurons, 64)) / 8
    values[:, 0] += (rng.random(neurons) < 0.03) * np.abs(rng.normal(0, 0.5, neurons))
    before, kind = -0.13 + 0.02 * rng.normal(size=neurons), rng.random(neurons)
    before = np.where(kind < 0.12, rng.exponential(0.3, neurons), before)
    before = np.where(kind > 0.9, rng.normal(0, 0.05, neurons), before)
    towards = 0.01 * values[:, 0] * (1 + 20 * np.maximum(before, 0))
    change = rng.standard_t(2, neurons) * 0.007 - towards
    noise = 0.003 * np.exp(0.8 * rng.normal(size=neurons))
    return World(values, before, changes * change, noise, rng.normal(size=(3, neurons)))


def neuron_quantities(made: World, before: np.ndarray, change: np.ndarray) -> dict[str, np.ndarray]:
    """Quantities of mean activations `(..., neuron)` along the first direction, by the library's names."""
    along = made.values[:, 0]
    drop = -change * along
    toxic, positive = along > 0, before >= 0
    reduces = np.maximum(drop, 0)
    sums = [(reduces * (toxic == t) * (positive == p)).sum(-1) for t in (1, 0) for p in (1, 0)]
    gross, net = sum(sums), drop.sum(-1)
    cosine = along / np.linalg.norm(made.values, axis=1)
    top = np.argsort(-cosine, kind="stable")[:21]
    centred = change - change.mean(-1, keepdims=True), cosine - cosine.mean()
    lengths = [np.sqrt((c**2).sum(-1)) for c in centred]
    return {
        "TP- share of gross": sums[0] / gross,
        "smallest group's share of gross": np.min(sums, axis=0) / gross,
        "increase / gross reduction": (gross - net) / gross,
        "positively active share of the top toxic neurons": (before > 0)[..., top].mean(-1),
        "top toxic neurons' share of gross": reduces[..., top].sum(-1) / gross,
        "correlation of activation change with cosine": (centred[0] * centred[1]).sum(-1)
        / (lengths[0] * lengths[1]),
        "gross": gross,
    }


def of_neurons(repeat: int, resamples: int) -> dict[str, Made]:
    """What follows from neuron tables."""
    made, rng = world(repeat // WORLDS), np.random.default_rng([repeat, 1])
    before, change = made.chunks(rng)
    weights = resampled(rng, CHUNKS, 200)
    truth = neuron_quantities(made, made.before, made.change)
    draws = neuron_quantities(made, weights @ before, weights @ change)
    found = neuron_quantities(made, before.mean(0), change.mean(0))
    now = {name: estimates.around(float(found[name]), draws[name], CHUNKS) for name in found}
    return {name: (float(truth[name]), percentiles(draws[name]), ends(now[name])) for name in truth}


@lru_cache
def gross_of_noise(number: int) -> float:
    """What two samples of one model give on average at so many prompts."""
    made = world(number, changes=0.0)
    some = [made.chunks(np.random.default_rng([number, i, 7])) for i in range(200)]
    means = [np.stack([one[i].mean(0) for one in some]) for i in (0, 1)]
    return float(neuron_quantities(made, *means)["gross"].mean())


def of_noise(repeat: int, resamples: int) -> dict[str, Made]:
    """The gross reduction between two samples of one model."""
    made, rng = world(repeat // WORLDS, changes=0.0), np.random.default_rng([repeat, 2])
    before, change = made.chunks(rng)
    weights = resampled(rng, CHUNKS, 200)
    draws = neuron_quantities(made, weights @ before, weights @ change)["gross"]
    truth = gross_of_noise(repeat // WORLDS)
    found = neuron_quantities(made, before.mean(0), change.mean(0))["gross"]
    now = estimates.around(float(found), draws, CHUNKS)
    return {"gross of the noise": (truth, percentiles(draws), ends(now))}


def tp_shares(made: World, directions: np.ndarray, before: np.ndarray, change: np.ndarray) -> np.ndarray:
    """TP-'s share of gross along each direction `(draw, d_model)`, signed to a net reduction."""
    along = made.values @ directions.T
    along *= np.where(change @ along > 0, -1, 1)
    drop = np.maximum(-change[:, None] * along, 0)
    return (drop * (along > 0) * (before >= 0)[:, None]).sum(0) / drop.sum(0)


@lru_cache
def all_shares(number: int) -> np.ndarray:
    """The true shares along very many directions of a made-up model."""
    made = world(number)
    directions = np.random.default_rng([number, 3]).normal(size=(5_000, 64))
    return tp_shares(made, directions, made.before, made.change)


def of_rank(repeat: int, resamples: int) -> dict[str, Made]:
    """The share of random directions with a larger share of TP- than the probe, more or less special."""
    number = repeat // WORLDS
    made, rng = world(number), np.random.default_rng([repeat, 4])
    probe = np.random.default_rng([number, 5]).normal(size=(1, 64)) / 8
    probe[0, 0] += number % 5
    own = tp_shares(made, probe, made.before, made.change)[0]
    before, change = made.chunks(rng)
    found = tp_shares(made, rng.normal(size=(DIRECTIONS, 64)), before.mean(0), change.mean(0))
    weights = resampled(rng, CHUNKS, 200)
    draws = [tp_shares(made, probe, w @ before, w @ change)[0] for w in weights]
    value = tp_shares(made, probe, before.mean(0), change.mean(0))[0]
    old = stats.binomtest(int((found > value).sum()), DIRECTIONS).proportion_ci()
    truth = float((all_shares(number) > own).mean())
    now = estimates.rank(found, estimates.around(float(value), np.array(draws), CHUNKS))
    return {"rank among random directions": (truth, tuple(old), ends(now))}


# Seeds: a few values, each with an interval of its own.


def over_seeds(name: str, n: int, draw: Callable, truth: float) -> Kind:
    """The mean of a quantity over all seeds that there might be."""
    rank = "ranks" in name
    method = "Clopper-Pearson of their sum" if rank else "Student's t, at least as wide as one seed's"

    def simulate(repeat: int, resamples: int) -> dict[str, Made]:
        values, lows, highs = draw(np.random.default_rng([repeat, n, 6]), n)
        reach = stats.t.ppf(0.975, n - 1) * stats.sem(values)
        old = (values.mean() - reach, values.mean() + reach)
        return {name: (truth, old, ends(estimates.over_seeds(values, lows, highs, rank=rank)))}

    return Kind(name, OF_SEEDS, method, simulate)


def normal_values(rng: np.random.Generator, n: int) -> tuple[np.ndarray, ...]:
    """Shares that differ between seeds by more than their own intervals are wide."""
    values = rng.normal(0.5, 0.1, n)
    return values, values - 0.04, values + 0.04


def ranks(a: float, b: float) -> Callable:
    """Ranks among directions, true ones from a beta distribution, with their own intervals."""

    def draw(rng: np.random.Generator, n: int) -> tuple[np.ndarray, ...]:
        counts = rng.binomial(DIRECTIONS, rng.beta(a, b, n))
        low = np.where(counts, stats.beta.ppf(0.025, np.maximum(counts, 1), DIRECTIONS - counts + 1), 0)
        high = stats.beta.ppf(0.975, counts + 1, np.maximum(DIRECTIONS - counts, 1))
        return counts / DIRECTIONS, low, high  # Clopper and Pearson's ends

    return draw


KINDS = [
    over_prompts("mean toxicity", lambda m: m, [0.0], PROMPTS),
    over_prompts("mean toxicity, mostly zero, fewer prompts", lambda m: m, [-3.0], FEWER),
    over_prompts("toxicity after DPO / before", lambda a, b: a / b, [-3.5, 0.0], PROMPTS),
    over_prompts("recovered share", share, [0.0, -2.0, -4.0], PROMPTS),
    over_prompts("recovered share, fewer prompts", share, [0.0, -2.0, -4.0], FEWER),
    best_of("best recovered share of seven rows", [-2.2, -2.2, -2.3, -2.5, -2.5, -2.7, -2.7]),
    best_of("best recovered share of seven equal rows", 7 * [-2.5]),
    best_of("best recovered share, one row far ahead", [-3.0, *6 * [-1.5]]),
    Kind("perplexity", OF_WINDOWS, PLAIN, losses),
    Kind("beyond random draws", OF_DRAWS, PLAIN, beyond_draws),
    Kind("neuron quantities", OF_CHUNKS, STUDENT, of_neurons),
    Kind("noise", OF_CHUNKS, STUDENT, of_noise),
    Kind("rank", OF_DIRECTIONS, "Clopper-Pearson, mixed over own values", of_rank),
    *(
        over_seeds(f"{name}, {n} seeds", n, draw, truth)
        for n in (3, 5)
        for name, draw, truth in (
            ("mean of shares", normal_values, 0.5),
            ("mean of small ranks", ranks(0.5, 50), 0.5 / 50.5),
            ("mean of ranks", ranks(5, 200), 5 / 205),
            ("mean of ranks, most 0 and a few large", ranks(0.2, 4), 0.2 / 4.2),
        )
    ),
]


def measure(kind: Kind, repeats: int, resamples: int = 1_000) -> pd.DataFrame:
    """How often the intervals of a kind hold the truth: a row per quantity."""
    found = pd.DataFrame([kind.simulate(repeat, resamples) for repeat in range(repeats)])
    rows = []
    for name in found:
        held = [[low <= truth <= high for low, high in ends] for truth, *ends in found[name]]
        before, now = np.mean(held, axis=0)
        row = {"interval of": name, "resampled": kind.resampled, "method": kind.method}
        rows.append(row | {"coverage before": before, "coverage now": now})
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=500)
    parser.add_argument("--only", default="", help="kinds whose names have this in them")
    asked = parser.parse_args()
    tables = [measure(kind, asked.repeats) for kind in KINDS if asked.only in kind.name]
    write("coverage", pd.concat(tables, ignore_index=True))


if __name__ == "__main__":
    main()
