"""Pre-training on text files: a byte-level tokenizer and a small GPT-2 that the rest can load."""

import json
from dataclasses import replace
from random import Random

import numpy as np
import pytest
import torch

from dpotox.errors import UserError
from dpotox.inputs.language import Language
from dpotox.inputs.networks import load_network, load_tokenizer
from dpotox.inputs.pretraining import (
    byte_pair_tokenizer,
    generated_documents,
    pretrain_into,
    text_corpus,
    text_loss,
)
from dpotox.profile import load_profile

PROFILE = load_profile("mini")
SETTINGS = replace(
    PROFILE.pretraining,
    vocabulary=300,
    passes=2,
    layers=2,
    d_model=16,
    heads=2,
    d_mlp=32,
    words=15,
    dropout=0.1,
    warmup_steps=2,
)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    language, rng = Language(), Random(0)
    return [" ".join(language.sample(rng, 20).words) for _ in range(400)]


def test_the_byte_level_tokenizer_gives_back_any_text(texts):
    tokenizer = byte_pair_tokenizer(texts, 300)
    odd = "naïve \u2013 \u201cquoted\u201d 🙂\ttab"
    ids = tokenizer(odd)["input_ids"]
    assert ids[0] == tokenizer.eos_token_id
    assert tokenizer.decode(ids, skip_special_tokens=True) == odd
    assert len(tokenizer) == 300


def test_rows_hold_every_token_once_and_begin_with_eos(texts):
    corpus = text_corpus(texts, SETTINGS, 0)
    rows = [*corpus.rows, *corpus.unseen]
    assert {int(row[0]) for row in rows} == {corpus.tokenizer.eos_token_id}
    assert max(map(len, rows)) == 16
    tokens = sum(len(ids) for ids in corpus.tokenizer(texts, add_special_tokens=False)["input_ids"])
    assert sum(len(row) - 1 for row in rows) == tokens
    assert 0.03 < len(corpus.unseen) / len(rows) < 0.08


def test_a_model_of_text_files_is_made_loaded_and_better_than_token_frequencies(texts, tmp_path):
    pretrain_into(tmp_path, SETTINGS, 0, texts)
    network = load_network(tmp_path, "", PROFILE.compute)
    tokenizer = load_tokenizer(tmp_path)
    report = json.loads((tmp_path / "loss.json").read_text())
    assert network.config.vocab_size == len(tokenizer) == 300
    assert network.config.n_inner == 32
    assert report["bound"] is None
    assert report["loss"] < report["unigram"]


def test_the_loss_of_rows_of_many_lengths_is_the_mean_over_their_tokens(network):
    rows = [torch.tensor([0, 5, 6]), torch.tensor([0, 7]), torch.tensor([0, 8, 9, 10, 11])]
    with torch.no_grad():
        each = [
            torch.nn.functional.cross_entropy(network(row[None]).logits[0, :-1], row[1:], reduction="sum")
            for row in rows
        ]
    assert text_loss(network, rows).loss == pytest.approx(float(sum(each)) / 7, abs=1e-4)
    assert text_loss(network, rows).unigram == pytest.approx(np.log(7))


def test_too_few_texts_are_refused(texts):
    with pytest.raises(UserError, match="99 texts"):
        text_corpus(texts[:99], SETTINGS, 0)


def test_documents_to_train_on_are_not_those_to_test_on():
    train, unseen = generated_documents(replace(SETTINGS, rows=200, words=30), 0)
    assert not {tuple(d.words) for d in train} & {tuple(d.words) for d in unseen}
