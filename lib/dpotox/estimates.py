"""Values with their 95 % intervals, and the statistics that they are made of."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import special

PROMPTS, WINDOWS, CHUNKS = "prompts", "windows", "chunks of prompts"
DRAWS, DIRECTIONS, SEEDS, NOTHING = "prompts and draws", "chunks and directions", "seeds", "nothing"
RESAMPLED = (PROMPTS, WINDOWS, CHUNKS, DRAWS, DIRECTIONS, SEEDS, NOTHING)
"""What an interval may resample."""
ENDS = (0.025, 0.975)


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, and over what that is."""

    value: float
    low: float
    high: float
    resampled: str = NOTHING

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


Evidence = dict[str, Estimate]
"""What was measured, by the names of the quantities."""


def unknown(value: float, resampled: str) -> Estimate:
    """A value without an interval, which leaves a claim inconclusive."""
    return Estimate(value, float("nan"), float("nan"), resampled)


def estimate(
    statistic: Callable[..., np.ndarray],
    *samples: Float[np.ndarray, "prompt"],
    resamples: int,
    seed: int = 0,
    resampled: str = PROMPTS,
    below: float = ENDS[0],
) -> Estimate:
    """A statistic of one or several paired samples with its bootstrap interval over prompts or windows.

    Args:
        statistic: maps arrays `(..., prompt)` to values `(...)`, for example `lambda a: a.mean(-1)`.
        below: the chance that the truth lies below the interval.
    """
    from scipy import stats  # slow to import, and not needed to show what was estimated before

    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # a ratio of nothing: inconclusive
        value = float(statistic(*samples))
        if len(samples[0]) < 2 or not np.isfinite(value):
            return unknown(value, resampled)  # nothing to resample: inconclusive
        if all(np.ptp(s) == 0 for s in samples):
            return Estimate(value, value, value, resampled)
        draws = stats.bootstrap(
            samples,
            lambda *s, axis=-1: statistic(*s),
            paired=len(samples) > 1,
            vectorized=True,
            n_resamples=resamples,
            batch=200,
            method="percentile",
            rng=np.random.default_rng(seed),
        )
        low, high = np.quantile(draws.bootstrap_distribution, [below, ENDS[1]])
    return Estimate(value, float(low), float(high), resampled)


def largest(
    statistic: Callable[..., np.ndarray],
    none: Float[np.ndarray, "prompt"],
    rows: Sequence[Float[np.ndarray, "prompt"]],
    dpo: Float[np.ndarray, "prompt"],
    *others: Float[np.ndarray, "prompt"],
    resamples: int,
) -> Estimate:
    """The largest value of a statistic over rows, which chance helps to choose.

    The truth lies above the interval only if that of the truly largest row lies above its own, and below
    only if some row's does; so the chance of the latter is shared out among the rows (Bonferroni).
    """
    below = ENDS[0] / len(rows)
    found = [estimate(statistic, none, row, dpo, *others, resamples=resamples, below=below) for row in rows]
    ends = np.max([[e.value, e.low, e.high] for e in found], axis=0)
    return Estimate(*map(float, ends), PROMPTS)


def has_effect(before: np.ndarray, after: np.ndarray, resamples: int) -> bool:
    """Whether DPO surely lowers toxicity; of an effect that may be none, no share means anything."""
    return estimate(lambda a, b: a.mean(-1) - b.mean(-1), before, after, resamples=resamples).low > 0


def around(value: float, draws: Float[np.ndarray, "draw"], blocks: int, resampled: str = CHUNKS) -> Estimate:
    """A value with an interval from resamples of a few blocks, after Student's t.

    Its reach is that of the resamples' root mean square distance from the value, so it is wide enough where
    they lie to one side of it, as those of a sum that grows with noise do.
    """
    draws = np.asarray(draws, dtype=float)
    draws = draws[np.isfinite(draws)]
    if blocks < 2 or not len(draws) or not np.isfinite(value):
        return unknown(value, resampled)
    spread = np.sqrt(np.mean((draws - value) ** 2) * blocks / (blocks - 1))
    reach = float(special.stdtrit(blocks - 1, ENDS[1]) * spread)
    return Estimate(value, value - reach, value + reach, resampled)


