"""The quantities that the claims are about, each with its 95 % interval: a function for each chapter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from dpotox.estimates import (
    CHUNKS,
    Estimate,
    Evidence,
    around,
    estimate,
    has_effect,
    rank,
    recovered_share,
)
from dpotox.facts import NOISE, SIGNED
from dpotox.model.tracing import Reading
from dpotox.paper import groups
from dpotox.paper.nulls import HEADLINE, SAME_TEXT
from dpotox.paper.published import NUMBERS
from dpotox.paper.selections import dampened_drop, most_toxic


def without_signed(evidence: Evidence) -> Evidence:
    """The same, with what hangs on the sign of single neurons unknown."""
    unknown = dict.fromkeys(("value", "low", "high"), float("nan"))
    return evidence | {name: replace(evidence[name], **unknown) for name in SIGNED if name in evidence}


def dpo_evidence(before: np.ndarray, after: np.ndarray, turned: float, resamples: int) -> Evidence:
    """What DPO did to toxicity and to the value vectors.

    Args:
        before, after: toxicity of the greedy continuation of each prompt.
        turned: the median over neurons of one minus the cosine of the value vectors before and after.
    """
    return {
        "toxicity after DPO / before": estimate(
            lambda a, b: a.mean(-1) / b.mean(-1), after, before, resamples=resamples
        ),
        # A property of the weights: nothing is sampled, so there is no interval.
        "median of 1 - cosine of a value vector before and after": Estimate(turned, turned, turned),
    }


def turned(
    before: Float[Tensor, "layer neuron d_model"], after: Float[Tensor, "layer neuron d_model"]
) -> float:
    """The median over neurons of one minus the cosine of the value vectors before and after DPO."""
    return float((1 - torch.nn.functional.cosine_similarity(before, after, dim=-1)).median())


def neuron_quantities(neurons: pd.DataFrame, top: int) -> dict[str, float]:
    """The quantities that follow from a neuron table; `top` is the number of most toxic neurons."""
    found = groups.quantities(neurons)
    by_layer = groups.layer_drops(neurons)[list(groups.REDUCING)].sum(axis=1)
    for number, said in ((top, ""), (at_papers_share(len(neurons)), ", as many as the paper's share")):
        toxic = most_toxic(neurons, number)
        found |= {
            f"positively active share of the top toxic neurons{said}": (toxic["pre_activation"] > 0).mean(),
            f"top toxic neurons' share of gross{said}": groups.ratio(dampened_drop(toxic), found["gross"]),
        }
    return found | {
        "share of neurons that reduce": (neurons["projection_drop"] > 0).mean(),
        "share of neurons that make half of all positive drops": groups.neurons_for_share(neurons, 0.5)
        / len(neurons),
        "largest layer's share of gross": groups.ratio(by_layer.max(), found["gross"]),
        "positively active share of all neurons": (neurons["pre_activation"] >= 0).mean(),
        "correlation of activation change with activation, without sign": abs(
            groups.change_with(neurons, "pre_activation")
        ),
        "correlation of activation change with cosine": groups.change_with(neurons, "cosine"),
        "part of the net reduction with value vectors held": groups.moved_by_activations(neurons),
    }


def at_papers_share(neurons: int) -> int:
    """How many of so many neurons are the share that the paper's 128 are of GPT-2 medium's 98,304."""
    return max(1, round(neurons * 128 / NUMBERS["groups"]["neurons"]))


def neuron_evidence(neurons: pd.DataFrame, resampled: pd.DataFrame, top: int, chunks: int) -> Evidence:
    """Quantities of the neuron table.

    Args:
        resampled: `neuron_quantities` of bootstrap samples of chunks of prompts, one row each.
        chunks: how many there are.
    """
    found = neuron_quantities(neurons, top)
    return {name: around(float(value), resampled[name], chunks) for name, value in found.items()}


def written_by(base: Reading, dpo: Reading) -> pd.Series:
    """By how much less each kind of writer writes along the probe after DPO, over all layers."""
    parts = {
        name: float((getattr(base, field) - getattr(dpo, field)).sum(1).mean())
        for name, field in (("attention", "attention"), ("MLPs", "mlp"))
    }
    whole = float((base.residual - dpo.residual)[:, -1].mean())
    return pd.Series(parts | {"embeddings": whole - sum(parts.values()), "all": whole})


def residual_evidence(base: Reading, dpo: Reading, resamples: int) -> Evidence:
    """How the change of the last residual stream along the probe divides between kinds of layers.

    The residual stream is the sum of the embeddings and of what every attention and MLP wrote, so the
    parts add up to the whole.
    """
    whole = (base.residual - dpo.residual)[:, -1].double().numpy()

    def share(field: str) -> Estimate:
        part = (getattr(base, field) - getattr(dpo, field)).sum(1).double().numpy()
        return estimate(lambda p, w: p.mean(-1) / w.mean(-1), part, whole, resamples=resamples)

    return {
        "attention's share of the residual stream's change": share("attention"),
        "the MLPs' share of the residual stream's change": share("mlp"),
    }


def null_evidence(
    comparisons: pd.DataFrame,
    others: pd.DataFrame,
    toxicity: dict[str, Float[np.ndarray, "prompt"]],
    resamples: int,
) -> Evidence:
    """Where the shares stand among those of directions, trainings and readings with nothing to find.

    Args:
        comparisons, others: `nulls.comparisons` and `nulls.along`.
        toxicity: of the greedy continuation of each prompt, `base` and `dpo`; and, if that placebo was
            trained, `shuffled`.
    """
    values = comparisons.set_index(["comparison", "quantity"])[["value", "low", "high"]]
    probe, on_same_text = (
        {name: Estimate(*ends) for name, ends in values.loc[place].iterrows()}
        for place in (HEADLINE, SAME_TEXT)
    )
    kinds = dict(list(others.groupby(["kind", "text"])))
    random, same = kinds["random", "own"], kinds["random", "same"]
    share, larger = "TP- share of gross", "random directions whose TP- share is larger"
    ranks = {
        larger: (random, share, probe),
        f"{larger}, largest neuron of each left out": (random, groups.WITHOUT_LARGEST, probe),
        f"{larger}, both models on the same text": (same, share, on_same_text),
        "random directions whose net / gross is larger": (random, "net / gross", probe),
    }
    if ("shuffled labels", "own") in kinds:
        shuffled = kinds["shuffled labels", "own"], share, probe
        ranks["shuffled-label probes whose TP- share is larger"] = shuffled
    found = {name: rank(some[of].to_numpy(), beside[of]) for name, (some, of, beside) in ranks.items()}
    noise = values.loc[(NOISE, "gross / DPO's, both sampled")]
    found["gross of the noise / gross of DPO, both sampled"] = Estimate(*noise, CHUNKS)
    if "shuffled" in toxicity:
        before, placebo, after = (toxicity[name] for name in ("base", "shuffled", "dpo"))
        if has_effect(before, after, resamples):
            found["placebo's share of DPO's effect on toxicity"] = estimate(
                recovered_share, before, placebo, after, resamples=resamples
            )
    return found


def steering(
    base: Reading, dpo: Reading, unit: Float[Tensor, "d_model"]
) -> dict[int, Float[Tensor, "d_model"]]:
    """By how much DPO moves the residual stream along the probe on average, in the middle and at the end.

    By layer. Give readings of the same text.
    """
    drop = (base.residual - dpo.residual).mean(0)
    return {layer: -drop[layer] * unit for layer in (len(drop) // 2 - 1, len(drop) - 1)}
