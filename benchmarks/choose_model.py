"""Candidates for the embedded model, by what can be seen of them before DPO.

    python benchmarks/choose_model.py

Pre-trains each for as many documents as the profile `mini` takes, seed 0, and fits the probe; minutes each,
and what is there is not made again. The rule by which one is chosen was written first
(`book/before_the_runs.md`). Writes `artifacts/benchmarks/choose_model.csv`.
"""

import json
import time
from itertools import product

import numpy as np
import pandas as pd
import torch
from machine import write
from scipy.stats import kurtosis

from dpotox.inputs import data
from dpotox.inputs.language import Language
from dpotox.model import logit_lens
from dpotox.model.tracing import read_generation
from dpotox.places import OUTPUT
from dpotox.run.study import Study, open_study

NEGATIVE = 0.873
"""GPT-2 medium's share of neurons with a negative mean activation, as published."""
UNTIL_NOW = {"language": "plain", "d_model": 128, "d_mlp": 512, "muon_weight_decay": 0.15, "rows": 24_000}
CANDIDATES = [
    {"language": "rich", "d_model": width, "d_mlp": 1024, "muon_weight_decay": decay, "rows": 30_000}
    for width, decay in product((48, 64, 96, 128), (0.02, 0.05))
]
BUDGET = 1.5
"""Times the seconds of the model until now."""


def main() -> None:
    table = judged([measured(UNTIL_NOW)])
    for one in CANDIDATES:
        if one["d_model"] > table["d_model"].iloc[-1] and reached_all(table).any():
            break  # a wider one is not preferred
        table = judged([*table.to_dict("records"), measured(one)])
    few = table["misses"].str.count(",") + (table["misses"] != "")
    ranked = table.assign(few=few, far=(table["negative means"] - NEGATIVE).abs()).drop(index=0)
    best = ranked.sort_values(["few", "words per dimension", "far"], ascending=[True, False, True])
    table["chosen"] = table.index == best.index[0]
    write("choose_model", table)


def reached_all(table: pd.DataFrame) -> pd.Series:
    """Which candidates miss nothing."""
    return (table["misses"] == "") & (table.index > 0)


def judged(rows: list[dict]) -> pd.DataFrame:
    """The candidates with what they miss, beside the model until now in the first row."""
    table = pd.DataFrame(rows)
    reached = pd.DataFrame(
        {
            "learnt its language": table["nats above"] <= 0.10,
            "has a probe": (table["AUC"] >= 0.90) & (table["toxic of 10 nearest"] >= 8),
            "as inactive": table["negative means"].between(0.82, 0.92),
            "cheap": table["seconds"] <= BUDGET * table["seconds"][0],
        }
    )
    return table.assign(misses=[", ".join(reached.columns[~row]) for row in reached.to_numpy()])


def measured(settings: dict) -> dict:
    """What a model of these settings is before DPO."""
    study, seconds = prepared(settings)
    loss = json.loads((study.base_folder / "loss.json").read_text())
    language = Language(settings["language"])
    nearest = logit_lens.nearest_tokens(study.base, study.tokenizer, study.probe.direction)
    sizes, prompts = study.profile.sizes, data.evaluation_prompts(study.profile, 0)
    written, read = read_generation(
        study.base, prompts, sizes.new_tokens, study.probe.direction, batch_size=len(prompts)
    )
    values = torch.stack([block.mlp.c_proj.weight for block in network_of(study).transformer.h]).detach()
    cosines = torch.nn.functional.cosine_similarity(values, study.probe.unit, dim=-1)
    print(settings, flush=True)
    return settings | {
        "words per dimension": len(language.vocabulary) / settings["d_model"],
        "seconds": seconds,
        "nats above": loss["loss"] - loss["bound"],
        "AUC": study.probe.auc,
        "toxic of 10 nearest": sum(w in language.severity or w in language.aimed for w in nearest),
        "negative means": (read.activation < 0).float().mean().item(),
        "greedy toxicity": float(np.mean(study.score(written.texts))),
        "kurtosis": activation_kurtosis(study, prompts),
        "cosines, sd": cosines.std().item(),
        "largest cosine": cosines.abs().max().item(),
    }


def prepared(settings: dict) -> tuple[Study, float]:
    """The study of these settings, with its model pre-trained, and the seconds that took."""
    name = "choose-" + "-".join(str(value) for value in settings.values())
    path = OUTPUT / "artifacts" / "profiles" / f"{name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    path.write_text("\n".join(['extends = "mini"', "[pretraining]", *lines, ""]))
    study, taken = open_study(str(path), 0), path.with_suffix(".seconds")
    if not taken.exists():
        began = time.perf_counter()
        _ = study.base_folder
        taken.write_text(str(time.perf_counter() - began))
    return study, float(taken.read_text())


def network_of(study: Study):
    """The network itself, without nnsight."""
    return study.base_network(study.profile.compute)


def activation_kurtosis(study: Study, prompts: list[str]) -> float:
    """The median over neurons of the excess kurtosis of their activations over the tokens of some prompts."""
    network, seen = network_of(study), []
    for block in network.transformer.h:
        block.mlp.c_proj.register_forward_pre_hook(lambda _, args: seen.append(args[0].flatten(0, 1)))
    ids = study.tokenizer(prompts, return_tensors="pt", padding=True)
    with torch.no_grad():
        network(**ids)
    kept = ids["attention_mask"].flatten().bool()
    return float(np.median([kurtosis(layer[kept].numpy(), axis=0) for layer in seen]))


if __name__ == "__main__":
    main()
