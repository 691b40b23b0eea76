"""What we take for granted of nnsight, one idiom a test, against plain PyTorch.

After an update, the test that fails names what has changed, and its docstring where the library leans on it.
"""

import nnsight
import pytest
import torch
from plain import STEPS

from dpotox.inputs.networks import load_tokenizer
from dpotox.model.architecture import traced

READ = (
    "transformer.wte.input",
    "transformer.wpe.input",
    "transformer.h.0.input",
    "transformer.h.1.mlp.c_fc.output",
    "transformer.h.1.mlp.c_proj.input",
    "transformer.h.1.output",
    "transformer.ln_f.input",
    "lm_head.output",
)
"""Everything that the library reads but attention, in the order of the forward pass."""
EDITED = ("transformer.h.1.mlp.c_fc.output", "transformer.h.1.mlp.c_proj.input", "transformer.h.1.output")
"""Everything that the library edits: `interventions.SITES`."""
EXACTLY = {"max_new_tokens": STEPS, "min_new_tokens": STEPS, "do_sample": False}
ONE = {"max_new_tokens": 1, "min_new_tokens": 1}


@pytest.fixture
def batch(windows):
    """Rows of one length, so that what becomes of padding is shown by the tests on that alone."""
    return {"input_ids": windows, "attention_mask": torch.ones_like(windows)}


@pytest.fixture
def padded(model, prompts):
    """A left-padded batch as `generation.batches` makes it."""
    model.tokenizer.padding_side = "left"
    made = model.tokenizer(prompts, padding=True, return_tensors="pt")
    return {name: made[name] for name in ("input_ids", "attention_mask")}


class Hooked:
    """Plain hooks on one place, `module.input` or `module.output`: what is seen there, call by call."""

    def __init__(self, network, place: str, change=None) -> None:
        name, _, side = place.rpartition(".")
        module = network.get_submodule(name)

        def before(_module, args):
            self.seen.append(args[0].clone())
            return (change(args[0].clone()),) if change else None

        def after(_module, _args, result):
            self.seen.append((result[0] if isinstance(result, tuple) else result).clone())
            return change(result.clone()) if change else None

        self.seen: list[torch.Tensor] = []
        if side == "input":
            self.handle = module.register_forward_pre_hook(before)
        else:
            self.handle = module.register_forward_hook(after)

    def __enter__(self) -> list[torch.Tensor]:
        return self.seen

    def __exit__(self, *_error) -> None:
        self.handle.remove()


def at(model, place: str):
    """A place of a traced model, looked up as the library writes it: `model.transformer.h[1].output`."""
    for name in place.split("."):
        model = model[int(name)] if name.isdigit() else getattr(model, name)
    return model


def logits(network, batch) -> torch.Tensor:
    with torch.no_grad():
        return network(**batch).logits


def sequences_of(network, batch, **settings) -> torch.Tensor:
    with torch.no_grad():
        return network.generate(**batch, **EXACTLY, **settings)


# The wrapped network


def test_a_wrapped_network_keeps_its_names_and_shares_its_weights(model, network):
    """`models.traced`: weights are read and swapped through it (`value_vectors`, `edits._swapped`)."""
    ours, theirs = dict(model.named_parameters()), dict(network.named_parameters())
    assert list(ours) == list(theirs)
    assert all(ours[name] is theirs[name] for name in theirs)
    assert model.transformer.h[1].mlp.c_proj.weight is network.transformer.h[1].mlp.c_proj.weight
    assert len(model.transformer.h) == 3


