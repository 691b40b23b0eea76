"""How a model is read and edited: every forward pass of the project, traced by nnsight.

1. `continue_prompts` generates; while it does, it can read all neurons and the writing of every layer
   along a direction, and it can edit any neuron.
2. `window_nll` gives the loss on text, `window_nll_and_kl` also how far predictions move, and
   `mean_residuals` the probe's features.
3. What is edited comes as a list of interventions, which `dpotox.model.edits` applies.

Sums over prompts and steps are taken inside the trace, in float32, so that memory does not grow with the
number of prompts; a batch that does not fit is halved. "Newest position" is the one that predicts the token
being generated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import nnsight
import torch
from jaxtyping import Bool, Float, Int
from nnsight import TransformersModel
from torch import Tensor

from dpotox.memory import halving
from dpotox.model.architecture import architecture_of, bias, gain, layers, matrix, neurons_per_layer
from dpotox.model.edits import GENERATING, IN_TEXT, edited
from dpotox.model.generation import batches, decoding
from dpotox.model.interventions import Intervention, Swap
from dpotox.ndif import answered

LOGITS_AT_ONCE = 2**27
"""Logits of a batch of text windows: half a gigabyte in float32."""


@dataclass(frozen=True)
class Continuations:
    """What the model wrote after each prompt.

    `projection`, if it was asked for, is that of the last layer's residual stream, before the final norm, on
    the unit direction, at the position that predicts the token. Its mean over the tokens is the last layer
    of `Reading.residual`.
    """

    texts: list[str]
    tokens: Int[Tensor, "prompt new_token"]
    projection: Float[Tensor, "prompt new_token"] | None = None


@dataclass(frozen=True)
class Reading:
    """What was read while the continuations were written, averaged over the generated tokens.

    `activation` is what leaves the GELU and `gelu_input` what enters it; both are averaged over the prompts
    of a chunk as well. `heads` is what each head gathers, averaged over all prompts, as
    `dpotox.model.weights.head_vectors` are multiplied with it. The others are projections on the unit
    direction: what the MLP and the attention add to the residual stream, and the residual stream after each
    layer. All at the newest position.
    """

    activation: Float[Tensor, "chunk layer neuron"]
    gelu_input: Float[Tensor, "chunk layer neuron"]
    mlp: Float[Tensor, "prompt layer"]
    attention: Float[Tensor, "prompt layer"]
    heads: Float[Tensor, "layer head width"]
    residual: Float[Tensor, "prompt layer"]


Interventions = Sequence[Intervention | Swap]


@halving
@answered
def continue_prompts(
    model: TransformersModel,
    prompts: Sequence[str],
    new_tokens: int,
    *,
    batch_size: int,
    interventions: Interventions = (),
    other: TransformersModel | None = None,
    sampling_seed: int | None = None,
    direction: Float[Tensor, "d_model"] | None = None,
    label: str = "generate",
) -> Continuations:
    """Continue every prompt by exactly `new_tokens` tokens, greedily or by sampling (temperature 1).

    Args:
        other: the model that copies and swaps take from.
        direction: what the residual stream is projected on at every token, scaled to unit length.

    Raises:
        UserError: there are no prompts, or one of them is empty or too long for the model.
    """
    tokens = torch.zeros(len(prompts), new_tokens, dtype=torch.long)
    projection = None if direction is None else torch.zeros(len(prompts), new_tokens)
    home = model.final_norm.weight.device
    unit = None if direction is None else (direction / direction.norm()).to(home, torch.float32)
    with edited(model, interventions, other, GENERATING) as plan:
        for batch, rows in batches(model, prompts, batch_size, label, new_tokens=new_tokens):
            along = plan.read_along(batch["attention_mask"])
            choice, inside = decoding(new_tokens, rows, sampling_seed), layers(model, len(rows))
            with torch.no_grad(), model.generate(batch, remote=model.remote, **choice) as tracer:
                seen = nnsight.save([])
                for _step in tracer.iter[:new_tokens]:
                    theirs = {}
                    if along is not None:
                        theirs = along.activations(model.embedding.input)
                    for layer, at in enumerate(inside):
                        plan.apply(at, layer, theirs)
                    if unit is not None:
                        seen.append(_newest(model.final_norm.input, home) @ unit)
                sequences = nnsight.save(tracer.result)
            tokens[rows] = sequences[:, -new_tokens:].cpu()
            if projection is not None:
                projection[rows] = torch.stack(list(seen), 1).cpu()
    return Continuations(model.tokenizer.batch_decode(tokens, skip_special_tokens=True), tokens, projection)


@halving
@answered
def read_generation(
    model: TransformersModel,
    prompts: Sequence[str],
    new_tokens: int,
    direction: Float[Tensor, "d_model"],
    *,
    batch_size: int,
    chunks: int = 1,
    interventions: Interventions = (),
    other: TransformersModel | None = None,
    sampling_seed: int | None = None,
    forced: Int[Tensor, "prompt new_token"] | None = None,
    share: tuple[int, int] = (0, 1),
    label: str = "read",
) -> tuple[Continuations, Reading]:
    """Continue the prompts and read every neuron of every layer on the way (section 3).

    Args:
        direction: projections are taken on this vector, scaled to unit length.
        chunks: the prompts are dealt into this many equal blocks, for resampling later.
        other: the model that swaps take from.
        sampling_seed: sample the continuations at temperature 1; greedy if not given.
        forced: the tokens to write, to read a model on another's continuations.
        share: read one of so many shares of the prompts, from 0; what is given of all `whole` puts together.

    Raises:
        UserError: there are no prompts, or one of them is empty or too long for the model.
        ValueError: an intervention would be missing from the reading, or copies from another model.
    """
    edits = [one for one in interventions if isinstance(one, Intervention)]
    if any(edit.copies or edit.site == "residual" for edit in edits):
        raise ValueError("what is added to the residual stream, or copied, would be missing from the reading")
    home = model.device
    unit = (direction / direction.norm()).to(home, torch.float32)
    n_layers, d_mlp = len(model.layers), neurons_per_layer(model.config)
    chunk_of = torch.arange(len(prompts)) % chunks
    total = torch.zeros(2, n_layers, chunks, d_mlp, device=home)
    writing = torch.zeros(2, len(prompts), n_layers, device=home)
    n_heads, gathered = model.config.num_attention_heads, len(matrix(model, model.layers[0].attention_out))
    by_head = torch.zeros(n_layers, n_heads, gathered // n_heads, device=home)
    embedding = torch.zeros(len(prompts), 1, device=home)
    tokens = torch.zeros(len(prompts), new_tokens, dtype=torch.long)
    with edited(model, interventions, other, GENERATING) as plan:
        along = [_projections(model, block, unit) for block in model.layers]
        for batch, rows in batches(model, prompts, batch_size, label, new_tokens=new_tokens, share=share):
            chunk, choice = chunk_of[rows].to(home), decoding(new_tokens, rows, sampling_seed, forced)
            inside = layers(model, len(rows))
            with torch.no_grad(), model.generate(batch, remote=model.remote, **choice) as tracer:
                sums = nnsight.save(torch.zeros_like(total))
                written = nnsight.save(torch.zeros(2, len(rows), n_layers, device=home))
                (leaving, entering), (by_mlp, by_attention) = sums, written
                embedded = nnsight.save(torch.zeros(len(rows), 1, device=home))
                heads = nnsight.save(torch.zeros_like(by_head))
                for _step in tracer.iter[:new_tokens]:
                    embedded[:, 0] += _newest(model.layers[0].input, home) @ unit
                    for layer, at in enumerate(inside):
                        heads[layer] += _newest(at.heads_divided, home).sum(0)
                        by_attention[:, layer] += _newest(at.by_attention, home) @ unit
                        plan.apply(at, layer, {}, ["gelu_input"])
                        entering[layer].index_add_(0, chunk, _newest(at.gelu_input, home))
                        plan.apply(at, layer, {}, ["activation"])
                        acts = _newest(at.activation, home)
                        leaving[layer].index_add_(0, chunk, acts)
                        value_projections, bias_projection = along[layer]
                        by_mlp[:, layer] += acts @ value_projections + bias_projection
                sequences = nnsight.save(tracer.result)
            total += sums
            by_head += heads
            writing[:, rows], embedding[rows] = written, embedded
            tokens[rows] = sequences[:, -new_tokens:].cpu()
    count = torch.bincount(chunk_of, minlength=chunks)[:, None] * new_tokens
    activation, gelu_input = (total.cpu() / count).transpose(1, 2)
    mlp, attention = (writing / new_tokens).cpu()
    heads = (by_head / (len(prompts) * new_tokens)).cpu()
    # What is a sum of things read is not read itself, as every reading takes time: the MLP's output is the
    # sum of its neurons, and the residual stream of what was written to it.
    residual = (embedding / new_tokens).cpu() + (mlp + attention).cumsum(1)
    texts = model.tokenizer.batch_decode(tokens, skip_special_tokens=True)
    return Continuations(texts, tokens), Reading(activation, gelu_input, mlp, attention, heads, residual)


def whole(shares: Sequence[tuple[Continuations, Reading]], tokenizer) -> tuple[Continuations, Reading]:
    """All prompts, from `read_generation` of every share: each is zero where others read, so they add up."""
    written, read = zip(*shares, strict=True)
    tokens = sum(one.tokens for one in written)
    summed = {f.name: sum(getattr(one, f.name) for one in read) for f in fields(Reading)}
    texts = tokenizer.batch_decode(tokens, skip_special_tokens=True)
    return Continuations(texts, tokens), Reading(**summed)


@halving
@answered
def window_nll(
    model: TransformersModel,
    windows: Int[Tensor, "window pos"],
    *,
    batch_size: int,
    interventions: Interventions = (),
    other: TransformersModel | None = None,
    counted: Bool[Tensor, "window pos"] | None = None,
) -> Float[Tensor, "window"]:
    """Mean negative log-likelihood per token of each window of text, in nats.

    Args:
        counted: the tokens, but for the first of a window, over which the mean is taken; all if not given.
    """
    if counted is None:
        counted = torch.ones_like(windows[:, 1:], dtype=torch.bool)
    nll, logits_per_window = [], windows.shape[1] * model.config.vocab_size
    fitting = max(1, LOGITS_AT_ONCE // logits_per_window)
    with edited(model, interventions, other, IN_TEXT) as plan:
        at_once = min(batch_size, fitting)
        for rows, some in zip(windows.split(at_once), counted.split(at_once), strict=True):
            batch = {"input_ids": rows, "attention_mask": torch.ones_like(rows)}
            along = plan.read_along(batch["attention_mask"])
            theirs = along.activations(rows) if along is not None else {}
            inside = layers(model, len(rows))
            with torch.no_grad(), model.trace(batch, remote=model.remote):
                for layer, at in enumerate(inside):
                    plan.apply(at, layer, theirs)
                logits = model.output.logits[:, :-1].float()
                target = rows[:, 1:].to(logits.device)
                loss = torch.nn.functional.cross_entropy(logits.mT, target, reduction="none")
                weight = some.to(loss)
                mean = nnsight.save((loss * weight).sum(1) / weight.sum(1))
            nll.append(mean.cpu())
    return torch.cat(nll)


@halving
@answered
def window_nll_and_kl(
    model: TransformersModel,
    other: TransformersModel,
    windows: Int[Tensor, "window pos"],
    *,
    batch_size: int,
    interventions: Interventions = (),
) -> Float[Tensor, "2 window"]:
    """The loss of the other model, edited, and its KL divergence from the model: mean nats per token."""
    found, logits_per_window = [], windows.shape[1] * model.config.vocab_size
    for rows in windows.split(min(batch_size, max(1, LOGITS_AT_ONCE // logits_per_window))):
        batch = {"input_ids": rows, "attention_mask": torch.ones_like(rows)}
        with torch.no_grad(), model.trace(batch, remote=model.remote):
            true = nnsight.save(model.output.logits[:, :-1].float().log_softmax(-1))
        with edited(other, interventions, None, IN_TEXT) as plan:
            inside = layers(other, len(rows))
            with torch.no_grad(), other.trace(batch, remote=other.remote):
                for layer, at in enumerate(inside):
                    plan.apply(at, layer, {})
                given = other.output.logits[:, :-1].float().log_softmax(-1)
                theirs, target = true.to(given.device), rows[:, 1:].to(given.device)
                loss = torch.nn.functional.nll_loss(given.mT, target, reduction="none")
                kl = torch.nn.functional.kl_div(given, theirs, reduction="none", log_target=True).sum(-1)
                means = nnsight.save(torch.stack([loss, kl]).mean(-1))
        found.append(means.cpu())
    return torch.cat(found, 1)


@halving
@answered
def mean_residuals(
    model: TransformersModel, texts: Sequence[str], *, max_tokens: int, batch_size: int
) -> Float[Tensor, "text d_model"]:
    """The last layer's residual stream, before the final norm, averaged over each text's tokens."""
    means = torch.zeros(len(texts), model.config.hidden_size)
    for batch, rows in batches(model, texts, batch_size, "comments", max_tokens=max_tokens):
        mask = batch["attention_mask"][..., None]
        with torch.no_grad(), model.trace(batch, remote=model.remote):
            residual = model.final_norm.input.float()
            weight = mask.to(residual.device)
            mean = nnsight.save((residual * weight).sum(1) / weight.sum(1))
        means[rows] = mean.cpu()
    return means


def _projections(
    model: TransformersModel, block, unit: Float[Tensor, "d_model"]
) -> tuple[Float[Tensor, "neuron"], Float[Tensor, ""]]:
    """What one unit of each neuron's activation writes along a direction, and what the bias writes."""
    if architecture_of(model.config).behind:
        unit = unit * gain(model, block.mlp_post_norm).to(unit)
    found = matrix(model, block.down), bias(model, block.down)
    weight, constant = (some.to(unit.device, torch.float32) for some in found)
    return weight @ unit, constant @ unit


def _newest(acts: Float[Tensor, "batch pos width"], device: torch.device) -> Float[Tensor, "batch width"]:
    """The newest position, where the sums are kept; a large model's layers may lie on several devices."""
    return acts[:, -1].to(device, torch.float32)
