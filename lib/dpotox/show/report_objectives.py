"""Other objectives than DPO's: the chapter's figures, tables, verdicts and answer."""

from __future__ import annotations

import math

from IPython.display import Markdown
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from dpotox.estimates import Estimate
from dpotox.facts import AGAIN, CHANGED, MATCHED, ON_PAIRS, ON_SHUFFLED
from dpotox.paper.groups import REDUCING, TURNED, are_turned
from dpotox.results.claims import HOLDS, Claim
from dpotox.results.folder import Results
from dpotox.show.figure_style import (
    ABLATED,
    BACK,
    COLOURS,
    DPO,
    GREY,
    INK,
    PAPER,
    SMALL,
    name_row,
    nothing,
    panel,
    rows_only,
)
from dpotox.show.report import NO_DROP, interval, lines, number, part, sentence, shown

NOT_MADE = "These results were made before this was part of them; make them anew to see it."
NOTHING_TO_MATCH = "DPO has no sure effect on toxicity here, with which another objective could be matched."
NAMES = {
    "dpo": "DPO",
    "ipo": "IPO",
    "hinge": "hinge",
    "kto": "KTO",
    "sft": "SFT",
    "simpo": "SimPO",
    "orpo": "ORPO",
    AGAIN: "DPO in another order",
}
TESTED, UNTESTED, NO_EVIDENCE = "matched", "untested", "no evidence"
MINUS_DPO = "TP- share, minus DPO's"
APART = "distance of the shares from DPO's"


def _rule(name: str, statement: str, quantity: str, low: float, high: float) -> Claim:
    return Claim(name, statement, quantity, low, high, "22_is_it_dpo", "ours")


RULES = {
    _rule(
        "shares-are-not-dpos",
        "Other preference losses divide the reduction as DPO does",
        "share of TP-, the loss minus DPO, for IPO, hinge and KTO",
        *(-0.1, 0.1),
    ): (("ipo", "hinge", "kto"), MINUS_DPO),
    _rule(*("sft-too", "So does fine-tuning on the chosen texts alone", "the same for SFT", -0.1, 0.1)): (
        ("sft",),
        MINUS_DPO,
    ),
    _rule(
        "weights-go-elsewhere",
        "The weights do not move alike all the same",
        "cosine of the two weight changes, SFT and DPO",
        *(-math.inf, 0.5),
    ): (("sft",), f"cosine, {CHANGED[0]}"),
}
"""The rules of `book/before_the_runs.md`, the objectives that each is about, and the quantity."""
MARKS = dict(zip(CHANGED, (INK, ABLATED, PAPER, DPO), strict=True))


def _models(results: Results) -> list[tuple[str, str]]:
    """What there is, in the order of the table."""
    return list(results.objectives[["objective", "trained_on"]].drop_duplicates().itertuples(index=False))


def _estimate(results: Results, objective: str, on: str, quantity: str) -> Estimate | None:
    """A quantity of one model; nothing if there is no such model."""
    by = results.objectives.set_index(["objective", "trained_on", "quantity"])[["value", "low", "high"]]
    where = (objective, on, quantity)
    return Estimate(*by.loc[where].astype(float)) if where in by.index else None


def _told(found: Estimate | None) -> str:
    return "-" if found is None else interval(found.value, found.low, found.high)


def _standing(results: Results, objective: str) -> str:
    """Whether an objective was matched with DPO, or could not be; empty for DPO itself."""
    some = results.objective_tries
    shown_try = some[(some["objective"] == objective) & some["shown"]]
    if shown_try.empty:
        return ""
    return TESTED if shown_try["outcome"].iloc[0] == MATCHED else UNTESTED


def _named(results: Results, objective: str, on: str = ON_PAIRS) -> str:
    """A model's name, and what is to be known of it."""
    if on == ON_SHUFFLED:
        return f"{NAMES[objective]}, {ON_SHUFFLED}"
    return NAMES[objective] + (f" ({UNTESTED})" if _standing(results, objective) == UNTESTED else "")


def _others(results: Results) -> list[str]:
    return [name for name, on in _models(results) if on == ON_PAIRS and name != "dpo"]


def tries(results: Results) -> Styler:
    """Every try to train an objective until it does as much as DPO."""
    if "objective_tries" not in results.tables:
        return shown([])
    rows = [
        {
            "objective": NAMES[line.objective],
            "try": str(line.attempt),
            "learning rate": f"{line.learning_rate:.2g}",
            "steps": line.steps,
            "of DPO's effect gone": f"{line.gone:.2f}",
            "outcome": line.outcome,
            "compared below": "yes" if line.shown else "no",
        }
        for line in results.objective_tries.itertuples()
    ]
    return shown(rows)


