"""The paper's claims as rules over measured quantities, and the verdict on each.

1. A claim names one quantity and the range it must lie in; the ranges are fixed here, before any result.
2. `evidence` measures every quantity of a study with its 95 % interval; `published_evidence` takes the
   same quantities from the published numbers.
3. `judge` compares: a claim *holds* if the whole interval lies in the range, *does not hold* if the whole
   interval lies outside, and is *inconclusive* if the interval straddles an end of the range.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from dpotox.evaluation import Estimate, estimate
from dpotox.groups import REDUCING, gross_and_net, group_table
from dpotox.models import value_vectors
from dpotox.neurons import most_toxic, resampled_neuron_tables
from dpotox.published import NUMBERS, published_groups, published_neurons, published_table1
from scipy import stats

Evidence = dict[str, Estimate]


@dataclass(frozen=True)
class Claim:
    """A statement, the quantity it is about, and the open range in which the quantity must lie."""

    id: str
    statement: str
    quantity: str
    low: float
    high: float
    chapter: str
    source: str = "paper"  # or "ours"

    @property
    def rule(self) -> str:
        """The rule in words."""
        if self.low == -math.inf:
            return f"{self.quantity} < {self.high:g}"
        if self.high == math.inf:
            return f"{self.quantity} > {self.low:g}"
        return f"{self.low:g} < {self.quantity} < {self.high:g}"

    def verdict(self, found: Estimate | None) -> str:
        """`holds`, `does not hold` or `inconclusive`; the last also where nothing could be measured."""
        if found is None or not all(map(math.isfinite, (found.value, found.low, found.high))):
            return "inconclusive"
        if self.low < found.low and found.high < self.high:
            return "holds"
        if found.high <= self.low or found.low >= self.high:
            return "does not hold"
        return "inconclusive"


_DPO, _WHERE, _GROUPS, _TABLE1 = (
    "02_dpo",
    "03_where_dpo_writes",
    "04_four_groups",
    "05_ablation_versus_patching",
)
_ANY = math.inf

CLAIMS = [
    Claim(
        "dpo-reduces",
        "DPO lowers toxicity by at least a third",
        "toxicity after DPO / before",
        -_ANY,
        2 / 3,
        _DPO,
    ),
    Claim(
        "vectors-stay",
        "DPO hardly turns the value vectors; it works through activations",
        "median change of a value vector's cosine with the probe",
        -_ANY,
        0.01,
        _DPO,
    ),
    Claim(
        "few-fire",
        "Of the most toxic neurons, fewer than half are positively active before DPO",
        "positively active share of the top toxic neurons",
        -_ANY,
        0.5,
        _WHERE,
    ),
    Claim(
        "top-is-little",
        "Dampening the most toxic neurons is a small part of the gross reduction",
        "top toxic neurons' share of gross",
        -_ANY,
        0.25,
        _WHERE,
    ),
    Claim(
        "tp-is-a-minority",
        "Dampened toxic neurons (TP-) make up less than half of the gross reduction",
        "TP- share of gross",
        -_ANY,
        0.5,
        _GROUPS,
    ),
    Claim(
        "four-groups",
        "All four groups contribute to the gross reduction",
        "smallest group's share of gross",
        0.05,
        _ANY,
        _GROUPS,
    ),
    Claim(
        "anti-toxic-promoted",
        "Promoted anti-toxic neurons (AN- and AP+) carry a substantial share of the gross reduction",
        "AN- and AP+ share of gross",
        0.25,
        _ANY,
        _GROUPS,
    ),
    Claim(
        "many-go-wrong",
        "Many neurons move the wrong way: they undo more than half of the gross reduction",
        "increase / gross reduction",
        0.5,
        _ANY,
        _GROUPS,
    ),
    Claim(
        "change-ignores-toxicity",
        "How much an activation changes is unrelated to how toxic its value vector is",
        "correlation of activation change with cosine",
        -0.1,
        0.1,
        _GROUPS,
    ),
    Claim(
        "ablation-is-partial",
        "Ablating the most toxic neurons recovers less than three quarters of DPO's effect",
        "best ablation's recovered share",
        -_ANY,
        0.75,
        _TABLE1,
    ),
    Claim(
        "ablation-costs",
        "The largest ablation costs more perplexity than DPO does",
        "perplexity of the largest ablation / after DPO",
        1.0,
        _ANY,
        _TABLE1,
    ),
    Claim(
        "patching-tp-is-partial",
        "Patching all dampened toxic neurons recovers less than three quarters of DPO's effect",
        "recovered share of patching TP-",
        -_ANY,
        0.75,
        _TABLE1,
    ),
    Claim(
        "patching-four-is-more",
        "Patching all four groups recovers more than patching TP- alone",
        "recovered share of patching all four, minus TP- alone",
        0.0,
        _ANY,
        _TABLE1,
    ),
    Claim(
        "keys-undo-dpo",
        "Scaling the key vectors of the 7 most toxic neurons undoes more than half of DPO's effect",
        "largest regained share of toxicity",
        0.5,
        _ANY,
        _TABLE1,
    ),
    Claim(
        "clamping-harms",
        "Merely holding the four groups at their own means, unchanged, already raises perplexity",
        "perplexity of the hold control / before DPO",
        1.05,
        _ANY,
        _TABLE1,
        "ours",
    ),
    Claim(
        "attention-carries",
        "Attention, which the paper leaves out, carries over a third of the direct change",
        "attention's share of the residual stream's change",
        1 / 3,
        _ANY,
        _WHERE,
        "ours",
    ),
]


def judge(evidence: Evidence) -> pd.DataFrame:
    """The claims table: id, source, statement, the paper's value, the value here, rule, verdict, chapter."""
    published = published_evidence()
    rows = []
    for claim in CLAIMS:
        found, paper = evidence.get(claim.quantity), published.get(claim.quantity)
        rows.append(
            {
                "id": claim.id,
                "source": claim.source,
                "statement": claim.statement,
                "paper": paper.value if paper else None,
                "here": found.value if found else None,
                "low": found.low if found else None,
                "high": found.high if found else None,
                "rule": claim.rule,
                "verdict": claim.verdict(found),
                "chapter": claim.chapter,
            }
        )
    return pd.DataFrame(rows)


