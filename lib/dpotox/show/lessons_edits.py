"""What the chapters on edits have learnt, 7 and 8, and how to read their rows one kind at a time.

Shares are of DPO's effect on greedy toxicity. A share says how low an edit brings toxicity, not what it
leaves of the text, so each stands beside perplexity or repetition.
"""

from __future__ import annotations

import math

import pandas as pd
from IPython.display import Markdown

from dpotox.paper.published import published_table1
from dpotox.paper.selections import ALL_FOUR
from dpotox.results.folder import Results
from dpotox.show.report import found, lines, no_effect, paper, sentence, share
from dpotox.show.report_table1 import broken


def recovered(
    rows: pd.DataFrame, kind: str, which: str = ALL_FOUR, positions: str = "all", of: str = "recovered"
) -> float:
    """A measure of the row of this kind; NaN if there is none, as for a set without neurons."""
    here = rows[(rows["kind"] == kind) & (rows["which"] == which) & (rows["positions"] == positions)]
    return float(here[of].iloc[0]) if len(here) else math.nan


def patch_and_hold(rows: pd.DataFrame, positions: str = "all", where: str = "") -> list[float]:
    """What the patch of TP- recovers and what the hold does, or both elsewhere, as after the GELU."""
    return [recovered(rows, f"{kind}{where}", "TP-", positions) for kind in ("patch", "hold")]


# Chapter 7


def patching(results: Results) -> Markdown:
    """Chapter 7: what do the paper's edits recover of DPO's effect, and what do they cost?"""
    rows = results.table1
    before, dpo = (rows.set_index("name").loc[name] for name in ("before DPO", "after DPO"))
    cost = (
        f"**DPO itself.** Greedy toxicity goes from {before['toxicity']:.3f} to {dpo['toxicity']:.3f}, "
        f"perplexity on all text to {dpo['perplexity_all'] / before['perplexity_all']:.2f} times what it was "
        f"(paper, on WikiText-2: {paper('dpo-keeps-perplexity'):.2f}), {{term}}`F1` from {before['f1']:.3f} "
        f"to {dpo['f1']:.3f}"
    )
    undone, keys = found(results)["keys-undo-dpo"], rows[rows["kind"] == "scale keys"]
    if not _any_effect(rows):
        return lines(cost, no_effect(results))
    best = _ablations(rows).iloc[0]
    edits = rows[(rows["model"] == "base") & (rows["kind"] != "none")]
    beyond = edits[edits["recovered"] > 1]
    facts = [
        cost,
        f"**{{term}}`Ablation <ablation>`** of toxic neurons has a recovered share of at most "
        f"{share(best['recovered'])} (paper: {paper('ablation-is-partial'):.2f}), at "
        f"{_times(best, rows):.2f} times DPO's perplexity on all text",
    ]
    patch, hold = patch_and_hold(rows, "newest")
    if math.isfinite(patch):
        facts.append(
            f"**The published {{term}}`patch <patching>`** of {{term}}`TP-` has {share(patch)} (paper: "
            f"{paper('patching-tp-is-partial'):.2f}); TP- {{term}}`held still <hold>`, with nothing of DPO "
            f"in it, has {share(hold)}"
        )
    # Those that the rule of the claim counts.
    whole = keys["perplexity_all"] <= 2 * dpo["perplexity_all"]
    return lines(
        *facts,
        f"**{{term}}`Scaled keys <key scaling>`** undo at most {share(undone)} of DPO's effect (paper: "
        f"{paper('keys-undo-dpo'):.2f}), counting the {whole.sum()} of {len(keys)} factors that leave "
        "perplexity on all text at most at twice DPO's",
        f"**Above 1 is not better.** Of {len(edits)} edits of the model before DPO {len(beyond)} leave "
        f"less toxicity than DPO, and {int(broken(beyond, rows).sum())} of these break the text",
    )


def dpo_itself(results: Results) -> Markdown:
    """What DPO costs, which every edit is held to."""
    here = results.table1.set_index("name").loc[["before DPO", "after DPO"]]
    there = published_table1().loc[["gpt2: none", "dpo: none"]]
    return sentence(
        f"perplexity goes from {_from_to(here['perplexity'], 2)} on neutral text (paper, on WikiText-2: "
        f"{_from_to(there['perplexity'], 1)}) and from {_from_to(here['perplexity_all'], 2)} on all text. F1 "
        f"goes from {_from_to(here['f1'], 3)} (paper: {_from_to(there['f1'], 3)}), and repetition from "
        f"{_from_to(here['repetition'], 2)}"
    )


def ablations(results: Results) -> Markdown:
    """Which ablation leaves the least toxicity, and what the largest does."""
    rows = results.table1
    if not _any_effect(rows):
        return sentence(no_effect(results))
    ranked = _ablations(rows)
    best, largest = ranked.iloc[0], ranked.loc[ranked["neurons"].idxmax()]
    said = f"*{best['name']}* leaves the least toxicity, {_with_its_price(best, rows)}"
    if best["name"] != largest["name"]:
        said += f". *{largest['name']}* edits the most neurons and leaves {_with_its_price(largest, rows)}"
    return sentence(said)


def scaled_keys(results: Results) -> Markdown:
    """What each factor undoes of DPO's effect."""
    rows = results.table1
    if not _any_effect(rows):
        return sentence(no_effect(results))
    keys = rows[rows["kind"] == "scale keys"]
    undone = (
        f"*{row['name']}* undoes {share(1 - row['recovered'])} at {_times(row, rows):.2f} times DPO's "
        "perplexity on all text"
        for _, row in keys.iterrows()
    )
    return lines(*undone)


