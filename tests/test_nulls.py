"""What the shares are compared with."""

import numpy as np
import pandas as pd
import pytest
import torch

from dpotox import profile
from dpotox.facts import NOISE
from dpotox.paper import nulls
from dpotox.paper.evidence import neuron_quantities
from dpotox.paper.nulls import HEADLINE, SAMPLED, placebo_pairs
from dpotox.paper.probe import fit_probe, shuffled_directions


@pytest.fixture
def pairs() -> pd.DataFrame:
    names = {name: [f"{name} {i}" for i in range(11)] for name in ("prompt", "chosen", "rejected")}
    return pd.DataFrame(names)


def test_reversed_pairs_are_all_turned_round_but_those_for_validation(pairs):
    turned = placebo_pairs(pairs, "reversed", 2, seed=0)
    assert turned["chosen"].tolist() == [*pairs["rejected"][:-2], *pairs["chosen"][-2:]]
    assert turned["rejected"].tolist() == [*pairs["chosen"][:-2], *pairs["rejected"][-2:]]
    assert turned["prompt"].tolist() == pairs["prompt"].tolist()


def test_half_of_shuffled_pairs_are_turned_round_and_none_is_mixed(pairs):
    turned = placebo_pairs(pairs, "shuffled", 1, seed=0)
    flipped = turned["chosen"].str.startswith("rejected")
    assert flipped.sum() in (4, 5, 6)
    assert not flipped.iloc[-1]
    assert turned["chosen"].str.split().str[-1].tolist() == turned["rejected"].str.split().str[-1].tolist()
    again = placebo_pairs(pairs, "shuffled", 1, seed=1)["chosen"].tolist()
    assert again != turned["chosen"].tolist()


def test_probes_of_shuffled_labels_know_nothing_of_the_labels():
    rng = np.random.default_rng(0)
    toxic = np.arange(800) % 2 == 0
    truth = torch.zeros(12)
    truth[0] = 1
    features = torch.tensor(rng.normal(size=(800, 12)) + 2 * toxic[:, None] * truth.numpy()).float()
    settings = profile.Probe(C=[1e-2])
    fitted = fit_probe(features, toxic, settings, seed=0).unit
    shuffled = shuffled_directions(features, toxic, settings, 1e-2, draws=40, seed=0)
    cosines = shuffled @ fitted / shuffled.norm(dim=1)
    assert float(fitted @ truth) > 0.9
    assert shuffled.shape == (40, 12)
    assert cosines.abs().median() < 0.6
    assert 8 < (cosines > 0).sum() < 32


def test_every_comparison_has_all_quantities_and_the_headline_is_the_studys_own(study):
    table = study.comparisons
    assert set(table["comparison"]) == {
        HEADLINE,
        "DPO, both on the text from before DPO",
        "DPO, both on the text from after DPO",
        "shuffled preferences",
        "reversed preferences",
        SAMPLED,
        NOISE,
    }
    assert (table.groupby("comparison").size() == table["quantity"].nunique()).all()
    own = table[table["comparison"] == HEADLINE].set_index("quantity")["value"]
    expected = neuron_quantities(study.neurons, study.profile.interventions.figure_top)
    for quantity, value in expected.items():
        assert own[quantity] == pytest.approx(value), quantity
    assert own["TP- share, minus DPO's"] == 0


def test_a_model_read_on_its_own_text_is_the_reading_it_made(study):
    forced = study.nulls.texts["base on the text of dpo"]
    assert forced == study.readings.continuations["dpo"].tolist()
    texts = study.readings.continuations
    assert texts["dpo_on_base"].tolist() == texts["base"].tolist()


def test_the_noise_is_two_different_samples_of_one_model(study):
    once, again = (study.nulls.texts[f"base sampled {when}"] for when in ("once", "again"))
    assert once != again


def test_other_directions_are_signed_to_a_net_reduction(study):
    others = study.other_directions
    assert (others["net"] >= 0).all()
    assert others.groupby(["text", "kind"]).size().to_dict() == {
        (text, kind): n
        for text in ("own", "same")
        for kind, n in {"matched": 20, "random": 20, "shuffled labels": 10}.items()
    }


def test_the_probe_is_signed_to_a_net_reduction_in_every_comparison(study):
    table = study.comparisons
    assert (table.loc[table["quantity"] == "net", "value"] >= 0).all()
    assert set(table["sign"]) <= {-1, 1}
    assert (table.groupby("comparison")["sign"].nunique() == 1).all()


def test_matched_directions_vary_as_the_features_do():
    rng = np.random.default_rng(0)
    wide = np.array([10.0, 1.0, 0.1])
    features = torch.tensor(5 + rng.normal(size=(300, 3)) * wide).float()
    spread = nulls.matched_directions(features, 4_000, seed=0).std(0).numpy()
    assert spread / spread[1] == pytest.approx(wide, rel=0.15)


def test_a_placebo_is_trained_from_the_same_start_to_other_weights(study):
    weights = [
        model.transformer.h[0].mlp.c_proj.weight.detach()
        for model in (study.base, study.dpo, study.placebo("shuffled"), study.placebo("reversed"))
    ]
    for i, one in enumerate(weights):
        for other in weights[:i]:
            assert not torch.equal(one, other)
    moved = [float((w - weights[0]).norm()) for w in weights[1:]]
    assert max(moved) < 5 * min(moved)
