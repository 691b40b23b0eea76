"""How each step of the study is made; `dpotox.run.study` says when, from what, and where it is kept.

Every function takes the study, whose earlier steps it uses, and writes into a folder or returns a table.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from nnsight import TransformersModel
from safetensors.torch import load_file, save_file

from dpotox.inputs import data, sources
from dpotox.model import models, nearest, tracing
from dpotox.model.memory import halving
from dpotox.paper import evidence, nulls, pairs, per_token, probe, readings, rows, table1
from dpotox.paper.evaluation import OUTCOMES, examine, save_result
from dpotox.paper.neurons import neuron_table
from dpotox.profile import EMBEDDED, Dpo
from dpotox.run import artifacts
from dpotox.run.workers import share_out

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from dpotox.run.study import Study

# `dpo` and `pretraining` are imported where something is trained: trainers are slow to import.


def make_base(study: Study, folder: Path, texts: list[str] | None) -> None:
    """Pre-train the embedded model, on given texts or on the generated language."""
    from dpotox.inputs import pretraining

    settings, bf16 = study.profile.pretraining, study.profile.compute.dtype == "bfloat16"
    pretraining.pretrain_into(folder, settings, study.seed, texts, on_cpu=_on_cpu(study), bf16=bf16)


def make_probe(study: Study, folder: Path) -> None:
    """Fit the probe to comments, or take the one that the profile gives; keep its features too."""
    texts, toxic = data.comments(study.profile, study.seed)
    settings, batch = study.profile.probe, study.profile.compute.batch_size
    features = tracing.mean_residuals(study.base, texts, max_tokens=settings.max_tokens, batch_size=batch)
    fitted = probe.fit_probe(features, np.array(toxic), settings, study.seed)
    if settings.path:
        path = sources.fetch(settings.path, settings.path_revision)
        given = probe.load_direction(path, features.shape[1])
        fitted = probe.with_direction(fitted, given, features, np.array(toxic))
    probe.save(fitted, folder)
    kept = {"features": features.contiguous(), "toxic": torch.tensor(toxic)}
    save_file(kept, folder / "features.safetensors")


def make_shuffled_directions(study: Study, folder: Path) -> None:
    """Fit probes to the same comments with their labels shuffled."""
    given = load_file(study.folder / "probe" / "features.safetensors")
    directions = probe.shuffled_directions(
        given["features"],
        given["toxic"].numpy(),
        study.profile.probe,
        study.probe.C,
        draws=study.profile.nulls.shuffled_labels,
        seed=study.seed,
    )
    save_file({"directions": directions}, folder / "directions.safetensors")


def make_pairs(study: Study, folder: Path, settings: dict) -> None:
    """Sample preference pairs, or read the ones that the profile gives.

    Args:
        settings: all that decides them, to find the blocks that an interrupted run has left.
    """
    sizes, given = study.profile.pairs, study.profile.data.pairs
    if given != EMBEDDED:
        given = sources.fetch(given, study.profile.data.pairs_revision)
        frame = sources.given_pairs(given, sizes.validation)
    else:
        prompts = data.pair_prompts(study.profile, study.seed)
        frame = pairs.make_pairs(
            study.base,
            tracing.cut(study.tokenizer, prompts, sizes.prompt_tokens),
            study.score,
            study.probe,
            sizes,
            pair_blocks(study.folder, settings),
            batch_size=study.profile.compute.batch_size,
            seed=study.seed,
        )
    frame.to_parquet(folder / "pairs.parquet")


def pair_blocks(folder: Path, settings: dict) -> Path:
    """Where sampled blocks are kept: the same for any number of pairs, so none is sampled again."""
    profile = settings["profile"]
    wanted = {k: v for k, v in profile["pairs"].items() if k not in ("count", "validation")}
    deciding = settings | {"profile": profile | {"pairs": wanted}}
    name = sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:16]
    for other in folder.glob(".pair-blocks-*"):
        if not other.name.endswith(name):
            shutil.rmtree(other, ignore_errors=True)
    return folder / f".pair-blocks-{name}"


def make_dpo(study: Study, folder: Path) -> None:
    """Train the model, or take the finished one that the profile gives."""
    from dpotox.paper import dpo

    model = study.profile.model
    if model.dpo_checkpoint:
        network, curves = _base_to_train(study), pd.DataFrame()
        path = sources.fetch(model.dpo_checkpoint, model.dpo_checkpoint_revision)
        models.load_dpo_checkpoint(network, path)
    else:
        network, curves = _train(study, study.pairs, study.profile.dpo, folder)
    dpo.save(network, curves, folder)


def make_placebo(study: Study, folder: Path, kind: str) -> None:
    """Train the model on preferences that are shuffled or reversed."""
    from dpotox.paper import dpo

    settings = study.profile.dpo
    turned = nulls.placebo_pairs(study.pairs, kind, study.profile.pairs.validation, study.seed)
    # As many steps as the study's own DPO was trained for: validation would stop a placebo early.
    settings = replace(settings, steps=dpo.steps_kept(study.dpo_curves, settings), patience=0)
    dpo.save(*_train(study, turned, settings, folder), folder)


def _base_to_train(study: Study) -> PreTrainedModel:
    """In full precision, where small steps are not lost; trl moves it to the device."""
    return study.base_network(replace(study.profile.compute, device="cpu", dtype="float32", device_map=""))


def _train(
    study: Study, some: pd.DataFrame, settings: Dpo, folder: Path
) -> tuple[PreTrainedModel, pd.DataFrame]:
    """The trained network and its curves; where a batch does not fit, it goes through in smaller parts."""

    from dpotox.paper import dpo

    def train(*, batch_size: int) -> tuple[PreTrainedModel, pd.DataFrame]:
        network = _base_to_train(study)  # anew, as a failed attempt has changed it
        common = {"seed": study.seed, "on_cpu": _on_cpu(study), "at_once": batch_size}
        cut = study.profile.pairs
        return network, dpo.train_dpo(network, study.tokenizer, some, settings, cut, folder, **common)

    # One of several processes cannot choose another size by itself.
    alone = int(os.environ.get("WORLD_SIZE", 1)) == 1
    return (halving(train) if alone else train)(batch_size=settings.batch_size)


def make_readings(study: Study, folder: Path) -> None:
    """Read the models before and after DPO while they write."""
    direction = study.probe.direction
    readings.read_models(study.base, study.dpo, study.prompts, direction, study.profile, folder)


def neurons(study: Study) -> pd.DataFrame:
    """The neuron table with the means of what enters the GELU and the change on the same text."""
    read, direction = study.readings, study.probe.direction
    before, after = read.base, read.dpo
    table = neuron_table(before.activation.mean(0), after.activation.mean(0), *study.value_vectors, direction)
    more = {
        "pre_gelu_input": before.gelu_input.mean(0),
        "post_gelu_input": after.gelu_input.mean(0),
        "same_text_change": read.dpo_on_base.activation.mean(0) - before.activation.mean(0),
    }
    return table.assign(**{name: values.flatten().double().numpy() for name, values in more.items()})


def make_nearest_tokens(study: Study, folder: Path) -> None:
    """Find the tokens nearest to every value vector of the model before DPO."""
    ids = nearest.nearest_token_ids(study.base, models.value_vectors(study.base))
    save_file({"ids": ids.contiguous()}, folder / "tokens.safetensors")


def make_nulls(study: Study, folder: Path) -> None:
    """Read what the comparisons need."""
    nulls.read_nulls(
        study.base,
        study.dpo,
        {kind: partial(study.placebo, kind) for kind in study.placebos},
        study.prompts,
        study.readings,
        study.probe.direction,
        study.profile,
        study.seed,
        folder,
    )


def comparisons(study: Study) -> pd.DataFrame:
    """The groups' shares in every comparison."""
    draws = study.profile.compute.neuron_bootstrap
    return nulls.comparisons(
        study.nulls,
        study.readings,
        *study.value_vectors,
        study.probe.direction,
        draws=draws,
        seed=study.seed,
    )


