"""What is wrong, and what it will take: said before the work.

python -m dpotox.run.check --profile mini --seed 0
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import torch
from huggingface_hub import constants
from transformers import AutoConfig, PretrainedConfig

from dpotox.errors import UserError
from dpotox.inputs import networks
from dpotox.places import PROJECT
from dpotox.progress import note
from dpotox.run import estimate, measure
from dpotox.run.command import exit_status
from dpotox.run.hub import size
from dpotox.run.look_up import Inputs, look_at
from dpotox.run.study import Study, open_study


def outlook(study: Study, found: Inputs, missing: set[str]) -> tuple[pd.Series, float, list[str]]:
    """Measure for some seconds and estimate what a study will take.

    Returns:
        Seconds by step, of those that are missing; the seconds of measuring; a line about memory and one
        about disk. What will work, but not as asked for, is added to the warnings of `found`.

    Raises:
        UserError: something is wrong with the inputs, a configuration or scorer cannot be used, or memory or
            disk do not suffice; all that is.
    """
    if found.problems:
        raise UserError(*found.problems)
    began, profile = time.perf_counter(), study.profile
    step, config, tokenizer = _model(study, found, missing)
    parameters = measure.parameters(config)
    fixed, whole = estimate.memory_bytes(profile, parameters, config)
    disk = estimate.disk_bytes(profile, parameters, config, missing)
    _see_about_memory(study, found, fixed, whole)
    _see_about_disk(study, found, disk)
    if found.problems:
        raise UserError(*found.problems)
    costs = measure.costs(profile, config, tokenizer, found.scorers.get("scorer.name"))
    seconds = estimate.times(profile, costs, missing, step)
    seconds["notebooks"] = len(list((PROJECT / "notebooks").glob("*.ipynb"))) * measure.STARTED
    seconds["pages"] = estimate.PAGES
    space = [
        f"memory: about {size(fixed)} for weights, {size(whole)} with whole batches, and "
        f"{size(estimate.PROCESS)} for each of up to three processes",
        f"disk: about {size(disk)} for what is made, {size(found.to_download)} for downloads",
    ]
    return seconds, time.perf_counter() - began, space


def _model(study: Study, found: Inputs, missing: set[str]) -> tuple[float, PretrainedConfig, object]:
    """Of the model under study the seconds of a step of making it, its configuration and its tokenizer."""
    if found.network is not None:
        return 0.0, found.network.config, found.tokenizer
    if "base" in missing:
        return measure.pretraining_step(study.profile.pretraining)
    folder = study.folder / "base"
    return 0.0, AutoConfig.from_pretrained(folder), networks.load_tokenizer(folder)


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
            "model, a finished model.aligned or a larger device"
        )
    elif whole > free:
        fits = max(1, int(batch * (free - fixed) / (whole - fixed)))
        found.warnings.append(
            f"{where}, and whole batches take about {size(whole)}: they will be halved until they fit; "
            f"compute.batch_size = {fits} may fit at once"
        )


def _see_about_disk(study: Study, found: Inputs, made: int) -> None:
    downloads = Path(constants.HF_HUB_CACHE)
    disks: dict[int, list[tuple[Path, int, str]]] = {}
    for folder, number, what in (
        (study.folder, made, "what is made"),
        (downloads, found.to_download, "the downloads"),
    ):
        if number:
            there = next(p for p in (folder, *folder.parents) if p.exists())
            disks.setdefault(there.stat().st_dev, []).append((there, number, what))
    for here in disks.values():
        needed, free = sum(number for _, number, _ in here), shutil.disk_usage(here[0][0]).free
        if needed > free:
            found.problems.append(
                f"{size(free)} are free on the disk of {here[0][0]}, and {' and '.join(p[2] for p in here)} "
                f"take about {size(needed)}; free some space, or put HF_HOME or the project on another disk"
            )


def before_the_work(study: Study, missing: set[str]) -> None:
    """Look the inputs up and say in a line what it will take to make the missing steps.

    Raises:
        UserError: something is wrong; all that is.
    """
    found = look_at(study.profile, study.seed)
    if study.profile.model.remote is True:
        return _say_nothing_of_time(found)
    seconds, measured, _ = outlook(study, found, missing)
    for warning in found.warnings:
        note(warning)
    parts = ", ".join(f"{step} {estimate.duration(s)}" for step, s in seconds.nlargest(3).items())
    total, download = estimate.duration(seconds.sum()), found.to_download
    fetched = f"; {size(download)} to be downloaded" if download else ""
    note(f"will take about {total} ({parts}){fetched}; an estimate from {measured:.0f} s of measuring")


def _say_nothing_of_time(found: Inputs) -> None:
    if found.problems:
        raise UserError(*found.problems)
    for line in (*found.warnings, "models run at NDIF, so how long it will take is not known"):
        note(line)


def report(study: Study) -> None:
    """Print what was found and what it will take.

    Raises:
        UserError: something is wrong; all that is.
    """
    profile, missing, found = study.profile, study.plan.missing(), look_at(study.profile, study.seed)
    print(*found.lines, sep="\n", flush=True)
    if profile.model.remote is True:
        return _say_nothing_of_time(found)
    try:
        seconds, measured, space = outlook(study, found, missing)
    finally:
        for warning in found.warnings:
            note(f"note: {warning}")
    assumed = []
    if seconds.get("pairs"):
        rounds = 1 + len(profile.pairs.steering)
        assumed.append(
            f"pairs: if {estimate.YIELD:.0%} of the prompts give one after {rounds} rounds of sampling; "
            "if fewer do, longer in proportion"
        )
    if profile.dpo.patience and "dpo" in seconds:
        assumed.append(f"dpo: for all {profile.dpo.steps:,} steps; patience may end it earlier")
    print(
        "",
        f"What is missing takes about {estimate.duration(seconds.sum())}. That is an estimate, from "
        f"{measured:.0f} s of measuring on {networks.device_of(profile.compute).type} with random weights of "
        "the model's shape:",
        seconds.map(estimate.duration).to_string(header=False),
        *assumed,
        *space,
        sep="\n",
    )


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Look every input up and estimate what a study takes.")
    parser.add_argument("--profile", default="mini", help="name or path of a profile (default: mini)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    return exit_status(lambda: report(open_study(arguments.profile, arguments.seed)))


if __name__ == "__main__":
    sys.exit(main())
