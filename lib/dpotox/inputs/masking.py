"""Hiding toxic words, all but their first letter, before any text is kept for the pages.

A word is toxic if it scores enough on its own. Words of the generated language are mild: they stay, and are
listed, so that a page can hide them at first and show them on request. Any other toxic word is in no result,
so no slur can be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import pairwise

import numpy as np

from dpotox.inputs.language import GRAMMARS, Language
from dpotox.inputs.scoring import Score

_WORD = re.compile(r"\w+")


@cache
def _mild_words() -> frozenset[str]:
    return frozenset(word for name in GRAMMARS for word in Language(name).severity)


class Masking:
    """Hides the words which, on their own, score at least `from_score`, but for mild ones.

    Attributes:
        mild: the mild words among them that were met so far.
    """

    def __init__(self, score: Score, from_score: float) -> None:
        self.score, self.from_score = score, from_score
        self.mild: set[str] = set()

    def texts(self, texts: Sequence[str]) -> list[str]:
        """The texts, each as long as before."""
        toxic = self._toxic(word for text in texts for word in _WORD.findall(text))
        return [_WORD.sub(lambda w: self._kept(w[0]) if w[0] in toxic else w[0], text) for text in texts]

    def pieces(self, texts: Sequence[str]) -> list[str]:
        """Pieces of one text, such as its tokens, each word hidden as a whole wherever they cut it.

        As the pieces come one after the other, a word is hidden also where its beginning up to a cut, or a
        piece of it, is a toxic word on its own, be it mild or not.
        """
        whole, bounds = "".join(texts), np.cumsum([0, *map(len, texts)]).tolist()
        words = {}
        for word in _WORD.finditer(whole):
            start, end = word.span()
            cuts = [start, *(b for b in bounds if start < b < end), end]
            parts = {whole[start:b] for b in cuts[1:-1]} | {whole[a:b] for a, b in pairwise(cuts)}
            words[word.span()] = word[0], parts - {word[0]}
        toxic = self._toxic(w for word, parts in words.values() for w in (word, *parts))
        for (start, end), (word, parts) in words.items():
            hidden = self._kept(word) if word in toxic else stars(word) if parts & toxic else word
            whole = whole[:start] + hidden + whole[end:]
        return [whole[a:b] for a, b in pairwise(bounds)]

    def toxic(self, words: Sequence[str]) -> int:
        """How many of some words are toxic."""
        return int((self.score(list(words)) >= self.from_score).sum()) if len(words) else 0

    def _kept(self, word: str) -> str:
        if word.lower() not in _mild_words():
            return stars(word)
        self.mild.add(word)
        return word

    def _toxic(self, words: Iterable[str]) -> set[str]:
        some = sorted(set(words))
        scores = self.score(some) if some else []
        return {w for w, toxicity in zip(some, scores, strict=True) if toxicity >= self.from_score}


def stars(word: str) -> str:
    """A word of which only the first letter is left."""
    return word[0] + "*" * (len(word) - 1)
