"""The quantities that the claims are about, measured in a study, each with its 95 % interval.

Each function needs only the steps of its own chapter, so that a notebook run alone makes no more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from dpotox.model.models import value_vectors
from dpotox.model.tracing import Reading
from dpotox.paper.evaluation import Estimate, estimate, recovered_share
from dpotox.paper.groups import gross_and_net, group_quantities, group_table, ratio
from dpotox.paper.neurons import most_toxic
from dpotox.paper.nulls import HEADLINE, NOISE, WITHOUT_LARGEST
from dpotox.paper.table1 import Table1

if TYPE_CHECKING:
    from dpotox.run.study import Study

Evidence = dict[str, Estimate]
FOUR = "all four groups"


def measure(study: Study, chapter: str) -> Evidence:
    """The quantities behind one chapter's claims; makes only the steps that the chapter needs."""
    resamples, top = study.profile.compute.bootstrap, study.profile.interventions.figure_top
    if chapter == "03_dpo":
        before, after = (study.toxicity[m].to_numpy() for m in ("base", "dpo"))
        vectors = (value_vectors(model) for model in (study.base, study.dpo))
        turned = 1 - torch.nn.functional.cosine_similarity(*vectors, dim=-1)
        return dpo_evidence(before, after, float(turned.median()), resamples)
    if chapter == "06_is_it_special":
        return null_evidence(study, resamples)
    if chapter in ("07_ablation_versus_patching", "08_controls"):
        return table1_evidence(study.table1, resamples)
    found = neuron_evidence(study.neurons, study.resampled_neuron_quantities, top)
    if chapter == "04_where_dpo_writes":
        found |= residual_evidence(study.readings.base, study.readings.dpo_on_base, resamples)
    return found


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


def neuron_quantities(neurons: pd.DataFrame, top: int) -> dict[str, float]:
    """The quantities that follow from a neuron table; `top` is the number of most toxic neurons."""
    table = group_table(neurons)
    toxic = most_toxic(neurons, top)
    dampened = toxic.loc[toxic["group"] == "TP-", "projection_drop"].sum()
    return group_quantities(table) | {
        "positively active share of the top toxic neurons": (toxic["pre_activation"] > 0).mean(),
        "top toxic neurons' share of gross": ratio(dampened, gross_and_net(table)[0]),
        "correlation of activation change with cosine": change_with_cosine(neurons),
        "part of the net reduction with value vectors held": moved_by_activations(neurons),
    }


def change_with_cosine(neurons: pd.DataFrame) -> float:
    """Pearson's correlation of the change in activation with the cosine; NaN where nothing changes."""
    change = neurons["activation_change"]
    return stats.pearsonr(change, neurons["cosine"]).statistic if np.ptp(change) else float("nan")


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
    return ratio(by_activation, neurons["projection_drop"].sum())


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


def null_evidence(study: Study, resamples: int) -> Evidence:
    """Where the shares stand among those of directions, trainings and readings with nothing to find."""
    values = study.comparisons.set_index(["comparison", "quantity"])
    probe = dict(values.loc[HEADLINE, "value"])
    random = study.other_directions.groupby("kind").get_group("random")
    shuffled = study.other_directions.groupby("kind").get_group("shuffled labels")
    found = {
        "random directions whose TP- share is larger": _rank(random, "TP- share of gross", probe),
        "shuffled-label probes whose TP- share is larger": _rank(shuffled, "TP- share of gross", probe),
        "random directions whose TP- share is larger, largest neuron of each left out": _rank(
            random, WITHOUT_LARGEST, probe
        ),
        "random directions whose net / gross is larger": _rank(random, "net / gross", probe),
        "gross of the noise / gross of DPO, both sampled": Estimate(
            *values.loc[(NOISE, "gross / DPO's, both sampled"), ["value", "low", "high"]]
        ),
    }
    if "shuffled" in study.placebos:
        before, after = (study.toxicity[m].to_numpy() for m in ("base", "dpo"))
        if has_effect(before, after, resamples):
            placebo = study.score(study.nulls.texts["shuffled"])
            found["placebo's share of DPO's effect on toxicity"] = estimate(
                recovered_share, before, placebo, after, resamples=resamples
            )
        found["TP- share after shuffled preferences, minus after DPO"] = Estimate(
            *values.loc[("shuffled preferences", "TP- share, minus DPO's"), ["value", "low", "high"]]
        )
    return found


def has_effect(before: np.ndarray, after: np.ndarray, resamples: int) -> bool:
    """Whether DPO surely lowers toxicity; of an effect that may be none, no share means anything."""
    return estimate(lambda a, b: a.mean(-1) - b.mean(-1), before, after, resamples=resamples).low > 0


