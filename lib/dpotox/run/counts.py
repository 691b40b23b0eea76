"""How many neurons carry what DPO does: copied into the model before it, or set back in the model after it.

Copied, neurons of the model before DPO get the activations that they have in the model after it, on the same
text, token by token; set back, those of the model after DPO get what they have in the model before. Of two
sets that are chosen alike the larger contains the smaller. Beyond the paper.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from dpotox.estimates import ENDS, PROMPTS, Estimate, estimate, has_effect, recovered_share, unknown
from dpotox.facts import COPIED, EVERY, RANDOM, RANKINGS, SET_BACK
from dpotox.model.interventions import copy
from dpotox.paper.evaluation import greedy_toxicity
from dpotox.run.artifacts import PARTS, part
from dpotox.run.kept import TENSOR
from dpotox.run.workers import share_out

if TYPE_CHECKING:
    from dpotox.run.study import Study

LEVELS = {COPIED: (0.5, 0.9), SET_BACK: (0.5, 0.1)}
"""Shares of DPO's effect for which the number of neurons is asked: recovered, or left."""


@dataclass(frozen=True)
class Trial:
    """Some neurons, how they were chosen, and what is done to them."""

    kind: str
    ranked: str
    draw: int  # of random orders, else 0
    neurons: pd.DataFrame


def orders(neurons: pd.DataFrame, draws: int, seed: int) -> dict[tuple[str, int], pd.DataFrame]:
    """All neurons, the first of which are chosen first, by how they are ranked and the number of the draw."""
    change, drop = neurons["same_text_change"].abs(), neurons["projection_drop"]
    within = -drop.groupby(neurons["layer"]).rank(ascending=False)
    by = dict(zip(RANKINGS, (change, drop, neurons["cosine"], within), strict=True))
    found = {
        (name, 0): neurons.loc[values.sort_values(ascending=False, kind="stable").index]
        for name, values in by.items()
    }
    rng = np.random.default_rng(seed)
    return found | {(RANDOM, n): neurons.iloc[rng.permutation(len(neurons))] for n in range(draws)}


def trials(study: Study) -> list[Trial]:
    """Every order's first neurons, in all numbers, copied and set back; and all neurons."""
    settings = study.profile.interventions
    sizes = sorted({max(1, round(share * len(study.neurons))) for share in settings.counted})
    ordered = orders(study.neurons, settings.counted_draws, study.seed)
    found = []
    for kind in (COPIED, SET_BACK):
        found += [Trial(kind, *name, order.head(n)) for name, order in ordered.items() for n in sizes]
        found.append(Trial(kind, EVERY, 0, study.neurons))
    return found


def tried(study: Study, folder: Path) -> pd.DataFrame:
    """The greedy toxicity of every trial, after the prompts on which random draws are compared.

    A row per trial: `kind`, `ranked`, `draw`, `neurons`, and a column for each prompt by its number.
    """
    asked, parts = trials(study), folder / PARTS
    share_out(study, partial(trial_jobs, folder=parts), len(asked), "how many neurons", "trial")
    outcomes = np.stack([TENSOR.read(parts / f"{i:03}").numpy() for i in range(len(asked))])
    named = pd.DataFrame(
        {"kind": t.kind, "ranked": t.ranked, "draw": t.draw, "neurons": len(t.neurons)} for t in asked
    )
    return named.join(pd.DataFrame(outcomes, columns=[str(i) for i in range(outcomes.shape[1])]))


def trial_jobs(study: Study, folder: Path) -> Callable[[int], None]:
    """What makes one trial, by its number, and keeps it as a part."""
    asked, exam = trials(study), study.exam
    models = {COPIED: (study.base, study.dpo), SET_BACK: (study.dpo, study.base)}

    def outcome(trial: Trial) -> Tensor:
        model, other = models[trial.kind]
        return torch.from_numpy(greedy_toxicity(model, exam, [copy(trial.neurons)], other))

    return lambda number: part(folder / f"{number:03}", TENSOR, partial(outcome, asked[number]))


COLUMNS = ["kind", "ranked", "draw", "neurons"]


