"""What is said before the work: everything that is wrong, and what it will take."""

import json
import re
import shutil
from collections import namedtuple
from random import Random
from types import SimpleNamespace
from typing import ClassVar

import httpx
import pytest
from conftest import TINY
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError
from test_scoring import save_classifier
from transformers import GPT2Config, GPT2LMHeadModel

from dpotox.errors import UserError
from dpotox.inputs.language import Language
from dpotox.inputs.pretraining import word_tokenizer
from dpotox.profile import Pretraining, load_profile
from dpotox.run import book, check, estimate, hub, measure
from dpotox.run import look_up as inputs
from dpotox.run.book import LONG
from dpotox.run.command import exit_status
from dpotox.run.study import open_study

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A model and texts of one's own, as small as they can be."""
    folder, language, rng = tmp_path_factory.mktemp("own"), Language(), Random(0)
    save_model(folder / "model", len(language.vocabulary) + 2)
    texts = [" ".join(language.sample(rng).words) for _ in range(520)]
    comments = "".join(f'"{text}",{i % 2}\n' for i, text in enumerate(texts[:300]))
    (folder / "comments.csv").write_text(f"comment_text,toxic\n{comments}")
    prompts = [json.dumps({"prompt": " ".join(text.split()[:9])}) for text in texts[500:]]
    (folder / "prompts.jsonl").write_text("\n".join(prompts))
    (folder / "test.txt").write_text("\n".join(texts[300:400]))
    (folder / "learn.txt").write_text("\n".join(texts[300:500]))
    return folder


def save_model(folder, vocabulary: int, kind=GPT2LMHeadModel):
    tokens = {"bos_token_id": 0, "eos_token_id": 0}
    config = GPT2Config(vocab_size=vocabulary, n_positions=64, n_embd=16, n_layer=2, n_head=2, **tokens)
    kind(config).save_pretrained(folder)
    word_tokenizer(Language().vocabulary).save_pretrained(folder)


def write_profile(files, folder, **changed) -> str:
    """The path of a profile of these files, with some keys changed; `model__base` is `base` of `[model]`."""
    keys = {
        "model__base": files / "model",
        "data__comments": files / "comments.csv",
        "data__prompts": files / "prompts.jsonl",
        "data__text": files / "test.txt",
        "data__references": files / "test.txt",
        "data__pair_text": files / "learn.txt",
        "scorer__name": "trained",
        "scorer__second": "",
        "sizes__comments": 80,
        "sizes__prompts": 20,
        "sizes__text_windows": 20,
        "sizes__references": 10,
        "pairs__count": 40,
        "pairs__validation": 16,
    } | changed
    sections: dict[str, list[str]] = {}
    for key, value in keys.items():
        section, _, name = key.partition("__")
        line = f"{name} = {json.dumps(value if isinstance(value, int) else str(value))}"
        sections.setdefault(section, []).append(line)
    path = folder / "own.toml"
    text = "\n".join(f"[{name}]\n" + "\n".join(lines) for name, lines in sections.items())
    path.write_text(f'extends = "mini"\n{text}\n')
    return str(path)


def problems(files, folder, **changed) -> list[str]:
    return inputs.look_at(load_profile(write_profile(files, folder, **changed)), 0).problems


def test_inputs_in_order_are_listed_and_cost_is_estimated(files, tmp_path, capsys):
    study = open_study(write_profile(files, tmp_path), 0, tmp_path)
    check.report(study)
    said, aside = capsys.readouterr()
    progress = re.compile(r".+: [\d,]+ of [\d,?]+ .+")  # which a busy machine says
    assert not [line for line in aside.splitlines() if not progress.fullmatch(line)]
    for key in ("model.base", "data.comments", "data.prompts", "data.pair_text", "scorer.name"):
        assert f"{key}: " in said
    assert "an estimate" in said
    for step in ("probe", "pairs", "dpo", "readings", "nulls", "table1", "notebooks", "memory", "disk"):
        assert step in said
    assert not list(tmp_path.glob("own/*"))  # nothing was made


def test_all_missing_files_are_named_at_once(files, tmp_path):
    missing = {"model__base": "./no", "data__comments": "no.csv", "scorer__name": "no.py:f"}
    with pytest.raises(UserError) as error:
        load_profile(write_profile(files, tmp_path, **missing))
    lines = str(error.value).splitlines()
    assert len(lines) == 3
    assert all("no file or folder" in line for line in lines)
    assert all(line.startswith("error: ") for line in lines[1:])


