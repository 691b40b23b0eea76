"""What a study leaves for its pages: every table of `dpotox.results.catalogue`, and the record of the run.

Tables that are what a step gives are listed in `Study.results_folder`; the others are made here of the steps.
"""

from __future__ import annotations

import math
import platform
import subprocess
from dataclasses import asdict
from datetime import date
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scipy import stats

from dpotox.estimates import estimate, mean, perplexity
from dpotox.facts import NOISE, facts, placebos
from dpotox.inputs.language import Language
from dpotox.paper import evidence, groups
from dpotox.paper.nulls import HEADLINE
from dpotox.places import PROJECT
from dpotox.results import folder as results
from dpotox.results import record
from dpotox.results.catalogue import TABLES
from dpotox.results.record import FORMAT, Loss, Record, Shape
from dpotox.run import artifacts
from dpotox.run.keys import behind_quantities

if TYPE_CHECKING:
    from dpotox.run.study import Study

PACKAGES = ("dpotox", "torch", "transformers", "nnsight", "trl", "scikit-learn")
"""Those whose versions are told; all that decide results are in the steps' keys."""
CONTINUATIONS, PAIRS = 8, 4
"""How many are shown."""


def write_results(study: Study, folder: Path, of_steps: dict[str, pd.DataFrame]) -> None:
    """Write all results of a study into a folder.

    Args:
        of_steps: the tables that are what a step gives, by their names.
    """
    made, holds = Tables(study), facts(study.profile)
    found = of_steps | {
        "directions": made.directions,
        "continuations": made.continuations,
        "outcomes": made.outcomes,
        "layers": made.layers,
        "writers": made.writers,
        "groups": made.groups,
        "comparisons": made.comparisons,
        "evidence": made.evidence,
        "nearest_tokens": made.nearest_tokens,
        "tokens": made.tokens,
        "prompts": made.prompts,
        "step_through": made.step_through,
    }
    if holds["made-here"]:
        found["pretraining"] = made.pretraining
    if holds["fitted-probe"]:
        found |= {"probe_selection": made.probe_selection, "probe_calibration": made.probe_calibration}
    if holds["sampled-pairs"]:
        found["pair_yield"] = made.pair_yield
    if holds["trained-dpo"]:
        found |= {"pair_examples": made.pair_examples, "dpo_curves": made.dpo_curves}
    if holds["draws"]:
        found["draws"] = made.draws
    if holds["second-scorer"]:
        found["second_scorer"] = made.second_scorer
    found["mild_words"] = made.mild_words  # of all texts above
    for name, table in found.items():
        results.write_table(folder, name, table)
    results.write_direction(folder, study.probe.direction.numpy())
    record.write(made.record, folder / results.RECORD)
    results.write_claims(results.Results(folder))


