"""How long DPO's effect lasts: tables of `relearning`, and what the probe reads after DPO."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict, train_test_split
from torch import Tensor
from transformers import get_scheduler

from dpotox.estimates import estimate, has_effect, mean, perplexity
from dpotox.facts import AUC, GONE, NEW_PROBE, OWN_PROBE, PLACEBO, RATES_SHARE, RELEARNT, STEPS, STEPS_SHARE
from dpotox.inputs import data
from dpotox.model import tracing
from dpotox.profile import Dpo
from dpotox.run.costs import cost_at, ends_of, weights_of
from dpotox.run.relearning import RUNS
from dpotox.run.training import steps_kept

if TYPE_CHECKING:
    from dpotox.run.study import Study

FOLDS = 5
"""Parts of the comments, each scored by a probe that is fitted to the others."""


def held_out(toxic: Bool[np.ndarray, "text"], share: float, seed: int) -> Int[np.ndarray, "some"]:
    """The comments that neither the probe nor its C was fitted to, as `probe.fit_probe` divides them."""
    numbers = np.arange(len(toxic))
    _, rest = train_test_split(numbers, test_size=share, random_state=seed, stratify=toxic)
    return train_test_split(rest, test_size=0.5, random_state=seed, stratify=toxic[rest])[1]


def comments_after(study: Study) -> Float[Tensor, "text d_model"]:
    """The features of these comments, read by the model after DPO."""
    texts, toxic = data.comments(study.profile, study.seed)
    some = held_out(np.array(toxic), study.profile.probe.held_out, study.seed)
    length, batch = study.profile.probe.max_tokens, study.profile.compute.batch_size
    return tracing.mean_residuals(study.dpo, [texts[i] for i in some], max_tokens=length, batch_size=batch)


def probes(study: Study) -> pd.DataFrame:
    """How well toxicity is read from the models before and after DPO, on comments held out.

    `probe`: the study's own, or one fitted anew to what that model makes of them, each comment scored by one
    that was not fitted to it. `before`, `after` and `difference`: AUCs with intervals over comments.
    """
    toxic = study.comments["toxic"].numpy()
    some = held_out(toxic, study.profile.probe.held_out, study.seed)
    toxic, models = toxic[some], (study.comments["features"].numpy()[some], study.comments_after.numpy())
    direction = study.probe.direction.numpy()
    anew = LogisticRegression(C=study.probe.C, max_iter=2_000, class_weight="balanced")
    by = {"cv": FOLDS, "method": "decision_function"}
    scores = {
        OWN_PROBE: [features @ direction for features in models],
        NEW_PROBE: [cross_val_predict(anew, x.astype(np.float64), toxic, **by) for x in models],
    }
    rows, resamples = [], study.profile.compute.bootstrap
    for name, (old, new) in scores.items():
        row = {"probe": name}
        samples = {"before": (auc, old), "after": (auc, new), "difference": (_auc_gained, old, new)}
        for when, (statistic, *given) in samples.items():
            found = estimate(statistic, *given, toxic, resamples=resamples)
            row |= {when: found.value, f"{when}_low": found.low, f"{when}_high": found.high}
        rows.append(row)
    return pd.DataFrame(rows)


def auc(
    score: Float[np.ndarray, "*draw text"], toxic: Bool[np.ndarray, "*draw text"]
) -> Float[np.ndarray, "*draw"]:
    """The chance that a toxic text scores higher than another one: Mann and Whitney's statistic."""
    n = toxic.sum(-1)
    ranks = (rankdata(score, axis=-1) * toxic).sum(-1)
    return (ranks - n * (n + 1) / 2) / (n * (toxic.shape[-1] - n))


def _auc_gained(before: np.ndarray, after: np.ndarray, toxic: np.ndarray) -> np.ndarray:
    return auc(after, toxic) - auc(before, toxic)


