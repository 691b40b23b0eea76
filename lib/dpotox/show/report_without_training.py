"""What lowers toxicity without training, and at what cost: the chapter's figure, tables and answer."""

from __future__ import annotations

import math

import pandas as pd
from IPython.display import Markdown
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from dpotox.estimates import Estimate
from dpotox.facts import (
    BEST_OF,
    BY_STRENGTH,
    COST_RATIO,
    COST_RATIO_THERE,
    EDITING,
    STEERING,
    TRAINED_ON,
    UNCHANGED,
)
from dpotox.results.claims import Claim
from dpotox.results.folder import Results
from dpotox.show.figure_style import (
    ABLATED,
    BACK,
    DPO,
    GREY,
    INK,
    MUTED,
    PAPER,
    SMALL,
    name_y,
    note,
    nothing,
    panel,
)
from dpotox.show.report import interval, lines, number, percent, sentence, shown, with_ends

NOT_MADE = "These results were made before this was part of them; make them anew to see it."
STYLES = dict(
    zip(
        BY_STRENGTH,
        ((ABLATED, "o-"), (PAPER, "s-"), (GREY, "D-"), (INK, "^-"), (MUTED, "v--")),
        strict=True,
    )
)
"""Colour and marks of each way."""
SMALLEST = 0.01
"""Perplexity below which the axis is straight."""
MEASURES = {
    "toxicity": "toxicity",
    "perplexity": "perplexity",
    "kl": "KL divergence, nats per token",
    "f1": "F1",
}
RULE = Claim(
    *(
        "steering-is-as-good",
        "Editing activations by group costs as much text as steering as far along the probe",
    ),
    "perplexity added at half of DPO's effect, editing / steering",
    *(0.67, 1.5, "23_without_training", "ours"),
)
"""The rule of `book/before_the_runs.md`."""


def plane(results: Results) -> Figure:
    """Toxicity removed against perplexity added, a line per way."""
    if "without_training" not in results.tables:
        return nothing(NOT_MADE)
    table = results.without_training
    figure, axes = panel(5.0)
    for way, (colour, marks) in STYLES.items():
        line = table[table["way"] == way].sort_values("strength")
        style = {"color": colour, "markersize": 4, "linewidth": 1.2, "label": way}
        axes.plot(line["added"], line["removed"], marks, **style)
        if way != EDITING and len(line):  # whose first point is at strength 0
            first = line.iloc[0]
            axes.plot([0, first["added"]], [0, first["removed"]], ":", color=colour, linewidth=0.9)
    trained = table[table["way"] == TRAINED_ON].iloc[0]
    axes.plot(trained["added"], trained["removed"], "*", color=DPO, markersize=13, label=TRAINED_ON, zorder=4)
    front = table[table["front"]]
    ring = {"markersize": 11, "markerfacecolor": "none", "markeredgecolor": DPO, "markeredgewidth": 1.2}
    axes.plot(front["added"], front["removed"], "o", zorder=3, label="nothing better in both", **ring)
    for best in table[(table["way"] == BEST_OF) & (table["strength"] > 1)].itertuples():
        mark = {"color": INK, "markerfacecolor": BACK, "markersize": 6, "clip_on": False}
        axes.plot(0, best.removed, ">", transform=axes.get_yaxis_transform(), **mark)
        note(axes, f"best of {best.strength:.0f}", (0, best.removed), xycoords=axes.get_yaxis_transform())
    axes.set_xscale("symlog", linthresh=SMALLEST)
    axes.axvline(0, color=MUTED, linewidth=0.6, zorder=0)
    axes.axhline(0, color=MUTED, linewidth=0.6, zorder=0)
    axes.axhline(trained["removed"] / 2, color=DPO, linewidth=0.8, linestyle=":", zorder=0)
    axes.set_xlabel("perplexity added on neutral text")
    name_y(axes, "toxicity removed; dotted: half of what DPO removes")
    figure.legend(ncols=2, loc="outside upper left", frameon=False, fontsize=SMALL)
    return figure


def trials(results: Results) -> Styler:
    """Every way and strength in numbers."""
    if "without_training" not in results.tables:
        return shown([])
    table = results.without_training
    order = [UNCHANGED, TRAINED_ON, *BY_STRENGTH, BEST_OF]
    table = table.sort_values(["way", "strength"], key=lambda c: c.map(order.index) if c.name == "way" else c)
    rows = []
    for line in table.to_dict("records"):
        strength = "-" if line["way"] in (UNCHANGED, TRAINED_ON) else f"{line['strength']:g}"
        row = {"what is done": line["way"], "strength, or n": strength}
        row |= {title: interval(*with_ends(line, name)) for name, title in MEASURES.items()}
        if table["second"].notna().any():
            row["toxicity by another scorer"] = line["second"]
        rows.append(row)
    return shown(rows)


