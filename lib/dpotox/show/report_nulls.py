"""Tables and sentences on what the shares would be if there were nothing to find, for the pages."""

from __future__ import annotations

import pandas as pd
from IPython.display import Markdown
from pandas.io.formats.style import Styler

from dpotox.paper.groups import REDUCING, gross_and_net
from dpotox.paper.published import published_groups
from dpotox.show.report import interval, number, percent, shown

SHARE = "TP- share of gross"
RANGE = [0.025, 0.975]
"""Between these quantiles lie 95 % of directions."""


def other_directions(
    others: pd.DataFrame, comparisons: pd.DataFrame, names: list[str], text: str = "own"
) -> Styler:
    """Quantities along the probe beside their median and 95 % range along other directions."""
    others = others[others["text"] == text]
    probe = comparisons[comparisons["place"] == text].set_index("quantity")["value"]
    rows = []
    for name in names:
        row = {"quantity": name, "probe": number(probe[name])}
        for kind, values in others.dropna(subset=name).groupby("kind")[name]:
            row[f"{kind}: median [95 % range]"] = interval(*values.quantile([0.5, *RANGE]))
            row[f"{kind}: larger than the probe's"] = percent(share_above(values, probe[name]), 1)
        rows.append(row)
    return shown(rows)


def along_random(others: pd.DataFrame, text: str, quantity: str = SHARE) -> pd.Series:
    """A quantity along every random direction."""
    return others.query("kind == 'random' and text == @text")[quantity]


def share_above(values: pd.Series, value: float) -> float:
    """The share of the values that are larger; NaN beside one that is not known."""
    return float("nan") if pd.isna(value) else float((values > value).mean())


def stands(value: float, low: float, high: float) -> str:
    """Where a value stands beside a range."""
    return "inside" if low <= value <= high else "above" if value > high else "below"


def comparisons_table(comparisons: pd.DataFrame) -> Styler:
    """The groups' shares and sums in every comparison, with the toxicity that the second model wrote."""
    names = [f"{group} share of gross" for group in REDUCING] + ["gross", "net", "net / gross"]
    rows = []
    for comparison, part in comparisons.groupby("comparison", sort=False):
        found = part.set_index("quantity")
        row = {"comparison": comparison + (" (probe turned)" if part["sign"].iloc[0] < 0 else "")}
        for name in names:
            row[name.replace(" share of gross", "")] = interval(*found.loc[name, ["value", "low", "high"]])
        rows.append(row | {"toxicity": number(part["toxicity"].iloc[0])})
    return shown(rows)


def null_sentences(others: pd.DataFrame, comparisons: pd.DataFrame) -> Markdown:
    """Where the published share and the one found here stand among those with nothing to find."""
    low, high = along_random(others, "own").quantile(RANGE)
    shares = comparisons[comparisons["quantity"] == SHARE].set_index("comparison")
    probe, paper = shares["value"].iloc[0], float(published_groups()["share_of_gross"]["TP-"])

    if pd.isna([probe, low, high]).any():
        return Markdown("No neuron writes less along the probe after DPO, so there is no share to compare.")

    net_low, net_high = along_random(others, "own", "net / gross").quantile(RANGE)
    gross, left = gross_and_net(published_groups())
    paper_net = left / gross
    net_stands = "inside" if net_low <= paper_net <= net_high else "outside"
    rest = "; ".join(
        f"{comparison}: {interval(*row[['value', 'low', 'high']])}"
        for comparison, row in shares.iloc[1:].iterrows()
    )
    return Markdown(
        f"Along 95 % of random directions the share of TP- is between {low:.0%} and {high:.0%}. The probe's "
        f"here, {probe:.1%}, lies **{stands(probe, low, high)}** that range, and the published {paper:.1%} "
        f"{stands(paper, low, high)} it. But no such range is published for the paper's own models, and "
        "shares differ between models: from the published numbers alone nobody can say whether theirs is "
        f"special. The published net over gross, {paper_net:.2f}, lies {net_stands} the range of random "
        f"directions here.\n\nIn the other comparisons the share is: {rest}."
    )
