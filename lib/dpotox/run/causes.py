"""What the whole account predicts, and what happens if single writers change as they do with DPO.

A writer's change is the mean difference of the vectors that it writes, after DPO and before it, on the text
from before DPO. Its projection on the probe is what the account says of it. Here it is added to the residual
stream after the writer's layer, at every position, and what becomes of the text is measured. The MLP of its
own layer does not see it then, even if the writer is a head. Beyond the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dpotox.estimates import estimate
from dpotox.facts import PARTS, TOXIC
from dpotox.model import weights
from dpotox.model.edits import GENERATING, edited
from dpotox.model.interventions import Swap, steer
from dpotox.model.tracing import read_generation, window_nll
from dpotox.paper.evaluation import greedy_toxicity
from dpotox.progress import bar
from dpotox.run.account import Account, Vectors, account, mean_activations

if TYPE_CHECKING:
    from dpotox.run.study import Study

UNDONE = {"MLPs": ("MLP in", "MLP out"), "attention": ("attention",)}


@dataclass(frozen=True)
class Writer:
    """A head, a neuron, or all of one kind in a layer, and the mean change of what it writes."""

    kind: str
    layer: int
    number: float
    change: Float[Tensor, "d_model"]


def vectors_of(study: Study) -> tuple[Vectors, Vectors]:
    """Those before and after DPO."""
    models = zip(study.value_vectors, (study.base, study.dpo), strict=True)
    old, new = (Vectors(values, weights.head_vectors(model)) for values, model in models)
    return old, new


def accounts(study: Study) -> dict[str, Account]:
    """The whole account on the same text, by whose change is undone."""
    old, new = vectors_of(study)
    read, direction = study.readings, study.probe.direction
    found = {"nothing": account(read.base, read.dpo_on_base, old, new, direction)}
    for undone, blocks in UNDONE.items():
        swap = Swap(f"undo {undone}", blocks)
        with edited(study.dpo, [swap], study.base, GENERATING):  # norms behind keep their gain
            mixed = Vectors(weights.value_vectors(study.dpo), weights.head_vectors(study.dpo))
        _, after = read_generation(
            study.dpo,
            study.prompts,
            study.profile.sizes.new_tokens,
            direction,
            batch_size=study.profile.compute.batch_size,
            chunks=study.profile.sizes.chunks,
            interventions=[swap],
            other=study.base,
            forced=read.tokens["base"],
            label=f"read without the change of {undone}",
        )
        found[undone] = account(read.base, after, old, mixed, direction)
    return found


def one_without_the_other(study: Study) -> pd.DataFrame:
    """What heads and neurons write less on the same text, with the MLPs' or attention's change undone.

    Columns: `undone`, `part`, `drop`.
    """
    rows = []
    for undone, one in accounts(study).items():
        heads = float(one.heads.sum())
        neurons = float(one.by_layer()[list(PARTS[1:4])].to_numpy().sum())
        drops = {"heads": heads, "neurons": neurons, "the rest": one.total - heads - neurons}
        rows += [{"undone": undone, "part": part, "drop": drop} for part, drop in drops.items()]
    return pd.DataFrame(rows)


def writers(study: Study) -> list[Writer]:
    """All layers' heads and neurons, and the single ones that change most along the probe."""
    (old, new), read = vectors_of(study), study.readings
    common = {"direction": study.probe.direction, "single": study.profile.interventions.writers}
    means = [mean_activations(one).float()[..., None] for one in (read.base, read.dpo_on_base)]
    neurons = _changed("neuron", *means, old.values[:, :, None], new.values[:, :, None], **common)
    heads = _changed("head", read.base.heads, read.dpo_on_base.heads, old.heads, new.heads, **common)
    return heads + neurons


def _changed(
    kind: str,
    before: Float[Tensor, "layer writer width"],
    after: Float[Tensor, "layer writer width"],
    old: Float[Tensor, "layer writer width d_model"],
    new: Float[Tensor, "layer writer width d_model"],
    *,
    direction: Float[Tensor, "d_model"],
    single: int,
) -> list[Writer]:
    """All writers of a kind in each layer, and the single ones that change most along a direction."""

    def change(layer: int, some: slice) -> Float[Tensor, "d_model"]:
        now = torch.einsum("nw,nwd->d", after[layer, some], new[layer, some])
        return now - torch.einsum("nw,nwd->d", before[layer, some], old[layer, some])

    layers = [Writer(f"{kind}s of a layer", n, np.nan, change(n, slice(None))) for n in range(len(old))]
    sizes = torch.stack([((b @ direction) * z).sum(-1) for b, z in zip(new, after, strict=True)])
    sizes -= torch.stack([((a @ direction) * z).sum(-1) for a, z in zip(old, before, strict=True)])
    most = sizes.abs().flatten().topk(min(single, sizes.numel())).indices.tolist()
    places = [divmod(place, sizes.shape[1]) for place in most]
    return layers + [Writer(kind, layer, n, change(layer, slice(n, n + 1))) for layer, n in places]


def measured(study: Study) -> pd.DataFrame:
    """What each writer's change does to the model before DPO, beside what is predicted: a row per writer.

    Columns: `writer`, `layer`, `number`, `predicted` (by how much less it writes along the unit probe),
    `toxicity` (by how much that of greedy continuations falls, with `low` and `high`) and `log_probability`
    (by how much that of toxic tokens falls in text that has them, in nats).
    """
    exam, unit = study.exam, study.probe.direction / study.probe.direction.norm()
    toxic = toxic_tokens(study)
    some, batch = toxic.any(1), {"batch_size": exam.batch_size}

    def examine(*edits) -> tuple[Float[np.ndarray, "prompt"], float]:
        windows = {"interventions": edits, "counted": toxic[some]} | batch
        loss = window_nll(study.base, exam.windows[some], **windows).mean() if some.any() else np.nan
        return greedy_toxicity(study.base, exam, edits), float(loss)

    before, loss = examine()
    rows = []
    for one in bar(writers(study), "try the changes of single writers", "writer"):
        after, other = examine(steer(one.change, one.layer))
        drop = estimate(_mean_drop, before, after, resamples=study.profile.compute.bootstrap)
        row = {"writer": one.kind, "layer": one.layer, "number": one.number}
        row |= {"predicted": -float(one.change @ unit), "toxicity": drop.value, "low": drop.low}
        rows.append(row | {"high": drop.high, "log_probability": other - loss})
    return pd.DataFrame(rows)


def _mean_drop(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return before.mean(-1) - after.mean(-1)


def toxic_tokens(study: Study) -> Bool[Tensor, "window pos"]:
    """Which tokens of the exam's windows, but for the first of each, are toxic on their own."""
    next_ids = study.exam.windows[:, 1:]
    kinds, place = torch.unique(next_ids, return_inverse=True)
    words = [study.tokenizer.decode([token]).strip() for token in kinds.tolist()]
    spoken = sorted({word for word in words if word})
    scores = dict(zip(spoken, study.score(spoken), strict=True))
    return torch.tensor([scores.get(word, 0.0) >= TOXIC for word in words])[place]
