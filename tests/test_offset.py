"""The offset: what every MLP reads, how the change of what enters the GELUs divides, and who makes it."""

import numpy as np
import pandas as pd
import pytest
import torch
from plain import STEPS

from dpotox.model.streams import read_streams
from dpotox.paper.evaluation import Result
from dpotox.paper.rows import offset_rows
from dpotox.paper.table1 import Table1
from dpotox.run.offset import (
    ATTENTION,
    GONE,
    TOGETHER,
    UPSTREAM,
    by_set,
    by_writer,
    like_random,
    offset_evidence,
    offset_of,
    pushes,
    random_draws,
    read,
    rows_evidence,
    sets_of,
    share,
    weights_of,
)
from dpotox.show import report_offset


@pytest.fixture(scope="module")
def tokens(model, prompts):
    return torch.randint(2, model.config.vocab_size, (len(prompts), STEPS))


@pytest.fixture(scope="module")
def streams(model, other_model, prompts, tokens):
    before = read_streams(model, prompts, tokens, batch_size=3, chunks=2)
    after = read_streams(other_model, prompts, tokens, batch_size=3, chunks=2, scale=before.scale)
    written = after.written - before.written
    return {"base": before.entering, "dpo": after.entering, "dpo written": written}


@pytest.fixture(scope="module")
def moved(streams, model, other_model):
    return offset_of(streams, weights_of(model, other_model))


@pytest.fixture(scope="module")
def neurons() -> pd.DataFrame:
    """A made-up neuron table of the random network's shape."""
    rng, groups = np.random.default_rng(0), np.resize(["TP-", "AN-", "TN+", "AP+", "TP+"], 72)
    table = pd.DataFrame({name: rng.normal(size=72) for name in ("cosine", "pre_activation")})
    return table.assign(group=groups, layer=np.repeat(range(3), 24), neuron=np.tile(range(24), 3))


def plainly(network, tokenizer, prompts, tokens, module):
    """By layer, what a plain hook sees of a module's inputs and outputs at the positions that predict."""
    seen = {"in": [], "out": []}
    for prompt, some in zip(prompts, tokens, strict=True):
        text = torch.cat([tokenizer(prompt, return_tensors="pt")["input_ids"][0], some[:-1]])[None]
        here = {"in": [], "out": []}

        def see(_, given, made, here=here):
            here["in"].append(given[0][0, -STEPS:])
            here["out"].append((made[0] if isinstance(made, tuple) else made)[0, -STEPS:])

        hooks = [module(block).register_forward_hook(see) for block in network.transformer.h]
        with torch.no_grad():
            network(text)
        for hook in hooks:
            hook.remove()
        for name, vectors in here.items():
            seen[name].append(torch.stack(vectors))
    return {name: torch.stack(vectors, 1) for name, vectors in seen.items()}  # layer prompt pos d_model


def test_what_the_mlps_read_is_what_a_plain_hook_sees(model, network, prompts, tokens):
    got = read_streams(model, prompts, tokens, batch_size=2)
    plain = plainly(network, model.tokenizer, prompts, tokens, lambda block: block.mlp)["in"]
    assert torch.allclose(got.entering[0], plain.mean((1, 2)), atol=1e-4)
    stream = plainly(network, model.tokenizer, prompts, tokens, lambda block: block.ln_2)["in"]
    assert torch.allclose(got.scale, (stream.var(-1, correction=0) + 1e-5).sqrt(), atol=1e-4)


def test_writers_are_the_embeddings_and_every_attention_and_mlp(model, network, prompts, tokens):
    got = read_streams(model, prompts, tokens, batch_size=5).written[0]
    first = plainly(network, model.tokenizer, prompts, tokens, lambda block: block)["in"][0]
    attention, mlp = (
        plainly(network, model.tokenizer, prompts, tokens, part)["out"]
        for part in (lambda block: block.attn, lambda block: block.mlp)
    )
    scale = read_streams(model, prompts, tokens, batch_size=5).scale[..., None]
    writers = [first, attention[0], mlp[0], attention[1], mlp[1], attention[2]]
    for layer in range(3):
        for writer, vectors in enumerate(writers[: 2 * layer + 2]):
            assert torch.allclose(got[layer, writer], (vectors / scale[layer]).mean((0, 1)), atol=1e-4)
        assert not got[layer, 2 * layer + 2 :].any()


