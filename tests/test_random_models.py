"""What nnsight reads and edits against plain PyTorch hooks, on small models of random shapes."""

from itertools import product
from random import Random

import pandas as pd
import pytest
import torch
from plain import STEPS, generate_plainly, hooked
from transformers import GPT2Config, GPT2LMHeadModel

from dpotox.inputs.data import stream
from dpotox.inputs.language import Language
from dpotox.inputs.pretraining import word_tokenizer
from dpotox.model.architecture import traced
from dpotox.model.interventions import shift
from dpotox.model.tracing import continue_prompts, read_generation


def random_network(rng: Random) -> GPT2LMHeadModel:
    """A GPT-2 of random shape, with activations that differ between prompts."""
    torch.manual_seed(rng.randrange(2**31))
    heads = rng.choice([1, 2, 3])
    config = GPT2Config(
        vocab_size=len(Language().vocabulary) + 2,
        n_positions=64,
        n_embd=heads * rng.choice([4, 6, 10]),
        n_layer=rng.randint(1, 4),
        n_head=heads,
        n_inner=rng.randint(5, 40),
        initializer_range=0.5,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
        attn_implementation="eager",
    )
    return GPT2LMHeadModel(config).eval()


@pytest.fixture(params=range(6))
def case(request):
    """A random network, prompts of random lengths (equal ones in half of the cases), and a batch size."""
    rng = stream("random models", request.param)
    network = random_network(rng)
    count, equal = rng.choice([1, 2, 5]), request.param % 2
    lengths = [rng.randint(2, 14) for _ in range(count)]
    documents = [Language().sample(rng, lengths[0] if equal else n).words for n in lengths]
    model = traced(network, word_tokenizer(Language().vocabulary))
    return network, model, [" ".join(words) for words in documents], rng.randint(1, count)


def test_reading_is_what_hooks_see(case):
    network, model, prompts, batch = case
    direction = torch.randn(network.config.n_embd)
    written, read = read_generation(model, prompts, STEPS, direction, batch_size=batch, chunks=len(prompts))
    for i, prompt in enumerate(prompts):
        seen = [[] for _ in network.transformer.h]
        with hooked(network, lambda layer, x, seen=seen: seen[layer].append(x[0, -1])):
            tokens = generate_plainly(network, model.tokenizer, prompt)
        assert torch.equal(written.tokens[i], tokens)
        plain = torch.stack([torch.stack(steps).mean(0) for steps in seen])
        assert torch.allclose(read.activation[i], plain, atol=1e-4)


def half_of(network) -> pd.DataFrame:
    """Half of a network's neurons with a random value each."""
    places = list(product(range(network.config.n_layer), range(network.config.n_inner)))
    half = pd.DataFrame(places, columns=["layer", "neuron"]).sample(frac=0.5, random_state=0)
    return half.assign(value=torch.randn(len(half), generator=torch.Generator().manual_seed(0)).numpy())


def test_editing_half_of_the_neurons_is_what_hooks_do(case):
    network, model, prompts, batch = case
    half = half_of(network)
    edit = shift(half, half["value"], "shift half")
    written = continue_prompts(model, prompts, STEPS, batch_size=batch, interventions=[edit])

    def change(layer, x):
        here = half[half["layer"] == layer]
        added = torch.zeros(x.shape[-1])
        added[here["neuron"].to_numpy()] = torch.tensor(here["value"].to_numpy(), dtype=torch.float32)
        return (x + added,)

    for i, prompt in enumerate(prompts):
        with hooked(network, change):
            assert torch.equal(written.tokens[i], generate_plainly(network, model.tokenizer, prompt))
