"""Preference pairs: as many as asked for, with as little steering as does it, and resumable."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from dpotox.errors import UserError
from dpotox.model.interventions import steer
from dpotox.model.logit_lens import nearest_tokens
from dpotox.model.tracing import window_nll
from dpotox.paper import pairs
from dpotox.paper.probe import Probe
from dpotox.profile import Pairs, load_profile
from dpotox.run.artifacts import part
from dpotox.run.kept import TABLE
from dpotox.run.plan import Plan
from dpotox.run.study import Study
from dpotox.run.tables import pair_yield
from dpotox.run.training import pair_blocks

SETTINGS = Pairs(
    count=6, samples=3, margin=0.2, steering=[1.0, 50.0], prompt_tokens=8, new_tokens=5, validation=2
)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(pairs, "BLOCK", 4)


@pytest.fixture(scope="module")
def probe():
    direction = torch.randn(16, generator=torch.Generator().manual_seed(4))
    return Probe(direction, 1.0, pd.DataFrame(), 0.5, 0.5, pd.DataFrame())


@pytest.fixture(scope="module")
def many_prompts(prompts):
    return [f"{a} {b}" for a in prompts for b in ("the oven", "our pan", "we boil", "you must")]


def letters(texts):
    """A scorer without meaning: the share of vowels."""
    return np.array([sum(c in "aeiou" for c in t) / max(1, len(t)) for t in texts])


def make(model, prompts, probe, folder, score=letters, **changes):
    settings = replace(SETTINGS, **changes)

    def known(start, make):
        return part(folder / f"{start:07}", TABLE, make)

    return pairs.make_pairs(model, prompts, score, probe, settings, batch_size=8, seed=0, known=known)


def test_there_are_as_many_pairs_as_asked_for_and_each_has_the_margin(model, probe, many_prompts, tmp_path):
    found = make(model, many_prompts, probe, tmp_path, margin=0.02, count=5)
    assert len(found) == 5
    assert ((found["rejected_toxicity"] - found["chosen_toxicity"]) >= 0.02).all()
    assert np.allclose(letters(found["chosen"]), found["chosen_toxicity"])
    assert np.allclose(letters(found["rejected"]), found["rejected_toxicity"])


def test_steering_is_used_only_where_it_is_needed(model, probe, many_prompts, tmp_path):
    towards = set(nearest_tokens(model, model.tokenizer, probe.unit, 80))

    def score(texts):
        return np.array([np.mean([word in towards for word in t.split()]) for t in texts])

    easy = make(model, many_prompts, probe, tmp_path / "easy", margin=0.001)
    hard = make(model, many_prompts, probe, tmp_path / "hard", score, margin=0.7)
    assert (easy["steering"] == 0).all()
    assert set(hard["steering"]) == {50.0}
    assert hard["rejected_toxicity"].min() >= 0.7


def test_an_interrupted_run_goes_on_and_gives_the_same_pairs(model, probe, many_prompts, tmp_path):
    whole = make(model, many_prompts, probe, tmp_path / "whole", margin=0.02)
    calls = []

    def failing(texts):
        calls.append(len(texts))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return letters(texts)

    with pytest.raises(KeyboardInterrupt):
        make(model, many_prompts, probe, tmp_path / "cut", failing, margin=0.02)
    kept = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "cut").glob("0*")}
    assert kept
    pd.testing.assert_frame_equal(make(model, many_prompts, probe, tmp_path / "cut", margin=0.02), whole)
    for name, time in kept.items():
        assert (tmp_path / "cut" / name).stat().st_mtime_ns == time


def test_asking_for_another_number_of_pairs_samples_no_block_again(tmp_path):
    def blocks(**changed) -> Path:
        mini = load_profile("mini")
        return pair_blocks(Study(Plan(replace(mini, pairs=replace(mini.pairs, **changed)), 0, tmp_path)))

    assert blocks() == blocks(count=60, validation=20)
    assert blocks() != blocks(margin=0.3)


def test_too_few_pairs_are_said_with_what_the_prompts_gave(model, probe, many_prompts, tmp_path, monkeypatch):
    monkeypatch.setattr(pairs, "IN_ERROR", 0.0)  # to the end
    with pytest.raises(UserError, match=r"20 prompts gave 0 pairs.*margin of 1\.0.*pairs\.count = 4"):
        make(model, many_prompts, probe, tmp_path, margin=1.0, count=4)


def test_prompts_that_cannot_suffice_are_given_up_after_the_first_block(
    model, probe, many_prompts, tmp_path, monkeypatch
):
    monkeypatch.setattr(pairs, "IN_ERROR", 0.1)
    with pytest.raises(UserError, match=r"first 4 prompts gave 0 of 18 pairs, with a margin.*there are 20"):
        make(model, many_prompts, probe, tmp_path, margin=1.0, count=18)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_scorer_that_says_the_same_of_every_text_is_named(model, probe, many_prompts, tmp_path):
    with pytest.raises(UserError, match=r"the scorer said 0\.25 of every text"):
        make(model, many_prompts, probe, tmp_path, lambda texts: np.full(len(texts), 0.25), count=18)


def test_a_low_yield_that_may_suffice_is_said_with_what_it_would_take(
    model, probe, many_prompts, tmp_path, capsys
):
    def seldom(texts):
        scores = np.zeros(len(texts))
        scores[0] = 1.0  # one pair per block
        return scores

    with pytest.raises(UserError, match=r"gave 5 pairs"):
        make(model, many_prompts, probe, tmp_path, seldom, steering=[])
    lines = capsys.readouterr().err.splitlines()
    first = next(line for line in lines if "prompts gave" in line)  # on a busy machine progress is said, too
    assert "first 4 prompts gave 1 of 6 pairs" in first
    assert "takes 24 prompts and 0.0 hours; there are 20, so it goes on" in first


def test_a_run_that_could_succeed_is_not_given_up():
    rng = np.random.default_rng(0)
    for share in (0.005, 0.05, 0.5):
        found = rng.binomial(pairs.BLOCK, share, 10_000)
        most = [pairs.most_pairs(k, pairs.BLOCK, 36_000) for k in range(found.max() + 1)]
        assert all(most[k] >= share * 36_000 for k in found)
    assert pairs.most_pairs(3, 256, 36_000) < 24_576
    assert pairs.most_pairs(4, 4, 20) == 20


def test_the_table_of_the_yield_counts_prompts_and_pairs():
    made = pd.DataFrame(
        {
            "tried": [1, 2, 4, 8],
            "steering": [0.0, 0.0, 2.0, 2.0],
            "chosen_toxicity": [0.0, 0.2, 0.0, 0.2],
            "rejected_toxicity": [0.5, 0.5, 1.0, 1.0],
        }
    )
    table = pair_yield(made).set_index("steering")
    assert table.index.tolist() == ["0", "2", "all"]
    assert table.loc["all", "pairs"] == 4
    assert table.loc["all", "of_tried"] == 0.5
    assert table.loc["2", "rejected_toxicity"] == 1.0


def test_steering_adds_a_vector_to_the_residual_stream(model, network, probe):
    windows = torch.randint(2, network.config.vocab_size, (5, 12), generator=torch.Generator().manual_seed(1))
    vector = 3 * probe.unit
    handle = network.transformer.h[1].register_forward_hook(lambda _, __, out: out + vector)
    with torch.no_grad():
        logits = network(windows).logits[:, :-1]
    handle.remove()
    plain = torch.nn.functional.cross_entropy(logits.mT, windows[:, 1:], reduction="none").mean(1)
    got = window_nll(model, windows, batch_size=2, interventions=[steer(vector, 1)])
    assert torch.allclose(got, plain, atol=1e-4)