def test_what_the_writers_wrote_makes_the_input_of_every_mlp(model, network, prompts, tokens):
    got = read_streams(model, prompts, tokens, batch_size=5, chunks=5)
    stream = got.written.sum(2)
    for layer, block in enumerate(network.transformer.h):
        whole = stream[:, layer] - stream[:, layer].mean(-1, keepdim=True)
        expected = block.ln_2.weight * whole + block.ln_2.bias
        assert torch.allclose(got.entering[:, layer], expected, atol=1e-4)


def test_the_change_of_what_enters_each_gelu_divides_exactly(
    model, other_model, network, other, prompts, tokens, moved
):
    before, after = (
        plainly(some, model.tokenizer, prompts, tokens, lambda block: block.mlp.c_fc)["out"].mean((1, 2))
        for some in (network, other)
    )
    # Chunks of 3 and 2 prompts count the same, so the mean is over five that are not quite equal.
    whole = offset_of(
        {
            "base": read_streams(model, prompts, tokens, batch_size=5).entering,
            "dpo": read_streams(other_model, prompts, tokens, batch_size=5).entering,
        },
        weights_of(model, other_model),
    )
    assert torch.allclose(whole.parts.sum(0), after - before, atol=1e-3)
    assert whole.written is None
    assert moved.parts.shape == (3, 3, 24)


def test_writers_and_the_norm_add_up_to_the_shift(moved):
    assert torch.allclose(moved.through_norm.sum(1), moved.shift, atol=1e-4)
    assert moved.through_norm[:, -1].norm() > 1e-3
    sums = read(moved.weights.keys[0], moved.through_norm).sum(0)
    assert torch.allclose(sums, moved.parts[0], atol=1e-3)


def test_nothing_is_moved_between_a_model_and_itself(model, network, prompts, tokens):
    one = read_streams(model, prompts, tokens, batch_size=5)
    again = read_streams(model, prompts, tokens, batch_size=5, scale=one.scale)
    same = {"base": one.entering, "dpo": again.entering, "dpo written": again.written - one.written}
    still = offset_of(same, weights_of(model, model))
    assert not still.parts.any()
    assert still.through_norm.abs().max() < 1e-5


def test_chunks_can_be_weighted(streams, model, other_model):
    only = offset_of(streams, weights_of(model, other_model), chunks=torch.tensor([0.0, 1.0]))
    assert torch.equal(only.before, streams["base"][1])
    assert torch.equal(only.written, streams["dpo written"][1])


def test_shares_of_all_parts_add_up_to_one():
    parts = torch.tensor([[1.0, -2.0, 0.0], [0.5, 1.0, 2.0]])
    shares = share(parts, parts.sum(0))
    assert shares.sum() == pytest.approx(1)
    assert share(parts.sum(0), parts.sum(0)) == pytest.approx(1)


def test_a_random_direction_of_the_shift_s_length_moves_a_gelu_s_input_this_far(moved):
    generator = torch.Generator().manual_seed(0)
    random = torch.randn(3, 4000, 16, generator=generator)
    random *= moved.shift.norm(dim=-1)[:, None, None] / random.norm(dim=-1, keepdim=True)
    drawn = read(moved.weights.keys[0], random).square().mean(0).sqrt()
    assert torch.allclose(drawn, like_random(moved), rtol=0.1)


def test_tables_of_sets_and_writers_have_shares_that_add_up_to_one(moved, neurons):
    sets = sets_of(neurons, 4, seed=0)
    assert {"all neurons", "top 4 toxic", "random neurons like these", "TP-"} <= set(sets)
    table = by_set(moved, sets)
    assert np.allclose(table[["upstream", "key", "bias"]].sum(axis=1), 1)
    writers = by_writer(moved, sets)
    assert np.allclose(writers.groupby("which")["share"].sum(), 1)
    mean = table.set_index("which")["upstream_change"]
    assert np.allclose(writers.groupby("which")["mean"].sum(), mean.sort_index(), atol=1e-4)


def test_where_most_neurons_of_a_layer_are_chosen_none_are_drawn_beside_them(neurons):
    assert "random neurons like these" not in sets_of(neurons, 50, seed=0)


def test_the_change_is_that_which_a_reading_of_all_neurons_gives(study):
    read = study.readings
    change = (read.dpo_on_base.gelu_input - read.base.gelu_input).mean(0)
    assert torch.allclose(study.offset.parts.sum(0), change, atol=1e-3)


def test_what_is_added_before_and_taken_away_after_is_the_keys_times_the_shift(moved, neurons):
    by = pushes(moved, neurons)
    row = neurons.index[30]  # neuron 6 of layer 1
    for model, sign, keys in (("base", 1, moved.weights.keys[0]), ("dpo", -1, moved.weights.keys[1])):
        assert by[model][row] == pytest.approx(sign * float(keys[1, 6] @ moved.shift[1]), abs=1e-4)


