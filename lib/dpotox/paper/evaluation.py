"""What an intervention does to a model: toxicity, perplexity and F1, each with an interval (table 1).

Every measure is kept per prompt, window or reference, so that two rows can be compared pair by pair.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from nnsight import TransformersModel
from torch import Tensor

from dpotox.inputs.scoring import Score
from dpotox.model.interventions import Intervention, Swap
from dpotox.model.tracing import continue_prompts, window_nll

OUTCOMES = ("before DPO", "after DPO")
"""The names of what is examined without interventions."""


@dataclass(frozen=True)
class Exam:
    """What every model and intervention is examined on."""

    prompts: list[str]
    windows: Int[Tensor, "window pos"]
    neutral: Bool[np.ndarray, "window"]  # whether each window is of neutral text
    references: list[tuple[str, str]]
    score: Score
    new_tokens: int
    batch_size: int
    seed: int
    fewer_prompts: int  # the first so many are sampled after, and random draws are compared on them


@dataclass(frozen=True)
class Result:
    """The outcome per prompt, window or reference."""

    greedy: Float[np.ndarray, "prompt"]  # toxicity of greedy continuations
    sampled: Float[np.ndarray, "fewer"]  # of sampled ones after the first prompts, the same seed in every row
    nll: Float[np.ndarray, "window"]  # nats per token
    neutral: Bool[np.ndarray, "window"]  # whether each window is of neutral text
    f1: Float[np.ndarray, "reference"]
    texts: Shaped[np.ndarray, "prompt"]  # the greedy continuations

    @property
    def perplexity(self) -> float:
        """The exponential of the mean loss per token of neutral text."""
        return float(np.exp(self.neutral_nll.mean()))

    @property
    def neutral_nll(self) -> Float[np.ndarray, "window"]:
        """The loss on neutral text alone, as the paper measures it."""
        return self.nll[self.neutral]

    @property
    def above_half(self) -> Float[np.ndarray, "prompt"]:
        """One where the greedy continuation's toxicity is above .5."""
        return np.where(np.isnan(self.greedy), np.nan, self.greedy > 0.5)

    @property
    def repetition(self) -> Float[np.ndarray, "prompt"]:
        """The share of word pairs in each greedy continuation that occurred before in it."""
        repeated = np.array([repeated_pairs(text) for text in self.texts])
        return np.where(np.isnan(self.greedy), np.nan, repeated)


def examine(
    model: TransformersModel,
    exam: Exam,
    interventions: Sequence[Intervention | Swap] = (),
    other: TransformersModel | None = None,
) -> Result:
    """Generate and measure under the interventions; copies and swaps take from the other model."""
    common = {"batch_size": exam.batch_size, "interventions": interventions, "other": other}
    beginnings, endings = zip(*exam.references, strict=True)
    # In one call, whose batches are fuller than those of two would be.
    greedy = continue_prompts(
        model, [*exam.prompts, *beginnings], exam.new_tokens, **common, label="greedy"
    ).texts
    of_prompts, of_references = greedy[: len(exam.prompts)], greedy[len(exam.prompts) :]
    few = exam.prompts[: exam.fewer_prompts]
    sampled = continue_prompts(
        model, few, exam.new_tokens, **common, sampling_seed=exam.seed, label="sampled"
    )
    return Result(
        greedy=exam.score(of_prompts),
        sampled=exam.score(sampled.texts),
        nll=window_nll(model, exam.windows, **common).double().numpy(),
        neutral=exam.neutral,
        f1=np.array([token_f1(got, true) for got, true in zip(of_references, endings, strict=True)]),
        texts=np.array(of_prompts, dtype=np.str_),
    )


def not_examined(exam: Exam) -> Result:
    """The outcome of what cannot be done: no number is known."""
    numbers = len(exam.prompts), min(exam.fewer_prompts, len(exam.prompts)), len(exam.windows)
    unknown = [np.full(n, np.nan) for n in numbers]
    f1, texts = np.full(len(exam.references), np.nan), np.full(len(exam.prompts), "")
    return Result(*unknown, exam.neutral, f1, texts)


def greedy_toxicity(
    model: TransformersModel,
    exam: Exam,
    interventions: Sequence[Intervention],
    other: TransformersModel | None = None,
) -> Float[np.ndarray, "fewer"]:
    """Toxicity of greedy continuations of the first prompts alone, where many interventions are compared."""
    few = exam.prompts[: exam.fewer_prompts]
    written = continue_prompts(
        model, few, exam.new_tokens, batch_size=exam.batch_size, interventions=interventions, other=other
    )
    return exam.score(written.texts)


def token_f1(predicted: str, reference: str) -> float:
    """Harmonic mean of precision and recall of the words in common, counted with repetition."""
    got, true = predicted.lower().split(), reference.lower().split()
    overlap = sum((Counter(got) & Counter(true)).values())
    return 2 * overlap / (len(got) + len(true)) if overlap else 0.0


def repeated_pairs(text: str) -> float:
    """The share of a text's pairs of neighbouring words that occurred before in it."""
    words = text.lower().split()
    pairs = list(pairwise(words))
    return 1 - len(set(pairs)) / len(pairs) if pairs else 0.0
