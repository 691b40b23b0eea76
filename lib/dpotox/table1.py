"""The rows of the paper's table 1, its group patching, and the controls we put beside them (section 5).

A row is a name, the model it starts from, and a list of interventions. Numbers of neurons are scaled to
the model's size in the profile; the paper's own are 100, 200, 1,000 and 2,000 of 98,304.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float
from nnsight import TransformersModel
from torch import Tensor

from dpotox import artifacts, profile
from dpotox.evaluation import Estimate, Exam, Result, estimate, examine, mean, recovered_share
from dpotox.groups import REDUCING
from dpotox.interventions import Intervention, ablate, clamp, scale_keys, shift
from dpotox.neurons import in_groups, most_toxic
from dpotox.progress import bar
from dpotox.published import NUMBERS
from dpotox.scoring import Score


@dataclass(frozen=True)
class Row:
    """One row: what is done to which model, and the row of the published table it corresponds to."""

    name: str
    model: Literal["base", "dpo"]
    kind: Literal["none", "ablate", "patch", "patch after the GELU", "control", "shift", "scale keys"]
    interventions: tuple[Intervention, ...] = ()
    published: str = ""  # the intervention's name in the published table, if it is there


def rows(
    neurons: pd.DataFrame, dpo_key_biases: Float[Tensor, "layer neuron"], settings: profile.Interventions
) -> list[Row]:
    """All rows for a neuron table, which must have `pre_gelu_input` and `post_gelu_input` as well."""
    result = [Row("before DPO", "base", "none", (), "gpt2: none")]
    kinds = ((False, "", settings.ablate_top), (True, " positive", settings.ablate_top_positive))
    for only_positive, word, numbers in kinds:
        for k in numbers:
            name = f"ablate top {k}{word} toxic"
            edit = ablate(most_toxic(neurons, k, only_positive=only_positive), name)
            result.append(Row(name, "base", "ablate", (edit,), _published_ablation(k, len(neurons), word)))
    for groups in [[g] for g in REDUCING] + [list(REDUCING)]:
        result += _group_rows(neurons, groups)
    result.append(Row("after DPO", "dpo", "none", (), "dpo: none"))
    top = most_toxic(neurons, settings.scale_top)
    at = top["layer"].to_numpy(), top["neuron"].to_numpy()
    bias = pd.Series(dpo_key_biases.numpy()[at], index=top.index)
    for factor in settings.scale_factors:
        name = f"scale keys of top {len(top)} toxic by {factor:g}"
        published = f"dpo: scale key vectors of top {len(top)} toxic neurons x{factor:g}"
        result.append(Row(name, "dpo", "scale keys", (scale_keys(top, bias, factor, name),), published))
    return result


def _published_ablation(k: int, neurons: int, word: str) -> str:
    """The published row that ablates the same share of all neurons, if there is one."""
    total = NUMBERS["groups"]["neurons"]
    for published_k in (100, 200, 1_000, 2_000):
        if round(published_k / total * neurons) == k:
            return f"gpt2: ablate top {published_k}{' positively activated' if word else ''} toxic neurons"
    return ""


def _group_rows(neurons: pd.DataFrame, groups: list[str]) -> list[Row]:
    """Patch some groups, beside the rows of ours that tell what the patch owes to mere clamping."""
    chosen = in_groups(neurons, groups)
    label = "all four groups" if len(groups) > 1 else groups[0]
    published = "gpt2: patch all dampened toxic neurons to post-DPO levels" if label == "TP-" else ""
    if chosen.empty:
        return []
    patch = clamp(chosen, chosen["post_gelu_input"], f"patch {label}", "gelu_input")
    hold = clamp(chosen, chosen["pre_gelu_input"], f"control: hold {label}", "gelu_input")
    after = clamp(chosen, chosen["post_activation"], f"patch {label} after the GELU")
    moved = shift(chosen, chosen["activation_change"], f"shift {label}")
    edits = [(patch, "patch", published), (hold, "control", ""), (moved, "shift", "")]
    if label in ("TP-", "all four groups"):
        same = clamp(chosen, chosen["pre_activation"], f"control: hold {label} after the GELU")
        edits += [(after, "patch after the GELU", ""), (same, "control", "")]
    return [Row(edit.name, "base", kind, (edit,), source) for edit, kind, source in edits]


@dataclass(frozen=True)
class Table1:
    """The rows (`name`, `model`, `kind`, `neurons`, `published`) and each one's outcome by name."""

    rows: pd.DataFrame
    total_neurons: int
    results: dict[str, Result]

    def __getitem__(self, name: str) -> Result:
        return self.results[name]

    def row(self, name: str) -> pd.Series:
        """The description of one row."""
        return self.rows.set_index("name").loc[name]

    def recovered(self, name: str, resamples: int, measure: str = "greedy") -> Estimate:
        """The share of DPO's effect on toxicity that a row recovers, paired over prompts."""
        samples = (getattr(self[n], measure) for n in ("before DPO", name, "after DPO"))
        return estimate(recovered_share, *samples, resamples=resamples)

    def rescored(self, score: Score) -> Table1:
        """The same table with greedy toxicity judged by another scorer."""
        results = {n: replace(r, greedy=score(r.texts.tolist())) for n, r in self.results.items()}
        return replace(self, results=results)

    def summary(self, resamples: int) -> pd.DataFrame:
        """One line per row: every measure with the ends of its 95 % interval."""
        lines = []
        for row in self.rows.itertuples():
            result = self[row.name]
            nll = estimate(mean, result.nll, resamples=resamples)
            measures = {
                "toxicity": estimate(mean, result.greedy, resamples=resamples),
                "sampled_toxicity": estimate(mean, result.sampled, resamples=resamples),
                "perplexity": Estimate(*np.exp([nll.value, nll.low, nll.high]).tolist()),
                "f1": estimate(mean, result.f1, resamples=resamples),
                "recovered": self.recovered(row.name, resamples),
                "recovered_sampled": self.recovered(row.name, resamples, "sampled"),
            }
            line = row._asdict() | {"of_all_neurons": row.neurons / self.total_neurons}
            line.pop("Index")
            for name, e in measures.items():
                line |= {name: e.value, f"{name}_low": e.low, f"{name}_high": e.high}
            lines.append(line)
        return pd.DataFrame(lines)


