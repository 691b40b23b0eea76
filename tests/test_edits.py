"""Edits that reach across positions or models: newest position, copy, swap; against plain PyTorch."""

import copy as copying
from contextlib import contextmanager

import pytest
import torch
from plain import STEPS, hooked, loss_plainly

from dpotox.model.architecture import parameters
from dpotox.model.interventions import BLOCKS, Swap, ablate, at_newest, clamp, copy, copy_stream
from dpotox.model.tracing import continue_prompts, read_generation, window_nll

PARTS = {
    "MLP in": (".mlp.c_fc.",),
    "MLP out": (".mlp.c_proj.",),
    "attention": (".attn.",),
    "embeddings": (".wte.", ".wpe.", "lm_head."),
    "norms": (".ln_",),
}
"""Parts of the names of a GPT-2's parameters, by block."""


def activations_plainly(network, ids) -> list[torch.Tensor]:
    seen = {}
    with hooked(network, lambda layer, x: seen.update({layer: x.clone()})), torch.no_grad():
        network(ids)
    return [seen[layer] for layer in range(len(network.transformer.h))]


def copied(other, neurons, ids):
    """A hook's change that gives some neurons the other network's activations on these tokens."""
    theirs = activations_plainly(other, ids)

    def change(layer, x):
        x = x.clone()
        chosen = neurons.loc[neurons["layer"] == layer, "neuron"].tolist()
        x[..., chosen] = theirs[layer][..., chosen]
        return (x,)

    return change


def test_copied_neurons_follow_the_other_model_on_the_same_text(
    model,
    network,
    other,
    other_model,
    windows,
    some_neurons,
):
    edit = copy(some_neurons)
    got = window_nll(model, windows, batch_size=2, interventions=[edit], other=other_model)
    with hooked(network, copied(other, some_neurons, windows)):
        assert torch.allclose(got, loss_plainly(network, windows), atol=1e-4)


def test_copying_works_in_every_step_of_a_padded_generation(
    model,
    network,
    other,
    other_model,
    prompts,
    some_neurons,
):
    edit = copy(some_neurons)
    got = continue_prompts(model, prompts, STEPS, batch_size=5, interventions=[edit], other=other_model)
    for prompt, tokens in zip(prompts, got.tokens, strict=True):
        ids = model.tokenizer(prompt, return_tensors="pt")["input_ids"]
        for _ in range(STEPS):  # without a cache: the whole text again for every token
            with hooked(network, copied(other, some_neurons, ids)), torch.no_grad():
                ids = torch.cat([ids, network(ids).logits[:, -1:].argmax(-1)], dim=1)
        assert torch.equal(ids[0, -STEPS:], tokens)
    assert not torch.equal(got.tokens, continue_prompts(model, prompts, STEPS, batch_size=5).tokens)


def streams_plainly(network, ids) -> list[torch.Tensor]:
    """The residual stream after every layer."""
    seen = []
    hooks = [
        b.register_forward_hook(lambda _, __, out: seen.append(out.clone())) for b in network.transformer.h
    ]
    with torch.no_grad():
        network(ids)
    for hook in hooks:
        hook.remove()
    return seen


@contextmanager
def with_stream_of(network, other, layer, basis, ids):
    """After a layer the part of the residual stream along a basis is the other network's on these tokens."""
    theirs = streams_plainly(other, ids)[layer]
    across = torch.eye(len(basis)) - basis @ basis.T
    hook = network.transformer.h[layer].register_forward_hook(
        lambda _, __, out: out @ across + theirs @ basis @ basis.T
    )
    yield
    hook.remove()


@pytest.fixture(params=[1, 5], ids=["one direction", "five"])
def basis(request, network) -> torch.Tensor:
    torch.manual_seed(3)
    return torch.linalg.qr(torch.randn(network.config.n_embd, request.param))[0]


@pytest.mark.parametrize("layer", [0, 2])
def test_a_copied_part_of_the_stream_is_the_other_models_on_the_same_text(
    model, network, other, other_model, windows, basis, layer
):
    edit = copy_stream(layer, basis)
    got = window_nll(model, windows, batch_size=2, interventions=[edit], other=other_model)
    with with_stream_of(network, other, layer, basis, windows):
        assert torch.allclose(got, loss_plainly(network, windows), atol=1e-4)
    assert not torch.allclose(got, loss_plainly(network, windows), atol=1e-3)


def test_a_part_of_the_stream_is_copied_in_every_step_of_a_padded_generation(
    model, network, other, other_model, prompts, basis
):
    edit = copy_stream(1, basis)
    got = continue_prompts(model, prompts, STEPS, batch_size=5, interventions=[edit], other=other_model)
    for prompt, tokens in zip(prompts, got.tokens, strict=True):
        ids = model.tokenizer(prompt, return_tensors="pt")["input_ids"]
        for _ in range(STEPS):
            with with_stream_of(network, other, 1, basis, ids), torch.no_grad():
                ids = torch.cat([ids, network(ids).logits[:, -1:].argmax(-1)], dim=1)
        assert torch.equal(ids[0, -STEPS:], tokens)


