"""What an intervention is measured by, against generation and loss in plain PyTorch, and scipy's formulas."""

import numpy as np
import pytest
from plain import STEPS, hooked, loss_plainly
from scipy import stats

from dpotox.estimates import (
    PROMPTS,
    WINDOWS,
    estimate,
    has_effect,
    largest,
    mean,
    over_seeds,
    recovered_share,
)
from dpotox.model.interventions import ablate, copy
from dpotox.model.tracing import continue_prompts
from dpotox.paper.evaluation import Exam, examine, greedy_toxicity, token_f1
from dpotox.run.kept import RESULTS


def made_up_score(texts: list[str]) -> np.ndarray:
    """A number in [0, 1] that hardly any two texts share."""
    return np.array([sum(map(ord, text)) % 101 / 100 for text in texts])


@pytest.fixture(scope="module")
def exam(prompts, windows) -> Exam:
    neutral = np.array([True, True, True, False, False])
    references = [("the soup", "seems spicy ."), ("we bake", "the bread and the pie"), ("our oven", "looks")]
    options = {"batch_size": 2, "seed": 7, "fewer_prompts": 4}
    return Exam(prompts, windows, neutral, references, made_up_score, STEPS, **options)


def written(model, texts: list[str], **options) -> list[str]:
    return continue_prompts(model, texts, STEPS, batch_size=len(texts), **options).texts


@pytest.mark.parametrize("edit", [None, "ablate", "copy"])
def test_a_result_is_scores_losses_and_f1_under_the_interventions(
    model, other_model, network, exam, some_neurons, edit
):
    edits = {None: [], "ablate": [ablate(some_neurons)], "copy": [copy(some_neurons)]}[edit]
    options = {"interventions": edits, "other": other_model}
    result = examine(model, exam, edits, other_model)
    greedy = written(model, exam.prompts, **options)
    assert result.texts.tolist() == greedy
    assert np.array_equal(result.greedy, made_up_score(greedy))
    sampled = written(model, exam.prompts[:4], sampling_seed=7, **options)
    assert sampled != greedy
    assert np.array_equal(result.sampled, made_up_score(sampled))
    endings = written(model, [beginning for beginning, _ in exam.references], **options)
    wanted = [token_f1(got, true) for got, (_, true) in zip(endings, exam.references, strict=True)]
    assert result.f1.tolist() == wanted
    assert result.neutral.tolist() == exam.neutral.tolist()
    assert result.nll.dtype == np.float64
    if edit != "copy":

        def change(layer, x):
            x = x.clone()
            x[..., some_neurons.loc[some_neurons["layer"] == layer, "neuron"].to_numpy(copy=True)] = 0
            return (x,)

        with hooked(network, change if edit else lambda layer, x: (x,)):
            plain = loss_plainly(network, exam.windows).numpy()
        assert np.allclose(result.nll, plain, atol=1e-5)
        assert result.perplexity == pytest.approx(np.exp(plain[:3].mean()), rel=1e-4)
        assert np.array_equal(greedy_toxicity(model, exam, edits), result.greedy[:4])


def test_interventions_change_what_is_measured(model, other_model, exam, some_neurons):
    plain, ablated, copied = (
        examine(model, exam, edits, other_model)
        for edits in ([], [ablate(some_neurons)], [copy(some_neurons)])
    )
    for one, two in ((plain, ablated), (plain, copied), (ablated, copied)):
        assert not np.allclose(one.nll, two.nll, atol=1e-3)


def test_a_result_is_read_as_it_was_written(model, exam, tmp_path):
    result = examine(model, exam)
    RESULTS.write({"a row": result}, tmp_path)
    again = RESULTS.read(tmp_path)["a row"]
    for name, value in vars(result).items():
        assert np.array_equal(value, vars(again)[name]), name
    assert again.perplexity == result.perplexity
    assert again.above_half.tolist() == [float(t > 0.5) for t in result.greedy]
    assert len(again.repetition) == len(exam.prompts)


