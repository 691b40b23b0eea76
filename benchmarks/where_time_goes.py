"""Where the time of reading and editing goes: a fit of what nnsight adds, and a profile by library.

    python benchmarks/where_time_goes.py

1. Networks so narrow that arithmetic takes no time generate bare and inside a trace, with none, one and three
   values read per layer and step. What the trace adds is fitted by a cost per trace, per step, per layer and
   step, and per value read.
2. Reading at mini's shape is run under cProfile, and the time summed by library. The profiler itself makes
   Python slower, so the fit is the measure and the profile the map.

Writes `artifacts/benchmarks/nnsight_cost.csv` and `profile.csv`.
"""

import argparse
import cProfile
import pstats
import sys
import time
from collections import Counter

import nnsight
import numpy as np
import pandas as pd
import torch
import ways
from machine import describe, write
from speed import half_of, numbered_tokenizer, random_network
from transformers import GPT2Config, GPT2LMHeadModel

from dpotox.generation import decoding
from dpotox.models import traced

LAYERS, STEPS, READS = (2, 6, 12, 24), (5, 20), (0, 1, 3)
COSTS = ("ms per trace", "us per step", "us per layer and step", "us per value read")


def narrow(layers: int) -> GPT2LMHeadModel:
    """A network of many layers with next to no arithmetic."""
    torch.manual_seed(0)
    config = GPT2Config(n_layer=layers, n_embd=8, n_head=1, n_inner=8, vocab_size=300, n_positions=64)
    return GPT2LMHeadModel(config).eval()


def tracing(model, ids: dict, steps: int, reads: int) -> ways.Way:
    """Generation in a trace that takes this many values per layer and step, and does nothing with them."""

    def run() -> None:
        with torch.no_grad(), model.generate(ids, **decoding(steps, [0])) as tracer:
            for _step in tracer.iter[:steps]:
                for block in model.transformer.h:
                    if reads > 1:
                        _ = block.attn.output
                        _ = block.mlp.c_fc.output
                    if reads:
                        _ = block.mlp.c_proj.input
            nnsight.save(tracer.result)

    return run


def fit(repeats: int) -> tuple[pd.DataFrame, np.ndarray]:
    """What a trace adds to bare generation, in milliseconds, and the four costs that explain it."""
    rows = []
    for layers in LAYERS:
        network, wrapped = narrow(layers), narrow(layers)
        tokenizer = numbered_tokenizer(network)
        model, ids = traced(wrapped, tokenizer), tokenizer(["word1 word2"], return_tensors="pt")
        batch = {key: ids[key] for key in ("input_ids", "attention_mask")}
        for steps in STEPS:
            some = {"bare": ways.bare(network, ids, steps)}
            some |= {reads: tracing(model, batch, steps, reads) for reads in READS}
            seconds: dict = {name: [] for name in some}
            for repeat in range(repeats + 2):  # the first two warm up
                for name, way in some.items():
                    began = time.perf_counter()
                    way()
                    if repeat > 1:
                        seconds[name].append(time.perf_counter() - began)
            for reads in READS:
                added = np.median(np.array(seconds[reads]) - seconds["bare"])
                rows.append({"layers": layers, "steps": steps, "reads": reads, "added_ms": 1e3 * added})
    table = pd.DataFrame(rows)
    step, layer = table["steps"], table["steps"] * table["layers"]
    design = np.column_stack([np.ones(len(table)), step / 1e3, layer / 1e3, layer * table["reads"] / 1e3])
    costs = np.linalg.lstsq(design, table["added_ms"], rcond=None)[0]
    return table.assign(fitted_ms=design @ costs), costs


def by_library(batch: int) -> pd.DataFrame:
    """Milliseconds of one reading and one editing at mini's shape, by library, under cProfile."""
    network = random_network("mini")
    tokenizer = numbered_tokenizer(network)
    prompts = [" ".join(f"word{row % 200 + i}" for i in range(31)) for row in range(batch)]
    shares = {}
    for name, way in ways.ours(network, tokenizer, prompts, 20, half_of(network)).items():
        way()
        with cProfile.Profile() as profiler:
            way()
        shares[name] = Counter()
        for (file, _, function), (_, _, own, _, _) in pstats.Stats(profiler).stats.items():
            known = ("nnsight", "transformers", "tokenizers", "dpotox", "torch")
            library = next((k for k in known if k in file or k in function), "rest of Python")
            where = "torch, in C" if file == "~" and library == "torch" else library
            shares[name][where] += 1e3 * own
    return pd.DataFrame(shares).rename_axis("library").reset_index().fillna(0.0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(describe(arguments.threads))
    table, costs = fit(arguments.repeats)
    write("nnsight_cost", table)
    print("what nnsight adds:", ", ".join(f"{c:.3g} {name}" for c, name in zip(costs, COSTS, strict=True)))
    layers, steps = 24, 20
    total = costs[0] + steps / 1e3 * (costs[1] + layers * (costs[2] + 3 * costs[3]))
    print(f"at {layers} layers, {steps} steps and three values per layer: {total:.0f} ms a batch")
    write("profile", by_library(arguments.batch))
    return 0


if __name__ == "__main__":
    sys.exit(main())
