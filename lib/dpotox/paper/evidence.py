"""The quantities that the claims are about, each with its 95 % interval: a function for each chapter."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from dpotox.estimates import (
    CHUNKS,
    WINDOWS,
    Estimate,
    Evidence,
    around,
    estimate,
    largest,
    rank,
    recovered_share,
)
from dpotox.model.tracing import Reading
from dpotox.paper.groups import (
    WITHOUT_LARGEST,
    change_with_cosine,
    gross_and_net,
    group_table,
    moved_by_activations,
    quantities,
    ratio,
)
from dpotox.paper.nulls import HEADLINE, NOISE, SAME_TEXT
from dpotox.paper.published import NUMBERS
from dpotox.paper.rows import AFTER, BEFORE, Key
from dpotox.paper.selections import ALL_FOUR, OTHER_FOUR, dampened_drop, most_toxic
from dpotox.paper.table1 import Table1


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
    found, gross = quantities(neurons), gross_and_net(group_table(neurons))[0]
    for number, said in ((top, ""), (at_papers_share(len(neurons)), ", as many as the paper's share")):
        toxic = most_toxic(neurons, number)
        found |= {
            f"positively active share of the top toxic neurons{said}": (toxic["pre_activation"] > 0).mean(),
            f"top toxic neurons' share of gross{said}": ratio(dampened_drop(toxic), gross),
        }
    return found | {
        "correlation of activation change with cosine": change_with_cosine(neurons),
        "part of the net reduction with value vectors held": moved_by_activations(neurons),
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
    own, same = (others[others["text"] == text] for text in ("own", "same"))
    random, shuffled = (own[own["kind"] == kind] for kind in ("random", "shuffled labels"))
    share = "TP- share of gross"
    ranks = {
        "random directions whose TP- share is larger": (random, share, probe),
        "shuffled-label probes whose TP- share is larger": (shuffled, share, probe),
        "random directions whose TP- share is larger, largest neuron of each left out": (
            random,
            WITHOUT_LARGEST,
            probe,
        ),
        "random directions whose net / gross is larger": (random, "net / gross", probe),
        "random directions whose TP- share is larger, both models on the same text": (
            same[same["kind"] == "random"],
            share,
            on_same_text,
        ),
    }
    found = {name: rank(some[of].to_numpy(), beside[of]) for name, (some, of, beside) in ranks.items()} | {
        "gross of the noise / gross of DPO, both sampled": Estimate(
            *values.loc[(NOISE, "gross / DPO's, both sampled")], CHUNKS
        ),
    }
    if "shuffled" in toxicity:
        before, placebo, after = (toxicity[name] for name in ("base", "shuffled", "dpo"))
        if has_effect(before, after, resamples):
            found["placebo's share of DPO's effect on toxicity"] = estimate(
                recovered_share, before, placebo, after, resamples=resamples
            )
        found["TP- share after shuffled preferences, minus after DPO"] = Estimate(
            *values.loc[("shuffled preferences", "TP- share, minus DPO's")], CHUNKS
        )
    return found


def has_effect(before: np.ndarray, after: np.ndarray, resamples: int) -> bool:
    """Whether DPO surely lowers toxicity; of an effect that may be none, no share means anything."""
    return estimate(lambda a, b: a.mean(-1) - b.mean(-1), before, after, resamples=resamples).low > 0


def steering(
    base: Reading, dpo: Reading, unit: Float[Tensor, "d_model"], seed: int
) -> dict[tuple[str, int], Float[Tensor, "d_model"]]:
    """By how much DPO moves the residual stream along the probe on average, in the middle and at the end.

    And at the end, the same length along a random direction, as a control. Give readings of the same text.
    """
    drop = (base.residual - dpo.residual).mean(0)
    last = len(drop) - 1
    random = torch.randn(unit.shape, generator=torch.Generator().manual_seed(seed))
    vectors = {("the probe", layer): -drop[layer] * unit for layer in (len(drop) // 2 - 1, last)}
    return vectors | {("a random direction", last): drop[last].abs() * random / random.norm()}


ALONE = {
    "recovered share of patching TP-": Key("patch", "TP-", "newest"),
    "recovered share of copying TP-": Key("copy", "TP-"),
    "recovered share of swapping the MLPs": Key("swap", "MLP in and MLP out"),
}
"""Quantities that are the recovered share of a row."""
LARGEST_BEYOND = "largest ablation's recovered share, beyond random neurons"
BESIDE_DRAWS = {
    "recovered share of shifting TP-, beyond random neurons": Key("shift", "TP-"),
    "recovered share of shifting all four, beyond shifts dealt within groups": Key("shift", ALL_FOUR),
}
"""Those that are a row's recovered share beyond that of its random draws."""
MINUS = {
    "recovered share of patching TP-, minus holding it": (
        Key("patch after the GELU", "TP-"),
        Key("hold after the GELU", "TP-"),
    ),
    "recovered share of patching TP- as published, minus holding it": (
        Key("patch", "TP-", "newest"),
        Key("hold", "TP-", "newest"),
    ),
    "recovered share of shifting all four, minus TP- alone": (Key("shift", ALL_FOUR), Key("shift", "TP-")),
    "recovered share of shifting the four groups, minus the other four": (
        Key("shift, same text", ALL_FOUR),
        Key("shift, same text", OTHER_FOUR),
    ),
    "recovered share of steering along the probe, minus a random direction": (
        Key("steer", "the probe"),
        Key("steer", "a random direction"),
    ),
}
"""Those that are a row's recovered share minus another's."""


