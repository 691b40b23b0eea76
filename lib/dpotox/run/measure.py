"""What one unit of each kind of work takes on this machine: measured in seconds, on random weights.

The time of an operation does not depend on the weights, so networks of the true shape are built and nothing
is loaded. What would take long is measured on a part and scaled: generation at the true batch over a few
steps, texts and training in as many rows as some tenths of a second allow.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import psutil
import torch
from sklearn.linear_model import LogisticRegression
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.initialization import no_init_weights

from dpotox.estimates import estimate, recovered_share
from dpotox.inputs import networks, pretraining
from dpotox.inputs.language import Language
from dpotox.inputs.pretraining import word_tokenizer
from dpotox.inputs.scoring import AT_ONCE, Score
from dpotox.model import logit_lens, tracing
from dpotox.model.architecture import traced
from dpotox.model.interventions import shift
from dpotox.paper.evidence import neuron_quantities
from dpotox.paper.neurons import neuron_table
from dpotox.profile import Compute, Pretraining, Profile

STARTED = time.time() - psutil.Process().create_time()
"""Seconds from the start of this process to here: what the start of a notebook takes as well."""
SHORT = 0.4
"""Seconds after which a measurement is long enough."""
TRL = 1.25
"""A step of trl's trainer in multiples of a bare one, as `benchmarks/dpo_step.py` measured it."""
ITERATIONS = 100
"""Of a logistic regression on residual streams, on average over the strengths of regularisation."""


@dataclass(frozen=True)
class Costs:
    """Seconds: of a token that goes through the model in text; of a new token of one prompt, plainly written,
    while edited, sampled or read; of training on a pair and of one update of the weights; and so on.
    """

    token: float
    plain: float
    edited: float
    sampled: float
    read: float
    train_pair: float
    update: float
    fit: float  # the probe, at one strength
    shuffled_fit: float
    table: float  # the neuron table and its groups
    bootstrap: float  # the interval of one measure of table 1
    nearest: float  # the tokens nearest to all neurons
    parameters: int


def per_unit(run: Callable[[int], object], most: int, least: int = 1) -> float:
    """Seconds per unit of `run(units)`: with more of them until it takes `SHORT`, or there are `most`."""
    units, first = min(least, most), True
    while True:
        began = time.perf_counter()
        run(units)
        took = time.perf_counter() - began
        if took >= SHORT or (units == most and not first):
            return took / units
        if not first:  # the first call does what is done once
            units = min(most, max(units + 1, int(units * min(8, 1.2 * SHORT / took))))
        first = False


def timed(run: Callable[[], object]) -> float:
    """The seconds that something takes."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def random_network(config: PretrainedConfig, dtype: str, device: torch.device | str) -> PreTrainedModel:
    """A causal language model of this shape with random weights, made fast."""
    with no_init_weights():
        network = AutoModelForCausalLM.from_config(
            config, attn_implementation="eager", dtype=getattr(torch, dtype)
        )
    network.tie_weights()
    fill(network)
    return network.to(device).eval()


def fill(network: torch.nn.Module) -> None:
    """Give every parameter small random numbers, the same over and over."""
    noise = 0.02 * torch.randn(2**16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in network.parameters():
            flat = parameter.view(-1)
            for part in flat.split(len(noise)):
                part.copy_(noise[: len(part)])


def costs(profile: Profile, config: PretrainedConfig, tokenizer) -> Costs:
    """Measure what the study of a profile consists of, on a network of this configuration."""
    device = networks.device_of(profile.compute)
    with torch.random.fork_rng(devices=[]):
        network = random_network(config, profile.compute.dtype, device)
        generating = _generation(network, tokenizer, profile)
        token, nearest_all = _token(network, tokenizer, profile), _nearest(network)
        del network
        train_pair, update = _training(config, profile, device)
    fit, shuffled = _fits(config.n_embd, profile)
    table, bootstrap = _table(config), _bootstrap(profile)
    return Costs(
        token,
        *generating,
        train_pair,
        update,
        fit,
        shuffled,
        table,
        bootstrap,
        nearest_all,
        parameters(config),
    )


def parameters(config: PretrainedConfig) -> int:
    """The number of weights of a model of this shape."""
    with torch.device("meta"):
        return sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())


def _generation(network: PreTrainedModel, tokenizer, profile: Profile) -> tuple[float, ...]:
    """Seconds per prompt and new token: plain, edited, sampled, read."""
    model, new = traced(network, tokenizer), profile.sizes.new_tokens
    batch = min(profile.compute.batch_size, max(profile.sizes.prompts, profile.pairs.samples))
    layers, neurons = network.config.n_layer, network.config.n_inner or 4 * network.config.n_embd
    some = pd.DataFrame({"layer": layer, "neuron": n} for layer in range(layers) for n in range(neurons // 2))
    edit = shift(some, pd.Series(0.0, some.index))
    word = tokenizer.decode([len(tokenizer) // 2]).strip() or "a"
    direction = torch.ones(network.config.n_embd)

    def seconds(write: Callable[[list[str], int], object]) -> float:
        write([word], 2)  # what is done once
        first = timed(lambda: write([word] * batch, 1))
        steps = min(4, new)
        took = timed(lambda: write([word] * batch, steps))
        if took < SHORT / 2:  # so little that other programs' moments count
            steps, took = new, timed(lambda: write([word] * batch, new))
        return max(took - first, 0.5 * took) / max(1, steps - 1) / batch

    at_once = {"batch_size": batch}
    return (
        seconds(lambda p, n: tracing.continue_prompts(model, p, n, **at_once)),
        seconds(lambda p, n: tracing.continue_prompts(model, p, n, **at_once, interventions=[edit])),
        seconds(lambda p, n: tracing.continue_prompts(model, p, n, **at_once, sampling_seed=0)),
        seconds(lambda p, n: tracing.read_generation(model, p, n, direction, **at_once)),
    )


def _token(network: PreTrainedModel, tokenizer, profile: Profile) -> float:
    """Seconds per token of text."""
    model, length = traced(network, tokenizer), min(profile.sizes.window_tokens, 128)
    rows = torch.randint(0, network.config.vocab_size, (profile.compute.batch_size, length))

    def run(n: int) -> None:
        tracing.window_nll(model, rows[:n], batch_size=n)

    return per_unit(run, len(rows)) / length


def _nearest(network: PreTrainedModel) -> float:
    layers, width = network.config.n_layer, network.config.n_embd
    neurons = layers * (network.config.n_inner or 4 * width)
    values = torch.randn(1, neurons, width)
    return neurons * per_unit(
        lambda n: logit_lens.nearest_token_ids(network, values[:, :n]), neurons, min(32, neurons)
    )


def _training(config: PretrainedConfig, profile: Profile, device: torch.device) -> tuple[float, float]:
    """Seconds of a pair's forward and backward pass, and of an update, in float32 as DPO is trained."""
    network = random_network(config, "float32", device).train()
    length = min(profile.pairs.prompt_tokens + profile.pairs.new_tokens, config.n_positions)
    rows = torch.randint(0, config.vocab_size, (2 * profile.dpo.batch_size, length), device=device)
    kind = torch.optim.RMSprop if profile.dpo.optimizer == "rmsprop" else torch.optim.AdamW
    optimizer = kind(network.parameters(), lr=0.0)

    def train(pairs: int) -> None:
        network(rows[: 2 * pairs], labels=rows[: 2 * pairs]).loss.backward()
        if device.type != "cpu":
            getattr(torch, device.type).synchronize()

    train_pair = per_unit(train, profile.dpo.batch_size)
    return train_pair, per_unit(lambda n: [optimizer.step() for _ in range(n)], 3)


