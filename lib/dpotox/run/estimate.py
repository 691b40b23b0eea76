"""What a study will take: time by step, memory and disk, from a short measurement and the profile's counts.

It is an estimate. What is not known before the work, such as how many prompts give a pair, is assumed.
"""

from __future__ import annotations

from collections.abc import Collection
from math import ceil

import pandas as pd
import torch
from transformers import PretrainedConfig

from dpotox.facts import BY_STRENGTH, RANKINGS, SHIFTS, placebos
from dpotox.model.architecture import neurons_per_layer
from dpotox.paper import pairs, rows
from dpotox.paper.neurons import neuron_table
from dpotox.profile import EMBEDDED, Interventions, Profile
from dpotox.run import measure, offset
from dpotox.run.measure import Costs
from dpotox.run.workers import processes_of

YIELD = 0.75
"""The share of prompts assumed to give a pair, after all rounds of steering."""
TRIES = 2.5
"""Times that another objective is assumed to be trained until it does as much as DPO."""
MEASURED = 12
"""How often toxicity is measured in each of them."""
PASSES = 4
"""Times that the prompts are continued and read, for the readings and, without placebos, for the nulls."""
IN_LAYERS = 16
"""Whole layers of heads and of neurons whose changes are tried, in a model of eight."""
IN_TWO_LAYERS = 2
"""After how many layers directions of the residual stream are tried."""
TRAINING = 3.0
"""Seconds in which a trainer of trl is set up."""
WRITTEN = 300e6
"""Bytes of a checkpoint that a disk takes in a second."""
PAGES = 6.0
"""Seconds in which the pages are built (`benchmarks/book.py`)."""
PROCESS = 0.75e9
"""Bytes of a process without any weights."""


def row_counts(settings: Interventions) -> tuple[int, int, int]:
    """How many rows of table 1 are examined, in how many the other model runs beside, and random draws.

    Counted for made-up neurons of which every group has some.
    """
    rng = torch.Generator().manual_seed(0)
    most = 4 * max(*settings.ablate_top, *settings.ablate_top_positive, settings.scale_top, 64)
    before, after = torch.randn(2, 2, most, generator=rng)
    values = torch.randn(2, most, 4, generator=rng)
    table = neuron_table(before, after, values, values, torch.ones(4))
    table = table.assign(pre_gelu_input=0.0, post_gelu_input=0.0, same_text_change=0.0)
    edited = table, torch.zeros(2, most), {0: torch.ones(4), 1: torch.ones(4)}, settings
    made = rows.table1_rows(*edited)
    made += rows.offset_rows(table, dict.fromkeys(rows.OFFSET_ROWS, table["cosine"]), settings.figure_top)
    beside = sum(row.kind == "copy" for row in made)
    draws = sum(len(some.interventions) for some in rows.random_draws(*edited, 0))
    return len(made) - 2, beside, draws + 2 * min(settings.draws, offset.DRAWS)


