"""The offset of Lee et al. (arXiv 2401.01967): by what DPO moves what every MLP reads, and what that does.

The change of what enters a neuron's GELU, in the mean over the same text, divides exactly into what the shift
of the MLP's input does, what the turn of the key does, and the change of the bias:

    k' x' + b' - (k x + b) = k (x' - x) + (k' - k) x' + (b' - b)

with the key k, the mean input x and the bias b before DPO and, primed, after it. The shift x' - x divides
among those who write to the residual stream, once the norm before the MLP is held as it is before DPO.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from dpotox.estimates import Estimate, Evidence, around, estimate, has_effect
from dpotox.facts import placebos
from dpotox.model.architecture import architecture_of, gain
from dpotox.model.interventions import shift
from dpotox.model.streams import read_streams
from dpotox.model.weights import key_biases, key_vectors
from dpotox.paper.groups import REDUCING
from dpotox.paper.rows import AFTER, BEFORE, OFFSET_ROWS, Draws, Key
from dpotox.paper.selections import EVERYTHING, matched, most_toxic, neurons_of
from dpotox.paper.table1 import Table1

if TYPE_CHECKING:
    from dpotox.run.study import Study

PARTS = ("upstream", "key", "bias")
LIKE_THESE = "random neurons like these"
UPSTREAM = "part of the change of what enters the GELUs that the shift upstream makes"
ATTENTION = "attention's part of the shift upstream, as the top toxic neurons read it"
GONE = "part of DPO's effect gone without the offset, beyond random vectors"
TOGETHER = "recovered share of swapping attention and the MLPs, minus those of each alone"
MATCHED, DRAWS = 20, 10
"""How often random neurons are drawn beside toxic ones, and at most random vectors beside the shift."""


class Weights(NamedTuple):
    """What MLPs read with, in two networks, and gain and kind of the norm before them in the first."""

    keys: Float[Tensor, "model layer neuron d_model"]
    biases: Float[Tensor, "model layer neuron"]
    gain: Float[Tensor, "layer d_model"]
    centred: bool = True


def weights_of(before, after) -> Weights:
    """Those of two networks."""
    keys, biases = (torch.stack([take(m) for m in (before, after)]) for take in (key_vectors, key_biases))
    gains = torch.stack([gain(before, layer.mlp_norm).float().cpu() for layer in before.layers])
    return Weights(keys, biases, gains, architecture_of(before.config).centred)


@dataclass(frozen=True)
class Offset:
    """What the MLPs of two models read in the mean over the same text, beside their weights.

    `written` is by how much more each writer has written after than before, through the norm as it divides
    before (`dpotox.model.streams`); None where it was not read.
    """

    before: Float[Tensor, "layer d_model"]
    after: Float[Tensor, "layer d_model"]
    written: Float[Tensor, "layer writer d_model"] | None
    weights: Weights

    @property
    def shift(self) -> Float[Tensor, "layer d_model"]:
        """By how much what each layer's MLP reads has moved."""
        return self.after - self.before

    @cached_property
    def parts(self) -> Float[Tensor, "part layer neuron"]:
        """The change of what enters every GELU in its `PARTS`, which add up to it."""
        (old, new), (bias, then) = self.weights.keys, self.weights.biases
        return torch.stack([read(old, self.shift), read(new - old, self.after), then - bias])

    @cached_property
    def through_norm(self) -> Float[Tensor, "layer writer d_model"]:
        """The shift divided among its writers, and last what the norm itself does otherwise after DPO.

        That last part is exactly what holding the norm as it is before DPO leaves out: its weights are others
        then, and it divides each token by another scale.
        """
        mean = self.written.mean(-1, keepdim=True) if self.weights.centred else 0.0
        through = self.weights.gain[:, None] * (self.written - mean)
        return torch.cat([through, (self.shift - through.sum(1))[:, None]], 1)


def offset_of(
    streams: dict[str, Float[Tensor, "chunk layer *some"]],
    weights: Weights,
    model: str = "dpo",
    chunks: Float[Tensor, "chunk"] | None = None,
) -> Offset:
    """The offset of a model that was read (`Study.streams`); chunks may have weights of sum one."""

    def mean(name: str) -> Tensor | None:
        if name not in streams:
            return None
        return streams[name].mean(0) if chunks is None else torch.einsum("c,c...->...", chunks, streams[name])

    return Offset(mean("base"), mean(model), mean(f"{model} written"), weights)


def of_dpo(study: Study) -> Offset:
    """By how much DPO moves what the MLPs read."""
    return offset_of(study.streams, weights_of(study.base, study.dpo))


