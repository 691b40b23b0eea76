"""What a study leaves for its pages: every table of `dpotox.results.catalogue`, and the record of the run."""

from __future__ import annotations

import json
import math
import platform
import subprocess
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scipy import stats

from dpotox.estimates import Estimate, estimate, mean, perplexity
from dpotox.facts import NOISE, facts, placebos
from dpotox.inputs.language import Language
from dpotox.paper import evidence, groups
from dpotox.paper.nulls import HEADLINE
from dpotox.paper.table1 import Table1
from dpotox.places import PROJECT
from dpotox.results import folder as results
from dpotox.results import record
from dpotox.results.catalogue import TABLES
from dpotox.results.record import FORMAT, Loss, Record, Shape
from dpotox.run import (
    account,
    along,
    artifacts,
    causes,
    costs,
    counts,
    directions_tried,
    lasting,
    objectives,
)
from dpotox.run.kept import evidence_table
from dpotox.run.keys import behind_quantities

if TYPE_CHECKING:
    from dpotox.run.study import Study

PACKAGES = ("dpotox", "torch", "transformers", "nnsight", "trl", "scikit-learn")
"""Those whose versions are told; all that decide results are in the steps' keys."""
CONTINUATIONS, PAIRS = 8, 4
"""How many are shown."""


def write_results(study: Study, folder: Path) -> Path:
    """The results: tables with a schema, and the record of the run."""
    holds = facts(study.profile)
    for name, make in tables(study).items():
        if not TABLES[name].needs or holds[TABLES[name].needs]:
            results.write_table(folder, name, make())
    results.write_direction(folder, study.probe.direction.numpy())
    record.write(record_of(study), folder / results.RECORD)
    results.write_claims(results.Results(folder))


def tables(study: Study) -> dict[str, Callable[[], pd.DataFrame]]:
    """What makes each table, by its name: a step gives it, or it is made here of the steps."""
    return {
        "weight_change": lambda: study.weight_change,
        "neurons": lambda: study.neurons,
        "other_directions": lambda: study.other_directions,
        "table1": lambda: study.summary,
        "offset_neurons": lambda: study.offset_neurons,
        "offset_sets": lambda: study.offset_sets,
        "offset_writers": lambda: study.offset_writers,
        "offset_layers": lambda: study.offset_layers,
        "directions": lambda: directions(study),
        "continuations": lambda: continuations(study),
        "outcomes": lambda: outcomes(study),
        "layers": lambda: layers(study),
        "writers": lambda: writers(study),
        "account": lambda: whole_account(study),
        "undone": lambda: study.undone,
        "causes": lambda: study.causes,
        "counts": lambda: counts.counts(study),
        "enough": lambda: counts.enough(study),
        "stream_ranks": lambda: directions_tried.stream_ranks(study),
        "stream_changes": lambda: directions_tried.stream_changes(study),
        "stream_tokens": lambda: directions_tried.stream_tokens(study),
        "streams_tried": lambda: directions_tried.streams_tried(study),
        "streams_enough": lambda: directions_tried.streams_enough(study),
        "along": lambda: along.along(study),
        "kl_by_token": lambda: along.kl_by_token(study),
        "kl_quarters": lambda: along.kl_quarters(study),
        "objectives": lambda: objectives.compared(study),
        "objective_tries": lambda: objectives.tries(study),
        "without_training": lambda: costs.effects(study),
        "half_way": lambda: costs.half_way(study),
        "relearning": lambda: lasting.curves(study),
        "how_long": lambda: lasting.how_long(study),
        "probes": lambda: lasting.probes(study),
        "groups": lambda: groups.group_table(study.neurons).reset_index(),
        "comparisons": lambda: comparisons(study),
        "evidence": lambda: evidence_table(
            evidence.without_signed(study.evidence) if study.gated else study.evidence
        ),
        "nearest_tokens": lambda: nearest_tokens(study),
        "tokens": lambda: tokens(study),
        "prompts": lambda: prompts(study),
        "step_through": lambda: step_through(study),
        "pretraining": lambda: pd.read_csv(study.base_folder / "curve.csv"),
        "probe_selection": lambda: study.probe.selection,
        "probe_calibration": lambda: study.probe.calibration,
        "pair_yield": lambda: pair_yield(study.pairs),
        "pair_examples": lambda: _masked(study, study.pairs[["prompt", "chosen", "rejected"]].head(PAIRS)),
        "dpo_curves": lambda: study.dpo_curves,
        "draws": lambda: draws(study.table1, study.profile.compute.bootstrap),
        "second_scorer": lambda: second_scorer(study),
        "mild_words": lambda: mild_words(study),  # of all texts above
    }


