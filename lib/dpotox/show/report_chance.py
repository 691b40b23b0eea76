"""What chance may have done to the verdicts, for the pages."""

from __future__ import annotations

import math

import pandas as pd
from IPython.display import Markdown

from dpotox.results.claims import chance


def chance_sentences(claims: pd.DataFrame) -> Markdown:
    """How many verdicts chance may have turned, and which would not stand if all had to hold at once."""
    found = chance(claims)
    if not found.decided:
        return Markdown("No verdict is decided by an interval here, so chance has turned none.")
    text = (
        f"Of {len(claims)} claims {found.judged} are judged by an interval, and {found.decided} of these are "
        f"decided. If every interval keeps its 95 %, at most {math.ceil(10 * found.wrong) / 10:.1f} verdicts "
        "are wrong on average, however much the claims depend on each other. That is of this one model: "
        "other seeds, and how the rules were chosen, are not in it. "
    )
    if found.open:
        names = ", ".join(f"`{name}`" for name in found.open)
        text += (
            "If the intervals are stretched until all together keep 95 % (Bonferroni's correction; each side "
            "by the same factor, which is rough for ranks), "
            f"these are no longer decided: {names}."
        )
    else:
        text += "All stay decided if the intervals are stretched until all together keep 95 % (Bonferroni)."
    return Markdown(text)
