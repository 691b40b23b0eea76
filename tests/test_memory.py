"""A batch that does not fit into memory is halved, and the results stay the same."""

import sys

import pytest
import torch

from dpotox.memory import halving
from dpotox.model.tracing import continue_prompts, mean_residuals, window_nll

TOO_LARGE = 2
"""Texts at once that the pretended memory holds."""


@pytest.fixture(params=[torch.OutOfMemoryError("CUDA out of memory"), MemoryError("Python's")])
def small_memory(request, network, monkeypatch):
    """A model that fails on larger batches, as a device would whose memory is full."""

    def fail(module, inputs):
        if inputs[0].shape[0] > TOO_LARGE:
            raise request.param

    for function in (continue_prompts, mean_residuals, window_nll):
        monkeypatch.setattr(function, "fits", sys.maxsize)
    hook = network.transformer.h[1].mlp.c_fc.register_forward_pre_hook(fail)
    yield
    hook.remove()


def test_generating_goes_on_with_half_the_batch_and_says_so(model, prompts, small_memory, capsys):
    found = continue_prompts(model, prompts, 4, batch_size=5)
    said = capsys.readouterr().err
    assert "a batch of 5 does not fit into memory; going on with 2" in said
    again = continue_prompts(model, prompts, 4, batch_size=5)
    assert "does not fit" not in capsys.readouterr().err  # what failed once is not tried again
    one_by_one = continue_prompts(model, prompts, 4, batch_size=1)
    assert found.texts == again.texts == one_by_one.texts


def test_loss_and_features_go_on_as_well(model, prompts, windows, small_memory):
    features = mean_residuals(model, prompts, max_tokens=8, batch_size=5)
    assert torch.allclose(features, mean_residuals(model, prompts, max_tokens=8, batch_size=1), atol=1e-5)
    loss = window_nll(model, windows, batch_size=5)
    assert torch.allclose(loss, window_nll(model, windows, batch_size=1), atol=1e-5)


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes do not fit"), torch.OutOfMemoryError("out of memory")]
)
def test_other_errors_and_a_batch_of_one_that_does_not_fit_are_raised(error):
    sizes = []

    @halving
    def fail(*, batch_size):
        sizes.append(batch_size)
        raise error

    with pytest.raises(type(error)):
        fail(batch_size=4)
    assert sizes == ([4, 2, 1] if "memory" in str(error) else [4])