def other_directions(study: Study) -> pd.DataFrame:
    """What follows from the neuron table along random directions and probes of shuffled labels."""
    n, d_model = study.profile.nulls.directions, len(study.probe.direction)
    directions = {
        "random": nulls.random_directions(n, d_model, study.seed),
        "shuffled labels": study.shuffled_directions,
    }
    return nulls.along(directions, study.readings, *study.value_vectors)


def make_outcomes(study: Study, folder: Path) -> None:
    """Examine the models before and after DPO."""
    for name, model in zip(OUTCOMES, (study.base, study.dpo), strict=True):

        def write(path: Path, model: TransformersModel = model) -> None:
            save_result(examine(model, study.exam), path)

        artifacts.part(folder / f"{name}.npz", write)


def make_table1(study: Study, folder: Path) -> None:
    """Examine every row and draw of table 1 that an interrupted run has not left."""
    asked, draws = table1_rows(study), table1_draws(study)
    table1.describe(asked, draws, len(study.neurons), folder)
    parts = len(asked) + sum(len(some.interventions) for some in draws)
    share_out(study, partial(table1_parts, folder=folder), parts, "table 1", "row or draw")


def table1_parts(study: Study, folder: Path) -> Callable[[int], None]:
    """What examines one row or draw, by its number among all of them."""
    base, dpo, exam = study.base, study.dpo, study.exam
    known = study.outcomes
    parts = [
        partial(table1.examine_row, i, row, base, dpo, exam, known, folder)
        for i, row in enumerate(table1_rows(study))
    ]
    parts += [
        partial(table1.examine_draw, i, j, edit, base, exam, folder)
        for i, some in enumerate(table1_draws(study))
        for j, edit in enumerate(some.interventions)
    ]
    return lambda number: parts[number]()


def table1_draws(study: Study) -> list[rows.Draws]:
    """The random draws beside rows of table 1."""
    return rows.random_draws(study.neurons, study.profile.interventions, study.seed)


def table1_rows(study: Study) -> list[rows.Row]:
    """The rows of table 1."""
    settings, read = study.profile.interventions, study.readings
    steering = evidence.steering(read.base, read.dpo_on_base, study.probe.unit, study.seed)
    return rows.table1_rows(study.neurons, models.key_biases(study.dpo), steering, settings)


def step_through(study: Study) -> pd.DataFrame:
    """Continue a few prompts token by token before DPO, after it and under the main interventions."""
    chosen = per_token.chosen_prompts(study.toxicity)
    top, sizes = study.profile.interventions.figure_top, study.profile.sizes
    return per_token.make(
        per_token.conditions(table1_rows(study), study.neurons, top),
        study.base,
        study.dpo,
        {number: study.prompts[number] for number in chosen},
        study.probe.direction,
        study.score,
        new_tokens=sizes.new_tokens,
        batch_size=study.profile.compute.batch_size,
    )


def _on_cpu(study: Study) -> bool:
    return models.device_of(study.profile.compute).type == "cpu"
