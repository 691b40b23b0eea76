"""Table 1 in parts, a row or a draw each, which several processes can share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dpotox.paper import evaluation, rows, table1
from dpotox.paper.evaluation import Result
from dpotox.run.kept import RESULTS, TENSOR
from dpotox.run.step import part
from dpotox.run.workers import share_out

if TYPE_CHECKING:
    from dpotox.run.study import Study


def share_table1(study: Study, parts: Path) -> table1.Table1:
    """Make all rows and draws of table 1 that are not in `parts` yet, and put them together."""
    asked, draws = study.table1_rows, study.table1_draws
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
