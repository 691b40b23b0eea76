"""Models, checkpoints and tokenizers: loaded as published, refused in one line where they do not fit."""

import copy
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import SHARED
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel

from dpotox.errors import UserError
from dpotox.inputs.language import Language
from dpotox.inputs.networks import (
    check_vocabulary,
    load_aligned,
    load_direction,
    load_network,
    load_tokenizer,
)
from dpotox.inputs.pretraining import word_tokenizer
from dpotox.model.architecture import traced
from dpotox.model.tracing import read_generation
from dpotox.model.weights import weight_change
from dpotox.profile import load_profile
from dpotox.show import report

COMPUTE = load_profile("mini").compute


@pytest.fixture
def folder(network, tmp_path):
    network.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_models_that_cannot_be_loaded_are_named(tmp_path):
    for load in (lambda p: load_network(p, "", COMPUTE), load_tokenizer):
        with pytest.raises(UserError, match="empty-folder"):
            (tmp_path / "empty-folder").mkdir(exist_ok=True)
            load(str(tmp_path / "empty-folder"))


def test_a_download_that_was_cut_off_is_refused(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(UserError, match="fetch it again") as error:
        load_network(folder, "", COMPUTE)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)


def test_the_hubs_own_layout_of_gpt2_is_read(folder, network):
    """Its file has no `transformer.` before the names, and the causal masks as buffers."""
    tensors = load_file(folder / "model.safetensors")
    tensors = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    masks = {f"h.{i}.attn.bias": torch.ones(64, 64).tril()[None, None] for i in range(3)}
    save_file(tensors | masks, folder / "model.safetensors", {"format": "pt"})
    ids = torch.arange(10)[None]
    with torch.no_grad():
        got = load_network(folder, "", COMPUTE)(ids).logits
        assert torch.allclose(got, network(ids).logits, atol=1e-5)


def test_weights_that_lack_a_tensor_are_refused(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["transformer.h.1.mlp.c_fc.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"lack 1 tensors.*h\.1\.mlp\.c_fc\.weight"):
        load_network(folder, "", COMPUTE)


def test_weights_of_another_shape_are_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"n_inner": 48}))
    with pytest.raises(UserError, match="model"):
        load_network(folder, "", COMPUTE)


def test_another_architecture_is_refused(tmp_path):
    config = BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    BertModel(config).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="bert model"):
        load_network(tmp_path, "", COMPUTE)


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(network):
    check_vocabulary(network, word_tokenizer(Language().vocabulary))
    with pytest.raises(UserError, match=r"model\.tokenizer"):
        check_vocabulary(network, word_tokenizer([*Language().vocabulary, "unheardof"]))


def test_a_probe_file_must_fit_the_model(tmp_path):
    path = str(tmp_path / "probe.pt")
    for shape in ((8,), (1, 8)):
        torch.save(torch.arange(8.0).reshape(shape), path)
        assert load_direction(path, 8).shape == (8,)
    with pytest.raises(UserError, match=r"\(1, 8\).*\(16,\)"):
        load_direction(path, 16)
    with pytest.raises(UserError, match="nowhere"):
        load_direction("nowhere.pt", 8)


def test_a_aligned_takes_the_place_of_the_weights(tmp_path, network, folder):
    changed = {k: v + 1 if k.endswith("c_fc.bias") else v for k, v in network.state_dict().items()}
    torch.save({"state": changed}, tmp_path / "dpo.pt")
    got = load_aligned(load_network(folder, "", COMPUTE), tmp_path / "dpo.pt")
    for layer in range(3):
        expected = network.transformer.h[layer].mlp.c_fc.bias + 1
        assert torch.equal(got.transformer.h[layer].mlp.c_fc.bias, expected)


def test_a_whole_model_takes_the_place_of_the_weights(tmp_path, network, folder):
    changed = copy.deepcopy(network)
    changed.transformer.h[1].mlp.c_fc.bias.data += 1
    changed.save_pretrained(tmp_path / "aligned")
    got = load_aligned(load_network(folder, "", COMPUTE), tmp_path / "aligned").state_dict()
    assert all(torch.equal(tensor, got[name]) for name, tensor in changed.state_dict().items())


def test_an_adapter_is_merged_into_the_model(tmp_path, network, folder):
    adapted = get_peft_model(
        copy.deepcopy(network), LoraConfig(r=2, target_modules=["c_fc"], fan_in_fan_out=True)
    )
    torch.manual_seed(0)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    adapted.save_pretrained(tmp_path / "adapter")
    ids = torch.arange(8)[None]
    got = load_aligned(load_network(folder, "", COMPUTE), tmp_path / "adapter")
    assert type(got) is type(network)
    with torch.no_grad():
        assert torch.allclose(got(ids).logits, adapted(ids).logits, atol=1e-5)
        assert not torch.allclose(got(ids).logits, network(ids).logits, atol=1e-3)