def times(profile: Profile, costs: Costs, missing: Collection[str], pretraining_step: float) -> pd.Series:
    """Seconds by step, of those that are missing; a step that is made takes none.

    Args:
        missing: names of steps, and `placebo-KIND` of placebos.
        pretraining_step: seconds, if the model is made here.
    """
    sizes, compute, pretraining = profile.sizes, profile.compute, profile.pretraining
    prompt = sizes.prompt_tokens * costs.token
    read = sizes.prompts * (prompt + sizes.new_tokens * costs.read)
    dpo = 0.0 if profile.model.aligned else dpo_seconds(profile, costs)
    trained = [f"placebo-{kind}" for kind in placebos(profile)]
    examined = _examine(profile, costs)
    examinations, beside, draws = row_counts(profile.interventions)
    few = min(sizes.fewer_prompts, sizes.prompts)
    drawn = few * (prompt + sizes.new_tokens * _edited(costs) + costs.score)
    trials = len(profile.interventions.counted) * (len(RANKINGS) + profile.interventions.counted_draws) + 1
    tried, drawings = len(profile.beyond.ranks), profile.beyond.rank_draws
    streams = IN_TWO_LAYERS * (tried * (2 + drawings) + 2)
    windows = sizes.text_windows * sizes.window_tokens * costs.token
    resampled = compute.neuron_bootstrap * costs.table
    # Random ones and as many that are matched; each on two texts.
    directions = 2 * (2 * profile.nulls.directions + profile.nulls.shuffled_labels)
    passes, length = pretraining.passes if pretraining.texts else 1, profile.probe.max_tokens
    seconds = {
        "base": pretraining.rows * passes // pretraining.batch_size * pretraining_step,
        "comments": sizes.comments * min(profile.probe.max_tokens, 64) * costs.token,
        "probe": len(profile.probe.C) * costs.fit,
        "pairs": pair_seconds(profile, costs) if profile.data.pairs == EMBEDDED else 0.0,
        "dpo": dpo,
        "readings": PASSES * read,
        **dict.fromkeys(trained, dpo),
        "nulls": (PASSES + len(trained)) * read,
        "streams": (2 + len(trained)) * sizes.prompts * (prompt + sizes.new_tokens * costs.token),
        "undone": 2 * read,
        "causes": (2 * profile.interventions.writers + IN_LAYERS) * (drawn + windows),
        "relearning": _relearning(profile, costs, drawn),
        "comments-after": 0.5
        * profile.probe.held_out
        * profile.sizes.comments
        * min(length, 64)
        * costs.token,
        "without-training": _untrained(profile, costs, drawn) / processes_of(profile),
        "tried": 2 * trials * drawn / processes_of(profile),
        "stream-changes": 2 * (sizes.prompts * (prompt + sizes.new_tokens * costs.token) + windows),
        "streams-tried": 2 * streams * drawn / processes_of(profile),
        "along": (len(profile.beyond.along) * (drawn + read + windows) + 2 * read) / processes_of(profile),
        "objectives": _objectives_seconds(profile, dpo, drawn),
        "objective-trials": _compared(profile) * (read + resampled + 4 * drawn) / processes_of(profile),
        "outcomes": 2 * examined,
        "table1": ((examinations + beside) * examined + draws * drawn) / processes_of(profile),
        "summary": 9 * (examinations + 2) * costs.bootstrap,
        "nearest-tokens": costs.nearest,
        "shuffled-directions": profile.nulls.shuffled_labels * costs.shuffled_fit,
        "other-directions": directions * costs.table,
        "comparisons": (5 + len(trained)) * resampled,
        "resampled-neuron-quantities": resampled,
    }
    return pd.Series({step: value for step, value in seconds.items() if step in missing}, dtype=float)


def _compared(profile: Profile) -> int:
    """How many models are compared with DPO's, at most."""
    beyond = profile.beyond
    return 1 + len(beyond.objectives) * (1 + beyond.objective_placebos) + ("shuffled" in placebos(profile))


def _objectives_seconds(profile: Profile, dpo: float, drawn: float) -> float:
    """Seconds of training by other objectives, each as long as DPO at most, while toxicity is measured."""
    beyond = profile.beyond
    each = min(TRIES, beyond.objective_tries) * (dpo + MEASURED * drawn) + beyond.objective_placebos * dpo
    return len(beyond.objectives) * each / min(processes_of(profile), max(1, len(beyond.objectives)))


def pair_seconds(profile: Profile, costs: Costs) -> float:
    """Seconds of making preference pairs if `YIELD` of the prompts give one, after all rounds."""
    given = profile.pairs
    blocks = ceil(given.count / YIELD / pairs.BLOCK)
    texts = blocks * pairs.BLOCK * given.samples * (1 + len(given.steering))
    new = given.new_tokens * costs.sampled
    return texts * (given.prompt_tokens * costs.token + new + costs.score)


def dpo_seconds(profile: Profile, costs: Costs) -> float:
    """Seconds of one training with its evaluations, the reference's log-probabilities and checkpoints."""
    given, settings = profile.pairs, profile.dpo
    forward = 2 * (given.prompt_tokens + given.new_tokens) * costs.token
    evaluations = settings.steps // settings.eval_every
    steps = settings.steps * (settings.batch_size * costs.train_pair + costs.update)
    writing = evaluations * 3 * 4 * costs.parameters / WRITTEN
    judged = (given.count + (evaluations + 1) * given.validation) * forward
    return TRAINING + measure.TRL * (steps + judged) + writing


def _examine(profile: Profile, costs: Costs) -> float:
    """Seconds of one row of table 1: greedy and sampled continuations, F1, and the loss on text."""
    sizes = profile.sizes
    prompt, new = sizes.prompt_tokens * costs.token, sizes.new_tokens
    greedy = prompt + new * _edited(costs)
    sampled = greedy + new * max(0.0, costs.sampled - costs.plain)
    few = min(sizes.fewer_prompts, sizes.prompts)
    texts = sizes.prompts * (greedy + costs.score) + few * (sampled + costs.score)
    texts += sizes.references * greedy
    return texts + 1.25 * sizes.text_windows * sizes.window_tokens * costs.token


