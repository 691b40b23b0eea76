"""In how many directions of the residual stream DPO's change lies, and how many of them carry its effect.

The change is what the model after DPO has there less what the model before it has, on the same text, token by
token. Its directions are those of its second moments, the largest first: the right singular vectors of all
changes as rows, none taken away. A direction is tried by copying: after one layer of the model before DPO,
the part of the stream along it is replaced by what the model after DPO has. Beyond the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from nnsight import TransformersModel
from torch import Tensor

from dpotox.estimates import around
from dpotox.facts import EVERY_DIRECTION, LARGEST, LEADING, NEUTRAL, PROBE, PROMPTED, RANDOM
from dpotox.memory import halving
from dpotox.model.interventions import copy_stream
from dpotox.model.logit_lens import TOKENS_OF_VECTOR, nearest_tokens
from dpotox.model.weights import cosines
from dpotox.paper.evaluation import greedy_toxicity
from dpotox.run import beside, counts
from dpotox.run.artifacts import PARTS, part
from dpotox.run.beside import Batch
from dpotox.run.kept import TENSOR
from dpotox.run.workers import share_out

if TYPE_CHECKING:
    from dpotox.run.study import Study

LEVELS = (0.5, 0.9)
"""Shares of the change, and of DPO's effect, for which the number of directions is asked."""
STREAMS_AT_ONCE = 2**25
"""Numbers of the residual streams of one model that are held at a time: 128 MB."""


@dataclass(frozen=True)
class Moments:
    """Of the change and of the stream before DPO, over positions and texts."""

    change: Float[Tensor, "layer d_model d_model"]  # mean of the products of two coordinates
    stream: Float[Tensor, "layer d_model d_model"]
    mean: Float[Tensor, "chunk layer d_model"]  # of the change