def _fits(width: int, profile: Profile) -> tuple[float, float]:
    """Seconds of the probe at one strength, and of one on shuffled labels."""
    fitted = int(profile.sizes.comments * (1 - profile.probe.held_out))
    n, rng = min(fitted, max(4 * width, 2**20 // width)), np.random.default_rng(0)
    x, y = rng.normal(size=(n, width)), rng.permutation(n) % 2
    C = float(np.median(profile.probe.C))

    def lbfgs(times: int) -> None:
        for _ in range(times):
            LogisticRegression(C=1e6, tol=0, max_iter=5).fit(x, y)

    def newton(times: int) -> None:
        for _ in range(times):
            LogisticRegression(C=C, solver="newton-cholesky").fit(x, y)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that five iterations do not suffice
        fit = per_unit(lbfgs, 20) / 5 * ITERATIONS
    return fit * fitted / n, per_unit(newton, 20) * fitted / n


def _table(config: PretrainedConfig) -> float:
    layers, width = config.n_layer, config.n_embd
    neurons = config.n_inner or 4 * width
    acts, after = torch.randn(2, layers, neurons, generator=torch.Generator().manual_seed(0))
    values = torch.randn(layers, neurons, width, generator=torch.Generator().manual_seed(1))

    def run(times: int) -> None:
        for _ in range(times):
            neuron_quantities(neuron_table(acts, after, values, values, values[0, 0]), 100)

    return per_unit(run, 20)


def _bootstrap(profile: Profile) -> float:
    samples = np.random.default_rng(0).random((3, profile.sizes.prompts))
    return profile.compute.bootstrap * per_unit(
        lambda n: estimate(recovered_share, *samples, resamples=n), profile.compute.bootstrap, 20
    )


def pretraining_step(settings: Pretraining) -> tuple[float, PretrainedConfig, PreTrainedTokenizerFast]:
    """Seconds of one step of pre-training, the configuration of the network, and a tokenizer that fits it."""
    generated = not settings.texts
    words = Language(settings.language).vocabulary if generated else map(str, range(settings.vocabulary - 2))
    tokenizer = word_tokenizer(list(words))
    batch = settings.batch_size
    rows = list(torch.randint(0, len(tokenizer), (60 * batch, settings.words + 1)))

    def train(steps: int) -> tuple[float, PreTrainedModel]:
        corpus = pretraining.Corpus(tokenizer, rows[: steps * batch], rows[:2], 1)
        began = time.perf_counter()
        network, _ = pretraining.pretrain(corpus, replace(settings, warmup_steps=0), 0)
        return time.perf_counter() - began, network

    with torch.random.fork_rng(devices=[]):
        train(1)
        few, _ = train(1)
        more = int(np.clip(10 * SHORT / few, 2, 50))
        many, network = train(1 + more)
    return max(many - few, 0.5 * many) / more, network.config, tokenizer


def scoring(score: Score, most: int) -> float:
    """Seconds per text of a scorer."""
    texts = [f"text number {i} of some that are no longer than most" for i in range(most)]
    return per_unit(lambda n: score(texts[:n]), most, min(4, most))


def classifying(config: PretrainedConfig, tokens: int, compute: Compute) -> float:
    """Seconds per text of a classifier of this configuration."""
    with no_init_weights():
        network = AutoModelForSequenceClassification.from_config(config)
    fill(network)
    network.to(networks.device_of(compute)).eval()
    rows = torch.ones(AT_ONCE, tokens + 2, dtype=torch.long, device=network.device)

    def run(n: int) -> None:
        with torch.no_grad():
            network(rows[:n]).logits.cpu()

    return per_unit(run, AT_ONCE, 4)
