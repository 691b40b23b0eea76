"""Does what DPO taught last? Toxic texts are learnt by the model after DPO, and others beside it.

The texts are comments of the probe's, by their labels, which every profile has. Trained on toxic ones are the
models after and before DPO; on others the model after DPO. Batches, lengths, optimizer and rate are DPO's,
the loss is that of a language model. Processes that were started together train together. Beyond the paper.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
import torch

from dpotox.facts import CONTROL, PLACEBO, RELEARNT
from dpotox.inputs import data, networks
from dpotox.memory import halving
from dpotox.model.architecture import traced
from dpotox.model.tracing import window_nll
from dpotox.paper.evaluation import greedy_toxicity
from dpotox.run.together import world_size
from dpotox.run.training import base_to_train

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from dpotox.run.study import Study

RUNS = {RELEARNT: ("after", True), CONTROL: ("before", True), PLACEBO: ("after", False)}
"""Which model is trained, and whether on toxic texts."""


def relearnt(study: Study) -> pd.DataFrame:
    """Toxicity after the prompts on which draws are compared, while the three are trained.

    A row per run and step: `run`, `step`, `toxicity` of the greedy continuations and, at the last step, `nll`
    of neutral windows, both with a value per prompt or window in a cell.
    """
    return pd.DataFrame([row for name, run in RUNS.items() for row in one_run(study, name, *run)])


def one_run(study: Study, name: str, which: str, toxic: bool) -> list[dict]:
    """One training, examined on its way."""
    from dpotox.run.fine_tuning import fine_tune  # trainers are slow to import

    steps, exam, lengths = sorted(set(study.profile.beyond.relearning_steps)), study.exam, study.pair_lengths
    texts, neutral = texts_of(study, toxic, steps[-1]), torch.from_numpy(exam.neutral)

    def train(*, batch_size: int) -> list[dict]:
        network, rows = network_of(study, which), []  # anew, as a failed attempt has changed it
        model = traced(network, study.tokenizer)

        def examine(step: int) -> None:
            toxicity, nll = greedy_toxicity(model, exam, []), torch.zeros(0)
            if step == steps[-1]:
                nll = window_nll(model, exam.windows[neutral], batch_size=exam.batch_size).double()
            rows.append({"run": name, "step": step, "toxicity": toxicity.tolist(), "nll": nll.tolist()})

        fine_tune(
            network,
            study.tokenizer,
            texts,
            study.profile.dpo,
            max_tokens=lengths.prompt_tokens + lengths.new_tokens,
            steps=steps,
            examine=examine,
            seed=study.seed,
            on_cpu=study.on_cpu,
            batch_size=batch_size,
        )
        return rows

    # One of several processes cannot choose another size by itself.
    return (halving(train) if world_size() == 1 else train)(batch_size=study.profile.dpo.batch_size)


def texts_of(study: Study, toxic: bool, steps: int) -> list[str]:
    """The comments that are labelled toxic, or those that are not, of as many as so many steps may need."""
    profile = study.profile
    enough = min(profile.sizes.comments, 4 * steps * profile.dpo.batch_size)
    texts, labels = data.comments(replace(profile, sizes=replace(profile.sizes, comments=enough)), study.seed)
    return [text for text, label in zip(texts, labels, strict=True) if bool(label) == toxic]


def network_of(study: Study, which: str) -> PreTrainedModel:
    """The model before or after DPO, to be trained: in full precision, where small steps are not lost."""
    if which == "before":
        return base_to_train(study)
    compute = replace(study.profile.compute, device="cpu", dtype="float32", device_map="")
    return networks.load_network(study.dpo_folder, "", compute)
