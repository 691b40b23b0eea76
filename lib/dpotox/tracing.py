"""How a model is read and edited: every forward pass of the project, traced by nnsight.

1. `continue_prompts` generates; while it does, it can read all neurons and the writing of every layer
   along a direction, and it can edit any neuron.
2. `window_nll` gives the loss on text and `mean_residuals` the probe's features, edited or not.
3. What is edited comes as a list of `Intervention`s, applied by `_edit` alone.

Sums over prompts and steps are taken inside the trace, in float32, so that memory does not grow with the
number of prompts. "Newest position" is the one that predicts the token being generated. Texts are batched by
length; no result depends on the batch, not even what is sampled.
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
from transformers import LogitsProcessor

from dpotox.errors import UserError
from dpotox.interventions import SITES, Change, Intervention
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
        UserError: there are no prompts, or one of them is empty or too long for the model.
    """
    tokens, plan = torch.zeros(len(prompts), new_tokens, dtype=torch.long), _plan(model, interventions)
    for batch, rows in _batches(model, prompts, batch_size, label, new_tokens=new_tokens):
        decoding = _decoding(new_tokens)
        if sampling_seed is not None:
            decoding["logits_processor"] = [_GumbelNoise(sampling_seed, rows)]
        with torch.no_grad(), model.generate(batch, **decoding) as tracer:
            for _step in tracer.iter[:new_tokens]:
                for layer, block in enumerate(model.transformer.h):
                    _edit(block, layer, plan)
            sequences = nnsight.save(tracer.result)
        tokens[rows] = sequences[:, -new_tokens:].cpu()
    return Continuations(model.tokenizer.batch_decode(tokens, skip_special_tokens=True), tokens)


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
        UserError: there are no prompts, or one of them is empty or too long for the model.
    """
    if any(intervention.site == "residual" for intervention in interventions):
        raise ValueError("what is added to the residual stream itself would be missing from the reading")
    home = model.device
    unit = (direction / direction.norm()).to(home, torch.float32)
    along = [_projections(block, unit) for block in model.transformer.h]
    n_layers, d_mlp = len(model.transformer.h), model.transformer.h[0].mlp.c_proj.weight.shape[0]
    chunk_of = torch.arange(len(prompts)) % chunks
    total = torch.zeros(2, n_layers, chunks, d_mlp, device=home)
    writing = torch.zeros(2, len(prompts), n_layers, device=home)
    start = torch.zeros(len(prompts), 1, device=home)
    tokens, plan = torch.zeros(len(prompts), new_tokens, dtype=torch.long), _plan(model, interventions)
    for batch, rows in _batches(model, prompts, batch_size, label, new_tokens=new_tokens):
        chunk = chunk_of[rows].to(home)
        with torch.no_grad(), model.generate(batch, **_decoding(new_tokens)) as tracer:
            sums = nnsight.save(torch.zeros_like(total))
            written = nnsight.save(torch.zeros(2, len(rows), n_layers, device=home))
            embedded = nnsight.save(torch.zeros(len(rows), 1, device=home))
            for _step in tracer.iter[:new_tokens]:
                embedded[:, 0] += _newest(model.transformer.h[0].input, home) @ unit
                for layer, block in enumerate(model.transformer.h):
                    written[1, :, layer] += _newest(block.attn.output[0], home) @ unit
                    _edit_site(block, layer, "gelu_input", plan)
                    sums[1, layer].index_add_(0, chunk, _newest(block.mlp.c_fc.output, home))
                    _edit_site(block, layer, "activation", plan)
                    acts = _newest(block.mlp.c_proj.input, home)
                    sums[0, layer].index_add_(0, chunk, acts)
                    written[0, :, layer] += acts @ along[layer][0] + along[layer][1]
                    _edit_site(block, layer, "residual", plan)
            sequences = nnsight.save(tracer.result)
        total += sums
        writing[:, rows] = written
        start[rows] = embedded
        tokens[rows] = sequences[:, -new_tokens:].cpu()
    count = torch.bincount(chunk_of, minlength=chunks)[None, :, None] * new_tokens
    activation, gelu_input = (total.cpu() / count).transpose(1, 2)
    mlp, attention = (writing / new_tokens).cpu()
    # What is a sum of things read is not read itself, as every reading takes time: the MLP's output is the
    # sum of its neurons, and the residual stream of what was written to it.
    residual = (start / new_tokens).cpu() + (mlp + attention).cumsum(1)
    texts = model.tokenizer.batch_decode(tokens, skip_special_tokens=True)
    return Continuations(texts, tokens), Reading(activation, gelu_input, mlp, attention, residual)


def cut(tokenizer, prompts: Sequence[str], max_tokens: int, *, keep_end: bool = False) -> list[str]:
    """Prompts cut to their first tokens, or to their last.

    Raises:
        UserError: the tokenizer does not know a word of them.
    """
    ids = tokenizer(list(prompts), add_special_tokens=False)["input_ids"]
    length = max_tokens - len(tokenizer("")["input_ids"])  # less what begins every text
    ids = [row[-length:] if keep_end else row[:length] for row in ids]
    unknown = tokenizer.unk_token_id
    if unknown not in (None, tokenizer.eos_token_id) and any(unknown in row for row in ids):
        raise UserError(
            "the prompts have words that the model's tokenizer does not know; the embedded model "
            "knows only its own language, so use another model for these prompts"
        )
    return tokenizer.batch_decode(ids, skip_special_tokens=True)


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
    means = torch.zeros(len(texts), model.config.n_embd)
    for batch, rows in _batches(model, texts, batch_size, "comments", max_tokens=max_tokens):
        mask = batch["attention_mask"][..., None]
        with torch.no_grad(), model.trace(batch):
            residual = model.transformer.ln_f.input.float()
            weight = mask.to(residual.device)
            mean = nnsight.save((residual * weight).sum(1) / weight.sum(1))
        means[rows] = mean.cpu()
    return means


Part = tuple[Int[Tensor, "neuron"], Float[Tensor, "neuron"], Change]


def _plan(
    model: TransformersModel, interventions: Sequence[Intervention]
) -> dict[tuple[int, str], list[Part]]:
    """The edits of each layer and site, ready on its device, so that a trace looks nothing up twice."""
    plan: dict[tuple[int, str], list[Part]] = defaultdict(list)
    for intervention in interventions:
        for layer, neurons, values in intervention.by_layer():
            device = model.transformer.h[layer].mlp.c_proj.weight.device
            part = neurons.to(device), values.to(device), intervention.change
            plan[layer, intervention.site].append(part)
    return plan


def _edit(block, layer: int, plan: dict[tuple[int, str], list[Part]]) -> None:
    """Apply the plan to one layer of a running trace, in forward order."""
    for site in SITES:
        _edit_site(block, layer, site, plan)


def _edit_site(block, layer: int, site: str, plan: dict[tuple[int, str], list[Part]]) -> None:
    if (layer, site) not in plan:
        return
    if site == "gelu_input":
        acts = block.mlp.c_fc.output
    elif site == "activation":
        acts = block.mlp.c_proj.input
    else:
        acts = block.output
    # In place: without gradients nothing else holds these tensors, and putting a changed copy back would
    # take as long again.
    for neurons, values, change in plan[layer, site]:
        here = acts[..., neurons]
        acts[..., neurons] = change(here, values.to(here.dtype))


def _projections(block, unit: Float[Tensor, "d_model"]) -> tuple[Float[Tensor, "neuron"], Float[Tensor, ""]]:
    """What one unit of each neuron's activation writes along a direction, and what the bias writes."""
    down = block.mlp.c_proj
    weight, bias = (p.detach().to(unit.device, torch.float32) for p in (down.weight, down.bias))
    return weight @ unit, bias @ unit


