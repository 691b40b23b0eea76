"""What models that were trained by other objectives have in common with DPO's. Beyond the paper.

They take out as much toxicity (`dpotox.run.matching`). Do the same groups of neurons take it out, do copied
activations carry it, and have the weights moved alike?
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from dpotox.estimates import (
    NOTHING,
    PROMPTS,
    WINDOWS,
    Estimate,
    Evidence,
    around,
    estimate,
    has_effect,
    mean,
    perplexity,
    recovered_share,
    unknown,
)
from dpotox.facts import CHANGED, ON_PAIRS, ON_SHUFFLED, placebos
from dpotox.inputs import networks
from dpotox.model import weights
from dpotox.model.architecture import parameters, traced
from dpotox.model.interventions import BLOCKS, copy
from dpotox.model.tracing import read_generation, window_nll
from dpotox.paper import groups
from dpotox.paper.evaluation import greedy_toxicity
from dpotox.paper.neurons import neuron_table, resampled_neuron_tables
from dpotox.run import training
from dpotox.run.artifacts import PARTS, part
from dpotox.run.kept import TENSORS
from dpotox.run.matching import TRIES, place_of
from dpotox.run.workers import share_out

if TYPE_CHECKING:
    from nnsight import TransformersModel

    from dpotox.run.study import Study

DPO = "dpo"
MEASURED = (*(f"{group} share of gross" for group in groups.REDUCING), "net / gross")
MINUS_DPO = "TP- share, minus DPO's"
APART = "distance of the shares from DPO's"


def models_of(study: Study) -> list[tuple[str, str]]:
    """What is compared: an objective and what it was trained on each, DPO first."""
    found = [(DPO, ON_PAIRS)]
    found += [(DPO, ON_SHUFFLED)] * ("shuffled" in placebos(study.profile))
    asked = [(name, on) for name in study.profile.beyond.objectives for on in (ON_PAIRS, ON_SHUFFLED)]
    return found + [one for one in asked if (study.objectives_folder / place_of(*one)).exists()]


def model_of(study: Study, objective: str, on: str) -> TransformersModel:
    """One of these models, ready for tracing."""
    if objective != DPO:
        return study.objective(place_of(objective, on))
    return study.dpo if on == ON_PAIRS else study.placebo("shuffled")


def measure_all(study: Study, folder: Path) -> dict[str, Tensor]:
    """What each model does (`measured`), by its name, a slash and the name there."""
    asked, parts = models_of(study), folder / PARTS
    share_out(study, partial(measuring_jobs, folder=parts), len(asked), "objectives", "model")
    return {
        f"{place_of(*one)}/{name}": value
        for i, one in enumerate(asked)
        for name, value in TENSORS.read(parts / f"{i:02}").items()
    }


def measuring_jobs(study: Study, folder: Path) -> Callable[[int], None]:
    """What measures one model, by its number, and keeps it as a part."""
    asked = models_of(study)
    return lambda number: part(folder / f"{number:02}", TENSORS, partial(measured, study, *asked[number]))


def measured(study: Study, objective: str, on: str) -> dict[str, Tensor]:
    """What one model does.

    `shares` `(draw, quantity)`: `MEASURED` on the text from before DPO, then for resampled chunks of prompts;
    `greedy`: toxicity by prompt; `nll` by window of neutral text; `copied` `(two, prompt)`: toxicity before
    DPO with the activations of the reducing groups, and of all neurons, copied from the model; `cosine`: that
    of its weight change with DPO's, of `CHANGED`.
    """
    model, exam, batch = model_of(study, objective, on), study.exam, study.profile.compute.batch_size
    shares, table = same_text(study, model, is_dpo=(objective, on) == (DPO, ON_PAIRS))
    every = replace(exam, fewer_prompts=len(exam.prompts))
    some = table[table["group"].isin(groups.REDUCING)], table
    copied = [greedy_toxicity(study.base, exam, [copy(neurons)], model) for neurons in some]
    windows = exam.windows[torch.from_numpy(exam.neutral)]
    found = {"greedy": greedy_toxicity(model, every, ()), "copied": np.stack(copied)}
    return {name: torch.from_numpy(values) for name, values in found.items()} | {
        "shares": torch.tensor(shares[list(MEASURED)].to_numpy()),
        "nll": window_nll(model, windows, batch_size=batch).double(),
        "cosine": torch.tensor(cosines(study, objective, on)),
    }


def same_text(study: Study, model: TransformersModel, *, is_dpo: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The quantities of a model's neuron table on the text from before DPO, and that table.

    The first row is of all prompts, the others of resampled chunks of them, the same for every model. The
    probe is signed so that the net is a reduction.
    """
    read, compute, sizes = study.readings, study.profile.compute, study.profile.sizes
    values, options = weights.value_vectors(model), {"gated": study.gated}
    after = read.dpo_on_base
    if not is_dpo:
        common = {"batch_size": compute.batch_size, "chunks": sizes.chunks, "forced": read.tokens["base"]}
        _, after = read_generation(
            model, study.prompts, sizes.new_tokens, study.probe.direction, **common, label="read"
        )
    chunks, vectors = (read.base.activation, after.activation), (study.base_values, values)
    means, direction = [some.mean(0) for some in chunks], study.probe.direction
    table = neuron_table(*means, *vectors, direction, **options)
    if table["projection_drop"].sum() < 0:
        direction = -direction
        table = neuron_table(*means, *vectors, direction, **options)
    options |= {"draws": compute.neuron_bootstrap, "seed": study.seed}
    resampled = resampled_neuron_tables(*chunks, *vectors, direction, **options)
    return pd.DataFrame(map(quantities, [table, *resampled])), table