def test_the_whole_last_stream_gives_the_other_model_but_for_what_reads_it(
    model, network, other, other_model, windows
):
    edit = copy_stream(2, torch.eye(network.config.n_embd))
    got = window_nll(model, windows, batch_size=5, interventions=[edit], other=other_model)
    mixed = copying.deepcopy(other)  # whose final norm and unembedding are those of the first
    mixed.transformer.ln_f = network.transformer.ln_f
    mixed.lm_head.weight = network.lm_head.weight
    assert torch.allclose(got, loss_plainly(mixed, windows), atol=1e-4)


def test_neurons_and_streams_are_copied_together(
    model, network, other, other_model, windows, some_neurons, basis
):
    edits = [copy_stream(0, basis), copy(some_neurons)]
    got = window_nll(model, windows, batch_size=5, interventions=edits, other=other_model)
    with (
        with_stream_of(network, other, 0, basis, windows),
        hooked(network, copied(other, some_neurons, windows)),
    ):
        assert torch.allclose(got, loss_plainly(network, windows), atol=1e-4)


def test_swapping_all_blocks_gives_the_other_model_and_leaves_this_one(
    model, network, other, other_model, windows
):
    before = loss_plainly(network, windows)
    everything = Swap("everything", tuple(BLOCKS))
    got = window_nll(model, windows, batch_size=5, interventions=[everything], other=other_model)
    assert torch.allclose(got, loss_plainly(other, windows), atol=1e-5)
    assert torch.equal(before, loss_plainly(network, windows))


@pytest.mark.parametrize("block", BLOCKS)
def test_a_swapped_block_is_the_other_models_and_nothing_else_is(
    model, network, other, other_model, windows, block
):
    mixed = copying.deepcopy(network)
    theirs = dict(other.named_parameters())
    for name, parameter in mixed.named_parameters():
        if any(part in name for part in PARTS[block]):
            parameter.data = theirs[name].data.clone()
    got = window_nll(model, windows, batch_size=5, interventions=[Swap(block, (block,))], other=other_model)
    assert torch.allclose(got, loss_plainly(mixed, windows), atol=1e-5)
    assert not torch.allclose(got, loss_plainly(network, windows), atol=1e-3)


def test_every_parameter_belongs_to_one_block(model, network):
    found = [id(parameter) for block in BLOCKS for parameter in parameters(model, block)]
    assert len(set(found)) == len(list(network.parameters()))
    for name, parameter in network.named_parameters():
        own = [block for block in BLOCKS if any(parameter is one for one in parameters(model, block))]
        assert own == [block for block, some in PARTS.items() if any(part in name for part in some)], name


def test_the_newest_position_is_the_last_while_generating(model, network, prompts, some_neurons):
    edit = at_newest(clamp(some_neurons, 10 * some_neurons["value"]), "newest")

    def change(layer, x):
        x = x.clone()
        for row in some_neurons[some_neurons["layer"] == layer].itertuples():
            x[:, -1, row.neuron] = 10 * row.value
        return (x,)

    got = continue_prompts(model, prompts, STEPS, batch_size=5, interventions=[edit]).tokens
    options = {"max_new_tokens": STEPS, "min_new_tokens": STEPS, "do_sample": False}
    for prompt, tokens in zip(prompts, got, strict=True):
        with hooked(network, change), torch.no_grad():
            plain = network.generate(**model.tokenizer(prompt, return_tensors="pt"), **options)
        assert torch.equal(plain[0, -STEPS:], tokens)


def test_in_given_text_the_newest_position_is_the_first_as_published(model, network, windows, some_neurons):
    edit = at_newest(ablate(some_neurons), "newest")

    def change(layer, x):
        x = x.clone()
        x[:, 0, some_neurons.loc[some_neurons["layer"] == layer, "neuron"].tolist()] = 0
        return (x,)

    got = window_nll(model, windows, batch_size=5, interventions=[edit])
    with hooked(network, change):
        assert torch.allclose(got, loss_plainly(network, windows), atol=1e-4)


@pytest.mark.parametrize("taken", [Swap("all", ("attention",)), copy_stream(0, torch.eye(16)), "copy"])
def test_what_is_taken_from_no_model_is_refused(model, windows, some_neurons, taken):
    edit = copy(some_neurons) if taken == "copy" else taken
    with pytest.raises(ValueError, match="other"):
        window_nll(model, windows, batch_size=5, interventions=[edit])


def test_forced_tokens_are_read_as_the_model_would_read_its_own(model, other_model, prompts):
    direction = torch.randn(model.config.n_embd, generator=torch.Generator().manual_seed(0))
    common = {"batch_size": 2, "chunks": 5}
    own, read = read_generation(model, prompts, STEPS, direction, **common)
    again, reread = read_generation(model, prompts, STEPS, direction, **common, forced=own.tokens)
    assert again.texts == own.texts
    assert torch.allclose(reread.activation, read.activation, atol=1e-6)
    theirs, read_theirs = read_generation(other_model, prompts, STEPS, direction, **common, forced=own.tokens)
    assert theirs.texts == own.texts
    assert not torch.allclose(read_theirs.activation, read.activation, atol=1e-2)
