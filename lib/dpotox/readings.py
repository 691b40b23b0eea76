"""What is read while the three models of the study write: before DPO, ablated, and after (section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float
from nnsight import TransformersModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from dpotox.interventions import ablate
from dpotox.models import cosines, value_vectors
from dpotox.neurons import most_toxic
from dpotox.profile import Profile
from dpotox.tracing import Reading, read_generation

MODELS = ("base", "ablated", "dpo")


@dataclass(frozen=True)
class Readings:
    """One reading per model, and what each wrote after the same prompts."""

    base: Reading
    ablated: Reading
    dpo: Reading
    continuations: pd.DataFrame  # prompt, base, ablated, dpo: texts


def read_models(
    base: TransformersModel,
    dpo: TransformersModel,
    prompts: list[str],
    direction: Float[Tensor, "d_model"],
    profile: Profile,
) -> Readings:
    """Let each model continue the prompts greedily and read it; "ablated" lacks the most toxic neurons."""
    cosine = cosines(value_vectors(base), direction)
    layer, neuron = np.indices(cosine.shape).reshape(2, -1)
    table = pd.DataFrame({"layer": layer, "neuron": neuron, "cosine": cosine.flatten().numpy()})
    without = ablate(most_toxic(table, profile.interventions.figure_top))
    runs = {"base": (base, []), "ablated": (base, [without]), "dpo": (dpo, [])}
    texts, read = {"prompt": prompts}, {}
    for name, (model, interventions) in runs.items():
        written, read[name] = read_generation(
            model,
            prompts,
            profile.sizes.new_tokens,
            direction,
            batch_size=profile.compute.batch_size,
            chunks=profile.sizes.chunks,
            interventions=interventions,
            label=f"read {name}",
        )
        texts[name] = written.texts
    return Readings(**read, continuations=pd.DataFrame(texts))


def save(readings: Readings, folder: Path) -> None:
    """Write readings into a folder."""
    tensors = {
        f"{name}.{field}": value.contiguous()
        for name in MODELS
        for field, value in vars(getattr(readings, name)).items()
    }
    save_file(tensors, folder / "readings.safetensors")
    readings.continuations.to_parquet(folder / "continuations.parquet")


def load(folder: Path) -> Readings:
    """Read what `save` wrote."""
    tensors = load_file(folder / "readings.safetensors")
    fields = ("activation", "gelu_input", "mlp", "attention", "residual")
    read = {name: Reading(*(tensors[f"{name}.{field}"] for field in fields)) for name in MODELS}
    return Readings(**read, continuations=pd.read_parquet(folder / "continuations.parquet"))
