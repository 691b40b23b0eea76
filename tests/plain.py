"""The same things without nnsight: hooks, generation and loss in plain PyTorch."""

from contextlib import contextmanager

import torch

STEPS = 6


@contextmanager
def hooked(network, change):
    """A plain hook on every c_proj that may replace its input."""
    handles = [
        block.mlp.c_proj.register_forward_pre_hook(lambda _, x, layer=layer: change(layer, x[0]))
        for layer, block in enumerate(network.transformer.h)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def generate_plainly(network, tokenizer, prompt: str) -> torch.Tensor:
    batch = tokenizer(prompt, return_tensors="pt")
    options = {"max_new_tokens": STEPS, "min_new_tokens": STEPS, "do_sample": False}
    with torch.no_grad():
        return network.generate(**batch, **options)[0, -STEPS:]


def loss_plainly(network, windows) -> torch.Tensor:
    with torch.no_grad():
        logits = network(windows).logits[:, :-1]
    return torch.nn.functional.cross_entropy(logits.mT, windows[:, 1:], reduction="none").mean(1)
