"""Hiding mild toxic words in the pages until a reader asks for them.

Texts come from results, where any toxic word that is not mild is hidden for good (`dpotox.inputs.masking`).
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from dpotox.results.folder import Results

_WORD = re.compile(r"(\w[\w*]*)")
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
        return "".join(hidden for hidden, _, _ in self.segments(text))

    def html(self, text: str) -> str:
        """The same as HTML, with what the switch needs."""
        return marked(self.segments(text))

    def segments(self, text: str) -> list[Segment]:
        """The text cut into stretches that are hidden and such that are not."""
        parts = [part for part in _WORD.split(seen(text)) if part]
        stretches = [(masked, "".join(some)) for masked, some in groupby(parts, self._hides)]
        return [(_stars(s) if masked else s, s, masked) for masked, s in stretches]

    def _hides(self, part: str) -> bool:
        """Also words that were hidden before they were kept; there is nothing to show of them."""
        return part in self.words or _HIDDEN.fullmatch(part) is not None


Segment = tuple[str, str, bool]
"""A stretch of text: as it is first shown, as it is after the page's switch, and whether it is masked."""


def marked(segments: Iterable[Segment]) -> str:
    """Segments as HTML."""
    found = []
    for hidden, shown, masked in segments:
        stars, word = html.escape(hidden), html.escape(shown)
        if hidden != shown:
            stars = f'<span class="stars">{stars}</span><span class="word" hidden>{word}</span>'
        found.append(f'<span class="masked">{stars}</span>' if masked else stars)
    return "".join(found)


def seen(text: str) -> str:
    """The text with a sign in the place of every character that acts instead of being seen."""
    return _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", text)


def _stars(word: str) -> str:
    return word[0] + "*" * (len(word) - 1)
