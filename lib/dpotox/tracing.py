"""How a model is read and edited: every forward pass of the project, traced by nnsight.

1. `continue_prompts` generates; while it does, it can read all neurons and the writing of every layer
   along a direction, and it can edit any neuron.
2. `window_nll` gives the loss on text and `mean_residuals` the probe's features, edited or not.
3. What is edited comes as a list of `Intervention`s, applied by `_edit` alone.

Sums over prompts and steps are taken inside the trace, in float32, so that memory does not grow with the
number of prompts. "Newest position" is the one that predicts the token being generated.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import nnsight
import torch
from jaxtyping import Float, Int
from nnsight import TransformersModel
from torch import Tensor

from dpotox.errors import UserError
from dpotox.interventions import Change, Intervention
from dpotox.progress import bar

LOGITS_AT_ONCE = 2**27
"""Logits of a batch of text windows: half a gigabyte in float32."""


@dataclass(frozen=True)
class Continuations:
    """What the model wrote after each prompt."""

    texts: list[str]
    tokens: Int[Tensor, "prompt new_token"]


@dataclass(frozen=True)
class Reading:
    """What was read while the continuations were written, averaged over the generated tokens.

    `activation` is what leaves the GELU and `gelu_input` what enters it; both are averaged over the prompts
    of a chunk as well. The others are projections on the unit
    direction: what the MLP and the attention of each layer add to the residual stream, and the residual
    stream after each layer. All at the newest position.
    """

    activation: Float[Tensor, "chunk layer neuron"]
    gelu_input: Float[Tensor, "chunk layer neuron"]
    mlp: Float[Tensor, "prompt layer"]
    attention: Float[Tensor, "prompt layer"]
    residual: Float[Tensor, "prompt layer"]


def continue_prompts(
    model: TransformersModel,
    prompts: Sequence[str],
    new_tokens: int,
    *,
    batch_size: int,
    interventions: Sequence[Intervention] = (),
    sampling_seed: int | None = None,
    label: str = "generate",
) -> Continuations:
    """Continue every prompt by exactly `new_tokens` tokens, greedily or by sampling (temperature 1).

    Raises:
        UserError: there are no prompts, or one of them is empty.
    """
    texts, tokens, plan = [], [], _plan(model, interventions)
    if sampling_seed is not None:
        torch.manual_seed(sampling_seed)
    for batch, _ in _batches(model, prompts, batch_size, label):
        with (
            torch.no_grad(),
            model.generate(batch, **_decoding(new_tokens, sampling_seed)) as tracer,
        ):
            for _step in tracer.iter[:new_tokens]:
                for layer, block in enumerate(model.transformer.h):
                    _edit(block, layer, plan)
            sequences = nnsight.save(tracer.result)
        new = sequences[:, -new_tokens:].cpu()
        tokens.append(new)
        texts += model.tokenizer.batch_decode(new, skip_special_tokens=True)
    return Continuations(texts, torch.cat(tokens))


def read_generation(
    model: TransformersModel,
    prompts: Sequence[str],
    new_tokens: int,
    direction: Float[Tensor, "d_model"],
    *,
    batch_size: int,
    chunks: int = 1,
    interventions: Sequence[Intervention] = (),
    label: str = "read",
) -> tuple[Continuations, Reading]:
    """Continue the prompts greedily and read every neuron of every layer on the way (section 3).

    Args:
        direction: projections are taken on this vector, scaled to unit length.
        chunks: the prompts are dealt into this many equal blocks, for resampling later.

    Raises:
        UserError: there are no prompts, or one of them is empty.
    """
    unit = (direction / direction.norm()).to(model.device, torch.float32)
    n_layers, d_mlp = len(model.transformer.h), model.transformer.h[0].mlp.c_proj.weight.shape[0]
    chunk_of = torch.arange(len(prompts)) % chunks
    total = torch.zeros(2, n_layers, chunks, d_mlp, device=model.device)
    writing = torch.zeros(3, len(prompts), n_layers, device=model.device)
    texts, tokens, plan = [], [], _plan(model, interventions)
    for batch, rows in _batches(model, prompts, batch_size, label):
        chunk = chunk_of[rows].to(model.device)
        with torch.no_grad(), model.generate(batch, **_decoding(new_tokens, None)) as tracer:
            sums = nnsight.save(torch.zeros_like(total))
            written = nnsight.save(torch.zeros(3, len(rows), n_layers, device=model.device))
            for _step in tracer.iter[:new_tokens]:
                for layer, block in enumerate(model.transformer.h):
                    attention = block.attn.output[0][:, -1].float() @ unit
                    _edit_input(block, layer, plan)
                    sums[1, layer].index_add_(0, chunk, block.mlp.c_fc.output[:, -1].float())
                    _edit_activation(block, layer, plan)
                    sums[0, layer].index_add_(0, chunk, block.mlp.c_proj.input[:, -1].float())
                    written[0, :, layer] += block.mlp.output[:, -1].float() @ unit
                    written[1, :, layer] += attention
                    written[2, :, layer] += block.output[:, -1].float() @ unit
            sequences = nnsight.save(tracer.result)
        total += sums
        writing[:, rows] = written
        new = sequences[:, -new_tokens:].cpu()
        tokens.append(new)
        texts += model.tokenizer.batch_decode(new, skip_special_tokens=True)
    count = torch.bincount(chunk_of, minlength=chunks)[None, :, None] * new_tokens
    activation, gelu_input = (total.cpu() / count).transpose(1, 2)
    written = (writing / new_tokens).cpu()
    return Continuations(texts, torch.cat(tokens)), Reading(activation, gelu_input, *written)


def window_nll(
    model: TransformersModel,
    windows: Int[Tensor, "window pos"],
    *,
    batch_size: int,
    interventions: Sequence[Intervention] = (),
) -> Float[Tensor, "window"]:
    """Mean negative log-likelihood per token of each window of text, in nats, edited everywhere."""
    nll, plan = [], _plan(model, interventions)
    logits_per_window = windows.shape[1] * model.config.vocab_size
    fitting = max(1, LOGITS_AT_ONCE // logits_per_window)
    for rows in windows.split(min(batch_size, fitting)):
        batch = {"input_ids": rows, "attention_mask": torch.ones_like(rows)}
        with torch.no_grad(), model.trace(batch):
            for layer, block in enumerate(model.transformer.h):
                _edit(block, layer, plan)
            logits = model.lm_head.output[:, :-1].float()
            target = rows[:, 1:].to(logits.device)
            loss = torch.nn.functional.cross_entropy(logits.mT, target, reduction="none")
            mean = nnsight.save(loss.mean(1))
        nll.append(mean.cpu())
    return torch.cat(nll)


def mean_residuals(
    model: TransformersModel, texts: Sequence[str], *, max_tokens: int, batch_size: int
) -> Float[Tensor, "text d_model"]:
    """The last layer's residual stream, before the final norm, averaged over each text's tokens."""
    means = []
    for batch, _ in _batches(model, texts, batch_size, "comments", max_tokens=max_tokens):
        mask = batch["attention_mask"][..., None]
        with torch.no_grad(), model.trace(batch):
            residual = model.transformer.ln_f.input.float()
            weight = mask.to(residual.device)
            mean = nnsight.save((residual * weight).sum(1) / weight.sum(1))
        means.append(mean.cpu())
    return torch.cat(means)


Part = tuple[Int[Tensor, "neuron"], Float[Tensor, "neuron"], Change]


def _plan(
    model: TransformersModel, interventions: Sequence[Intervention]
) -> dict[tuple[int, str], list[Part]]:
    """The edits of each layer and site, ready on the device, so that a trace looks nothing up twice."""
    plan: dict[tuple[int, str], list[Part]] = defaultdict(list)
    for intervention in interventions:
        for layer, neurons, values in intervention.by_layer():
            part = neurons.to(model.device), values.to(model.device), intervention.change
            plan[layer, intervention.site].append(part)
    return plan


def _edit(block, layer: int, plan: dict[tuple[int, str], list[Part]]) -> None:
    """Apply the plan to one layer of a running trace, in forward order."""
    _edit_input(block, layer, plan)
    _edit_activation(block, layer, plan)


def _edit_input(block, layer: int, plan: dict[tuple[int, str], list[Part]]) -> None:
    if (layer, "gelu_input") in plan:
        gelu_input = block.mlp.c_fc.output
        block.mlp.c_fc.output = _edited(gelu_input, plan[layer, "gelu_input"])


def _edit_activation(block, layer: int, plan: dict[tuple[int, str], list[Part]]) -> None:
    if (layer, "activation") in plan:
        activation = block.mlp.c_proj.input
        block.mlp.c_proj.input = _edited(activation, plan[layer, "activation"])


def _edited(acts: Float[Tensor, "*pos d_mlp"], parts: list[Part]) -> Float[Tensor, "*pos d_mlp"]:
    acts = acts.clone()  # nnsight hands out the tensor itself, which a reader may have kept
    for neurons, values, change in parts:
        here = acts[..., neurons]
        acts[..., neurons] = change(here, values.to(here.dtype))
    return acts


def _decoding(new_tokens: int, sampling_seed: int | None) -> dict:
    """Exactly `new_tokens` tokens: an early end would leave later steps of the trace unread."""
    decoding = {"max_new_tokens": new_tokens, "min_new_tokens": new_tokens}
    if sampling_seed is None:
        return decoding | {"do_sample": False}
    return decoding | {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}


def _batches(
    model: TransformersModel,
    texts: Sequence[str],
    batch_size: int,
    label: str,
    max_tokens: int | None = None,
) -> Iterator[tuple[dict, range]]:
    """Left-padded batches with their attention mask, in order, under a progress bar."""
    if not texts:
        raise UserError("there are no prompts: the list is empty; check [data] and [sizes]")
    if empty := [i for i, text in enumerate(texts) if not text.strip()]:
        raise UserError(f"prompt number {empty[0] + 1} is empty; remove it from the data")
    model.tokenizer.padding_side = "left"
    for start in bar(range(0, len(texts), batch_size), label, "batch"):
        rows = range(start, min(start + batch_size, len(texts)))
        encoded = model.tokenizer(
            [texts[i] for i in rows],
            padding=True,
            truncation=max_tokens is not None,
            max_length=max_tokens,
            return_tensors="pt",
        )
        yield {k: encoded[k] for k in ("input_ids", "attention_mask")}, rows