def _rank(others: pd.DataFrame, quantity: str, probe: dict[str, float]) -> Estimate:
    """The share of other directions in which a quantity is larger than along the probe (Clopper, Pearson).

    NaN where it is not known along the probe, or along no other direction.
    """
    values = others[quantity].dropna()
    if values.empty or np.isnan(probe[quantity]):
        return Estimate(*[float("nan")] * 3)
    larger = stats.binomtest(int((values > probe[quantity]).sum()), len(values))
    low, high = larger.proportion_ci()
    return Estimate(larger.statistic, low, high)


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


def table1_evidence(table: Table1, resamples: int) -> Evidence:
    """Quantities of table 1; intervals by resampling prompts or windows, paired between rows.

    What compares rows that the profile leaves out is left out, and so are all shares of an effect on
    toxicity that DPO may not have.
    """
    before, after = table["before DPO"].greedy, table["after DPO"].greedy
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

    alone = {
        "recovered share of patching TP-": "patch TP-, newest only",
        "recovered share of copying TP-": "copy TP-",
        "recovered share of swapping the MLPs": "swap MLP in and MLP out",
    }
    beside_draws = {
        "largest ablation's recovered share, beyond random neurons": _ablations(table)[-1],
        "recovered share of shifting TP-, beyond random neurons": "shift TP-",
        "recovered share of shifting all four, beyond shifts dealt within groups": f"shift {FOUR}",
    }
    two = {
        "recovered share of patching TP-, minus holding it": (
            "patch TP- after the GELU",
            "hold TP- after the GELU",
        ),
        "recovered share of shifting all four, minus TP- alone": (f"shift {FOUR}", "shift TP-"),
        "recovered share of shifting the four groups, minus the other four": (
            f"shift {FOUR}, same text",
            "shift the other four groups, same text",
        ),
        "recovered share of steering along the probe, minus a random direction": tuple(
            name for name in table.rows["name"] if name.startswith("steer")
        )[-2:],
    }
    rows = set(table.results)
    found |= {q: table.recovered(name, resamples) for q, name in alone.items() if name in rows}
    found |= {q: table.beyond_draws(n, resamples) for q, n in beside_draws.items() if n in table.draws}
    found |= {q: minus(*names) for q, names in two.items() if set(names) <= rows}
    ablated = [table[name].greedy for name in _ablations(table)]
    found["best recovered share among ablations by cosine"] = estimate(
        _best_recovered_share, before, after, *ablated, resamples=resamples
    )
    scaled = [table[name].greedy for name in _whole_scaled_keys(table)]
    if scaled:
        found["largest regained share of toxicity, at most at twice DPO's perplexity"] = estimate(
            _largest_regained_share, before, after, *scaled, resamples=resamples
        )
    return found


def _ablations(table: Table1) -> list[str]:
    """The ablations of the most toxic neurons, the largest last."""
    ablated = table.rows[(table.rows["kind"] == "ablate") & table.rows["which"].str.endswith("toxic")]
    return ablated.sort_values("neurons", kind="stable")["name"].tolist()


def _whole_scaled_keys(table: Table1) -> list[str]:
    """The rows of scaled keys that leave the model able to write: perplexity at most twice DPO's."""
    names = table.rows.loc[table.rows["kind"] == "scale keys", "name"]
    limit = table["after DPO"].nll.mean() + np.log(2)
    return [name for name in names if table[name].nll.mean() <= limit]


def _perplexity_evidence(table: Table1, resamples: int) -> Evidence:
    """Ratios of perplexities on all text; neutral text may be chosen for lacking toxic words."""
    two = {
        "perplexity on all text, largest ablation / after DPO": (_ablations(table)[-1], "after DPO"),
        "perplexity on all text, hold control / before DPO": (f"hold {FOUR} after the GELU", "before DPO"),
    }
    return {
        quantity: estimate(
            lambda x, y: np.exp(x.mean(-1) - y.mean(-1)),
            *(table[name].nll for name in names),
            resamples=resamples,
        )
        for quantity, names in two.items()
        if set(names) <= set(table.results)
    }


def _largest_regained_share(none: np.ndarray, dpo: np.ndarray, *rows: np.ndarray) -> np.ndarray:
    """The largest share of DPO's effect that a row undoes, taken within each resample."""
    return np.max([1 - recovered_share(none, row, dpo) for row in rows], axis=0)


def _best_recovered_share(none: np.ndarray, dpo: np.ndarray, *rows: np.ndarray) -> np.ndarray:
    """The largest recovered share of several rows; taken within each resample, as the choice is random."""
    return np.max([recovered_share(none, row, dpo) for row in rows], axis=0)