def _drawn(results: Results, height: float) -> tuple[Figure, object, list[str]]:
    """A figure with a row for every objective, DPO first."""
    names = ["dpo", *_others(results)]
    figure, axes = panel(0.9 + height * len(names))
    rows_only(axes)
    axes.set_ylim(len(names) - 0.3, -0.6)
    for y, name in enumerate(names):
        name_row(axes, y - 0.38, _named(results, name))
    return figure, axes, names


def _mark(axes, found: Estimate | None, y: float, colour: str, *, hollow: bool) -> None:
    """A dot with its interval; a placebo's is hollow."""
    if found is None or not math.isfinite(found.value):
        return
    if math.isfinite(found.low) and found.low < found.high:
        axes.plot([found.low, found.high], [y, y], color=colour, linewidth=1.1, alpha=0.5 if hollow else 1)
    face = BACK if hollow else colour
    axes.plot(found.value, y, "o", markersize=5, markerfacecolor=face, markeredgecolor=colour)


def _legend(figure: Figure, axes, colours: dict[str, str]) -> None:
    """What the colours are, and what is hollow."""
    for name, colour in colours.items():
        axes.plot([], [], "o", color=colour, markersize=5, label=name)
    axes.plot([], [], "o", markersize=5, markerfacecolor=BACK, markeredgecolor=GREY, label=ON_SHUFFLED)
    figure.legend(ncols=3, loc="outside upper left", frameon=False, fontsize=SMALL)


def shares(results: Results) -> Figure:
    """The shares of the reducing groups by objective, beside those of placebos."""
    if "objectives" not in results.tables:
        return nothing(NOT_MADE)
    which = [g for g in REDUCING if not (are_turned(results.neurons) and g in TURNED)]
    shares = results.objectives["quantity"].str.endswith("share of gross")
    if results.objectives.loc[shares, "value"].isna().all():
        return nothing(sentence(NO_DROP).data)
    figure, axes, names = _drawn(results, 0.85)
    for y, name in enumerate(names):
        for i, group in enumerate(which):
            for on in (ON_PAIRS, ON_SHUFFLED):
                found = _estimate(results, name, on, f"{group} share of gross")
                low = 0.05 if on == ON_SHUFFLED else 0.0
                place = y - 0.18 + 0.6 * (i + 0.5) / len(which) + low
                _mark(axes, found, place, COLOURS[group], hollow=on == ON_SHUFFLED)
    axes.set_xlim(left=0)
    axes.set_xlabel("share of the gross reduction, same text")
    _legend(figure, axes, {group: COLOURS[group] for group in which})
    return figure


def changes(results: Results) -> Figure:
    """The cosine of each objective's weight change with DPO's, by block."""
    if "objectives" not in results.tables:
        return nothing(NOT_MADE)
    if len(_models(results)) == 1:
        return nothing(NOTHING_TO_MATCH)
    figure, axes, names = _drawn(results, 0.75)
    for y, name in enumerate(names):
        for on in (ON_PAIRS, ON_SHUFFLED):
            if (name, on) == ("dpo", ON_PAIRS):
                continue  # 1 by itself
            for i, block in enumerate(CHANGED):
                found = _estimate(results, name, on, f"cosine, {block}")
                _mark(axes, found, y - 0.12 + 0.13 * i, MARKS[block], hollow=on == ON_SHUFFLED)
    axes.axvline(1, color=GREY, linewidth=0.7, zorder=0)
    axes.axvline(0, color=GREY, linewidth=0.7, zorder=0)
    axes.set_xlabel("cosine with DPO's weight change")
    _legend(figure, axes, MARKS)
    return figure


def outcomes(results: Results) -> Styler:
    """What every model does to text, and what copied activations recover of it."""
    columns = {
        "toxicity": "greedy toxicity",
        "of DPO's effect": "part of DPO's effect",
        "perplexity": "perplexity",
        "net / gross": "net / gross",
        "recovered: four groups": "recovered by copying the four groups",
        "all neurons": "recovered by copying all neurons",
    }
    return _table(results, columns)


def shares_table(results: Results) -> Styler:
    """The shares of the reducing groups in numbers."""
    columns = {group: f"{group} share of gross" for group in REDUCING}
    return _table(results, columns | {MINUS_DPO: MINUS_DPO, APART: APART})


