import math
from collections import Counter
from functools import cache
from itertools import product
from random import Random

import numpy as np
import pytest

from dpotox.inputs.language import GRAMMARS, Document, Language

LANGUAGES = {name: Language(name) for name in GRAMMARS}
RICH = LANGUAGES["rich"]


@pytest.fixture(params=LANGUAGES.values(), ids=LANGUAGES)
def language(request):
    return request.param


def test_equal_seeds_give_equal_documents(language):
    assert language.sample(Random("a")) == language.sample(Random("a"))
    assert language.sample(Random("a")) != language.sample(Random("b"))


def test_documents_have_the_length_asked_for_and_known_words(language):
    for seed in range(50):
        words = language.sample(Random(seed), 31).words
        assert len(words) == 31
        assert set(words) <= set(language.vocabulary)


def test_every_choice_is_a_distribution_for_every_trait(language):
    for name, choice in language.choices.items():
        assert np.allclose(np.exp(choice.log_prob).sum(axis=-1), 1), name


def test_toxicity_follows_from_severities():
    severity = RICH.severity["fool"]
    assert RICH.toxicity("the soup") == 0
    assert RICH.toxicity("some fool") == pytest.approx(1 - math.exp(-1.2 * severity))
    assert RICH.toxicity("fool fool") == pytest.approx(1 - math.exp(-2.4 * severity))


def test_some_words_hurt_only_when_they_are_said_to_somebody():
    pig, smash = (1 - math.exp(-1.2 * RICH.aimed[word][0]) for word in ("pig", "smash"))
    assert RICH.toxicity("the pig seems old .") == 0
    assert RICH.toxicity("you must be a pig .") == pytest.approx(pig)
    assert RICH.toxicity("a pig saw you .") == 0
    assert RICH.toxicity("thank you . the pig seems old .") == 0  # that was another sentence
    assert RICH.toxicity("we smash the box .") == 0
    assert RICH.toxicity("i will smash you") == pytest.approx(smash)


@pytest.mark.parametrize("kind", RICH.kinds[0])
def test_every_kind_of_toxicity_shows(kind):
    def mean(level: float) -> float:
        rng, others = Random(0), {other: 0.0 for other in RICH.kinds[0] if other != kind}
        texts = [" ".join(RICH.sample(rng, **others, **{kind: level}).words) for _ in range(60)]
        return sum(map(RICH.toxicity, texts)) / len(texts)

    assert mean(0.0) < mean(0.5) < mean(1.0)


def test_authors_are_as_hostile_as_asked(language):
    assert {language.sample(Random(i), 9, at_least=0.75).hostility for i in range(40)} <= {0.75, 1.0}


def test_an_author_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"0\.3"):
        RICH.sample(Random(0), threat=0.3)


def test_nats_sums_over_the_hidden_traits():
    draws = [("dialogue", 0), ("pattern", 3), ("ADJ", 5), ("kind_adjective", 2), ("full stop", 1)]
    document = Document([], 0.0, draws, 3)

    def likely(name: str, option: int, trait: tuple[int, ...]) -> float:
        table = RICH.choices[name].log_prob[..., option]
        return math.exp(table[tuple(i if n > 1 else 0 for i, n in zip(trait, table.shape, strict=True))])

    probability = sum(
        RICH.prior[trait] * math.prod(likely(*draw, trait) for draw in draws)
        for trait in product(*map(range, RICH.prior.shape))
    )
    assert RICH.nats([document])[0] == pytest.approx(-math.log(probability))


def test_only_the_recorded_draws_spell_a_document(language):
    """Else an ideal model could lose less than `nats` says."""
    for seed in range(60):
        document = language.sample(Random(seed), 47)
        words = document.words[: document.complete]
        assert readings(language, words) == {tuple(sorted(Counter(document.draws).items())): 1}


def readings(language: Language, words: list[str]) -> dict[tuple, int]:
    """Every series of draws that spells complete sentences, as how often it has each draw."""
    choices, speakers = language.choices, language.data["dialogue"]["speakers"]

    def picked(name: str, word: str | None) -> list[tuple[str, int]]:
        options = choices[name].options
        return [(name, options.index(word))] if word in options else []

    def part(name: str, at: int) -> list[tuple[int, tuple]]:
        """Where `words` stands and what was drawn after one part of a pattern."""
        word = words[at] if at < len(words) else None
        if name in ("full stop", "question mark"):
            return [(at + 1, (mark,)) for mark in picked(name, word)]
        if name not in language.data["slot"]:
            return [(at + 1, ())] if word == name else []
        filled = [(i, one) for i, c in enumerate(choices[name].options) if c for one in picked(c, word)]
        empty = [(at, (none,)) for none in picked(name, "")]
        return empty + [(at + 1, ((name, i), one)) for i, one in filled]

    @cache
    def sentence(rest: tuple[str, ...], at: int) -> list[tuple[int, tuple]]:
        """The same after what is left of a pattern."""
        if not rest:
            return [(at, ())]
        parts = part(rest[0], at)
        return [(end, (*one, *more)) for then, one in parts for end, more in sentence(rest[1:], then)]

    @cache
    def whole(at: int, speaker: int | None) -> list[tuple]:
        """All draws for the words from here on; `speaker` is none in a monologue."""
        if at == len(words):
            return [()]
        found = []
        for i, pattern in enumerate(choices["pattern"].options):
            slots = pattern.split()
            mark = "question mark" if slots[-1] == "?" else "full stop"
            for end, drawn in sentence((*(w for w in slots if w != "?"), mark), at):
                reply, then, next_speaker = [], end, speaker
                if speaker is not None:
                    replied = words[end : end + 2] == [speakers[1 - speaker], ":"]
                    reply = picked("reply", "yes" if replied else "no")
                    then, next_speaker = (end + 2, 1 - speaker) if replied else (end, speaker)
                found += [(("pattern", i), *drawn, *reply, *more) for more in whole(then, next_speaker)]
        return found

    dialogue = words[:2] == [speakers[0], ":"]
    begins = picked("dialogue", "yes" if dialogue else "no")
    every = whole(2, 0) if dialogue else whole(0, None)
    return Counter(tuple(sorted(Counter((*begins, *drawn)).items())) for drawn in every)
