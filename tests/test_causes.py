"""What single writers' changes are, what is counted as toxic, and one kind's change undone."""

from types import SimpleNamespace

import pytest
import torch

from dpotox.model.interventions import Swap
from dpotox.model.tracing import read_generation, window_nll
from dpotox.model.weights import head_vectors, value_vectors
from dpotox.run import causes
from dpotox.run.account import mean_activations
from dpotox.show import report_causes

STEPS, DIRECTION = 3, torch.linspace(-1, 1, 16)


@pytest.fixture
def readings(model, other_model, prompts):
    """Both models on the same text, as a study has them."""
    written, base = read_generation(model, prompts, STEPS, DIRECTION, batch_size=2)
    _, after = read_generation(other_model, prompts, STEPS, DIRECTION, batch_size=2, forced=written.tokens)
    return SimpleNamespace(base=base, dpo_on_base=after, tokens={"base": written.tokens})


@pytest.fixture
def a_study(model, other_model, readings, prompts):
    """As much of a study as the writers need."""
    return SimpleNamespace(
        base=model,
        dpo=other_model,
        readings=readings,
        prompts=prompts,
        value_vectors=(value_vectors(model), value_vectors(other_model)),
        probe=SimpleNamespace(direction=DIRECTION),
        profile=SimpleNamespace(
            sizes=SimpleNamespace(new_tokens=STEPS, chunks=1),
            compute=SimpleNamespace(batch_size=2),
            interventions=SimpleNamespace(writers=5),
        ),
    )


def test_a_layers_heads_and_neurons_change_by_what_all_of_them_do(a_study, readings, model, other_model):
    found = {(w.kind, w.layer): w.change for w in causes.writers(a_study) if "layer" in w.kind}
    before, after = readings.base, readings.dpo_on_base
    for layer in range(len(model.layers)):
        heads = torch.einsum("hw,hwd->d", after.heads[layer], head_vectors(other_model)[layer])
        heads -= torch.einsum("hw,hwd->d", before.heads[layer], head_vectors(model)[layer])
        assert torch.allclose(found["heads of a layer", layer], heads, atol=1e-5)
        neurons = mean_activations(after).float()[layer] @ value_vectors(other_model)[layer]
        neurons -= mean_activations(before).float()[layer] @ value_vectors(model)[layer]
        assert torch.allclose(found["neurons of a layer", layer], neurons, atol=1e-5)


def test_single_writers_are_those_that_change_most_along_the_probe(a_study, model):
    single = [w for w in causes.writers(a_study) if w.kind == "neuron"]
    before, after = (
        mean_activations(one).float() for one in (a_study.readings.base, a_study.readings.dpo_on_base)
    )
    along = after * (a_study.value_vectors[1] @ DIRECTION) - before * (a_study.value_vectors[0] @ DIRECTION)
    assert len(single) == 5
    assert float(single[0].change @ DIRECTION) == pytest.approx(
        float(along.flatten()[along.abs().argmax()]), abs=1e-5
    )


def test_with_everything_undone_nothing_has_changed(model, other_model, readings, prompts):
    _, undone = read_generation(
        other_model,
        prompts,
        STEPS,
        DIRECTION,
        batch_size=2,
        interventions=[Swap("all", ("MLP in", "MLP out", "attention", "embeddings", "norms"))],
        other=model,
        forced=readings.tokens["base"],
    )
    assert torch.allclose(undone.residual, readings.base.residual, atol=1e-4)
    assert torch.allclose(undone.heads, readings.base.heads, atol=1e-4)
    assert torch.allclose(undone.mlp, readings.base.mlp, atol=1e-4)


def test_what_is_undone_adds_up(a_study):
    table = causes.one_without_the_other(a_study)
    assert table["undone"].unique().tolist() == ["nothing", "MLPs", "attention"]
    whole = (a_study.readings.base.residual - a_study.readings.dpo_on_base.residual)[:, -1].mean()
    assert table.query("undone == 'nothing'")["drop"].sum() == pytest.approx(float(whole), abs=1e-4)


def test_the_loss_of_some_tokens_is_the_mean_over_these(model, network, windows):
    counted = torch.zeros_like(windows[:, 1:], dtype=torch.bool)
    counted[:, 2] = counted[0, 4] = True
    with torch.no_grad():
        logits = network(windows).logits[:, :-1]
    loss = torch.nn.functional.cross_entropy(logits.mT, windows[:, 1:], reduction="none")
    expected = loss[:, 2].clone()
    expected[0] = (loss[0, 2] + loss[0, 4]) / 2
    got = window_nll(model, windows, batch_size=2, counted=counted)
    assert torch.allclose(got, expected, atol=1e-5)


def test_a_token_is_toxic_where_its_word_is():
    words = ["", " kind", " bad", "worse "]
    study = SimpleNamespace(
        exam=SimpleNamespace(windows=torch.tensor([[2, 1, 2, 0], [2, 3, 1, 1]])),
        tokenizer=SimpleNamespace(decode=lambda ids: words[ids[0]]),
        score=lambda texts: [float(text in ("bad", "worse")) for text in texts],
    )
    assert causes.toxic_tokens(study).tolist() == [[False, True, False], [True, False, False]]


def test_the_study_tries_writers_and_the_page_says_how_well_they_are_predicted(results):
    table = results.causes
    assert set(table["writer"]) == {"head", "neuron", "heads of a layer", "neurons of a layer"}
    assert (table["low"] <= table["toxicity"]).all()
    assert (table["toxicity"] <= table["high"]).all()
    said = report_causes.correlations(results).data
    assert "Spearman's correlation" in said
    assert f"of {len(table)} writers the change of " in said.lower()
    assert "%" in report_causes.left(results).data
    assert report_causes.without(results).data["undone"].tolist() == ["nothing", "MLPs", "attention"]


def test_results_without_it_say_so(results, monkeypatch):
    bare = SimpleNamespace(tables={})
    assert "made before" in report_causes.left(bare).data
    assert "made before" in report_causes.correlations(bare).data
    assert report_causes.scatter(bare).axes
    assert "nothing of this kind" in report_causes.without(bare).to_html()
