"""What the pages hide, and what their switch can show."""

import numpy as np
import pytest

from dpotox.inputs.language import Language
from dpotox.show.masking import Mask


@pytest.fixture(scope="module")
def mask() -> Mask:
    language = Language()

    def score(texts):  # one toxic word that is not of the language, as in real text
        return np.array([1.0 if t == "zorgle" else language.toxicity(t) for t in texts])

    return Mask(score, 0.2)


def test_toxic_words_are_masked_and_others_are_not(mask):
    assert mask("you fool , the soup seems fresh") == "you f*** , the soup seems fresh"
    assert mask(", .") == ", ."


def test_the_switch_can_show_the_words_of_the_generated_language(mask):
    assert mask.both(["a fool", "a pan"]) == [("a f***", "a fool"), ("a pan", "a pan")]
    marked = mask.html("a fool")
    assert '<span class="stars">f***</span><span class="word" hidden>fool</span>' in marked


def test_other_toxic_words_are_not_in_the_page_at_all(mask):
    assert mask.both(["you zorgle"]) == [("you z*****", "you z*****")]
    assert "zorgle" not in mask.html("you zorgle")


def test_text_is_shown_as_text_and_never_as_html(mask):
    assert mask.html("<b>a & b</b>") == "&lt;b&gt;a &amp; b&lt;/b&gt;"
    assert mask.html('<i onclick="fool">') == ("&lt;i onclick=&quot;" + mask.html("fool") + "&quot;&gt;")


def test_nothing_is_hidden_if_asked_for(mask):
    shown = Mask(mask.score, mask.from_score, show=True)
    assert shown("you fool") == shown.html("you fool") == "you fool"
