import math
from random import Random

import numpy as np
import pytest

from dpotox.inputs.language import Document, Language

LANGUAGE = Language()


def test_equal_seeds_give_equal_documents():
    assert LANGUAGE.sample(Random("a")) == LANGUAGE.sample(Random("a"))
    assert LANGUAGE.sample(Random("a")) != LANGUAGE.sample(Random("b"))


def test_documents_have_the_length_asked_for_and_known_words():
    for seed in range(50):
        words = LANGUAGE.sample(Random(seed), 31).words
        assert len(words) == 31
        assert set(words) <= set(LANGUAGE.vocabulary)


def test_every_choice_is_a_distribution_for_every_trait():
    for name, choice in LANGUAGE.choices.items():
        total = np.exp(choice.log_prob).sum(axis=1)
        assert np.allclose(total, 1), name


def test_toxicity_follows_from_severities():
    severity = LANGUAGE.severity["fool"]
    assert LANGUAGE.toxicity("the soup") == 0
    assert LANGUAGE.toxicity("you fool") == pytest.approx(1 - math.exp(-1.2 * severity))
    assert LANGUAGE.toxicity("fool fool") == pytest.approx(1 - math.exp(-2.4 * severity))


def test_hostile_authors_are_more_toxic():
    def mean(level: float) -> float:
        rng = Random(0)
        texts = [" ".join(LANGUAGE.sample(rng, hostility=level).words) for _ in range(60)]
        return sum(map(LANGUAGE.toxicity, texts)) / len(texts)

    assert mean(0.0) < mean(0.5) < mean(1.0)


def test_a_hostility_that_is_no_level_is_refused():
    with pytest.raises(ValueError, match=r"0\.3"):
        LANGUAGE.sample(Random(0), hostility=0.3)


def test_nats_sums_over_the_hidden_traits():
    draws = [("dialogue", 0), ("pattern", 3), ("ADJ", 5)]
    document = Document([], 0.0, "cooking", "plain", draws, 3)
    probability = sum(
        prior * math.prod(math.exp(LANGUAGE.choices[c].log_prob[trait, o]) for c, o in draws)
        for trait, prior in enumerate(LANGUAGE.prior)
    )
    assert LANGUAGE.nats([document])[0] == pytest.approx(-math.log(probability))


def test_recorded_draws_spell_the_complete_sentences():
    document = LANGUAGE.sample(Random(7), 47)
    drawn = [LANGUAGE.choices[c].options[o] for c, o in document.draws]
    spelled = [w for name, w in zip([c for c, _ in document.draws], drawn, strict=True) if name.isupper()]
    kept = document.words[: document.complete]
    for word in filter(None, spelled):
        assert word in kept
