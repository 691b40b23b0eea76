"""What sampling costs beside the model's own.

    python benchmarks/sampling.py --shapes mini gpt2 --batch 64

Random weights; the same prompts in turn: greedy, transformers' `do_sample`, and ours, which draws each
row's noise from a stream of its own (`dpotox.model.generation`). All without nnsight, so that only the choice
of tokens differs. Writes `artifacts/benchmarks/sampling.csv`: medians, and the ratio to `do_sample`
within a repeat.
"""

import argparse
import sys
import time

import pandas as pd
import torch
from machine import describe, write
from speed import SHAPES, numbered_tokenizer, random_network

from dpotox.model.generation import decoding

LIMIT = 1.1
"""Of the model's own sampling, at most."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shapes", choices=SHAPES, nargs="+", default=["mini", "gpt2"])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--new-tokens", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    print(describe(2))
    lines, missed = [], []
    for shape in arguments.shapes:
        network, new, rows = random_network(shape), arguments.new_tokens, range(arguments.batch)
        ids = numbered_tokenizer(network)(["word1 word2 word3"] * arguments.batch, return_tensors="pt")
        own = decoding(new, rows) | {"do_sample": True, "top_k": 0}
        ways = {"greedy": decoding(new, rows), "do_sample": own, "ours": None}
        seconds = []
        for _ in range(arguments.repeats + 1):
            turn = {}
            for name, options in ways.items():
                began = time.perf_counter()
                with torch.no_grad():
                    network.generate(**ids, **(options or decoding(new, rows, sampling_seed=0)))
                turn[name] = (time.perf_counter() - began) / new
            seconds.append(turn)
        table = pd.DataFrame(seconds[1:])  # the first warms up
        ratio = (table["ours"] / table["do_sample"]).median()
        facts = {"shape": shape, "batch": arguments.batch}
        lines.append(facts | table.median().to_dict() | {"ours / do_sample": ratio})
        missed += [f"{shape}: {ratio:.2f}"] if ratio > LIMIT else []
    write("sampling", pd.DataFrame(lines))
    print("goals missed:", *(missed or ["none"]))
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
