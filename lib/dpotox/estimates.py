"""Values with their 95 % intervals, and the statistics that they are made of."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


Evidence = dict[str, Estimate]
"""What was measured, by the names of the quantities."""


def estimate(
    statistic: Callable[..., np.ndarray],
    *samples: Float[np.ndarray, "prompt"],
    resamples: int,
    seed: int = 0,
) -> Estimate:
    """A statistic of one or several paired samples with its bootstrap interval over prompts.

    Args:
        statistic: maps arrays `(..., prompt)` to values `(...)`, for example `lambda a: a.mean(-1)`.
    """
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # a ratio of nothing: inconclusive
        value = float(statistic(*samples))
        if len(samples[0]) < 2 or not np.isfinite(value):
            return Estimate(value, float("nan"), float("nan"))  # nothing to resample: inconclusive
        if all(np.ptp(s) == 0 for s in samples):
            return Estimate(value, value, value)
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
        low, high = draws.confidence_interval
    return Estimate(value, float(low), float(high))


def over_seeds(values: Sequence[float]) -> Estimate:
    """The mean of one value per seed with its 95 % interval by Student's t; needs two seeds for one."""
    sample = np.asarray(values, dtype=float)
    if len(sample) < 2 or not np.isfinite(sample).all():
        return Estimate(float(sample.mean()), float("nan"), float("nan"))
    if np.ptp(sample) == 0:
        return Estimate(*[float(sample[0])] * 3)
    low, high = stats.t.interval(0.95, len(sample) - 1, sample.mean(), stats.sem(sample))
    return Estimate(float(sample.mean()), float(low), float(high))


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
