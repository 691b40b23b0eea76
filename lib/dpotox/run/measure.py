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
from functools import partial

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
from dpotox.inputs.scoring import AT_ONCE, own_function
from dpotox.model import logit_lens, tracing
from dpotox.model.architecture import neurons_per_layer, traced
from dpotox.model.interventions import shift
from dpotox.paper.evidence import neuron_quantities
from dpotox.paper.neurons import neuron_table
from dpotox.profile import EMBEDDED, Pretraining, Profile

STARTED = time.time() - psutil.Process().create_time()
"""Seconds from the start of this process to here: what the start of a notebook takes as well."""
SHORT = 0.4
"""Seconds after which a measurement is long enough."""
TRL = 1.25
"""A step of trl's trainer in multiples of a bare one, as `benchmarks/dpo_step.py` measured it."""
ITERATIONS = 100
"""Of a logistic regression on residual streams, on average over the strengths of regularisation."""
TRAINED_SCORER = 1e-4
"""Seconds per text of a scorer that is trained here."""
KEEPING = 5e-5
"""Seconds in which a score is kept."""


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
    score: float  # the first scorer's of a text
    parameters: int


def per_unit(run: Callable[[int], object], most: int, least: int = 1) -> float:
    """Seconds per unit of `run(units)`: with more of them until it takes `SHORT`, or there are `most`."""
    units, first = min(least, most), True
    while True:
        took = timed(run, units)
        if took >= SHORT or (units == most and not first):
            return took / units
        if not first:  # the first call does what is done once
            units = min(most, max(units + 1, int(units * min(8, 1.2 * SHORT / took))))
        first = False


def per_call(run: Callable[[], object], most: int = 20) -> float:
    """Seconds of `run()`."""
    return per_unit(lambda n: [run() for _ in range(n)], most)


def timed(run: Callable[..., object], *given) -> float:
    """The seconds that something takes."""
    began = time.perf_counter()
    run(*given)
    return time.perf_counter() - began


def random_network(kind: type, config: PretrainedConfig, device: torch.device, **options) -> PreTrainedModel:
    """A model of this shape with small random weights, made fast: the same numbers over and over."""
    with no_init_weights():
        network = kind.from_config(config, **options)
    network.tie_weights()
    noise = 0.02 * torch.randn(2**16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in network.parameters():
            for part in parameter.view(-1).split(len(noise)):
                part.copy_(noise[: len(part)])
    return network.to(device).eval()


def costs(
    profile: Profile, config: PretrainedConfig, tokenizer, classifier: PretrainedConfig | None
) -> Costs:
    """Measure what the study of a profile consists of, on a network of this configuration.

    Args:
        classifier: the configuration of the first scorer, if it is one.
    """
    device = networks.device_of(profile.compute)
    with torch.random.fork_rng(devices=[]):
        options = {"attn_implementation": "eager", "dtype": getattr(torch, profile.compute.dtype)}
        network = random_network(AutoModelForCausalLM, config, device, **options)
        network.generation_config.use_cache = True  # as kept models say; what was just trained has it off
        generating = _generation(network, tokenizer, profile)
        token, nearest = _token(network, tokenizer, profile), _nearest(network)
        del network
        training = _training(config, profile, device)
    fits, table, bootstrap = _fits(config.hidden_size, profile), _table(config), _bootstrap(profile)
    others = table, bootstrap, nearest, _scoring(profile, classifier), parameters(config)
    return Costs(token, *generating, *training, *fits, *others)


def parameters(config: PretrainedConfig) -> int:
    """The number of weights of a model of this shape."""
    with torch.device("meta"):
        return sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())