def record_of(study: Study) -> Record:
    """Which study this is, and what made it."""
    kept = sorted(study.folder.glob("*/made.json"))
    made = {path.parent.name: artifacts.made(path.parent) for path in kept}
    made_here = facts(study.profile)["made-here"]
    return Record(
        format=FORMAT,
        seed=study.seed,
        settings=record.settings_of(study.profile),
        shape=Shape(**study.shape.to_dict("records")[0]),
        loss=Loss(**json.loads((study.base_folder / "loss.json").read_text())) if made_here else None,
        auc=study.probe.auc,
        accuracy=study.probe.accuracy if study.probe.calibration.size else None,
        pairs=0 if study.profile.model.aligned else len(study.pairs),
        versions={"Python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        commit=_commit(),
        device=_device(study),
        date=str(date.today()),
        seconds={name: float(facts["seconds"]) for name, facts in made.items()},
        memory=max(facts.get("memory", 0) for facts in made.values()),
        code=behind_quantities(),
    )


# The chapters' tables, in their order


def directions(study: Study) -> pd.DataFrame:
    """Directions with their nearest tokens masked, and how many of these are toxic."""
    tokens = [text.split("\n") for text in study.directions["tokens"]]
    return study.directions.assign(
        tokens=study.masking.texts([", ".join(some) for some in tokens]),
        count=[len(some) for some in tokens],
        toxic=[study.masking.toxic(some) for some in tokens],
    )


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


def continuations(study: Study) -> pd.DataFrame:
    """The first greedy continuations, masked."""
    texts = study.readings.continuations[["prompt", "base", "dpo"]].head(CONTINUATIONS)
    return _masked(study, texts.set_axis(["prompt", "before", "after"], axis=1))


def outcomes(study: Study) -> pd.DataFrame:
    """What the models before and after DPO are like, a row per measure."""
    measures = {
        "toxicity, greedy": (lambda r: r.greedy, mean),
        "toxicity, sampled": (lambda r: r.sampled, mean),
        "F1": (lambda r: r.f1, mean),
        "perplexity, neutral text": (lambda r: r.nll[r.neutral], perplexity),
        "perplexity, all text": (lambda r: r.nll, perplexity),
    }
    rows, resamples = [], study.profile.compute.bootstrap
    for name, (sample, statistic) in measures.items():
        row = {"measure": name}
        for when, result in zip(("before", "after"), study.outcomes.values(), strict=True):
            row |= _with_ends(when, estimate(statistic, sample(result), resamples=resamples))
        rows.append(row)
    return pd.DataFrame(rows)


def layers(study: Study) -> pd.DataFrame:
    """The mean projection on the probe in each layer of each model, with half its interval."""
    tables = []
    for part, field in (("MLP output", "mlp"), ("residual stream", "residual")):
        for model, name in (("before", "base"), ("ablated", "ablated"), ("after", "dpo")):
            values = getattr(getattr(study.readings, name), field).numpy()
            row = {"part": part, "model": model, "layer": range(values.shape[1]), "value": values.mean(0)}
            tables.append(pd.DataFrame(row | {"reach": 1.96 * values.std(0) / math.sqrt(len(values))}))
    return pd.concat(tables, ignore_index=True)


def writers(study: Study) -> pd.DataFrame:
    """By how much less each kind of writer writes after DPO, on two texts."""
    read = study.readings
    own, same = (evidence.written_by(read.base, after) for after in (read.dpo, read.dpo_on_base))
    return pd.DataFrame({"own_text": own, "same_text": same}).rename_axis("writer").reset_index()


def whole_account(study: Study) -> pd.DataFrame:
    """Who writes less along the probe after DPO, on two texts."""
    read, vectors = study.readings, (*causes.vectors_of(study), study.probe.direction)
    texts = {"own": read.dpo, "same": read.dpo_on_base}
    parts = {text: account.account(read.base, after, *vectors).table() for text, after in texts.items()}
    return pd.concat(parts, names=["text"]).reset_index("text").reset_index(drop=True)


def comparisons(study: Study) -> pd.DataFrame:
    """The comparisons, with the toxicity of what the second model of each wrote of its own."""
    toxicity = {HEADLINE: study.toxicity["dpo"].mean(), NOISE: study.toxicity["base"].mean()}
    for kind in placebos(study.profile):
        toxicity[f"{kind} preferences"] = study.score(study.nulls.texts[kind]).mean()
    return study.comparisons.assign(toxicity=study.comparisons["comparison"].map(toxicity).astype(float))


def draws(table: Table1, resamples: int) -> pd.DataFrame:
    """Rows of table 1 beside their random draws."""
    rows, models = [], table.rows.set_index("name")["model"]
    for name, drawn in table.draw_names.items():
        shares, beyond = table.drawn_shares(name), table.beyond_draws(name, resamples)
        own = beyond.value + shares.mean()  # on the prompts of the draws
        row = {"row": name, "drawn": drawn, "draws": len(shares), "own": own, "mean": shares.mean()}
        row |= {"least": shares.min(), "most": shares.max()}
        as_much = shares <= own if models[name] == "dpo" else shares >= own
        row["reach"] = float(as_much.mean()) if math.isfinite(own) else math.nan
        rows.append(row | _with_ends("beyond", beyond))
    return pd.DataFrame(rows, columns=list(TABLES["draws"].columns))


def second_scorer(study: Study) -> pd.DataFrame:
    """The rows of table 1 with greedy toxicity judged by the second scorer."""
    first, second, rows = study.table1, study.table1.rescored(study.second_score), []
    for name in first.rows["name"]:
        toxicity = [table[name].greedy for table in (first, second)]
        varies = all(np.ptp(some) for some in toxicity)
        row = {
            "row": name,
            "toxicity": toxicity[1].mean(),
            "rank_correlation": stats.spearmanr(*toxicity).statistic if varies else math.nan,
        }
        rows.append(row | _with_ends("recovered", second.recovered(name, study.profile.compute.bootstrap)))
    return pd.DataFrame(rows)


def nearest_tokens(study: Study) -> pd.DataFrame:
    """For each neuron the rows of its nearest tokens in the table of tokens."""
    ids = study.nearest_tokens.flatten(0, 1).numpy()
    places = np.searchsorted(np.unique(ids), ids).astype(np.int32)
    return pd.DataFrame({f"token_{i + 1}": places[:, i] for i in range(ids.shape[1])})


def tokens(study: Study) -> pd.DataFrame:
    """The text of every token that is near some value vector, masked."""
    ids, decode = np.unique(study.nearest_tokens.numpy()), study.tokenizer.decode
    # A token of spaces alone would show nothing.
    texts = [decode([i]).strip() or "␣" for i in ids.tolist()]
    return pd.DataFrame({"text": study.masking.texts(texts)})


def prompts(study: Study) -> pd.DataFrame:
    """The toxicity of what was written after each prompt, and the first token that DPO changes."""
    written = study.readings.tokens
    differs = (written["base"] != written["dpo"]).numpy()
    table = study.toxicity.set_axis(["before", "ablated", "after"], axis=1).reset_index(names="number")
    first = np.where(differs.any(1), differs.argmax(1) + 1.0, np.nan)
    return table.assign(first_other_token=first)


def step_through(study: Study) -> pd.DataFrame:
    """The continuations token by token, masked."""
    table = study.step_through.copy()
    for _, part in table.groupby(["number", "condition"], sort=False):
        prompt, *tokens = study.masking.pieces([part["prompt"].iloc[0], *part["token"]])
        table.loc[part.index, "token"] = tokens
        table.loc[part.index, "prompt"] = prompt
    return table


def mild_words(study: Study) -> pd.DataFrame:
    """Those met in the tables made so far, and all of the language where the model speaks it."""
    if facts(study.profile)["generated"]:
        study.masking.texts(sorted(Language(study.profile.pretraining.language).severity))
    return pd.DataFrame({"word": sorted(study.masking.mild)}, dtype=str)


def _masked(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    return table.apply(lambda column: study.masking.texts(column.tolist()))


def _with_ends(name: str, found: Estimate) -> dict[str, float]:
    """An estimate as columns."""
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


# What made them


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
