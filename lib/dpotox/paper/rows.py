"""Which rows table 1 has: the paper's, its group patching, and the controls we put beside them (section 5).

A row is a name, the model it starts from, and a list of interventions. Numbers of neurons are scaled to
the model's size in the profile; the paper's own are 100, 200, 1,000 and 2,000 of 98,304.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from dpotox import profile
from dpotox.model.interventions import (
    BLOCKS,
    Intervention,
    Positions,
    Swap,
    ablate,
    at_newest,
    clamp,
    copy,
    scale_keys,
    shift,
    steer,
)
from dpotox.paper.published import NUMBERS
from dpotox.paper.selections import ALL_FOUR, EVERYTHING, SETS, matched, most_toxic, neurons_of

Kind = Literal[
    "none",
    "ablate",
    "patch",
    "hold",
    "patch after the GELU",
    "hold after the GELU",
    "shift",
    "shift, same text",
    "copy",
    "steer",
    "swap",
    "scale keys",
    "add offset",
    "remove offset",
]


class Key(NamedTuple):
    """What tells a row from all others: the kind of edit, of what, and where it acts."""

    kind: Kind
    which: str
    positions: Positions = "all"


BEFORE, AFTER = Key("none", "before DPO"), Key("none", "after DPO")
OFFSET_ROWS: dict[str, Kind] = {"base": "add offset", "dpo": "remove offset"}


@dataclass(frozen=True)
class Row:
    """What is done to which model; `which` names the neurons, and `name` is for readers."""

    name: str
    model: Literal["base", "dpo"]
    kind: Kind
    which: str
    interventions: tuple[Intervention | Swap, ...] = ()
    positions: Positions = "all"
    published: str = ""  # the intervention's name in the published table, if it is there

    @property
    def takes(self) -> bool:
        """Whether something is taken from the other model."""
        return any(isinstance(edit, Swap) or edit.copies for edit in self.interventions)


@dataclass(frozen=True)
class Draws:
    """The same kind of edit on random choices, to be held beside a row."""

    name: str
    beside: str
    interventions: tuple[Intervention, ...]
    model: Literal["base", "dpo"] = "base"


def table1_rows(
    neurons: pd.DataFrame,
    dpo_key_biases: Float[Tensor, "layer neuron"],
    steering: dict[int, Float[Tensor, "d_model"]],
    settings: profile.Interventions,
) -> list[Row]:
    """All rows.

    Args:
        neurons: a neuron table that has `pre_gelu_input`, `post_gelu_input` and `same_text_change` (of the
            activation, both models on the text from before DPO) as well.
        steering: what is added to the residual stream along the probe, by layer.
    """
    rows = [Row("before DPO", "base", *BEFORE[:2], published="gpt2: none")]
    rows += _ablations(neurons, settings)
    for which in settings.sets:
        chosen = neurons_of(neurons, which)
        rows += _group_rows(chosen, which) if len(chosen) else []
    for layer, by in steering.items():
        edit = steer(by, layer, f"steer along the probe after layer {layer}")
        which = "the probe" if layer == max(steering) else "the probe, halfway"
        rows.append(Row(edit.name, "base", "steer", which, (edit,)))
    together = [("MLP in", "MLP out"), ("MLP in", "MLP out", "attention")]
    for blocks in [(block,) for block in BLOCKS] + together:
        which = " and ".join(blocks)
        rows.append(Row(f"swap {which}", "base", "swap", which, (Swap(f"swap {which}", blocks),)))
    rows.append(Row("after DPO", "dpo", *AFTER[:2], published="dpo: none"))
    return rows + _scaled_keys(neurons, dpo_key_biases, settings)


def absent(neurons: pd.DataFrame, settings: profile.Interventions) -> dict[str, str]:
    """The sets of neurons that have no rows, and why."""
    not_asked = dict.fromkeys((s for s in SETS if s not in settings.sets), "not in interventions.sets")
    return not_asked | {s: "no neuron" for s in settings.sets if neurons_of(neurons, s).empty}


def _ablations(neurons: pd.DataFrame, settings: profile.Interventions) -> list[Row]:
    """The paper's ablations by cosine; beside the largest, as many neurons chosen in other ways."""
    rows = []
    kinds = ((False, "", settings.ablate_top), (True, " positive", settings.ablate_top_positive))
    for only_positive, word, numbers in kinds:
        for k in numbers:
            which = f"top {k}{word} toxic"
            edit = ablate(most_toxic(neurons, k, only_positive=only_positive), f"ablate {which}")
            published = _published_ablation(k, len(neurons), word)
            rows.append(Row(edit.name, "base", "ablate", which, (edit,), published=published))
    k = max(settings.ablate_top_positive)
    for column, word in (("pre_projection", "projection"), ("projection_drop", "contribution")):
        which = f"top {k} by {word}"
        edit = ablate(neurons.nlargest(k, column), f"ablate {which}")
        rows.append(Row(edit.name, "base", "ablate", which, (edit,)))
    chosen = neurons.nlargest(k, "projection_drop")
    edit = shift(chosen, chosen["activation_change"], f"shift {which}")
    return [*rows, Row(edit.name, "base", "shift", which, (edit,))]


def _published_ablation(k: int, neurons: int, word: str) -> str:
    """The published row that ablates the same share of all neurons, if there is one."""
    total = NUMBERS["groups"]["neurons"]
    for published_k in (100, 200, 1_000, 2_000):
        if round(published_k / total * neurons) == k:
            return f"gpt2: ablate top {published_k}{' positively activated' if word else ''} toxic neurons"
    return ""


