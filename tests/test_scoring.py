"""What says how toxic a text is, and that no score is lost or asked for twice."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from repositories import SMALL
from sklearn.metrics import roc_auc_score
from transformers import BertConfig, BertForSequenceClassification

from dpotox.errors import UserError
from dpotox.inputs import data
from dpotox.inputs.language import Language
from dpotox.inputs.pretraining import word_tokenizer
from dpotox.inputs.scoring import classifier, own_function, train
from dpotox.profile import load_profile
from dpotox.run.plan import Plan
from dpotox.run.scores import remembered
from dpotox.run.study import Study

MINI = load_profile("mini")
TEXTS = ["the soup seems spicy .", "we bake our fresh bread", "another oven"]


def save_classifier(folder, labels: list[str], kind: str | None = None) -> str:
    tokenizer = word_tokenizer(Language().vocabulary)
    config = BertConfig(
        vocab_size=len(tokenizer),
        **SMALL,
        id2label=dict(enumerate(labels)),
        initializer_range=1.0,
        problem_type=kind,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.padding_side = "right"  # as BERT's, whose positions count from the left
    tokenizer.save_pretrained(folder)
    return str(folder)


def logits_plainly(folder: str) -> np.ndarray:
    model = BertForSequenceClassification.from_pretrained(folder)
    tokenizer = word_tokenizer(Language().vocabulary)
    with torch.no_grad():
        return np.stack([model(**tokenizer(t, return_tensors="pt")).logits[0].numpy() for t in TEXTS])


def test_a_classifier_of_many_labels_gives_the_largest_toxic_one(tmp_path):
    folder = save_classifier(tmp_path, ["polite", "toxic", "insult"])
    expected = 1 / (1 + np.exp(-logits_plainly(folder)[:, 1:]))
    assert np.allclose(classifier(folder, device="cpu")(TEXTS), expected.max(1), atol=1e-5)


def test_a_classifier_that_chooses_gives_the_summed_probability_of_its_toxic_labels(tmp_path):
    folder = save_classifier(tmp_path, ["neutral", "toxic", "insult"], "single_label_classification")
    exp = np.exp(logits_plainly(folder))
    expected = exp[:, 1:].sum(1) / exp.sum(1)
    assert np.allclose(classifier(folder, device="cpu")(TEXTS), expected, atol=1e-5)


@pytest.mark.parametrize("labels", [["LABEL_0", "LABEL_1"], ["neutral", "toxic"]])
def test_a_classifier_of_two_labels_chooses_between_them(tmp_path, labels):
    folder = save_classifier(tmp_path, labels)
    logits = logits_plainly(folder)
    expected = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
    assert np.allclose(classifier(folder, device="cpu")(TEXTS), expected, atol=1e-5)


def test_a_classifier_without_a_toxic_label_is_refused(tmp_path):
    with pytest.raises(UserError, match="happy"):
        classifier(save_classifier(tmp_path, ["happy", "sad", "angry"]), device="cpu")


def test_a_model_that_was_not_trained_to_classify_is_refused(tmp_path):
    folder = save_classifier(tmp_path, ["neutral", "toxic"])
    BertForSequenceClassification.from_pretrained(folder).bert.save_pretrained(folder)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["id2label"]["1"] == "toxic"
    with pytest.raises(UserError, match=r"lacks 2 tensors, first 'classifier\.bias'"):
        classifier(folder, device="cpu")


def test_a_classifier_that_is_not_there_is_named(tmp_path):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(UserError, match="nothing"):
        classifier(str(tmp_path / "nothing"))


def test_a_trained_scorer_tells_toxic_from_other_comments():
    small = replace(MINI, sizes=replace(MINI.sizes, comments=2_000))
    score = train(*data.other_comments(small, 0))
    texts, toxic = data.comments(small, 0)
    assert roc_auc_score(toxic, score(texts)) > 0.9


def test_a_scorer_is_trained_on_comments_that_the_probe_does_not_use(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text(
        "comment_text,toxic\n" + "".join(f'"comment number {i}",{int(i % 2)}\n' for i in range(600))
    )
    given = replace(
        MINI, data=replace(MINI.data, comments=str(path)), sizes=replace(MINI.sizes, comments=200)
    )
    probe, scorer = set(data.comments(given, 0)[0]), set(data.other_comments(given, 0)[0])
    assert len(probe) == 200
    assert len(scorer) == 400
    assert not probe & scorer
    with pytest.raises(UserError, match=r"sizes\.comments"):
        data.other_comments(replace(given, sizes=replace(MINI.sizes, comments=550)), 0)


def scorer_of(profile, folder):
    """A study's scorer, which keeps its scores in the folder."""
    return Study(Plan(profile, 0, folder / "profile" / "seed0")).score


