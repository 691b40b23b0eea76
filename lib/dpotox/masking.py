"""Hiding toxic words in what the book shows, all but their first letter."""

from __future__ import annotations

import re
from collections.abc import Callable

from dpotox.scoring import Score


def masker(score: Score, from_score: float) -> Callable[[str], str]:
    """A function that masks the words of a text which, on their own, score at least `from_score`."""

    def mask(text: str) -> str:
        words = sorted(set(re.findall(r"\w+", text)))
        toxicity = score(words) if words else []
        toxic = {word for word, t in zip(words, toxicity, strict=True) if t >= from_score}
        return re.sub(r"\w+", lambda m: m[0][0] + "*" * (len(m[0]) - 1) if m[0] in toxic else m[0], text)

    return mask
