"""Where table 1 spends its time, and what fewer prompts and a second process save.

    python benchmarks/table1.py --profile mini

Examines every eighth row, and one draw of each kind, on the models that `make book` made, and adds the times
up to all rows and draws: with the sizes that were used before (samples and draws on all prompts, 200
references, 320 windows) in one process; with the profile's in one; and with those in two processes that
examine at the same time, each with half the threads. Seconds by the clock, so run nothing beside it. Writes
`artifacts/benchmarks/table1.csv`.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from machine import describe, write

from dpotox.paper import evaluation
from dpotox.paper.evaluation import Exam
from dpotox.run import workers
from dpotox.run.study import Study, open_study

EVERY = 8


def seconds(study: Study, exam: Exam, share: int = 1) -> dict[str, float]:
    """Seconds of the whole table by part: greedy (F1 with it), sampled, text, draws.

    Args:
        share: processes that examine as many rows each at the same time; what one takes is divided by it.
    """
    models = {"base": (study.base, study.dpo), "dpo": (study.dpo, study.base)}
    every, draws = study.table1_rows, study.table1_draws
    spent: dict[str, float] = {}
    called = {"continue_prompts": evaluation.continue_prompts, "window_nll": evaluation.window_nll}

    def timed(name: str) -> Callable:
        def call(*args, **options):
            began = time.perf_counter()
            result = called[name](*args, **options)
            what = options.get("label", "draws" if name == "continue_prompts" else "text")
            spent[what] = spent.get(what, 0) + time.perf_counter() - began
            return result

        return call

    try:
        for name in called:
            setattr(evaluation, name, timed(name))
        for row in every[::EVERY]:
            model, other = models[row.model]
            evaluation.examine(model, exam, row.interventions, other)
        for some in draws:
            evaluation.greedy_toxicity(study.base, exam, [some.interventions[0]])
    finally:
        for name, function in called.items():
            setattr(evaluation, name, function)
    of_rows, of_draws = len(every) / len(every[::EVERY]), len(draws[0].interventions)
    return {what: s * (of_draws if what == "draws" else of_rows) / share for what, s in spent.items()}


def measure_share(study: Study, share: int, folder: Path) -> Callable[[int], None]:
    """In a worker: what measures, beside the others, and writes the seconds."""
    return lambda number: pd.Series(seconds(study, study.exam, share)).to_json(folder / f"{number}.json")


def ready(study: Study) -> Callable[[int], None]:
    """In a worker: the models are loaded, and nothing is done."""
    _ = study.base, study.dpo, study.exam
    return lambda _: None


def with_profile(study: Study, **changed) -> Study:
    """The same study with other sections of its profile."""
    return Study(replace(study.plan, profile=replace(study.profile, **changed)))


def in_processes(study: Study, processes: int) -> dict[str, float]:
    """Seconds of the whole table by part, and until the processes stand ready (`start`)."""
    compute = replace(study.profile.compute, processes=processes)
    shared = with_profile(study, compute=compute)
    began = time.perf_counter()
    workers.share_out(shared, ready, processes, "start", "process")
    start = time.perf_counter() - began
    with TemporaryDirectory() as folder:
        measure = partial(measure_share, share=processes, folder=Path(folder))
        workers.share_out(shared, measure, processes, "measure", "process")
        found = [pd.read_json(path, typ="series") for path in Path(folder).iterdir()]
    return {"start": start} | pd.DataFrame(found).mean().to_dict()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--profile", default="mini")
    arguments = parser.parse_args()
    study = open_study(arguments.profile)
    print(describe(study.profile.compute.threads))
    sizes = study.profile.sizes
    larger = replace(sizes, fewer_prompts=sizes.prompts, references=200, text_windows=320)
    before = with_profile(study, sizes=larger).exam
    table = pd.DataFrame(
        {
            "before": seconds(study, before),
            "fewer prompts": seconds(study, study.exam),
            "and two processes": in_processes(study, 2),
        }
    ).fillna(0.0)
    table.loc["all"] = table.sum()
    table["ratio"] = table["and two processes"] / table["before"].where(table["before"] > 0)
    write("table1", table.rename_axis("part").reset_index())


if __name__ == "__main__":
    main()
