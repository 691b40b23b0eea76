"""How the pages' sentences say numbers, the paper's values, and what is not known."""

from __future__ import annotations

import math

import pandas as pd
from IPython.display import Markdown

from dpotox.results import claims
from dpotox.results.folder import Results
from dpotox.show.report import percent

NO_DROP = "no neuron writes less along the probe after DPO, so there is no reduction to divide"
NO_SHIFT = "nothing that the neurons read is shifted on the same text, so there is nothing to divide"


def sentence(text: str) -> Markdown:
    """A text as a sentence of its own."""
    return Markdown(f"{text[0].upper()}{text[1:]}{'' if text.endswith('.') else '.'}")


def lines(*texts: str) -> Markdown:
    """A list of facts, each a line of its own."""
    return Markdown("\n".join(f"- {sentence(text).data}" for text in texts))


def share(value: float) -> str:
    """A share of DPO's effect, which cannot be measured where DPO may have none."""
    return f"{value:.2f}" if math.isfinite(value) else "an unknown share"


def part(value: float, digits: int = 0) -> str:
    """A part of a whole in percent, which cannot be said where the whole is nothing."""
    return percent(value, digits, "an unknown part")


def found(results: Results) -> pd.Series:
    """The values that the claims are about, by claim; NaN for what was not measured."""
    return results.claims.set_index("id")["here"].astype(float)


def paper(claim: str) -> float:
    """The published value that a claim is about."""
    quantity = next(c.quantity for c in claims.CLAIMS if c.id == claim)
    return claims.published_evidence()[quantity].value


def no_effect(results: Results) -> str:
    """Why nothing is said of shares of DPO's effect."""
    toxicity = results.outcomes.set_index("measure").loc["toxicity, greedy"]
    return (
        f"DPO does not surely lower greedy toxicity here ({toxicity['before']:.3f} before, "
        f"{toxicity['after']:.3f} after), so nothing is concluded from shares of that effect"
    )