def test_a_model_of_texts_is_measured_with_a_tokenizer_of_its_own_vocabulary():
    """Which may be smaller than that of the generated language."""
    shape = {"layers": 1, "d_model": 16, "heads": 2, "d_mlp": 16, "words": 8, "batch_size": 2}
    _, config, tokenizer = measure.pretraining_step(Pretraining(texts=["some.txt"], vocabulary=300, **shape))
    assert len(tokenizer) == config.vocab_size == 300


def test_writing_is_measured_with_the_cache_that_the_study_writes_with(monkeypatch):
    """Which the configuration of a model that was just trained leaves out."""
    shape = {"layers": 1, "d_model": 16, "heads": 2, "d_mlp": 16, "words": 47, "batch_size": 2}
    _, config, tokenizer = measure.pretraining_step(Pretraining(**shape))
    seen = []

    def generation(network, *_):
        seen.append(network.generation_config.use_cache)
        return [0.0] * 4

    monkeypatch.setattr(measure, "_generation", generation)
    measure.costs(load_profile(TINY), config, tokenizer, None)
    assert seen == [True]


def test_all_problems_are_listed_each_in_a_line_with_status_1(files, tmp_path, capsys):
    save_model(tmp_path / "small", 50)
    (tmp_path / "bad.csv").write_text("comment_text,toxic\nfine,0\nbad,maybe\n")
    wrong = {
        "model__base": tmp_path / "small",
        "data__comments": tmp_path / "bad.csv",
        "sizes__window_tokens": 100,
        "scorer__name": save_classifier(tmp_path / "scorer", ["happy", "sad", "angry"]),
        "scorer__second": "nowhere.py/x.py:f",
    }
    (tmp_path / "nowhere.py").mkdir()
    (tmp_path / "nowhere.py" / "x.py").write_text("def g(texts): pass\n")
    study = open_study(write_profile(files, tmp_path, **wrong), 0, tmp_path)
    assert exit_status(lambda: check.report(study)) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5
    assert all(line.startswith("error: ") for line in lines)
    for words in (
        f"tokenizer has {len(Language().vocabulary) + 2} tokens, the model knows 50",
        "64 positions",
        "labels happy",
        "no function 'f'",
    ):
        assert any(words in line for line in lines), words
    assert any("line 3" in line and "'maybe'" in line for line in lines)


def test_a_quantised_model_is_refused_before_it_is_loaded(files, tmp_path):
    save_model(tmp_path / "small", len(Language().vocabulary) + 2)
    path = tmp_path / "small" / "config.json"
    config = json.loads(path.read_text()) | {"quantization_config": {"quant_method": "bitsandbytes"}}
    path.write_text(json.dumps(config))
    found = problems(files, tmp_path, model__base=tmp_path / "small")
    assert len(found) == 1
    assert "it is quantised" in found[0]


def test_words_that_the_tokenizer_does_not_know_are_said(files, tmp_path):
    (tmp_path / "other.jsonl").write_text('{"prompt": "quite other words"}\n')
    found = problems(files, tmp_path, data__prompts=tmp_path / "other.jsonl")
    assert len(found) == 1
    assert "does not know" in found[0]


def test_text_that_cannot_begin_so_many_pairs_is_said(files, tmp_path):
    found = problems(files, tmp_path, pairs__count=5_000)
    assert len(found) == 1
    assert "pairs.count = 5,000" in found[0]


class Api:
    """What the hub's client says, by a repository's name."""

    answers: ClassVar[dict] = {}

    def model_info(self, name, **_):
        answer = self.answers.get(name, RepositoryNotFoundError("", response=RESPONSE))
        if isinstance(answer, Exception):
            raise answer
        files = [SimpleNamespace(rfilename=f, size=size) for f, size in answer.items()]
        return SimpleNamespace(sha=COMMIT, siblings=files, gated="gated" in name)

    dataset_info = model_info


RESPONSE = httpx.Response(404, request=httpx.Request("GET", "http://hub"))


@pytest.fixture
def answers(monkeypatch):
    def refuse(*_, **__):
        raise GatedRepoError("", response=RESPONSE)

    monkeypatch.setattr(hub, "HfApi", Api)
    monkeypatch.setattr(hub, "get_hf_file_metadata", refuse)
    monkeypatch.setattr(Api, "answers", {})
    return Api.answers


def test_of_a_model_on_the_hub_one_kind_of_weights_is_counted(answers):
    answers["org/model"] = {
        "model.safetensors": 700,
        "pytorch_model.bin": 800,
        "tf_model.h5": 900,
        "onnx/model.safetensors": 600,
        "config.json": 5,
    }
    found = hub.look_up("org/model", "", "model")
    assert found.to_download == 705
    assert found.revision == COMMIT


