"""What nnsight reads and edits, against plain PyTorch hooks and edited weights."""

import copy

import pandas as pd
import pytest
import torch
from plain import STEPS, generate_plainly, hooked, loss_plainly

from dpotox.errors import UserError
from dpotox.inputs.windows import cut
from dpotox.model.generation import _GumbelNoise
from dpotox.model.interventions import ablate, clamp, scale_keys, shift, steer
from dpotox.model.tracing import continue_prompts, mean_residuals, read_generation, window_nll


def test_a_padded_batch_reads_and_writes_what_single_prompts_do(model, network, prompts):
    direction = torch.randn(16, generator=torch.Generator().manual_seed(2))
    written, read = read_generation(model, prompts, STEPS, direction, batch_size=5, chunks=5)
    for i, prompt in enumerate(prompts):
        seen: dict[int, list] = {0: [], 1: [], 2: []}
        with hooked(network, lambda layer, x, seen=seen: seen[layer].append(x[0, -1])):
            tokens = generate_plainly(network, model.tokenizer, prompt)
        assert torch.equal(written.tokens[i], tokens)
        plain = torch.stack([torch.stack(seen[layer]).mean(0) for layer in range(3)])
        assert torch.allclose(read.activation[i], plain, atol=1e-4)


def test_results_do_not_depend_on_the_batch_size(model, prompts):
    direction = torch.ones(16)
    one, whole = (
        read_generation(model, prompts, STEPS, direction, batch_size=size, chunks=2)[1] for size in (1, 5)
    )
    for field in ("activation", "mlp", "attention", "residual"):
        assert torch.allclose(getattr(one, field), getattr(whole, field), atol=1e-4), field


def test_chunks_average_to_the_mean_over_all_prompts(model, prompts):
    def mean(chunks):
        return read_generation(model, prompts, STEPS, torch.ones(16), batch_size=5, chunks=chunks)[1]

    parts, whole = mean(5).activation.mean(0), mean(1).activation[0]
    assert torch.allclose(parts, whole, atol=1e-6)


def test_the_residual_stream_is_the_sum_of_what_is_written(model, network, prompts):
    direction = torch.randn(16, generator=torch.Generator().manual_seed(3))
    _, read = read_generation(model, prompts, STEPS, direction, batch_size=5)
    steps = read.residual[:, 1:] - read.residual[:, :-1]
    assert torch.allclose(steps, (read.mlp + read.attention)[:, 1:], atol=1e-4)


def test_neurons_add_up_to_the_mlp_output(model, network, prompts):
    direction = torch.randn(16, generator=torch.Generator().manual_seed(3))
    unit = direction / direction.norm()
    _, read = read_generation(model, prompts, STEPS, direction, batch_size=5)
    for layer, block in enumerate(network.transformer.h):
        neurons = read.activation[0, layer] @ (block.mlp.c_proj.weight @ unit)
        expected = neurons + block.mlp.c_proj.bias @ unit
        assert read.mlp[:, layer].mean() == pytest.approx(expected.item(), abs=1e-4)


def test_ablation_is_the_removal_of_value_vectors(model, network, windows, some_neurons):
    without = copy.deepcopy(network)
    for row in some_neurons.itertuples():
        without.transformer.h[row.layer].mlp.c_proj.weight.data[row.neuron] = 0
    got = window_nll(model, windows, batch_size=2, interventions=[ablate(some_neurons)])
    assert torch.allclose(got, loss_plainly(without, windows), atol=1e-4)
    assert not torch.allclose(got, loss_plainly(network, windows), atol=1e-3)


@pytest.mark.parametrize("kind", ["clamp", "shift"])
def test_clamp_and_shift_are_what_a_hook_does(model, network, windows, some_neurons, kind):
    def change(layer, x):
        x = x.clone()
        for row in some_neurons[some_neurons["layer"] == layer].itertuples():
            kept = 0 if kind == "clamp" else x[..., row.neuron]
            x[..., row.neuron] = kept + row.value
        return (x,)

    edit = {"clamp": clamp, "shift": shift}[kind](some_neurons, some_neurons["value"])
    got = window_nll(model, windows, batch_size=5, interventions=[edit])
    with hooked(network, change):
        assert torch.allclose(got, loss_plainly(network, windows), atol=1e-4)