def evidence(study) -> Evidence:
    """Every claim's quantity measured in a study, with its 95 % interval."""
    return {
        **_neuron_evidence(study),
        **_table1_evidence(study.table1, study.profile.compute.bootstrap),
        **_residual_evidence(study.readings, study.profile.compute.bootstrap),
    }


def group_quantities(table: pd.DataFrame) -> dict[str, float]:
    """The quantities that follow from a group table."""
    gross, net = gross_and_net(table)
    share = table["share_of_gross"]
    return {
        "TP- share of gross": share["TP-"],
        "smallest group's share of gross": share[list(REDUCING)].min(),
        "AN- and AP+ share of gross": share["AN-"] + share["AP+"],
        "increase / gross reduction": (gross - net) / gross,
    }


def _neuron_quantities(neurons: pd.DataFrame, top: int) -> dict[str, float]:
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


def _neuron_evidence(study) -> Evidence:
    """Quantities of the neuron table; intervals by resampling chunks of prompts."""
    top, neurons = study.profile.interventions.figure_top, study.neurons
    found = _neuron_quantities(neurons, top)
    draws = pd.DataFrame(
        _neuron_quantities(table, top)
        for table in resampled_neuron_tables(
            study.readings.base.activation,
            study.readings.dpo.activation,
            value_vectors(study.base),
            value_vectors(study.dpo),
            study.probe.direction,
            draws=study.profile.compute.neuron_bootstrap,
            seed=study.seed,
        )
    )
    low, high = draws.quantile(0.025), draws.quantile(0.975)
    turned = float((neurons["post_cosine"] - neurons["cosine"]).abs().median())
    turn = Estimate(turned, turned, turned)  # a property of the weights: nothing is sampled
    return {name: Estimate(value, low[name], high[name]) for name, value in found.items()} | {
        "median change of a value vector's cosine with the probe": turn
    }


