"""The quantities of table 1 that claims are about, each with its 95 % interval."""

from __future__ import annotations

import numpy as np

from dpotox.estimates import (
    WINDOWS,
    Estimate,
    Evidence,
    estimate,
    has_effect,
    largest,
    recovered_share,
)
from dpotox.paper.rows import AFTER, BEFORE, Key
from dpotox.paper.selections import ALL_FOUR, OTHER_FOUR
from dpotox.paper.table1 import Table1

ALONE = {
    "recovered share of patching TP-": Key("patch", "TP-", "newest"),
    "recovered share of copying TP-": Key("copy", "TP-"),
    "recovered share of swapping the MLPs": Key("swap", "MLP in and MLP out"),
}
"""Quantities that are the recovered share of a row."""
BESIDE_DRAWS = {
    "recovered share of shifting TP-, beyond random neurons": Key("shift", "TP-"),
    "recovered share of shifting all four, beyond shifts dealt within groups": Key("shift", ALL_FOUR),
    "recovered share of steering along the probe, beyond random directions": Key("steer", "the probe"),
}
"""Those that are a row's recovered share beyond that of its random draws."""
MINUS = {
    "recovered share of patching TP-, minus holding it": (
        Key("patch after the GELU", "TP-"),
        Key("hold after the GELU", "TP-"),
    ),
    "recovered share of patching TP- as published, minus holding it": (
        Key("patch", "TP-", "newest"),
        Key("hold", "TP-", "newest"),
    ),
    "recovered share of shifting all four, minus TP- alone": (Key("shift", ALL_FOUR), Key("shift", "TP-")),
    "recovered share of shifting the four groups, minus the other four": (
        Key("shift, same text", ALL_FOUR),
        Key("shift, same text", OTHER_FOUR),
    ),
}
"""Those that are a row's recovered share minus another's."""


def table1_evidence(table: Table1, resamples: int) -> Evidence:
    """Quantities of table 1; intervals by resampling prompts or windows, paired between rows.

    What compares rows of a set of neurons that is absent (`Table1.absent`) is left out, and so are all shares
    of an effect on toxicity that DPO may not have.

    Raises:
        KeyError: a row is missing for no stated reason.
    """
    before, after = (table[table.named(key)] for key in (BEFORE, AFTER))
    found = _perplexity_evidence(table, resamples) | {
        "F1 after DPO / before": estimate(
            lambda a, b: a.mean(-1) / b.mean(-1), after.f1, before.f1, resamples=resamples
        )
    }
    if not has_effect(before.greedy, after.greedy, resamples):
        return found
    alone = {quantity: table.named(key) for quantity, key in ALONE.items()}
    found |= {q: table.recovered(name, resamples) for q, name in alone.items() if name}
    return found | _beyond_draws(table, resamples) | _differences(table, resamples) | _best(table, resamples)


def _beyond_draws(table: Table1, resamples: int) -> Evidence:
    """Rows beside their random draws; there are none if `interventions.draws` is 0."""
    rows = {"largest ablation's recovered share, beyond random neurons": _ablations(table)[-1]}
    rows |= {quantity: table.named(key) for quantity, key in BESIDE_DRAWS.items()}
    found = {q: table.beyond_draws(name, resamples) for q, name in rows.items() if name in table.draws}
    if (least := _scaled_keys(table)[0]) in table.draws:
        lost = table.beyond_draws(least, resamples)
        regained = Estimate(-lost.value, -lost.high, -lost.low, lost.resampled)
        found["regained share by the least factor on keys, beyond random neurons"] = regained
    return found