def test_a_function_of_ones_own_is_a_scorer(tmp_path):
    (tmp_path / "mine.py").write_text(
        "def longer(texts):\n    return [min(1, len(t) / 100) for t in texts]\n"
    )
    (tmp_path / "p.toml").write_text('extends = "mini"\n[scorer]\nname = "mine.py:longer"\n')
    score = scorer_of(load_profile(str(tmp_path / "p.toml")), tmp_path)
    assert score(["a" * 50, "b" * 10]).tolist() == [0.5, 0.1]


@pytest.mark.parametrize(
    ("content", "function", "message"),
    [
        (None, "f", "no file"),
        ("x = 1\n", "f", "defines no function 'f'"),
        ("f = 1\n", "f", "defines no function 'f'"),
        ("1 / 0\n", "f", "ZeroDivisionError"),
        ("open('missing.txt')\n", "f", "failed with FileNotFoundError"),
        ("{}['KEY']\n", "f", "failed with KeyError"),
    ],
)
def test_a_function_that_cannot_be_had_is_named(tmp_path, content, function, message):
    path = tmp_path / "mine.py"
    if content:
        path.write_text(content)
    with pytest.raises(UserError, match=message) as error:
        own_function(str(path), function)
    assert "mine.py" in str(error.value)


def test_a_scorer_that_fails_is_one_line_and_keeps_its_scores(tmp_path):
    (tmp_path / "mine.py").write_text(
        "done = []\ndef f(texts):\n    done.append(1)\n    assert len(done) < 2, 'quota'\n"
        "    return [0.5] * len(texts)\n"
    )
    profile = replace(MINI, scorer=replace(MINI.scorer, name=f"{tmp_path}/mine.py:f"))
    with pytest.raises(UserError, match=r"failed with AssertionError: quota.*kept"):
        scorer_of(profile, tmp_path)([f"text {i}" for i in range(100)])
    assert scorer_of(profile, tmp_path)(["text 0", "text 9"]).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("body", ["[0.5]", "[2.0 for t in texts]", "[float('nan') for t in texts]"])
def test_a_scorer_must_give_one_number_from_0_to_1_per_text(tmp_path, body):
    (tmp_path / "mine.py").write_text(f"def f(texts):\n    return {body}\n")
    profile = replace(MINI, scorer=replace(MINI.scorer, name=f"{tmp_path}/mine.py:f"))
    with pytest.raises(UserError, match="one number"):
        scorer_of(profile, tmp_path)(["a", "b"])


def test_an_interruption_loses_no_score_and_no_text_is_scored_twice(tmp_path):
    asked: list[str] = []

    def score(texts):
        if len(asked) >= 128:
            raise KeyboardInterrupt
        asked.extend(texts)
        return np.array([len(t) / 1000 for t in texts])

    texts = [f"text {i}" for i in range(200)]
    with pytest.raises(KeyboardInterrupt):
        remembered(score, "one", tmp_path / "scores.sqlite")(texts * 2)
    first, asked = asked, []
    again = remembered(score, "one", tmp_path / "scores.sqlite")(texts * 2)
    assert len(first) == 128
    assert sorted(first + asked) == sorted(texts)
    assert again.tolist() == [len(t) / 1000 for t in texts * 2]


def test_scores_of_another_scorer_are_not_taken(tmp_path):
    path = tmp_path / "scores.sqlite"
    assert remembered(lambda t: np.array([0.1]), "one", path)(["a"]) == [0.1]
    assert remembered(lambda t: np.array([0.9]), "two", path)(["a"]) == [0.9]


def test_damaged_scores_are_named(tmp_path):
    path = tmp_path / "scores.sqlite"
    path.write_text(json.dumps("not a database") * 100)
    with pytest.raises(UserError, match=r"scores\.sqlite.*remove"):
        remembered(lambda t: np.array([0.1]), "one", path)(["a"])
