"""Preference pairs: for each prompt a less and a more toxic continuation in the model's own words.

The paper's model was trained on pairs made by plug-and-play steering (Lee et al. 2024). Here, a model samples
several continuations of a prompt. The least toxic is the chosen one. The most toxic is the rejected one, if
it is more toxic by the margin; if not, the model samples again while its last residual stream is steered
along the probe, a little more in every round, until a continuation is toxic enough or no round is left.
Whether the prompts can give as many pairs as are asked for is judged after every block, not at the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pandas as pd
from nnsight import TransformersModel
from scipy.stats import beta

from dpotox import profile
from dpotox.errors import UserError
from dpotox.inputs.scoring import Score
from dpotox.model.interventions import steer
from dpotox.model.tracing import continue_prompts
from dpotox.paper.probe import Probe
from dpotox.progress import note

BLOCK = 256
"""Prompts that are sampled, scored and kept at a time."""
IN_ERROR = 1e-6
"""The chance that prompts which would have sufficed are given up after a block."""
FEW = 0.05
"""Where fewer of the prompts give a pair, that is said after the first block."""


def make_pairs(
    model: TransformersModel,
    prompts: list[str],
    score: Score,
    probe: Probe,
    settings: profile.Pairs,
    *,
    batch_size: int,
    seed: int,
    known: Callable[[int, Callable[[], pd.DataFrame]], pd.DataFrame] = lambda start, make: make(),
) -> pd.DataFrame:
    """Go through the prompts in order until `settings.count` pairs are found.

    Args:
        known: gives the block that begins at a prompt, calling what makes it if an interrupted run has not.

    Returns:
        Columns `prompt`, `chosen`, `rejected`, `chosen_toxicity`, `rejected_toxicity`, `steering` (of the
        rejected) and `tried` (prompts gone through by then); the last `settings.validation` rows are for
        validation.

    Raises:
        UserError: the prompts do not give as many pairs, or after some of them it is clear that they will
            not; the message says what they gave.
    """
    made: list[pd.DataFrame] = []
    given: set[float] = set()  # the least and the largest score of each call
    seconds: list[float] = []  # per prompt, of the blocks sampled now

    def watched(texts: list[str]) -> np.ndarray:
        scores = score(texts)
        given.update((float(scores.min()), float(scores.max())))
        return scores

    for start in range(0, len(prompts), BLOCK):
        block = prompts[start : start + BLOCK]

        def make(block: list[str] = block, start: int = start) -> pd.DataFrame:
            began = time.monotonic()
            frame = _block(model, block, watched, probe, settings, batch_size, seed + start)
            seconds.append((time.monotonic() - began) / len(block))
            return frame.assign(tried=start + frame["tried"])

        made.append(known(start, make))
        found, tried = sum(map(len, made)), start + len(block)
        if found >= settings.count:
            return pd.concat(made, ignore_index=True).head(settings.count)
        if tried < len(prompts):
            outlook = _outlook(found, tried, settings, given, float(np.mean(seconds or 0)))
            if most_pairs(found, tried, len(prompts)) < settings.count:
                raise UserError(f"{outlook}, and there are {len(prompts):,}; {_WAY_OUT}")
            if start == 0 and found < max(FEW, settings.count / len(prompts)) * tried:
                note(f"{outlook}; there are {len(prompts):,}, so it goes on; if that is too long, {_WAY_OUT}")
    raise UserError(
        f"{len(prompts)} prompts gave {found} pairs with a margin of {settings.margin}, of "
        f"pairs.count = {settings.count}; {_WAY_OUT}"
    )


_WAY_OUT = (
    "lower pairs.count to take what there is, or sample anew with a lower pairs.margin, more pairs.samples, "
    "a stronger pairs.steering or more text"
)


def most_pairs(found: int, tried: int, prompts: int) -> float:
    """How many pairs all prompts can give at the most, after `tried` of them gave `found`.

    The rest give at most the upper bound of Clopper and Pearson's interval, with an error of `IN_ERROR`; the
    prompts are in random order.
    """
    share = float(beta.ppf(1 - IN_ERROR, found + 1, tried - found)) if found < tried else 1.0
    return found + share * (prompts - tried)


def _outlook(found: int, tried: int, settings: profile.Pairs, given: set[float], seconds: float) -> str:
    """What the first prompts gave, and what it would take at that rate."""
    said = f"the first {tried:,} prompts gave {found:,} of {settings.count:,} pairs"
    if len(given) == 1:
        return f"{said}: the scorer said {next(iter(given)):g} of every text; see that it tells texts apart"
    if not found:
        return f"{said}, with a margin of {settings.margin}"
    needed = round(settings.count * tried / found)
    hours = f" and {needed * seconds / 3600:.1f} hours" if seconds else ""
    return f"{said} with a margin of {settings.margin}: at this rate it takes {needed:,} prompts{hours}"


def _block(model, prompts, score, probe, settings, batch_size, seed) -> pd.DataFrame:
    """The pairs of some prompts, with the number of each prompt, from 1, as `tried`."""
    found, todo = [], np.arange(len(prompts))
    chosen: dict[int, tuple[str, float]] = {}
    for number, strength in enumerate([0.0, *settings.steering]):
        if not len(todo):
            break
        texts, toxicity = _sample(
            model, [prompts[i] for i in todo], score, probe, settings, strength, batch_size, seed + number
        )
        for row, i in enumerate(todo):
            low, high = toxicity[row].argmin(), toxicity[row].argmax()
            chosen.setdefault(i, (texts[row, low], toxicity[row, low]))
            if toxicity[row, high] - chosen[i][1] >= settings.margin:
                rejected = texts[row, high], toxicity[row, high]
                found.append(
                    (prompts[i], chosen[i][0], rejected[0], chosen[i][1], rejected[1], strength, i + 1)
                )
        done = {line[-1] - 1 for line in found}
        todo = np.array([i for i in todo if i not in done], dtype=int)
    columns = ["prompt", "chosen", "rejected", "chosen_toxicity", "rejected_toxicity", "steering", "tried"]
    return pd.DataFrame(found, columns=columns).sort_values("tried", ignore_index=True)


def _sample(
    model, prompts, score, probe, settings, strength, batch_size, seed
) -> tuple[np.ndarray, np.ndarray]:
    """Texts and toxicities, `(prompt, sample)`, written under one strength of steering."""
    layer = len(model.layers) - 1
    edits = [steer(probe.unit * probe.gap * strength, layer)] if strength else []
    written = continue_prompts(
        model,
        [prompt for prompt in prompts for _ in range(settings.samples)],
        settings.new_tokens,
        batch_size=batch_size,
        interventions=edits,
        sampling_seed=seed,
        label=f"sample pairs, steering {strength:g}",
    )
    shape = len(prompts), settings.samples
    return np.array(written.texts, dtype=object).reshape(shape), score(written.texts).reshape(shape)
