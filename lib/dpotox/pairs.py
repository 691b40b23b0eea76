"""Preference pairs: for each prompt a less and a more toxic continuation in the model's own words.

The paper's model was trained on pairs made by plug-and-play steering (Lee et al. 2024). Here, a model samples
several continuations of a prompt. The least toxic is the chosen one. The most toxic is the rejected one, if
it is more toxic by the margin; if not, the model samples again while its last residual stream is steered
along the probe, a little more in every round, until a continuation is toxic enough or no round is left.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from nnsight import TransformersModel

from dpotox import artifacts, profile
from dpotox.errors import UserError
from dpotox.interventions import steer
from dpotox.probe import Probe
from dpotox.scoring import Score
from dpotox.tracing import continue_prompts

BLOCK = 256
"""Prompts that are sampled, scored and kept at a time."""


def make_pairs(
    model: TransformersModel,
    prompts: list[str],
    score: Score,
    probe: Probe,
    settings: profile.Pairs,
    folder: Path,
    *,
    batch_size: int,
    seed: int,
) -> pd.DataFrame:
    """Go through the prompts in order until `settings.count` pairs are found.

    Args:
        folder: takes the blocks, so that a run that was interrupted goes on where it stopped.

    Returns:
        Columns `prompt`, `chosen`, `rejected`, `chosen_toxicity`, `rejected_toxicity`, `steering` (of the
        rejected) and `tried` (prompts gone through by then); the last `settings.validation` rows are for
        validation.

    Raises:
        UserError: the prompts do not give as many pairs; the message says what they gave.
    """
    made: list[pd.DataFrame] = []
    for start in range(0, len(prompts), BLOCK):
        block = prompts[start : start + BLOCK]

        def write(path: Path, block: list[str] = block, start: int = start) -> None:
            frame = _block(model, block, score, probe, settings, batch_size, seed + start)
            frame.assign(tried=start + frame.pop("tried")).to_parquet(path)

        made.append(pd.read_parquet(artifacts.part(folder / f"{start:07}.parquet", write)))
        if sum(map(len, made)) >= settings.count:
            return pd.concat(made, ignore_index=True).head(settings.count)
    raise UserError(
        f"{len(prompts)} prompts gave {sum(map(len, made))} pairs with a margin of {settings.margin}, of "
        f"pairs.count = {settings.count}; lower pairs.count to take what there is, or sample "
        "anew with a lower pairs.margin, more pairs.samples, a stronger pairs.steering or more text"
    )


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
    layer = len(model.transformer.h) - 1
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


def yield_report(pairs: pd.DataFrame) -> pd.DataFrame:
    """How many prompts were tried, how many gave a pair at each strength, and how toxic those are."""
    tried = int(pairs["tried"].max())
    rows = [
        {
            "steering of the rejected": strength,
            "pairs": len(part),
            "of the prompts tried": len(part) / tried,
            "toxicity of the chosen": part["chosen_toxicity"].mean(),
            "toxicity of the rejected": part["rejected_toxicity"].mean(),
        }
        for strength, part in [*pairs.groupby("steering"), ("all", pairs)]
    ]
    return pd.DataFrame(rows)
