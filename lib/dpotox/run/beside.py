"""Two models beside each other on the same text: what each has at every token, without any edit.

A text is a prompt with the tokens that continue it, or a window of plain text. What is read stands at the
positions that predict the tokens, as everywhere in this study.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import nnsight
import torch
from jaxtyping import Float, Int
from nnsight import TransformersModel
from torch import Tensor

from dpotox.memory import halving
from dpotox.model.architecture import layers
from dpotox.model.generation import batches
from dpotox.model.tracing import LOGITS_AT_ONCE

Batch = tuple[dict[str, Tensor], list[int]]
"""What a model reads, and the numbers of its texts."""


def continued(
    model: TransformersModel,
    prompts: Sequence[str],
    tokens: Int[Tensor, "prompt new_token"],
    batch_size: int,
    label: str,
) -> Iterator[Batch]:
    """Left-padded batches of prompts continued by these tokens, the last of which is only predicted."""
    new = tokens.shape[1]
    for batch, rows in batches(model, prompts, batch_size, label, new_tokens=new):
        ids = torch.cat([batch["input_ids"], tokens[rows, :-1]], 1)
        mask = torch.nn.functional.pad(batch["attention_mask"], (0, new - 1), value=1)
        yield {"input_ids": ids, "attention_mask": mask}, rows


def in_windows(windows: Int[Tensor, "window pos"], batch_size: int) -> Iterator[Batch]:
    """Windows of text in batches."""
    for rows in torch.arange(len(windows)).split(batch_size):
        ids = windows[rows]
        yield {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, rows.tolist()


def residual_streams(
    model: TransformersModel, batch: dict[str, Tensor], last: int
) -> list[Float[Tensor, "row pos d_model"]]:
    """The residual stream after each layer at the last positions, in float32 on the model's first device."""
    inside = layers(model, len(batch["input_ids"]))
    with torch.no_grad(), model.trace(batch, logits_to_keep=1):
        streams = nnsight.save([at.residual[:, -last:].float().to(model.device) for at in inside])
    return list(streams)


def log_probabilities(
    model: TransformersModel, batch: dict[str, Tensor], last: int
) -> Float[Tensor, "row pos token"]:
    """Of every token of the vocabulary at the last positions, in nats."""
    with torch.no_grad(), model.trace(batch, logits_to_keep=last):
        logits = nnsight.save(model.output.logits.float().to(model.device))
    return logits.log_softmax(-1)


@halving
def divergence(
    model: TransformersModel,
    other: TransformersModel,
    prompts: Sequence[str],
    tokens: Int[Tensor, "prompt new_token"],
    *,
    batch_size: int,
) -> Float[Tensor, "prompt new_token"]:
    """The KL divergence of a model from another where each of these tokens is predicted, in nats.

    That is the mean, over what the model would write next, of how much more probable it finds that than the
    other does.
    """
    new, found = tokens.shape[1], torch.zeros(tokens.shape)
    fitting = max(1, LOGITS_AT_ONCE // (new * model.config.vocab_size))
    for batch, rows in continued(model, prompts, tokens, min(batch_size, fitting), "compare token by token"):
        ours, theirs = (log_probabilities(one, batch, new) for one in (model, other))
        theirs = theirs.to(ours.device)
        found[rows] = (
            torch.nn.functional.kl_div(theirs, ours, reduction="none", log_target=True).sum(-1).cpu()
        )
    return found
