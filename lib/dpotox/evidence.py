"""The quantities that the claims are about, measured in a study, each with its 95 % interval.

Each function needs only the steps of its own chapter, so that a notebook run alone makes no more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from dpotox.evaluation import Estimate, Result, estimate, recovered_share
from dpotox.groups import REDUCING, gross_and_net, group_table
from dpotox.neurons import most_toxic
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
    if chapter == "06_ablation_versus_patching":
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


def group_quantities(table: pd.DataFrame) -> dict[str, float]:
    """The quantities that follow from a group table."""
    gross, net = gross_and_net(table)
    share = table["share_of_gross"]
    return {f"{group} share of gross": share[group] for group in REDUCING} | {
        "smallest group's share of gross": share[list(REDUCING)].min(),
        "AN- and AP+ share of gross": share["AN-"] + share["AP+"],
        "increase / gross reduction": (gross - net) / gross,
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


def table1_evidence(table: Table1, resamples: int) -> Evidence:
    """Quantities of table 1; intervals by resampling prompts or windows, paired between rows."""
    before, after = table["before DPO"], table["after DPO"]
    kinds = table.rows.groupby("kind")["name"].apply(list)
    recovered = {
        name: table.recovered(name, resamples)
        for kind in ("patch", "scale keys")
        for name in kinds.get(kind, [])
    }

    def perplexity_ratio(a: Result, b: Result) -> Estimate:
        return estimate(lambda x, y: np.exp(x.mean(-1) - y.mean(-1)), a.nll, b.nll, resamples=resamples)

    ablations = [table[name].greedy for name in kinds["ablate"]]
    largest = max(kinds["ablate"], key=lambda name: table.row(name)["neurons"])
    least = min((recovered[name] for name in kinds["scale keys"]), key=lambda e: e.value)
    found = {
        "best ablation's recovered share": estimate(
            _best_recovered_share, before.greedy, after.greedy, *ablations, resamples=resamples
        ),
        "perplexity of the largest ablation / after DPO": perplexity_ratio(table[largest], after),
        "largest regained share of toxicity": Estimate(1 - least.value, 1 - least.high, 1 - least.low),
        "perplexity of the hold control / before DPO": perplexity_ratio(
            table["control: hold all four groups"], before
        ),
    }
    if "patch TP-" in recovered:
        found["recovered share of patching TP-"] = recovered["patch TP-"]
        found["recovered share of shifting all four, minus TP- alone"] = estimate(
            lambda n, four, one, d: (one.mean(-1) - four.mean(-1)) / (n.mean(-1) - d.mean(-1)),
            *(r.greedy for r in (before, table["shift all four groups"], table["shift TP-"], after)),
            resamples=resamples,
        )
    return found


def _best_recovered_share(none: np.ndarray, dpo: np.ndarray, *rows: np.ndarray) -> np.ndarray:
    """The largest recovered share of several rows; taken within each resample, as the choice is random."""
    return np.max([recovered_share(none, row, dpo) for row in rows], axis=0)
