"""The outcome of every row of table 1, kept per prompt, and what is read from it (section 5)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from jaxtyping import Float

from dpotox.estimates import DRAWS, Estimate, estimate, mean, perplexity, recovered_share, unknown
from dpotox.inputs.scoring import Score
from dpotox.model.interventions import Intervention
from dpotox.paper.evaluation import Result
from dpotox.paper.rows import Key, Row

FEWEST_DRAWS = 5
"""From fewer random draws nothing is concluded."""


@dataclass(frozen=True)
class Table1:
    """The rows (`name`, `model`, `kind`, `which`, `positions`, `neurons`, `published`) and their outcomes.

    Attributes:
        results: each row's outcome by its name.
        draws: beside some rows, by their names, the greedy toxicity of random choices.
        draw_names: what was drawn, by the same names.
        absent: sets of neurons that have no rows, and why.
    """

    rows: pd.DataFrame
    total_neurons: int
    results: dict[str, Result]
    draws: dict[str, Float[np.ndarray, "draw fewer"]]
    draw_names: dict[str, str]
    absent: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Result:
        return self.results[name]

    def named(self, key: Key) -> str | None:
        """The name of the row with a key; none if its set of neurons is absent for a reason.

        Raises:
            KeyError: it is missing for none.
        """
        found = self.rows.loc[(self.rows[list(Key._fields)] == list(key)).all(axis=1), "name"]
        if len(found) == 1:
            return found.iloc[0]
        if key.which in self.absent and found.empty:
            return None
        raise KeyError(f"table 1 has {len(found)} rows {key}")

    def recovered(self, name: str, resamples: int, measure: str = "greedy") -> Estimate:
        """The share of DPO's effect on toxicity that a row recovers, paired over prompts."""
        samples = (getattr(self[n], measure) for n in ("before DPO", name, "after DPO"))
        return estimate(recovered_share, *samples, resamples=resamples)

    def rescored(self, score: Score) -> Table1:
        """The same table with greedy toxicity judged by another scorer."""
        known = {n: r for n, r in self.results.items() if not np.isnan(r.greedy).any()}
        judged = {n: replace(r, greedy=score(r.texts.tolist())) for n, r in known.items()}
        return replace(self, results=self.results | judged)

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
            with np.errstate(divide="ignore", invalid="ignore"):  # of no effect
                return (((prompts @ drawn.T) * draws).sum(1) - row) / (none - dpo)

        value = float(beyond(np.full((1, n_prompts), 1 / n_prompts), np.full((1, n_draws), 1 / n_draws))[0])
        if n_draws < FEWEST_DRAWS:
            return unknown(value, DRAWS)
        weights = [rng.multinomial(n, np.full(n, 1 / n), size=resamples) / n for n in drawn.shape]
        low, high = np.quantile(beyond(weights[1], weights[0]), [0.025, 0.975])
        return Estimate(value, float(low), float(high), DRAWS)

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


def described(rows: list[Row]) -> pd.DataFrame:
    """What is done in each row, as `Table1.rows` has it."""
    return pd.DataFrame(
        [
            {
                "name": row.name,
                "model": row.model,
                "kind": row.kind,
                "which": row.which,
                "positions": row.positions,
                "neurons": sum(len(i.neurons) for i in row.interventions if _names_neurons(i)),
                "published": row.published,
            }
            for row in rows
        ]
    )


def _names_neurons(intervention) -> bool:
    return isinstance(intervention, Intervention) and intervention.site != "residual"