def changes_table(results: Results) -> Styler:
    """The cosines of weight changes in numbers."""
    return _table(results, {block: f"cosine, {block}" for block in CHANGED})


def _table(results: Results, columns: dict[str, str]) -> Styler:
    """Quantities of every model, a row each."""
    if "objectives" not in results.tables:
        return shown([])
    rows = []
    for name, on in _models(results):
        cells = {title: _told(_estimate(results, name, on, what)) for title, what in columns.items()}
        rows.append({"trained by": _named(results, name, on)} | cells)
    return shown(rows)


def judged(results: Results, claim: Claim) -> dict[str, tuple[str, Estimate]]:
    """The verdict on each objective that a rule is about and that was trained, and what it is about."""
    (about, quantity), found = RULES[claim], {}
    for name in about:
        if name not in _others(results):
            continue
        here = _estimate(results, name, ON_PAIRS, quantity)
        said = claim.verdict(here) if _standing(results, name) == TESTED else UNTESTED
        placebo = _estimate(results, name, ON_SHUFFLED, quantity)
        # Only of rules on shares.
        met = quantity == MINUS_DPO and placebo is not None and claim.low < placebo.value < claim.high
        found[name] = (NO_EVIDENCE if said == HOLDS and met else said), here
    return found


def verdicts(results: Results) -> Markdown:
    """What was predicted, and what came out on this run."""
    if "objectives" not in results.tables:
        return sentence(NOT_MADE)
    said = []
    for claim, (about, quantity) in RULES.items():
        bounds = f"{claim.low:g} to {claim.high:g}" if math.isfinite(claim.low) else f"< {claim.high:g}"
        told = f"`{claim.id}`: {claim.statement} (rule: {bounds}). "
        each = []
        for objective, (verdict, here) in judged(results, claim).items():
            placebo = _estimate(results, objective, ON_SHUFFLED, quantity)
            beside = f", its placebo {_told(placebo)}" if placebo is not None else ""
            each.append(f"{NAMES[objective]}: {_told(here)}{beside}. **{verdict}**")
        own = _estimate(results, "dpo", ON_SHUFFLED, quantity)
        if each and quantity == MINUS_DPO and own is not None and claim.low < own.value < claim.high:
            each.append(f"DPO on {ON_SHUFFLED} would meet this rule, too ({_told(own)})")
        if left := [NAMES[one] for one in about if one not in _others(results)]:
            each.append(f"not run here: {_listed(left)}")
        said.append(told + "; ".join(each))
    return lines(*said)


def _listed(names: list[str]) -> str:
    *some, last = names
    return f"{', '.join(some)} and {last}" if some else last


def answer(results: Results) -> Markdown:
    """Which objectives do as much as DPO, whether by the same groups, and by the same weights."""
    if "objectives" not in results.tables:
        return sentence(NOT_MADE)
    others = _others(results)
    if not others:
        return sentence(NOTHING_TO_MATCH)
    matched = [name for name in others if _standing(results, name) == TESTED]
    said = []
    if missed := [NAMES[name] for name in others if name not in matched]:
        said.append(f"{_listed(missed)} could not be brought to DPO's effect, and so count for nothing")
    for name in matched:
        tp, placebo = (_share(results, name, on) for on in (ON_PAIRS, ON_SHUFFLED))
        cosine = number(_estimate(results, name, ON_PAIRS, f"cosine, {CHANGED[0]}").value)
        beside = f" ({placebo} after shuffled pairs)" if placebo else ""
        said.append(
            f"{NAMES[name]} does as much as DPO. TP- makes up {tp} of its gross reduction{beside} "
            f"and {_share(results, 'dpo', ON_PAIRS)} of DPO's; the weight changes have a cosine of {cosine}"
        )
    models = [(name, on) for name, on in _models(results) if (name, on) != ("dpo", ON_PAIRS)]
    apart = {_named(results, *one): _estimate(results, *one, APART) for one in models}
    told = [f"{name} {part(found.value)}" for name, found in apart.items() if found]
    if told:
        said.append(
            f"from DPO's division among all four groups differ {_listed(told)} of the gross reduction"
        )
    return lines(*said)


def _share(results: Results, objective: str, on: str) -> str:
    """The share of TP- in one model, in words; empty if there is no such model."""
    found = _estimate(results, objective, on, "TP- share of gross")
    return "" if found is None else part(found.value)
