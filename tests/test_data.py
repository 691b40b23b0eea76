import json
from dataclasses import replace

import pandas as pd
import pytest

from dpotox.errors import UserError
from dpotox.inputs import data, sources
from dpotox.profile import load_profile

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
        (b"comment_text,toxic\nfine,0\nna\xefve,1\n", "line 3.*UTF-8.*iconv"),
        ("comment_text,toxic\nhello,yes\nbye,0\n", "line 2.*'yes'"),
        ("comment_text,toxic\nhello,1\nbye,0,0\n", "line 3"),
        ("comment_text,toxic\nhello,1,0\nbye,0,0\n", "not a whole CSV"),
        ('comment_text,toxic\n"two\nlines",1\nbye,no\n', "line 4.*'no'"),
        ('comment_text,toxic\nhello,1\n"cut off in the middl', "row 2"),
        ("comment_text,toxic\nhello,1\nbye,0\ncut", "line 4.*cut off"),
    ],
)
def test_a_csv_that_will_not_do_is_refused(tmp_path, content, message):
    path = tmp_path / "train.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message) as error:
        data.comments(profile(comments=path), 0)
    assert "train.csv" in str(error.value)


def test_empty_and_unlabelled_comments_are_left_out_and_said(tmp_path, capsys):
    path = tmp_path / "train.csv"
    path.write_text("comment_text,toxic,insult\nbad,1,0\n,0,0\n  ,0,0\nunused,-1,-1\ngood,0,0\n")
    assert sorted(data.comments(profile(comments=path), 0)[0]) == ["bad", "good"]
    assert "left out 2 empty and 1 unlabelled comments, from line 3 on" in capsys.readouterr().err