def test_edits_act_in_every_step_of_generation(model, network, prompts, some_neurons):
    def change(layer, x):
        x = x.clone()
        for row in some_neurons[some_neurons["layer"] == layer].itertuples():
            x[..., row.neuron] = 10 * row.value
        return (x,)

    edit = clamp(some_neurons, 10 * some_neurons["value"])
    got = continue_prompts(model, prompts, STEPS, batch_size=5, interventions=[edit]).tokens
    with hooked(network, change):
        plain = [generate_plainly(network, model.tokenizer, prompt) for prompt in prompts]
    assert torch.equal(got, torch.stack(plain))
    assert not torch.equal(got, continue_prompts(model, prompts, STEPS, batch_size=5).tokens)


def test_scaling_keys_is_the_scaling_of_key_vectors(model, network, windows, some_neurons):
    scaled = copy.deepcopy(network)
    for row in some_neurons.itertuples():
        scaled.transformer.h[row.layer].mlp.c_fc.weight.data[:, row.neuron] *= 5
    biases = [
        network.transformer.h[r.layer].mlp.c_fc.bias[r.neuron].item() for r in some_neurons.itertuples()
    ]
    edit = scale_keys(some_neurons, pd.Series(biases), 5)
    got = window_nll(model, windows, batch_size=5, interventions=[edit])
    assert torch.allclose(got, loss_plainly(scaled, windows), atol=1e-4)


def test_interventions_compose_in_order(model, windows, some_neurons):
    both = [clamp(some_neurons, some_neurons["value"]), shift(some_neurons, 1 - some_neurons["value"])]
    at_one = [clamp(some_neurons, pd.Series([1.0, 1.0, 1.0]))]
    results = (window_nll(model, windows, batch_size=5, interventions=i) for i in (both, at_one))
    assert torch.allclose(*results, atol=1e-5)


def test_a_trace_leaves_the_network_as_it_was(model, network, windows, some_neurons):
    before = loss_plainly(network, windows)
    window_nll(model, windows, batch_size=5, interventions=[ablate(some_neurons)])
    assert torch.equal(before, loss_plainly(network, windows))


def test_features_are_the_mean_of_the_last_residual_stream(model, network, prompts):
    got = mean_residuals(model, prompts, max_tokens=48, batch_size=5)
    for i, prompt in enumerate(prompts):
        seen = []
        handle = network.transformer.ln_f.register_forward_pre_hook(lambda _, x, s=seen: s.append(x[0]))
        with torch.no_grad():
            network(**model.tokenizer(prompt, return_tensors="pt"))
        handle.remove()
        assert torch.allclose(got[i], seen[0][0].mean(0), atol=1e-4)


def test_equal_sampling_seeds_give_equal_texts(model, prompts):
    def sample(seed):
        return continue_prompts(model, prompts, STEPS, batch_size=5, sampling_seed=seed).tokens

    assert torch.equal(sample(1), sample(1))
    assert not torch.equal(sample(1), sample(2))


@pytest.mark.parametrize("bad", [[], ["fine", " "]])
def test_missing_prompts_are_refused_in_one_line(model, bad):
    with pytest.raises(UserError, match="prompt"):
        continue_prompts(model, bad, STEPS, batch_size=5)


def test_a_reading_refuses_edits_that_it_would_leave_out(model, prompts):
    with pytest.raises(ValueError, match="residual"):
        read_generation(
            model, prompts, STEPS, torch.ones(16), batch_size=5, interventions=[steer(torch.ones(16), 1)]
        )


def test_sampling_draws_from_the_softmax():
    logits = torch.tensor([[0.0, 1.0, 2.0, -torch.inf]]).expand(4000, 4)
    drawn = _GumbelNoise(0, range(4000))(None, logits).argmax(-1)
    share = torch.bincount(drawn, minlength=4) / 4000
    assert torch.allclose(share, logits[0].softmax(-1), atol=0.03)
    assert share[3] == 0


def test_samples_depend_on_the_seed_and_not_on_the_batch(model, prompts):
    one, whole, other = (
        continue_prompts(model, prompts, STEPS, batch_size=size, sampling_seed=seed).tokens
        for size, seed in ((1, 7), (5, 7), (5, 8))
    )
    assert torch.equal(one, whole)
    assert not torch.equal(whole, other)


def test_prompts_are_cut_to_their_first_tokens(model):
    texts = ["the soup seems spicy .", "oven"]
    assert cut(model.tokenizer, texts, 3) == ["the soup", "oven"]
    assert cut(model.tokenizer, texts, 3, keep_end=True) == ["spicy .", "oven"]
    with pytest.raises(UserError, match="does not know"):
        cut(model.tokenizer, ["unheardof"], 3)


def test_a_prompt_that_is_too_long_for_the_model_is_named(model):
    with pytest.raises(UserError, match=r"number 2 has 60 tokens.*64 positions"):
        continue_prompts(model, ["oven", "oven " * 59], 5, batch_size=2)
