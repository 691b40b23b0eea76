"""How strongly DPO acts on the embedded model by its learning rate: what the text does, nothing of how.

    python benchmarks/choose_dpo.py                         # of mini
    python benchmarks/choose_dpo.py --profile mini-llama    # of another model that is made here

Trains the profile, seed 0, with each rate; half a minute each once the model and the pairs are there.
The rule by which one is chosen stands in `book/before_the_runs.md`. Writes
`artifacts/benchmarks/choose_dpo.csv`, or `choose_dpo_mini-llama.csv`.
"""

import argparse
import math
import shutil

import pandas as pd
from machine import write

from dpotox.places import OUTPUT
from dpotox.run.study import open_study

RATES = (1.5e-5, 3e-5, 6e-5, 1.2e-4, 2.4e-4)
RATIO = 0.459
"""What DPO leaves of GPT-2 medium's greedy toxicity, as published."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="mini", help="the name of a shipped one (default: mini)")
    name = parser.parse_args().profile
    table = pd.DataFrame([measured(name, rate) for rate in RATES])
    kept = table[table["perplexity, times"] < 1.05]
    nearest = (kept["toxicity, times"] - RATIO).abs().idxmin()
    write(
        "choose_dpo" if name == "mini" else f"choose_dpo_{name}", table.assign(chosen=table.index == nearest)
    )


def measured(name: str, rate: float) -> dict[str, float]:
    """What DPO with a learning rate does to the text."""
    artifacts = OUTPUT / "artifacts"
    path = artifacts / "profiles" / f"{name}-dpo-{rate}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'extends = "{name}"\n[dpo]\nlearning_rate = {rate}\n')
    made, folder = artifacts / name / "seed0", artifacts / path.stem / "seed0"
    if made.is_dir() and not folder.is_dir():
        shutil.copytree(made, folder)  # the model and the pairs are the same
    before, after = open_study(str(path), 0).outcomes.values()
    return {
        "learning rate": rate,
        "toxicity, times": after.greedy.mean() / before.greedy.mean(),
        "sampled toxicity, times": after.sampled.mean() / before.sampled.mean(),
        "perplexity, times": math.exp(after.neutral_nll.mean() - before.neutral_nll.mean()),
    }


if __name__ == "__main__":
    main()