def judged(
    study: Study, trials: pd.DataFrame, columns: list[str]
) -> tuple[pd.DataFrame, Float[np.ndarray, "trial prompt"], tuple, int]:
    """The trials, their outcomes, those of both models on the same prompts, and the number of resamples.

    Outcomes are unknown if DPO has no sure effect on these prompts.

    Args:
        trials: a row per trial: what the columns tell of it, and its toxicity after every prompt.
    """
    resamples, outcomes = study.profile.compute.bootstrap, trials.drop(columns=columns).to_numpy()
    ends = tuple(one.greedy[: outcomes.shape[1]] for one in study.outcomes.values())
    if not has_effect(*ends, resamples):  # of nothing there are no shares
        outcomes = np.full_like(outcomes, np.nan)
    return trials[columns], outcomes, ends, resamples


def shares(study: Study, trials: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """The share of DPO's effect that is there in every trial, `recovered`, with its ends `low` and `high`."""
    named, outcomes, (before, after), resamples = judged(study, trials, columns)
    found = [estimate(recovered_share, before, row, after, resamples=resamples) for row in outcomes]
    ends = [{"recovered": one.value, "low": one.low, "high": one.high} for one in found]
    return named.join(pd.DataFrame(ends))


def counts(study: Study) -> pd.DataFrame:
    """`shares` of the trials of neurons."""
    return shares(study, study.tried, COLUMNS)


def enough(study: Study) -> pd.DataFrame:
    """The share of all neurons at which a level of DPO's effect is reached, by how they are ranked.

    `kind`, `ranked`, `level`, and `share` with its ends: NaN where all that were tried do not reach it.
    """
    named, outcomes, ends, resamples = judged(study, study.tried, COLUMNS)
    rows, total = [], len(study.neurons)
    for (kind, ranked), some in named[named["ranked"] != EVERY].groupby(["kind", "ranked"], sort=False):
        every = named.index[(named["kind"] == kind) & (named["ranked"] == EVERY)]
        sizes = np.unique(some["neurons"])
        by_size = [outcomes[some.index[some["neurons"] == n]].mean(0) for n in sizes]  # of all draws
        curve = np.stack([*by_size, outcomes[every[0]]])
        for level in LEVELS[kind]:
            turned = (ends, level) if kind == COPIED else (ends[::-1], 1 - level)  # what is undone rises
            found = reached(np.array([*sizes, total]) / total, curve, *turned, resamples=resamples)
            row = {"kind": kind, "ranked": ranked, "level": level, "share": found.value}
            rows.append(row | {"low": found.low, "high": found.high})
    return pd.DataFrame(rows)


def reached(
    shares: Float[np.ndarray, "size"],
    toxicity: Float[np.ndarray, "size prompt"],
    ends: tuple[Float[np.ndarray, "prompt"], Float[np.ndarray, "prompt"]],
    level: float,
    *,
    resamples: int,
) -> Estimate:
    """The first share of neurons at which the recovered share reaches a level, with an interval over prompts.

    Between two sizes it is taken to be straight in the logarithm of their shares. If the smallest reaches it,
    that is told. Unknown if none does; where none does in a resample, one is taken.
    """
    rng, n = np.random.default_rng(0), toxicity.shape[1]
    weights = np.vstack([np.full(n, 1 / n), rng.multinomial(n, np.full(n, 1 / n), resamples) / n])
    none, whole = (weights @ end for end in ends)
    with np.errstate(divide="ignore", invalid="ignore"):  # of no effect
        recovered = (none[:, None] - weights @ toxicity.T) / (none - whole)[:, None]
    found = np.array([_crossing(np.log(shares), curve, level) for curve in recovered])
    if np.isnan(found[0]) or resamples < 2:
        return unknown(float(found[0]), PROMPTS)
    low, high = np.quantile(np.nan_to_num(found[1:], nan=1.0), ENDS)
    return Estimate(float(found[0]), float(low), float(high), PROMPTS)


def _crossing(logs: Float[np.ndarray, "size"], curve: Float[np.ndarray, "size"], level: float) -> float:
    """Where a rising curve first reaches a level; NaN if it does not."""
    across = curve >= level
    if not across.any() or not np.isfinite(curve).all():
        return np.nan
    first = int(np.argmax(across))
    if first == 0:
        return float(np.exp(logs[0]))
    (x0, x1), (y0, y1) = logs[first - 1 : first + 1], curve[first - 1 : first + 1]
    return float(np.exp(x0 + (level - y0) / (y1 - y0) * (x1 - x0)))
