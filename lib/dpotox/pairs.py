"""Preference pairs: for each prompt the least and the most toxic of several continuations.

The paper's model was trained on pairs made by plug-and-play steering (Lee et al. 2024); sampling and
sorting gives pairs that differ in toxicity by construction and are both the model's own words.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from nnsight import TransformersModel

from dpotox import profile
from dpotox.errors import UserError
from dpotox.scoring import Score
from dpotox.tracing import continue_prompts


def sample_pairs(
    model: TransformersModel,
    prompts: list[str],
    score: Score,
    settings: profile.Pairs,
    *,
    new_tokens: int,
    batch_size: int,
    seed: int,
) -> pd.DataFrame:
    """Sample `settings.samples` continuations per prompt; keep the extremes that differ by the margin.

    Returns:
        Columns `prompt`, `chosen`, `rejected`, `chosen_toxicity`, `rejected_toxicity`; the last
        `settings.validation` rows are for validation.

    Raises:
        UserError: fewer than twice `settings.validation` prompts gave a pair.
    """
    repeated = [prompt for prompt in prompts for _ in range(settings.samples)]
    written = continue_prompts(
        model, repeated, new_tokens, batch_size=batch_size, sampling_seed=seed, label="sample pairs"
    )
    toxicity = score(written.texts).reshape(len(prompts), settings.samples)
    texts = np.array(written.texts, dtype=object).reshape(toxicity.shape)
    row = np.arange(len(prompts))
    low, high = toxicity.argmin(1), toxicity.argmax(1)
    pairs = pd.DataFrame(
        {
            "prompt": prompts,
            "chosen": texts[row, low],
            "rejected": texts[row, high],
            "chosen_toxicity": toxicity[row, low],
            "rejected_toxicity": toxicity[row, high],
        }
    )
    kept = pairs[pairs["rejected_toxicity"] - pairs["chosen_toxicity"] >= settings.margin]
    if len(kept) < 2 * settings.validation:
        raise UserError(
            f"only {len(kept)} of {len(prompts)} prompts gave a pair with a margin of "
            f"{settings.margin}; lower pairs.margin or raise pairs.samples or pairs.prompts"
        )
    return kept.reset_index(drop=True)
