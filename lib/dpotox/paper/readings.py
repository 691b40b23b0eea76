"""What is read while the three models of the study write: before DPO, ablated, and after (section 3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from torch import Tensor

from dpotox.model.interventions import Intervention, ablate
from dpotox.model.tracing import Continuations, Reading
from dpotox.model.weights import cosines
from dpotox.paper.neurons import neuron_table
from dpotox.paper.selections import most_toxic

Pass = tuple[Continuations, Reading]
"""What a model wrote, and what was read meanwhile."""


@dataclass(frozen=True)
class Readings:
    """One reading per model, and what each wrote after the same prompts.

    `dpo_on_base` is the model after DPO on the text that the one before wrote: what differs there is due to
    the model alone, not to other words.
    """

    base: Reading
    ablated: Reading
    dpo: Reading
    dpo_on_base: Reading
    continuations: pd.DataFrame  # prompt, and a column of texts per reading
    tokens: dict[str, Int[Tensor, "prompt new_token"]]  # the same, by model


def gathered(prompts: list[str], passes: dict[str, Pass]) -> Readings:
    """The readings from a pass for each of their names."""
    texts = {name: written.texts for name, (written, _) in passes.items()}
    return Readings(
        **{name: read for name, (_, read) in passes.items()},
        continuations=pd.DataFrame({"prompt": prompts} | texts),
        tokens={name: written.tokens for name, (written, _) in passes.items()},
    )


def ablate_most_toxic(
    values: Float[Tensor, "layer neuron d_model"], direction: Float[Tensor, "d_model"], top: int
) -> Intervention:
    """The ablation of the `top` neurons whose value vectors have the largest cosine with the probe."""
    cosine = cosines(values, direction)
    layer, neuron = np.indices(cosine.shape).reshape(2, -1)
    table = pd.DataFrame({"layer": layer, "neuron": neuron, "cosine": cosine.flatten().numpy()})
    return ablate(most_toxic(table, top))


def study_neurons(
    read: Readings,
    base_values: Float[Tensor, "layer neuron d_model"],
    dpo_values: Float[Tensor, "layer neuron d_model"],
    direction: Float[Tensor, "d_model"],
    *,
    gated: bool = False,
) -> pd.DataFrame:
    """The neuron table, with the means of what enters the GELU and the change on the same text."""
    base, dpo = read.base, read.dpo
    means = base.activation.mean(0), dpo.activation.mean(0)
    more = {
        "pre_gelu_input": base.gelu_input.mean(0),
        "post_gelu_input": dpo.gelu_input.mean(0),
        "same_text_change": read.dpo_on_base.activation.mean(0) - means[0],
    }
    table = neuron_table(*means, base_values, dpo_values, direction, gated=gated)
    return table.assign(**{name: values.flatten().double().numpy() for name, values in more.items()})
