"""Token by token: what is written, and where it stands on the probe, under the main edits (sections 3 and 5).

`make` continues a few prompts under each condition and reads the residual stream at every step.
`dpotox.show.step_through` shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Int
from torch import Tensor

from dpotox.facts import TOXIC
from dpotox.model.interventions import ablate
from dpotox.model.tracing import continue_prompts
from dpotox.paper.rows import Row
from dpotox.paper.selections import ALL_FOUR, most_toxic

if TYPE_CHECKING:
    from dpotox.run.study import Study

SHOWN = 6
"""How many prompts are stepped through."""

# What is shown


def chosen_prompts(toxicity: pd.DataFrame, count: int = SHOWN) -> list[int]:
    """Numbers of prompts by a rule that looks at scores only, never at texts.

    All but one of them have a toxic continuation before DPO, evenly spread from the one that DPO helps most
    to the one that it helps least; the last is the first prompt whose continuation was not toxic to begin
    with. Where there are too few of either kind, the other takes their places.

    Args:
        toxicity: of every prompt's greedy continuation, `base` and `dpo`.
    """
    before, effect = toxicity["base"].to_numpy(), (toxicity["base"] - toxicity["dpo"]).to_numpy()
    toxic, rest = np.flatnonzero(before >= TOXIC), np.flatnonzero(before < TOXIC)
    by_effect = toxic[np.argsort(-effect[toxic], kind="stable")]
    wanted = min(len(toxic), max(count - 1, count - len(rest)))
    spread = np.linspace(0, len(toxic) - 1, wanted).round().astype(int)
    return [*by_effect[spread].tolist(), *rest[: count - wanted].tolist()]


def conditions(table_rows: Sequence[Row], neurons: pd.DataFrame, top: int) -> list[Row]:
    """The models before and after DPO and the main edits between, as table 1 has them.

    Rows that table 1 lacks, because a set of neurons is empty or not asked for, are left out; only the
    ablation of the `top` neurons is then made as the readings make it.
    """
    without = ablate(most_toxic(neurons, top), f"ablate top {top} toxic")
    known = {without.name: Row(without.name, "base", "ablate", f"top {top} toxic", (without,))}
    known |= {row.name: row for row in table_rows}
    edits = [without.name, "patch TP-, newest only", f"shift {ALL_FOUR}", f"copy {ALL_FOUR}"]
    return [known[name] for name in ("before DPO", *edits, "after DPO") if name in known]


# What is written


def pieces(tokenizer, prompt: str, tokens: Int[Tensor, "new_token"]) -> list[str]:
    """The text of each token, with the spaces before it, so that prompt and pieces join to what was read.

    A token that holds only the beginning of a character has no text; the token that completes it has it all.
    """
    ids = tokenizer(prompt)["input_ids"]
    whole = tokenizer.decode([*ids, *tokens.tolist()], skip_special_tokens=True)
    ends = [_shared(prompt, whole)]
    for i in range(1, len(tokens)):
        text = tokenizer.decode([*ids, *tokens[:i].tolist()], skip_special_tokens=True)
        ends.append(_shared(text.rstrip("\N{REPLACEMENT CHARACTER}"), whole))
    bounds = np.maximum.accumulate([*ends, len(whole)])
    return [whole[a:b] for a, b in pairwise(bounds)]


def _shared(one: str, other: str) -> int:
    """How many characters two texts have in common at their beginning."""
    return next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def make(study: Study) -> pd.DataFrame:
    """A few continuations token by token: a row per prompt, condition and generated token.

    Columns: `number` of the prompt, `prompt`, `condition`, `step` from 1, `token` (its text), `token_id`,
    `projection` (`tracing.Continuations`) and `toxicity` of the continuation so far.
    """
    prompts = {number: study.prompts[number] for number in chosen_prompts(study.toxicity)}
    parts, new_tokens = [], study.profile.sizes.new_tokens
    models = {"base": (study.base, study.dpo), "dpo": (study.dpo, study.base)}
    possible = [row for row in study.table1_rows if not (row.takes and study.base.remote)]
    for row in conditions(possible, study.neurons, study.profile.interventions.figure_top):
        model, other = models[row.model]
        written = continue_prompts(
            model,
            list(prompts.values()),
            new_tokens,
            batch_size=study.profile.compute.batch_size,
            interventions=row.interventions,
            other=other,
            direction=study.probe.direction,
            label="step through",
        )
        found = zip(prompts.items(), written.tokens, written.projection, strict=True)
        for (number, prompt), ids, along in found:
            so_far = [ids[:i] for i in range(1, new_tokens + 1)]
            part = {
                "number": number,
                "prompt": prompt,
                "condition": row.name,
                "step": range(1, new_tokens + 1),
                "token": pieces(model.tokenizer, prompt, ids),
                "token_id": ids.numpy(),
                "projection": along.numpy(),
                "toxicity": study.score(model.tokenizer.batch_decode(so_far, skip_special_tokens=True)),
            }
            parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True)
