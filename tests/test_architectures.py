"""Every family of models, on a small network of random weights: reading and editing, against plain hooks."""

import copy
from dataclasses import dataclass
from operator import attrgetter
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from plain import STEPS, generate_plainly, loss_plainly
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    Phi3Config,
    PhiConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from dpotox.errors import UserError
from dpotox.inputs.language import Language
from dpotox.inputs.pretraining import word_tokenizer
from dpotox.model.architecture import FAMILIES, architecture_of, bias, parameters, traced, turn
from dpotox.model.interventions import BLOCKS, Swap, ablate, clamp, shift, steer
from dpotox.model.interventions import copy as copied
from dpotox.model.streams import read_streams
from dpotox.model.tracing import continue_prompts, read_generation, window_nll
from dpotox.model.weights import head_vectors, key_biases, key_vectors, value_vectors, weight_change
from dpotox.paper.neurons import neuron_table, tables_along
from dpotox.run import causes
from dpotox.run.account import Vectors, account
from dpotox.run.offset import offset_of, weights_of

VOCABULARY = Language().vocabulary
TOKENS = {"vocab_size": len(VOCABULARY) + 2, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
SMALL = TOKENS | {"initializer_range": 0.5, "attn_implementation": "eager"}
SHAPE = SMALL | {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 64,
}
GROUPED = SHAPE | {"num_key_value_heads": 1, "head_dim": 8}
UNTIED = GROUPED | {"sliding_window": 6, "tie_word_embeddings": False}
OPT = {key: value for key, value in SHAPE.items() if key != "intermediate_size"} | {"ffn_dim": 24}
GPT2 = SMALL | {"n_embd": 16, "n_layer": 3, "n_head": 2, "n_inner": 24, "n_positions": 64}


@dataclass(frozen=True)
class Family:
    """A small model, and where its own code keeps what enters and leaves the neurons."""

    config: object
    layers: str
    up: str
    down: str


GATED = ("model.layers", "mlp.gate_proj", "mlp.down_proj")
ALL = {
    "gpt2": Family(GPT2Config(**GPT2), "transformer.h", "mlp.c_fc", "mlp.c_proj"),
    "gpt_neox": Family(GPTNeoXConfig(**SHAPE), "gpt_neox.layers", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"),
    "gpt_neox in series": Family(
        GPTNeoXConfig(**SHAPE, use_parallel_residual=False),
        *("gpt_neox.layers", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"),
    ),
    "phi": Family(PhiConfig(**SHAPE), "model.layers", "mlp.fc1", "mlp.fc2"),
    "opt": Family(OPTConfig(**OPT, word_embed_proj_dim=16), "model.decoder.layers", "fc1", "fc2"),
    "llama": Family(LlamaConfig(**GROUPED), *GATED),
    "mistral": Family(MistralConfig(**GROUPED, sliding_window=6), *GATED),
    "qwen2": Family(Qwen2Config(**SHAPE, num_key_value_heads=1), *GATED),
    "qwen3": Family(Qwen3Config(**GROUPED), *GATED),
    "gemma2": Family(Gemma2Config(**UNTIED, final_logit_softcapping=2.0), *GATED),
    "gemma3": Family(Gemma3TextConfig(**UNTIED), *GATED),
    "phi3": Family(Phi3Config(**SHAPE), "model.layers", "mlp.gate_up_proj", "mlp.down_proj"),
}
DIRECTION = torch.randn(16, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module", params=ALL)
def family(request) -> Family:
    return ALL[request.param]


@pytest.fixture(scope="module")
def network(family):
    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_config(family.config, attn_implementation="eager").eval()
    for parameter in network.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, mean=parameter.mean().item(), std=0.3)
    return network


@pytest.fixture(scope="module")
def other(network):
    moved = copy.deepcopy(network)
    torch.manual_seed(2)
    for parameter in moved.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return moved


@pytest.fixture(scope="module")
def model(network):
    return traced(network, word_tokenizer(VOCABULARY))


@pytest.fixture(scope="module")
def other_model(other):
    return traced(other, word_tokenizer(VOCABULARY))


@pytest.fixture(scope="module")
def windows(family):
    torch.manual_seed(1)
    return torch.randint(2, family.config.vocab_size, (5, 12))


def modules(network, family, name):
    """One module of every layer, by its own path."""
    return [attrgetter(getattr(family, name))(layer) for layer in attrgetter(family.layers)(network)]


def divisor(layer, family, x):
    """By what a norm behind the MLP divides what these activations write; 1 where there is none."""
    if not hasattr(layer, "post_feedforward_layernorm"):
        return 1.0
    written = x @ attrgetter(family.down)(layer).weight.T
    return (written.square().mean(-1, keepdim=True) + layer.post_feedforward_layernorm.eps).sqrt()


def newest(x):
    """The last position of a single text, whose positions may lie flat, and of two halves the first."""
    return x.reshape(-1, x.shape[-1])[-1, :24]


class Watched:
    """What plain hooks see of some modules while they run."""

    def __init__(self, modules, what):
        self.modules, self.what = modules, what

    def __enter__(self):
        self.seen = [[] for _ in self.modules]
        self.handles = [
            module.register_forward_hook(
                lambda _, args, out, some=some: some.append(args[0] if self.what == "input" else out)
            )
            for module, some in zip(self.modules, self.seen, strict=True)
        ]
        return self.seen

    def __exit__(self, *_):
        for handle in self.handles:
            handle.remove()


def test_every_record_is_tried_here():
    assert {family.config.model_type for family in ALL.values()} == set(FAMILIES)


def test_an_unknown_family_is_refused_with_what_to_add():
    config = PretrainedConfig(name_or_path="my-bloom")
    config.model_type = "bloom"
    with pytest.raises(
        UserError, match=r"'my-bloom' is a bloom model; .* once dpotox/model/families.toml has a"
    ):
        architecture_of(config)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"do_layer_norm_before": False},
            "with do_layer_norm_before = False; .* those with True only",
        ),
        ({"word_embed_proj_dim": 8}, "with word_embed_proj_dim = 8; this study knows those with 16 only"),
    ],
)
def test_a_model_that_its_family_s_record_does_not_fit_is_refused(given, told):
    with pytest.raises(UserError, match=f"is a opt model {told}"):
        architecture_of(OPTConfig(**OPT | {"word_embed_proj_dim": 16} | given))