def streams_of(study: Study) -> dict[str, Tensor]:
    """What every MLP reads on the text from before DPO, by model, `(chunk, layer, d_model)`.

    And as `dpo written` `(chunk, layer, writer, d_model)`, by how much more each writer writes after DPO.
    """
    read_by = partial(
        read_streams,
        prompts=study.prompts,
        tokens=study.readings.tokens["base"],
        batch_size=study.profile.compute.batch_size,
        chunks=study.profile.sizes.chunks,
    )
    base = read_by(study.base)
    dpo = read_by(study.dpo, scale=base.scale)
    others = {kind: read_by(study.placebo(kind)).entering for kind in placebos(study.profile)}
    written = {"dpo written": dpo.written - base.written}
    return {"base": base.entering, "dpo": dpo.entering} | written | others


def read(
    keys: Float[Tensor, "layer neuron d_model"], vectors: Float[Tensor, "layer *some d_model"]
) -> Float[Tensor, "*some layer neuron"]:
    """The product of every key with each of its layer's vectors."""
    return torch.einsum("lnd,l...d->...ln", keys, vectors)


def share(part: Float[Tensor, "*part neuron"], whole: Float[Tensor, "neuron"]) -> Float[Tensor, "*part"]:
    """What a part makes of the whole's sum of squares over neurons; the shares of all parts add up to one.

    It is the slope of the line through zero that is fitted to the part over the whole.
    """
    return (part * whole).sum(-1) / whole.square().sum()


def like_random(offset: Offset) -> Float[Tensor, "layer neuron"]:
    """How far a random direction of the shift's length moves what enters each GELU, root mean square."""
    lengths = offset.shift.norm(dim=-1, keepdim=True) / offset.shift.shape[1] ** 0.5
    return offset.weights.keys[0].norm(dim=-1) * lengths


# Tables


def per_neuron(study: Study) -> pd.DataFrame:
    """The change of what enters every GELU on the same text, and the shift's part of it: a row per neuron."""
    offset = study.offset
    change, upstream = offset.parts.sum(0), offset.parts[0]
    layer, neuron = np.indices(change.shape).reshape(2, -1)
    values = {"change": change, "upstream": upstream, "random": like_random(offset)}
    flat = {name: some.flatten().double().numpy() for name, some in values.items()}
    return pd.DataFrame({"layer": layer, "neuron": neuron} | flat)


def sets_of(neurons: pd.DataFrame, top: int, seed: int) -> dict[str, pd.DataFrame]:
    """All neurons, the most toxic, random ones like these (`MATCHED` draws of them), and the four groups."""
    rng, toxic = np.random.default_rng(seed), most_toxic(neurons, top)
    found = {EVERYTHING: neurons, f"top {top} toxic": toxic}
    rest = neurons.drop(toxic.index)["layer"].value_counts()
    if toxic["layer"].value_counts().le(rest, fill_value=0).all():  # else some would have to be drawn twice
        found[LIKE_THESE] = pd.concat([matched(neurons, toxic, rng) for _ in range(MATCHED)])
    found |= {group: neurons_of(neurons, group) for group in REDUCING}
    return {which: some for which, some in found.items() if len(some)}


