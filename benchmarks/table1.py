"""Where table 1 spends its time, and what fewer prompts save.

    python benchmarks/table1.py --profile mini

Examines every eighth row, and one draw of each kind, on the models that `make book` made: once with the
profile's sizes, and once with the ones that were used before (samples and draws on all prompts, 200
references, 320 windows). Times are of the processor, which another program's load changes less, added up to
all rows and draws. Writes `artifacts/benchmarks/table1.csv`.
"""

import argparse
import time
from dataclasses import replace

import pandas as pd
from machine import describe, write

from dpotox import evaluation, rows, steps
from dpotox.study import Study, open_study

EVERY = 8


def seconds(study: Study, prompts: dict[str, int]) -> dict[str, float]:
    """Processor seconds of the whole table by part: greedy (F1 with it), sampled, text, draws."""
    sizes = replace(study.profile.sizes, **prompts)
    exam = Study(replace(study.profile, sizes=sizes), study.seed, study.folder).exam
    models = {"base": (study.base, study.dpo), "dpo": (study.dpo, study.base)}
    every = steps.table1_rows(study)
    draws = rows.random_draws(study.neurons, study.profile.interventions, study.seed)
    spent: dict[str, float] = {}
    called = {"continue_prompts": evaluation.continue_prompts, "window_nll": evaluation.window_nll}

    def timed(name: str):
        def call(*args, **options):
            began = time.process_time()
            result = called[name](*args, **options)
            what = options.get("label", "draws" if name == "continue_prompts" else "text")
            spent[what] = spent.get(what, 0) + time.process_time() - began
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
    return {what: s * (of_draws if what == "draws" else of_rows) for what, s in spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--profile", default="mini")
    arguments = parser.parse_args()
    study = open_study(arguments.profile)
    print(describe(study.profile.compute.threads))
    before = {"fewer_prompts": study.profile.sizes.prompts, "references": 200, "text_windows": 320}
    table = pd.DataFrame({"before": seconds(study, before), "now": seconds(study, {})})
    table.loc["all"] = table.sum()
    write("table1", table.assign(ratio=table["now"] / table["before"]).rename_axis("part").reset_index())


if __name__ == "__main__":
    main()
