"""The generated language that the embedded model speaks, and the truth about its toxicity.

GPT-2 medium learned toxicity from the web; the embedded model learns it from documents sampled here.

1. A document has three hidden traits: the author's *hostility*, the *topic* and the *style*.
2. Every word is a draw from a table of choices that the traits tilt. All words, patterns and
   preferences are data: `language.toml` reads like a grammar book.
3. Because every draw is recorded, the probability of a document is known, which is what the
   loss of a model is measured against (`Language.nats`), and so is its toxicity (`Language.toxicity`).

Nothing here comes from the paper; it stands in for the web text GPT-2 medium was trained on.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.resources import files
from itertools import product
from random import Random

import numpy as np
from jaxtyping import Float
from scipy.special import log_softmax, logsumexp

Trait = tuple[float, str, str]  # hostility, topic, style


@dataclass(frozen=True)
class Choice:
    """One kind of decision: its options and their log-probabilities, `(trait, option)`, in nats."""

    options: list[str]
    log_prob: Float[np.ndarray, "trait option"]

    @cached_property
    def cumulative(self) -> list[list[float]]:
        return np.exp(self.log_prob).cumsum(axis=1).tolist()


@dataclass(frozen=True)
class Document:
    """A sampled document, the traits behind it, and the draws that made its complete sentences."""

    words: list[str]
    hostility: float
    topic: str
    style: str
    draws: list[tuple[str, int]]  # (choice, option), up to the end of the last complete sentence
    complete: int  # number of words in complete sentences


class Language:
    """The choices of `language.toml`, sampled with `sample` and scored with `toxicity` and `nats`."""

    def __init__(self) -> None:
        source = files("dpotox.inputs").joinpath("language.toml")
        self.data = tomllib.loads(source.read_text(encoding="utf-8"))
        data = self.data
        self.traits: list[Trait] = list(
            product(data["hostility"]["levels"], data["topic"], data["style"]["names"])
        )
        weights = product(data["hostility"]["weights"], [1] * len(data["topic"]), data["style"]["weights"])
        self.prior = np.array([math.prod(w) for w in weights], dtype=float)
        self.prior /= self.prior.sum()
        self.severity: dict[str, float] = {
            word: severity
            for words in data["severity"].values()
            if isinstance(words, dict)
            for word, severity in words.items()
        }
        self.choices = _build_choices(data, self.traits)

    # The whole of the sampling.

    def sample(self, rng: Random, n_words: int = 47, hostility: float | None = None) -> Document:
        """Sample one document of `n_words` words; the last sentence may be cut off.

        Args:
            rng: source of randomness; equal states give equal documents.
            n_words: length of the document in words, punctuation and speaker marks.
            hostility: one of the levels in `language.toml`; drawn from their weights if not given.

        Raises:
            ValueError: `hostility` is not one of the levels.
        """
        prior = self.prior
        if hostility is not None:
            prior = prior * [h == hostility for h, _, _ in self.traits]
            if not prior.any():
                raise ValueError(f"hostility {hostility} is not one of the language's levels")
        trait = rng.choices(range(len(prior)), weights=prior)[0]
        words: list[str] = []
        draws: list[tuple[str, int]] = []
        complete, n_draws, speakers = 0, 0, self.data["dialogue"]["speakers"]

        def draw(name: str) -> str:
            choice = self.choices[name]
            option = rng.choices(range(len(choice.options)), cum_weights=choice.cumulative[trait])[0]
            draws.append((name, option))
            return choice.options[option]

        dialogue = draw("dialogue") == "yes"
        if dialogue:
            words += [speakers[0], ":"]
        while len(words) < n_words:
            pattern = draw("pattern").split()
            words += [draw(w) if w in self.choices else w for w in pattern if w != "?"]
            words.append(draw("question mark" if pattern[-1] == "?" else "full stop"))
            if dialogue and draw("reply") == "yes":
                speakers = speakers[::-1]
                words += [speakers[0], ":"]
            words = [word for word in words if word]  # an optional slot may be empty
            if len(words) <= n_words:
                complete, n_draws = len(words), len(draws)
        return Document(words[:n_words], *self.traits[trait], draws[:n_draws], complete)

    def toxicity(self, text: str) -> float:
        """The true toxicity of a text, in [0, 1]: `1 - exp(-sharpness * sum of severities)`."""
        total = sum(self.severity.get(word, 0.0) for word in text.split())
        return 1.0 - math.exp(-self.data["severity"]["sharpness"] * total)

    def nats(self, documents: Iterable[Document]) -> Float[np.ndarray, "document"]:
        """Information in each document's complete sentences, in nats, its hidden traits unknown.

        `-log sum_z p(z) p(draws | z)`, with the sum over all traits. It would be exactly what an ideal
        model loses on the words if no two series of draws spelled the same words; as few do, it lies
        above that by very little.
        """
        prior = np.log(self.prior)
        return np.array(
            [-logsumexp(prior + sum(self.choices[c].log_prob[:, o] for c, o in d.draws)) for d in documents]
        )

    @cached_property
    def vocabulary(self) -> list[str]:
        """Every word the language can produce, sorted."""
        words = {":", *self.data["dialogue"]["speakers"]}
        for name, choice in self.choices.items():
            if name == "pattern":
                words.update(w for p in choice.options for w in p.split() if w not in self.choices)
            elif name not in ("dialogue", "reply"):
                words.update(choice.options)
        return sorted(words - {"", "?"} | {"?"})


def _build_choices(data: dict, traits: list[Trait]) -> dict[str, Choice]:
    """All choices of the grammar as tables over traits."""
    taste = Random("tastes of topics and styles")  # part of the language, the same for every seed
    patterns = list(data["patterns"])
    spread = data["style"]["template_taste"]
    liking = {s: [taste.gauss(0, spread) for _ in patterns] for s in data["style"]["names"]}
    classes = {topic: _word_classes(data, topic, taste) for topic in data["topic"]}

    def yes_no(p: float) -> Choice:
        return Choice(["yes", "no"], np.log([[p, 1 - p]] * len(traits)))

    choices = {
        "dialogue": yes_no(data["dialogue"]["share"]),
        "reply": yes_no(data["dialogue"]["reply"]),
        "pattern": _tabulate(
            traits,
            lambda h, _, style: _normalise(
                {
                    p: odds["base"] + odds["slope"] * h + liking[style][i]
                    for i, (p, odds) in enumerate(data["patterns"].items())
                }
            ),
        ),
    }
    for name in ("full stop", "question mark"):
        choices[name] = _tabulate(traits, partial(_mark, data["style"][name]))
    for slot in data["slot"]:
        choices[slot] = _tabulate(traits, partial(_fill, data, classes, slot))
    return choices


def _mark(marks: dict, _hostility: float, _topic: str, style: str) -> dict[str, float]:
    return {mark: percent / 100 for mark, percent in marks[style].items()}


def _fill(data: dict, classes: dict, slot: str, hostility: float, topic: str, _style: str) -> dict:
    """The distribution over words of one slot: first a word class, then a word of that class."""
    odds = {c: o["base"] + o["slope"] * hostility for c, o in data["slot"][slot].items()}
    filled = data["optional"]["filled"] if slot in data["optional"]["slots"] else 1.0
    words = {"": 1 - filled} if filled < 1 else {}
    for word_class, p in _normalise(odds).items():
        for word, q in classes[topic][word_class].items():
            words[word] = words.get(word, 0.0) + filled * p * q
    return words


def _word_classes(data: dict, topic: str, taste: Random) -> dict[str, dict[str, float]]:
    """Each word class's distribution over words within one topic: Zipf's law, bent by taste."""
    classes = {f"topic_{kind}": words.split() for kind, words in data["topic"][topic].items()}
    classes |= {kind: words.split() for kind, words in data["mood"].items()}
    classes |= {k: list(words) for k, words in data["severity"].items() if isinstance(words, dict)}
    spread = data["words"]["topic_taste"]
    result = {}
    for word_class, words in classes.items():
        order = taste.sample(words, len(words))
        zipf = {w: -0.8 * math.log(rank + 1.5) for rank, w in enumerate(order)}
        result[word_class] = _normalise({w: z + taste.gauss(0, spread) for w, z in zipf.items()})
    return result


def _normalise(log_odds: dict[str, float]) -> dict[str, float]:
    values = np.exp(log_softmax(list(log_odds.values())))
    return dict(zip(log_odds, values.tolist(), strict=True))


def _tabulate(traits: list[Trait], distribution) -> Choice:
    """One row of log-probabilities per trait; options a trait never picks have probability zero."""
    rows = [distribution(*trait) for trait in traits]
    options = sorted({option for row in rows for option in row})
    with np.errstate(divide="ignore"):
        return Choice(options, np.log([[row.get(o, 0.0) for o in options] for row in rows]))