@halving
def moments(
    before: TransformersModel,
    after: TransformersModel,
    texts: Callable[[int], Iterator[Batch]],
    last: int,
    chunks: int,
    *,
    batch_size: int,
) -> Moments:
    """The moments of the change, summed batch by batch, so that memory does not grow with the texts.

    Args:
        texts: gives them in batches of a size.
        last: how many positions of each are read, from its end.
        chunks: how many blocks the texts are dealt into, for resampling later.
    """
    depth, width, home = len(before.layers), before.config.hidden_size, before.device
    change, stream = torch.zeros(2, depth, width, width, device=home)
    mean, count = torch.zeros(chunks, depth, width, device=home), torch.zeros(chunks)
    fitting = max(1, STREAMS_AT_ONCE // (depth * last * width))
    for batch, rows in texts(min(batch_size, fitting)):
        chunk = torch.tensor(rows) % chunks
        count += torch.bincount(chunk, minlength=chunks) * last
        both = (beside.residual_streams(model, batch, last) for model in (before, after))
        for layer, (old, new) in enumerate(zip(*both, strict=True)):
            moved = new.to(home) - old
            mean[:, layer].index_add_(0, chunk.to(home), moved.sum(1))
            for sums, some in ((change, moved), (stream, old)):
                flat = some.flatten(0, 1)
                sums[layer] += flat.T @ flat
    total = float(count.sum())
    return Moments(change.cpu() / total, stream.cpu() / total, mean.cpu() / count[:, None, None])


def spectrum(
    second: Float[Tensor, "layer d_model d_model"],
) -> tuple[Float[Tensor, "layer k"], Float[Tensor, "layer d_model k"]]:
    """Of second moments the mean squares along their directions, the largest first, and these as columns."""
    values, vectors = torch.linalg.eigh(second.double())
    return values.flip(-1).clamp(min=0), vectors.flip(-1)


def changes_of(study: Study) -> dict[str, Tensor]:
    """What the change is like after each layer, on the text from before DPO and on neutral text.

    `squares` (layer, k) along its directions, and `stream_squares` of the stream before DPO along its own;
    `leading` (layer, d_model, k), the first directions, which point to where the mean change does, and
    `stream_leading` those of the stream before DPO; `mean` and
    `neutral_mean` (chunk, layer, d_model). Of neutral windows the first position is left out, as there is
    nothing before it.
    """
    tokens, exam = study.readings.tokens["base"], study.exam
    windows = exam.windows[torch.from_numpy(exam.neutral)]
    prompts = partial(beside.continued, study.base, study.prompts, tokens, label="read changes")
    read = partial(moments, study.base, study.dpo, batch_size=exam.batch_size)
    chunks = study.profile.sizes.chunks
    found = read(lambda size: prompts(batch_size=size), tokens.shape[1], chunks)
    neutral = read(
        lambda size: beside.in_windows(windows, size), windows.shape[1] - 1, min(chunks, len(windows))
    )
    squares, directions = spectrum(found.change)
    stream_squares, stream_directions = spectrum(found.stream)
    leading = directions[..., : max(study.profile.beyond.ranks)].float()
    along = torch.einsum("ld,ldk->lk", found.mean.mean(0), leading)
    return {
        "squares": squares.float(),
        "stream_squares": stream_squares.float(),
        "stream_leading": stream_directions[..., : max(study.profile.beyond.ranks)].float(),
        "leading": leading * torch.where(along < 0, -1.0, 1.0)[:, None],
        "mean": found.mean,
        "neutral_mean": neutral.mean,
    }


# What the change does


@dataclass(frozen=True)
class Trial:
    """Some directions of the residual stream after a layer, and how they were chosen."""

    layer: int
    ranked: str
    draw: int  # of random ones, else 0
    basis: Float[Tensor, "d_model k"]


def tried_layers(depth: int) -> list[int]:
    """After which layers, from 0: after half of them, and after the last."""
    return sorted({(depth - 1) // 2, depth - 1})


def random_basis(width: int, k: int, seed: int, draw: int) -> Float[Tensor, "d_model k"]:
    """Orthonormal directions drawn evenly; the first of more are those of fewer."""
    rng = np.random.default_rng([seed, draw])
    return torch.linalg.qr(torch.from_numpy(rng.normal(size=(k, width)).T).float())[0]


def trials(study: Study) -> list[Trial]:
    """After each layer the change's first directions, the stream's, random ones, the probe, and all."""
    ranks, draws = study.profile.beyond.ranks, study.profile.beyond.rank_draws
    leading, found = study.stream_changes["leading"], []
    depth, width = leading.shape[:2]
    sizes = sorted({k for k in ranks if k < width})
    drawn = {(RANDOM, n): random_basis(width, max(sizes, default=1), study.seed, n) for n in range(draws)}
    for layer in tried_layers(depth):
        stream = study.stream_changes["stream_leading"][layer]
        ordered = {(LEADING, 0): leading[layer], (LARGEST, 0): stream} | drawn
        found += [Trial(layer, *name, basis[:, :k]) for name, basis in ordered.items() for k in sizes]
        found.append(Trial(layer, PROBE, 0, study.probe.unit[:, None]))
        found.append(Trial(layer, EVERY_DIRECTION, 0, torch.eye(width)))
    return found


COLUMNS = ["layer", "ranked", "draw", "directions"]


def tried(study: Study, folder: Path) -> pd.DataFrame:
    """The greedy toxicity of every trial, after the prompts on which random draws are compared.

    A row per trial: `COLUMNS`, and a column for each prompt by its number.
    """
    asked, parts = trials(study), folder / PARTS
    share_out(study, partial(trial_jobs, folder=parts), len(asked), "how many directions", "trial")
    outcomes = np.stack([TENSOR.read(parts / f"{i:03}").numpy() for i in range(len(asked))])
    named = pd.DataFrame([(t.layer, t.ranked, t.draw, t.basis.shape[1]) for t in asked], columns=COLUMNS)
    return named.join(pd.DataFrame(outcomes, columns=[str(i) for i in range(outcomes.shape[1])]))


def trial_jobs(study: Study, folder: Path) -> Callable[[int], None]:
    """What makes one trial, by its number, and keeps it as a part."""
    asked, base, dpo, exam = trials(study), study.base, study.dpo, study.exam

    def outcome(trial: Trial) -> Tensor:
        return torch.from_numpy(greedy_toxicity(base, exam, [copy_stream(trial.layer, trial.basis)], dpo))

    return lambda number: part(folder / f"{number:03}", TENSOR, partial(outcome, asked[number]))


# The tables


def stream_ranks(study: Study) -> pd.DataFrame:
    """The share of the squared change in its first directions, for powers of two and all: `layer`,
    `directions`, `share`."""
    squares = study.stream_changes["squares"].double().numpy()
    width, rows = squares.shape[1], []
    for layer, own in enumerate(squares):
        total, running = own.sum(), own.cumsum()
        for k in [2**i for i in range(width.bit_length()) if 2**i < width] + [width]:
            rows.append(
                {"layer": layer, "directions": k, "share": running[k - 1] / total if total else np.nan}
            )
    return pd.DataFrame(rows)


def holding(squares: Float[np.ndarray, "k"], share: float) -> float:
    """How many directions, the largest first, hold this share of the whole; NaN of nothing."""
    running = squares.cumsum()
    return float(np.searchsorted(running, share * running[-1]) + 1) if running[-1] > 0 else np.nan


def stream_changes(study: Study) -> pd.DataFrame:
    """Of each layer's change how large it is, how many directions hold it, and which way they point."""
    found, probe = study.stream_changes, study.probe.direction
    mean, neutral = (found[name].mean(0) for name in ("mean", "neutral_mean"))
    draws, rows = study.profile.compute.neuron_bootstrap, []
    for layer, first in enumerate(found["leading"][..., 0]):
        own, whole = (found[name][layer].double().numpy() for name in ("squares", "stream_squares"))
        moved = own.sum() > 0
        blocks = [found[name][:, layer].double().numpy() for name in ("mean", "neutral_mean")]
        cosines_drawn, fewest = _resampled(blocks, draws, study.seed), min(map(len, blocks))
        alike = around(cosine(*(some.mean(0) for some in blocks)), cosines_drawn, fewest)
        row = {"layer": layer, "size": np.sqrt(own.sum() / whole.sum())}
        row |= {"half": holding(own, 0.5), "most": holding(own, 0.9)}
        row |= {"stream_half": holding(whole, 0.5), "stream_most": holding(whole, 0.9)}
        row |= {"first_probe": float(cosines(first, probe)) if moved else np.nan}
        row |= {"first_mean": cosine(first.numpy(), mean[layer].numpy()) if moved else np.nan}
        row |= {"mean_probe": cosine(mean[layer].numpy(), probe.numpy())}
        row |= {"neutral_length": float(neutral[layer].norm() / mean[layer].norm())}
        rows.append(row | {"neutral": alike.value, "neutral_low": alike.low, "neutral_high": alike.high})
    return pd.DataFrame(rows)


def cosine(one: Float[np.ndarray, "d_model"], other: Float[np.ndarray, "d_model"]) -> float:
    """Of two vectors; NaN where one has no length."""
    lengths = np.linalg.norm(one) * np.linalg.norm(other)
    return float(one @ other / lengths) if lengths else np.nan


def _resampled(
    blocks: list[Float[np.ndarray, "chunk d_model"]], draws: int, seed: int
) -> Float[np.ndarray, "draw"]:
    """The cosine of two mean changes, of chunks that are drawn again."""
    rng = np.random.default_rng(seed)
    picks = [[rng.integers(len(some), size=len(some)) for some in blocks] for _ in range(draws)]
    return np.array([cosine(*(b[i].mean(0) for b, i in zip(blocks, pick, strict=True))) for pick in picks])


def stream_tokens(study: Study) -> pd.DataFrame:
    """The tokens nearest to each layer's mean change and to its opposite, masked: `layer`, `text`, `more`,
    `less`."""
    found, rows = study.stream_changes, []
    for text, name in ((PROMPTED, "mean"), (NEUTRAL, "neutral_mean")):
        for layer, mean in enumerate(found[name].mean(0)):
            ways = {"more": mean, "less": -mean}
            near = {way: _near(study, vector) if mean.norm() > 0 else "-" for way, vector in ways.items()}
            rows.append({"layer": layer, "text": text} | near)
    table = pd.DataFrame(rows)
    return table.assign(**{way: study.masking.texts(table[way].tolist()) for way in ("more", "less")})


def _near(study: Study, vector: Float[Tensor, "d_model"]) -> str:
    return ", ".join(nearest_tokens(study.base, study.tokenizer, vector, TOKENS_OF_VECTOR))


def streams_tried(study: Study) -> pd.DataFrame:
    """The share of DPO's effect that is there in every trial, `recovered`, with its ends `low` and `high`."""
    return counts.shares(study, study.streams_tried, COLUMNS)


def streams_enough(study: Study) -> pd.DataFrame:
    """The share of the stream's dimensions at which a level of DPO's effect is recovered.

    `layer`, `ranked`, `level`, and `share` with its ends: NaN where all that were tried do not reach it.
    """
    named, outcomes, ends, resamples = counts.judged(study, study.streams_tried, COLUMNS)
    rows, width = [], study.stream_changes["leading"].shape[1]
    some = named[named["ranked"].isin([LEADING, LARGEST, RANDOM])]
    for (layer, ranked), those in some.groupby(["layer", "ranked"], sort=False):
        every = named.index[(named["layer"] == layer) & (named["ranked"] == EVERY_DIRECTION)]
        sizes = np.unique(those["directions"])
        by_size = [outcomes[those.index[those["directions"] == k]].mean(0) for k in sizes]  # of all draws
        curve = np.stack([*by_size, outcomes[every[0]]])
        for level in LEVELS:
            found = counts.reached(np.array([*sizes, width]) / width, curve, ends, level, resamples=resamples)
            row = {"layer": layer, "ranked": ranked, "level": level, "share": found.value}
            rows.append(row | {"low": found.low, "high": found.high})
    return pd.DataFrame(rows, columns=["layer", "ranked", "level", "share", "low", "high"])
