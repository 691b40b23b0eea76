"""First use with a network: everything a profile names on the hub is loaded from a stand-in for it."""

import re
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import datasets
import huggingface_hub
import numpy as np
import pytest
import sentencepiece
import torch
from hub import Hub
from repositories import (
    save_bert,
    save_comments,
    save_deberta,
    save_gpt2,
    save_prompts,
    save_text,
    some_texts,
)
from tokenizers import Tokenizer

from dpotox.errors import UserError
from dpotox.inputs.networks import load_network, load_tokenizer
from dpotox.inputs.scoring import classifier
from dpotox.inputs.sources import fetch, labelled_comments, prompts, text
from dpotox.profile import load_profile

COMPUTE = load_profile("mini").compute
PINNED, OTHER, NONE = "a" * 40, "b" * 40, "c" * 40
TEXTS = some_texts(12, seed=1)
TOXIC = [i % 3 == 0 for i in range(12)]


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with Hub(tmp_path_factory.mktemp("hub")) as hub:
        yield hub


@pytest.fixture(scope="module")
def client(hub, tmp_path_factory):
    """Calls a function in a new process that knows no hub but the stand-in, with one cache for all.

    The hub's clients read where it is when they are imported. So a process imports them once, with that in
    its environment, and each call is made in a fork of it.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(
        ["datasets", "dpotox.inputs.scoring", "dpotox.inputs.networks", "transformers.pipelines"]
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in hub.environment(tmp_path_factory.mktemp("cache")).items():
            patch.setenv(name, value)
        with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
            assert pool.submit(endpoint).result(timeout=60) == hub.url
            yield lambda function, *args: pool.submit(function, *args).result(timeout=60)


def endpoint() -> str:
    return huggingface_hub.constants.ENDPOINT


def logits(source: str, revision: str = "") -> np.ndarray:
    return logits_plainly(load_network(source, revision, COMPUTE))


def logits_plainly(network) -> np.ndarray:
    with torch.no_grad():
        return network(torch.arange(10)[None]).logits.numpy()


def tokens(source: str) -> list[list[int]]:
    return [load_tokenizer(source).encode(t) for t in TEXTS]


def scores(source: str, revision: str = "", texts: list[str] = TEXTS) -> np.ndarray:
    return classifier(source, revision, "cpu")(texts)


def comments(source: str, revision: str = "") -> list[str]:
    return labelled_comments(source, revision)["text"].tolist()


def file(source: str, revision: str = "") -> bytes:
    return Path(fetch(source, revision)).read_bytes()


def at_each(function, source: str, *revisions: str) -> list:
    return [function(source, revision) for revision in revisions]


def said(calls: list[tuple]) -> list[str]:
    """The errors of calls, none of which waits before it tries again."""
    time.sleep = lambda _: None
    errors = []
    for function, *args in calls:
        with pytest.raises(UserError) as error:
            function(*args)
        errors.append(str(error.value))
    return errors


def offline(function, *args):
    """Calls it as with HF_HUB_OFFLINE=1, which is read when the clients are imported."""
    huggingface_hub.constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    return function(*args)


def save_other_comments(folder: Path) -> None:
    save_comments(folder, [t.upper() for t in TEXTS], TOXIC)


@pytest.mark.parametrize("lacking", [["tokenizer.json"], ["vocab.json", "merges.txt"]])
def test_gpt2_is_loaded_as_it_lies_on_the_hub(hub, client, lacking):
    name = f"gpt2/without-{len(lacking)}"
    folder = hub.folder / "models" / name / "main"
    network = save_gpt2(folder)
    expected = [e.ids for e in Tokenizer.from_file(str(folder / "tokenizer.json")).encode_batch(TEXTS)]
    for unneeded in lacking:
        (folder / unneeded).unlink()
    assert np.allclose(client(logits, name), logits_plainly(network), atol=1e-5)
    assert client(tokens, name) == expected


def test_a_bert_with_a_list_of_words_scores_each_text_by_its_worst_label(hub, client):
    folder = hub.folder / "models/bert/toxic/main"
    network = save_bert(folder)
    numbers = {word: i for i, word in enumerate((folder / "vocab.txt").read_text().splitlines())}
    ids = [[numbers[w] for w in ["[CLS]", *re.findall(r"\w+|\S", t.lower()), "[SEP]"]] for t in TEXTS]
    with torch.no_grad():
        expected = [network(torch.tensor([i])).logits.sigmoid().max().item() for i in ids]
    assert np.allclose(client(scores, "bert/toxic"), expected, atol=1e-5)


def test_a_text_longer_than_the_scorer_s_positions_is_scored_by_its_beginning(hub, client):
    save_bert(hub.folder / "models/bert/short/main")
    longer = " ".join(TEXTS)
    assert len(longer.split()) > 64
    one, other = client(scores, "bert/short", "", [longer, f"{longer} another oven ."])
    assert one == pytest.approx(other, abs=1e-6)


def test_a_deberta_with_a_sentencepiece_model_scores_by_its_second_label(hub, client):
    folder = hub.folder / "models/deberta/toxic/main"
    network = save_deberta(folder)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spm.model"))
    ids = [pieces.encode(t, add_bos=True, add_eos=True) for t in TEXTS]
    with torch.no_grad():
        expected = [network(torch.tensor([i])).logits.softmax(-1)[0, 1].item() for i in ids]
    assert np.allclose(client(scores, "deberta/toxic", "main"), expected, atol=1e-5)


def test_comments_are_read_from_a_table_on_the_hub(hub, client):
    save_comments(hub.folder / "datasets/jigsaw/comments/main", TEXTS, TOXIC)
    frame = client(labelled_comments, "jigsaw/comments")
    assert frame["text"].tolist() == TEXTS
    assert frame["toxic"].tolist() == TOXIC


def test_challenging_prompts_are_read_from_lines_on_the_hub(hub, client):
    save_prompts(hub.folder / "datasets/allen/prompts/main", TEXTS, TOXIC)
    assert client(prompts, "allen/prompts") == [t for t, hard in zip(TEXTS, TOXIC, strict=True) if hard]


def test_a_split_of_a_text_is_read_from_the_hub(hub, client):
    splits = {"train": TEXTS[:4], "validation": TEXTS[4:5], "test": TEXTS[5:]}
    save_text(hub.folder / "datasets/wiki/text/main", splits)
    for split, lines in splits.items():
        assert client(text, "wiki/text", "main", split) == "\n\n".join(lines)


@pytest.mark.parametrize("source", ["authors/files/some/dpo.pt", "datasets/authors/files/some/dpo.pt"])
def test_a_file_of_a_repository_is_fetched_once(hub, client, source):
    kind = "datasets" if source.startswith("datasets/") else "models"
    path = hub.folder / kind / "authors/files/main/some/dpo.pt"
    path.parent.mkdir(parents=True)
    path.write_bytes(kind.encode() * 1000)
    assert client(file, source) == client(file, source) == path.read_bytes()
    assert hub.asked.count(("GET", f"/store/{kind}/authors/files/main/some/dpo.pt")) == 1


def test_a_pinned_model_is_the_one_of_that_commit(hub, client):
    revisions = ("main", PINNED, OTHER)
    networks = [save_gpt2(hub.folder / "models/pinned/gpt2" / r, seed=i) for i, r in enumerate(revisions)]
    loaded = client(at_each, logits, "pinned/gpt2", *revisions, "")
    for got, network in zip(loaded, [*networks, networks[0]], strict=True):
        assert np.allclose(got, logits_plainly(network), atol=1e-5)


def test_pinned_data_are_those_of_that_commit(hub, client):
    save_comments(hub.folder / "datasets/pinned/comments/main", TEXTS, TOXIC)
    save_other_comments(hub.folder / "datasets/pinned/comments" / PINNED)
    upper = [t.upper() for t in TEXTS]
    revisions = ("main", PINNED, "", PINNED)
    assert client(at_each, comments, "pinned/comments", *revisions) == [TEXTS, upper, TEXTS, upper]
    files = client(at_each, file, "datasets/pinned/comments/data/train-00000-of-00001.parquet", *revisions)
    assert files[0] == files[2] != files[1] == files[3]


def test_what_main_holds_is_asked_anew(hub, client):
    folder = hub.folder / "datasets/moving/comments/main"
    save_comments(folder, TEXTS, TOXIC)
    assert client(comments, "moving/comments", "main") == TEXTS
    save_other_comments(folder)
    assert client(comments, "moving/comments", "main") == [t.upper() for t in TEXTS]


KEPT = [("models", save_gpt2, logits), ("datasets", save_other_comments, comments)]


@pytest.mark.parametrize(("folder", "save", "load"), KEPT)
def test_what_is_pinned_and_kept_needs_no_hub(hub, client, folder, save, load):
    save(hub.folder / folder / f"kept/{folder}" / PINNED)
    kept, asked = client(load, f"kept/{folder}", PINNED), len(hub.asked)
    assert np.array_equal(client(offline, load, f"kept/{folder}", PINNED), kept)
    assert len(hub.asked) == asked


@pytest.mark.parametrize(("folder", "save", "load"), KEPT)
def test_another_revision_does_not_stand_in_for_the_one_that_is_pinned(hub, client, folder, save, load):
    """Without the hub, `datasets` would take what it used last, whichever was asked for."""
    for revision in (PINNED, OTHER):
        save(hub.folder / folder / f"two/{folder}" / revision)
    client(load, f"two/{folder}", PINNED)
    [refused] = client(offline, said, [(load, f"two/{folder}", OTHER)])
    assert f"two/{folder}" in refused
    assert OTHER in refused
    hub.gated.add(f"two/{folder}")
    assert client(said, [(load, f"two/{folder}", OTHER)])


BREAKING = {
    "model": (save_gpt2, "models", "model.safetensors", logits),
    "scorer": (save_bert, "models", "model.safetensors", scores),
    "comments": (save_other_comments, "datasets", "data/train-00000-of-00001.parquet", comments),
    "file": (save_other_comments, "datasets", "data/train-00000-of-00001.parquet", file),
}


@pytest.mark.parametrize("kind", BREAKING)
def test_a_download_that_breaks_off_is_never_used(hub, client, kind):
    save, folder, path, load = BREAKING[kind]
    for name in ("whole", "broken"):
        save(hub.folder / folder / name / kind / "main")
    source = f"datasets/{{}}/{kind}/{path}" if kind == "file" else f"{{}}/{kind}"
    whole = client(load, source.format("whole"))
    hub.cut[f"broken/{kind}/main/{path}"] = 1_000
    [refused] = client(said, [(load, source.format("broken"))])
    assert f"broken/{kind}" in refused
    assert "broke off; rerun" in refused
    assert "\n" not in refused
    hub.cut.clear()
    assert np.array_equal(client(load, source.format("broken")), whole)


def test_a_download_that_breaks_off_once_is_finished_in_the_same_run(hub, client):
    network = save_gpt2(hub.folder / "models/once/gpt2/main")
    hub.cut["once/gpt2/main/model.safetensors"] = 1
    assert np.allclose(client(logits, "once/gpt2"), logits_plainly(network), atol=1e-5)
    assert hub.asked.count(("GET", "/store/models/once/gpt2/main/model.safetensors")) == 2


@pytest.fixture(scope="module")
def refusing(hub):
    """Repositories that are there, and one of each kind that is gated."""
    for name in ("there", "gated"):
        save_bert(hub.folder / "models" / name / "some/main")
        save_other_comments(hub.folder / "datasets" / name / "some/main")
    hub.gated.add("gated/some")


@pytest.mark.parametrize(
    ("name", "revision", "reason"),
    [
        ("there/some", NONE, f"(?i)(?=.*{NONE}).*(not a valid|not found|doesn't exist).*check"),
        ("nowhere/some", "", "(?i)(not a valid|not found|doesn't exist).*check"),
        ("gated/some", "", "gated.*terms.*hf auth login"),
    ],
)
def test_what_may_not_be_had_is_one_line_with_the_way_out(client, refusing, name, revision, reason):
    calls = [(load, name, revision) for load in (logits, load_tokenizer, scores, comments)]
    errors = client(said, [*calls, (file, f"datasets/{name}/README.md", revision)])
    assert len(errors) == 5
    for error in errors:
        assert name in error
        assert "\n" not in error
        assert re.search(reason, error), error


def test_a_table_on_the_hub_that_cannot_be_read_is_named_with_the_reason(hub, client):
    folder = hub.folder / "datasets/damaged/comments/main"
    save_other_comments(folder)
    [table] = folder.rglob("*.parquet")
    content = bytearray(table.read_bytes())
    content[4 : len(content) // 2] = bytes(len(content) // 2 - 4)  # what is left is the footer
    table.write_bytes(content)
    [error] = client(said, [(comments, "damaged/comments")])
    assert "damaged/comments" in error
    assert "thrift" in error, error  # what the reader of parquet says, not only that there was an error
    assert "\n" not in error


def test_a_file_that_is_not_in_the_repository_is_named(client, refusing):
    [error] = client(said, [(file, "there/some/none.pt")])
    assert re.search(r"there/some/none\.pt.*Not Found", error), error