def _group_rows(chosen: pd.DataFrame, which: str) -> list[Row]:
    """Patch some neurons, the paper's way and everywhere, beside what tells the worth of it."""
    published = "gpt2: patch all dampened toxic neurons to post-DPO levels" if which == "TP-" else ""
    patch = clamp(chosen, chosen["post_gelu_input"], f"patch {which}", "gelu_input")
    hold = clamp(chosen, chosen["pre_gelu_input"], f"hold {which}", "gelu_input")
    moved = shift(chosen, chosen["activation_change"], f"shift {which}")
    rows = [
        Row(f"{edit.name}, newest only", "base", kind, which, (at_newest(edit, edit.name),), "newest", source)
        for edit, kind, source in ((patch, "patch", published), (hold, "hold", ""))
    ]
    edits: list[tuple[Intervention, Kind]] = [(patch, "patch"), (hold, "hold")]
    if which in ("TP-", ALL_FOUR):
        after = clamp(chosen, chosen["post_activation"], f"patch {which} after the GELU")
        same = clamp(chosen, chosen["pre_activation"], f"hold {which} after the GELU")
        edits += [(after, "patch after the GELU"), (same, "hold after the GELU")]
    by_model = shift(chosen, chosen["same_text_change"], f"shift {which}, same text")
    edits += [(moved, "shift"), (by_model, "shift, same text"), (copy(chosen, f"copy {which}"), "copy")]
    return rows + [Row(edit.name, "base", kind, which, (edit,)) for edit, kind in edits]


def _scaled_keys(
    neurons: pd.DataFrame, dpo_key_biases: Float[Tensor, "layer neuron"], settings: profile.Interventions
) -> list[Row]:
    top = most_toxic(neurons, settings.scale_top)
    bias, rows = _biases(top, dpo_key_biases), []
    for factor in settings.scale_factors:
        edit = scale_keys(top, bias, factor, _scaled_name(top, factor))
        published = f"dpo: scale key vectors of top {len(top)} toxic neurons x{factor:g}"
        which = f"top {len(top)} toxic x{factor:g}"
        rows.append(Row(edit.name, "dpo", "scale keys", which, (edit,), published=published))
    return rows


def _scaled_name(top: pd.DataFrame, factor: float) -> str:
    return f"scale keys of top {len(top)} toxic by {factor:g}"


def _biases(chosen: pd.DataFrame, biases: Float[Tensor, "layer neuron"]) -> pd.Series:
    at = chosen["layer"].to_numpy(), chosen["neuron"].to_numpy()
    return pd.Series(biases.numpy()[at], index=chosen.index)


def random_draws(
    neurons: pd.DataFrame,
    dpo_key_biases: Float[Tensor, "layer neuron"],
    steering: dict[int, Float[Tensor, "d_model"]],
    settings: profile.Interventions,
    seed: int,
) -> list[Draws]:
    """Random neurons matched in layer and activation, shifts dealt within layer and group, random directions.

    Takes what `table1_rows` takes.
    """
    rng, n = np.random.default_rng(seed), settings.draws
    largest = max(settings.ablate_top_positive)
    toxic, dampened = most_toxic(neurons, largest, only_positive=True), neurons_of(neurons, "TP-")
    four = neurons_of(neurons, ALL_FOUR)

    def patched(chosen: pd.DataFrame) -> Intervention:
        return clamp(chosen, chosen["post_gelu_input"], site="gelu_input")

    def shifted(chosen: pd.DataFrame) -> Intervention:
        return shift(chosen, chosen["activation_change"])

    def dealt() -> Intervention:
        by_kind = four.groupby(["layer", "group"])["activation_change"]
        return shift(four, by_kind.transform(lambda changes: rng.permutation(changes.to_numpy())))

    least, toxic_keys = min(settings.scale_factors), most_toxic(neurons, settings.scale_top)

    def scaled(chosen: pd.DataFrame) -> Intervention:
        return scale_keys(chosen, _biases(chosen, dpo_key_biases), least)

    draws = [
        ("random neurons", f"ablate top {largest} positive toxic", toxic, ablate),
        ("random neurons", "patch TP-", dampened, patched),
        ("random neurons", "shift TP-", dampened, shifted),
    ]
    result = [
        Draws(name, beside, tuple(edit(matched(neurons, chosen, rng)) for _ in range(n)))
        for name, beside, chosen, edit in draws
        if n and len(chosen) and (beside.startswith("ablate") or "TP-" in settings.sets)
    ]
    if n and len(four) and ALL_FOUR in settings.sets:
        edits = tuple(dealt() for _ in range(n))
        result.append(Draws("shifts dealt within layer and group", f"shift {ALL_FOUR}", edits))
    if n and len(toxic_keys):
        edits = tuple(scaled(matched(neurons, toxic_keys, rng)) for _ in range(n))
        result.append(Draws("random neurons", _scaled_name(toxic_keys, least), edits, "dpo"))
    if n and steering:
        last, by = max(steering.items())
        random = torch.randn(n, len(by), generator=torch.Generator().manual_seed(seed))
        edits = tuple(steer(by.norm() * some / some.norm(), last) for some in random)
        result.append(Draws("random directions", f"steer along the probe after layer {last}", edits))
    return result


def offset_rows(neurons: pd.DataFrame, by: dict[str, pd.Series], top: int) -> list[Row]:
    """The mean shift of what MLPs read, added before DPO and taken away after it: for all, for toxic neurons.

    Args:
        by: what that adds to the input of each neuron's GELU, by the model that is edited.
    """
    return [
        Row(f"{kind}, {which}", model, kind, which, (shift(chosen, by[model], kind, "gelu_input"),))
        for model, kind in OFFSET_ROWS.items()
        for which, chosen in ((EVERYTHING, neurons), (f"top {top} toxic", most_toxic(neurons, top)))
    ]
