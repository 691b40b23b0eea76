"""Ways to read all neurons, or to edit half of them, while a model generates: ours and their rivals.

Every function returns a call without arguments that does the work once. All generate the same number of
tokens greedily after the same prompts; what they read is the sum of every neuron's activation over tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import pandas as pd
import torch
from transformers import BatchEncoding, GPT2LMHeadModel

from dpotox.model.architecture import traced
from dpotox.model.interventions import shift
from dpotox.model.tracing import continue_prompts, read_generation

Way = Callable[[], object]


def bare(network: GPT2LMHeadModel, ids: BatchEncoding, new: int) -> Way:
    """Generation alone, the physical limit."""

    def run():
        with torch.no_grad():
            return network.generate(**ids, max_new_tokens=new, min_new_tokens=new, do_sample=False)

    return run


def ours(network, tokenizer, prompts: list[str], new: int, half: pd.DataFrame) -> dict[str, Way]:
    """Reading and editing by `dpotox.model.tracing`, through nnsight."""
    model, direction = traced(network, tokenizer), torch.ones(network.config.n_embd)
    edit = shift(half, half["value"])
    batch = {"batch_size": len(prompts)}
    return {
        "dpotox, read": lambda: read_generation(model, prompts, new, direction, **batch),
        "dpotox, edit": lambda: continue_prompts(model, prompts, new, **batch, interventions=[edit]),
    }


def hooks(network: GPT2LMHeadModel, ids: BatchEncoding, new: int, half: pd.DataFrame) -> dict[str, Way]:
    """The same with plain PyTorch hooks."""
    generate, added = bare(network, ids, new), _dense(network, half)

    def hooked(hook_of: Callable) -> Way:
        def run():
            with ExitStack() as stack:
                for layer, block in enumerate(network.transformer.h):
                    handle = block.mlp.c_proj.register_forward_pre_hook(hook_of(layer))
                    stack.callback(handle.remove)
                return generate()

        return run

    sums = torch.zeros(added.shape)

    def read(layer: int) -> Callable:
        def hook(_, inputs) -> None:
            sums[layer].add_(inputs[0][:, -1].sum(0))

        return hook

    def edit(layer: int) -> Callable:
        return lambda _, inputs: (inputs[0] + added[layer],)

    return {"hooks, read": hooked(read), "hooks, edit": hooked(edit)}


def published(network: GPT2LMHeadModel, ids: BatchEncoding, new: int) -> Way:
    """The authors' procedure, from its description: generate, then read a second pass over what was written.

    Activations are kept for the whole batch and summed in float16, neuron by neuron in Python.
    """
    generate = bare(network, ids, new)

    def run():
        sequences, kept = generate(), {}

        def keep(layer: int) -> Callable:
            def hook(_, inputs) -> None:
                kept[layer] = inputs[0].detach()

            return hook

        with ExitStack() as stack, torch.no_grad():
            for layer, block in enumerate(network.transformer.h):
                stack.callback(block.mlp.c_proj.register_forward_pre_hook(keep(layer)).remove)
            network(sequences, use_cache=False)
        return [
            acts[:, -new - 1 : -1, neuron].half().sum()
            for acts in kept.values()
            for neuron in range(acts.shape[-1])
        ]

    return run


def transformer_lens(
    network: GPT2LMHeadModel, tokenizer, ids: BatchEncoding, new: int, half: pd.DataFrame
) -> dict[str, Way]:
    """The same with hooks of TransformerLens before version 4; nothing where it is not installed."""
    try:
        from transformer_lens import HookedTransformer, HookedTransformerConfig
    except ImportError:
        return {}
    config = network.config
    model = HookedTransformer(
        HookedTransformerConfig(
            n_layers=config.n_layer,
            d_model=config.n_embd,
            n_ctx=config.n_positions,
            d_head=config.n_embd // config.n_head,
            n_heads=config.n_head,
            d_mlp=config.n_inner or 4 * config.n_embd,
            d_vocab=config.vocab_size,
            act_fn="gelu_new",
            normalization_type="LN",
            device="cpu",
        )
    ).eval()
    model.tokenizer = tokenizer  # its `generate` asks for one; set by its own method it must be the hub's
    added = _dense(network, half)
    sums = torch.zeros(added.shape)

    def generate() -> object:
        with torch.no_grad():
            return model.generate(
                ids["input_ids"], max_new_tokens=new, do_sample=False, stop_at_eos=False, verbose=False
            )

    def hooked(hook_of: Callable) -> Way:
        points = [(f"blocks.{layer}.mlp.hook_post", hook_of(layer)) for layer in range(config.n_layer)]

        def run():
            with model.hooks(fwd_hooks=points):
                return generate()

        return run

    def read(layer: int) -> Callable:
        def hook(acts, hook) -> None:
            sums[layer].add_(acts[:, -1].sum(0))

        return hook

    def edit(layer: int) -> Callable:
        return lambda acts, hook: acts + added[layer]

    return {
        "TransformerLens, bare": generate,
        "TransformerLens, read": hooked(read),
        "TransformerLens, edit": hooked(edit),
    }


def _dense(network: GPT2LMHeadModel, half: pd.DataFrame) -> torch.Tensor:
    """What is added to every neuron, by layer."""
    config = network.config
    added = torch.zeros(config.n_layer, config.n_inner or 4 * config.n_embd)
    added[half["layer"].to_numpy(), half["neuron"].to_numpy()] = torch.tensor(
        half["value"].to_numpy(copy=True)
    ).float()
    return added
