"""DPO as the steps make it: pairs, the study's own training and the placebos, going on where interrupted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from dpotox.inputs import data, networks, sources
from dpotox.inputs.windows import cut, said_by_user
from dpotox.memory import halving
from dpotox.paper import nulls, pairs
from dpotox.profile import EMBEDDED, Dpo
from dpotox.run.artifacts import part
from dpotox.run.kept import TABLE
from dpotox.run.together import meet, rank, world_size

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from dpotox.run.study import Study


def make_pairs(study: Study) -> pd.DataFrame:
    """Preference pairs, sampled or given: `prompt`, `chosen`, `rejected` and their toxicities."""
    settings, given = study.profile.pairs, study.profile.data.pairs
    if given != EMBEDDED:
        path = sources.fetch(given, study.profile.data.pairs_revision)
        there = sources.given_pairs(path, settings.validation)
        return there.assign(prompt=_prompts(study, there["prompt"])) if study.profile.model.chat else there
    prompts = _prompts(study, data.pair_prompts(study.profile, study.seed))
    blocks = pair_blocks(study)
    return pairs.make_pairs(
        study.base,
        prompts,
        study.score,
        study.probe,
        settings,
        batch_size=study.profile.compute.batch_size,
        seed=study.seed,
        known=lambda start, make: part(blocks / f"{start:07}", TABLE, make),
    )


def _prompts(study: Study, prompts: Sequence[str]) -> list[str]:
    """The beginnings of pairs, cut to the profile's length, and as a user says them where it says so."""
    some = cut(study.tokenizer, list(prompts), study.profile.pairs.prompt_tokens)
    return said_by_user(study.tokenizer, some) if study.profile.model.chat else some


def pair_blocks(study: Study) -> Path:
    """Where sampled blocks are kept: the same for any number of pairs, so none is sampled again."""
    settings = study.plan.keys.settings("pairs")
    asked = settings["profile"]["pairs"]
    wanted = {k: v for k, v in asked.items() if k not in ("count", "validation")}
    deciding = settings | {"profile": settings["profile"] | {"pairs": wanted}}
    name = sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:16]
    for other in study.folder.glob(".pair-blocks-*"):
        if not other.name.endswith(name):
            shutil.rmtree(other, ignore_errors=True)
    return study.folder / f".pair-blocks-{name}"


def train_dpo_into(study: Study, folder: Path) -> Path:
    """The weights after DPO, trained or given, and the training curves."""
    if given := study.profile.model.aligned:
        if rank() == 0:
            network, revision = base_to_train(study), study.profile.model.aligned_revision
            networks.load_aligned(network, sources.fetch(given, revision), revision).save_pretrained(folder)
    else:
        train_into(folder, study, study.pairs, study.profile.dpo)


def curves_of(study: Study) -> pd.DataFrame:
    """Loss, margin and accuracy by step; empty if a finished checkpoint was given."""
    kept = study.dpo_folder / "curves.parquet"
    return pd.read_parquet(kept) if kept.exists() else pd.DataFrame()


def base_to_train(study: Study) -> PreTrainedModel:
    """The model before DPO in full precision, where small steps are not lost; trl moves it to the device."""
    compute = study.profile.compute
    return study.base_network(replace(compute, device="cpu", dtype="float32", device_map=""))


def trained(
    folder: Path, study: Study, some: pd.DataFrame, settings: Dpo, **options
) -> tuple[PreTrainedModel, pd.DataFrame]:
    """A network trained on pairs, and its curves; where a batch does not fit, it goes through in parts.

    Args:
        folder: takes what the trainer keeps meanwhile.
        options: of `train_dpo`, where it is not DPO.
    """
    from dpotox.paper import dpo  # trainers are slow to import

    def train(*, batch_size: int) -> tuple[PreTrainedModel, pd.DataFrame]:
        network = base_to_train(study)  # anew, as a failed attempt has changed it
        common = {"seed": study.seed, "on_cpu": study.on_cpu, "at_once": batch_size}
        common["checkpoint"] = latest_checkpoint(folder / "checkpoints")
        cut = study.pair_lengths
        common |= options
        return network, dpo.train_dpo(network, study.tokenizer, some, settings, cut, folder, **common)

    # One of several processes cannot choose another size by itself.
    return (halving(train) if world_size() == 1 else train)(batch_size=settings.batch_size)


def train_into(folder: Path, study: Study, some: pd.DataFrame, settings: Dpo) -> None:
    """Train by DPO and write weights and curves; of several processes the first writes."""
    meet()  # where the first has made the folder
    network, curves = trained(folder, study, some, settings)
    if rank() == 0:
        network.save_pretrained(folder)
        curves.to_parquet(folder / "curves.parquet")
        remove_checkpoints(folder)


def train_shuffled_into(study: Study, folder: Path) -> Path:
    """The model after DPO on preferences that are shuffled."""
    _train_placebo_into(folder, study, "shuffled")


def train_reversed_into(study: Study, folder: Path) -> Path:
    """The model after DPO on preferences that are all reversed."""
    _train_placebo_into(folder, study, "reversed")


def _train_placebo_into(folder: Path, study: Study, kind: str) -> None:
    settings, validation = study.profile.dpo, study.profile.pairs.validation
    turned = nulls.placebo_pairs(study.pairs, kind, validation, study.seed)
    # As many steps as the study's own DPO was trained for: validation would stop a placebo early.
    settings = replace(settings, steps=steps_kept(study.dpo_curves, settings), patience=0)
    train_into(folder, study, turned, settings)


def steps_kept(curves: pd.DataFrame, settings: Dpo) -> int:
    """The number of steps behind the weights that were kept: all, or with patience up to the best."""
    validation = curves[(curves["split"] == "validation") & (curves["step"] > 0)]
    if not settings.patience or validation.empty:
        return settings.steps
    return int(validation.loc[validation["loss"].idxmin(), "step"])


def remove_checkpoints(folder: Path) -> None:
    """Remove what `train_dpo` kept, once the trained weights are written."""
    for name in ("checkpoints", "token_ids"):
        shutil.rmtree(folder / name, ignore_errors=True)


def latest_checkpoint(folder: Path) -> Path | None:
    """The last checkpoint that was written to its end."""
    whole = [path.parent for path in folder.glob("checkpoint-*/trainer_state.json") if _is_json(path)]
    return max(whole, key=lambda path: int(path.name.removeprefix("checkpoint-")), default=None)


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text())
    except (OSError, ValueError):
        return False
    return True
