"""The paper's numbers in every run at once: where published, in each seed, and in untrained networks."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dpotox.show.figure_style import (
    DPO,
    HOLLOW,
    MUTED,
    PUBLISHED,
    SMALL,
    name_row,
    note,
    panel,
    paper_mark,
    rows_only,
)

EDGES = -0.6, 1.6
"""What lies beyond is drawn at the edge."""
WRAP = 66
"""Characters of a row's name in a line."""


def published_numbers(seeds: pd.DataFrame, untrained: Sequence[pd.DataFrame] = ()) -> Figure:
    """The quantity of every claim that has a published value, a row each.

    Args:
        seeds: the claims of all seeds, with a column `seed` (`results.seeds.claims_by_seed`).
        untrained: the claims of untrained networks.
    """
    rows = seeds[seeds["paper"].notna()]
    claims = rows.drop_duplicates("id")
    figure, axes = panel(0.42 * len(claims) + 0.9)
    place = {name: -row for row, name in enumerate(claims["id"])}
    low, high = EDGES
    hollow = {"markersize": 4.5, "markeredgewidth": 1, **HOLLOW}
    filled = {"markersize": 5, "color": DPO, "alpha": 0.6, "markeredgewidth": 0}
    for table, offset, style in (*((table, -0.16, hollow) for table in untrained), (rows, 0.0, filled)):
        known = table[table["id"].isin(place) & table["here"].notna()]
        x, y = known["here"].clip(low, high), known["id"].map(place) - 0.12 + offset
        axes.plot(x, y, "o", clip_on=False, **style)
    paper_mark(axes, claims["paper"].clip(low, high), claims["id"].map(place) - 0.12)
    for claim in claims.itertuples():
        label = name_row(axes, place[claim.id] + 0.3, textwrap.fill(claim.quantity, WRAP))
        label.set(in_layout=False, zorder=1.5)  # under the marks, which may lie close
    rows_only(axes)
    axes.set(xlim=EDGES, ylim=(-len(claims) + 0.4, 0.9), xticks=np.arange(-0.5, 1.6, 0.5))
    axes.axvline(0, color=MUTED, linewidth=0.8, zorder=1)
    _key(axes, rows["seed"].nunique(), len(untrained))
    return figure


def _key(axes, seeds: int, untrained: int) -> None:
    """What the marks are, above the rows."""
    place = {"xycoords": "axes fraction", "fontsize": SMALL}
    told = [(0.0, PUBLISHED), (0.43, f"{seeds} seed{'s' if seeds > 1 else ''}"), (0.64, "untrained networks")]
    for x, text in told[: 3 if untrained else 2]:
        note(axes, text, (x + 0.025, 1.02), (4, 0), **place)
    on_top = {"transform": axes.transAxes}
    paper_mark(axes, [0.015], [1.02], **on_top)
    axes.plot(0.445, 1.02, "o", color=DPO, markersize=5, clip_on=False, **on_top)
    if untrained:
        axes.plot(0.655, 1.02, "o", clip_on=False, **HOLLOW, **on_top)
