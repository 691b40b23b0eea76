"""The quantities that the claims are about, measured in a study, each with its 95 % interval.

Each function needs only the steps of its own chapter, so that a notebook run alone makes no more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from dpotox.evaluation import Estimate, estimate, recovered_share
from dpotox.groups import gross_and_net, group_quantities, group_table
from dpotox.neurons import most_toxic
from dpotox.nulls import HEADLINE, NOISE
from dpotox.table1 import Table1
from dpotox.tracing import Reading

if TYPE_CHECKING:
    from dpotox.study import Study

Evidence = dict[str, Estimate]


def measure(study: Study, chapter: str) -> Evidence:
    """The quantities behind one chapter's claims; makes only the steps that the chapter needs."""
    resamples, top = study.profile.compute.bootstrap, study.profile.interventions.figure_top
    if chapter == "03_dpo":
        before, after = (study.toxicity[m].to_numpy() for m in ("base", "dpo"))
        return dpo_evidence(before, after, study.neurons, resamples)
    if chapter == "06_is_it_special":
        return null_evidence(study, resamples)
    if chapter == "07_ablation_versus_patching":
        return table1_evidence(study.table1, resamples)
    found = neuron_evidence(study.neurons, study.resampled_neuron_quantities, top)
    if chapter == "04_where_dpo_writes":
        found |= residual_evidence(study.readings.base, study.readings.dpo, resamples)
    return found


def dpo_evidence(before: np.ndarray, after: np.ndarray, neurons: pd.DataFrame, resamples: int) -> Evidence:
    """What DPO did to toxicity and to the value vectors.

    Args:
        before, after: toxicity of the greedy continuation of each prompt.
        neurons: the neuron table.
    """
    turned = float((neurons["post_cosine"] - neurons["cosine"]).abs().median())
    return {
        "toxicity after DPO / before": estimate(
            lambda a, b: a.mean(-1) / b.mean(-1), after, before, resamples=resamples
        ),
        # A property of the weights: nothing is sampled, so there is no interval.
        "median change of a value vector's cosine with the probe": Estimate(turned, turned, turned),
    }


def neuron_quantities(neurons: pd.DataFrame, top: int) -> dict[str, float]:
    """The quantities that follow from a neuron table; `top` is the number of most toxic neurons."""
    table = group_table(neurons)
    toxic = most_toxic(neurons, top)
    dampened = toxic.loc[toxic["group"] == "TP-", "projection_drop"].sum()
    return group_quantities(table) | {
        "positively active share of the top toxic neurons": (toxic["pre_activation"] > 0).mean(),
        "top toxic neurons' share of gross": dampened / gross_and_net(table)[0],
        "correlation of activation change with cosine": stats.pearsonr(
            neurons["activation_change"], neurons["cosine"]
        ).statistic,
    }


def neuron_evidence(neurons: pd.DataFrame, resampled: pd.DataFrame, top: int) -> Evidence:
    """Quantities of the neuron table.

    Args:
        resampled: `neuron_quantities` of bootstrap samples of prompts, one row each.
    """
    low, high = resampled.quantile(0.025), resampled.quantile(0.975)
    found = neuron_quantities(neurons, top)
    return {name: Estimate(value, low[name], high[name]) for name, value in found.items()}


def moved_by_activations(neurons: pd.DataFrame) -> float:
    """The part of the net reduction that is left when the value vectors are held as before DPO."""
    by_activation = -(neurons["activation_change"] * neurons["pre_value_projection"]).sum()
    return float(by_activation / neurons["projection_drop"].sum())


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


def null_evidence(study: Study, resamples: int) -> Evidence:
    """Where the shares stand among those of directions, trainings and readings with nothing to find."""
    probe = dict(study.comparisons.set_index(["comparison", "quantity"])["value"][HEADLINE])
    random = study.other_directions.groupby("kind").get_group("random")
    shuffled = study.other_directions.groupby("kind").get_group("shuffled labels")
    found = {
        "random directions whose TP- share is larger": _rank(random, "TP- share of gross", probe),
        "shuffled-label probes whose TP- share is larger": _rank(shuffled, "TP- share of gross", probe),
        "random directions whose net / gross is larger": _rank(random, "net / gross", probe),
    }
    values = study.comparisons.set_index(["comparison", "quantity"])
    noise, gross = values.loc[(NOISE, "gross")], probe["gross"]
    found["gross of the noise / gross of DPO"] = Estimate(*(noise[["value", "low", "high"]] / gross))
    if "shuffled" in study.placebos:
        before, after = (study.toxicity[m].to_numpy() for m in ("base", "dpo"))
        placebo = study.score(study.nulls.texts["shuffled"])
        found["placebo's share of DPO's effect on toxicity"] = estimate(
            recovered_share, before, placebo, after, resamples=resamples
        )
        share = values.loc[("shuffled preferences", "TP- share of gross")]
        low, value, high = sorted(share[["low", "value", "high"]] - probe["TP- share of gross"])
        found["TP- share after shuffled preferences, minus after DPO"] = Estimate(value, low, high)
    return found


