"""How interventions reach a model: in a running nnsight trace, or in its weights for as long as it runs.

`edited` turns a list of interventions into a `Plan`; its `apply` is the one function that edits activations.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import nnsight
import torch
from jaxtyping import Float, Int
from nnsight import TransformersModel
from torch import Tensor

from dpotox.model.architecture import Layer, layers, parameters
from dpotox.model.interventions import SITES, Block, Change, Intervention, Site, Swap

Place = tuple[int, Site]
GENERATING, IN_TEXT = slice(-1, None), slice(0, 1)
"""Where the newest position is: the last while generating; in given text, the published code's first."""


@dataclass(frozen=True)
class _Part:
    """One intervention in one layer, ready on its device, so that a trace looks nothing up twice."""

    neurons: Int[Tensor, "neuron"]
    values: Float[Tensor, "neuron"]
    change: Change
    where: slice
    copies: bool


@dataclass(frozen=True)
class Plan:
    """The edits of every layer and site, in their order."""

    parts: dict[Place, list[_Part]]
    other: TransformersModel | None

    def read_along(self, mask: Int[Tensor, "batch pos"]) -> ReadAlong | None:
        """The other model set to read what follows, in the layers in which something is copied from it."""
        copied = {place for place, parts in self.parts.items() if any(part.copies for part in parts)}
        return ReadAlong(self.other, copied, mask) if copied else None

    def apply(
        self, at: Layer, layer: int, theirs: dict[Place, Tensor], sites: Sequence[Site] = SITES
    ) -> None:
        """Edit one layer of a running trace, in forward order.

        Args:
            theirs: what the other model has, `(batch, pos, neuron)`, where it is copied.
        """
        for site in sites:
            if (layer, site) not in self.parts:
                continue
            acts = getattr(at, site)
            # In place: without gradients nothing else holds these tensors, and putting a changed copy back
            # would take as long again. Gathered, which takes a third of the time of an index in brackets.
            for part in self.parts[layer, site]:
                here, values = acts[:, part.where], part.values
                neurons = part.neurons.to(acts.device).expand(*here.shape[:-1], -1)
                if part.copies:
                    values = theirs[layer, site].to(acts.device)[:, part.where].gather(-1, neurons)
                here.scatter_(-1, neurons, part.change(here.gather(-1, neurons), values.to(here)))
            if site == "activation":
                at.put(acts)


class ReadAlong:
    """Another model that reads the tokens a traced one is about to process, step by step."""

    def __init__(self, model: TransformersModel, some: set[Place], mask: Int[Tensor, "batch pos"]) -> None:
        from transformers import DynamicCache  # slow to import

        self.model, self.mask = model, mask
        self.places = sorted(some, key=lambda place: (place[0], SITES.index(place[1])))  # as they are passed
        self.cache = DynamicCache(config=model.config)

    def activations(self, ids: Int[Tensor, "batch pos"]) -> dict[Place, Float[Tensor, "batch pos neuron"]]:
        """What is there at the next tokens, in the layers and at the sites that are copied."""
        device, length = self.model.device, self.cache.get_seq_length() + ids.shape[1]
        mask = torch.nn.functional.pad(self.mask, (0, length - self.mask.shape[1]), value=1)
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        batch = {"input_ids": ids.to(device), "position_ids": positions.to(device)}
        batch |= {"attention_mask": mask.to(device), "past_key_values": self.cache, "use_cache": True}
        inside = layers(self.model, len(ids))
        with torch.no_grad(), self.model.trace(batch):
            acts = nnsight.save([getattr(inside[layer], site) for layer, site in self.places])
        return dict(zip(self.places, acts, strict=True))


@contextmanager
def edited(
    model: TransformersModel,
    interventions: Sequence[Intervention | Swap],
    other: TransformersModel | None,
    newest: slice,
) -> Iterator[Plan]:
    """The plan of interventions; weights are swapped until the context ends.

    Raises:
        ValueError: something is to be taken from another model, and there is none.
    """
    swaps = [i for i in interventions if isinstance(i, Swap)]
    edits = [i for i in interventions if isinstance(i, Intervention)]
    takes = swaps or any(edit.copies for edit in edits)
    if takes and other is None:
        raise ValueError("copies and swaps take from another model; give it as `other`")
    if takes and model.remote:
        raise ValueError("copies and swaps take from another model, which a job at NDIF cannot")
    parts: dict[Place, list[_Part]] = defaultdict(list)
    for edit in edits:
        for layer, neurons, values in edit.by_layer():
            device = model.layers[layer].down.weight.device
            where = slice(None) if edit.positions == "all" else newest
            part = _Part(neurons.to(device), values.to(device), edit.change, where, edit.copies)
            parts[layer, edit.site].append(part)
    with _swapped(model, other, {block for swap in swaps for block in swap.blocks}):
        yield Plan(dict(parts), other if takes else None)


@contextmanager
def _swapped(model: TransformersModel, other: TransformersModel | None, blocks: set[Block]) -> Iterator[None]:
    ours = [parameter for block in blocks for parameter in parameters(model, block)]
    theirs = [parameter for block in blocks for parameter in parameters(other, block)]
    kept = [parameter.detach().clone() for parameter in ours]
    try:
        _put(theirs, ours)
        yield
    finally:
        _put(kept, ours)


@torch.no_grad()
def _put(values: list[Tensor], parameters: list[torch.nn.Parameter]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)
