"""Windows of text that perplexity is measured on."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from dpotox.errors import UserError
from dpotox.profile import Sizes


def text_windows(tokenizer, texts: list[str], window_tokens: int, limit: int) -> Int[Tensor, "window pos"]:
    """Windows of equal length to measure perplexity on: texts cut and, if long, split.

    Raises:
        UserError: no text is as long as one window.
    """
    start = torch.tensor(tokenizer("")["input_ids"], dtype=torch.long)  # what begins every text, if anything
    length = window_tokens - len(start)
    windows = []
    for text in texts:
        ids = torch.tensor(tokenizer(text, add_special_tokens=False)["input_ids"], dtype=torch.long)
        windows += [torch.cat([start, w]) for w in ids.split(length) if len(w) == length]
    if not windows:
        raise UserError(
            f"no text is {window_tokens} tokens long; lower sizes.window_tokens or give more text"
        )
    return torch.stack(windows[:limit])


def exam_windows(
    tokenizer, neutral: list[str], other: list[str], sizes: Sizes
) -> tuple[Int[Tensor, "window pos"], Bool[np.ndarray, "window"]]:
    """Windows of neutral text, and of other text what is left of the wanted number, at least a quarter.

    Raises:
        UserError: no neutral text is as long as one window.
    """
    windows = text_windows(tokenizer, neutral, sizes.window_tokens, sizes.text_windows)
    limit = max(1, sizes.text_windows // 4, sizes.text_windows - len(windows))
    try:
        more = text_windows(tokenizer, other, sizes.window_tokens, limit)
    except UserError:
        more = windows[:0]
    return torch.cat([windows, more]), np.arange(len(windows) + len(more)) < len(windows)