def test_a_whole_model_must_fit_the_one_before(tmp_path, folder):
    other = GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=3, n_head=2, vocab_size=50, n_positions=64))
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(UserError, match="is of another shape"):
        load_aligned(load_network(folder, "", COMPUTE), tmp_path / "other")
    with pytest.raises(UserError, match=r"cannot load the aligned model .*nowhere"):
        load_aligned(load_network(folder, "", COMPUTE), tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state": {"transformer.wte.weight": torch.zeros(3, 3)}}, r"wte\.weight is \(3, 3\).*model\.base"),
        ({"state": {"transformer.wpe.weight": torch.zeros(64, 16)}}, r"lacks \d+ tensors"),
        (b"not a checkpoint", "tensors-only"),
    ],
)
def test_a_aligned_must_fit_the_model(tmp_path, folder, content, message):
    path = tmp_path / "dpo.pt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(UserError, match=message) as error:
        load_aligned(load_network(folder, "", COMPUTE), path)
    assert "dpo.pt" in str(error.value)
    assert "\n" not in str(error.value)


class Trap:
    """Unpickled, it would leave a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_code_in_a_checkpoint_or_probe_is_not_run(tmp_path, folder):
    for name in ("dpo.pt", "probe.pt"):
        torch.save({"state": Trap(tmp_path / "sprung")}, tmp_path / name)
    with pytest.raises(UserError, match=r"dpo\.pt"):
        load_aligned(load_network(folder, "", COMPUTE), tmp_path / "dpo.pt")
    with pytest.raises(UserError, match=r"probe\.pt"):
        load_direction(str(tmp_path / "probe.pt"), 16)
    assert not (tmp_path / "sprung").exists()


def test_a_model_spread_by_device_map_reads_the_same(folder, network, prompts):
    spread = load_network(folder, "", replace(COMPUTE, device_map="auto"))
    tokenizer = word_tokenizer(Language().vocabulary)
    readings = [
        read_generation(traced(n, tokenizer), prompts, 4, torch.ones(16), batch_size=5)[1]
        for n in (network, spread)
    ]
    assert torch.allclose(readings[0].activation, readings[1].activation, atol=1e-5)


@pytest.mark.parametrize("name", ["gpt2-medium", "gpt2"])
def test_every_source_on_the_hub_has_a_commit_but_the_second_scorer(name):
    profile = load_profile(name)
    pinned = {
        profile.model.base: profile.model.revision,
        profile.scorer.name: profile.scorer.revision,
    } | {getattr(profile.data, k): getattr(profile.data, f"{k}_revision") for k in ("comments", "prompts")}
    pinned |= {
        getattr(profile.data, k): getattr(profile.data, f"{k}_revision") for k in ("text", "references")
    }
    assert len(pinned) == 5
    if profile.scorer.second:  # no commit of it is known here, as the profile says
        assert profile.scorer.second_revision == "main"
    for source, revision in pinned.items():
        assert len(revision) == 40, source


def test_without_a_network_the_paper_s_profile_names_every_source_in_a_line(tmp_path):
    offline = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "dpotox.run.book", "--profile", "gpt2-medium"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=offline)
    wrong = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    sections = [line.split(":")[1].split(".")[0].strip() for line in wrong]
    assert sections == ["model", *["data"] * 4, *["scorer"] * 2]
    assert "6dcaa7a952f72f9298047fd5137cd6e4f05f41da" in wrong[0]
    assert "HF_HUB_OFFLINE" in wrong[0]


def test_real_tokens_match_the_published_ids():
    published = Path(SHARED) / "reference" / "published.json"
    if not (SHARED / "gpt2-tokenizer").exists():
        pytest.skip("GPT-2's tokenizer is not here")
    tokenizer = load_tokenizer(SHARED / "gpt2-tokenizer")
    ids = json.loads(published.read_text())["token_ids"]
    del ids["source"]
    assert len(ids) == 8
    for word, expected in ids.items():
        assert tokenizer.encode(word) == expected, word[0] + "*" * (len(word) - 1)


def test_how_far_weights_moved_has_no_value_where_they_were_zero(model, other_model, network, other):
    table = weight_change(model, other_model).set_index("parameters")
    assert table.loc["mlp.c_proj.bias"].isna().all()
    old, new = (
        torch.cat([block.mlp.c_fc.weight.detach().flatten() for block in one.transformer.h])
        for one in (network, other)
    )
    expected = [(new - old).norm() / old.norm(), old @ new / old.norm() / new.norm()]
    assert table.loc["mlp.c_fc.weight"].tolist() == pytest.approx(list(map(float, expected)), rel=1e-4)
    shown = report.weight_change(table.reset_index()).to_html()
    assert "zero before" in shown
    assert "nan" not in shown
