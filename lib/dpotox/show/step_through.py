"""The page that steps through a few continuations, token by token, under the main edits.

What it shows is read by `dpotox.paper.per_token`. The fragment stands for itself, as tables; the script
`book/_static/step_through.js` turns it into lanes with a slider where it runs.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown

from dpotox.paper.per_token import TOXIC
from dpotox.show.masking import Mask

if TYPE_CHECKING:
    from dpotox.run.study import Study

WAYS = {
    "before": "the model under study",
    "ablate": "activations of the neurons closest to the probe set to zero",
    "patch": "what enters their GELU held at its mean after DPO, at the newest position",
    "shift": "DPO's mean change added to each activation",
    "copy": "activations taken from the model after DPO, token by token",
    "after": "the model trained by DPO",
}
"""What is done in each condition, by the first word of its name."""
_WORD = re.compile(r"\w+")
Segment = tuple[str, str, bool]
"""A stretch of text: as it is first shown, as it is after the page's switch, and whether it is masked."""


def page(study: Study) -> HTML:
    """All shown prompts under every condition: tables, and the data from which the script makes its lanes."""
    table, mask = study.step_through, study.mask()
    prompts = [_prompt(part, mask) for _, part in table.groupby("number", sort=False)]
    data = {"scale": [float(table["projection"].min()), float(table["projection"].max())], "prompts": prompts}
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return HTML(
        '<link rel="stylesheet" href="../_static/step_through.css">\n<div class="step-through">\n'
        f'<div class="st-static">{"".join(map(_static, prompts))}</div>\n'
        f'<script type="application/json">{text}</script>\n</div>\n'
        '<script src="../_static/step_through.js" defer></script>'
    )


def _prompt(part: pd.DataFrame, mask: Mask) -> dict:
    """One prompt as plain data: its number, its text, and a lane per condition."""
    lanes, prompt = [], part["prompt"].iloc[0]
    for name, lane in part.groupby("condition", sort=False):
        first, *tokens = masked_pieces([prompt, *lane["token"]], mask)
        lanes.append(
            {
                "name": name,
                "way": WAYS.get(name.split()[0], ""),
                "tokens": tokens,
                "projection": lane["projection"].round(3).tolist(),
                "toxicity": lane["toxicity"].round(3).tolist(),
            }
        )
    return {"number": int(part["number"].iloc[0]), "prompt": first, "lanes": lanes}


