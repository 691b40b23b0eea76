"""What lies on the straight way from the weights before DPO to those after it, and where DPO changes a text.

Every parameter is W + a (W' - W), with W before and W' after DPO: a = 0 is the model before, a = 1 the one
after, between them is a part of the way, beyond 1 more than DPO, below 0 the other way. And token by token,
how far what the model after DPO would write diverges from what the one before would. Beyond the paper.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from nnsight import TransformersModel
from torch import Tensor

from dpotox.estimates import Estimate, estimate, has_effect, mean, perplexity, recovered_share, unknown
from dpotox.facts import AFTER_TEXT, BEFORE_TEXT, FIRST, LAST, RATIO
from dpotox.model import architecture, weights
from dpotox.model.tracing import read_generation, window_nll
from dpotox.paper import groups
from dpotox.paper.evaluation import greedy_toxicity
from dpotox.paper.neurons import neuron_table
from dpotox.run.artifacts import PARTS, part
from dpotox.run.beside import divergence
from dpotox.run.kept import TENSOR, TENSORS
from dpotox.run.workers import share_out

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from dpotox.run.study import Study

TEXTS = {BEFORE_TEXT: "base", AFTER_TEXT: "dpo"}
"""The texts on which the models are compared token by token, and which model wrote each."""
SHARES = {"net": "net / gross"} | {group: f"{group} share of gross" for group in groups.REDUCING}
"""What of a neuron table is kept, by what the results call it."""


def stops(study: Study) -> list[float]:
    """The values of a for which a network is made: all but the two ends, which there are."""
    return sorted({*study.profile.beyond.along} - {0.0, 1.0})


@torch.no_grad()
def blend(into: PreTrainedModel, before: TransformersModel, after: TransformersModel, a: float) -> None:
    """Give a third network the parameters W + a (W' - W), computed in float32; the two stay as they are."""
    pairs = zip(before.parameters(), after.parameters(), strict=True)
    for mixed, (old, new) in zip(into.parameters(), pairs, strict=True):
        mixed.copy_(torch.lerp(old.float(), new.to(old.device, torch.float32), a))


def on_the_way(study: Study, a: float) -> TransformersModel:
    """The model at a, ready for tracing.

    Gated neurons of both ends are turned by the same signs (`architecture.turn`), and so they are here.
    """
    network = study.base_network(study.profile.compute)
    blend(network, study.base, study.dpo, a)
    return architecture.traced(network, study.tokenizer)


def examined(study: Study, a: float) -> dict[str, Tensor]:
    """What the model at a is like: `toxicity` by prompt, `nll` by neutral window, and `SHARES`."""
    model, exam = on_the_way(study, a), study.exam
    neutral = exam.windows[torch.from_numpy(exam.neutral)]
    _, read = read_generation(
        model,
        study.prompts,
        exam.new_tokens,
        study.probe.direction,
        batch_size=exam.batch_size,
        chunks=study.profile.sizes.chunks,
        forced=study.readings.tokens["base"],
        label=f"read at a = {a:g}",
    )
    return {
        "toxicity": torch.from_numpy(greedy_toxicity(model, exam, [])),
        "nll": window_nll(model, neutral, batch_size=exam.batch_size).double(),
        "shares": divided(study, read.activation.mean(0), weights.value_vectors(model)),
    }


def divided(
    study: Study,
    activation: Float[Tensor, "layer neuron"],
    values: Float[Tensor, "layer neuron d_model"],
) -> Float[Tensor, "share"]:
    """`SHARES` of the change from before DPO to these activations, on the same text, and value vectors."""
    before = study.readings.base.activation.mean(0)
    vectors = study.base_values, values, study.probe.direction
    found = groups.quantities(neuron_table(before, activation, *vectors, gated=study.gated))
    return torch.tensor([found[name] for name in SHARES.values()], dtype=torch.float64)


def at_an_end(study: Study, a: int) -> dict[str, Tensor]:
    """The same of the model before (0) or after (1) DPO, which have been examined and read."""
    result = list(study.outcomes.values())[a]
    fewer = min(study.exam.fewer_prompts, len(study.prompts))
    read = (study.readings.base, study.readings.dpo_on_base)[a]
    return {
        "toxicity": torch.from_numpy(result.greedy[:fewer]),
        "nll": torch.from_numpy(result.neutral_nll),
        "shares": divided(study, read.activation.mean(0), study.value_vectors[a]),
    }


def gone(study: Study, folder: Path) -> dict[str, Tensor]:
    """Every stop and both ends in their order: `a`, and what is `examined`; and the divergence by `TEXTS`."""
    between, parts = stops(study), folder / PARTS
    share_out(study, partial(jobs, folder=parts), len(between) + len(TEXTS), "along the way", "stop or text")
    found = {float(a): at_an_end(study, a) for a in (0, 1)}
    found |= {a: TENSORS.read(parts / f"stop{i:02}") for i, a in enumerate(between)}
    kept = {name: torch.stack([found[a][name] for a in sorted(found)]) for name in found[0.0]}
    kept["a"] = torch.tensor(sorted(found), dtype=torch.float64)
    return kept | {name: TENSOR.read(parts / name) for name in TEXTS.values()}


def jobs(study: Study, folder: Path) -> Callable[[int], None]:
    """What makes one stop, or compares the models on one text, by its number, and keeps it as a part."""
    named = [(f"stop{i:02}", TENSORS, partial(examined, study, a)) for i, a in enumerate(stops(study))]
    batch = {"batch_size": study.profile.compute.batch_size}
    for text in TEXTS.values():
        given = study.dpo, study.base, study.prompts, study.readings.tokens[text]
        named.append((text, TENSOR, partial(divergence, *given, **batch)))

    def make(number: int) -> None:
        name, kept, job = named[number]
        part(folder / name, kept, job)

    return make


# The tables


def along(study: Study) -> pd.DataFrame:
    """A row for each a: `toxicity`, its `rise`, the part `recovered`, `perplexity`, `SHARES`."""
    found, resamples = study.along, study.profile.compute.bootstrap
    toxicity, values, rows = found["toxicity"].numpy(), found["a"].tolist(), []
    before, after = (toxicity[values.index(a)] for a in (0.0, 1.0))
    sure = has_effect(before, after, resamples)
    for a, here, nll, shares in zip(
        values, toxicity, found["nll"].numpy(), found["shares"].numpy(), strict=True
    ):
        common = {"resamples": resamples}
        row = {"a": a} | _with_ends("toxicity", estimate(mean, here, **common))
        row |= _with_ends("rise", estimate(_difference, here, before, **common))
        effect = estimate(recovered_share, before, here, after, **common) if sure else unknown(np.nan, "")
        row |= _with_ends("recovered", effect) | _with_ends("perplexity", estimate(perplexity, nll, **common))
        rows.append(row | dict(zip(SHARES, shares, strict=True)))
    return pd.DataFrame(rows)


def _difference(
    one: Float[np.ndarray, "*draw prompt"], other: Float[np.ndarray, "*draw prompt"]
) -> np.ndarray:
    return one.mean(-1) - other.mean(-1)


def kl_by_token(study: Study) -> pd.DataFrame:
    """The mean divergence over prompts at each new token: `text`, `token` from 1, `kl` in nats."""
    tables = []
    for text, name in TEXTS.items():
        kl = study.along[name].double().mean(0).numpy()
        tables.append(pd.DataFrame({"text": text, "token": np.arange(1, len(kl) + 1), "kl": kl}))
    return pd.concat(tables, ignore_index=True)


def kl_quarters(study: Study) -> pd.DataFrame:
    """The mean divergence over the first and the last quarter of the tokens, and the first over the last."""
    rows, resamples = [], study.profile.compute.bootstrap
    for text, name in TEXTS.items():
        first, last = quarters(study.along[name].double().numpy())
        asked = {FIRST: (mean, first), LAST: (mean, last), RATIO: (_ratio, first, last)}
        for which, samples in asked.items():
            found = estimate(*samples, resamples=resamples)
            ends = {"value": found.value, "low": found.low, "high": found.high}
            rows.append({"text": text, "part": which} | ends)
    return pd.DataFrame(rows)


def quarters(
    kl: Float[np.ndarray, "prompt new_token"],
) -> tuple[Float[np.ndarray, "prompt"], Float[np.ndarray, "prompt"]]:
    """Each prompt's mean over the first and over the last quarter of the tokens, at least one of them."""
    size = max(1, kl.shape[1] // 4)
    return kl[:, :size].mean(1), kl[:, -size:].mean(1)


def _ratio(one: Float[np.ndarray, "*draw prompt"], other: Float[np.ndarray, "*draw prompt"]) -> np.ndarray:
    return one.mean(-1) / other.mean(-1)


def _with_ends(name: str, found: Estimate) -> dict[str, float]:
    """An estimate as columns."""
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