def test_the_rows_edit_all_neurons_and_the_most_toxic_of_each_model(moved, neurons):
    rows = offset_rows(neurons, pushes(moved, neurons), top=4)
    assert [(row.model, row.kind, row.which, len(row.interventions[0].neurons)) for row in rows] == [
        ("base", "add offset", "all neurons", 72),
        ("base", "add offset", "top 4 toxic", 4),
        ("dpo", "remove offset", "all neurons", 72),
        ("dpo", "remove offset", "top 4 toxic", 4),
    ]


def test_random_draws_edit_every_neuron_of_both_models(moved, neurons):
    draws = random_draws(moved, neurons, 3, seed=0)
    assert [(d.beside, d.model, len(d.interventions)) for d in draws] == [
        ("add offset, all neurons", "base", 3),
        ("remove offset, all neurons", "dpo", 3),
    ]
    edits = [edit for some in draws for edit in some.interventions]
    assert {(edit.site, len(edit.neurons)) for edit in edits} == {("gelu_input", len(neurons))}
    assert not np.allclose(edits[0].neurons["value"], edits[1].neurons["value"])
    assert random_draws(moved, neurons, 0, seed=0) == []


def test_the_quantities_of_the_claims_are_shares_with_intervals_over_chunks(
    streams, model, other_model, moved, neurons
):
    toxic = neurons.nlargest(4, "cosine")
    found = offset_evidence(streams, weights_of(model, other_model), toxic, draws=20, seed=0)
    tables = by_set(moved, sets_of(neurons, 4, 0)), by_writer(moved, sets_of(neurons, 4, 0))
    upstream = tables[0].set_index("which").loc["all neurons", "upstream"]
    attention = tables[1].query("which == 'top 4 toxic' and writer == 'attention'")["share"].sum()
    assert found[UPSTREAM].value == pytest.approx(upstream, abs=1e-4)
    assert found[ATTENTION].value == pytest.approx(attention, abs=1e-4)
    assert all(e.low <= e.high for e in found.values())


ROWS = {  # name: kind, which, share of DPO's effect
    "before DPO": ("none", "before DPO", 0.0),
    "swap attention": ("swap", "attention", 0.3),
    "swap MLP in and MLP out": ("swap", "MLP in and MLP out", 0.4),
    "swap MLP in and MLP out and attention": ("swap", "MLP in and MLP out and attention", 0.9),
    "after DPO": ("none", "after DPO", 1.0),
    "remove offset, all neurons": ("remove offset", "all neurons", 0.35),
}


def made_up(effect: float) -> Table1:
    """Every row lowers every prompt's toxicity by its share; random vectors undo a tenth."""
    before = np.random.default_rng(0).uniform(0.3, 0.9, size=60)
    nothing = {
        "nll": np.ones(4),
        "neutral": np.ones(4, bool),
        "f1": np.ones(2),
        "texts": np.array(["a"] * 60),
    }
    results = {
        name: Result(greedy=before * (1 - share * effect), sampled=before, **nothing)
        for name, (_, _, share) in ROWS.items()
    }
    rows = [{"name": n, "kind": k, "which": w, "positions": "all"} for n, (k, w, _) in ROWS.items()]
    draws = {"remove offset, all neurons": np.tile(before * (1 - 0.9 * effect), (6, 1))}
    return Table1(pd.DataFrame(rows), 72, results, draws, {})


def test_what_is_gone_and_what_is_more_than_the_sum_are_shares_of_dpos_effect():
    found = rows_evidence(made_up(0.5), resamples=50)
    assert found[GONE].value == pytest.approx(0.9 - 0.35)
    assert found[GONE].low <= found[GONE].value <= found[GONE].high
    assert found[TOGETHER].value == pytest.approx(0.9 - 0.3 - 0.4)
    assert rows_evidence(made_up(0.0), resamples=50) == {}


def test_the_crossed_table_has_attention_in_rows_and_mlps_in_columns():
    table = made_up(0.5)
    shares = {name: share for name, (_, _, share) in ROWS.items()}
    ends = {f"recovered{end}": table.rows["name"].map(shares) for end in ("", "_low", "_high")}
    crossed = report_offset.crossed(table.rows.assign(**ends)).data.set_index("")
    assert crossed.loc["attention after DPO", "MLPs before DPO"] == "0.30"
    assert crossed.loc["attention before DPO", "MLPs after DPO"] == "0.40"
    assert crossed.loc["attention after DPO", "MLPs after DPO"] == "0.90"
