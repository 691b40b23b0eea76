"""The whole book at a published model's true shape, offline: random weights, local files.

    python benchmarks/full_shape.py --shape gpt2-medium --tokenizer gpt2-tokenizer/ --comments train.csv \
        --prompts prompts.jsonl --text wiki.train.txt --held-out wiki.test.txt

What it shows is that every step and notebook works at that shape, with the formats that the profiles of that
name read, and how long each takes; its results mean nothing. With `--sizes profile` the sizes are
those of the shipped profile of that name, otherwise ones that 2 cores manage in well under an hour.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import torch
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from dpotox.places import PROJECT

SHAPES = {"gpt2-medium": (24, 1024, 16), "gpt2": (12, 768, 12)}  # layers, d_model, heads
PROFILE = """# Written by benchmarks/full_shape.py.
extends = "{shape}"
title = "random weights of {shape}'s shape; the numbers mean nothing"

[model]
base = '{weights}'
tokenizer = '{tokenizer}'

[data]
comments = '{comments}'
prompts = '{prompts}'
text = '{held_out}'
references = '{held_out}'
pair_text = '{text}'

[scorer]
name = "trained"
mask_from = 0.45
second = ""

[pairs]
margin = 0.01
steering = [4.0]
{sizes}
"""
SMALL = """count = 48
samples = 2
prompt_tokens = 24
new_tokens = 16
validation = 16

[sizes]
comments = 600
prompts = 24
chunks = 12
text_windows = 4
window_tokens = 128
references = 12

[probe]
C = [1e-3, 1e-1]
max_tokens = 48

[dpo]
steps = 6
eval_every = 3
warmup_steps = 2

[interventions]
sets = ["TP-", "all four groups"]
draws = 2

[nulls]
directions = 20
shuffled_labels = 5

[compute]
threads = 2
neuron_bootstrap = 20
"""
AS_PROFILE = """
[compute]
threads = 2
"""


def random_weights(folder: Path, shape: str, tokenizer: Path) -> None:
    """A network of that shape with random weights, as `save_pretrained` leaves it."""
    layers, d_model, heads = SHAPES[shape]
    torch.manual_seed(0)
    known = AutoTokenizer.from_pretrained(tokenizer)
    config = GPT2Config(vocab_size=len(known), n_layer=layers, n_embd=d_model, n_head=heads)
    GPT2LMHeadModel(config).save_pretrained(folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, default="gpt2-medium")
    parser.add_argument("--sizes", choices=("small", "profile"), default="small")
    for name in ("tokenizer", "comments", "prompts", "text", "held-out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    paths = {k: v.resolve() for k, v in vars(arguments).items() if isinstance(v, Path)}
    name = f"random-{arguments.shape}-{arguments.sizes}"
    weights = PROJECT / "artifacts" / f"{name}-weights"
    if not (weights / "model.safetensors").is_file():
        random_weights(weights, arguments.shape, paths["tokenizer"])
    profile = PROJECT / "artifacts" / f"{name}.toml"
    sizes = SMALL if arguments.sizes == "small" else AS_PROFILE
    text = PROFILE.format(**paths, shape=arguments.shape, weights=weights, sizes=sizes)
    profile.write_text(text, encoding="utf-8")
    command = [sys.executable, str(Path(__file__).with_name("book.py")), "--profile", str(profile)]
    return subprocess.call(command, cwd=PROJECT)


if __name__ == "__main__":
    sys.exit(main())