def curves(study: Study) -> pd.DataFrame:
    """Greedy toxicity by run and step, from 0, and perplexity on neutral text at the first and the last."""
    rows, resamples = [], study.profile.compute.bootstrap
    untouched = dict(zip(("before", "after"), study.outcomes.values(), strict=True))
    for name, (which, _) in RUNS.items():
        start = untouched[which].greedy[: study.exam.fewer_prompts], untouched[which].neutral_nll
        own = study.relearning[study.relearning["run"] == name].sort_values("step")
        examined = [(0, *start), *own[["step", "toxicity", "nll"]].itertuples(index=False)]
        for step, toxicity, nll in examined:
            row = {"run": name, "step": step}
            nll = nll if len(nll) else np.full(1, np.nan)
            for measure, statistic, sample in (("toxicity", mean, toxicity), ("perplexity", perplexity, nll)):
                found = estimate(statistic, sample, resamples=resamples)
                row |= {measure: found.value, f"{measure}_low": found.low, f"{measure}_high": found.high}
            rows.append(row)
    return pd.DataFrame(rows)


def how_long(study: Study) -> pd.DataFrame:
    """What the rules are about: `quantity`, `value`, `low`, `high`, and `most`, as far as was tried.

    Steps until toxicity is that before DPO, and as a share of DPO's own, which a given model has none of, by
    number and by the sum of their learning rates, as DPO's falls on the way and this one does not; the
    part of DPO's effect that is gone after as many steps on other texts, or after all if they never suffice;
    and the probe's AUC after DPO less that before. What is of an effect is unknown if DPO surely has none.
    """
    before, after = (one.greedy[: study.exam.fewer_prompts] for one in study.outcomes.values())
    resamples = study.profile.compute.bootstrap
    steps, back, gone = came_back(study.relearning, before, after, resamples)
    last = float(steps[-1])
    if not has_effect(before, after, resamples):
        back, gone, last = np.full_like(back, np.nan), np.full_like(gone, np.nan), np.nan
    own = np.nan if study.dpo_curves.empty else float(steps_kept(study.dpo_curves, study.profile.dpo))
    rates = np.nan if np.isnan(own) else rates_of(study.profile.dpo, int(own))
    gained = probes(study).set_index("probe").loc[OWN_PROBE]
    rows = {
        STEPS: (*ends_of(back), last),
        STEPS_SHARE: (*ends_of(back / own), last / own),
        RATES_SHARE: (*ends_of(back / rates), last / rates),
        GONE: (*ends_of(gone), np.nan),
        AUC: (*gained[["difference", "difference_low", "difference_high"]], np.nan),
    }
    columns = ["value", "low", "high", "most"]
    return pd.DataFrame.from_dict(rows, "index", columns=columns).rename_axis("quantity").reset_index()


def rates_of(settings: Dpo, steps: int) -> float:
    """The sum of a training's learning rates over its first steps, in units of the one it is named by."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    schedule = get_scheduler(settings.schedule, optimizer, settings.warmup_steps, settings.steps)
    total = 0.0
    for _ in range(steps):
        total += schedule.get_last_lr()[0]
        optimizer.step()
        schedule.step()
    return total


def came_back(
    runs: pd.DataFrame,
    before: Float[np.ndarray, "prompt"],
    after: Float[np.ndarray, "prompt"],
    resamples: int,
) -> tuple[Int[np.ndarray, "step"], Float[np.ndarray, "draw"], Float[np.ndarray, "draw"]]:
    """The steps, from 0; after how many toxicity is that before DPO; what part other texts undo in as many.

    The latter two for the prompts and for resamples of them. Between two steps toxicity is straight.

    Args:
        runs: `run`, `step` and `toxicity` after each prompt.
        before, after: toxicity before and after DPO.
    """
    weights, found = weights_of(len(before), resamples, 0), {}
    for name in (RELEARNT, PLACEBO):
        own = runs[runs["run"] == name].sort_values("step")
        steps = np.array([0, *own["step"]])
        found[name] = weights @ np.stack([after, *own["toxicity"]]).T
    none, whole = weights @ before, weights @ after
    back = cost_at(found[RELEARNT], np.broadcast_to(steps, found[RELEARNT].shape), none)
    there = np.minimum(back, steps[-1])
    left = np.array([np.interp(x, steps, curve) for x, curve in zip(there, found[PLACEBO], strict=True)])
    with np.errstate(divide="ignore", invalid="ignore"):  # of no effect
        return steps, back, (left - whole) / (none - whole)
