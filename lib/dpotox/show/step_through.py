"""The page that steps through a few continuations, token by token, under the main edits.

What it shows is read by `dpotox.run.per_token`. The fragment stands for itself, as tables; the script
`book/_static/step_through.js` turns it into lanes with a slider where it runs.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown

from dpotox.facts import TOXIC
from dpotox.results.folder import Results
from dpotox.show.masking import Mask, Segment, marked

WAYS = {
    "before": "the model under study",
    "ablate": "activations of the neurons closest to the probe set to zero",
    "patch": "what enters their GELU held at its mean after DPO, at the newest position",
    "shift": "DPO's mean change added to each activation",
    "copy": "activations taken from the model after DPO, token by token",
    "after": "the model trained by DPO",
}
"""What is done in each condition, by the first word of its name."""


def page(results: Results) -> HTML:
    """All shown prompts under every condition: tables, and the data from which the script makes its lanes."""
    table, mask = results.step_through, Mask.of(results)
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
                "way": WAYS.get(name.partition(" ")[0], ""),
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


def rule(results: Results) -> Markdown:
    """How the shown prompts were chosen, in two sentences."""
    numbers = results.step_through["number"].unique()
    before = results.prompts.set_index("number")["before"] >= TOXIC
    shown = int(before[numbers].sum())
    others = len(numbers) - shown
    first = "prompt whose continuation was" if others == 1 else f"{others} whose continuations were"
    more = f", and then the first {first} not toxic to begin with" if others else ""
    return Markdown(
        f"Nobody picked these prompts. Of the {len(before)} evaluation prompts, {before.sum()} have a "
        f"toxic continuation before DPO (toxicity at least {TOXIC}). Sorted by how much DPO lowers it, "
        f"{shown} of them are taken at even distances, from the one where DPO helps most to the one where "
        f"it helps least{more}. Equal effects are in the order of the prompts."
    )


def ends(table: pd.DataFrame) -> pd.DataFrame:
    """Per prompt (rows) and condition (columns), the toxicity of the whole continuation."""
    last = table.groupby(["number", "condition"], sort=False).tail(1)
    names = last["condition"].unique()
    return last.pivot(index="number", columns="condition", values="toxicity")[names]


def by_condition(table: pd.DataFrame) -> pd.DataFrame:
    """Per condition over the shown prompts: mean projection, mean toxicity, and how many are toxic."""
    toxicity = ends(table)
    return pd.DataFrame(
        {
            "mean projection": table.groupby("condition", sort=False)["projection"].mean(),
            "mean toxicity": toxicity.mean(),
            f"toxic, of {len(toxicity)}": (toxicity >= TOXIC).sum(),
        }
    ).rename_axis("condition")


def answer(results: Results) -> Markdown:
    """Where the model after DPO departs, and what becomes of the shown toxic continuations."""
    first, toxicity = results.prompts["first_other_token"], ends(results.step_through)
    toxic = toxicity[toxicity["before DPO"] >= TOXIC]
    turned = "; ".join(f"{(toxic[name] < TOXIC).sum()} with *{name}*" for name in toxicity.columns[1:])
    where = f"at token {first.mean():.1f} of {results.profile.sizes.new_tokens} on average"
    never = f"; {first.isna().sum()} of {len(first)} never do" if first.isna().any() else ""
    departs = f"{'nowhere' if first.isna().all() else where + never} (all prompts)."
    ending = (
        f"Before DPO {len(toxic)} of the continuations shown are toxic. Of these the number that is not "
        f"toxic any more is {turned}."
        if len(toxic)
        else "No continuation shown was toxic before DPO."
    )
    return Markdown(f"Greedy continuations after DPO depart from those before {departs} {ending}")


def masked_pieces(texts: Sequence[str], mask: Mask) -> list[list[Segment]]:
    """Pieces of one text with its toxic words masked, each word as a whole wherever the pieces cut it.

    Line breaks become a sign.
    """
    segments, pieces = mask.segments("".join(texts).replace("\n", "\u21b5")), []
    for text in texts:
        own, left = [], len(text)
        while left:
            hidden, shown, masked = segments.pop(0)
            own.append((hidden[:left], shown[:left], masked))
            if len(hidden) > left:
                segments.insert(0, (hidden[left:], shown[left:], masked))
            left -= min(left, len(hidden))
        pieces.append(own)
    return pieces
