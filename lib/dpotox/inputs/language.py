"""The generated languages that embedded models speak, and the truth about their toxicity.

GPT-2 medium learned toxicity from the web; an embedded model learns it from documents sampled here.

1. A document has hidden traits: how strongly its author tends to each *kind* of toxicity, the *topic* and
   the *style*.
2. A sentence is a pattern whose slots are filled by a word class, then by a word of that class. The traits
   tilt every such draw. All words, patterns and preferences are data: the files in `languages/` read like
   grammar books. *plain* has one kind of toxicity, *rich* has four.
3. Because every draw is recorded, the probability of a document is known, which is what the
   loss of a model is measured against (`Language.nats`), and so is its toxicity (`Language.toxicity`).

Nothing here comes from the paper; it stands in for the web text GPT-2 medium was trained on.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from itertools import product
from random import Random

import numpy as np
from jaxtyping import Float
from scipy.special import log_softmax, logsumexp

GRAMMARS = {"rich": "rich.toml", "plain": "plain.toml"}

Odds = dict[str, float]
"""Log-odds of one option: its `base`, and what a level of each kind adds; `worst` goes with the strongest."""


@dataclass(frozen=True)
class Choice:
    """One decision: its options and their log-probabilities by trait, in nats.

    An axis on which the decision does not depend has length 1.
    """

    options: list[str]
    log_prob: Float[np.ndarray, "kinds topic style option"]

    @cached_property
    def cumulative(self) -> list[list[list[list[float]]]]:
        return np.exp(self.log_prob).cumsum(axis=-1).tolist()

    def draw(self, rng: Random, trait: tuple[int, int, int]) -> int:
        """The number of the option that is drawn for a document of these traits."""
        weights = self.cumulative
        for i in trait:
            weights = weights[i if len(weights) > 1 else 0]
        return rng.choices(range(len(self.options)), cum_weights=weights)[0]


@dataclass(frozen=True)
class Document:
    """A sampled document, and the draws that made its complete sentences."""

    words: list[str]
    hostility: float  # the author's level of the strongest kind of toxicity
    draws: list[tuple[str, int]]  # (choice, option), up to the end of the last complete sentence
    complete: int  # number of words in complete sentences


class Language:
    """The choices of a grammar book, sampled with `sample` and scored with `toxicity` and `nats`.

    Attributes:
        severity: of words that are toxic wherever they stand.
        aimed: of words that are so only when they are said to somebody, and next to which words they are.
        kinds: every combination of levels of the kinds of toxicity.
        prior: how likely each combination of kinds, topic and style is.
    """

    def __init__(self, name: str = "rich") -> None:
        source = files("dpotox.inputs").joinpath("languages", GRAMMARS[name])
        self.data = data = tomllib.loads(source.read_text(encoding="utf-8"))
        self.kinds = [dict(zip(data["kind"], some, strict=True)) for some in product(*_of(data, "levels"))]
        likely = np.array([math.prod(some) for some in product(*_of(data, "weights"))], dtype=float)
        style = np.array(data["style"]["weights"], dtype=float)
        self.prior = likely[:, None, None] * np.ones(len(data["topic"]))[:, None] * style
        self.prior /= self.prior.sum()
        always = [words for words in data["severity"].values() if isinstance(words, dict)]
        always += [topic.get("insult", {}) for topic in data["topic"].values()]
        self.severity: dict[str, float] = {word: s for words in always for word, s in words.items()}
        self.aimed = {
            word: (severity, set(words.get("after", [])), set(words.get("before", [])))
            for words in data.get("aimed", {}).values()
            for word, severity in words.items()
            if word not in ("after", "before")
        }
        self.choices = _build_choices(data, self.kinds)

    # The whole of the sampling.

    def sample(self, rng: Random, n_words: int = 47, at_least: float = 0.0, **levels: float) -> Document:
        """Sample one document of `n_words` words; the last sentence may be cut off.

        Args:
            rng: source of randomness; equal states give equal documents.
            n_words: length of the document in words, punctuation and speaker marks.
            at_least: the least level of the author's strongest kind of toxicity.
            levels: of kinds of toxicity, by their names; the others are drawn.

        Raises:
            ValueError: no author is like that.
        """
        trait = self._draw_trait(rng, at_least, levels)
        words: list[str] = []
        draws: list[tuple[str, int]] = []
        complete, n_draws, speakers = 0, 0, self.data["dialogue"]["speakers"]
        slots = self.data["slot"]

        def draw(name: str) -> str:
            choice = self.choices[name]
            draws.append((name, choice.draw(rng, trait)))
            return choice.options[draws[-1][1]]

        def fill(slot: str) -> str:
            word_class = draw(slot)
            return draw(word_class) if word_class else ""  # an optional slot may be empty

        dialogue = draw("dialogue") == "yes"
        if dialogue:
            words += [speakers[0], ":"]
        while len(words) < n_words:
            pattern = draw("pattern").split()
            sentence = [fill(w) if w in slots else w for w in pattern if w != "?"]
            sentence.append(draw("question mark" if pattern[-1] == "?" else "full stop"))
            if dialogue and draw("reply") == "yes":
                speakers = speakers[::-1]
                sentence += [speakers[0], ":"]
            words += filter(None, sentence)
            if len(words) <= n_words:
                complete, n_draws = len(words), len(draws)
        hostility = max(self.kinds[trait[0]].values())
        return Document(words[:n_words], hostility, draws[:n_draws], complete)

    def _draw_trait(self, rng: Random, at_least: float, levels: dict[str, float]) -> tuple[int, int, int]:
        fits = [max(some.values()) >= at_least and levels.items() <= some.items() for some in self.kinds]
        prior = self.prior * np.array(fits)[:, None, None]
        if not prior.any():
            raise ValueError(f"no author has a level of {at_least} or more with {levels or 'any kinds'}")
        number = rng.choices(range(prior.size), weights=prior.ravel().tolist())[0]
        return tuple(map(int, np.unravel_index(number, prior.shape)))

    def toxicity(self, text: str) -> float:
        """The true toxicity of a text, in [0, 1]: `1 - exp(-sharpness * sum of severities)`."""
        words, total, start = text.split(), 0.0, 0
        for i, word in enumerate(words):
            total += self.severity.get(word, 0.0)
            if word in self.aimed:
                severity, after, before = self.aimed[word]
                if not after.isdisjoint(words[start:i]) or not before.isdisjoint(words[i + 1 : i + 2]):
                    total += severity
            if word in self._ends:
                start = i + 1
        return 1.0 - math.exp(-self.data["severity"]["sharpness"] * total)

    def nats(self, documents: Iterable[Document]) -> Float[np.ndarray, "document"]:
        """Information in each document's complete sentences, in nats, its hidden traits unknown.

        `-log sum_z p(z) p(draws | z)`, with the sum over all traits. It is exactly what an ideal model loses
        on the words, as no other series of draws spells them.
        """
        prior = np.log(self.prior)
        likely = (sum((self.choices[c].log_prob[..., o] for c, o in d.draws), prior) for d in documents)
        return np.array([-logsumexp(some) for some in likely])

    @cached_property
    def vocabulary(self) -> list[str]:
        """Every word the language can produce, sorted."""
        words = {":", *self.data["dialogue"]["speakers"], *self._marks}
        for name, choice in self.choices.items():
            if name == "pattern":
                words.update(w for p in choice.options for w in p.split() if w not in self.data["slot"])
            elif name not in {"dialogue", "reply", *self.data["slot"]}:
                words.update(choice.options)
        return sorted(words)

    @cached_property
    def _marks(self) -> set[str]:
        return {m for kind in ("full stop", "question mark") for m in self.choices[kind].options}

    @cached_property
    def _ends(self) -> set[str]:
        """What ends a sentence: marks that no pattern has in its middle, and a change of speaker."""
        within = {w for p in self.choices["pattern"].options for w in p.split()[:-1]}
        return self._marks - within | {":"}


def _of(data: dict, what: str) -> list[list[float]]:
    return [kind[what] for kind in data["kind"].values()]


def _build_choices(data: dict, kinds: list[Odds]) -> dict[str, Choice]:
    """All choices of the grammar as tables over traits."""
    taste = Random("tastes of topics and styles")  # part of the language, the same for every seed
    patterns, style, dialogue = data["patterns"], data["style"], data["dialogue"]
    liking = [[taste.gauss(0, style["template_taste"]) for _ in patterns] for _ in style["names"]]
    words = [_word_classes(data, topic, taste) for topic in data["topic"]]

    def pattern(levels: Odds, likes: list[float]) -> Odds:
        odds = zip(patterns.items(), likes, strict=True)
        return _normalise({p: _log_odds(o, levels) + like for (p, o), like in odds})

    def slot(name: str, levels: Odds) -> Odds:
        share = data["optional"]["filled"] if name in data["optional"]["slots"] else 1.0
        classes = _normalise({c: _log_odds(o, levels) for c, o in data["slot"][name].items()})
        return ({"": 1 - share} if share < 1 else {}) | {c: share * p for c, p in classes.items()}

    def mark(name: str) -> list[Odds]:
        return [{m: p / 100 for m, p in style[name][of].items()} for of in style["names"]]

    by_kinds, by_topic, by_style = (-1, 1, 1), (1, -1, 1), (1, 1, -1)
    return {
        "dialogue": _tabulate([{"yes": dialogue["share"], "no": 1 - dialogue["share"]}]),
        "reply": _tabulate([{"yes": dialogue["reply"], "no": 1 - dialogue["reply"]}]),
        "pattern": _tabulate([pattern(*some) for some in product(kinds, liking)], (len(kinds), 1, -1)),
        **{name: _tabulate(mark(name), by_style) for name in ("full stop", "question mark")},
        **{name: _tabulate([slot(name, levels) for levels in kinds], by_kinds) for name in data["slot"]},
        **{c: _tabulate([of.get(c, {}) for of in words], by_topic) for c in sorted(set().union(*words))},
    }


def _log_odds(odds: Odds, levels: Odds) -> float:
    of_kinds = levels | {"worst": max(levels.values())}
    return sum(x if name == "base" else x * of_kinds[name] for name, x in odds.items())


def _word_classes(data: dict, topic: str, taste: Random) -> dict[str, Odds]:
    """Each word class's distribution over words within one topic: Zipf's law, bent by taste."""
    classes = {f"topic_{k}": _words(some) for k, some in data["topic"][topic].items()}
    for part in ("mood", "severity", "aimed"):
        classes |= {k: _words(some) for k, some in data.get(part, {}).items() if k != "sharpness"}
    spread = data["words"]["topic_taste"]
    result = {}
    for word_class, words in classes.items():
        order = taste.sample(words, len(words))
        zipf = {w: -0.8 * math.log(rank + 1.5) for rank, w in enumerate(order)}
        result[word_class] = _normalise({w: z + taste.gauss(0, spread) for w, z in zipf.items()})
    return result


def _words(some: str | dict) -> list[str]:
    return some.split() if isinstance(some, str) else [w for w in some if w not in ("after", "before")]


def _normalise(log_odds: Odds) -> Odds:
    values = np.exp(log_softmax(list(log_odds.values())))
    return dict(zip(log_odds, values.tolist(), strict=True))


def _tabulate(rows: list[Odds], shape: tuple[int, int, int] = (1, 1, 1)) -> Choice:
    """A table over traits, of distributions in the order of kinds, topics and styles.

    Options that are never picked have probability zero.
    """
    options = sorted({option for row in rows for option in row})
    with np.errstate(divide="ignore"):
        table = np.log([[row.get(o, 0.0) for o in options] for row in rows])
    return Choice(options, table.reshape(*shape, len(options)))