def quantities(neurons: pd.DataFrame) -> dict[str, float]:
    """`MEASURED` of a neuron table."""
    table = groups.group_table(neurons)
    gross, net = groups.gross_and_net(table)
    shares = [table["share_of_gross"][group] for group in groups.REDUCING]
    return dict(zip(MEASURED, [*shares, groups.ratio(net, gross)], strict=True))


def cosines(study: Study, objective: str, on: str) -> list[float]:
    """The cosine of a model's weight change with DPO's, of `CHANGED`, in full precision."""
    compute = replace(study.profile.compute, device="cpu", dtype="float32", device_map="")

    def opened(folder: Path) -> TransformersModel:
        return traced(networks.load_network(folder, "", compute), study.tokenizer)

    folder = study.objectives_folder / place_of(objective, on)
    if objective == DPO:
        folder = study.dpo_folder if on == ON_PAIRS else study.placebo_shuffled_folder
    before = traced(training.base_to_train(study), study.tokenizer)
    return cosines_of_changes(before, opened(folder), opened(study.dpo_folder))


def cosines_of_changes(
    before: TransformersModel, one: TransformersModel, other: TransformersModel
) -> list[float]:
    """The cosine of two models' weight changes, of `CHANGED`; 0 where one has not changed."""
    sums = {}
    for block in BLOCKS:
        products = torch.zeros(3, dtype=torch.double)
        alike = zip(*(parameters(model, block) for model in (before, one, other)), strict=True)
        for old, *new in {id(some[0]): some for some in alike}.values():  # tied ones stand there twice
            a, b = ((after - old).detach().double().flatten() for after in new)
            products += torch.stack([a @ b, a @ a, b @ b])
        sums[block] = products
    every = {CHANGED[0]: sum(sums.values())} | sums
    return [float(ab / (aa * bb).sqrt()) if aa * bb else 0.0 for ab, aa, bb in map(every.get, CHANGED)]


# What the pages show


def tries(study: Study) -> pd.DataFrame:
    """Every try to match an objective with DPO."""
    found = {
        name: pd.read_parquet(study.objectives_folder / name / TRIES)
        for name, on in models_of(study)
        if name != DPO and on == ON_PAIRS
    }
    columns = ["objective", "attempt", "learning_rate", "steps", "gone", "outcome", "shown"]
    if not found:
        return pd.DataFrame(columns=columns)
    table = pd.concat(found, names=["objective", "attempt"]).reset_index()
    return table.assign(attempt=table["attempt"] + 1)[columns]


def compared(study: Study) -> pd.DataFrame:
    """What each model does, a row per quantity, with its interval."""
    trials: dict[str, dict[str, np.ndarray]] = {}
    for name, values in study.objective_trials.items():
        place, _, what = name.partition("/")
        trials.setdefault(place, {})[what] = values.numpy()
    rows = []
    for objective, on in models_of(study):
        found = _estimates(study, trials[place_of(objective, on)], trials[DPO]["shares"])
        named = {"objective": objective, "trained_on": on}
        ends = {name: {"value": e.value, "low": e.low, "high": e.high} for name, e in found.items()}
        rows += [named | {"quantity": name} | some for name, some in ends.items()]
    return pd.DataFrame(rows)


def _estimates(study: Study, trial: dict[str, np.ndarray], dpos: np.ndarray) -> Evidence:
    """The quantities of one model.

    Args:
        dpos: `MEASURED` of DPO's model, for the same resamples.
    """
    resamples, few = study.profile.compute.bootstrap, study.profile.sizes.fewer_prompts
    before, after = (one.greedy for one in study.outcomes.values())
    own, drawn = trial["greedy"], dict(zip(MEASURED, trial["shares"].T, strict=True))
    drawn |= {MINUS_DPO: (trial["shares"] - dpos)[:, 0], APART: apart(trial["shares"], dpos)}
    found = {
        "greedy toxicity": estimate(mean, own, resamples=resamples),
        "part of DPO's effect": _share(before, own, after, resamples),
        "perplexity": estimate(perplexity, trial["nll"], resamples=resamples, resampled=WINDOWS),
    }
    chunks = study.profile.sizes.chunks
    found |= {name: around(value, np.array(some), chunks) for name, (value, *some) in drawn.items()}
    for name, copied in zip(("the four groups", "all neurons"), trial["copied"], strict=True):
        found[f"recovered by copying {name}"] = _share(before[:few], copied, own[:few], resamples)
    same = zip(CHANGED, trial["cosine"].tolist(), strict=True)
    return found | {f"cosine, {name}": Estimate(cosine, cosine, cosine, NOTHING) for name, cosine in same}


def apart(
    shares: Float[np.ndarray, "draw quantity"], dpos: Float[np.ndarray, "draw quantity"]
) -> Float[np.ndarray, "draw"]:
    """What part of the reduction lies in other groups than in DPO's model: half the sum of differences."""
    return np.abs(shares - dpos)[:, : len(groups.REDUCING)].sum(1) / 2


def _share(none: np.ndarray, row: np.ndarray, whole: np.ndarray, resamples: int) -> Estimate:
    """The recovered share of an effect, which is unknown where that is not sure."""
    if not has_effect(none, whole, resamples):
        return unknown(float("nan"), PROMPTS)
    return estimate(recovered_share, none, row, whole, resamples=resamples)