# Chapter 8


def controls(results: Results) -> Markdown:
    """Chapter 8: what in the rows of chapter 7 is due to DPO, and what to editing as such?"""
    measured, rows = found(results), results.table1
    if math.isnan(measured["mlps-are-enough"]):
        return lines(no_effect(results))
    facts = []
    patch, hold = patch_and_hold(rows, "newest")
    if math.isfinite(hold):
        facts.append(
            "**Clamping alone.** TP- {term}`held <hold>` at its own means, with nothing of DPO in it, "
            f"recovers {share(hold)}; the published patch {share(patch)}"
        )
    if f"shift {ALL_FOUR}" in set(rows["name"]):
        facts += [
            "**Neurons that go on reacting.** {term}`Shifting <shift>` all four groups recovers "
            f"{share(recovered(rows, 'shift'))} by the change on {{term}}`own text`, "
            f"{share(recovered(rows, 'shift, same text'))} by that on the {{term}}`same text`; "
            f"{{term}}`copying <copy>` recovers {share(recovered(rows, 'copy'))}",
            _clamping_costs(rows),
        ]
    if math.isfinite(measured["toxic-beats-random"]):
        facts.append(
            "**Random neurons.** The largest {term}`ablation` recovers "
            f"{measured['toxic-beats-random']:+.2f} beyond as many random neurons of like activation"
        )
    return lines(
        *facts,
        "**Weights.** DPO's MLPs put into the model before DPO recover "
        f"{share(recovered(rows, 'swap', 'MLP in and MLP out'))}, DPO's attention "
        f"{share(recovered(rows, 'swap', 'attention'))}",
    )


def _clamping_costs(rows: pd.DataFrame) -> str:
    """The perplexity of the hold of all four groups, as the figure of the chapter has it, and its kin."""
    before = rows.set_index("name").loc["before DPO", "perplexity"]
    held = [recovered(rows, kind, of="perplexity") for kind in ("hold", "hold after the GELU")]
    entering, leaving = (perplexity / before for perplexity in held)
    after = f", and {leaving:.2f} times if what leaves it is" if math.isfinite(leaving) else ""
    return (
        "**What clamping costs.** With all four groups held still, perplexity on neutral text is "
        f"{entering:.2f} times that before DPO if what enters the GELU is held{after}"
    )


def where_it_acts(results: Results) -> Markdown:
    """The patch of TP- at the newest position beside that at all, and the hold beside each."""
    newest, everywhere = (map(share, patch_and_hold(results.table1, at)) for at in ("newest", "all"))
    return sentence(
        f"at the newest position the patch of TP- recovers {' and the hold '.join(newest)}; at every "
        f"position the patch {' and the hold '.join(everywhere)}"
    )


def after_the_gelu(results: Results) -> Markdown:
    """Patch and hold of TP- where a hold keeps the mean activations."""
    patch, hold = map(share, patch_and_hold(results.table1, where=" after the GELU"))
    return sentence(f"after the GELU the patch of TP- recovers {patch}, and the hold {hold}")


def whose_words(results: Results) -> Markdown:
    """The shift of all four groups by the change on own text and on the same text, and the copy."""
    (own, same, copy), sampled = (
        [share(recovered(results.table1, kind, of=of)) for kind in ("shift", "shift, same text", "copy")]
        for of in ("recovered", "recovered_sampled")
    )
    return sentence(
        f"shifting all four groups recovers {own} by the change on own text and {same} by the change on the "
        f"same text; copying recovers {copy}. Of sampled toxicity the three recover {sampled[0]}, "
        f"{sampled[1]} and {sampled[2]}"
    )


def which_weights(results: Results) -> Markdown:
    """What swapped weights and steering recover."""
    rows, beyond = results.table1, found(results)["probe-is-enough"]
    mlps, attention = (recovered(rows, "swap", which) for which in ("MLP in and MLP out", "attention"))
    more = f"{beyond:+.2f}" if math.isfinite(beyond) else "an unknown share"
    return sentence(
        f"DPO's MLPs recover {share(mlps)} and DPO's attention {share(attention)}. Steering along the probe "
        f"recovers {more} beyond a random direction"
    )


def _any_effect(rows: pd.DataFrame) -> bool:
    """Whether shares of DPO's effect are known."""
    return bool(rows.loc[rows["kind"] == "ablate", "recovered"].notna().any())


def _ablations(rows: pd.DataFrame) -> pd.DataFrame:
    """Those of the most toxic neurons by cosine, the one that lowers toxicity most first."""
    ablated = rows[(rows["kind"] == "ablate") & rows["which"].str.endswith("toxic")]
    return ablated.sort_values("recovered", ascending=False, kind="stable")


def _times(row: pd.Series, rows: pd.DataFrame) -> float:
    """Perplexity on all text in multiples of DPO's."""
    return row["perplexity_all"] / rows.set_index("name").loc["after DPO", "perplexity_all"]


def _with_its_price(row: pd.Series, rows: pd.DataFrame) -> str:
    text = (
        f"{row['toxicity']:.3f}, a recovered share of {share(row['recovered'])}, at {_times(row, rows):.2f} "
        f"times DPO's perplexity on all text and a repetition of {row['repetition']:.2f}"
    )
    return f"{text}, so the text is broken" if broken(row.to_frame().T, rows).item() else text


def _from_to(values: pd.Series, digits: int) -> str:
    return " to ".join(f"{value:.{digits}f}" for value in values)