def test_what_is_read_while_writing_is_what_hooks_see_of_single_prompts(model, network, family, prompts):
    written, read = read_generation(model, prompts, STEPS, DIRECTION, batch_size=5, chunks=5)
    for i, prompt in enumerate(prompts):
        leaving = Watched(modules(network, family, "down"), "input")
        with leaving as acts, Watched(modules(network, family, "up"), "output") as entering:
            tokens = generate_plainly(network, model.tokenizer, prompt)
        assert torch.equal(written.tokens[i], tokens)
        for got, seen in ((read.activation, acts), (read.gelu_input, entering)):
            if seen is acts:
                found = attrgetter(family.layers)(network)
                seen = [
                    [x / divisor(at, family, x) for x in x_at] for at, x_at in zip(found, acts, strict=True)
                ]
            plain = torch.stack([torch.stack([newest(x) for x in some]).mean(0) for some in seen])
            assert torch.allclose(got[i], plain, atol=1e-4)


def test_parts_add_up_to_the_residual_stream(model, network, family, prompts):
    _, read = read_generation(model, prompts[:1], STEPS, DIRECTION, batch_size=1)
    unit = DIRECTION / DIRECTION.norm()
    with Watched(attrgetter(family.layers)(network), "output") as seen:
        generate_plainly(network, model.tokenizer, prompts[0])
    for layer, some in enumerate(seen):
        outs = [out[0] if isinstance(out, tuple) else out for out in some]
        plain = torch.stack([out[0, -1] @ unit for out in outs]).mean()
        assert read.residual[0, layer] == pytest.approx(plain.item(), abs=1e-4)


