import json
from dataclasses import replace

import pytest
import torch
from conftest import SHARED

from dpotox import data, sources
from dpotox.errors import UserError
from dpotox.models import load_dpo_checkpoint, load_network, load_tokenizer
from dpotox.probe import load_direction
from dpotox.profile import load_profile
from dpotox.published import NUMBERS

MINI = load_profile("mini")


def profile(**sources):
    return replace(MINI, data=replace(MINI.data, **{k: str(v) for k, v in sources.items()}))


def test_comments_come_from_jigsaws_columns(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text(
        "id,comment_text,toxic,insult\n" + "".join(f'{i},"text, {i}",{i % 2},0\n' for i in range(20))
    )
    texts, toxic = data.comments(profile(comments=path), 0)
    assert len(texts) == 20
    assert sum(toxic) == 10
    assert all(label == (int(text.split()[1]) % 2 == 1) for text, label in zip(texts, toxic, strict=True))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,text\n1,hello\n", "comment_text"),
        ("comment_text\nhello\n", "toxic"),
        ("comment_text,toxic\nhello,0\n", "one class"),
        ("", "CSV"),
        (b"comment_text,toxic\n\xff\xfe,1\n", "UTF-8"),
    ],
)
def test_a_csv_that_will_not_do_is_refused(tmp_path, content, message):
    path = tmp_path / "train.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message) as error:
        data.comments(profile(comments=path), 0)
    assert "train.csv" in str(error.value)


def test_prompts_come_in_both_published_formats(tmp_path):
    path = tmp_path / "prompts.jsonl"
    rows = [{"prompt": {"text": "one"}}, {"prompt": "two"}]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    assert data.evaluation_prompts(profile(prompts=path), 0) == ["one", "two"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"prompt": "a"}\n{"prompt": \n', "line 2"),
        ('{"prompt": "a"}\n{"text": "b"}\n', "line 2"),
        ('{"prompt": ""}\n', "line 1"),
        ("[1]\n", "line 1"),
        ("\n", "no prompts"),
    ],
)
def test_a_broken_prompt_file_is_refused_with_its_line(tmp_path, content, message):
    path = tmp_path / "prompts.jsonl"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        data.evaluation_prompts(profile(prompts=path), 0)


def test_the_authors_pairs_need_their_three_fields(tmp_path):
    path = tmp_path / "pairs.jsonl"
    row = {"prompt_text": "p", "unpert_gen_text": "good", "pert_gen_text": "bad"}
    path.write_text(json.dumps(row))
    assert sources.given_pairs(str(path), 0).values.tolist() == [["p", "good", "bad"]]
    with pytest.raises(UserError, match=r"1 pairs.*validation"):
        sources.given_pairs(str(path), 1)
    path.write_text(json.dumps(row) + '\n{"prompt_text": "p"}')
    with pytest.raises(UserError, match=r"line 2.*unpert_gen_text"):
        sources.given_pairs(str(path), 0)


@pytest.mark.parametrize("key", ["comments", "prompts", "text", "references"])
def test_a_missing_file_is_named(key):
    endings = {"comments": "csv", "prompts": "jsonl", "text": "txt", "references": "txt"}
    read = {
        "comments": data.comments,
        "prompts": data.evaluation_prompts,
        "text": data.plain_text,
        "references": data.references,
    }
    with pytest.raises(UserError, match="nowhere"):
        read[key](profile(**{key: f"nowhere.{endings[key]}"}), 0)


def test_no_two_purposes_share_documents():
    wanted = replace(MINI.sizes, comments=200, prompts=200, text_windows=200)
    small = replace(MINI, sizes=wanted)
    comments, text = set(data.comments(small, 0)[0]), set(data.plain_text(small, 0))
    assert not comments & text
    assert not set(data.evaluation_prompts(MINI, 0)) & set(data.pair_prompts(MINI, 0))
    assert data.evaluation_prompts(small, 0) != data.evaluation_prompts(small, 1)
    assert data.evaluation_prompts(small, 0) == data.evaluation_prompts(small, 0)


def test_references_continue_their_prompts():
    for beginning, ending in data.references(MINI, 0)[:20]:
        assert len(beginning.split()) == MINI.sizes.prompt_tokens - 1
        assert len(ending.split()) == MINI.sizes.new_tokens


def test_text_and_references_come_from_a_file(tmp_path):
    path = tmp_path / "wiki.txt"
    path.write_text(" = Heading = \n\nOne two three four five six seven eight nine . Too short .\n" * 3)
    assert data.plain_text(profile(text=path), 0)[0].startswith(" = Heading")
    beginning, ending = data.references(profile(references=path), 0)[0]
    assert f"{beginning} {ending}" == "One two three four five six seven eight nine ."


def test_models_that_cannot_be_loaded_are_named(tmp_path):
    for load in (lambda p: load_network(p, "", MINI.compute), load_tokenizer):
        with pytest.raises(UserError, match="empty-folder"):
            (tmp_path / "empty-folder").mkdir(exist_ok=True)
            load(str(tmp_path / "empty-folder"))


def test_a_probe_file_must_fit_the_model(tmp_path):
    path = str(tmp_path / "probe.pt")
    torch.save(torch.arange(8.0)[None], path)
    assert load_direction(path, 8).shape == (8,)
    with pytest.raises(UserError, match=r"\(1, 8\).*\(16,\)"):
        load_direction(path, 16)
    with pytest.raises(UserError, match="nowhere"):
        load_direction("nowhere.pt", 8)


def test_a_dpo_checkpoint_must_fit_the_model(tmp_path, network):
    path = tmp_path / "dpo.pt"
    torch.save({"state": network.state_dict()}, path)
    assert load_dpo_checkpoint(network, path) is network
    torch.save({"state": {"transformer.wte.weight": torch.zeros(3, 3)}}, path)
    with pytest.raises(UserError, match=r"dpo\.pt"):
        load_dpo_checkpoint(network, path)
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match=r"dpo\.pt"):
        load_dpo_checkpoint(network, path)


def test_real_tokens_match_the_published_ids():
    if not (SHARED / "gpt2-tokenizer").exists():
        pytest.skip("GPT-2's tokenizer is not here")
    tokenizer = load_tokenizer(SHARED / "gpt2-tokenizer")
    assert tokenizer(" hello", add_special_tokens=False)["input_ids"] != []
    assert tokenizer.encode("hello") == [31373]
    assert tokenizer.encode("thanks") == [27547]
    assert NUMBERS["groups"]["neurons"] == 24 * 4096
