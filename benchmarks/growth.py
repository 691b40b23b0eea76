"""How reading and editing grow with the number of prompts, and the groups with the number of neurons.

    python benchmarks/growth.py --prompts 100 300 1000 3000 10000 --neurons 98304 500000

Prompts are read at mini's shape in batches of 256, every number of them in a process of its own, as the peak
of memory is one of a process. Time is linear if the exponent of a power of the number of prompts is near 1,
memory flat if the most prompts need hardly more than the fewest that fill a batch. The groups are those of
random neurons: naming, table, ranking, and sums by layer. Writes `artifacts/benchmarks/growth.csv` and
`groups.csv`.
"""

import argparse
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import median

import numpy as np
import pandas as pd
import torch
from machine import describe, write
from speed import half_of, numbered_tokenizer, random_network

from dpotox.model.architecture import traced
from dpotox.model.interventions import shift
from dpotox.model.tracing import continue_prompts, read_generation
from dpotox.paper.groups import group_by_activation, group_by_projection, group_table, layer_drops, ranking

BATCH, PROMPT_TOKENS, NEW_TOKENS = 256, 16, 20
STEEPEST, MOST_MEMORY, MOST_SECONDS = 1.1, 1.1, 0.2
"""Limits: exponent of time, peak memory of the most prompts over the fewest, and seconds for the groups."""


def generate(task: str, count: int, threads: int) -> dict:
    """Seconds and peak memory of reading, or of editing half of the neurons, over `count` prompts."""
    torch.set_num_threads(threads)
    network = random_network("mini")
    model = traced(network, numbered_tokenizer(network))
    half = half_of(network)
    prompts = [" ".join(f"word{(row + i) % 600}" for i in range(PROMPT_TOKENS)) for row in range(count)]
    direction, edit = torch.ones(network.config.n_embd), [shift(half, half["value"])]

    def run(some: list[str]) -> None:
        if task == "read":
            read_generation(model, some, NEW_TOKENS, direction, batch_size=BATCH)
        else:
            continue_prompts(model, some, NEW_TOKENS, batch_size=BATCH, interventions=edit)

    run(prompts[:8])  # warm up
    began = time.perf_counter()
    run(prompts)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"task": task, "prompts": count, "seconds": seconds, "peak GB": peak}


def over_prompts(counts: list[int], repeats: int, threads: int) -> pd.DataFrame:
    """Medians over repeats, in which all numbers of prompts take turns."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        runs = [
            pool.submit(generate, task, count, threads)
            for _ in range(repeats)
            for count in counts
            for task in ("read", "edit")
        ]
        table = pd.DataFrame([run.result() for run in runs])
    table = table.groupby(["task", "prompts"], as_index=False).median()
    return table.assign(**{"ms per prompt": 1e3 * table["seconds"] / table["prompts"]})


def random_neurons(count: int) -> pd.DataFrame:
    """As many neurons as asked for, in 24 layers."""
    rng = np.random.default_rng(0)
    pre, post = rng.normal(-0.1, 0.1, (2, count))
    columns = {"layer": np.arange(count) * 24 // count, "cosine": rng.normal(0, 0.1, count)}
    columns |= {"pre_activation": pre, "post_activation": post, "projection_drop": rng.normal(0, 1, count)}
    return pd.DataFrame(columns)


def decompose(count: int, repeats: int) -> dict:
    """Seconds of each part of the group decomposition."""
    neurons, rows = random_neurons(count), []
    for _ in range(repeats + 1):
        marks = [time.perf_counter()]
        named = neurons.assign(group=group_by_activation(neurons))
        marks.append(time.perf_counter())
        group_table(named)
        marks.append(time.perf_counter())
        layer_drops(named)
        marks.append(time.perf_counter())
        ranking(named)
        marks.append(time.perf_counter())
        group_by_projection(neurons)
        marks.append(time.perf_counter())
        rows.append(np.diff(marks))
    parts = ["names", "table", "sums by layer", "ranking", "names by projection"]
    taken = {part: median(column) for part, column in zip(parts, np.transpose(rows[1:]), strict=True)}
    return {"neurons": count, "groups": taken["names"] + taken["table"]} | taken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--prompts", type=int, nargs="+", default=[100, 300, 1000, 3000, 10000])
    parser.add_argument("--neurons", type=int, nargs="+", default=[98_304, 500_000])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    print(describe(arguments.threads))
    groups = pd.DataFrame([decompose(count, arguments.repeats) for count in arguments.neurons])
    write("groups", groups)
    found = over_prompts(arguments.prompts, arguments.repeats, arguments.threads)
    write("growth", found)
    ok = bool((groups["groups"] < MOST_SECONDS).all())
    for task, rows in found.groupby("task"):
        full = rows[rows["prompts"] >= BATCH]  # fewer do not fill one batch
        exponent = np.polyfit(np.log(full["prompts"]), np.log(full["seconds"]), 1)[0]
        memory = full["peak GB"].iloc[-1] / full["peak GB"].iloc[0]
        print(f"{task}: seconds grow as prompts to the power of {exponent:.2f}; memory x {memory:.2f}")
        ok = ok and exponent <= STEEPEST and memory <= MOST_MEMORY
    return int(not ok)


if __name__ == "__main__":
    sys.exit(main())