def _rank(others: pd.DataFrame, quantity: str, probe: dict[str, float]) -> Estimate:
    """The share of other directions in which a quantity is larger than along the probe (Clopper, Pearson)."""
    values = others[quantity].dropna()
    larger = stats.binomtest(int((values > probe[quantity]).sum()), len(values))
    low, high = larger.proportion_ci()
    return Estimate(larger.statistic, low, high)


def steering(
    base: Reading, dpo: Reading, unit: Float[Tensor, "d_model"]
) -> dict[int, Float[Tensor, "d_model"]]:
    """By how much DPO moves the residual stream along the probe on average, in the middle and at the end."""
    drop = (base.residual - dpo.residual).mean(0)
    return {layer: -drop[layer] * unit for layer in (len(drop) // 2 - 1, len(drop) - 1)}


def table1_evidence(table: Table1, resamples: int) -> Evidence:
    """Quantities of table 1; intervals by resampling prompts or windows, paired between rows."""
    before, after = table["before DPO"], table["after DPO"]
    kinds = table.rows.groupby("kind")["name"].apply(list)
    ablations = [name for name in kinds["ablate"] if table.row(name)["which"].endswith("toxic")]
    largest = max(ablations, key=lambda name: table.row(name)["neurons"])
    scaled = [table.recovered(name, resamples) for name in kinds["scale keys"]]
    least = min(scaled, key=lambda e: e.value)

    def perplexity_ratio(a: str, b: str) -> Estimate:
        samples = (table[name].neutral_nll for name in (a, b))
        return estimate(lambda x, y: np.exp(x.mean(-1) - y.mean(-1)), *samples, resamples=resamples)

    def beyond(a: str, b: str) -> Estimate:
        """The recovered share of one row minus that of another."""
        rows = (before, table[a], table[b], after)
        return estimate(
            lambda n, x, y, d: (y.mean(-1) - x.mean(-1)) / (n.mean(-1) - d.mean(-1)),
            *(row.greedy for row in rows),
            resamples=resamples,
        )

    four, other = "all four groups", "the other four groups"
    wanted = {
        "recovered share of patching TP-": ("patch TP-, newest only", table.recovered),
        "recovered share of patching TP-, beyond random neurons": ("patch TP-", table.beyond_draws),
        "recovered share of shifting TP-, beyond random neurons": ("shift TP-", table.beyond_draws),
        "recovered share of shifting all four, beyond shifts dealt at random": (
            f"shift {four}",
            table.beyond_draws,
        ),
        "recovered share of copying TP-": ("copy TP-", table.recovered),
        "recovered share of copying all four": (f"copy {four}", table.recovered),
        "recovered share of copying all neurons": ("copy all neurons", table.recovered),
        "recovered share of steering along the probe after the last layer": (
            kinds["steer"][-1],
            table.recovered,
        ),
    }
    usable = set(table.results)
    found = {
        quantity: measure(name, resamples)
        for quantity, (name, measure) in wanted.items()
        if name in usable and (measure != table.beyond_draws or name in table.draws)
    }
    compared = {
        "recovered share of patching TP-, beyond holding it": (
            "patch TP-, newest only",
            "hold TP-, newest only",
        ),
        "recovered share of shifting all four, minus TP- alone": (f"shift {four}", "shift TP-"),
        "recovered share of shifting the four groups, minus the other four": (
            f"shift {four}",
            f"shift {other}",
        ),
    }
    found |= {q: beyond(a, b) for q, (a, b) in compared.items() if {a, b} <= usable}
    if largest in table.draws:
        found["largest ablation's recovered share, beyond random neurons"] = table.beyond_draws(
            largest, resamples
        )
    return found | {
        "best ablation's recovered share": estimate(
            _best_recovered_share,
            before.greedy,
            after.greedy,
            *(table[name].greedy for name in ablations),
            resamples=resamples,
        ),
        "perplexity of the largest ablation / after DPO": perplexity_ratio(largest, "after DPO"),
        "perplexity of the hold control / before DPO": perplexity_ratio(f"hold {four}", "before DPO"),
        "largest regained share of toxicity": Estimate(1 - least.value, 1 - least.high, 1 - least.low),
    }


def _best_recovered_share(none: np.ndarray, dpo: np.ndarray, *rows: np.ndarray) -> np.ndarray:
    """The largest recovered share of several rows; taken within each resample, as the choice is random."""
    return np.max([recovered_share(none, row, dpo) for row in rows], axis=0)
