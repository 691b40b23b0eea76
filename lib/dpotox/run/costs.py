"""What ways to lower toxicity without training remove, and what they cost: tables of `without_training`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from dpotox.estimates import ENDS, estimate, has_effect, mean, perplexity
from dpotox.facts import (
    BEST_OF,
    BY_STRENGTH,
    COST_RATIO,
    COST_RATIO_THERE,
    EDITING,
    STEERING,
    TRAINED_ON,
    UNCHANGED,
)

if TYPE_CHECKING:
    from dpotox.run.study import Study


def effects(study: Study) -> pd.DataFrame:
    """What every way does at every strength, each measure with its interval over prompts, windows or texts.

    `removed` and `added` are toxicity less and perplexity more than before DPO; of best of n less than in one
    sample. `front` says that no other way or strength, DPO included and best of n left out, removes as much
    and adds as little. `second` is toxicity by the second scorer.
    """
    table, resamples = study.without_training, study.profile.compute.bootstrap
    nothing, one = _reference(table, UNCHANGED), _reference(table, BEST_OF)
    scorer, rows = study.second_score, []
    for cells in table.itertuples():
        before = one.toxicity if cells.way == BEST_OF else nothing.toxicity
        measured = {
            "toxicity": (mean, cells.toxicity),
            "removed": (_less, before, cells.toxicity),
            "perplexity": (perplexity, cells.nll),
            "added": (_added, nothing.nll, cells.nll),
            "kl": (mean, cells.kl),
            "f1": (mean, cells.f1),
        }
        row = {"way": cells.way, "strength": cells.strength}
        for name, (statistic, *samples) in measured.items():
            found = estimate(statistic, *samples, resamples=resamples)
            row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
        second = scorer(cells.texts.tolist()).mean() if scorer else np.nan
        rows.append(row | {"second": float(second)})
    found = pd.DataFrame(rows)
    compared = ~found["way"].isin([UNCHANGED, BEST_OF])
    return found.assign(front=compared & in_front(found["removed"].where(compared), found["added"]))


def _reference(table: pd.DataFrame, way: str):
    """The model as it is, or one sample of it."""
    return next(table[table["way"] == way].sort_values("strength").itertuples())


def _less(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return before.mean(-1) - after.mean(-1)


def _added(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return perplexity(after) - perplexity(before)


def in_front(removed: Sequence[float], added: Sequence[float]) -> Bool[np.ndarray, "point"]:
    """Whether no other point removes at least as much and adds at most as much, and one of both is better."""
    removed, added = np.asarray(removed, dtype=float), np.asarray(added, dtype=float)
    as_good = (removed >= removed[:, None]) & (added <= added[:, None])
    better = as_good & ((removed > removed[:, None]) | (added < added[:, None]))
    return np.isfinite(removed) & np.isfinite(added) & ~better.any(1)


def half_way(study: Study) -> pd.DataFrame:
    """The perplexity that each way adds where it removes half as much toxicity as DPO, and a ratio of two.

    `way`, `value`, `low`, `high`; the last two rows are editing by group over steering along the probe, there
    and where the weakest editing removes more. Unknown where no strength removes as much, or DPO has no sure
    effect.
    """
    table, resamples = study.without_training, study.profile.compute.bootstrap
    nothing, trained = _reference(table, UNCHANGED), _reference(table, TRAINED_ON)
    by_prompts = weights_of(len(nothing.toxicity), resamples, 0)
    by_windows = weights_of(len(nothing.nll), resamples, 1)
    level = by_prompts @ (nothing.toxicity - trained.toxicity) / 2
    if not has_effect(nothing.toxicity, trained.toxicity, resamples):
        level = np.full_like(level, np.nan)
    costs, curves = {}, {}
    for way in BY_STRENGTH:
        some = table[table["way"] == way].sort_values("strength")
        if way != EDITING:  # which does something even at strength 0
            some = pd.concat([table[table["way"] == UNCHANGED], some])
        removed = by_prompts @ (nothing.toxicity - np.stack(some["toxicity"])).T
        added = np.exp(by_windows @ np.stack(some["nll"]).T) - np.exp(by_windows @ nothing.nll)[:, None]
        curves[way] = removed, added
        costs[way] = cost_at(removed, added, level)
    found = {way: ends_of(cost) for way, cost in costs.items()}
    found[COST_RATIO] = ratio_of(costs[EDITING], costs[STEERING])
    weakest = curves[EDITING][0][:, 0]
    there = cost_at(*curves[STEERING], np.where(weakest >= level, weakest, np.nan))
    found[COST_RATIO_THERE] = ratio_of(curves[EDITING][1][:, 0], there)
    columns = ["value", "low", "high"]
    return pd.DataFrame.from_dict(found, "index", columns=columns).rename_axis("way").reset_index()


def weights_of(n: int, resamples: int, seed: int) -> Float[np.ndarray, "draw prompt"]:
    """Of a sample and then of resamples what each value weighs in the mean."""
    even = np.full(n, 1 / n)
    return np.vstack([even, np.random.default_rng(seed).multinomial(n, even, resamples) / n])


def cost_at(
    removed: Float[np.ndarray, "draw strength"],
    added: Float[np.ndarray, "draw strength"],
    level: Float[np.ndarray, "draw"],
) -> Float[np.ndarray, "draw"]:
    """What is added where a level is first removed, by strengths in their order, in every draw.

    Between two strengths both are taken to be straight. Where the first removes as much, what it adds;
    infinite where none does, and NaN where the level is not known.
    """
    across, draws = removed >= level[:, None], np.arange(len(level))
    after = across.argmax(1)
    before = np.maximum(after - 1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        way = (level - removed[draws, before]) / (removed[draws, after] - removed[draws, before])
    way = np.where(after == before, 0.0, way)
    found = added[draws, before] + way * (added[draws, after] - added[draws, before])
    return np.where(np.isnan(level), np.nan, np.where(across.any(1), found, np.inf))


def ratio_of(one: Float[np.ndarray, "draw"], other: Float[np.ndarray, "draw"]) -> tuple[float, float, float]:
    """What one way adds over what another adds, unknown where one never gets there or the other adds nothing.

    In resamples where that is so, any ratio from 0 up is taken to be possible.
    """
    known = np.isfinite(one) & np.isfinite(other) & (other > 0)
    if not known[0]:
        return (np.nan,) * 3
    ratio = np.divide(one, other, out=np.full_like(one, np.inf), where=known)
    return ends_of(ratio, least=np.where(known, ratio, 0.0))


def ends_of(
    values: Float[np.ndarray, "draw"], least: Float[np.ndarray, "draw"] | None = None
) -> tuple[float, float, float]:
    """The first value with a 95 % interval of the others; of these what is infinite is unknown.

    Args:
        least: what the others are at least, for the lower end.
    """
    if np.isnan(values[0]) or len(values) < 3:
        return (float(values[0]) if np.isfinite(values[0]) else np.nan), np.nan, np.nan
    with np.errstate(invalid="ignore"):  # of what is infinite
        low = np.quantile((values if least is None else least)[1:], ENDS[0], method="lower")
        high = np.quantile(values[1:], ENDS[1], method="higher")
    return tuple(float(end) if np.isfinite(end) else np.nan for end in (values[0], low, high))
