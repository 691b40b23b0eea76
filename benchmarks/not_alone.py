"""How long the work takes beside another busy program, by how threads wait for each other.

    python benchmarks/not_alone.py --repeats 3

At mini's shape, with random weights: greedy generation, and steps of training. Each in a process of its
own with OpenMP's threads spinning while they wait, sleeping after some turns, and with one thread; alone,
and beside programs that keep a core busy each. Writes `artifacts/benchmarks/not_alone.csv`: seconds of one
turn, the median, and how many times as long as alone.
"""

import argparse
import os
import subprocess
import sys
import time
from statistics import median

import pandas as pd
from machine import busy, describe, write

SPINS = ("0", "1000", "10000", "100000")
"""Turns that a thread of libgomp spins before it sleeps."""
WAITING = {
    "two threads, spinning": (2, {"OMP_WAIT_POLICY": "active"}),
    **{f"two threads, {n} turns, then sleeping": (2, {"GOMP_SPINCOUNT": n}) for n in SPINS},
    "one thread": (1, {}),
}


def work(threads: int, repeats: int) -> None:
    """Print the median seconds of generating and of training steps."""
    import torch
    from speed import numbered_tokenizer, random_network
    from ways import bare

    torch.set_num_threads(threads)
    network = random_network("mini")
    ids = numbered_tokenizer(network)(["word1 word2 word3 word4"] * 300, return_tensors="pt")
    generate = bare(network, ids, 20)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    rows = torch.randint(2, network.config.vocab_size, (32, 48))

    def train() -> None:
        for _ in range(5):
            network(rows, labels=rows).loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    for run in (generate, train):
        run()
        seconds = []
        for _ in range(repeats):
            began = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - began)
        print(median(seconds), flush=True)


def measured(threads: int, waiting: dict[str, str], repeats: int) -> list[float]:
    """What `work` prints in a process with that setting."""
    command = [sys.executable, __file__, "--threads", str(threads), "--repeats", str(repeats)]
    rest = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    environment = rest | {"OMP_WAIT_POLICY": "passive"} | waiting
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    return [float(line) for line in printed.split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--others", type=int, default=1, help="busy programs at most")
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.threads:
        work(arguments.threads, arguments.repeats)
        return
    print(describe(2))
    lines = []
    for others in range(arguments.others + 1):
        with busy(others):
            for name, (threads, waiting) in WAITING.items():
                generating, training = measured(threads, waiting, arguments.repeats)
                lines.append(
                    {"busy programs": others, "way": name, "generate": generating, "train": training}
                )
    table = pd.DataFrame(lines)
    alone = table[table["busy programs"] == 0].set_index("way")
    for task in ("generate", "train"):
        table[f"{task}, of alone"] = table[task] / table["way"].map(alone[task])
    write("not_alone", table)


if __name__ == "__main__":
    main()
