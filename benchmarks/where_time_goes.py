"""Where the time of reading and editing goes: a fit of what nnsight adds, and a profile.

    python benchmarks/where_time_goes.py --shape gpt2-medium --batch 16

1. Networks so narrow that arithmetic takes no time generate bare and inside a trace, with none, one and three
   values read per layer and step. What the trace adds is fitted by a cost per trace, per step, per layer and
   step, and per value read.
2. At the given shape, torch's profiler tells how much of the time passes in torch's operations and how much
   outside of them, in Python: bare, in a trace that does nothing with what it reads, reading and editing.

Writes `artifacts/benchmarks/nnsight_cost.csv` and `profile.csv`.
"""

import argparse
import sys
import time

import nnsight
import numpy as np
import pandas as pd
import torch
import ways
from machine import describe, write
from speed import SHAPES, half_of, numbered_tokenizer, random_network, twin
from torch.profiler import ProfilerActivity, profile
from transformers import GPT2Config, GPT2LMHeadModel

from dpotox.model.architecture import traced
from dpotox.model.generation import decoding

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
        with torch.no_grad(), model.generate(ids, **decoding(steps, range(len(ids["input_ids"])))) as tracer:
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


def in_and_outside_torch(shape: str, batch: int, steps: int, repeats: int) -> pd.DataFrame:
    """Milliseconds of each way, of those in torch's operations, and the rest; medians over repeats."""
    network = random_network(shape)
    wrapped, tokenizer = twin(network), numbered_tokenizer(network)
    prompts = [" ".join(f"word{row % 200 + i}" for i in range(15)) for row in range(batch)]
    ids = tokenizer(prompts, return_tensors="pt")
    given = {key: ids[key] for key in ("input_ids", "attention_mask")}
    some = {
        "bare generate": ways.bare(network, ids, steps),
        "trace, three values read": tracing(traced(wrapped, tokenizer), given, steps, 3),
    }
    some |= ways.ours(wrapped, tokenizer, prompts, steps, half_of(network))
    rows = []
    for repeat in range(repeats + 1):
        for name, way in some.items():
            with profile(activities=[ProfilerActivity.CPU]) as profiler:
                began = time.perf_counter()
                way()
                whole = 1e3 * (time.perf_counter() - began)
            inside = sum(event.self_cpu_time_total for event in profiler.key_averages()) / 1e3
            if repeat:  # the first warms up
                rows.append({"way": name, "ms": whole, "in torch": inside, "outside": whole - inside})
    return pd.DataFrame(rows).groupby("way", sort=False).median().reset_index()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, default="mini")
    parser.add_argument("--batch", type=int, default=16)
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
    write("profile", in_and_outside_torch(arguments.shape, arguments.batch, 10, 5))
    return 0


if __name__ == "__main__":
    sys.exit(main())
