"""What a step of DPO takes with trl, beside the same step written by hand.

    python benchmarks/dpo_step.py --shapes mini gpt2 --steps 20 --repeats 5

Random weights and random pairs, in mini's batch size and lengths. Both ways train the same network on the
same pairs with AdamW, clipped gradients, and log-probabilities of the reference model computed before; they
take turns. Where trl takes more than 1.5 times as long, the functions in which its time passes are listed
(cProfile). Writes `artifacts/benchmarks/dpo_step.csv`.
"""

import argparse
import cProfile
import pstats
import sys
import tempfile
import time
import warnings
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import torch
from machine import describe, write
from speed import SHAPES, numbered_tokenizer, random_network
from torch.nn.functional import logsigmoid
from torch.nn.utils.rnn import pad_sequence
from transformers import TrainerCallback

from dpotox.paper import dpo
from dpotox.profile import load_profile

EXPLAINED = 1.5
SETTINGS, CUT = load_profile("mini").dpo, load_profile("mini").pairs


class Clock(TrainerCallback):
    """The times at which steps end."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_args, **_kwargs):
        self.ends.append(time.perf_counter())


def random_pairs(count: int) -> pd.DataFrame:
    """Prompts with two continuations of the profile's lengths."""
    rng = np.random.default_rng(0)

    def texts(length: int) -> list[str]:
        return [" ".join(f"word{i}" for i in rng.integers(0, 250, length)) for _ in range(count)]

    return pd.DataFrame(
        {"prompt": texts(8), "chosen": texts(CUT.new_tokens), "rejected": texts(CUT.new_tokens)}
    )


def by_trl(shape: str, steps: int, folder: Path) -> list[float]:
    """Seconds of each step but the first few."""
    network = random_network(shape)
    tokenizer, clock = numbered_tokenizer(network), Clock()
    arguments = dpo._arguments(SETTINGS, folder / "checkpoints", 0, True)
    arguments.max_steps, arguments.eval_strategy, arguments.save_strategy = steps, "no", "no"
    rows = dpo._token_rows(tokenizer, random_pairs(SETTINGS.batch_size * steps + 8), CUT, folder / "ids")
    trainer = dpo._PairTrainer(
        network,
        args=arguments,
        train_dataset=rows["train"],
        eval_dataset=rows["validation"],
        processing_class=tokenizer,
        callbacks=[clock],
    )
    with dpo.show_progress(trainer, "DPO"):
        trainer.train()
    return list(np.diff(clock.ends))[2:]


def margin(network, rows: list[dict]) -> torch.Tensor:
    """Summed log-probability of each row's chosen continuation, less that of the rejected one."""
    both = [(row["prompt_ids"], row[which]) for which in ("chosen_ids", "rejected_ids") for row in rows]
    whole = pad_sequence([torch.tensor(prompt + continuation) for prompt, continuation in both], True)
    start = torch.tensor([[len(prompt)] for prompt, _ in both])
    length = torch.tensor([[len(prompt) + len(continuation)] for prompt, continuation in both])
    at = torch.arange(whole.shape[1])
    logits = network(input_ids=whole, attention_mask=(at < length).long(), use_cache=False).logits[:, :-1]
    taken = logits.log_softmax(-1).gather(-1, whole[:, 1:, None])[..., 0]
    chosen, rejected = (taken * ((at >= start) & (at < length))[:, 1:]).sum(1).chunk(2)
    return chosen - rejected


def by_hand(shape: str, steps: int) -> list[float]:
    """The same, in a loop of a dozen lines."""
    network = random_network(shape)  # without dropout, as trl trains
    tokenizer = numbered_tokenizer(network)
    pairs = random_pairs(SETTINGS.batch_size * steps + 8)
    rows = [dpo._token_ids(tokenizer, pair, CUT) for pair in pairs.itertuples()]
    batches = [rows[i * SETTINGS.batch_size :][: SETTINGS.batch_size] for i in range(steps)]
    with torch.no_grad():
        reference = [margin(network, batch) for batch in batches]
    optimizer = torch.optim.AdamW(network.parameters(), SETTINGS.learning_rate, weight_decay=0)
    ends = []
    for batch, before in zip(batches, reference, strict=True):
        loss = -logsigmoid(SETTINGS.beta * (margin(network, batch) - before)).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), SETTINGS.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        ends.append(time.perf_counter())
    return list(np.diff(ends))[2:]


def compare(shape: str, steps: int, repeats: int) -> dict:
    """Median seconds of a step in both ways, and their ratio within repeats."""
    trl, hand = [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            trl.append(median(by_trl(shape, steps, Path(folder))))
        hand.append(median(by_hand(shape, steps)))
    ratios = np.array(trl) / np.array(hand)
    return {
        "shape": shape,
        "trl": median(trl),
        "by hand": median(hand),
        "ratio": median(ratios),
        "least": ratios.min(),
        "most": ratios.max(),
    }


def explain(shape: str, steps: int) -> None:
    """List the functions in which trl's time passes."""
    with tempfile.TemporaryDirectory() as folder, cProfile.Profile() as profiler:
        by_trl(shape, steps, Path(folder))
    pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shapes", choices=SHAPES, nargs="+", default=["mini"])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")
    print(describe(arguments.threads))
    table = pd.DataFrame([compare(s, arguments.steps, arguments.repeats) for s in arguments.shapes])
    write("dpo_step", table)
    for shape in table.loc[table["ratio"] > EXPLAINED, "shape"]:
        print(f"trl at {shape}'s shape takes more than {EXPLAINED} times as long; where the time passes:")
        explain(shape, arguments.steps)
    return 0


if __name__ == "__main__":
    sys.exit(main())
