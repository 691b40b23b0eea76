"""What is read while the three models of the study write: before DPO, ablated, and after (section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from nnsight import TransformersModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from dpotox.model.interventions import ablate
from dpotox.model.models import cosines, value_vectors
from dpotox.model.tracing import Reading, read_generation
from dpotox.paper.neurons import most_toxic
from dpotox.profile import Profile
from dpotox.run import artifacts

MODELS = ("base", "ablated", "dpo", "dpo_on_base")


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


def read_models(
    base: TransformersModel,
    dpo: TransformersModel,
    prompts: list[str],
    direction: Float[Tensor, "d_model"],
    profile: Profile,
    folder: Path,
) -> None:
    """Read each model while it writes, greedily or what it is told to, and keep that in the folder.

    "Ablated" lacks the most toxic neurons. Models that an interrupted run has read are not read again.
    """
    cosine = cosines(value_vectors(base), direction)
    layer, neuron = np.indices(cosine.shape).reshape(2, -1)
    table = pd.DataFrame({"layer": layer, "neuron": neuron, "cosine": cosine.flatten().numpy()})
    without = ablate(most_toxic(table, profile.interventions.figure_top))
    for name in MODELS:

        def write(path: Path, name: str = name) -> None:
            written, read = read_generation(
                dpo if name.startswith("dpo") else base,
                prompts,
                profile.sizes.new_tokens,
                direction,
                batch_size=profile.compute.batch_size,
                chunks=profile.sizes.chunks,
                interventions=[without] if name == "ablated" else [],
                forced=load_file(folder / "base.safetensors")["tokens"] if name == "dpo_on_base" else None,
                label=f"read {name}",
            )
            pd.DataFrame({"prompt": prompts, name: written.texts}).to_parquet(folder / f"{name}.parquet")
            tensors = vars(read) | {"tokens": written.tokens}
            save_file({field: value.contiguous() for field, value in tensors.items()}, path)

        artifacts.part(folder / f"{name}.safetensors", write)


def load(folder: Path) -> Readings:
    """Read what `read_models` wrote."""
    tensors = {name: load_file(folder / f"{name}.safetensors") for name in MODELS}
    tokens = {name: t.pop("tokens") for name, t in tensors.items()}
    read = {name: Reading(**t) for name, t in tensors.items()}
    texts = [pd.read_parquet(folder / f"{name}.parquet") for name in MODELS]
    columns = [texts[0]["prompt"], *(t[name] for t, name in zip(texts, MODELS, strict=True))]
    return Readings(**read, continuations=pd.concat(columns, axis=1), tokens=tokens)