def _generation(network: PreTrainedModel, tokenizer, profile: Profile) -> tuple[float, ...]:
    """Seconds per prompt and new token: plain, edited, sampled, read."""
    model, new = traced(network, tokenizer), profile.sizes.new_tokens
    batch = min(profile.compute.batch_size, max(profile.sizes.prompts, profile.pairs.samples))
    layers, neurons = network.config.num_hidden_layers, neurons_per_layer(network.config)
    some = pd.DataFrame({"layer": layer, "neuron": n} for layer in range(layers) for n in range(neurons // 2))
    edit = shift(some, pd.Series(0.0, some.index))
    word = tokenizer.decode([len(tokenizer) // 2]).strip() or "a"

    def seconds(kind: Callable, **options) -> float:
        write = partial(kind, model, batch_size=batch, **options)
        write([word], 2)  # what is done once
        first = timed(write, [word] * batch, 1)
        steps = min(4, new)
        took = timed(write, [word] * batch, steps)
        if took < SHORT / 2:  # so little that other programs' moments count
            steps, took = new, timed(write, [word] * batch, new)
        return max(took - first, 0.5 * took) / max(1, steps - 1) / batch

    return (
        seconds(tracing.continue_prompts),
        seconds(tracing.continue_prompts, interventions=[edit]),
        seconds(tracing.continue_prompts, sampling_seed=0),
        seconds(tracing.read_generation, direction=torch.ones(network.config.hidden_size)),
    )


def _token(network: PreTrainedModel, tokenizer, profile: Profile) -> float:
    """Seconds per token of text."""
    model, length = traced(network, tokenizer), min(profile.sizes.window_tokens, 128)
    rows = torch.randint(0, network.config.vocab_size, (profile.compute.batch_size, length))
    return per_unit(lambda n: tracing.window_nll(model, rows[:n], batch_size=n), len(rows)) / length


def _nearest(network: PreTrainedModel) -> float:
    layers, width = network.config.num_hidden_layers, network.config.hidden_size
    neurons = layers * neurons_per_layer(network.config)
    values = torch.randn(1, neurons, width)
    return neurons * per_unit(
        lambda n: logit_lens.nearest_token_ids(network, values[:, :n]), neurons, min(32, neurons)
    )


def _training(config: PretrainedConfig, profile: Profile, device: torch.device) -> tuple[float, float]:
    """Seconds of a pair's forward and backward pass, and of an update, in float32 as DPO is trained."""
    options = {"attn_implementation": "eager", "dtype": torch.float32}
    network = random_network(AutoModelForCausalLM, config, device, **options).train()
    length = min(profile.pairs.prompt_tokens + profile.pairs.new_tokens, config.max_position_embeddings)
    rows = torch.randint(0, config.vocab_size, (2 * profile.dpo.batch_size, length), device=device)
    kind = torch.optim.RMSprop if profile.dpo.optimizer == "rmsprop" else torch.optim.AdamW
    optimizer = kind(network.parameters(), lr=0.0)

    def train(pairs: int) -> None:
        network(rows[: 2 * pairs], labels=rows[: 2 * pairs]).loss.backward()
        if device.type != "cpu":
            getattr(torch, device.type).synchronize()

    return per_unit(train, profile.dpo.batch_size), per_call(optimizer.step, 3)


def _fits(width: int, profile: Profile) -> tuple[float, float]:
    """Seconds of the probe at one strength, and of one on shuffled labels."""
    fitted = int(profile.sizes.comments * (1 - profile.probe.held_out))
    n, rng = min(fitted, max(4 * width, 2**20 // width)), np.random.default_rng(0)
    x, y = rng.normal(size=(n, width)), rng.permutation(n) % 2
    C = float(np.median(profile.probe.C))

    def seconds(**options) -> float:
        return per_call(lambda: LogisticRegression(**options).fit(x, y)) * fitted / n

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that five iterations do not suffice
        return seconds(C=1e6, tol=0, max_iter=5) / 5 * ITERATIONS, seconds(C=C, solver="newton-cholesky")


def _table(config: PretrainedConfig) -> float:
    layers, width = config.num_hidden_layers, config.hidden_size
    neurons = neurons_per_layer(config)
    acts, after = torch.randn(2, layers, neurons, generator=torch.Generator().manual_seed(0))
    values = torch.randn(layers, neurons, width, generator=torch.Generator().manual_seed(1))
    return per_call(lambda: neuron_quantities(neuron_table(acts, after, values, values, values[0, 0]), 100))


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

    def train(steps: int) -> PretrainedConfig:
        corpus = pretraining.Corpus(tokenizer, rows[: steps * batch], rows[:2], 1)
        network, _ = pretraining.pretrain(corpus, replace(settings, warmup_steps=0), 0)
        return network.config

    with torch.random.fork_rng(devices=[]):
        config = train(1)
        few = timed(train, 1)
        more = int(np.clip(10 * SHORT / few, 2, 50))
        many = timed(train, 1 + more)
    return max(many - few, 0.5 * many) / more, config, tokenizer


def _scoring(profile: Profile, classifier: PretrainedConfig | None) -> float:
    """Seconds per text of the first scorer, with keeping the score where it is not the language itself."""
    path, _, function = profile.scorer.name.rpartition(":")
    texts = [f"text number {i} of some that are no longer than most" for i in range(64)]
    if classifier is not None:
        return KEEPING + _classifying(classifier, profile)
    if profile.scorer.name == EMBEDDED:
        language = Language(profile.pretraining.language)
        return per_unit(lambda n: [language.toxicity(text) for text in texts[:n]], len(texts), 4)
    if path.endswith(".py"):
        score = own_function(path, function)
        return KEEPING + per_unit(lambda n: score(texts[:n]), 4, 4)  # each may cost something
    return TRAINED_SCORER


def _classifying(config: PretrainedConfig, profile: Profile) -> float:
    device, length = networks.device_of(profile.compute), profile.sizes.new_tokens + 2
    network = random_network(AutoModelForSequenceClassification, config, device)
    rows = torch.ones(AT_ONCE, length, dtype=torch.long, device=device)

    def run(n: int) -> None:
        with torch.no_grad():
            network(rows[:n]).logits.cpu()

    return per_unit(run, AT_ONCE, 4)
