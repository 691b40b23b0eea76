"""The neuron table: every neuron before and after DPO, from one pass of reading (sections 3 and 4)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dpotox.errors import UserError
from dpotox.paper.groups import group_by_activation, group_by_projection


def neuron_table(
    pre_activation: Float[Tensor, "layer neuron"],
    post_activation: Float[Tensor, "layer neuron"],
    pre_values: Float[Tensor, "layer neuron d_model"],
    post_values: Float[Tensor, "layer neuron d_model"],
    direction: Float[Tensor, "d_model"],
    *,
    gated: bool = False,
) -> pd.DataFrame:
    """One row per neuron, in units of the residual stream.

    Args:
        pre_activation, post_activation: mean activation over generated tokens, before and after DPO.
        pre_values, post_values: value vectors before and after DPO.
        direction: the probe; only its direction matters.
        gated: whether a neuron's sign is a convention, so that its activation and its value vector may be
            turned together; then they are, where the value vector does not lie along the probe. So TP is
            what else were TP and AN, TN what were TN and AP, and the other groups are empty.

    Returns:
        `layer`, `neuron`; `cosine` and `post_cosine` (value vector with probe); `pre_activation` and
        `post_activation`; `pre_value_projection` and `post_value_projection` (value vector on the unit
        probe); `pre_projection` and `post_projection` (the product of the two before);
        `projection_drop`, `activation_change`, `group` (by activation change), `group_by_projection`.

    Raises:
        UserError: a number is not finite, or a vector has no length; the neuron is named.
    """
    if not 0 < direction.double().norm() < torch.inf:
        raise UserError("the probe has no length or a number that is not finite; give or fit another one")
    for when, values in (("before", pre_values), ("after", post_values)):
        lengths = values.norm(dim=-1)
        _refuse(
            ~((lengths > 0) & torch.isfinite(lengths)), f"a value vector {when} DPO without a finite length"
        )
    along = (_along(values, direction[None])[0] for values in (pre_values, post_values))
    return _table(pre_activation, post_activation, *along, gated)


def _refuse(wrong: Bool[Tensor, "layer neuron"], what: str) -> None:
    if wrong.any():
        layer, neuron = wrong.nonzero()[0].tolist()
        raise UserError(
            f"neuron {layer}:{neuron} has {what}; check the model, or use compute.dtype = 'float32'"
        )


def _along(
    values: Float[Tensor, "layer neuron d_model"], directions: Float[Tensor, "draw d_model"]
) -> Float[Tensor, "draw two layer neuron"]:
    """Every value vector's projection on unit directions, and its cosine with them.

    In double precision, so that sums over many neurons of either sign stay exact to many digits; layer by
    layer, as all value vectors in double precision would take gigabytes.
    """
    units = directions.double() / directions.double().norm(dim=-1, keepdim=True)
    parts = []
    for layer in values:
        projection = units @ layer.double().T
        parts.append(torch.stack([projection, projection / layer.double().norm(dim=-1)], dim=1))
    return torch.stack(parts, dim=2)


def _table(
    pre_activation: Float[Tensor, "layer neuron"],
    post_activation: Float[Tensor, "layer neuron"],
    pre_along: Float[Tensor, "two layer neuron"],
    post_along: Float[Tensor, "two layer neuron"],
    gated: bool,
) -> pd.DataFrame:
    layers, width = pre_activation.shape
    if gated:
        sign = torch.where(pre_along[1] < 0, -1, 1)
        pre_along, post_along = sign * pre_along, sign * post_along
        pre_activation, post_activation = sign * pre_activation, sign * post_activation
    for when, activation in (("before", pre_activation), ("after", post_activation)):
        _refuse(~torch.isfinite(activation), f"a mean activation {when} DPO that is not a finite number")
    columns = {
        "cosine": pre_along[1],
        "post_cosine": post_along[1],
        "pre_activation": pre_activation.double(),
        "post_activation": post_activation.double(),
        "pre_value_projection": pre_along[0],
        "post_value_projection": post_along[0],
    }
    columns |= {
        f"{when}_projection": columns[f"{when}_activation"] * columns[f"{when}_value_projection"]
        for when in ("pre", "post")
    }
    place = {
        "layer": np.repeat(np.arange(layers), width),
        "neuron": np.tile(np.arange(width), layers),
    }
    table = pd.DataFrame(place | {name: column.flatten().numpy() for name, column in columns.items()})
    table["projection_drop"] = table["pre_projection"] - table["post_projection"]
    table["activation_change"] = table["post_activation"] - table["pre_activation"]
    table["group"] = group_by_activation(table)
    table["group_by_projection"] = group_by_projection(table)
    return table


def resampled_neuron_tables(
    pre_chunks: Float[Tensor, "chunk layer neuron"],
    post_chunks: Float[Tensor, "chunk layer neuron"],
    pre_values: Float[Tensor, "layer neuron d_model"],
    post_values: Float[Tensor, "layer neuron d_model"],
    direction: Float[Tensor, "d_model"],
    *,
    draws: int,
    seed: int,
    gated: bool = False,
) -> Iterator[pd.DataFrame]:
    """Neuron tables of bootstrap samples of prompts, to give what follows from them an interval.

    Whole chunks of prompts are resampled, the same ones before and after DPO; each sample assigns its
    neurons to groups anew.
    """
    rng, n = np.random.default_rng(seed), len(pre_chunks)
    along = [_along(values, direction[None])[0] for values in (pre_values, post_values)]
    for _ in range(draws):
        weight = torch.tensor(np.bincount(rng.integers(n, size=n), minlength=n) / n)
        pre, post = (torch.einsum("c,cln->ln", weight.float(), x) for x in (pre_chunks, post_chunks))
        yield _table(pre, post, *along, gated)


def tables_along(
    directions: Float[Tensor, "draw d_model"],
    pre_activation: Float[Tensor, "layer neuron"],
    post_activation: Float[Tensor, "layer neuron"],
    pre_values: Float[Tensor, "layer neuron d_model"],
    post_values: Float[Tensor, "layer neuron d_model"],
    *,
    gated: bool = False,
) -> Iterator[pd.DataFrame]:
    """Neuron tables with other directions in place of the probe: is what the probe shows special?

    Each direction is signed so that its net is a reduction, as the probe's is. Not in the paper.
    """
    for some in directions.split(50):  # at once: more would take gigabytes
        alongs = zip(_along(pre_values, some), _along(post_values, some), strict=True)
        for pre_along, post_along in alongs:
            net = (pre_activation * pre_along[0] - post_activation * post_along[0]).sum()
            sign = -1 if net < 0 else 1
            yield _table(pre_activation, post_activation, sign * pre_along, sign * post_along, gated)
