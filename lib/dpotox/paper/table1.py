"""The outcome of every row of table 1, kept per prompt, and what is read from it (section 5)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float
from nnsight import TransformersModel

from dpotox.inputs.scoring import Score
from dpotox.model.interventions import Intervention
from dpotox.paper.evaluation import (
    Estimate,
    Exam,
    Result,
    estimate,
    examine,
    greedy_toxicity,
    load_result,
    mean,
    recovered_share,
    save_result,
)
from dpotox.paper.rows import Draws, Row
from dpotox.run import artifacts

FEWEST_DRAWS = 5
"""From fewer random draws nothing is concluded."""


@dataclass(frozen=True)
class Table1:
    """The rows (`name`, `model`, `kind`, `which`, `positions`, `neurons`, `published`) and their outcomes.

    Attributes:
        results: each row's outcome by its name.
        draws: beside some rows, by their names, the greedy toxicity of random choices.
        draw_names: what was drawn, by the same names.
    """

    rows: pd.DataFrame
    total_neurons: int
    results: dict[str, Result]
    draws: dict[str, Float[np.ndarray, "draw fewer"]]
    draw_names: dict[str, str]

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

    def beyond_draws(self, name: str, resamples: int) -> Estimate:
        """The share of DPO's effect that a row recovers beyond the mean of its random draws.

        On the prompts of the draws. These and the draws are both resampled; fewer than `FEWEST_DRAWS` give no
        interval.
        """
        drawn = self.draws[name]
        rng, (n_draws, n_prompts) = np.random.default_rng(0), drawn.shape
        outcomes = np.stack([self[n].greedy[:n_prompts] for n in ("before DPO", name, "after DPO")])

        def beyond(prompts: np.ndarray, draws: np.ndarray) -> np.ndarray:
            """For weights of prompts and of draws, a row each per resample."""
            none, row, dpo = outcomes @ prompts.T
            return (((prompts @ drawn.T) * draws).sum(1) - row) / (none - dpo)

        value = float(beyond(np.full((1, n_prompts), 1 / n_prompts), np.full((1, n_draws), 1 / n_draws))[0])
        if n_draws < FEWEST_DRAWS:
            return Estimate(value, float("nan"), float("nan"))
        weights = [rng.multinomial(n, np.full(n, 1 / n), size=resamples) / n for n in drawn.shape]
        low, high = np.quantile(beyond(weights[1], weights[0]), [0.025, 0.975])
        return Estimate(value, float(low), float(high))

    def drawn_shares(self, name: str) -> Float[np.ndarray, "draw"]:
        """The share of DPO's effect that each random draw beside a row recovers."""
        drawn = self.draws[name]
        before, after = (self[n].greedy[: drawn.shape[1]] for n in ("before DPO", "after DPO"))
        return recovered_share(before, drawn, after)

    def summary(self, resamples: int) -> pd.DataFrame:
        """One line per row: every measure with the ends of its 95 % interval."""
        lines = []
        for row in self.rows.itertuples(index=False):
            result = self[row.name]
            measures = {
                "recovered": self.recovered(row.name, resamples),
                "recovered_sampled": self.recovered(row.name, resamples, "sampled"),
                "toxicity": estimate(mean, result.greedy, resamples=resamples),
                "sampled_toxicity": estimate(mean, result.sampled, resamples=resamples),
                "above_half": estimate(mean, result.above_half, resamples=resamples),
                "perplexity": estimate(perplexity, result.neutral_nll, resamples=resamples),
                "perplexity_all": estimate(perplexity, result.nll, resamples=resamples),
                "f1": estimate(mean, result.f1, resamples=resamples),
                "repetition": estimate(mean, result.repetition, resamples=resamples),
            }
            line = row._asdict() | {"of_all_neurons": row.neurons / self.total_neurons}
            for name, e in measures.items():
                line |= {name: e.value, f"{name}_low": e.low, f"{name}_high": e.high}
            lines.append(line)
        return pd.DataFrame(lines)


def perplexity(nll: Float[np.ndarray, "*draw window"]) -> Float[np.ndarray, "*draw"]:
    """The exponential of the mean loss, as a statistic for `estimate`."""
    return np.exp(nll.mean(-1))


def describe(rows: list[Row], draws: list[Draws], total_neurons: int, folder: Path) -> None:
    """Write what is examined into the folder, where `load` finds it."""
    described = [
        {
            "name": row.name,
            "model": row.model,
            "kind": row.kind,
            "which": row.which,
            "positions": row.positions,
            "neurons": sum(len(i.neurons) for i in row.interventions if _names_neurons(i)),
            "published": row.published,
            "total_neurons": total_neurons,
        }
        for row in rows
    ]
    pd.DataFrame(described).to_csv(folder / "rows.csv", index=False)
    drawn = [(some.name, some.beside, len(some.interventions)) for some in draws]
    pd.DataFrame(drawn, columns=["name", "beside", "draws"]).to_csv(folder / "draws.csv", index=False)


def examine_row(
    number: int,
    row: Row,
    base: TransformersModel,
    dpo: TransformersModel,
    exam: Exam,
    known: dict[str, Result],
    folder: Path,
) -> None:
    """Examine a row, unless its outcome is `known`, and write that into the folder, where `load` finds it."""
    model, other = {"base": (base, dpo), "dpo": (dpo, base)}[row.model]

    def write(path: Path) -> None:
        save_result(known.get(row.name) or examine(model, exam, row.interventions, other), path)

    artifacts.part(folder / f"row{number:03}.npz", write)


def examine_draw(
    draws: int, number: int, edit: Intervention, base: TransformersModel, exam: Exam, folder: Path
) -> None:
    """Examine one of some random draws and write its outcome into the folder."""

    def write(path: Path) -> None:
        np.savez(path, greedy=greedy_toxicity(base, exam, [edit]))

    artifacts.part(folder / f"draw{draws:02}-{number:03}.npz", write)


def _names_neurons(intervention) -> bool:
    return isinstance(intervention, Intervention) and intervention.site != "residual"


def load(folder: Path) -> Table1:
    """Read what `describe`, `examine_row` and `examine_draw` wrote."""
    described = pd.read_csv(folder / "rows.csv", keep_default_na=False)
    total = int(described.pop("total_neurons")[0])
    results, draws, names = {}, {}, {}
    for i, name in enumerate(described["name"]):
        results[name] = load_result(folder / f"row{i:03}.npz")
    for some in pd.read_csv(folder / "draws.csv").itertuples():
        parts = [np.load(folder / f"draw{some.Index:02}-{j:03}.npz")["greedy"] for j in range(some.draws)]
        draws[some.beside], names[some.beside] = np.stack(parts), some.name
    return Table1(described, total, results, draws, names)
