"""What every MLP reads on a given text, and who wrote it: means of vectors, traced by nnsight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import nnsight
import torch
from jaxtyping import Float, Int
from nnsight import TransformersModel
from torch import Tensor

from dpotox.memory import halving
from dpotox.model.architecture import is_parallel, layers
from dpotox.model.generation import batches
from dpotox.ndif import answered


class Streams(NamedTuple):
    """Means over new tokens and the prompts of a chunk, read at the positions that predict the tokens.

    Writers are the embeddings and then, layer by layer, attention and MLP. What each has written is
    divided, token by token, by the scale of the norm before the MLP that reads it; later writers' are zero.
    """

    entering: Float[Tensor, "chunk layer d_model"]  # what the MLP reads, behind its norm
    written: Float[Tensor, "chunk layer writer d_model"]
    scale: Float[Tensor, "layer prompt new_token"]  # the standard deviation that the norm divides by


@halving
@answered
def read_streams(
    model: TransformersModel,
    prompts: Sequence[str],
    tokens: Int[Tensor, "prompt new_token"],
    *,
    batch_size: int,
    chunks: int = 1,
    scale: Float[Tensor, "layer prompt new_token"] | None = None,
) -> Streams:
    """Read prompts that are continued by these tokens, in one pass.

    Args:
        scale: divide what is written by these, to see another model through the same norm.
    """
    home, new, depth = model.device, tokens.shape[1], len(model.layers)
    chunk_of, parallel = torch.arange(len(prompts)) % chunks, is_parallel(model.config)
    entering = torch.zeros(chunks, depth, model.config.hidden_size, device=home)
    written = torch.zeros(chunks, depth, 2 * depth + 1, model.config.hidden_size, device=home)
    scales = torch.zeros(depth, len(prompts), new)
    for batch, rows in batches(model, prompts, batch_size, "read streams", new_tokens=new):
        ids, chunk = torch.cat([batch["input_ids"], tokens[rows, :-1]], 1), chunk_of[rows].to(home)
        mask = torch.nn.functional.pad(batch["attention_mask"], (0, new - 1), value=1)
        inside = layers(model, len(rows))
        given = None if scale is None else scale[:, rows]
        batch = {"input_ids": ids, "attention_mask": mask}
        with torch.no_grad(), model.trace(batch, logits_to_keep=1, remote=model.remote):
            by_writer, read = (
                nnsight.save(torch.zeros_like(written)),
                nnsight.save(torch.zeros_like(entering)),
            )
            divided_by = nnsight.save(torch.zeros(depth, len(rows), new))
            stream = [model.layers[0].input[:, -new:].to(home, torch.float32)]
            for layer, at in enumerate(inside):
                stream.append(at.by_attention[:, -new:].to(home, torch.float32))
                entered = stream[:-1] if parallel else stream
                divided_by[layer] = at.scale_of(sum(entered)).cpu()
                by = (divided_by if given is None else given)[layer, :, :, None].to(home)
                for writer, vectors in enumerate(entered):
                    by_writer[:, layer, writer].index_add_(0, chunk, (vectors / by).sum(1))
                normed = at.normed[:, -new:].float().sum(1)
                read[:, layer].index_add_(0, chunk, normed.to(home))
                stream.append(at.by_mlp[:, -new:].to(home, torch.float32))
        written += by_writer
        entering += read
        scales[:, rows] = divided_by
    count = torch.bincount(chunk_of, minlength=chunks)[:, None, None] * new
    return Streams(entering.cpu() / count, written.cpu() / count[..., None], scales)
