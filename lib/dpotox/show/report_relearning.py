"""Whether DPO's effect lasts: the chapter's figure, tables, verdicts and answer."""

from __future__ import annotations

import math

import pandas as pd
from IPython.display import Markdown
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from dpotox.estimates import Estimate
from dpotox.facts import AUC, CONTROL, GONE, OWN_PROBE, PLACEBO, RATES_SHARE, RELEARNT, STEPS, STEPS_SHARE
from dpotox.results.claims import Claim
from dpotox.results.folder import Results
from dpotox.show.figure_style import BASE, BEFORE, DPO, GREY, PAPER, SMALL, name_y, nothing, panel
from dpotox.show.report import interval, lines, number, percent, sentence, shown, with_ends

NOT_MADE = "These results were made before this was part of them; make them anew to see it."
STYLES = {RELEARNT: (DPO, "o-"), CONTROL: (BASE, "s-"), PLACEBO: (GREY, "D--")}
"""Colour and marks of each run."""
CHAPTER = "21_does_it_last", "ours"
RULES = {
    STEPS_SHARE: Claim(
        *("relearns-fast", "Toxicity is learnt back faster than it was unlearnt"),
        "steps of training on toxic texts until greedy toxicity is that before DPO, as a share of DPO's "
        "steps, batches and rate equal",
        *(-math.inf, 0.5, *CHAPTER),
    ),
    GONE: Claim(
        *("not-by-any-text", "Any other text does not bring it back"),
        "part of DPO's effect gone after as many steps on texts that are not toxic",
        *(-math.inf, 0.25, *CHAPTER),
    ),
    AUC: Claim(
        *("probe-reads-on", "The probe reads toxicity after DPO as well as before"),
        "{term}`AUC` of the probe on held-out comments, read by the model after DPO minus before",
        *(-0.02, 0.02, *CHAPTER),
    ),
}
"""The rules of `book/before_the_runs.md`, by what is measured."""


def curves(results: Results) -> Figure:
    """Greedy toxicity against steps of training, a line per run."""
    if "relearning" not in results.tables:
        return nothing(NOT_MADE)
    table, (figure, axes) = results.relearning, panel(3.6)
    for run, (colour, marks) in STYLES.items():
        line = table[table["run"] == run].sort_values("step")
        style = {"color": colour, "markersize": 4, "linewidth": 1.3, "label": run}
        axes.plot(line["step"], line["toxicity"], marks, **style)
        around = line["toxicity_low"], line["toxicity_high"]
        axes.fill_between(line["step"], *around, color=colour, alpha=0.12, linewidth=0)
    untouched = table[(table["run"] == CONTROL) & (table["step"] == 0)]["toxicity"]
    axes.axhline(
        untouched.iloc[0], color=PAPER, linewidth=1, linestyle=":", zorder=0, label=f"{BEFORE}, untouched"
    )
    axes.set_xlim(left=0)
    axes.set_xlabel("steps of training")
    name_y(axes, "greedy toxicity")
    figure.legend(ncols=2, loc="outside upper left", frameon=False, fontsize=SMALL)
    return figure


def runs(results: Results) -> Styler:
    """The same in numbers, with the perplexity before and at the end."""
    if "relearning" not in results.tables:
        return shown([])
    rows = []
    for run, some in results.relearning.groupby("run", sort=False):
        row = {"trained": run}
        row |= {
            f"toxicity after {line['step']:,} steps": interval(*with_ends(line, "toxicity"))
            for line in some.to_dict("records")
        }
        ends = some.sort_values("step").iloc[[0, -1]].to_dict("records")
        told = ("perplexity untouched", "perplexity at the end")
        rows.append(row | {t: interval(*with_ends(e, "perplexity")) for t, e in zip(told, ends, strict=True)})
    return shown(rows)


