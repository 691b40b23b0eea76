"""What reading and editing neurons costs beside bare generation, and beside other ways to do it.

    python benchmarks/speed.py --shapes gpt2-medium mini --batches 16 64 256 --repeats 5

Random weights, as the time does not depend on them. In each repeat all ways run in turn on the same prompts,
and ratios are taken within a repeat, so that a slow moment of the machine falls on all. Prints a table and
writes it to `artifacts/speed.csv`. TransformerLens is measured where it is installed; its own `generate` is
shown as well.
"""

import argparse
import platform
import sys
import time
from statistics import median

import pandas as pd
import torch
import ways
from transformers import GPT2Config, GPT2LMHeadModel

from dpotox.pretraining import word_tokenizer
from dpotox.study import PROJECT

SHAPES = {  # layers, d_model, heads, d_mlp, tokens
    "gpt2-medium": (24, 1024, 16, 4096, 50_257),
    "gpt2": (12, 768, 12, 3072, 50_257),
    "mini": (4, 128, 4, 512, 672),
    "tiny": (2, 64, 2, 256, 300),
}
LIMITS = {
    ("gpt2-medium", "read"): 1.03,
    ("gpt2-medium", "edit"): 1.10,
    ("mini", "read"): 1.15,
    ("mini", "edit"): 1.25,
}
"""Of bare generation; those of mini are for batches of 256."""


def random_network(shape: str, seed: int = 0) -> GPT2LMHeadModel:
    """A network of a shape with random weights."""
    torch.manual_seed(seed)
    layers, d_model, heads, d_mlp, tokens = SHAPES[shape]
    config = GPT2Config(
        n_layer=layers,
        n_embd=d_model,
        n_head=heads,
        n_inner=d_mlp,
        vocab_size=tokens,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
        attn_implementation="eager",
    )
    return GPT2LMHeadModel(config).eval()


def numbered_tokenizer(network: GPT2LMHeadModel):
    """A tokenizer with one word per token of the network."""
    return word_tokenizer([f"word{i}" for i in range(network.config.vocab_size - 2)])


def half_of(network: GPT2LMHeadModel) -> pd.DataFrame:
    """Half of all neurons, with a small value each."""
    width = network.config.n_inner
    number = torch.randperm(network.config.n_layer * width)[::2].sort().values.numpy()
    return pd.DataFrame({"layer": number // width, "neuron": number % width, "value": 1e-3})


def measure(some: dict[str, ways.Way], repeats: int) -> pd.DataFrame:
    """Seconds of each way in each repeat, all in turn."""
    for way in some.values():
        way()  # warm up
    rows = []
    for _ in range(repeats):
        row = {}
        for name, way in some.items():
            began = time.perf_counter()
            way()
            row[name] = time.perf_counter() - began
        rows.append(row)
    return pd.DataFrame(rows)


def summary(seconds: pd.DataFrame, shape: str, batch: int) -> pd.DataFrame:
    """Median seconds of each way, and its ratio to bare generation with the range over repeats."""
    ratios = seconds.div(seconds["bare generate"], axis=0)
    return pd.DataFrame(
        {
            "shape": shape,
            "batch": batch,
            "way": seconds.columns,
            "seconds": [median(seconds[way]) for way in seconds],
            "ratio": [median(ratios[way]) for way in seconds],
            "least": ratios.min().to_numpy(),
            "most": ratios.max().to_numpy(),
        }
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shapes", choices=SHAPES, nargs="+", default=["gpt2-medium"])
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--prompt-tokens", type=int, default=32)
    parser.add_argument("--new-tokens", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--without-rivals", action="store_true", help="bare generation and ours alone")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{platform.machine()}, {arguments.threads} threads, torch {torch.__version__}")
    tables, new = [], arguments.new_tokens
    for shape in arguments.shapes:
        network = random_network(shape)
        tokenizer, half = numbered_tokenizer(network), half_of(network)
        for batch in arguments.batches:
            words = [f"word{i}" for i in range(arguments.prompt_tokens - 1)]  # and one <eos> in front
            prompts = [" ".join([f"word{row % 200}", *words[1:]]) for row in range(batch)]
            ids = tokenizer(prompts, return_tensors="pt")
            some = {"bare generate": ways.bare(network, ids, new)}
            some |= ways.ours(network, tokenizer, prompts, new, half)
            if not arguments.without_rivals:
                some |= ways.hooks(network, ids, new, half)
                some["authors' procedure, read"] = ways.published(network, ids, new)
                some |= ways.transformer_lens(network, tokenizer, ids, new, half)
            table = summary(measure(some, arguments.repeats), shape, batch)
            print(table.to_string(index=False, float_format="{:.3f}".format), flush=True)
            tables.append(table)
    whole = pd.concat(tables)
    target = PROJECT / "artifacts" / "speed.csv"
    target.parent.mkdir(exist_ok=True)
    whole.to_csv(target, index=False)
    missed = [
        f"{row.way} at {row.shape}'s shape, batch {row.batch}: {row.ratio:.3f}"
        for row in whole.itertuples()
        for limit in [LIMITS.get((row.shape, row.way.removeprefix("dpotox, ")))]
        if limit and row.ratio > limit and (row.shape != "mini" or row.batch == 256)
    ]
    print(f"above the limit: {'; '.join(missed) or 'none'}")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
