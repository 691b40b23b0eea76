import numpy as np
import pytest
import torch

from dpotox.errors import UserError
from dpotox.estimates import estimate, mean, recovered_share
from dpotox.inputs.language import Language
from dpotox.inputs.pretraining import word_tokenizer
from dpotox.inputs.windows import exam_windows
from dpotox.paper.evaluation import repeated_pairs, token_f1
from dpotox.profile import Sizes


@pytest.mark.parametrize(
    ("predicted", "reference", "f1"),
    [
        ("the cat sat", "the cat sat", 1),
        ("the cat", "a dog", 0),
        ("the the cat", "the cat", 0.8),
        ("The Cat", "the cat", 1),
        ("", "the", 0),
    ],
)
def test_f1_counts_words_in_common_with_repetition(predicted, reference, f1):
    assert token_f1(predicted, reference) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("text", "share"), [("a b c d", 0), ("a b a b a", 0.5), ("a a a a a", 0.75), ("a", 0), ("", 0)]
)
def test_repetition_is_the_share_of_word_pairs_seen_before(text, share):
    assert repeated_pairs(text) == pytest.approx(share)


def test_neutral_windows_come_first_and_others_fill_what_is_left():
    tokenizer, sizes = word_tokenizer(Language().vocabulary), Sizes(text_windows=6, window_tokens=4)
    neutral, other = ["the soup and the pan and"], ["our oven the soup and the grill the pan and"]
    windows, is_neutral = exam_windows(tokenizer, neutral, other * 9, sizes)
    assert is_neutral.tolist() == [True] * 2 + [False] * 4
    assert exam_windows(tokenizer, neutral, ["the"], sizes)[1].all()
    assert len(windows) == 6


@pytest.mark.parametrize(("wanted", "others"), [(1, 1), (3, 1), (8, 2), (12, 3), (13, 4), (20, 11)])
def test_other_text_fills_up_or_has_a_quarter_and_at_least_one_window(wanted, others):
    tokenizer, sizes = word_tokenizer(Language().vocabulary), Sizes(text_windows=wanted, window_tokens=4)
    neutral, other = ["the soup and the"] * 9, ["our oven and the"] * 30
    windows, is_neutral = exam_windows(tokenizer, neutral, other, sizes)
    assert (~is_neutral).sum() == others
    assert is_neutral.sum() == min(wanted, 9)
    assert len(windows) == len(is_neutral)


def test_the_interval_of_a_mean_is_about_two_standard_errors_wide():
    sample = np.random.default_rng(0).normal(size=400)
    found = estimate(mean, sample, resamples=2_000)
    assert found.low < found.value < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 / 20, rel=0.15)


def test_a_constant_sample_has_no_width():
    found = estimate(mean, np.full(10, 0.3), resamples=100)
    assert (found.value, found.low, found.high) == pytest.approx((0.3, 0.3, 0.3))


def test_intervals_are_the_same_every_time():
    sample = np.random.default_rng(0).normal(size=50)
    assert estimate(mean, sample, resamples=200) == estimate(mean, sample, resamples=200)


def test_the_recovered_share_is_zero_for_nothing_and_one_for_dpo():
    rng = np.random.default_rng(0)
    none = rng.random(300)
    dpo = none * 0.3
    for row, expected in ((none, 0), (dpo, 1), ((none + dpo) / 2, 0.5), (none * 1.7, -1)):
        found = estimate(recovered_share, none, row, dpo, resamples=200)
        assert found.value == pytest.approx(expected)
        assert found.low <= expected + 1e-9
        assert found.high >= expected - 1e-9


def test_paired_intervals_are_narrower_than_the_noise_they_share():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=200)
    difference = estimate(
        lambda a, b: a.mean(-1) - b.mean(-1), noise + 1, noise + 0.01 * rng.normal(size=200), resamples=500
    )
    assert difference.high - difference.low < 0.02


def test_windows_are_equally_long_and_as_many_as_asked():
    tokenizer = word_tokenizer(Language().vocabulary)
    texts = ["the soup and the pan and the pie", "the", "our oven the soup and the grill"]
    windows, _ = exam_windows(tokenizer, texts, [], Sizes(text_windows=3, window_tokens=4))
    assert windows.shape == (3, 4)
    assert torch.equal(windows[0], tokenizer(texts[0], return_tensors="pt")["input_ids"][0, :4])
    with pytest.raises(UserError, match="window_tokens"):
        exam_windows(tokenizer, texts, [], Sizes(text_windows=3, window_tokens=40))
