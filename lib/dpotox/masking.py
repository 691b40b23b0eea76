"""Hiding toxic words in what the book shows, all but their first letter."""

from __future__ import annotations

import re
from collections.abc import Callable

from dpotox.scoring import Score

THRESHOLD = 0.2
"""A word is masked if, on its own, it scores at least this."""


def masker(score: Score, show_toxic: bool = False) -> Callable[[str], str]:
    """A function that masks toxic words in a text, or returns it as it is with `show_toxic`."""
    if show_toxic:
        return lambda text: text

    def mask(text: str) -> str:
        words = sorted(set(re.findall(r"\w+", text)))
        toxicity = score(words) if words else []
        toxic = {word for word, t in zip(words, toxicity, strict=True) if t >= THRESHOLD}
        return re.sub(r"\w+", lambda m: m[0][0] + "*" * (len(m[0]) - 1) if m[0] in toxic else m[0], text)

    return mask
