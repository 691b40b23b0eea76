"""What is generated in one call: batches of prompts, and how the next token is chosen.

Texts are batched by length; no result depends on the batch, not even what is sampled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from nnsight import TransformersModel
from torch import Tensor

from dpotox.errors import UserError
from dpotox.progress import bar

NOISE_AT_ONCE = 2**13
"""Tokens for which the noise of sampling is drawn at once, for every row."""


def batches(
    model: TransformersModel,
    texts: Sequence[str],
    batch_size: int,
    label: str,
    *,
    max_tokens: int | None = None,
    new_tokens: int = 0,
    share: tuple[int, int] = (0, 1),
) -> Iterator[tuple[dict, list[int]]]:
    """Left-padded batches of similar length with the numbers of their texts, longest first.

    Args:
        share: which of how many shares of the texts is wanted, from 0; all of them by default.
    """
    if not texts:
        raise UserError("there are no prompts: the list is empty; check [data] and [sizes]")
    if empty := [i for i, text in enumerate(texts) if not text.strip()]:
        raise UserError(f"prompt number {empty[0] + 1} is empty; remove it from the data")
    model.tokenizer.padding_side = "left"
    cut = {"truncation": True, "max_length": max_tokens} if max_tokens else {}
    ids = model.tokenizer(list(texts), **cut)["input_ids"]
    order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
    if len(ids[order[0]]) + new_tokens > model.config.max_position_embeddings:
        raise UserError(
            f"prompt number {order[0] + 1} has {len(ids[order[0]])} tokens, which with {new_tokens} new ones "
            f"is more than the model's {model.config.max_position_embeddings} positions; cut it"
        )
    one, of = share
    order = order[one::of]
    for start in bar(range(0, len(order), batch_size), label, "batch"):
        rows = order[start : start + batch_size]
        batch = model.tokenizer.pad({"input_ids": [ids[i] for i in rows]}, return_tensors="pt")
        yield {k: batch[k] for k in ("input_ids", "attention_mask")}, rows


def decoding(
    new_tokens: int,
    rows: Sequence[int],
    sampling_seed: int | None = None,
    forced: Int[Tensor, "prompt new_token"] | None = None,
) -> dict:
    """Settings of `generate`: exactly `new_tokens` tokens, since a trace reads every step.

    Args:
        rows: the numbers of the batch's prompts.
        sampling_seed: sample at temperature 1 instead of greedily.
        forced: the tokens to write, instead of choosing any.
    """
    settings = {"max_new_tokens": new_tokens, "min_new_tokens": new_tokens, "do_sample": False}
    if sampling_seed is not None:
        settings["logits_processor"] = [_GumbelNoise(sampling_seed, rows)]
    if forced is not None:
        settings["logits_processor"] = [_Forced(forced[rows])]
    return settings


class _GumbelNoise:
    """Sampling at temperature 1: the largest of logits plus Gumbel noise is a draw from their softmax.

    Every row has its own stream of noise, so a sample depends on the seed and its number alone, and two
    models or interventions sample with the same luck. On processors numpy draws it, faster than torch.
    """

    def __init__(self, seed: int, rows: Sequence[int]) -> None:
        self.seeds = [np.random.SeedSequence([seed, row]) for row in rows]
        self.noise: Iterator[Float[Tensor, "row token"]] = iter(())

    def __call__(self, input_ids: Tensor, scores: Float[Tensor, "row token"]) -> Tensor:
        noise = next(self.noise, None)
        if noise is None:
            if not hasattr(self, "streams"):
                self.streams = [_stream(seed, scores.device) for seed in self.seeds]
            self.noise = self._draw(scores)
            noise = next(self.noise)
        return scores - noise

    def _draw(self, scores: Float[Tensor, "row token"]) -> Iterator[Float[Tensor, "row token"]]:
        """Noise for some steps at once where tokens are few, as a draw for every row and step takes long."""
        steps = max(1, NOISE_AT_ONCE // scores.shape[1])
        drawn = torch.empty(len(self.streams), steps, scores.shape[1], device=scores.device)
        for row, stream in zip(drawn, self.streams, strict=True):
            if isinstance(stream, torch.Generator):
                row.exponential_(generator=stream)
            else:
                stream.standard_exponential(dtype=np.float32, out=row.numpy())
        # In float32 one draw of ten million is zero, which would win whatever the logits are.
        return iter(drawn.clamp_(min=2**-24).log_().transpose(0, 1))


def _stream(seed: np.random.SeedSequence, device: torch.device) -> np.random.Generator | torch.Generator:
    """A row's own source of noise, on the device where it is needed."""
    if device.type == "cpu":
        return np.random.Generator(np.random.SFC64(seed))
    return torch.Generator(device).manual_seed(int(seed.generate_state(1)[0]))


class _Forced:
    """The tokens of a given text, one after the other, whatever the model would say."""

    def __init__(self, tokens: Int[Tensor, "row new_token"]) -> None:
        self.tokens = iter(tokens.T)

    def __call__(self, input_ids: Tensor, scores: Float[Tensor, "row token"]) -> Tensor:
        given = next(self.tokens).to(scores.device)[:, None]
        return torch.full_like(scores, -torch.inf).scatter(1, given, 0.0)
