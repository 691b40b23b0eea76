"""Prompts in the chat template of a tokenizer."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from dpotox.errors import UserError
from dpotox.inputs.pretraining import byte_pair_tokenizer
from dpotox.inputs.windows import added_by_chat, said_by_user
from dpotox.profile import EMBEDDED, load_profile
from dpotox.run.look_up import lengths
from dpotox.run.reading import prompts_of
from dpotox.run.training import make_pairs

TEMPLATE = "{{ bos_token }}{% for turn in messages %}[{{ turn['role'] }}] {{ turn['content'] }}\n{% endfor %}"
TEMPLATE += "{% if add_generation_prompt %}[model] {% endif %}"


@pytest.fixture
def tokenizer():
    """A byte-level tokenizer, in which every letter is a token, with a template."""
    made = byte_pair_tokenizer(["a b c"], 258)
    made.chat_template = TEMPLATE
    return made


def test_a_prompt_is_a_users_turn_and_begins_once(tokenizer):
    assert said_by_user(tokenizer, ["be kind", "no"]) == ["[user] be kind\n[model] ", "[user] no\n[model] "]
    ids = tokenizer(said_by_user(tokenizer, ["no"]))["input_ids"][0]
    assert ids.count(tokenizer.bos_token_id) == 1
    assert ids[0] == tokenizer.bos_token_id


def test_what_a_template_adds_is_counted(tokenizer):
    (chat,) = said_by_user(tokenizer, ["no"])
    assert len(tokenizer(chat)["input_ids"]) == len(tokenizer("no")["input_ids"]) + added_by_chat(tokenizer)
    profile = load_profile("gpt2-medium")
    longer, usual = lengths(profile, 7), lengths(profile)
    assert {what: longer[what] - usual[what] for what in usual if "prompt" in what} == dict.fromkeys(
        ("sizes.prompt_tokens + sizes.new_tokens", "pairs.prompt_tokens + pairs.new_tokens"), 7
    )


@pytest.mark.parametrize("template", [None, "{{ raise_exception('no users here') }}"])
def test_a_tokenizer_without_a_chat_is_refused(tokenizer, template):
    tokenizer.chat_template = template
    with pytest.raises(UserError, match=r"chat template.*leave"):
        said_by_user(tokenizer, ["no"])


def test_a_template_that_tells_the_day_tells_the_same_day_always(tokenizer):
    tokenizer.chat_template = "{{ date_string if date_string is defined else strftime_now('%d') }} x"
    assert said_by_user(tokenizer, ["no"]) == ["01 Jan 2025 x"]
    tokenizer.chat_template = "{{ strftime_now('%d') }} x"
    with pytest.raises(UserError, match="writes the day"):
        said_by_user(tokenizer, ["no"])


def test_the_embedded_model_knows_no_chat(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('extends = "mini"\n[model]\nchat = true\n')
    with pytest.raises(UserError, match="the embedded model knows no chat"):
        load_profile(str(path))


def test_prompts_are_cut_before_they_are_put_into_the_template(tokenizer, tmp_path):
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "abcdefghi and so on"}\n')
    mini = load_profile("gpt2-medium")
    profile = replace(
        mini,
        model=replace(mini.model, chat=True),
        data=replace(mini.data, prompts=str(tmp_path / "prompts.jsonl")),
        sizes=replace(mini.sizes, prompt_tokens=10),
    )
    config = SimpleNamespace(max_position_embeddings=64)
    study = SimpleNamespace(
        profile=profile, seed=0, tokenizer=tokenizer, given=SimpleNamespace(config=config)
    )
    assert profile.data.prompts != EMBEDDED
    assert prompts_of(study) == ["[user] abcdefghi\n[model] "]
    config.max_position_embeddings = 30
    with pytest.raises(UserError, match="30 positions less 16 for the chat template"):
        prompts_of(study)


def test_given_pairs_are_put_into_the_template_as_prompts_are(tokenizer, tmp_path):
    path, plain = tmp_path / "pairs.jsonl", load_profile("gpt2-medium")
    texts = {"pert_gen_text": "bad", "unpert_gen_text": "good"}
    lines = [json.dumps({"prompt_text": f"abcdefgh{i} and"} | texts) for i in range(4)]
    path.write_text("\n".join(lines))
    profile = replace(
        plain,
        model=replace(plain.model, chat=True),
        data=replace(plain.data, pairs=str(path)),
        pairs=replace(plain.pairs, prompt_tokens=10, validation=2),
    )
    pairs = make_pairs(SimpleNamespace(profile=profile, tokenizer=tokenizer))
    assert pairs["prompt"].tolist() == [f"[user] abcdefgh{i}\n[model] " for i in range(4)]
    assert set(pairs["chosen"]) == {"good"}
