"""Forward passes at NDIF, as nnsight tries them without it: the same as here; and what can fail is said."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from cloudpickle.cloudpickle import list_registry_pickle_by_value
from nnsight import CONFIG
from nnsight.intervention.backends.remote import RemoteBackend, RemoteError
from test_architectures import ALL, DIRECTION, VOCABULARY
from torch.testing import assert_close
from transformers import AutoModelForCausalLM
from websocket import WebSocketConnectionClosedException

from dpotox import ndif
from dpotox.errors import UserError
from dpotox.inputs.pretraining import word_tokenizer
from dpotox.memory import halving
from dpotox.model.architecture import traced, turn
from dpotox.model.interventions import BLOCKS, Swap, ablate, at_newest, clamp, scale_keys, shift, steer
from dpotox.model.interventions import copy as copied
from dpotox.model.streams import read_streams
from dpotox.model.tracing import continue_prompts, mean_residuals, read_generation, window_nll
from dpotox.paper.evaluation import not_examined
from dpotox.paper.rows import Row
from dpotox.profile import Model, Profile
from dpotox.run import look_up

SOME = pd.DataFrame({"layer": [0, 1, 1], "neuron": [1, 2, 3]})
VALUES = pd.Series([0.5, -0.3, 2.0])
EDITS = {
    "nothing": [],
    "ablate": [ablate(SOME)],
    "clamp before": [clamp(SOME, VALUES, site="gelu_input")],
    "shift at the newest": [at_newest(shift(SOME, VALUES), "shift")],
    "scale keys": [scale_keys(SOME, VALUES, 2.0)],
}
TOKENIZER = word_tokenizer(VOCABULARY)


@pytest.fixture(scope="module", params=["gpt2", "gemma2"])
def network(request):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(ALL[request.param].config, attn_implementation="eager").eval()


@pytest.fixture(scope="module")
def prompts():
    return [" ".join(VOCABULARY[i : i + n]) for i, n in ((0, 3), (7, 5), (20, 2))]


@pytest.fixture(scope="module")
def windows():
    return torch.randint(2, len(VOCABULARY), (3, 9), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("edit", EDITS)
def test_what_is_read_and_edited_is_the_same(network, prompts, windows, edit):
    def measured(model):
        written, read = read_generation(
            model, prompts, 4, DIRECTION, batch_size=2, chunks=2, interventions=EDITS[edit]
        )
        steered = [*EDITS[edit], steer(DIRECTION, 0)]
        sampled = continue_prompts(
            model, prompts, 4, batch_size=2, interventions=steered, sampling_seed=3, direction=DIRECTION
        )
        nll = window_nll(model, windows, batch_size=2, interventions=steered)
        return [written.tokens, *vars(read).values(), sampled.tokens, sampled.projection, nll]

    here, there = traced(network, TOKENIZER), traced(network, TOKENIZER, remote="local")
    for one, other in zip(measured(here), measured(there), strict=True):
        assert_close(one, other)


def test_features_and_streams_are_the_same(network, prompts):
    here, there = traced(network, TOKENIZER), traced(network, TOKENIZER, remote="local")
    tokens = torch.ones(3, 4, dtype=torch.long)
    for read in (
        lambda model: [mean_residuals(model, prompts, max_tokens=6, batch_size=2)],
        lambda model: read_streams(model, prompts, tokens, batch_size=2, chunks=2),
    ):
        for one, other in zip(read(here), read(there), strict=True):
            assert_close(one, other)


def test_neurons_that_are_turned_here_and_not_there_are_read_and_edited_alike(prompts, windows):
    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_config(ALL["gemma2"].config, attn_implementation="eager").eval()
    signs = torch.where(torch.rand(3, 24) < 0.5, -1.0, 1.0)
    turned, served = traced(copy.deepcopy(network), TOKENIZER), traced(network, TOKENIZER, remote="local")
    turn(turned, signs)
    served.signs = signs  # as `turn` sets them where the other side has other weights than these
    edit = {"batch_size": 2, "interventions": [clamp(SOME, VALUES), at_newest(shift(SOME, VALUES), "shift")]}
    assert_close(window_nll(turned, windows, **edit), window_nll(served, windows, **edit))
    found = [read_generation(m, prompts, 4, DIRECTION, **edit)[1] for m in (turned, served)]
    assert_close(found[0].activation, found[1].activation)


@pytest.mark.parametrize("remote", [True, "local"])
def test_signs_are_kept_for_what_runs_elsewhere_alone(remote):
    network = AutoModelForCausalLM.from_config(ALL["gemma2"].config, attn_implementation="eager").eval()
    model, signs = traced(network, TOKENIZER, remote=remote), -torch.ones(3, 24)
    turn(model, signs)
    assert model.signs is (signs if remote is True else None)


def test_what_takes_from_another_model_is_refused(network, prompts):
    model = traced(network, TOKENIZER, remote="local")
    for edit in (copied(SOME), Swap("swap", (BLOCKS[0],))):
        with pytest.raises(ValueError, match="a job at NDIF cannot"):
            continue_prompts(model, prompts, 4, batch_size=2, interventions=[edit], other=model)


def test_rows_that_take_from_another_model_have_no_outcome(study):
    rows = [
        Row("one", "base", "copy", "TP-", (copied(SOME),)),
        Row("two", "base", "ablate", "", (ablate(SOME),)),
    ]
    assert [row.takes for row in rows] == [True, False]
    nothing = not_examined(study.exam)
    measures = (
        nothing.greedy,
        nothing.sampled,
        nothing.nll,
        nothing.f1,
        nothing.above_half,
        nothing.repetition,
    )
    assert all(np.isnan(values).all() for values in measures)


def test_our_code_is_sent_for_no_longer_than_a_job_takes(network, windows):
    there = traced(network, TOKENIZER, remote="local")
    window_nll(there, windows, batch_size=3)
    assert "dpotox" not in list_registry_pickle_by_value()


# What can fail


@pytest.fixture
def served(network):
    model = traced(network, TOKENIZER, remote=True, served=("org/served", ""))
    model.to_model_key = lambda: "nnsight.TransformersModel:{}"  # which would ask the hub
    return model


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (RemoteError("Failed to send request: the key is not known"), "the key is not known"),
        (WebSocketConnectionClosedException("Connection to remote host was lost."), "was lost"),
        (ConnectionRefusedError("refused"), "refused"),
    ],
)
def test_a_job_that_fails_is_said_with_the_way_out(served, windows, monkeypatch, raised, said):
    def request(*_):
        raise raised

    monkeypatch.setattr(RemoteBackend, "request", request)
    with pytest.raises(UserError, match=f"a job at NDIF on 'org/served' failed: .*{said}.*; rerun"):
        window_nll(served, windows, batch_size=3)


def test_a_batch_that_is_too_large_there_is_halved(served):
    sizes = []

    @halving
    @ndif.answered
    def reading(model, *, batch_size):
        sizes.append(batch_size)
        if batch_size > 2:
            raise RemoteError("CUDA out of memory. Tried to allocate 20 GiB")

    reading(served, batch_size=8)
    assert sizes == [8, 4, 2]


def test_a_missing_key_and_models_that_are_not_served_are_said_before_the_work(monkeypatch):
    inputs = look_up.Inputs()
    two = Profile(name="remote", model=Model(base="org/base", aligned="org/after", remote=True))
    monkeypatch.setattr(CONFIG.API, "APIKEY", None)
    look_up._look_at_ndif(inputs, two)
    assert len(inputs.problems) == 2
    assert all("set NDIF_API_KEY" in problem for problem in inputs.problems)
    inputs.problems.clear()
    monkeypatch.setattr(CONFIG.API, "APIKEY", "a key")
    monkeypatch.setattr(ndif.nnsight, "is_model_running", lambda name, *_, **__: name == "org/base")
    look_up._look_at_ndif(inputs, two)
    (problem,) = inputs.problems
    assert problem.startswith("model.aligned: NDIF does not run 'org/after' at main now")


@pytest.mark.parametrize("aligned", ["", "dpo.pt"])
def test_a_model_that_is_trained_here_cannot_run_there(monkeypatch, aligned):
    monkeypatch.setattr(CONFIG.API, "APIKEY", "a key")
    monkeypatch.setattr(ndif.nnsight, "is_model_running", lambda *_, **__: True)
    inputs = look_up.Inputs()
    look_up._look_at_ndif(
        inputs, Profile(name="x", model=Model(base="org/base", aligned=aligned, remote=True))
    )
    assert inputs.problems == [
        "model.aligned: with model.remote it must be the hub id of a whole model that NDIF runs"
    ]