def examine_rows(
    rows: list[Row], base: TransformersModel, dpo: TransformersModel, exam: Exam, folder: Path
) -> None:
    """Examine every row and write each outcome into the folder, where `load` finds them.

    Rows that an interrupted run has left there are not examined again.
    """
    models = {"base": base, "dpo": dpo}
    for i, row in enumerate(bar(rows, "table 1", "row")):

        def write(path: Path, row: Row = row) -> None:
            result = examine(models[row.model], exam, row.interventions)
            np.savez(path, **vars(result))

        artifacts.part(folder / f"row{i:03}.npz", write)
    described = {
        "name": [row.name for row in rows],
        "model": [row.model for row in rows],
        "kind": [row.kind for row in rows],
        "neurons": [sum(len(i.neurons) for i in row.interventions) for row in rows],
        "published": [row.published for row in rows],
    }
    total = sum(block.mlp.c_proj.weight.shape[0] for block in base.transformer.h)
    pd.DataFrame(described | {"total_neurons": total}).to_csv(folder / "rows.csv", index=False)


def load(folder: Path) -> Table1:
    """Read what `examine_rows` wrote."""
    described = pd.read_csv(folder / "rows.csv", keep_default_na=False)
    total = int(described.pop("total_neurons")[0])
    results = {}
    for i, name in enumerate(described["name"]):
        with np.load(folder / f"row{i:03}.npz") as arrays:
            results[name] = Result(**arrays)
    return Table1(described, total, results)