def by_set(offset: Offset, sets: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """For each set of neurons the change of what enters their GELUs, and what its parts make of it."""
    flat, random = offset.parts.flatten(1).double(), like_random(offset).flatten().double()
    rows = []
    for which, chosen in sets.items():
        parts, beside = flat[:, chosen.index], random[chosen.index]
        change = parts.sum(0)
        row = {"change": change.mean(), "upstream_change": parts[0].mean(), "size": _size(change)}
        row |= dict(zip(PARTS, share(parts, change), strict=True))
        row |= {
            "left": _size(change - parts[0]) / _size(change),
            "times_random": _size(parts[0]) / _size(beside),
        }
        named = {"which": which, "neurons": chosen.index.nunique()}
        rows.append(named | {name: float(value) for name, value in row.items()})
    return pd.DataFrame(rows)


def _size(values: Float[Tensor, "neuron"]) -> Float[Tensor, ""]:
    return values.square().mean().sqrt()


def by_writer(offset: Offset, sets: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """For each set of neurons, what each writer's part makes of the shift that they read."""
    read_of = read(offset.weights.keys[0], offset.through_norm).flatten(1).double()
    depth = len(offset.before)
    layers = chain.from_iterable((("attention", layer), ("MLP", layer)) for layer in range(depth))
    writers = [("embeddings", np.nan), *layers, ("norm", np.nan)]
    tables = []
    for which, chosen in sets.items():
        parts = read_of[:, chosen.index]
        table = pd.DataFrame(writers, columns=["writer", "layer"]).astype({"layer": float})
        table = table.assign(share=share(parts, parts.sum(0)).numpy(), mean=parts.mean(1).numpy())
        tables.append(table.assign(which=which))
    return pd.concat(tables, ignore_index=True)[["which", "writer", "layer", "share", "mean"]]


def by_layer(study: Study) -> pd.DataFrame:
    """For each layer the length of its MLP's mean input, of the shift, and of what the norm does of that."""
    offset = study.offset
    lengths = {"input": offset.before, "shift": offset.shift, "norm": offset.through_norm[:, -1]}
    table = pd.DataFrame({name: vectors.norm(dim=-1).double().numpy() for name, vectors in lengths.items()})
    return table.rename_axis("layer").reset_index()


def in_every_training(study: Study) -> pd.DataFrame:
    """Sets of neurons after DPO and after the placebos: `comparison` and `by_set`."""
    sets = _sets_of_study(study)
    tables = [by_set(study.offset, sets).assign(comparison="DPO")]
    for kind in placebos(study.profile):
        moved = offset_of(study.streams, weights_of(study.base, study.placebo(kind)), kind)
        tables.append(by_set(moved, sets).assign(comparison=f"{kind} preferences"))
    return pd.concat(tables, ignore_index=True)


def writers_of_sets(study: Study) -> pd.DataFrame:
    """Who makes the shift that sets of neurons read (`by_writer`)."""
    return by_writer(study.offset, _sets_of_study(study))


def _sets_of_study(study: Study) -> dict[str, pd.DataFrame]:
    return sets_of(study.neurons, study.profile.interventions.figure_top, study.seed)


# What is edited


def pushes(offset: Offset, neurons: pd.DataFrame) -> dict[str, pd.Series]:
    """What the shift adds to what enters each GELU before DPO, and what its removal adds after."""
    before, after = (read(keys, offset.shift) for keys in offset.weights.keys)
    return {m: _over(some, neurons) for m, some in zip(OFFSET_ROWS, (before, -after), strict=True)}


def random_draws(offset: Offset, neurons: pd.DataFrame, draws: int, seed: int) -> list[Draws]:
    """The same edits of all neurons with random vectors, in each layer as long as the shift."""
    generator, lengths = torch.Generator().manual_seed(seed), offset.shift.norm(dim=-1, keepdim=True)
    found = []
    for keys, (model, kind) in zip(offset.weights.keys, OFFSET_ROWS.items(), strict=True):
        edits = []
        for _ in range(min(draws, DRAWS)):
            random = torch.randn(offset.shift.shape, generator=generator)
            by = read(keys, lengths * random / random.norm(dim=-1, keepdim=True))
            edits.append(shift(neurons, _over(by, neurons), site="gelu_input"))
        found.append(Draws("random vectors of its length", f"{kind}, {EVERYTHING}", tuple(edits), model))
    return found if draws else []


def _over(values: Float[Tensor, "layer neuron"], neurons: pd.DataFrame) -> pd.Series:
    return pd.Series(values.flatten().numpy(), index=neurons.index)


# Evidence


def offset_evidence(
    streams: dict[str, Tensor], weights: Weights, toxic: pd.DataFrame, draws: int, seed: int
) -> Evidence:
    """What the shift upstream makes of the neurons' change, and attention of what toxic neurons read of it.

    Intervals by resampling chunks of prompts.
    """

    def quantities(offset: Offset) -> list[float]:
        attention = offset.through_norm[:, 1:-1:2].sum(1)
        upstream, change = offset.parts[0], offset.parts.sum(0)
        theirs, whole = (some.flatten()[toxic.index] for some in (read(weights.keys[0], attention), upstream))
        return [float(share(*two)) for two in ((upstream.flatten(), change.flatten()), (theirs, whole))]

    rng, n = np.random.default_rng(seed), len(streams["base"])
    resampled = [
        quantities(
            offset_of(streams, weights, chunks=torch.from_numpy(rng.multinomial(n, [1 / n] * n) / n).float())
        )
        for _ in range(draws)
    ]
    found = quantities(offset_of(streams, weights))
    drawn = zip(found, np.transpose(resampled), strict=True)
    return {
        name: around(value, some, n) for name, (value, some) in zip((UPSTREAM, ATTENTION), drawn, strict=True)
    }


def rows_evidence(table: Table1, resamples: int) -> Evidence:
    """What is gone without the offset, and whether attention and MLPs add up; not if DPO has no effect."""
    names = [BEFORE, Key("swap", "attention"), Key("swap", "MLP in and MLP out")]
    names += [Key("swap", "MLP in and MLP out and attention"), AFTER]
    samples = [table[table.named(key)].greedy for key in names]
    if not has_effect(samples[0], samples[-1], resamples):
        return {}

    def together(before, attention, mlps, both, after) -> np.ndarray:
        b, x, y, xy, a = (some.mean(-1) for some in (before, attention, mlps, both, after))
        return (x + y - xy - b) / (b - a)

    found = {TOGETHER: estimate(together, *samples, resamples=resamples)}
    name = table.named(Key("remove offset", EVERYTHING))
    if name in table.draws:
        left = table.beyond_draws(name, resamples)
        found[GONE] = Estimate(-left.value, -left.high, -left.low, left.resampled)
    return found