def rank(others: Float[np.ndarray, "direction"], own: Estimate, seed: int = 0) -> Estimate:
    """The share of other directions with a larger value, where the own value is not sure either.

    Own values are drawn as its interval has them. For each, Clopper and Pearson's ends for the share are
    drawn from their beta distributions, and the interval holds the middle 95 % of these. NaN where a value
    is not known.
    """
    others = np.sort(others[np.isfinite(others)])
    n, rng = len(others), np.random.default_rng(seed)
    if not n or not np.isfinite([own.value, own.low, own.high]).all():
        return unknown(float("nan"), DIRECTIONS)
    spread = (own.high - own.low) / 2 / special.ndtri(ENDS[1])
    larger = n - np.searchsorted(others, rng.normal(own.value, spread, 20_000), side="right")
    least = np.where(larger > 0, rng.beta(np.maximum(larger, 1), n - larger + 1), 0.0)
    most = np.where(larger < n, rng.beta(larger + 1, np.maximum(n - larger, 1)), 1.0)
    low, high = np.quantile(least, ENDS[0]), np.quantile(most, ENDS[1])
    return Estimate(float((others > own.value).mean()), float(low), float(high), DIRECTIONS)


def over_seeds(
    values: Sequence[float], lows: Sequence[float] = (), highs: Sequence[float] = (), *, rank: bool = False
) -> Estimate:
    """The mean of one value per seed with its 95 % interval by Student's t; needs two seeds for one.

    On neither side is it narrower than the seeds' own intervals, from `lows` to `highs`, are on average:
    values that come out equal do not make the mean sure.

    Args:
        rank: whether the values are ranks, from 0 to 1. Most of those can be 0 and a few large, of which
            Student's t knows nothing. The interval then is Clopper and Pearson's, of as many successes as
            the values add up to: no quantity between 0 and 1 varies more than one that is 0 or 1.
    """
    sample = np.asarray(values, dtype=float)
    if len(sample) < 2 or not np.isfinite(sample).all():
        return unknown(float(sample.mean()), SEEDS)
    if rank:
        n, successes = len(sample), min(max(float(sample.sum()), 0.0), len(sample))
        low = special.betaincinv(successes, n - successes + 1, ENDS[0]) if successes > 0 else 0.0
        high = special.betaincinv(successes + 1, n - successes, ENDS[1]) if successes < n else 1.0
        return Estimate(float(sample.mean()), float(low), float(high), SEEDS)
    middle, reach = float(sample[0]), 0.0
    if np.ptp(sample) > 0:
        middle = float(sample.mean())
        n = len(sample)
        reach = special.stdtrit(n - 1, ENDS[1]) * sample.std(ddof=1) / n**0.5

    def side(ends: Sequence[float]) -> float:
        own = np.abs(sample - np.asarray(ends, dtype=float)) if len(ends) else np.zeros(1)
        return float(max(reach, np.nan_to_num(own).mean()))

    return Estimate(middle, middle - side(lows), middle + side(highs), SEEDS)


def mean(sample: Float[np.ndarray, "*draw prompt"]) -> Float[np.ndarray, "*draw"]:
    """The mean over prompts, as a statistic for `estimate`."""
    return sample.mean(-1)


def recovered_share(
    none: Float[np.ndarray, "*draw prompt"],
    row: Float[np.ndarray, "*draw prompt"],
    dpo: Float[np.ndarray, "*draw prompt"],
) -> Float[np.ndarray, "*draw"]:
    """The part of DPO's effect that an intervention on the base model recovers: 0 none, 1 all of it."""
    return (none.mean(-1) - row.mean(-1)) / (none.mean(-1) - dpo.mean(-1))


def perplexity(nll: Float[np.ndarray, "*draw window"]) -> Float[np.ndarray, "*draw"]:
    """The exponential of the mean loss, as a statistic for `estimate`."""
    return np.exp(nll.mean(-1))