def test_a_wrapped_network_has_its_configuration_device_and_tokenizer(network, tmp_path, model):
    """`generation.batches`, `tracing`: `model.config`, `model.device`, `model.tokenizer`."""
    model.tokenizer.save_pretrained(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    wrapped = traced(network, tokenizer)
    assert wrapped.tokenizer is tokenizer
    assert wrapped.tokenizer.padding_side == "left"
    assert wrapped.config.n_positions == 64
    assert wrapped.device == torch.device("cpu")


def test_weights_changed_in_place_are_those_of_the_next_trace(model, network, batch):
    """`edits._swapped`: no copy of the weights is kept anywhere."""
    weight = network.transformer.h[1].mlp.c_proj.weight
    before, kept = logits(network, batch), weight.detach().clone()
    try:
        with torch.no_grad():
            weight.mul_(2)
            with model.trace(batch):
                got = nnsight.save(model.lm_head.output)
        assert torch.equal(got, logits(network, batch))
        assert not torch.allclose(got, before, atol=1e-2)
    finally:
        with torch.no_grad():
            weight.copy_(kept)


# Reading


def test_a_padded_batch_in_a_trace_gives_what_each_prompt_gives_alone(model, network, padded, prompts):
    """`tracing.mean_residuals`: nnsight counts positions from the mask, which the plain network does not."""
    with torch.no_grad(), model.trace(padded):
        got = nnsight.save(model.lm_head.output)
    assert got.shape[:2] == padded["input_ids"].shape
    for row, prompt in zip(got, prompts, strict=True):
        alone = logits(network, model.tokenizer(prompt, return_tensors="pt"))[0]
        assert torch.allclose(row[-len(alone) :], alone, atol=1e-4)


def test_a_padded_batch_is_continued_in_a_trace_as_each_prompt_is_alone(model, network, padded, prompts):
    """`tracing.continue_prompts`: the mask reaches every step."""
    with torch.no_grad(), model.generate(padded, **EXACTLY) as tracer:
        for _step in tracer.iter[:STEPS]:
            pass
        sequences = nnsight.save(tracer.result)
    for row, prompt in zip(sequences, prompts, strict=True):
        alone = sequences_of(network, model.tokenizer(prompt, return_tensors="pt"))[0]
        assert torch.equal(row[-STEPS:], alone[-STEPS:])


def test_ids_of_our_own_are_taken_as_they_are(model, network, batch):
    """`tracing.window_nll`: nothing is put before them, and nothing is cut."""
    with torch.no_grad(), model.trace(batch):
        got = nnsight.save(model.lm_head.output)
    assert torch.equal(got, logits(network, batch))


def test_positions_that_we_give_are_taken_as_they_are(model, network, batch):
    """`edits.ReadAlong`: the other model reads at the positions of the traced one."""
    positions = torch.arange(batch["input_ids"].shape[1]).expand_as(batch["input_ids"]) + 7
    with torch.no_grad(), model.trace(batch | {"position_ids": positions}):
        got = nnsight.save(model.lm_head.output)
    assert torch.equal(got, logits(network, batch | {"position_ids": positions}))
    assert not torch.allclose(got, logits(network, batch), atol=1e-2)


@pytest.mark.parametrize("place", READ)
def test_input_and_output_are_the_tensors_that_hooks_see(model, network, batch, place):
    """All readings: `.input` is the first argument; `.output` of a layer is a tensor, not a tuple."""
    with Hooked(network, place) as seen:
        logits(network, batch)
    with torch.no_grad(), model.trace(batch):
        got = nnsight.save(at(model, place))
    assert type(got) is torch.Tensor
    assert torch.equal(got, seen[0])


def test_attention_has_several_outputs_of_which_the_first_is_written(model, network, batch):
    """`tracing.read_generation`: `block.attn.output[0]`."""
    with Hooked(network, "transformer.h.1.attn.output") as seen:
        logits(network, batch)
    with torch.no_grad(), model.trace(batch):
        got = nnsight.save(model.transformer.h[1].attn.output[0])
    assert got.shape == (5, batch["input_ids"].shape[1], 16)
    assert torch.equal(got, seen[0])


def test_what_is_computed_in_a_trace_is_a_plain_tensor_after_it(model, network, batch):
    """`tracing.window_nll`: the loss is taken inside, and only its mean is kept."""
    with torch.no_grad(), model.trace(batch):
        mean = nnsight.save(model.lm_head.output[:, :-1].float().mean(1))
    assert type(mean) is torch.Tensor
    assert not mean.requires_grad
    assert torch.allclose(mean, logits(network, batch)[:, :-1].mean(1))


def test_a_list_of_modules_is_read_in_one_line(model, network, batch):
    """`edits.ReadAlong.activations`: a list comprehension over layers, saved as a whole."""
    layers = [0, 2]
    with torch.no_grad(), model.trace(batch):
        got = nnsight.save([model.transformer.h[layer].mlp.c_proj.input for layer in layers])
    assert len(got) == 2
    for layer, acts in zip(layers, got, strict=True):
        with Hooked(network, f"transformer.h.{layer}.mlp.c_proj.input") as seen:
            logits(network, batch)
        assert torch.equal(acts, seen[0])


def test_functions_of_other_modules_are_called_with_parts_of_the_model(model, network, batch):
    """`edits.Plan.apply(block, ...)`: a trace is not limited to the text of its block."""
    read = []

    def look(block):
        read.append(block.mlp.c_proj.input.sum())

    with Hooked(network, "transformer.h.0.mlp.c_proj.input") as seen:
        logits(network, batch)
    with torch.no_grad(), model.trace(batch):
        look(model.transformer.h[0])
        total = nnsight.save(read[-1])
    assert torch.equal(total, seen[0].sum())


# Editing


@pytest.mark.parametrize("place", EDITED)
def test_a_tensor_edited_in_place_reaches_the_model_without_being_put_back(model, network, batch, place):
    """`edits.Plan.apply`: `scatter_` on a slice."""
    neurons = torch.tensor([3, 7])

    def change(acts):
        acts[:, -1:, neurons] = 2.0
        return acts

    with Hooked(network, place, change):
        expected = logits(network, batch)
    with torch.no_grad(), model.trace(batch):
        here = at(model, place)[:, -1:]
        here.scatter_(-1, neurons.expand(*here.shape[:-1], -1), 2.0)
        got = nnsight.save(model.lm_head.output)
    assert torch.equal(got, expected)
    assert not torch.allclose(got[:, -1], logits(network, batch)[:, -1], atol=1e-2)


def test_the_same_place_is_read_again_after_it_was_edited(model, network, batch):
    """`tracing.read_generation`: edit and reading both ask for `c_proj.input`, in turn."""
    with torch.no_grad(), model.trace(batch):
        model.transformer.h[1].mlp.c_proj.input[..., 3] = 2.0
        again = nnsight.save(model.transformer.h[1].mlp.c_proj.input.clone())
        got = nnsight.save(model.lm_head.output)
    assert (again[..., 3] == 2).all()
    assert not torch.allclose(got, logits(network, batch), atol=1e-2)


def test_a_trace_leaves_no_edit_behind(model, network, batch):
    """`tracing`: every trace begins from the model as it is."""
    before = logits(network, batch)
    with torch.no_grad(), model.trace(batch):
        model.transformer.h[1].mlp.c_proj.input.zero_()
    assert torch.equal(logits(network, batch), before)
    with torch.no_grad(), model.trace(batch):
        got = nnsight.save(model.lm_head.output)
    assert torch.equal(got, before)


# Generating


def test_the_steps_of_generation_are_visited_once_each_and_in_order(model, network, batch):
    """`tracing`, `per_token`: `tracer.iter[:n]` begins with the prompt; step i reads the token before."""
    with torch.no_grad(), model.generate(batch, **EXACTLY) as tracer:
        ids = nnsight.save([])
        for _step in tracer.iter[:STEPS]:
            ids.append(model.transformer.wte.input)
    expected = sequences_of(network, batch)
    length = batch["input_ids"].shape[1]
    assert len(ids) == STEPS
    assert torch.equal(ids[0], batch["input_ids"])
    assert torch.equal(torch.cat(list(ids[1:]), 1), expected[:, length:-1])


def test_the_result_of_generation_is_the_prompts_and_what_was_written(model, network, batch):
    """`tracing.continue_prompts`: `tracer.result`, asked for after the loop."""
    with torch.no_grad(), model.generate(batch, **EXACTLY) as tracer:
        for _step in tracer.iter[:STEPS]:
            model.transformer.h[0].mlp.c_proj.input.mul_(1)
        sequences = nnsight.save(tracer.result)
    assert torch.equal(sequences, sequences_of(network, batch))


def test_a_loop_that_touches_nothing_still_ends_with_the_result(model, network, batch):
    """`tracing.continue_prompts` without interventions: the body of its loop is then empty."""
    with torch.no_grad(), model.generate(batch, **EXACTLY) as tracer:
        for _step in tracer.iter[:STEPS]:
            for _block in model.transformer.h:
                pass
        sequences = nnsight.save(tracer.result)
    assert torch.equal(sequences, sequences_of(network, batch))


def test_one_step_is_generated_too(model, network, batch):
    """`measure._generation`: a loop of one step, the prompt's own pass."""
    with torch.no_grad(), model.generate(batch, **EXACTLY | ONE) as tracer:
        acts = nnsight.save([])
        for _step in tracer.iter[:1]:
            acts.append(model.transformer.h[0].mlp.c_proj.input)
        sequences = nnsight.save(tracer.result)
    assert len(acts) == 1
    assert torch.equal(sequences[:, -1], logits(network, batch)[:, -1].argmax(-1))


def test_a_saved_tensor_is_added_to_over_all_steps(model, network, batch):
    """`tracing.read_generation`: `index_add_` and `+=` on tensors made and saved before the loop."""
    place, rows = "transformer.h.1.mlp.c_proj.input", torch.zeros(5, dtype=torch.long)
    with Hooked(network, place) as seen:
        sequences_of(network, batch)
    with torch.no_grad(), model.generate(batch, **EXACTLY) as tracer:
        sums = nnsight.save(torch.zeros(1, 24))
        part = nnsight.save(torch.zeros(5, 2))
        for _step in tracer.iter[:STEPS]:
            newest = model.transformer.h[1].mlp.c_proj.input[:, -1]
            sums.index_add_(0, rows, newest)
            part[:, 1] += newest[:, 3]
    newest = torch.stack([acts[:, -1] for acts in seen])
    assert torch.allclose(sums[0], newest.sum((0, 1)), atol=1e-4)
    assert torch.allclose(part[:, 1], newest[..., 3].sum(0), atol=1e-4)
    assert not part[:, 0].any()


def test_edits_in_the_loop_act_in_every_step(model, network, batch):
    """`tracing.continue_prompts`: no step is left alone, the prompt's not and the last not."""
    place = "transformer.h.1.mlp.c_proj.input"

    def change(acts):
        acts[..., 3] = 10.0
        return acts

    with Hooked(network, place, change):
        expected = sequences_of(network, batch)
    with torch.no_grad(), model.generate(batch, **EXACTLY) as tracer:
        for _step in tracer.iter[:STEPS]:
            model.transformer.h[1].mlp.c_proj.input[..., 3] = 10.0
        sequences = nnsight.save(tracer.result)
    assert torch.equal(sequences, expected)
    assert not torch.equal(sequences, sequences_of(network, batch))


def test_another_model_is_traced_within_a_step(model, network, other, other_model, batch):
    """`edits.ReadAlong`: the other model reads along, and its activations are put into this one."""
    place = "transformer.h.1.mlp.c_proj.input"
    theirs: list[torch.Tensor] = []

    def change(acts):
        acts[:, -1] = theirs[-1][:, -1]
        return acts

    def read_along(ids):
        with Hooked(other, place) as seen, torch.no_grad():
            other(ids, attention_mask=torch.ones_like(ids))
        theirs.append(seen[0])

    before_each_step = network.transformer.wte.register_forward_pre_hook(lambda _, args: read_along(args[0]))
    with before_each_step, Hooked(network, place, change):
        expected = sequences_of(network, batch)
    with torch.no_grad(), model.generate(batch, **EXACTLY) as tracer:
        for _step in tracer.iter[:STEPS]:
            ids = model.transformer.wte.input
            with other_model.trace({"input_ids": ids, "attention_mask": torch.ones_like(ids)}):
                acts = nnsight.save(other_model.transformer.h[1].mlp.c_proj.input)
            model.transformer.h[1].mlp.c_proj.input[:, -1] = acts[:, -1]
        sequences = nnsight.save(tracer.result)
    assert torch.equal(sequences, expected)
    assert not torch.equal(sequences, sequences_of(network, batch))


class Written:
    """A logits processor that writes the tokens 7, 8, 9 and so on, and counts its calls."""

    calls = 0

    def __call__(self, input_ids, scores):
        self.calls += 1
        chosen = torch.full((len(scores), 1), 6 + self.calls)
        return torch.full_like(scores, -torch.inf).scatter(1, chosen, 0.0)


def test_logits_processors_are_passed_on_and_called_once_a_step(model, batch):
    """`generation.decoding`: sampling and forced tokens; noise must be drawn once per step."""
    processor = Written()
    with torch.no_grad(), model.generate(batch, **EXACTLY, logits_processor=[processor]) as tracer:
        for _step in tracer.iter[:STEPS]:
            pass
        sequences = nnsight.save(tracer.result)
    assert processor.calls == STEPS
    assert sequences[:, -STEPS:].tolist() == [list(range(7, 7 + STEPS))] * 5


# Failing


def test_an_error_of_the_network_comes_out_as_it_is_and_the_next_trace_works(model, network, batch):
    """`memory.halving`: memory that does not suffice is known by the error's kind and text."""

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with (
        network.transformer.h[1].register_forward_pre_hook(full),
        pytest.raises(RuntimeError, match="out of memory"),
        torch.no_grad(),
        model.trace(batch),
    ):
        nnsight.save(model.lm_head.output)
    with torch.no_grad(), model.trace(batch):
        got = nnsight.save(model.lm_head.output)
    assert torch.equal(got, logits(network, batch))