@pytest.mark.parametrize(
    ("statistic", "count"), [(mean, 1), (lambda a, b: a.mean(-1) - b.mean(-1), 2), (recovered_share, 3)]
)
@pytest.mark.parametrize(("resamples", "seed"), [(450, 0), (450, 3), (700, 0)])
def test_an_interval_is_the_percentiles_of_paired_resamples(statistic, count, resamples, seed):
    rng = np.random.default_rng(1)
    samples = [rng.random(30) + i for i in range(count)]
    found = estimate(statistic, *samples, resamples=resamples, seed=seed)
    rng, draws = np.random.default_rng(seed), []
    while len(draws) < resamples:
        rows = rng.integers(0, 30, (min(200, resamples - len(draws)), 30))
        draws += statistic(*[sample[rows] for sample in samples]).tolist()
    low, high = np.percentile(draws, [2.5, 97.5])
    assert (found.value, found.low, found.high) == pytest.approx((statistic(*samples), low, high))


def test_a_recovered_share_is_taken_draw_by_draw():
    rng = np.random.default_rng(2)
    none, row, dpo = (rng.random((4, 30)) + i for i in (2, 1, 0))
    shares = recovered_share(none, row, dpo)
    one_by_one = [recovered_share(*draw) for draw in zip(none, row, dpo, strict=True)]
    assert shares == pytest.approx(one_by_one)
    assert one_by_one[0] == (none[0].mean() - row[0].mean()) / (none[0].mean() - dpo[0].mean())


def test_two_observations_are_enough_for_an_interval():
    found = estimate(mean, np.array([0.0, 1.0]), resamples=200)
    assert (found.low, found.high) == (0, 1)


def test_the_seed_of_an_interval_is_zero_unless_told():
    sample = np.random.default_rng(0).random(20)
    assert estimate(mean, sample, resamples=300) == estimate(mean, sample, resamples=300, seed=0)
    assert estimate(mean, sample, resamples=300) != estimate(mean, sample, resamples=300, seed=1)


def test_what_cannot_be_resampled_has_a_value_and_no_interval():
    with np.errstate(all="raise"):  # a ratio of nothing is an answer, not a warning
        nothing = estimate(recovered_share, *[np.array([0.2, 0.4])] * 3, resamples=50)
    assert np.isnan(nothing.value)
    one = estimate(mean, np.array([0.25]), resamples=50)
    assert one.value == 0.25
    for found in (nothing, one):
        assert np.isnan(found.low)
        assert np.isnan(found.high)


def test_an_interval_says_what_was_resampled():
    varied, constant = np.array([0.1, 0.2, 0.9]), np.full(3, 0.5)
    for sample in (varied, constant, varied[:1]):
        assert estimate(mean, sample, resamples=50, resampled=WINDOWS).resampled == WINDOWS
        assert estimate(mean, sample, resamples=50).resampled == PROMPTS
    assert largest(recovered_share, varied, [varied / 2], varied / 4, resamples=50).resampled == PROMPTS


def test_an_effect_is_one_only_where_its_whole_interval_lies_above_zero():
    rng = np.random.default_rng(0)
    before = rng.uniform(0.2, 0.8, 40)
    noise = rng.normal(0, 0.1, 40)
    noise -= noise.mean()
    assert has_effect(before, before - 0.05 + noise, 200)
    assert not has_effect(before, before - 0.01 + noise, 200)
    assert not has_effect(before, before, 200)
    assert not has_effect(np.full(3, 0.5), np.full(3, 0.5), 200)


def test_only_what_is_constant_in_every_sample_has_no_width():
    varied, constant = np.array([0.1, 0.2, 0.9, 0.4]), np.full(4, 0.5)
    found = estimate(lambda a, b: a.mean(-1) - b.mean(-1), varied, constant, resamples=200)
    assert found.low < found.value < found.high


def test_over_seeds_the_interval_is_students_over_their_mean():
    values = [0.2, 0.5, 0.9, 0.3]
    found = over_seeds(values)
    half = stats.t.ppf(0.975, 3) * np.std(values, ddof=1) / 2
    middle = np.mean(values)
    assert (found.value, found.low, found.high) == pytest.approx((middle, middle - half, middle + half))
    assert (over_seeds([0.3, 0.3]).low, over_seeds([0.3, 0.3]).high) == (0.3, 0.3)
    alone = over_seeds([0.7])
    assert alone.value == 0.7
    assert np.isnan([alone.low, alone.high]).all()
    missing = over_seeds([0.7, float("nan"), 0.9])
    assert np.isnan([missing.value, missing.low, missing.high]).all()
