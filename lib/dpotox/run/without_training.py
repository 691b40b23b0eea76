"""What would have lowered toxicity without training, and at what cost of text.

Neurons are edited by group as the authors' later code does it; the residual stream is steered by as much
along the probe, and along the difference of toxic and other comments; neurons are shifted as DPO shifts them;
the least toxic of several samples is taken. Beside them stands the model after DPO. Beyond the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dpotox.facts import BEST_OF, DIFFERENCE, EDITING, SHIFTS, STEERING, TRAINED_ON, UNCHANGED
from dpotox.model.interventions import Intervention, clamp, shift, steer
from dpotox.model.tracing import continue_prompts, window_nll_and_kl
from dpotox.paper.evaluation import Exam, token_f1
from dpotox.paper.selections import ALL_FOUR, EVERYTHING, neurons_of
from dpotox.run.artifacts import PARTS, part
from dpotox.run.kept import TABLE
from dpotox.run.workers import share_out

if TYPE_CHECKING:
    from dpotox.run.study import Study


@dataclass(frozen=True)
class Trial:
    """A way to lower toxicity, how strongly, and what it does to the model before DPO."""

    way: str
    strength: float
    interventions: tuple[Intervention, ...]


def edited_neurons(neurons: pd.DataFrame, share: float) -> pd.DataFrame:
    """The neurons that are edited by group, with `side`: 1 where they write along the probe, else -1.

    Groups are of the model before DPO alone: whether the value vector points along the probe, and whether the
    mean activation is at least zero. Of those that write along the probe (TP, AN) the share with the largest
    cosine, whatever its sign, is taken, of those that write against it (TN, AP) that with the smallest.
    """
    toxic, positive = neurons["cosine"] > 0, neurons["pre_activation"] >= 0
    side = np.where(toxic == positive, 1, -1)
    groups = (neurons["cosine"].abs() * side).groupby([toxic, positive])
    rank, size = groups.rank(ascending=False, method="first"), groups.transform("size")
    return neurons.assign(side=side)[rank <= (share * size).round()]


def written_less(edited: pd.DataFrame, part: float) -> pd.Series:
    """By how much less each layer writes along the unit probe if its neurons change by a part of their means.

    In units of the residual stream, to the first order: what activations upstream do to others is left out.
    """
    return part * edited["pre_projection"].abs().groupby(edited["layer"]).sum()


def mean_difference(
    features: Float[Tensor, "text d_model"], toxic: Bool[Tensor, "text"]
) -> Float[Tensor, "d_model"]:
    """From the mean of other comments to that of toxic ones, scaled to length one."""
    apart = features[toxic].mean(0) - features[~toxic].mean(0)
    return apart / apart.norm()


def trials(study: Study) -> list[Trial]:
    """Every way at every strength; edited neurons held at their means besides, as strength 0."""
    neurons, alpha = study.neurons, study.profile.beyond.edit_alpha
    edited = edited_neurons(neurons, study.profile.beyond.edit_share)
    directions = {STEERING: study.probe.unit, DIFFERENCE: mean_difference(**study.comments)}
    moved = zip(SHIFTS, (neurons_of(neurons, ALL_FOUR), neurons_of(neurons, EVERYTHING)), strict=True)
    shifted = [(way, some) for way, some in moved if len(some)]
    found = [Trial(EDITING, 0.0, (clamp(edited, edited["pre_activation"]),))]
    for strength in sorted(study.profile.beyond.strengths):
        part = alpha * strength
        to = edited["pre_activation"] * (1 - part * edited["side"])
        found.append(Trial(EDITING, strength, (clamp(edited, to),)))
        less = written_less(edited, part).to_dict()
        found += [
            Trial(way, strength, tuple(steer(-by * along, layer) for layer, by in less.items()))
            for way, along in directions.items()
        ]
    for times in sorted(study.profile.beyond.shifts):
        found += [
            Trial(way, times, (shift(some, times * some["same_text_change"]),)) for way, some in shifted
        ]
    return found


def examined(study: Study, folder: Path) -> pd.DataFrame:
    """What every way does at every strength: a row for each, whose cells hold a value per prompt or window.

    `way`, `strength`; `toxicity` of the `texts`, which are greedy, but of best of n the chosen samples; `nll`
    on neutral windows and `kl`, the divergence there from the model before DPO, nats per token; `f1`.
    """
    asked, parts = trials(study), folder / PARTS
    share_out(study, partial(jobs, folder=parts), 2 + len(asked), "without training", "trial")
    return pd.concat([TABLE.read(parts / f"{i:03}") for i in range(2 + len(asked))], ignore_index=True)


def jobs(study: Study, folder: Path) -> Callable[[int], None]:
    """What makes one part of `examined`, by its number, and keeps it."""
    asked, exam = trials(study), fewer(study.exam)
    made = [best_of, models, *(partial(outcome, trial=trial) for trial in asked)]  # the longest first
    return lambda number: part(folder / f"{number:03}", TABLE, partial(made[number], study, exam))


def fewer(exam: Exam) -> Exam:
    """The same exam after the first prompts, and on neutral windows, alone."""
    windows = exam.windows[torch.from_numpy(exam.neutral)]
    return replace(exam, prompts=exam.prompts[: exam.fewer_prompts], windows=windows)


def outcome(study: Study, exam: Exam, trial: Trial) -> pd.DataFrame:
    """What one trial does to the model before DPO."""
    edits, size = trial.interventions, exam.batch_size
    beginnings, endings = zip(*exam.references, strict=True)
    asked = [*exam.prompts, *beginnings]
    texts = continue_prompts(study.base, asked, exam.new_tokens, batch_size=size, interventions=edits).texts
    texts, ends = texts[: len(exam.prompts)], texts[len(exam.prompts) :]
    changed = window_nll_and_kl(study.base, study.base, exam.windows, batch_size=size, interventions=edits)
    return _row(trial.way, trial.strength, exam.score(texts), texts, changed.numpy(), _f1(ends, endings))


def models(study: Study, exam: Exam) -> pd.DataFrame:
    """The models before and after DPO."""
    rows, n = [], len(exam.prompts)
    both = (UNCHANGED, 0, study.base), (TRAINED_ON, 1, study.dpo)
    for (way, strength, model), known in zip(both, study.outcomes.values(), strict=True):
        changed = window_nll_and_kl(study.base, model, exam.windows, batch_size=exam.batch_size).numpy()
        rows.append(_row(way, strength, known.greedy[:n], known.texts[:n], changed, known.f1))
    return pd.concat(rows)


def best_of(study: Study, exam: Exam) -> pd.DataFrame:
    """The least toxic of n samples of the model before DPO, for one and for each n of the profile.

    What the choice does to the loss on text is not known, as it chooses whole continuations.
    """
    numbers = [1, *sorted(set(study.profile.beyond.best_of))]
    beginnings, endings = zip(*exam.references, strict=True)
    written, toxicity = [], []
    for some in (exam.prompts, list(beginnings)):
        asked = some * max(numbers)  # those that are asked again get other luck, by their numbers
        common = {"batch_size": exam.batch_size, "sampling_seed": exam.seed, "label": "sampled"}
        texts = continue_prompts(study.base, asked, exam.new_tokens, **common).texts
        written.append(np.array(texts, dtype=object).reshape(-1, len(some)))
        toxicity.append(exam.score(texts).reshape(-1, len(some)))
    rows = []
    for n in numbers:
        (texts, least), (ends, _) = (
            least_toxic(t[:n], s[:n]) for t, s in zip(written, toxicity, strict=True)
        )
        unknown = np.full((2, len(exam.windows)), np.nan)
        rows.append(_row(BEST_OF, n, least, texts, unknown, _f1(ends, endings)))
    return pd.concat(rows)


def _f1(texts: Sequence[str], endings: Sequence[str]) -> Float[np.ndarray, "reference"]:
    return np.array([token_f1(got, true) for got, true in zip(texts, endings, strict=True)])


def _row(
    way: str,
    strength: float,
    toxicity: Float[np.ndarray, "prompt"],
    texts: Sequence[str],
    changed: Float[np.ndarray, "2 window"],
    f1: Float[np.ndarray, "reference"],
) -> pd.DataFrame:
    values = {"toxicity": toxicity, "texts": texts, "nll": changed[0], "kl": changed[1], "f1": f1}
    cells = {name: [np.asarray(some).tolist()] for name, some in values.items()}
    return pd.DataFrame({"way": [way], "strength": [float(strength)]} | cells)


def least_toxic(
    texts: np.ndarray, toxicity: Float[np.ndarray, "sample prompt"]
) -> tuple[np.ndarray, Float[np.ndarray, "prompt"]]:
    """Of each prompt's samples the least toxic, the first of equals, and its toxicity."""
    chosen = toxicity.argmin(0), np.arange(toxicity.shape[1])
    return texts[chosen], toxicity[chosen]