class Tables:
    """The tables by their names, each made from the study's steps."""

    def __init__(self, study: Study) -> None:
        self.study = study

    @cached_property
    def record(self) -> Record:
        """Which study this is, and what made it."""
        study = self.study
        steps = [study.folder / path.parent.name for path in study.folder.glob("*/made.json")]
        made = {step.name: artifacts.made(step) for step in sorted(steps)}
        return Record(
            format=FORMAT,
            seed=study.seed,
            settings=record.settings_of(study.profile),
            shape=Shape(**{k: int(v) for k, v in study.shape.iloc[0].items()}),
            loss=Loss(**study.pretraining_loss) if study.pretraining_loss else None,
            auc=study.probe.auc,
            accuracy=study.probe.accuracy if study.probe.calibration.size else None,
            pairs=0 if study.profile.model.dpo_checkpoint else len(study.pairs),
            versions={"Python": platform.python_version()} | {name: version(name) for name in PACKAGES},
            commit=_commit(),
            device=_device(study),
            date=str(date.today()),
            seconds={name: float(facts["seconds"]) for name, facts in made.items()},
            memory=max(facts.get("memory", 0) for facts in made.values()),
            code=behind_quantities(),
        )

    # The chapters' tables, in their order

    @cached_property
    def pretraining(self) -> pd.DataFrame:
        return pd.read_csv(self.study.base_folder / "curve.csv")

    @cached_property
    def probe_selection(self) -> pd.DataFrame:
        return self.study.probe.selection

    @cached_property
    def probe_calibration(self) -> pd.DataFrame:
        return self.study.probe.calibration

    @cached_property
    def directions(self) -> pd.DataFrame:
        found = self.study.directions
        tokens = [text.split("\n") for text in found["tokens"]]
        masked = self.study.masking.texts([", ".join(some) for some in tokens])
        return found.assign(
            tokens=masked,
            count=[len(some) for some in tokens],
            toxic=[self.study.masking.toxic(some) for some in tokens],
        )

    @cached_property
    def pair_yield(self) -> pd.DataFrame:
        return pair_yield(self.study.pairs)

    @cached_property
    def pair_examples(self) -> pd.DataFrame:
        return self._masked(self.study.pairs[["prompt", "chosen", "rejected"]].head(PAIRS))

    @cached_property
    def dpo_curves(self) -> pd.DataFrame:
        return self.study.dpo_curves

    @cached_property
    def continuations(self) -> pd.DataFrame:
        texts = self.study.readings.continuations[["prompt", "base", "dpo"]].head(CONTINUATIONS)
        return self._masked(texts.set_axis(["prompt", "before", "after"], axis=1))

    @cached_property
    def outcomes(self) -> pd.DataFrame:
        measures = {
            "toxicity, greedy": (lambda r: r.greedy, mean),
            "toxicity, sampled": (lambda r: r.sampled, mean),
            "F1": (lambda r: r.f1, mean),
            "perplexity, neutral text": (lambda r: r.nll[r.neutral], perplexity),
            "perplexity, all text": (lambda r: r.nll, perplexity),
        }
        rows = []
        for name, (sample, statistic) in measures.items():
            row = {"measure": name}
            for when, result in zip(("before", "after"), self.study.outcomes.values(), strict=True):
                found = estimate(statistic, sample(result), resamples=self.resamples)
                row |= {when: found.value, f"{when}_low": found.low, f"{when}_high": found.high}
            rows.append(row)
        return pd.DataFrame(rows)

    @cached_property
    def layers(self) -> pd.DataFrame:
        read, parts = self.study.readings, {"MLP output": "mlp", "residual stream": "residual"}
        tables = []
        for part, field in parts.items():
            for model, name in (("before", "base"), ("ablated", "ablated"), ("after", "dpo")):
                values = getattr(getattr(read, name), field).numpy()
                columns = {"value": values.mean(0), "reach": 1.96 * values.std(0) / math.sqrt(len(values))}
                table = pd.DataFrame(
                    {"part": part, "model": model, "layer": range(values.shape[1])} | columns
                )
                tables.append(table)
        return pd.concat(tables, ignore_index=True)

    @cached_property
    def writers(self) -> pd.DataFrame:
        read = self.study.readings
        own, same = (evidence.written_by(read.base, after) for after in (read.dpo, read.dpo_on_base))
        return pd.DataFrame({"own_text": own, "same_text": same}).rename_axis("writer").reset_index()

    @cached_property
    def groups(self) -> pd.DataFrame:
        return groups.group_table(self.study.neurons).reset_index()

    @cached_property
    def comparisons(self) -> pd.DataFrame:
        study = self.study
        toxicity = {HEADLINE: study.toxicity["dpo"].mean(), NOISE: study.toxicity["base"].mean()}
        for kind in placebos(study.profile):
            toxicity[f"{kind} preferences"] = study.score(study.nulls.texts[kind]).mean()
        return study.comparisons.assign(toxicity=study.comparisons["comparison"].map(toxicity).astype(float))

    @cached_property
    def draws(self) -> pd.DataFrame:
        table, rows = self.study.table1, []
        models = table.rows.set_index("name")["model"]
        for name, drawn in table.draw_names.items():
            shares, beyond = table.drawn_shares(name), table.beyond_draws(name, self.resamples)
            own = beyond.value + shares.mean()  # on the prompts of the draws
            row = {"row": name, "drawn": drawn, "draws": len(shares), "own": own, "mean": shares.mean()}
            row |= {"least": shares.min(), "most": shares.max()}
            as_much = shares <= own if models[name] == "dpo" else shares >= own
            row["reach"] = float(as_much.mean()) if math.isfinite(own) else math.nan
            rows.append(row | {"beyond": beyond.value, "beyond_low": beyond.low, "beyond_high": beyond.high})
        return pd.DataFrame(rows, columns=list(TABLES["draws"].columns))

    @cached_property
    def second_scorer(self) -> pd.DataFrame:
        first, second, rows = self.study.table1, self.study.second_table1, []
        for name in first.rows["name"]:
            share = second.recovered(name, self.resamples)
            toxicity = [table[name].greedy for table in (first, second)]
            varies = all(np.ptp(some) for some in toxicity)
            rows.append(
                {
                    "row": name,
                    "toxicity": toxicity[1].mean(),
                    "rank_correlation": stats.spearmanr(*toxicity).statistic if varies else math.nan,
                    "recovered": share.value,
                    "recovered_low": share.low,
                    "recovered_high": share.high,
                }
            )
        return pd.DataFrame(rows)

    @cached_property
    def evidence(self) -> pd.DataFrame:
        found = self.study.evidence.items()
        return pd.DataFrame([{"quantity": quantity} | asdict(one) for quantity, one in found])

    @cached_property
    def nearest_tokens(self) -> pd.DataFrame:
        ids = self.study.nearest_tokens.flatten(0, 1).numpy()
        places = np.searchsorted(self._token_ids, ids).astype(np.int32)
        return pd.DataFrame({f"token_{i + 1}": places[:, i] for i in range(ids.shape[1])})

    @cached_property
    def tokens(self) -> pd.DataFrame:
        decode = self.study.tokenizer.decode
        # A token of spaces alone would show nothing.
        texts = [decode([i]).strip() or "␣" for i in self._token_ids.tolist()]
        return pd.DataFrame({"text": self.study.masking.texts(texts)})

    @cached_property
    def _token_ids(self) -> np.ndarray:
        return np.unique(self.study.nearest_tokens.numpy())

    @cached_property
    def prompts(self) -> pd.DataFrame:
        toxicity, tokens = self.study.toxicity, self.study.readings.tokens
        differs = (tokens["base"] != tokens["dpo"]).numpy()
        table = toxicity.set_axis(["before", "ablated", "after"], axis=1).reset_index(names="number")
        first = np.where(differs.any(1), differs.argmax(1) + 1.0, np.nan)
        return table.assign(first_other_token=first)

    @cached_property
    def step_through(self) -> pd.DataFrame:
        table = self.study.step_through.copy()
        for _, part in table.groupby(["number", "condition"], sort=False):
            prompt, *tokens = self.study.masking.pieces([part["prompt"].iloc[0], *part["token"]])
            table.loc[part.index, "token"] = tokens
            table.loc[part.index, "prompt"] = prompt
        return table

    @cached_property
    def mild_words(self) -> pd.DataFrame:
        """Those met in the tables made so far, and all of the language where the model speaks it."""
        profile = self.study.profile
        if facts(profile)["generated"]:
            self.study.masking.texts(sorted(Language(profile.pretraining.language).severity))
        return pd.DataFrame({"word": sorted(self.study.masking.mild)}, dtype=str)

    @property
    def resamples(self) -> int:
        """How many bootstrap samples an interval is made of."""
        return self.study.profile.compute.bootstrap

    def _masked(self, table: pd.DataFrame) -> pd.DataFrame:
        return table.apply(lambda column: self.study.masking.texts(column.tolist()))


def pair_yield(pairs: pd.DataFrame) -> pd.DataFrame:
    """How many prompts were tried, how many gave a pair at each strength, and how toxic those are."""
    tried = int(pairs["tried"].max())
    rows = [
        {
            "steering": strength if isinstance(strength, str) else f"{strength:g}",
            "pairs": len(part),
            "of_tried": len(part) / tried,
            "chosen_toxicity": part["chosen_toxicity"].mean(),
            "rejected_toxicity": part["rejected_toxicity"].mean(),
        }
        for strength, part in [*pairs.groupby("steering"), ("all", pairs)]
    ]
    return pd.DataFrame(rows)


def _commit() -> str:
    """The project's commit, with a plus where files differ from it; empty where that is not known."""
    try:
        asked = ["git", "-C", str(PROJECT), "describe", "--always", "--abbrev=40", "--dirty=+"]
        return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _device(study: Study) -> str:
    """What it was computed on, in words."""
    if not study.on_cpu:
        return torch.cuda.get_device_name() if torch.cuda.is_available() else "mps"
    return f"processor, {torch.backends.cpu.get_cpu_capability()}, {study.profile.compute.threads} threads"
