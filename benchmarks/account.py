"""What the whole account costs beside the neuron table, and whether its memory grows with the prompts.

    python benchmarks/account.py --shapes mini gpt2-medium --repeats 3

Random weights. The table is two models read and put together; the account is the same with what every head
gathers, and the division among all that write. In each repeat both are made in turn, and the ratio is taken
within a repeat. What reads no heads is `read_generation` without the line that does. Memory is the peak of a
process that makes the account for few prompts, and of another for eight times as many. Writes
`artifacts/benchmarks/account.csv`.
"""

import argparse
import importlib.util
import inspect
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import torch
from machine import describe, write
from speed import SHAPES, numbered_tokenizer, random_network

from dpotox.model import tracing
from dpotox.model.architecture import traced
from dpotox.model.weights import head_vectors, value_vectors
from dpotox.paper.neurons import neuron_table
from dpotox.run.account import Vectors, account

READS_HEADS = "                        heads[layer] += _newest(at.heads_divided, home).sum(0)\n"
LIMITS = {"ratio": 1.3, "memory": 1.1}
BATCH, NEW_TOKENS, CHUNKS = {"mini": 64, "gpt2-medium": 16}, 20, 12


def without_heads(folder: Path) -> Callable:
    """`read_generation` that reads all but the heads."""
    source = inspect.getsource(tracing)
    if source.count(READS_HEADS) != 1:
        sys.exit("read_generation has changed: mend READS_HEADS")
    path = folder / "tracing_without_heads.py"
    path.write_text(source.replace(READS_HEADS, ""))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.read_generation


def prompts_of(number: int) -> list[str]:
    """Prompts of 4 to 16 tokens."""
    lengths = torch.randint(3, 16, (number,), generator=torch.Generator().manual_seed(0)).tolist()
    return [" ".join(f"word{(row + i) % 500}" for i in range(n)) for row, n in enumerate(lengths)]


def made(shape: str, models: list, prompts: list[str], read: Callable, *, whole: bool) -> float:
    """Seconds until the table, or with the account, is made."""
    began = time.perf_counter()
    direction = torch.ones(SHAPES[shape][1])
    common = {"batch_size": BATCH[shape], "chunks": CHUNKS}
    found = [read(model, prompts, NEW_TOKENS, direction, **common)[1] for model in models]
    values = [value_vectors(model) for model in models]
    neuron_table(*(one.activation.mean(0) for one in found), *values, direction)
    if whole:
        both = zip(values, map(head_vectors, models), strict=True)
        account(*found, *(Vectors(*some) for some in both), direction).table()
    return time.perf_counter() - began


def models_of(shape: str) -> list:
    """Two of random weights, ready for tracing."""
    networks = [random_network(shape, seed) for seed in (0, 1)]
    return [traced(network, numbered_tokenizer(network)) for network in networks]


def memory(shape: str, prompts: int, threads: int) -> float:
    """The peak, in GB, of a process that makes the account."""
    torch.set_num_threads(threads)
    made(shape, models_of(shape), prompts_of(prompts), tracing.read_generation, whole=True)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shapes", nargs="+", choices=list(BATCH), default=["mini"])
    parser.add_argument(
        "--batches", type=int, default=2, help="of prompts; memory also with eight times as many"
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(describe(arguments.threads))
    rows, alone = [], get_context("spawn")
    with TemporaryDirectory() as folder:
        fewer = without_heads(Path(folder))
        for shape in arguments.shapes:
            models, few = models_of(shape), arguments.batches * BATCH[shape]
            made(shape, models, prompts_of(few), fewer, whole=False)  # warm
            for repeat in range(arguments.repeats):
                table = made(shape, models, prompts_of(few), fewer, whole=False)
                whole = made(shape, models, prompts_of(few), tracing.read_generation, whole=True)
                rows.append({"shape": shape, "repeat": repeat, "table": table, "account": whole})
            del models
            peaks = []
            for number in (few, 8 * few):
                with ProcessPoolExecutor(1, mp_context=alone) as pool:
                    peaks.append(pool.submit(memory, shape, number, arguments.threads).result())
            print(f"{shape}: {peaks[0]:.2f} GB for {few} prompts, {peaks[1]:.2f} GB for {8 * few}")
            rows[-1] |= {"memory": peaks[1] / peaks[0]}
    table = pd.DataFrame(rows)
    table["ratio"] = table["account"] / table["table"]
    write("account", table)
    found = table.groupby("shape", sort=False)[list(LIMITS)].median()
    print(found.round(3).to_string())
    sys.exit(bool((found > pd.Series(LIMITS)).any(axis=None)))


if __name__ == "__main__":
    main()