def _differences(table: Table1, resamples: int) -> Evidence:
    """The recovered shares of two rows, one minus the other."""
    before, after = (table[table.named(key)].greedy for key in (BEFORE, AFTER))
    pairs = {quantity: tuple(map(table.named, keys)) for quantity, keys in MINUS.items()}
    plain, positive = _ablations(table, positive=False), _ablations(table, positive=True)
    pairs["recovered share of the largest ablation of the most toxic neurons, minus the smallest"] = (
        plain[-1],
        plain[0],
    )
    sizes = table.rows.set_index("name")["neurons"]
    both = [(one, other) for one in positive for other in plain if sizes[one] == sizes[other]]
    if both:
        quantity = (
            "recovered share of ablating positively active toxic neurons, minus as many of the most toxic"
        )
        pairs[quantity] = both[-1]
    keys = _scaled_keys(table)
    if len(keys) > 1:  # what the larger factor regains is what the smaller one recovers more
        pairs["regained share by the largest factor on keys, minus by the next"] = (keys[-2], keys[-1])
    return {
        quantity: estimate(
            lambda n, x, y, d: (y.mean(-1) - x.mean(-1)) / (n.mean(-1) - d.mean(-1)),
            *(before, table[one].greedy, table[other].greedy, after),
            resamples=resamples,
        )
        for quantity, (one, other) in pairs.items()
        if one and other
    }


def _best(table: Table1, resamples: int) -> Evidence:
    """The best of several rows, which chance helps to choose."""
    before, after = (table[table.named(key)].greedy for key in (BEFORE, AFTER))
    ablated = [table[name].greedy for name in _ablations(table)]
    found = {
        "best recovered share among ablations by cosine": largest(
            recovered_share, before, ablated, after, resamples=resamples
        )
    }
    if patch := table.named(Key("patch", "TP-", "newest")):
        found["best recovered share among ablations by cosine, minus patching TP-"] = largest(
            lambda n, row, d, p: (p.mean(-1) - row.mean(-1)) / (n.mean(-1) - d.mean(-1)),
            *(before, ablated, after, table[patch].greedy),
            resamples=resamples,
        )
    # Of scaled keys, those that leave the model able to write.
    limit = table[table.named(AFTER)].nll.mean() + np.log(2)
    if whole := [table[n].greedy for n in _scaled_keys(table) if table[n].nll.mean() <= limit]:
        found["largest regained share of toxicity, at most at twice DPO's perplexity"] = largest(
            lambda *samples: 1 - recovered_share(*samples), before, whole, after, resamples=resamples
        )
    return found


def _ablations(table: Table1, positive: bool | None = None) -> list[str]:
    """The ablations of the most toxic neurons, the largest last; of either kind, or of both."""
    rows = table.rows[(table.rows["kind"] == "ablate") & table.rows["which"].str.endswith("toxic")]
    if positive is not None:
        rows = rows[rows["which"].str.contains("positive") == positive]
    return rows.sort_values("neurons", kind="stable")["name"].tolist()


def _scaled_keys(table: Table1) -> list[str]:
    """The rows of scaled keys, the largest factor last."""
    scaled = table.rows[table.rows["kind"] == "scale keys"]
    factors = scaled["which"].str.rpartition("x")[2].astype(float)
    return scaled.loc[factors.sort_values(kind="stable").index, "name"].tolist()


def _perplexity_evidence(table: Table1, resamples: int) -> Evidence:
    """Ratios of perplexities on all text; neutral text may be chosen for lacking toxic words."""
    best = min(_ablations(table), key=lambda name: table[name].greedy.mean())
    two = {
        "perplexity on all text after DPO / before": (table.named(AFTER), table.named(BEFORE)),
        "perplexity on all text, best ablation / after DPO": (best, table.named(AFTER)),
        "perplexity on all text, largest ablation / after DPO": (_ablations(table)[-1], table.named(AFTER)),
        "perplexity on all text, hold control / before DPO": (
            table.named(Key("hold after the GELU", ALL_FOUR)),
            table.named(BEFORE),
        ),
    }
    return {
        quantity: estimate(
            lambda x, y: np.exp(x.mean(-1) - y.mean(-1)),
            *(table[name].nll for name in names),
            resamples=resamples,
            resampled=WINDOWS,
        )
        for quantity, names in two.items()
        if all(names)
    }
