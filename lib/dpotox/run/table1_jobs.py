"""What models are examined on, and table 1 in parts, a row or a draw each, which processes can share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dpotox.inputs import data
from dpotox.inputs.windows import cut, exam_windows
from dpotox.model import weights
from dpotox.paper import evaluation, evidence, rows, table1
from dpotox.paper.evaluation import Exam, Result
from dpotox.run import offset
from dpotox.run.artifacts import PARTS, part
from dpotox.run.kept import RESULTS, TENSOR
from dpotox.run.workers import share_out

if TYPE_CHECKING:
    from dpotox.run.study import Study


def exam_of(study: Study) -> Exam:
    """What models and interventions are examined on."""
    sizes, profile = study.profile.sizes, study.profile
    texts = data.plain_text(profile, study.seed), data.other_text(profile, study.seed)
    windows, neutral = exam_windows(study.tokenizer, *texts, sizes)
    beginnings, endings = zip(*data.references(profile, study.seed), strict=True)
    beginnings = cut(study.tokenizer, beginnings, sizes.prompt_tokens, keep_end=True)
    return Exam(
        prompts=study.prompts,
        windows=windows,
        neutral=neutral,
        references=list(zip(beginnings, endings, strict=True)),
        score=study.score,
        new_tokens=sizes.new_tokens,
        batch_size=profile.compute.batch_size,
        seed=study.seed,
        fewer_prompts=sizes.fewer_prompts,
    )


def examine_models(study: Study) -> dict[str, Result]:
    """The models before and after DPO, examined without interventions (`evaluation.OUTCOMES`)."""
    models = zip(evaluation.OUTCOMES, (study.base, study.dpo), strict=True)
    return {name: evaluation.examine(model, study.exam) for name, model in models}


def _edited(study: Study) -> tuple:
    """What the rows of table 1 and their draws are made of."""
    read = study.readings
    steering = evidence.steering(read.base, read.dpo_on_base, study.probe.unit)
    return study.neurons, weights.key_biases(study.dpo), steering, study.profile.interventions


def rows_of(study: Study) -> list[rows.Row]:
    """The rows of table 1."""
    by, top = offset.pushes(study.offset, study.neurons), study.profile.interventions.figure_top
    return rows.table1_rows(*_edited(study)) + rows.offset_rows(study.neurons, by, top)


def draws_of(study: Study) -> list[rows.Draws]:
    """The random draws beside rows of table 1."""
    draws, n = rows.random_draws(*_edited(study), study.seed), study.profile.interventions.draws
    return draws + offset.random_draws(study.offset, study.neurons, n, study.seed)


def share_table1(study: Study, folder: Path) -> table1.Table1:
    """The outcome of every row of table 1 and of our controls, by the row's name.

    Each is kept as a part; what an interrupted run has left is not made again.
    """
    asked, draws, parts = study.table1_rows, study.table1_draws, folder / PARTS
    jobs = len(asked) + sum(len(some.interventions) for some in draws)
    share_out(study, partial(table1_jobs, folder=parts), jobs, "table 1", "row or draw")
    outcomes = {row.name: RESULTS.read(parts / f"row{i:03}")[row.name] for i, row in enumerate(asked)}
    drawn = {
        some.beside: np.stack(
            [TENSOR.read(parts / f"draw{i:02}-{j:03}").numpy() for j in range(len(some.interventions))]
        )
        for i, some in enumerate(draws)
    }
    names = {some.beside: some.name for some in draws}
    absent = rows.absent(study.neurons, study.profile.interventions)
    return table1.Table1(table1.described(asked), len(study.neurons), outcomes, drawn, names, absent)


def table1_jobs(study: Study, folder: Path) -> Callable[[int], None]:
    """What examines one row or draw of table 1, by its number among all of them, and keeps it as a part."""
    base, dpo, exam, known = study.base, study.dpo, study.exam, study.outcomes
    models = {"base": (base, dpo), "dpo": (dpo, base)}

    def examine(row: rows.Row) -> dict[str, Result]:
        model, other = models[row.model]
        if row.takes and model.remote:  # no job at NDIF has two models
            return {row.name: evaluation.not_examined(exam)}
        return {row.name: known.get(row.name) or evaluation.examine(model, exam, row.interventions, other)}

    def draw(model: str, edit) -> Tensor:
        return torch.from_numpy(evaluation.greedy_toxicity(models[model][0], exam, [edit]))

    jobs = [(f"row{i:03}", RESULTS, partial(examine, row)) for i, row in enumerate(study.table1_rows)]
    jobs += [
        (f"draw{i:02}-{j:03}", TENSOR, partial(draw, some.model, edit))
        for i, some in enumerate(study.table1_draws)
        for j, edit in enumerate(some.interventions)
    ]

    def make(number: int) -> None:
        name, kept, job = jobs[number]
        part(folder / name, kept, job)

    return make