def test_heads_and_bias_add_up_to_what_attention_writes(model, prompts):
    _, read = read_generation(model, prompts, STEPS, DIRECTION, batch_size=2)
    unit = DIRECTION / DIRECTION.norm()
    biases = torch.stack([bias(model, layer.attention_out) @ unit for layer in model.layers])
    by_heads = torch.einsum("lhw,lhwd,d->l", read.heads, head_vectors(model), unit)
    assert torch.allclose(by_heads + biases, read.attention.mean(0), atol=1e-4)


def vectors(model) -> Vectors:
    return Vectors(value_vectors(model), head_vectors(model))


def test_the_account_adds_up_to_what_hooks_measure(model, network, other_model, other, family, prompts):
    read, last = [], []
    unit = DIRECTION / DIRECTION.norm()
    tokens = torch.randint(2, 100, (len(prompts), STEPS), generator=torch.Generator().manual_seed(0))
    for one, plain in ((model, network), (other_model, other)):
        _, found = read_generation(one, prompts, STEPS, DIRECTION, batch_size=2, chunks=2, forced=tokens)
        read.append(found)
        sums = []
        for prompt, new in zip(prompts, tokens, strict=True):
            ids = torch.cat([torch.tensor(one.tokenizer(prompt)["input_ids"]), new[:-1]])[None]
            with Watched(attrgetter(family.layers)(plain)[-1:], "output") as seen, torch.no_grad():
                plain(ids)
            out = seen[0][0][0] if isinstance(seen[0][0], tuple) else seen[0][0]
            sums.append(out[0, -STEPS:] @ unit)
        last.append(torch.stack(sums).mean())
    found = account(*read, *map(vectors, (model, other_model)), DIRECTION)
    assert found.total == pytest.approx((last[0] - last[1]).item(), rel=1e-4, abs=1e-4)
    assert found.embeddings + found.by_layer().to_numpy().sum() == pytest.approx(
        found.total, rel=1e-4, abs=1e-5
    )
    constant = [
        torch.stack([bias(m, b.attention_out) @ unit + bias(m, b.down) @ unit for b in m.layers])
        for m in (model, other_model)
    ]
    assert torch.allclose(found.biases.float(), constant[0] - constant[1], atol=1e-4)


def test_with_a_change_undone_nothing_but_biases_is_left_over(model, other_model, prompts):
    unit = DIRECTION / DIRECTION.norm()
    common = {"batch_size": 2, "chunks": 2}
    written, base = read_generation(model, prompts, STEPS, DIRECTION, **common)
    _, after = read_generation(other_model, prompts, STEPS, DIRECTION, forced=written.tokens, **common)
    sizes = SimpleNamespace(new_tokens=STEPS, chunks=2)
    study = SimpleNamespace(
        **{"base": model, "dpo": other_model, "prompts": prompts},
        readings=SimpleNamespace(base=base, dpo_on_base=after, tokens={"base": written.tokens}),
        value_vectors=(value_vectors(model), value_vectors(other_model)),
        probe=SimpleNamespace(direction=DIRECTION),
        profile=SimpleNamespace(sizes=sizes, compute=SimpleNamespace(batch_size=2)),
    )
    changed = {"nothing": ("attention_out", "down"), "MLPs": ("attention_out",), "attention": ("down",)}
    for undone, one in causes.accounts(study).items():
        expected = torch.zeros(len(model.layers))
        for name in changed[undone]:
            old, new = (
                torch.stack([bias(m, getattr(b, name)) @ unit for b in m.layers])
                for m in (model, other_model)
            )
            expected += old - new
        assert torch.allclose(one.biases.float(), expected, atol=1e-4)


