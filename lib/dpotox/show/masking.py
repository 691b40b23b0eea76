"""Hiding toxic words in what the book shows, all but their first letter; a switch on the page shows some.

A word is toxic if it scores enough on its own. Only words of the generated language, which are mild, can be
shown by the switch. Any other toxic word is not in the page at all, so that no slur can be.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from dpotox.inputs.language import Language
from dpotox.inputs.scoring import Score

_WORD = re.compile(r"\w+")


@cache
def _mild_words() -> frozenset[str]:
    return frozenset(Language().severity)


@dataclass(frozen=True)
class Mask:
    """Hides the words which, on their own, score at least `from_score`; none if `show` is set."""

    score: Score
    from_score: float
    show: bool = False

    def __call__(self, text: str) -> str:
        """The text with toxic words masked, for places that know no markup."""
        return self.both([text])[0][0]

    def html(self, text: str) -> str:
        """The same as HTML, with what the page's switch needs to show mild words (`book/_static/book.js`)."""
        toxic = self._toxic([text])

        def marked(word: re.Match) -> str:
            hidden, shown = _stars(word[0]), _revealed(word[0])
            if hidden == shown:
                return f'<span class="masked">{hidden}</span>'
            return (
                f'<span class="masked"><span class="stars">{hidden}</span>'
                f'<span class="word" hidden>{shown}</span></span>'
            )

        # Escaping changes no word character, but its entities are words themselves: split first.
        parts, end = [], 0
        for word in _WORD.finditer(text):
            parts.append(html.escape(text[end : word.start()]))
            parts.append(marked(word) if word[0] in toxic else word[0])
            end = word.end()
        return "".join([*parts, html.escape(text[end:])])

    def both(self, texts: Sequence[str]) -> list[tuple[str, str]]:
        """Every text as it is first shown, and as it is after the switch; equal where nothing is hidden."""
        toxic = self._toxic(texts)

        def with_words(text: str, of) -> str:
            return _WORD.sub(lambda word: of(word[0]) if word[0] in toxic else word[0], text)

        return [(with_words(text, _stars), with_words(text, _revealed)) for text in texts]

    def _toxic(self, texts: Sequence[str]) -> set[str]:
        words = sorted({word for text in texts for word in _WORD.findall(text)})
        if self.show or not words:
            return set()
        scores = self.score(words)
        return {word for word, toxicity in zip(words, scores, strict=True) if toxicity >= self.from_score}


def _stars(word: str) -> str:
    return word[0] + "*" * (len(word) - 1)


def _revealed(word: str) -> str:
    return word if word.lower() in _mild_words() else _stars(word)
