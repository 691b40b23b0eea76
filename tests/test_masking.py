"""What is hidden for good before a text is kept, and what the pages hide and their switch can show."""

import re

import numpy as np
import pandas as pd
import pytest

from dpotox.inputs.language import Language
from dpotox.inputs.masking import Masking
from dpotox.results.folder import Results, write_table
from dpotox.show.masking import Mask


@pytest.fixture
def masking() -> Masking:
    language = Language()

    def score(texts):  # one toxic word that is not of the language, as in real text
        return np.array([1.0 if t == "zorgle" else language.toxicity(t) for t in texts])

    return Masking(score, 0.2)


# Before a text is kept


def test_toxic_words_are_hidden_for_good_and_others_are_not(masking):
    assert masking.texts(["you zorgle , the soup", ", .", ""]) == ["you z***** , the soup", ", .", ""]
    assert masking.texts(["(zorgle)zorgles"]) == ["(z*****)zorgles"]
    assert masking.mild == set()


def test_mild_words_stay_and_are_listed(masking):
    assert masking.texts(["a fool", "a pan"]) == ["a fool", "a pan"]
    assert masking.mild == {"fool"}


def test_no_text_asks_for_no_score():
    masking = Masking(lambda texts: 1 / 0, 0.2)
    assert masking.texts([", .", ""]) == [", .", ""]
    assert masking.pieces([]) == []
    assert masking.toxic([]) == 0


def test_words_are_toxic_from_the_score_on(masking):
    masking.score = lambda texts: np.array([{"low": 0.19, "even": 0.2, "high": 0.3}[t] for t in texts])
    assert masking.toxic(["low", "even", "high"]) == 2
    assert masking.texts(["low even high"]) == ["low e*** h***"]


def test_a_toxic_word_in_two_pieces_is_hidden_in_both(masking):
    assert masking.pieces(["you", " zor", "gle", " ."]) == ["you", " z**", "***", " ."]
    assert masking.pieces(["you zor", "gle"]) == ["you z**", "***"]


def test_a_word_whose_pieces_are_toxic_is_hidden_as_they_come_one_by_one(masking):
    for texts in (["a ", "zorgle", "y"], ["a ", "un", "zorgle"], ["a ", "zor", "gle", "ry"]):
        kept = masking.pieces(texts)
        assert "zorgle" not in "".join(kept)
        assert [len(piece) for piece in kept] == [len(text) for text in texts]
    assert masking.pieces(["foo", "led"]) == ["foo", "led"]


def test_a_mild_word_in_pieces_stays_unless_it_is_part_of_another(masking):
    assert masking.pieces(["a ", "fo", "ol"]) == ["a ", "fo", "ol"]
    assert masking.mild == {"fool"}
    assert masking.pieces(["a ", "fool", "ery"]) == ["a ", "f***", "***"]


# In the pages


@pytest.fixture
def mask(masking, tmp_path) -> Mask:
    """That of results in which two texts were kept."""
    masking.texts(["you fool", "you zorgle"])
    write_table(tmp_path, "mild_words", pd.DataFrame({"word": sorted(masking.mild)}))
    return Mask.of(Results(tmp_path))


def test_mild_words_are_hidden_and_others_are_not(mask):
    assert mask("you fool , the soup seems fresh") == "you f*** , the soup seems fresh"
    assert mask("foolery , .") == "foolery , ."


def test_the_switch_can_show_mild_words(mask):
    assert mask.segments("a fool") == [("a ", "a ", False), ("f***", "fool", True)]
    assert mask.segments("a pan") == [("a pan", "a pan", False)]
    marked = mask.html("a fool")
    assert marked.startswith('a <span class="masked"><span class="stars">f***</span>')
    assert '<span class="word" hidden>fool</span>' in marked


def test_words_that_were_hidden_before_are_marked_and_there_is_nothing_to_show(mask):
    assert mask.segments("you z*****!") == [
        ("you ", "you ", False),
        ("z*****", "z*****", True),
        ("!", "!", False),
    ]
    assert mask.html("you z*****") == 'you <span class="masked">z*****</span>'
    assert mask("you z*****") == "you z*****"


def test_text_is_shown_as_text_and_never_as_html(mask):
    assert mask.html("<b>a & b</b>") == "&lt;b&gt;a &amp; b&lt;/b&gt;"
    assert mask.html('<i onclick="fool">') == ("&lt;i onclick=&quot;" + mask.html("fool") + "&quot;&gt;")
    assert not re.search("<(?!/?span)", mask.html("<img src=x> fool <script> z**"))


def test_what_is_shown_in_the_end_is_the_text(mask):
    for text in ("", "a fool & a pan", "z***** fool, fool."):
        assert "".join(shown for _, shown, _ in mask.segments(text)) == text