def table1_evidence(table: Table1, resamples: int) -> Evidence:
    """Quantities of table 1; intervals by resampling prompts or windows, paired between rows.

    What compares rows of a set of neurons that is absent (`Table1.absent`) is left out, and so are all shares
    of an effect on toxicity that DPO may not have.

    Raises:
        KeyError: a row is missing for no stated reason.
    """
    before, after = (table[table.named(key)].greedy for key in (BEFORE, AFTER))
    found = _perplexity_evidence(table, resamples)
    if not has_effect(before, after, resamples):
        return found

    def minus(a: str, b: str) -> Estimate:
        """The recovered share of one row minus that of another."""
        return estimate(
            lambda n, x, y, d: (y.mean(-1) - x.mean(-1)) / (n.mean(-1) - d.mean(-1)),
            *(before, table[a].greedy, table[b].greedy, after),
            resamples=resamples,
        )

    for quantity, key in ALONE.items():
        if name := table.named(key):
            found[quantity] = table.recovered(name, resamples)
    most = {LARGEST_BEYOND: _ablations(table)[-1]}
    for quantity, name in (most | {q: table.named(key) for q, key in BESIDE_DRAWS.items()}).items():
        if name in table.draws:  # there are none if `interventions.draws` is 0
            found[quantity] = table.beyond_draws(name, resamples)
    for quantity, keys in MINUS.items():
        names = [table.named(key) for key in keys]
        if all(names):
            found[quantity] = minus(*names)
    ablated = [table[name].greedy for name in _ablations(table)]
    found["best recovered share among ablations by cosine"] = largest(
        recovered_share, before, ablated, after, resamples=resamples
    )
    scaled = [table[name].greedy for name in _whole_scaled_keys(table)]
    if scaled:
        found["largest regained share of toxicity, at most at twice DPO's perplexity"] = largest(
            _regained_share, before, scaled, after, resamples=resamples
        )
    return found


def _ablations(table: Table1) -> list[str]:
    """The ablations of the most toxic neurons, the largest last."""
    ablated = table.rows[(table.rows["kind"] == "ablate") & table.rows["which"].str.endswith("toxic")]
    return ablated.sort_values("neurons", kind="stable")["name"].tolist()


def _whole_scaled_keys(table: Table1) -> list[str]:
    """The rows of scaled keys that leave the model able to write: perplexity at most twice DPO's."""
    names = table.rows.loc[table.rows["kind"] == "scale keys", "name"]
    limit = table[table.named(AFTER)].nll.mean() + np.log(2)
    return [name for name in names if table[name].nll.mean() <= limit]


def _perplexity_evidence(table: Table1, resamples: int) -> Evidence:
    """Ratios of perplexities on all text; neutral text may be chosen for lacking toxic words."""
    best = min(_ablations(table), key=lambda name: table[name].greedy.mean())
    two = {
        "perplexity on all text after DPO / before": (table.named(AFTER), table.named(BEFORE)),
        "perplexity on all text, best ablation / after DPO": (best, table.named(AFTER)),
        "perplexity on all text, largest ablation / after DPO": (_ablations(table)[-1], table.named(AFTER)),
        "perplexity on all text, hold control / before DPO": (
            table.named(Key("hold after the GELU", ALL_FOUR)),
            table.named(BEFORE),
        ),
    }
    return {
        quantity: estimate(
            lambda x, y: np.exp(x.mean(-1) - y.mean(-1)),
            *(table[name].nll for name in names),
            resamples=resamples,
            resampled=WINDOWS,
        )
        for quantity, names in two.items()
        if all(names)
    }


def _regained_share(none: np.ndarray, row: np.ndarray, dpo: np.ndarray) -> np.ndarray:
    """The share of DPO's effect that a row undoes."""
    return 1 - recovered_share(none, row, dpo)
