"""Hiding mild toxic words in the pages until a reader asks for them.

Texts come from results, where any toxic word that is not mild is hidden for good (`dpotox.inputs.masking`).
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

from dpotox.results.folder import Results

_WORD = re.compile(r"\w[\w*]*")
_HIDDEN = re.compile(r"\w\*+")
_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters, and those that turn the direction of the text around them."""


@dataclass(frozen=True)
class Mask:
    """Hides these words; the page's switch (`book/_static/book.js`) shows them."""

    words: frozenset[str]

    @classmethod
    def of(cls, results: Results) -> Mask:
        """That of the words that the results call mild."""
        return cls(frozenset(results.mild_words["word"]))

    def __call__(self, text: str) -> str:
        """The text with these words hidden, for places that know no markup."""
        return _WORD.sub(lambda word: _stars(word[0]) if word[0] in self.words else word[0], seen(text))

    def html(self, text: str) -> str:
        """The same as HTML, with what the switch needs."""
        return "".join(map(marked, self.segments(text)))

    def segments(self, text: str) -> list[Segment]:
        """The text cut into stretches that are hidden and such that are not."""
        found, end, text = [], 0, seen(text)
        for word in _WORD.finditer(text):
            if word[0] not in self.words and not _HIDDEN.fullmatch(word[0]):
                continue
            found += [(text[end : word.start()],) * 2 + (False,)] if word.start() > end else []
            found.append((_stars(word[0]), word[0], True))
            end = word.end()
        return found + ([(text[end:],) * 2 + (False,)] if text[end:] else [])


Segment = tuple[str, str, bool]
"""A stretch of text: as it is first shown, as it is after the page's switch, and whether it is masked."""


def marked(segment: Segment) -> str:
    """A segment as HTML."""
    hidden, shown, masked = segment[0], segment[1], segment[2]
    stars, word = html.escape(hidden), html.escape(shown)
    if not masked:
        return stars
    if hidden != shown:
        stars = f'<span class="stars">{stars}</span><span class="word" hidden>{word}</span>'
    return f'<span class="masked">{stars}</span>'


def seen(text: str) -> str:
    """The text with a sign in the place of every character that acts instead of being seen."""
    return _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", text)


def _stars(word: str) -> str:
    return word[0] + "*" * (len(word) - 1)