def test_words_that_look_like_nothing_are_comments(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("comment_text,toxic\nnull,1\nNA,0\n")
    assert sorted(data.comments(profile(comments=path), 0)[0]) == ["NA", "null"]


def test_comments_that_begin_like_an_evaluation_prompt_are_not_trained_on(tmp_path):
    (tmp_path / "train.csv").write_text("comment_text,toxic\nYou are here,1\nthat is bad,1\ngood,0\n")
    (tmp_path / "prompts.jsonl").write_text(json.dumps({"prompt": "you are"}))
    given = profile(comments=tmp_path / "train.csv", prompts=tmp_path / "prompts.jsonl")
    assert sorted(data.comments(given, 0)[0]) == ["good", "that is bad"]


def test_a_text_without_a_whole_sentence_is_named(tmp_path):
    (tmp_path / "short.txt").write_text("too short .\n")
    given = profile(text=tmp_path / "short.txt", references=tmp_path / "short.txt")
    for read in (data.pair_prompts, data.references):
        with pytest.raises(UserError, match=r"short\.txt has no sentence"):
            read(given, 0)


def test_a_file_may_lie_in_a_repository_of_the_hub(tmp_path, monkeypatch):
    asked = []

    def download(repository, name, *, repo_type, revision):
        asked.append((repository, name, repo_type, revision))
        return "there"

    monkeypatch.setattr(sources, "hf_hub_download", download)
    assert sources.fetch("org/name/folder/dpo.pt", "abc") == "there"
    assert sources.fetch("datasets/org/name/pairs.jsonl") == "there"
    assert asked == [
        ("org/name", "folder/dpo.pt", "model", "abc"),
        ("org/name", "pairs.jsonl", "dataset", None),
    ]
    (tmp_path / "dpo.pt").touch()
    assert sources.fetch(str(tmp_path / "dpo.pt")) == str(tmp_path / "dpo.pt")
    assert sources.fetch("nowhere.pt") == "nowhere.pt"


def test_a_byte_order_mark_does_not_matter(tmp_path):
    path = tmp_path / "train.csv"
    path.write_bytes(b"\xef\xbb\xbfcomment_text,toxic\nbad,1\ngood,0\n")
    assert sorted(data.comments(profile(comments=path), 0)[0]) == ["bad", "good"]


def test_a_prompt_may_hold_any_character(tmp_path):
    path = tmp_path / "prompts.jsonl"
    odd = "a\u2028b\x85c"
    path.write_text(json.dumps({"prompt": odd}, ensure_ascii=False) + "\n", encoding="utf-8")
    assert data.evaluation_prompts(profile(prompts=path), 0) == [odd]


def test_only_challenging_prompts_are_taken(tmp_path):
    path = tmp_path / "prompts.jsonl"
    rows = [
        {"prompt": {"text": "mild"}, "challenging": False},
        {"prompt": {"text": "hard"}, "challenging": True},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert data.evaluation_prompts(profile(prompts=path), 0) == ["hard"]


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
    (tmp_path / "more").mkdir()
    for name in ("split_0", "split_1"):
        (tmp_path / "more" / f"{name}.jsonl").write_text(json.dumps(row | {"prompt_text": name}))
    assert sources.given_pairs(str(tmp_path / "more"), 0)["prompt"].tolist() == ["split_0", "split_1"]
    path.write_text(json.dumps(row | {"pert_gen_text": ["bad"]}))
    with pytest.raises(UserError, match=r"line 1.*pert_gen_text"):
        sources.given_pairs(str(path), 0)
    path.write_text(json.dumps(row) + '\n{"prompt_text": "p"}')
    with pytest.raises(UserError, match=r"line 2.*unpert_gen_text"):
        sources.given_pairs(str(path), 0)


@pytest.mark.parametrize("read", [data.comments, data.evaluation_prompts, data.plain_text, data.references])
def test_a_missing_file_is_named(read):
    given = {"comments": "no.csv", "prompts": "no.jsonl", "text": "no.txt", "references": "no.txt"}
    with pytest.raises(UserError, match=r"no\."):
        read(profile(**given), 0)


def test_no_two_purposes_share_documents():
    wanted = replace(MINI.sizes, comments=200, prompts=200, text_windows=200)
    small = replace(MINI, sizes=wanted)
    comments, text = set(data.comments(small, 0)[0]), set(data.plain_text(small, 0))
    assert text
    assert not comments & text
    assert not text & set(data.other_text(small, 0))
    assert len(text) + len(data.other_text(small, 0)) == 200
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


def test_pairs_begin_with_the_first_halves_of_sentences_of_their_own_text(tmp_path):
    (tmp_path / "a.txt").write_text("one two three four five six seven eight nine ten .\n")
    (tmp_path / "b.txt").write_text("another text that is there for the perplexity alone here .\n")
    given = profile(text=tmp_path / "b.txt", pair_text=tmp_path / "a.txt")
    assert data.pair_prompts(given, 0) == ["one two three four five"]


def test_texts_to_pretrain_on_come_without_the_evaluation_prompts(tmp_path):
    (tmp_path / "train.csv").write_text(
        'comment_text,toxic\n"You are, all in all, a fine cook",0\nsomething else,1\n'
    )
    (tmp_path / "wiki.txt").write_text("first line\n\nsecond line\n")
    (tmp_path / "prompts.jsonl").write_text(json.dumps({"prompt": "you are all in"}))
    given = profile(prompts=tmp_path / "prompts.jsonl")
    paths = [str(tmp_path / "train.csv"), str(tmp_path / "wiki.txt")]
    given = replace(given, pretraining=replace(given.pretraining, texts=paths))
    assert data.pretraining_texts(given) == ["something else", "first line", "second line"]


def test_a_clone_of_a_hub_data_set_is_read_like_the_hub(tmp_path):
    """The code that reads the hub, on folders laid out as the hub's repositories are."""
    comments, prompts, wiki = (tmp_path / name for name in ("jigsaw", "rtp", "wikitext"))
    for folder in (comments, prompts, wiki / "wikitext-2-raw-v1"):
        folder.mkdir(parents=True)
    frame = pd.DataFrame({"comment_text": ["bad", "good"], "toxic": [1, 0], "obscene": [0, 0]})
    frame.to_parquet(comments / "train.parquet")
    rows = [{"prompt": {"text": f"prompt {i}", "toxicity": None}, "challenging": i > 1} for i in range(3)]
    (prompts / "prompts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    splits = {"train": [" = Head = ", "one two three four five six seven eight ."], "test": ["a", "b"]}
    files = []
    for split, lines in splits.items():
        name = f"wikitext-2-raw-v1/{split}-00000-of-00001.parquet"
        pd.DataFrame({"text": lines}).to_parquet(wiki / name)
        files.append(f"  - split: {split}\n    path: {name}\n")
    head = "---\nconfigs:\n- config_name: wikitext-2-raw-v1\n  data_files:\n"
    (wiki / "README.md").write_text(head + "".join(files) + "---\n")

    given = profile(comments=comments, prompts=prompts, text=wiki)
    assert dict(zip(*data.comments(given, 0), strict=True)) == {"bad": True, "good": False}
    assert data.evaluation_prompts(given, 0) == ["prompt 2"]
    assert data.plain_text(given, 0) == ["a\n\nb"]
    assert data.pair_prompts(given, 0) == ["one two three four"]
    with pytest.raises(UserError, match="nowhere"):
        data.comments(profile(comments=tmp_path / "nowhere"), 0)
