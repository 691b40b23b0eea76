"""Texts cut to the tokens that a model is to see: prompts, and windows that perplexity is measured on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from dpotox.errors import UserError, first_line, refused
from dpotox.profile import Sizes

DAY = "01 Jan 2025"
"""What chat templates that tell the day are told, as prompts must be the same tomorrow."""


def cut(tokenizer, prompts: Sequence[str], max_tokens: int, *, keep_end: bool = False) -> list[str]:
    """Prompts cut to their first tokens, or to their last.

    Raises:
        UserError: the tokenizer does not know a word of them.
    """
    ids = tokenizer(list(prompts), add_special_tokens=False)["input_ids"]
    length = max_tokens - len(tokenizer("")["input_ids"])  # less what begins every text
    ids = [row[-length:] if keep_end else row[:length] for row in ids]
    unknown = tokenizer.unk_token_id
    if unknown not in (None, tokenizer.eos_token_id) and any(unknown in row for row in ids):
        raise UserError(
            "the prompts have words that the model's tokenizer does not know; the embedded model "
            "knows only its own language, so use another model for these prompts"
        )
    return tokenizer.batch_decode(ids, skip_special_tokens=True)


def said_by_user(tokenizer, prompts: Sequence[str]) -> list[str]:
    """Prompts as the first turn of a chat, up to where the model's answer begins.

    Raises:
        UserError: the tokenizer has no chat template, or it cannot be filled in.
    """
    if not tokenizer.chat_template:
        raise UserError(
            "model.chat is set, but the model's tokenizer has no chat template; leave it out, or give the "
            "chat model's tokenizer as model.tokenizer"
        )
    if "strftime_now" in str(tokenizer.chat_template) and "date_string" not in str(tokenizer.chat_template):
        raise UserError(
            "the chat template of the model's tokenizer writes the day into every prompt, so that no run "
            "could be repeated; give a tokenizer with another template as model.tokenizer"
        )
    way_out = "give another tokenizer as model.tokenizer, or leave model.chat out"
    with refused("cannot use the tokenizer's chat template", way_out, first_line):
        chats = [[{"role": "user", "content": prompt}] for prompt in prompts]
        day = {"date_string": DAY}
        texts = tokenizer.apply_chat_template(chats, tokenize=False, add_generation_prompt=True, **day)
    begins = tokenizer.decode(tokenizer("")["input_ids"])  # which the tokenizer writes before every text
    return [text.removeprefix(begins) for text in texts]


def added_by_chat(tokenizer) -> int:
    """How many tokens the chat template puts around a prompt."""
    (text,) = said_by_user(tokenizer, ["a"])
    return len(tokenizer(text, add_special_tokens=False)["input_ids"]) - 1


def exam_windows(
    tokenizer, neutral: list[str], other: list[str], sizes: Sizes
) -> tuple[Int[Tensor, "window pos"], Bool[np.ndarray, "window"]]:
    """Windows of equal length: of neutral text, and of other text what is left, at least a quarter.

    Returns them, and which of them are neutral.

    Raises:
        UserError: no neutral text is as long as one window.
    """
    windows = _windows(tokenizer, neutral, sizes.window_tokens)[: sizes.text_windows]
    if not windows:
        raise UserError(
            f"no text is {sizes.window_tokens} tokens long; lower sizes.window_tokens or give more text"
        )
    limit = max(1, sizes.text_windows // 4, sizes.text_windows - len(windows))
    more = _windows(tokenizer, other, sizes.window_tokens)[:limit]
    return torch.stack(windows + more), np.arange(len(windows) + len(more)) < len(windows)


def _windows(tokenizer, texts: list[str], window_tokens: int) -> list[Int[Tensor, "pos"]]:
    """Texts cut and, if long, split; what is left at the end of each is no window."""
    start = torch.tensor(tokenizer("")["input_ids"], dtype=torch.long)  # what begins every text, if anything
    length = window_tokens - len(start)
    ids = [torch.tensor(tokenizer(t, add_special_tokens=False)["input_ids"], dtype=torch.long) for t in texts]
    return [torch.cat([start, w]) for one in ids for w in one.split(length) if len(w) == length]