def half_way(results: Results) -> Styler:
    """What each way adds where it removes half as much toxicity as DPO."""
    if "half_way" not in results.tables:
        return shown([])
    rows = [
        {"what is done": line["way"], "perplexity added at half of DPO's effect": _told(line)}
        for line in results.half_way.to_dict("records")
        if line["way"] not in (COST_RATIO, COST_RATIO_THERE)
    ]
    return shown(rows)


def _told(line: dict) -> str:
    return interval(*(line[name] for name in ("value", "low", "high")))


def verdict(results: Results) -> Markdown:
    """What was predicted, and what came out on this run."""
    if "half_way" not in results.tables:
        return sentence(NOT_MADE)
    values = results.half_way.set_index("way")
    found = Estimate(*values.loc[COST_RATIO, ["value", "low", "high"]].astype(float))
    told = (
        _told(values.loc[COST_RATIO].to_dict()) if math.isfinite(found.value) else _no_number(values["value"])
    )
    said = f"`{RULE.id}`: {RULE.statement} (rule: {RULE.low:g} to {RULE.high:g}). Here: {told}. "
    return lines(f"{said}**{RULE.verdict(found)}**", *_weakest(results, values))


def _weakest(results: Results, values: pd.DataFrame) -> list[str]:
    """What the weakest editing does, if that is more than half, and the ratio at as much."""
    if COST_RATIO_THERE not in values.index or not math.isfinite(values.loc[COST_RATIO_THERE, "value"]):
        return []
    table = results.without_training.sort_values("strength").groupby("way").first()["removed"]
    gone = percent(table[EDITING] / table[TRAINED_ON])
    there = _told(values.loc[COST_RATIO_THERE].to_dict())
    return [
        f"even the weakest editing removes {gone} of what DPO does; at as much as that the ratio is {there}"
    ]


def _no_number(values: pd.Series) -> str:
    """Why there is no ratio."""
    never = [way for way in (EDITING, STEERING) if not math.isfinite(values[way])]
    if not values.notna().any():
        return "no number, as no way removes half of an effect that DPO surely has"
    if never:
        return f"no number, as {' and '.join(never)} never removes half of what DPO does"
    return f"no number, as {STEERING} adds no perplexity there"


def answer(results: Results) -> Markdown:
    """What DPO removes and costs, and what the others do."""
    if "without_training" not in results.tables or "half_way" not in results.tables:
        return sentence(NOT_MADE)
    table = results.without_training.set_index("way")
    before, trained = table.loc[UNCHANGED], table.loc[TRAINED_ON]
    said = [
        f"DPO removes {_signed(trained['removed'])} of a greedy toxicity of {number(before['toxicity'])}, "
        f"and adds {_signed(trained['added'])} to a perplexity of {number(before['perplexity'])}"
    ]
    values = results.half_way.set_index("way")["value"]
    costs = values[list(BY_STRENGTH)].dropna().sort_values()
    never = [way for way in BY_STRENGTH if way not in costs and way in table.index]
    if len(costs):
        others = ", ".join(f"{way} {_signed(cost)}" for way, cost in costs.iloc[1:].items())
        said.append(
            f"if costs rise evenly between the strengths tried, half as much is removed at the least cost by "
            f"{costs.index[0]}, which adds {_signed(costs.iloc[0])} to the perplexity"
            + (f"; {others}" if others else "")
        )
    if len(costs) and never:
        said.append(f"at the strengths tried half of it is never reached by {', '.join(never)}")
    if not len(costs):
        said.append("no way was seen to remove half of an effect that DPO surely has")
    held = table.loc[[EDITING]].query("strength == 0")
    for line in held.itertuples():
        said.append(
            f"holding the edited neurons at their means, without moving them, already removes "
            f"{_signed(line.removed)} and adds {_signed(line.added)}"
        )
    best = table.loc[[BEST_OF]].nlargest(1, "strength").iloc[0]
    if best["strength"] > 1:
        said.append(
            f"the least toxic of {best['strength']:.0f} samples is less toxic than one sample by "
            f"{_signed(best['removed'])}, by the scorer that chose it"
        )
    return lines(*said)


def _signed(value: float) -> str:
    """A number that may be less than nothing."""
    return number(value) if math.isfinite(value) else "an unknown amount"