def test_of_a_data_set_the_configuration_that_is_read_is_counted(answers):
    answers["org/data"] = {"one/a.parquet": 10, "two/b.parquet": 20, "README.md": 1}
    assert hub.look_up("org/data", "", "dataset", folder="two").to_download == 20
    assert hub.look_up("org/data", "", "dataset").to_download == 30


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (RevisionNotFoundError("", response=RESPONSE), "no revision 'v9'"),
        (RepositoryNotFoundError("", response=RESPONSE), "not there, or private"),
        (httpx.ConnectError("no route"), r"at v9 was not downloaded before.*ConnectError.*network"),
        ({"README.md": 1}, "no files to read"),
    ],
)
@pytest.mark.parametrize("kind", ["model", "tokenizer"])
def test_what_the_hub_refuses_is_one_line_with_the_way_out(answers, answer, words, kind):
    answers["org/model"] = answer
    with pytest.raises(UserError, match=words) as error:
        hub.look_up("org/model", "v9", kind)
    assert "org/model" in str(error.value)
    assert "\n" not in str(error.value)


def test_terms_to_be_accepted_are_said_with_the_page_and_the_token(answers):
    answers["org/gated"] = {"data.csv": 1}
    with pytest.raises(UserError, match=r"/datasets/org/gated asks for its terms.*HF_TOKEN"):
        hub.look_up("org/gated", "", "dataset")


def test_what_is_missing_on_the_hub_is_listed_for_every_key(answers, files, tmp_path):
    found = problems(files, tmp_path, data__comments="org/none", data__prompts="org/nothing")
    assert [line.partition(":")[0] for line in found] == ["data.comments", "data.prompts"]


def test_too_little_disk_is_said_before_the_work(files, tmp_path, monkeypatch, capsys):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 10**6))
    study = open_study(write_profile(files, tmp_path), 0, tmp_path)
    with pytest.raises(UserError, match=r"1\.0 MB are free on the disk.*free some space"):
        check.before_the_work(study, study.plan.missing())


def test_weights_that_do_not_fit_are_an_error_and_batches_a_warning(files, tmp_path, monkeypatch):
    study = open_study(write_profile(files, tmp_path), 0, tmp_path)
    memory = SimpleNamespace(available=10**4)
    monkeypatch.setattr(check.psutil, "virtual_memory", lambda: memory)
    with pytest.raises(UserError, match=r"the weights alone take"):
        check.before_the_work(study, study.plan.missing())
    memory.available = 10**6
    found = inputs.look_at(study.profile, 0)
    check.outlook(study, found, {"dpo"})
    assert not found.problems
    assert "compute.batch_size = " in found.warnings[0]


def test_nothing_is_looked_up_or_measured_where_everything_is_made(study, monkeypatch):
    def refuse(*_):
        raise AssertionError("measured")

    monkeypatch.setattr(inputs, "look_at", refuse)
    assert not study.plan.missing() & LONG
    monkeypatch.setattr(book, "execute_notebooks", lambda *_: [])
    monkeypatch.setattr(book, "open_plan", lambda *_: study.plan)
    monkeypatch.setattr(book, "_make_missing", refuse)
    results, executed = book._make(TINY, 0, [0, 1])
    assert results.folder == study.results_folder
    assert executed == []


def test_steps_made_from_something_else_are_missing(study, tmp_path):
    other = open_study(TINY, 1, tmp_path)
    assert other.plan.missing() >= LONG
    for name in ("base", "comments", "probe"):
        shutil.copytree(study.folder / name, other.folder.with_name("seed0") / name)
    missing = open_study(TINY, 0, tmp_path).plan.missing()
    assert missing >= LONG - {"base"}
    assert not missing & {"base", "probe"}


def test_rows_of_table_1_are_counted_as_they_are_made(study):
    rows, beside, draws = estimate.row_counts(load_profile("gpt2-medium").interventions)
    assert (rows + 2, draws) == (81, 140)
    assert beside > 0
    of_tiny, _, _ = estimate.row_counts(study.profile.interventions)
    assert of_tiny + 2 >= len(study.table1.rows)  # a group may be empty


@pytest.mark.parametrize(
    ("seconds", "said"), [(3, "3 s"), (600, "10 min"), (7_200, "2.0 h"), (1e6, "11.6 days")]
)
def test_durations_are_said_as_a_person_would(seconds, said):
    assert estimate.duration(seconds) == said