def probes(results: Results) -> Styler:
    """How well the probe, and one fitted anew, tell toxic comments before and after DPO."""
    if "probes" not in results.tables:
        return shown([])
    rows = []
    for line in results.probes.to_dict("records"):
        row = {"probe": line["probe"]}
        row |= {f"AUC {when} DPO": interval(*with_ends(line, when)) for when in ("before", "after")}
        rows.append(row | {"difference": interval(*with_ends(line, "difference"))})
    return shown(rows)


def verdicts(results: Results) -> Markdown:
    """What was predicted, and what came out on this run."""
    if "how_long" not in results.tables:
        return sentence(NOT_MADE)
    table = results.how_long.set_index("quantity")
    said = []
    for quantity, rule in RULES.items():
        line = table.loc[quantity]
        ends = f"< {rule.high:g}" if rule.low == -math.inf else f"{rule.low:g} to {rule.high:g}"
        told = _told(results, quantity, line)
        verdict = rule.verdict(as_far_as_tried(line, rule))
        said.append(f"`{rule.id}`: {rule.statement} (rule: {ends}). Here: {told}. **{verdict}**")
    return lines(*said)


def as_far_as_tried(line: pd.Series, rule: Claim) -> Estimate:
    """A value with its ends, where what is not known is beyond all that was tried.

    That decides only if what was tried reaches the rule's limit.
    """
    values = line[["value", "low", "high"]].astype(float)
    if line["most"] >= rule.high:
        values = values.fillna(line["most"])
    return Estimate(*values)


def _told(results: Results, quantity: str, line: pd.Series) -> str:
    if math.isfinite(line["value"]):
        upper = "" if math.isfinite(line["high"]) or math.isnan(line["most"]) else " or more"
        high = line["high"] if math.isfinite(line["high"]) else line["most"]
        return f"{number(line['value'])} [{number(line['low'])}, {number(high)}{upper}]"
    if math.isfinite(line["most"]):
        least = f" [{number(line['low'])} or more]" if math.isfinite(line["low"]) else ""
        return f"more than {number(line['most'])}, as far as was tried{least}"
    if quantity == STEPS_SHARE and not results.holds["trained-dpo"]:
        return "no share, as the model after DPO was given, and how many steps it took is not known"
    return "nothing, as DPO has no sure effect on toxicity"


def answer(results: Results) -> Markdown:
    """How soon toxicity is back, what other texts do, and whether the probe reads on."""
    if "how_long" not in results.tables or "probes" not in results.tables:
        return sentence(NOT_MADE)
    table = results.how_long.set_index("quantity")
    steps, gone = table.loc[STEPS], table.loc[GONE, "value"]
    said = []
    if math.isnan(steps["most"]):
        said.append("DPO has no sure effect on toxicity here, so there is nothing that could come back")
    elif math.isfinite(steps["value"]):
        share = table.loc[STEPS_SHARE, "value"]
        of = f", {percent(share)} of DPO's own" if math.isfinite(share) else ""
        if RATES_SHARE in table.index and math.isfinite(rates := table.loc[RATES_SHARE, "value"]):
            of += f" ({percent(rates)} if the sum of their learning rates counts)"
        said.append(
            f"trained on toxic texts, the model after DPO is as toxic as before it after "
            f"{number(steps['value'])} steps{of}; as many on other texts undo {percent(gone)} of DPO's effect"
        )
    else:
        said.append(
            f"trained on toxic texts for {number(steps['most'])} steps, the model after DPO has not become "
            f"as toxic as before it; as many on other texts undo {percent(gone)} of DPO's effect"
        )
    control = results.relearning.query("run == @CONTROL").sort_values("step").iloc[-1]
    said.append(
        f"the model before DPO, trained alike for {control['step']:,} steps, comes to a toxicity of "
        f"{number(control['toxicity'])}"
    )
    own = results.probes.set_index("probe").loc[OWN_PROBE]
    said.append(
        f"the probe tells toxic comments with an AUC of {number(own['before'])} in the model before DPO, and "
        f"{number(own['after'])} after it"
    )
    return lines(*said)