def _relearning(profile: Profile, costs: Costs, drawn: float) -> float:
    """Seconds of three trainings, whose steps take half of what DPO's do, and of examining them."""
    steps, settings = profile.beyond.relearning_steps, profile.dpo
    training = max([0, *steps]) * (settings.batch_size * costs.train_pair / 2 + costs.update)
    return 3 * (TRAINING + training + len(steps) * drawn)


def _untrained(profile: Profile, costs: Costs, drawn: float) -> float:
    """Seconds of the trials without training, of which one writes as much as a draw, and for references."""
    sizes, beyond = profile.sizes, profile.beyond
    references = sizes.references * (sizes.prompt_tokens * costs.token + sizes.new_tokens * _edited(costs))
    windows = 3 * sizes.text_windows * sizes.window_tokens * costs.token
    edits = len(beyond.strengths) * (len(BY_STRENGTH) - len(SHIFTS)) + len(beyond.shifts) * len(SHIFTS)
    trials = 2 + edits
    few = min(sizes.fewer_prompts, sizes.prompts) + sizes.references
    samples = max([1, *beyond.best_of]) * few * (sizes.new_tokens * costs.sampled + costs.score)
    return trials * (drawn + references + windows) + samples


def _edited(costs: Costs) -> float:
    """Seconds per new token of an average row, between none of the neurons edited and half of them."""
    return (costs.plain + costs.edited) / 2


def memory_bytes(profile: Profile, parameters: int, config: PretrainedConfig) -> tuple[int, int]:
    """Bytes of the device's memory at the most: for what cannot be halved, and with whole batches.

    While DPO trains, there are the model before it, the weights in training with gradients and the
    optimiser's moments, all but the first in float32; otherwise the models before and after
    DPO, and one on the way between them.
    """
    sizes, given, trained = profile.sizes, profile.pairs, not profile.model.aligned
    width, layers, vocabulary = config.hidden_size, config.num_hidden_layers, config.vocab_size
    value = 4 if profile.compute.dtype == "float32" else 2
    weights = parameters * value
    moments = 1 if profile.dpo.optimizer == "rmsprop" else 2
    training = trained * (weights + (2 + moments) * 4 * parameters)
    length = max(sizes.prompt_tokens + sizes.new_tokens, given.prompt_tokens + given.new_tokens)
    cached = profile.compute.batch_size * length * (2 * layers + 12) * width * value
    generating = cached + profile.compute.batch_size * vocabulary * (value + 8 * 4)
    tokens = 2 * profile.dpo.batch_size * (given.prompt_tokens + given.new_tokens)
    learning = trained * tokens * 4 * (18 * layers * width + 4 * vocabulary)
    processes = processes_of(profile)
    networks = 3 if profile.beyond.along else 2  # one on the way between the two
    fixed = max(processes * networks * weights, training)
    return fixed, max(processes * (networks * weights + generating), training + learning)


def disk_bytes(profile: Profile, parameters: int, config: PretrainedConfig, missing: Collection[str]) -> int:
    """Bytes of what is made: weights, checkpoints while DPO trains, readings, and the pages."""
    depth, width = config.num_hidden_layers, config.hidden_size
    weights, neurons = 4 * parameters, depth * neurons_per_layer(config)
    trained, kinds, chunks = not profile.model.aligned, placebos(profile), profile.sizes.chunks
    vectors = 4 * neurons * width
    made = {
        "base": weights if profile.model.base == EMBEDDED else 0,
        "comments": 4 * profile.sizes.comments * width,
        "dpo": weights * (1 + (3 * 3 if trained else 0)),  # three checkpoints with their optimiser at once
        **{f"placebo-{kind}": weights for kind in kinds},
        "base-values": vectors,
        "dpo-values": vectors,
        # Twice, as parts are kept until the whole is written.
        "readings": 2 * 4 * 2 * 4 * chunks * neurons,
        "streams": 4 * chunks * depth * (2 * depth + 5) * width,
        "objectives": 2 * weights * (_compared(profile) - 1),
        "nulls": (4 + len(kinds)) * 3 * 4 * chunks * neurons + len(kinds) * vectors,
    }
    return 100_000_000 + sum(size for step, size in made.items() if step in missing)


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 72 * 3600 else f"{seconds / 86400:.1f} days"