def _table1_evidence(table, resamples: int) -> Evidence:
    """Quantities of table 1; intervals by resampling prompts or windows, paired between rows."""
    before, after = table["before DPO"], table["after DPO"]
    kinds = table.rows.groupby("kind")["name"].apply(list)

    def recovered(name: str) -> Estimate:
        return table.recovered(name, resamples)

    def perplexity_ratio(a, b) -> Estimate:
        return estimate(lambda x, y: np.exp(x.mean(-1) - y.mean(-1)), a.nll, b.nll, resamples=resamples)

    largest = max(kinds["ablate"], key=lambda name: table.row(name)["neurons"])
    regained = max((recovered(name) for name in kinds["scale keys"]), key=lambda e: -e.value)
    found = {
        "toxicity after DPO / before": estimate(
            lambda a, b: a.mean(-1) / b.mean(-1), after.greedy, before.greedy, resamples=resamples
        ),
        "best ablation's recovered share": max(map(recovered, kinds["ablate"]), key=lambda e: e.value),
        "perplexity of the largest ablation / after DPO": perplexity_ratio(table[largest], after),
        "largest regained share of toxicity": Estimate(
            1 - regained.value, 1 - regained.high, 1 - regained.low
        ),
    }
    if "patch TP-" in table.results:
        found["recovered share of patching TP-"] = recovered("patch TP-")
        found["recovered share of patching all four, minus TP- alone"] = estimate(
            lambda n, four, one, d: (one.mean(-1) - four.mean(-1)) / (n.mean(-1) - d.mean(-1)),
            *(r.greedy for r in (before, table["patch all four groups"], table["patch TP-"], after)),
            resamples=resamples,
        )
    found["perplexity of the hold control / before DPO"] = perplexity_ratio(
        table["control: hold all four groups"], before
    )
    return found


def _residual_evidence(readings, resamples: int) -> Evidence:
    """How the change of the final residual stream along the probe divides between kinds of layers."""

    def change(field: str) -> np.ndarray:
        base, dpo = (getattr(r, field).sum(1).double().numpy() for r in (readings.base, readings.dpo))
        return base - dpo

    final = (readings.base.residual - readings.dpo.residual)[:, -1].double().numpy()
    share = estimate(
        lambda part, whole: part.mean(-1) / whole.mean(-1),
        change("attention"),
        final,
        resamples=resamples,
    )
    return {"attention's share of the residual stream's change": share}


def published_evidence() -> Evidence:
    """The same quantities from the published numbers, where these give them; no intervals are published."""
    groups, table = NUMBERS["groups"], published_table1()
    toxicity, perplexity = table["toxicity"], table["perplexity"]
    before, after = toxicity["gpt2: none"], toxicity["dpo: none"]
    ablations = [name for name in table.index if "ablate" in name]
    scaled = [name for name in table.index if "scale key" in name]
    neurons = published_neurons()
    values = group_quantities(published_groups()) | {
        "toxicity after DPO / before": after / before,
        "median change of a value vector's cosine with the probe": (
            (neurons["post_cosine"] - neurons["pre_cosine"]).abs().median()
        ),
        "positively active share of the top toxic neurons": groups["top_128_positive"] / 128,
        "top toxic neurons' share of gross": (groups["top_128_drop"] / gross_and_net(published_groups())[0]),
        "correlation of activation change with cosine": groups["pearson_change_with_cosine"],
        "best ablation's recovered share": (before - toxicity[ablations].min()) / (before - after),
        "perplexity of the largest ablation / after DPO": (
            perplexity["gpt2: ablate top 2000 positively activated toxic neurons"] / perplexity["dpo: none"]
        ),
        "recovered share of patching TP-": (
            before - toxicity["gpt2: patch all dampened toxic neurons to post-DPO levels"]
        )
        / (before - after),
        "largest regained share of toxicity": (toxicity[scaled].max() - after) / (before - after),
    }
    return {name: Estimate(*[float(value)] * 3) for name, value in values.items()}