def _static(prompt: dict) -> str:
    """One prompt as a table, for where no script runs."""
    rows = [
        f"<tr><td>{html.escape(lane['name'])}</td>"
        f"<td>{''.join(map(marked, lane['tokens'])).strip()}</td>"
        f"<td>{np.mean(lane['projection']):.2f}</td><td>{lane['toxicity'][-1]:.2f}</td></tr>"
        for lane in prompt["lanes"]
    ]
    heads = ("condition", "continuation", "mean projection", "toxicity")
    columns = "".join(f'<th scope="col">{name}</th>' for name in heads)
    return (
        f'<table class="texts"><caption>Prompt {prompt["number"]}: {marked(prompt["prompt"])}</caption>'
        f"<thead><tr>{columns}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def rule(study: Study) -> Markdown:
    """How the shown prompts were chosen, in two sentences."""
    numbers = study.step_through["number"].unique()
    toxicity = study.toxicity
    before = toxicity["base"] >= TOXIC
    shown = int(before[numbers].sum())
    rest = {0: "", 1: ", and then the first prompt whose continuation was not toxic to begin with"}
    others = len(numbers) - shown
    more = rest.get(others, f", and then the first {others} whose continuations were not toxic to begin with")
    return Markdown(
        f"Nobody picked these prompts. Of the {len(toxicity)} evaluation prompts, {before.sum()} have a "
        f"toxic continuation before DPO (toxicity at least {TOXIC}). Sorted by how much DPO lowers it, "
        f"{shown} of them are taken at even distances, from the one where DPO helps most to the one where "
        f"it helps least{more}. Equal effects are in the order of the prompts."
    )


def departures(study: Study) -> pd.Series:
    """For every evaluation prompt, the first token (from 1) that differs after DPO; none is NaN."""
    before, after = (study.readings.tokens[name] for name in ("base", "dpo"))
    differs = (before != after).numpy()
    return pd.Series(np.where(differs.any(1), differs.argmax(1) + 1.0, np.nan), name="token")


def ends(study: Study) -> pd.DataFrame:
    """Per prompt (rows) and condition (columns), the toxicity of the whole continuation."""
    last = study.step_through.groupby(["number", "condition"], sort=False).tail(1)
    names = last["condition"].unique()
    return last.pivot(index="number", columns="condition", values="toxicity")[names]


def by_condition(study: Study) -> pd.DataFrame:
    """Per condition over the shown prompts: mean projection, mean toxicity, and how many are toxic."""
    table, toxicity = study.step_through, ends(study)
    return pd.DataFrame(
        {
            "mean projection": table.groupby("condition", sort=False)["projection"].mean(),
            "mean toxicity": toxicity.mean(),
            f"toxic, of {len(toxicity)}": (toxicity >= TOXIC).sum(),
        }
    ).rename_axis("condition")


def answer(study: Study) -> Markdown:
    """Where the model after DPO departs, and what becomes of the shown toxic continuations."""
    first, toxicity = departures(study), ends(study)
    toxic = toxicity[toxicity["before DPO"] >= TOXIC]
    turned = "; ".join(f"*{name}* {(toxic[name] < TOXIC).sum()}" for name in toxicity.columns[1:])
    where = f"at token {first.mean():.1f} of {study.profile.sizes.new_tokens} on average"
    never = f"; {first.isna().sum()} of {len(first)} never do" if first.isna().any() else ""
    departs = f"{'nowhere' if first.isna().all() else where + never} (all prompts)."
    ending = (
        f"Of the {len(toxic)} prompts shown whose continuation was toxic before DPO, so many are no longer "
        f"so under each condition: {turned}."
        if len(toxic)
        else "No continuation shown was toxic before DPO."
    )
    return Markdown(f"Greedy continuations after DPO depart from those before {departs} {ending}")


def masked_table(table: pd.DataFrame, mask: Mask) -> pd.DataFrame:
    """The same with toxic words hidden in prompts and tokens, for a file that anyone may open."""
    masked = table.assign(prompt=table["prompt"].map({p: mask(p) for p in table["prompt"].unique()}))
    for _, part in table.groupby(["number", "condition"], sort=False):
        cut = masked_pieces([part["prompt"].iloc[0], *part["token"]], mask)[1:]
        masked.loc[part.index, "token"] = ["".join(hidden for hidden, _, _ in piece) for piece in cut]
    return masked


def masked_pieces(texts: Sequence[str], mask: Mask) -> list[list[Segment]]:
    """Pieces of one text with its toxic words masked, each word as a whole wherever the pieces cut it.

    As the pieces come one after the other, a word is hidden also where its beginning up to a cut, or a piece
    of it, is a toxic word on its own; such a word stays hidden.
    """
    whole, bounds = "".join(texts), np.cumsum([0, *map(len, texts)]).tolist()
    hidden, shown = mask.both([whole])[0]
    masked = np.zeros(len(whole), dtype=bool)
    for word in _WORD.finditer(whole):
        start, end = word.span()
        cuts = [start, *(b for b in bounds if start < b < end), end]
        partial = {whole[start:b] for b in cuts[1:-1]} | {whole[a:b] for a, b in pairwise(cuts)} - {word[0]}
        if _differs(mask, [word[0]]):
            masked[start:end] = True
        elif partial and _differs(mask, sorted(partial)):
            masked[start:end] = True
            stars = word[0][0] + "*" * (end - start - 1)
            hidden, shown = (text[:start] + stars + text[end:] for text in (hidden, shown))
    return [_segments(hidden[a:b], shown[a:b], masked[a:b]) for a, b in pairwise(bounds)]


def _differs(mask: Mask, words: list[str]) -> bool:
    return any(hidden != word for word, (hidden, _) in zip(words, mask.both(words), strict=True))


def _segments(hidden: str, shown: str, masked: np.ndarray) -> list[Segment]:
    """Stretches of one piece that are masked or not; line breaks become a sign."""
    if not hidden:
        return []
    turns = [0, *(np.flatnonzero(np.diff(masked)) + 1).tolist(), len(hidden)]
    return [
        (hidden[a:b].replace("\n", "\u21b5"), shown[a:b].replace("\n", "\u21b5"), bool(masked[a]))
        for a, b in pairwise(turns)
    ]


def marked(segments: Sequence[Segment]) -> str:
    """Segments as HTML, a masked one exactly as `Mask.html` makes it."""
    parts = []
    for hidden, shown, masked in segments:
        stars, word = html.escape(hidden), html.escape(shown)
        if masked and hidden != shown:
            word = f'<span class="word" hidden>{word}</span>'
            stars = f'<span class="stars">{stars}</span>{word}'
        parts.append(f'<span class="masked">{stars}</span>' if masked else stars)
    return "".join(parts)
