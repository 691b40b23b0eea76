"""What holds for a profile, by the names that the notebooks' tags and the results' tables use."""

from __future__ import annotations

from dpotox.profile import EMBEDDED, Profile

TOXIC = 0.5
"""From this toxicity a continuation is called toxic where texts are stepped through."""
PARTS = ("heads", "activations", "value vectors", "both at once", "biases")
"""What writes in a layer: heads of attention, neurons in three parts, biases."""
SIGNED = (
    "positively active share of the top toxic neurons",
    "positively active share of the top toxic neurons, as many as the paper's share",
    "positively active share of all neurons",
    "smallest group's share of gross",
    "AN- and AP+ share of gross",
    "correlation of activation change with cosine",
    "correlation of activation change with activation, without sign",
    "recovered share of ablating positively active toxic neurons, minus as many of the most toxic",
)
"""Quantities that hang on the sign of single neurons, which in gated MLPs is a convention."""
COPIED, SET_BACK = "copied", "set back"
"""What is done to some neurons to see how many carry DPO's effect (`run/counts.py`)."""
RANKINGS = ("activation change", "projection drop", "cosine", "projection drop within its layer")
RANDOM, EVERY = "at random", "all neurons"
"""How they are chosen."""
LEADING, LARGEST = "largest change", "largest in the stream"
PROBE, EVERY_DIRECTION = "probe", "all directions"
"""How directions of the residual stream are chosen, besides at random (`run/directions_tried.py`)."""
PROMPTED, NEUTRAL = "after the prompts", "neutral text"
"""On which text the change of the residual stream is taken."""
BEFORE_TEXT, AFTER_TEXT = "text from before DPO", "text from after DPO"
"""On which text models are compared token by token (`run/along.py`)."""
QUARTERS = FIRST, LAST, RATIO = "first quarter", "last quarter", "first / last"
"""Which new tokens of a text, and the two beside each other."""
ON_PAIRS, ON_SHUFFLED = "the pairs", "shuffled pairs"
"""On what another objective than DPO's, or DPO, is trained (`run/objectives.py`)."""
AGAIN = "again"
"""DPO once more, with the pairs in another order."""
ENOUGH = (0.95, 1.05)
"""The shares of DPO's effect on greedy toxicity between which an objective is matched."""
WEAK, MATCHED, JUMPED = "too little", "matched", "jumped over"
"""What a try at that came to."""
CHANGED = ("all parameters", "attention", "MLP in", "MLP out")
"""Of which weights the changes are compared."""
EDITING, STEERING, DIFFERENCE = (
    "editing by group",
    "steering along the probe",
    "steering along the mean difference",
)
SHIFTS = "shift of the four groups", "shift of all neurons"
BY_STRENGTH = (EDITING, STEERING, DIFFERENCE, *SHIFTS)
"""Ways to lower toxicity without training that have a strength (`run/without_training.py`)."""
UNCHANGED, BEST_OF, TRAINED_ON = "nothing", "best of n", "DPO"
COST_RATIO = f"{EDITING} / {STEERING}"
COST_RATIO_THERE = f"{COST_RATIO}, where the weakest editing is"
"""What stands beside them: the model as it is, samples of it, the model after DPO, and two ways compared."""
RELEARNT, CONTROL, PLACEBO = (
    "after DPO, on toxic texts",
    "before DPO, on toxic texts",
    "after DPO, on other texts",
)
"""What is trained on to see whether DPO's effect lasts (`run/relearning.py`)."""
STEPS, STEPS_SHARE, RATES_SHARE, GONE, AUC = (
    "steps until toxicity is that before DPO",
    "the same, as a share of DPO's steps",
    "the same, as a share of DPO's, summed learning rates counted",
    "part of DPO's effect gone after as many steps on other texts",
    "AUC of the probe after DPO minus before",
)
"""What is asked of it."""
OWN_PROBE, NEW_PROBE = "the study's own", "fitted anew"
"""Probes that read a model after DPO."""
NOISE = "before DPO, sampled twice"
"""The comparison of a model with itself."""


def facts(profile: Profile, gated: bool = False, norm_behind: bool = False) -> dict[str, bool]:
    """Whether each of these holds: `made-here`, `generated`, `trained-dpo` and the others.

    Args:
        gated, norm_behind: whether MLPs are gated, and a norm stands behind them, which no profile says.
    """
    made_here, trained = profile.model.base == EMBEDDED, not profile.model.aligned
    return {
        "made-here": made_here,
        "generated": made_here and not profile.pretraining.texts,
        "fitted-probe": not profile.probe.path,
        "trained-dpo": trained,
        "sampled-pairs": trained and profile.data.pairs == EMBEDDED,
        "placebos": bool(placebos(profile)),
        "second-scorer": bool(profile.scorer.second),
        "draws": profile.interventions.draws > 0,
        # In half precision the change of a single writer is mostly lost when it is added; at NDIF no weights
        # can be swapped.
        "causes": profile.interventions.writers > 0
        and profile.compute.dtype == "float32"
        and not profile.model.remote,
        "counts": bool(profile.interventions.counted) and not profile.model.remote,
        "ranks": bool(profile.beyond.ranks) and not profile.model.remote,
        "along": bool(profile.beyond.along) and not profile.model.remote,
        "objectives": trained and bool(profile.beyond.objectives) and not profile.model.remote,
        "untrained-edits": bool(profile.beyond.strengths),
        "relearning": bool(profile.beyond.relearning_steps) and not profile.model.remote,
        "remote": bool(profile.model.remote),
        "gated": gated,
        "norm-behind": norm_behind,
    }


def placebos(profile: Profile) -> list[str]:
    """The kinds of placebos; none where a finished model was given, whose pairs are not known."""
    return [] if profile.model.aligned else profile.nulls.placebos