def _newest(acts: Float[Tensor, "batch pos width"], device: torch.device) -> Float[Tensor, "batch width"]:
    """The newest position, where the sums are kept; a large model's layers may lie on several devices."""
    return acts[:, -1].to(device, torch.float32)


class _GumbelNoise(LogitsProcessor):
    """Sampling at temperature 1: the largest of logits plus Gumbel noise is a draw from their softmax.

    Every row has its own stream of noise, so a sample depends on the seed and its number alone, and two
    models or interventions sample with the same luck.
    """

    def __init__(self, seed: int, rows: Sequence[int]) -> None:
        self.seeds = [1_000_003 * seed + row for row in rows]
        self.streams: list[torch.Generator] = []

    def __call__(self, input_ids: Tensor, scores: Float[Tensor, "row token"]) -> Tensor:
        if not self.streams:
            self.streams = [torch.Generator(scores.device).manual_seed(seed) for seed in self.seeds]
        noise = torch.empty_like(scores, dtype=torch.float32)
        for row, stream in zip(noise, self.streams, strict=True):
            row.exponential_(generator=stream)
        return scores - noise.log()


def _decoding(new_tokens: int) -> dict:
    """Exactly `new_tokens` tokens: an early end would leave later steps of the trace unread."""
    return {"max_new_tokens": new_tokens, "min_new_tokens": new_tokens, "do_sample": False}


def _batches(
    model: TransformersModel,
    texts: Sequence[str],
    batch_size: int,
    label: str,
    *,
    max_tokens: int | None = None,
    new_tokens: int = 0,
) -> Iterator[tuple[dict, list[int]]]:
    """Left-padded batches of similar length with the numbers of their texts, longest first."""
    if not texts:
        raise UserError("there are no prompts: the list is empty; check [data] and [sizes]")
    if empty := [i for i, text in enumerate(texts) if not text.strip()]:
        raise UserError(f"prompt number {empty[0] + 1} is empty; remove it from the data")
    model.tokenizer.padding_side = "left"
    cut = {"truncation": True, "max_length": max_tokens} if max_tokens else {}
    ids = model.tokenizer(list(texts), **cut)["input_ids"]
    order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
    if len(ids[order[0]]) + new_tokens > model.config.n_positions:
        raise UserError(
            f"prompt number {order[0] + 1} has {len(ids[order[0]])} tokens, which with {new_tokens} new ones "
            f"is more than the model's {model.config.n_positions} positions; cut it"
        )
    for start in bar(range(0, len(ids), batch_size), label, "batch"):
        rows = order[start : start + batch_size]
        batch = model.tokenizer.pad({"input_ids": [ids[i] for i in rows]}, return_tensors="pt")
        yield {k: batch[k] for k in ("input_ids", "attention_mask")}, rows