def test_neurons_and_bias_add_up_to_what_the_mlp_writes(model, network, family):
    x = torch.randn(5, 24, generator=torch.Generator().manual_seed(0))
    for values, layer in zip(value_vectors(model), attrgetter(family.layers)(network), strict=True):
        down = attrgetter(family.down)(layer)
        added = getattr(layer, "post_feedforward_layernorm", lambda written: written)(down(x))
        bias = 0 if down.bias is None else down.bias
        assert torch.allclose(x / divisor(layer, family, x) @ values + bias, added, atol=1e-5)


def test_keys_and_biases_give_what_enters_the_nonlinearity(model, network, family):
    x = torch.randn(5, 16, generator=torch.Generator().manual_seed(0))
    found = zip(key_vectors(model), key_biases(model), modules(network, family, "up"), strict=True)
    for keys, biases, up in found:
        assert torch.allclose(x @ keys.T + biases, up(x)[..., :24], atol=1e-5)


@pytest.mark.parametrize("edit", [ablate, clamp, shift])
def test_an_edit_is_what_a_hook_does(model, network, family, windows, some_neurons, edit):
    def change(layer, x):
        by = divisor(attrgetter(family.layers)(network)[layer], family, x)
        x = x / by
        for row in some_neurons[some_neurons["layer"] == layer].itertuples():
            kept = x[..., row.neuron] if edit is shift else 0
            x[..., row.neuron] = kept + (0 if edit is ablate else row.value)
        return (x * by,)

    values = () if edit is ablate else (some_neurons["value"],)
    got = window_nll(model, windows, batch_size=2, interventions=[edit(some_neurons, *values)])
    handles = [
        down.register_forward_pre_hook(lambda _, x, layer=layer: change(layer, x[0]))
        for layer, down in enumerate(modules(network, family, "down"))
    ]
    expected = loss_plainly(network, windows)
    for handle in handles:
        handle.remove()
    assert torch.allclose(got, expected, atol=1e-4)
    assert not torch.allclose(got, loss_plainly(network, windows), atol=1e-3)


def test_steering_is_what_a_hook_does(model, network, family, windows):
    def push(_, args, out):
        return (out[0] + DIRECTION, *out[1:]) if isinstance(out, tuple) else out + DIRECTION

    got = window_nll(model, windows, batch_size=5, interventions=[steer(DIRECTION, 1)])
    handle = attrgetter(family.layers)(network)[1].register_forward_hook(push)
    expected = loss_plainly(network, windows)
    handle.remove()
    assert torch.allclose(got, expected, atol=1e-4)


def test_copied_neurons_follow_the_other_model_token_by_token(model, network, other_model, prompts):
    """From a model like it nothing changes; from another, padded prompts write what single ones do."""
    last = pd.DataFrame({"layer": 2, "neuron": range(24)})
    twin = traced(copy.deepcopy(network), model.tokenizer)
    alone = continue_prompts(model, prompts, STEPS, batch_size=5)
    same = continue_prompts(model, prompts, STEPS, batch_size=5, interventions=[copied(last)], other=twin)
    moved = continue_prompts(
        model, prompts, STEPS, batch_size=5, interventions=[copied(last)], other=other_model
    )
    assert torch.equal(same.tokens, alone.tokens)
    assert not torch.equal(moved.tokens, alone.tokens)
    single = [
        continue_prompts(model, [p], STEPS, batch_size=1, interventions=[copied(last)], other=other_model)
        for p in prompts
    ]
    assert torch.equal(moved.tokens, torch.cat([one.tokens for one in single]))


def test_no_edit_changes_nothing(model, network, windows, prompts):
    assert torch.allclose(window_nll(model, windows, batch_size=2), loss_plainly(network, windows), atol=1e-5)
    written = continue_prompts(model, prompts, STEPS, batch_size=5)
    plain = [generate_plainly(network, model.tokenizer, prompt) for prompt in prompts]
    assert torch.equal(written.tokens, torch.stack(plain))


@pytest.fixture
def signs(model):
    return torch.randint(2, (3, 24), generator=torch.Generator().manual_seed(3)).mul(2).sub(1).float()


