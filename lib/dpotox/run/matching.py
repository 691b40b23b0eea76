"""Other objectives on the same pairs, trained until they take out as much toxicity as DPO.

How an objective is matched with DPO, and what becomes of one that cannot be, is written down in
`book/before_the_runs.md`. Beyond the paper.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Float

from dpotox.estimates import has_effect, recovered_share
from dpotox.facts import AGAIN, ENOUGH, JUMPED, MATCHED, ON_PAIRS, ON_SHUFFLED, WEAK
from dpotox.model.architecture import traced
from dpotox.paper import nulls
from dpotox.paper.evaluation import greedy_toxicity
from dpotox.run import training
from dpotox.run.artifacts import PARTS, part
from dpotox.run.kept import Format
from dpotox.run.together import by_first, meet, rank, world_size
from dpotox.run.workers import share_out

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from dpotox.run.study import Study

TRIES = "tries.parquet"
RESAMPLES = 2_000
"""Of prompts, to see whether there is an effect to be matched."""


def _write_trained(made: tuple[PreTrainedModel, pd.DataFrame], folder: Path) -> None:
    network, tried = made
    network.save_pretrained(folder)
    tried.to_parquet(folder / TRIES)


TRAINED = Format(_write_trained, lambda folder: folder)
"""Weights, and the tries that led to them."""


def train_all_into(study: Study, folder: Path) -> Path:
    """The models of all objectives and of their placebos, a folder each; none if DPO has no sure effect."""
    if not has_effect(*_ends(study), RESAMPLES):
        return
    named, jobs = study.profile.beyond.objectives, partial(training_jobs, folder=folder)
    if world_size() == 1:
        return share_out(study, jobs, len(named), "other objectives", "objective")
    for number in range(len(named)):  # each training takes all processes that were started together
        jobs(study)(number)


def training_jobs(study: Study, folder: Path) -> Callable[[int], None]:
    """What trains by one objective, and its placebo, by the objective's number."""

    def make(number: int) -> None:
        name = study.profile.beyond.objectives[number]
        place = folder / place_of(name, ON_PAIRS)
        _keep(place, partial(_matched, study, name, folder / PARTS / place.name))
        if study.profile.beyond.objective_placebos and name != AGAIN:  # whose placebo is DPO's
            placebo = folder / place_of(name, ON_SHUFFLED)
            _keep(placebo, partial(_placebo, study, name, folder / PARTS / placebo.name, place))

    return make


def place_of(objective: str, on: str) -> str:
    """Where in the folder a model is."""
    return objective if on == ON_PAIRS else f"{objective}-shuffled"


def _keep(place: Path, make: Callable[[], tuple[PreTrainedModel, pd.DataFrame]]) -> None:
    """Train unless it is there; of processes that were started together all do, and the first writes."""
    meet()
    there = place.exists()
    meet()
    if not there:
        made = make()
        if rank() == 0:
            part(place, TRAINED, lambda: made)
        meet()


def _matched(study: Study, objective: str, scratch: Path) -> tuple[PreTrainedModel, pd.DataFrame]:
    """The model whose effect is nearest to DPO's, and all tries: a row each, of which one is `shown`."""
    from dpotox.run.stopping import Until  # trainers are slow to import

    first = study.profile.beyond.objective_rates.get(objective, 1)
    rate, tried, nearest, gone = first * study.profile.dpo.learning_rate, [], None, judge(study)
    while rate:
        watch = Until(gone)
        network = _train(study, objective, scratch, study.pairs, rate, watch)
        steps, share = watch.history[-1]
        tried.append({"learning_rate": rate, "steps": steps, "gone": share, "outcome": outcome_of(share)})
        if nearest is None or abs(share - 1) < abs(tried[nearest]["gone"] - 1):
            nearest, shown = len(tried) - 1, network
        rate = next_rate(tried, study.profile.beyond.objective_tries)
    table = pd.DataFrame(tried)
    return shown, table.assign(shown=table.index == nearest)


def _placebo(
    study: Study, objective: str, scratch: Path, matched: Path
) -> tuple[PreTrainedModel, pd.DataFrame]:
    """The same training on shuffled preferences."""
    from dpotox.run.stopping import After

    tried = pd.read_parquet(matched / TRIES)
    like = tried[tried["shown"]].iloc[0]
    turned = nulls.placebo_pairs(study.pairs, "shuffled", study.profile.pairs.validation, study.seed)
    rate, watch = float(like["learning_rate"]), After(int(like["steps"]))
    return _train(study, objective, scratch, turned, rate, watch), tried


def _train(
    study: Study, objective: str, scratch: Path, some: pd.DataFrame, rate: float, watch
) -> PreTrainedModel:
    from dpotox.paper import objectives

    settings = replace(study.profile.dpo, learning_rate=rate, patience=0)
    more = objectives.options(objective) | {"watch": [watch]}
    more |= {"seed": study.seed + 1} if objective == AGAIN else {}
    return training.trained(scratch, study, some, settings, **more)[0]


def judge(study: Study) -> Callable[[PreTrainedModel], float]:
    """What tells the share of DPO's effect on greedy toxicity that a network in training has taken out.

    Its weights are put into another one, so that nothing of nnsight's is near the training.
    """
    network = study.base_network(study.profile.compute)
    model, exam, (before, after) = traced(network, study.tokenizer), study.exam, _ends(study)

    def measured(trained: PreTrainedModel) -> float:
        network.load_state_dict(trained.state_dict())
        return float(recovered_share(before, greedy_toxicity(model, exam, ()), after))

    return lambda trained: by_first(partial(measured, trained))


def _ends(study: Study) -> tuple[Float[np.ndarray, "fewer"], ...]:
    """Greedy toxicity before and after DPO on the prompts that are asked while something trains."""
    few = study.profile.sizes.fewer_prompts
    return tuple(one.greedy[:few] for one in study.outcomes.values())


def outcome_of(gone: float) -> str:
    """What a try came to that took out this share of DPO's effect."""
    return WEAK if gone < ENOUGH[0] else MATCHED if gone <= ENOUGH[1] else JUMPED


def next_rate(tried: list[dict], most: int) -> float | None:
    """The learning rate to try next; none if it is matched, was tried already, or there were enough tries."""
    last = tried[-1]
    if last["outcome"] == MATCHED or len(tried) >= most:
        return None
    rate = last["learning_rate"] * (2 if last["outcome"] == WEAK else 0.5)
    return None if rate in [one["learning_rate"] for one in tried] else rate
