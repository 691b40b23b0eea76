"""What reading and editing every neuron costs beside bare generation, at GPT-2 medium's shape.

python benchmarks/speed.py --batches 16 64 --repeats 5

Random weights, as the time does not depend on them. In each repeat the three ways run in turn on the
same prompts, and the ratios are taken within a repeat, so that a slow moment of the machine falls on all.
"""

import argparse
import sys
import time
from statistics import median

import pandas as pd
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from dpotox.interventions import shift
from dpotox.models import traced
from dpotox.pretraining import word_tokenizer
from dpotox.tracing import continue_prompts, read_generation

LIMITS = {"read": 1.05, "edit": 1.10}  # of bare generation
SHAPES = {  # layers, d_model, heads
    "gpt2-medium": (24, 1024, 16),
    "gpt2": (12, 768, 12),
    "tiny": (2, 64, 2),
}


def random_network(shape: str, seed: int = 0) -> GPT2LMHeadModel:
    """A network of a published shape with random weights and GPT-2's vocabulary."""
    torch.manual_seed(seed)
    layers, d_model, heads = SHAPES[shape]
    config = GPT2Config(n_layer=layers, n_embd=d_model, n_head=heads, attn_implementation="eager")
    return GPT2LMHeadModel(config).eval()


def numbered_tokenizer(network: GPT2LMHeadModel):
    """A tokenizer with one word per token of the network."""
    return word_tokenizer([f"word{i}" for i in range(network.config.vocab_size - 2)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, default="gpt2-medium")
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--prompt-tokens", type=int, default=32)
    parser.add_argument("--new-tokens", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--edited", type=int, default=49_000, help="number of edited neurons")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    network = random_network(arguments.shape)
    layers, d_model, _ = SHAPES[arguments.shape]
    tokenizer = numbered_tokenizer(network)
    model = traced(network, tokenizer)
    number = torch.randperm(layers * 4 * d_model)[: arguments.edited].sort().values.numpy()
    neurons = pd.DataFrame({"layer": number // (4 * d_model), "neuron": number % (4 * d_model)})
    edit = shift(neurons, pd.Series(1e-3, index=neurons.index))
    direction, new = torch.ones(d_model), arguments.new_tokens

    missed = []
    for batch in arguments.batches:
        words = [f"word{i}" for i in range(arguments.prompt_tokens - 1)]  # and one <eos> in front
        prompts = [" ".join([f"word{row}", *words[1:]]) for row in range(batch)]
        ids = tokenizer(prompts, return_tensors="pt")

        def bare(ids=ids):
            with torch.no_grad():
                network.generate(**ids, max_new_tokens=new, min_new_tokens=new, do_sample=False)

        ways = {
            "bare generate": bare,
            "read all": lambda p=prompts, b=batch: read_generation(model, p, new, direction, batch_size=b),
            f"edit {len(neurons):,}": lambda p=prompts, b=batch: continue_prompts(
                model, p, new, batch_size=b, interventions=[edit]
            ),
        }
        for way in ways.values():
            way()  # warm up
        seconds = {name: [] for name in ways}
        for _ in range(arguments.repeats):
            for name, way in ways.items():
                began = time.perf_counter()
                way()
                seconds[name].append(time.perf_counter() - began)
        for name, times in seconds.items():
            ratio = [t / b for t, b in zip(times, seconds["bare generate"], strict=True)]
            print(
                f"{arguments.shape}, batch {batch:3}, {name:14} {median(times):7.2f} s  "
                f"ratio {median(ratio):.3f} [{min(ratio):.3f}, {max(ratio):.3f}]",
                flush=True,
            )
            if median(ratio) > LIMITS.get(name.split()[0], 1.0):
                missed.append(f"{name} at batch {batch}")
    if missed:
        sys.exit(f"above the limit: {', '.join(missed)}")


if __name__ == "__main__":
    main()
