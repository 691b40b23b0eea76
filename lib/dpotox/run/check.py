"""What is wrong, and what it will take: said before the work.

python -m dpotox.run.check --profile mini --seed 0
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import psutil
import torch
from huggingface_hub import constants
from transformers import AutoConfig, PretrainedConfig

from dpotox.errors import UserError
from dpotox.inputs import networks, scoring
from dpotox.inputs.language import Language
from dpotox.places import PROJECT
from dpotox.profile import EMBEDDED, TRAINED
from dpotox.progress import note
from dpotox.run import estimate, measure
from dpotox.run import look_up as inputs
from dpotox.run.command import exit_status
from dpotox.run.hub import size
from dpotox.run.look_up import Inputs
from dpotox.run.study import Study, open_study

TRAINED_SCORER = 1e-4
"""Seconds per text of a scorer that is trained here."""
KEEPING = 5e-5
"""Seconds in which a score is kept."""


@dataclass(frozen=True)
class Outlook:
    """What a study will take.

    Attributes:
        seconds: by step, of those that are missing.
        fixed, whole: bytes of memory, with the smallest batches and with those of the profile.
        disk: bytes of what is made.
        measured: seconds in which that was measured.
    """

    seconds: pd.Series
    fixed: int
    whole: int
    disk: int
    measured: float


def outlook(study: Study, found: Inputs, missing: set[str]) -> Outlook:
    """Measure for some seconds and estimate; problems with disk and memory are added to `found`.

    Raises:
        UserError: a configuration or scorer cannot be used.
    """
    began, profile, step = time.perf_counter(), study.profile, 0.0
    config, tokenizer = _model(study, found, missing)
    if config is None:
        step, config, tokenizer = measure.pretraining_step(profile.pretraining)
    parameters = measure.parameters(config)
    fixed, whole = estimate.memory_bytes(profile, parameters, config)
    disk = estimate.disk_bytes(profile, parameters, config, missing)
    _see_about_memory(study, found, fixed, whole)
    _see_about_disk(study, found, disk)
    seconds = pd.Series(dtype=float)
    if not found.problems:
        costs = measure.costs(profile, config, tokenizer)
        scorers = [_scoring(study, found, key) for key in ("scorer.name", "scorer.second")]
        seconds = estimate.times(profile, costs, estimate.Scoring(*scorers), missing, step)
        notebooks = len(list((PROJECT / "notebooks").glob("*.ipynb"))) * measure.STARTED
        seconds["notebooks"], seconds["pages"] = notebooks, estimate.PAGES
    return Outlook(seconds, fixed, whole, disk, time.perf_counter() - began)


def _model(study: Study, found: Inputs, missing: set[str]) -> tuple[PretrainedConfig | None, object]:
    """The configuration of the model under study and its tokenizer, unless it is still to be made here."""
    if found.network is not None:
        return found.network.config, found.tokenizer
    if "base" in missing or study.profile.model.base != EMBEDDED:
        return None, None
    folder = study.folder / "base"
    return AutoConfig.from_pretrained(folder), networks.load_tokenizer(folder)


def _scoring(study: Study, found: Inputs, key: str) -> float:
    """Seconds per text of a scorer of the profile."""
    profile = study.profile
    name = profile.scorer.name if key == "scorer.name" else profile.scorer.second
    path, _, function = name.rpartition(":")
    if not name or name == TRAINED:
        return TRAINED_SCORER if name else 0.0
    if name == EMBEDDED:
        language = Language(profile.pretraining.language)
        return measure.scoring(lambda texts: [language.toxicity(text) for text in texts], 64)
    if path.endswith(".py"):
        return KEEPING + measure.scoring(scoring.own_function(path, function), 4)  # each may cost something
    return KEEPING + measure.classifying(found.scorers[key], profile.sizes.new_tokens, profile.compute)


def _see_about_memory(study: Study, found: Inputs, fixed: int, whole: int) -> None:
    compute, batch = study.profile.compute, study.profile.compute.batch_size
    device = networks.device_of(compute)
    free = torch.cuda.mem_get_info()[0] if device.type == "cuda" else psutil.virtual_memory().available
    if compute.device_map and device.type == "cuda":
        free = sum(torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count()))
    where = f"{size(free)} of memory are free on {device.type}"
    if fixed > free:
        way_out = "" if compute.dtype != "float32" else "compute.dtype = 'bfloat16', "
        found.problems.append(
            f"{where}, and the weights alone take {size(fixed)} while DPO trains; choose {way_out}a smaller "
            "model, a finished model.dpo_checkpoint or a larger device"
        )
    elif whole > free:
        fits = max(1, int(batch * (free - fixed) / (whole - fixed)))
        found.warnings.append(
            f"{where}, and whole batches take about {size(whole)}: they will be halved until they fit; "
            f"compute.batch_size = {fits} may fit at once"
        )


def _see_about_disk(study: Study, found: Inputs, made: int) -> None:
    downloads = Path(constants.HF_HUB_CACHE)
    needs = [(study.folder, made, "what is made"), (downloads, found.to_download, "the downloads")]
    places = [(_existing(folder), number, what) for folder, number, what in needs if number]
    for disk in {os.stat(folder).st_dev for folder, _, _ in places}:
        here = [p for p in places if os.stat(p[0]).st_dev == disk]
        needed, free = sum(number for _, number, _ in here), shutil.disk_usage(here[0][0]).free
        if needed > free:
            found.problems.append(
                f"{size(free)} are free on the disk of {here[0][0]}, and {' and '.join(p[2] for p in here)} "
                f"take about {size(needed)}; free some space, or put HF_HOME or the project on another disk"
            )


def _existing(folder: Path) -> Path:
    return next(p for p in (folder, *folder.parents) if p.exists())


def before_the_work(study: Study, missing: set[str]) -> None:
    """Look the inputs up and say in a line what it will take to make the missing steps.

    Raises:
        UserError: something is wrong; all that is.
    """
    found = inputs.look_at(study.profile, study.seed)
    ahead = None if found.problems else outlook(study, found, missing)
    if found.problems:
        raise UserError(*found.problems)
    for warning in found.warnings:
        note(warning)
    longest = ahead.seconds.nlargest(3)
    parts = ", ".join(f"{step} {estimate.duration(s)}" for step, s in longest.items())
    total, download = estimate.duration(ahead.seconds.sum()), found.to_download
    fetched = f"; {size(download)} to be downloaded" if download else ""
    note(f"will take about {total} ({parts}){fetched}; an estimate from {ahead.measured:.0f} s of measuring")


def report(study: Study) -> int:
    """Print what was found and what it will take; returns the exit status, 1 if something is wrong."""
    missing, found = study.plan.missing(), inputs.look_at(study.profile, study.seed)
    print(*found.lines, sep="\n")
    ahead = None
    if not found.problems:
        with found.noting():
            ahead = outlook(study, found, missing)
    sys.stdout.flush()
    for warning in found.warnings:
        note(f"note: {warning}")
    for problem in found.problems:
        note(f"error: {problem}")
    if found.problems or ahead is None:
        return 1
    print(_summary(study, found, ahead))
    return 0


def _summary(study: Study, found: Inputs, ahead: Outlook) -> str:
    profile = study.profile
    made = ahead.seconds.rename("time").map(estimate.duration)
    assumed = []
    if ahead.seconds.get("pairs"):
        rounds = 1 + len(profile.pairs.steering)
        assumed.append(
            f"pairs: if {estimate.YIELD:.0%} of the prompts give one after {rounds} rounds of sampling; "
            "if fewer do, longer in proportion"
        )
    if profile.dpo.patience and "dpo" in ahead.seconds:
        assumed.append(f"dpo: for all {profile.dpo.steps:,} steps; patience may end it earlier")
    device = networks.device_of(profile.compute).type
    lines = [
        "",
        f"What is missing takes about {estimate.duration(ahead.seconds.sum())}. That is an estimate, from "
        f"{ahead.measured:.0f} s of measuring on {device} with random weights of the model's shape:",
        made.to_string(header=False) if len(made) else "everything is made",
        *assumed,
        f"memory: about {size(ahead.fixed)} for weights, {size(ahead.whole)} with whole batches, and "
        f"{size(estimate.PROCESS)} for each of up to three processes",
        f"disk: about {size(ahead.disk)} for what is made, {size(found.to_download)} for downloads",
    ]
    return "\n".join(lines)


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Look every input up and estimate what a study takes.")
    parser.add_argument("--profile", default="mini", help="name or path of a profile (default: mini)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    return exit_status(lambda: report(open_study(arguments.profile, arguments.seed)))


if __name__ == "__main__":
    sys.exit(main())
