"""What reading and editing neurons costs beside bare generation, and beside other ways to do it.

    python benchmarks/speed.py --shapes gpt2-medium mini --batches 16 64 256 --repeats 5

Random weights, as the time does not depend on them. In each repeat all ways run in turn on the same prompts,
and ratios are taken within a repeat, so that a slow moment of the machine falls on all; bare generation and
ours, which differ little, take more turns. Prints a table and writes it to `artifacts/benchmarks/speed.csv`,
the ratios alone to `speed_overview.csv`, where rows of other shapes and batches stay. TransformerLens is
measured where it is installed; its own `generate` is shown as well.
"""

import argparse
import sys
import time

import pandas as pd
import torch
import ways
from machine import TABLES, describe, write
from transformers import GPT2Config, GPT2LMHeadModel

from dpotox.inputs.pretraining import word_tokenizer

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
"""Of bare generation, at most; those of mini are for batches of 256."""
RIVALS = {"authors' procedure, read": 1.5, "TransformerLens, read": 1.0}
"""How many times as long as our reading they take at least, at GPT-2 medium's shape."""


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


def twin(network: GPT2LMHeadModel) -> GPT2LMHeadModel:
    """Other modules with the same weights: nnsight leaves its mark on modules, and memory has fast places."""
    other = GPT2LMHeadModel(network.config).eval()
    other.load_state_dict(network.state_dict(), assign=True)
    other.tie_weights()
    return other


def numbered_tokenizer(network: GPT2LMHeadModel):
    """A tokenizer with one word per token of the network."""
    return word_tokenizer([f"word{i}" for i in range(network.config.vocab_size - 2)])


def half_of(network: GPT2LMHeadModel) -> pd.DataFrame:
    """Half of all neurons, with a small value each."""
    width = network.config.n_inner
    number = torch.randperm(network.config.n_layer * width)[::2].sort().values.numpy()
    return pd.DataFrame({"layer": number // width, "neuron": number % width, "value": 1e-3})


def measure(some: dict[str, ways.Way], repeats: int, more: int) -> pd.DataFrame:
    """Seconds of each way in each repeat, all in turn; rivals only in one of `more` repeats, else missing."""
    for way in some.values():
        way()  # warm up
    rows = []
    for repeat in range(repeats * more):
        row = {}
        for name, way in some.items():
            if repeat % more and not name.startswith(("bare", "dpotox")):
                continue
            began = time.perf_counter()
            way()
            row[name] = time.perf_counter() - began
        rows.append(row)
    return pd.DataFrame(rows)


def summary(seconds: pd.DataFrame, **facts) -> pd.DataFrame:
    """Median seconds of each way, and its ratio to bare generation with the range over repeats."""
    ratios = seconds.div(seconds["bare generate"], axis=0)
    columns = {"seconds": seconds.median(), "ratio": ratios.median()}
    columns |= {"least": ratios.min(), "most": ratios.max()}
    columns |= {"repeats": seconds.count()}
    table = pd.DataFrame(columns).rename_axis("way").reset_index()
    return pd.concat([pd.DataFrame([facts] * len(table)), table], axis=1)


def missed(seconds: pd.DataFrame, shape: str, batch: int) -> list[str]:
    """The goals that were not reached."""
    found = []
    for task in ("read", "edit"):
        ratio = (seconds[f"dpotox, {task}"] / seconds["bare generate"]).median()
        limit = LIMITS.get((shape, task))
        if limit and ratio > limit and (shape != "mini" or batch == 256):
            found.append(f"{task} takes {ratio:.3f} of bare generation, the limit is {limit}")
    for rival, times in RIVALS.items():
        if shape == "gpt2-medium" and rival in seconds:
            ratio = (seconds[rival] / seconds["dpotox, read"]).median()
            if ratio < times:
                found.append(f"{rival} takes only {ratio:.2f} times as long")
    return [f"{shape}, batch {batch}: {line}" for line in found]


def keep_others(table: pd.DataFrame) -> pd.DataFrame:
    """The table with what was measured before at other shapes and batches."""
    path, key = TABLES / "speed.csv", ["shape", "batch"]
    if not path.exists():
        return table
    before = pd.read_csv(path)
    others = ~before.set_index(key).index.isin(table.set_index(key).index)
    return pd.concat([before[others], table])


def overview(table: pd.DataFrame) -> pd.DataFrame:
    """The ratios to bare generation alone: a row per way, a column per shape and batch."""
    where = table["shape"] + ", " + table["batch"].astype(str)
    ratios = table.assign(where=where).pivot(index="way", columns="where", values="ratio")
    return ratios.loc[table["way"].unique(), where.unique()].map("{:.2f}".format).reset_index()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shapes", choices=SHAPES, nargs="+", default=["gpt2-medium"])
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--prompt-tokens", type=int, default=32)
    parser.add_argument("--new-tokens", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--more", type=int, default=3, help="times as many of bare generation and ours")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--without-rivals", action="store_true", help="bare generation and ours alone")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(describe(arguments.threads))
    new, failed = arguments.new_tokens, []
    for shape in arguments.shapes:
        network = random_network(shape)
        wrapped = twin(network)
        tokenizer, half = numbered_tokenizer(network), half_of(network)
        for batch in arguments.batches:
            words = [f"word{i}" for i in range(arguments.prompt_tokens - 1)]  # and one <eos> in front
            prompts = [" ".join([f"word{row % 200}", *words[1:]]) for row in range(batch)]
            ids = tokenizer(prompts, return_tensors="pt")
            some = {"bare generate": ways.bare(network, ids, new)}
            some |= ways.ours(wrapped, tokenizer, prompts, new, half)
            if not arguments.without_rivals:
                some |= ways.hooks(network, ids, new, half)
                some["authors' procedure, read"] = ways.published(network, ids, new)
                some |= ways.transformer_lens(network, tokenizer, ids, new, half)
            seconds = measure(some, arguments.repeats, arguments.more)
            facts = {"shape": shape, "batch": batch, "prompt_tokens": arguments.prompt_tokens}
            found = keep_others(summary(seconds, **facts, new_tokens=new))
            write("speed", found)
            write("speed_overview", overview(found))
            failed += missed(seconds, shape, batch)
    print("goals missed:", *(failed or ["none"]), sep="\n")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