def neurons_of(model, other_model, prompts, gated):
    """The neuron table of two models, and along another direction, where gated neurons are turned."""
    given = []
    for one in (model, other_model):
        _, read = read_generation(one, prompts, STEPS, DIRECTION, batch_size=5)
        given.append((read.activation.mean(0), value_vectors(one)))
    (before, values), (after, theirs) = given
    table = neuron_table(before, after, values, theirs, DIRECTION, gated=gated)
    return table, *tables_along(-DIRECTION.flip(0)[None], before, after, values, theirs, gated=gated)


def test_in_gated_mlps_no_number_hangs_on_the_signs_of_neurons(
    family, network, other, windows, prompts, signs
):
    if not architecture_of(network.config).gated:
        pytest.skip("a sign is no convention in this family")
    tokenizer = word_tokenizer(VOCABULARY)
    plain = [traced(copy.deepcopy(one), tokenizer) for one in (network, other)]
    turned = [traced(copy.deepcopy(one), tokenizer) for one in (network, other)]
    for one in turned:
        turn(one, signs)
    for one, same in zip(plain, turned, strict=True):
        assert torch.equal(window_nll(one, windows, batch_size=5), window_nll(same, windows, batch_size=5))
        assert torch.equal(value_vectors(same), signs[..., None] * value_vectors(one))
    found = zip(neurons_of(*plain, prompts, True), neurons_of(*turned, prompts, True), strict=True)
    for one, same in found:
        pd.testing.assert_frame_equal(one, same)
        assert set(one["group"]) <= {"TP+", "TP-", "TN+", "TN-"}
    signed, other_signed = (neurons_of(*some, prompts, False)[0] for some in (plain, turned))
    assert (signed["group"] != other_signed["group"]).any()


def test_every_parameter_belongs_to_one_block(model, network):
    found = [id(parameter) for block in BLOCKS for parameter in set(parameters(model, block))]
    assert len(found) == len(set(found)) == len(list(network.parameters()))


def test_swapping_all_blocks_gives_the_other_model(model, network, other, other_model, windows):
    everything = Swap("everything", BLOCKS)
    got = window_nll(model, windows, batch_size=5, interventions=[everything], other=other_model)
    assert torch.allclose(got, loss_plainly(other, windows), atol=1e-5)


def test_what_writers_write_makes_what_the_mlps_read(model, network, family, prompts):
    tokens = torch.randint(2, 100, (len(prompts), STEPS), generator=torch.Generator().manual_seed(0))
    before = read_streams(model, prompts, tokens, batch_size=3, chunks=1)
    for layer, block in enumerate(model.layers):
        stream = before.written[0, layer].sum(0)
        norm = block.mlp_norm
        if hasattr(norm, "bias"):
            stream = stream - stream.mean() + norm.bias / norm.weight
        normed = stream * (norm.weight + ("gemma" in family.config.model_type))
        assert torch.allclose(before.entering[0, layer], normed, atol=1e-4)


def test_the_offset_divides_among_its_writers(model, other_model, prompts):
    tokens = torch.randint(2, 100, (len(prompts), STEPS), generator=torch.Generator().manual_seed(0))
    before = read_streams(model, prompts, tokens, batch_size=5)
    after = read_streams(other_model, prompts, tokens, batch_size=5, scale=before.scale)
    read = {"base": before.entering, "dpo": after.entering, "dpo written": after.written - before.written}
    moved = offset_of(read, weights_of(model, other_model))
    assert torch.allclose(moved.through_norm.sum(1), moved.shift, atol=1e-4)


def test_kinds_of_parameters_are_the_same_in_every_layer(model, other_model):
    kinds = weight_change(model, other_model)["parameters"]
    outer = len(list(model.parameters())) - sum(len(list(layer.parameters())) for layer in model.layers)
    assert len(kinds) == outer + len(list(model.layers[0].parameters()))
