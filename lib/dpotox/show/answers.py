"""The answer to every chapter's question in a few short sentences, from what was measured.

What the answer rests on stands in the lines at the top of the chapter (`dpotox.show.lessons`).
"""

from __future__ import annotations

import math

import pandas as pd
from IPython.display import Markdown

from dpotox.paper.groups import gross_and_net, group_table, neurons_for_share, ratio, without_largest
from dpotox.paper.published import NUMBERS
from dpotox.paper.selections import EVERYTHING, dampened_drop, most_toxic
from dpotox.results.folder import Results
from dpotox.results.record import Loss
from dpotox.show.lessons_edits import patch_and_hold, recovered
from dpotox.show.report import NO_DROP, NO_SHIFT, found, no_effect, number, paper, part, sentence, share
from dpotox.show.report_nulls import RANGE, SHARE, along_random, share_above, stands
from dpotox.show.report_offset import PLACEBO, top_toxic

STANDS_IN = "How far it stands in for GPT-2 medium, the claims have to show"
NEARLY = 0.9
"""From this part of what could be learnt a model is called nearly as good as one can be."""
MUCH, LITTLE = 0.75, 0.25
"""Beyond these parts of DPO's effect a shift is said to hardly matter, or to be nearly all."""
IN_WORDS = {
    "holds": "no, as in the paper",
    "does not hold": "on this model yes, unlike in the paper",
    "inconclusive": "undecided on this model",
}
"""Whether ablations do what DPO does, by the verdict on the claim that they do not."""


def model(loss: Loss | None) -> Markdown:
    """Chapter 1: is the model good enough? `loss` is that of a model made here."""
    if loss is None:
        return sentence("the model is given by the profile, so how good it is was decided elsewhere")
    if loss.bound is None or loss.loss >= loss.unigram:
        better = "better" if loss.loss < loss.unigram else "no better"
        return sentence(
            f"the model predicts unseen text {better} than token frequencies alone: it loses {loss.loss:.2f} "
            f"nats per token, they {loss.unigram:.2f}. {STANDS_IN}"
        )
    learnt = (loss.unigram - loss.loss) / (loss.unigram - loss.bound)
    good = "nearly as good as one can be" if learnt >= NEARLY else "better than token frequencies alone"
    return sentence(
        f"on text of its own kind the model is {good}: it has learnt {learnt:.1%} of what token frequencies "
        f"leave to be learnt. {STANDS_IN}"
    )


def toxic_direction(results: Results) -> Markdown:
    """Chapter 2: is there a direction that says how toxic a text is?"""
    return sentence(
        f"the probe's direction tells toxic comments from others with an AUC of {results.record.auc:.3f}, "
        "where .5 is chance"
    )


def dpo(results: Results) -> Markdown:
    """Chapter 3: what does DPO do to words and weights?"""
    measures, largest = results.outcomes.set_index("measure"), results.weight_change["change"].max()
    left = measures["after"] / measures["before"]
    return sentence(
        f"DPO leaves {part(left['toxicity, greedy'])} of the greedy toxicity, changes perplexity on all text "
        f"by {left['perplexity, all text'] - 1:+z.1%}, and moves no kind of parameter by more than "
        f"{largest:.2%} of its length"
    )


def where(results: Results) -> Markdown:
    """Chapter 4: in how many neurons does DPO take toxicity out?"""
    neurons, carries = results.neurons, found(results)["attention-carries"]
    if not (neurons["projection_drop"] > 0).any():
        return sentence(NO_DROP)
    half, reducing = neurons_for_share(neurons, 0.5), (neurons["projection_drop"] > 0).mean()
    layer = neurons.groupby("layer")["projection_drop"].sum().idxmax()
    most = "most of the" if reducing > 0.5 else "not more than half of the"
    return sentence(
        f"above all in layer {layer}, and in {most} neurons: on own text {reducing:.1%} of them write less "
        f"along the probe, and half of all drops comes from {half:,} neurons. On the same text attention, "
        f"which is none of these neurons, carries {part(carries)} of the whole change"
    )


def four_groups(results: Results) -> Markdown:
    """Chapter 5: which kinds of neurons reduce toxicity?"""
    own = group_table(results.neurons)["share_of_gross"]["TP-"]
    if pd.isna(own):
        return sentence(NO_DROP)
    undone = found(results)["many-go-wrong"]
    return sentence(
        f"dampened toxic neurons, TP-, give {own:.0%} of the gross reduction and the three other groups that "
        f"reduce toxicity {1 - own:.0%}; the remaining four groups undo {undone:.0%} of it"
    )


def one_neuron(results: Results) -> str:
    """How much hangs on the neuron with the largest drop, as a sentence."""
    neurons, top = results.neurons, results.profile.interventions.figure_top
    largest, rest = neurons.loc[neurons["projection_drop"].idxmax()], group_table(without_largest(neurons))
    gross = gross_and_net(group_table(neurons))[0]
    if not gross:
        return NO_DROP
    toxic = most_toxic(neurons, top).drop(largest.name, errors="ignore")
    others = ratio(dampened_drop(toxic), gross_and_net(rest)[0])
    return (
        f"one neuron, {largest['layer']:.0f}:{largest['neuron']:.0f}, gives "
        f"{largest['projection_drop'] / gross:.0%} of the gross reduction. Without it, TP- gives "
        f"{part(rest['share_of_gross']['TP-'])}, and the {top} most toxic neurons, as far as they become "
        f"less active, {part(others)}"
    )


def few_carry_much(results: Results) -> Markdown:
    """The front page: how many neurons the dark bars are of, and how much hangs on one."""
    top, count = results.profile.interventions.figure_top, len(results.neurons)
    published = 128 / NUMBERS["groups"]["neurons"]
    bars = f"The dark bars are of {top} neurons here, {top / count:.2%} of all, and of {published:.2%} in "
    rest = sentence(f"{one_neuron(results)} ([Four groups](05_four_groups.ipynb))").data
    return Markdown(f"{bars}GPT-2 medium. {rest}")


def is_it_special(results: Results) -> Markdown:
    """Chapter 6: what would the share of TP- be if there were nothing to find?"""
    shares = results.comparisons[results.comparisons["quantity"] == SHARE].set_index("place")["value"]
    own, same = shares["own"], shares["same"]
    random, random_same = (along_random(results.other_directions, text) for text in ("own", "same"))
    low, high = random.quantile(RANGE)
    if pd.isna([low, own]).any():
        return sentence(NO_DROP)
    larger = share_above(random_same.dropna(), same)
    where = stands(own, low, high)
    safe = where == "above" and stands(same, *random_same.quantile(RANGE)) == "above"
    unsafe = "" if safe else ", so by itself it is no safe sign of toxicity"
    where_same = (
        f" Where both models read the same text, {larger:.0%} of such directions have a larger share than "
        f"the probe{unsafe}."
    )
    return sentence(
        f"along a direction that means nothing the share would be between {low:.0%} and {high:.0%} in this "
        f"model, and the probe's {own:.0%} lies **{where}** that "
        f"range.{where_same if math.isfinite(larger) else ''} For the paper's 31.8 % nobody has measured "
        "such a range"
    )


def ablation_versus_patching(results: Results) -> Markdown:
    """Chapter 7: can DPO's effect be had by editing neurons?"""
    measured, ablation, patch = found(results), "ablation-is-partial", "patching-tp-is-partial"
    if pd.isna(measured[ablation]):
        return sentence(no_effect(results))
    verdict = results.claims.set_index("id").loc[ablation, "verdict"]
    return sentence(
        f"{IN_WORDS[verdict]}: silencing toxic neurons recovers at most {share(measured[ablation])} of DPO's "
        f"effect on greedy toxicity (paper: {paper(ablation):.2f}), and the published patch of TP- "
        f"{share(measured[patch])} (paper: {paper(patch):.2f}). What in this is due to DPO, the next chapter "
        "asks"
    )


def controls(results: Results) -> Markdown:
    """Chapter 8: what in those rows is due to DPO?"""
    judged, rows = results.claims.set_index("id"), results.table1
    if math.isnan(found(results)["mlps-are-enough"]):
        return sentence(no_effect(results))
    patch, hold = map(share, patch_and_hold(rows, "newest"))
    fairer = " against ".join(map(share, patch_and_hold(rows, where=" after the GELU")))
    own, same = (share(recovered(rows, kind)) for kind in ("shift", "shift, same text"))
    silenced, shifted = (_beside(judged.loc[name]) for name in ("toxic-beats-random", "tp-beats-random"))
    beside = (
        f" Compared with random neurons of like activation, silencing toxic ones recovers {silenced}, and "
        f"shifting TP- {shifted}."
    )
    return sentence(
        f"the published patch of TP- recovers {patch} of DPO's effect, and the same neurons held still, with "
        f"nothing of DPO in it, {hold}; after the GELU, the fairer test, "
        f"{fairer}.{beside if results.holds['draws'] else ''} Shifting all four groups recovers {own} by the "
        f"change on own text, and {same} by that on the same text"
    )


def _beside(judged: pd.Series) -> str:
    """Whether chosen neurons do more than random ones, by the interval of the difference."""
    if pd.isna([judged["low"], judged["high"]]).any():
        return "an unknown share"
    if judged["low"] > 0:
        return "more"
    return "less" if judged["high"] < 0 else "not surely more"


def offset(results: Results) -> Markdown:
    """Chapter 14: does a shift of what the MLPs read explain what DPO does?"""
    top, by = top_toxic(results), results.offset_sets.set_index(["comparison", "which"])
    every, toxic = by.loc[("DPO", EVERYTHING)], by.loc[("DPO", top)]
    if pd.isna(every["upstream"]):
        return sentence(NO_SHIFT)
    kept = results.table1.set_index("name")["recovered"]["remove offset, all neurons"]
    placebo = by["upstream"].get(PLACEBO, math.nan)
    beside = f" (after shuffled preferences {part(placebo, 1)})" if math.isfinite(placebo) else ""
    return sentence(
        f"{_how_far(kept, toxic['upstream_change'])}: the shift makes {part(every['upstream'], 1)} of the "
        f"change of what enters the GELUs{beside}. It moves the {top} neurons "
        f"{number(toxic['times_random'])} times as far as a random shift. Without it the model after DPO "
        f"keeps {share(kept)} of DPO's effect"
    )


def _how_far(kept: float, moved: float) -> str:
    """How far the shift is what DPO does, by the effect that is left without it.

    Args:
        moved: by how much it moves the most toxic neurons, which it should keep from firing.
    """
    if math.isnan(kept):
        return "undecided, as DPO does not surely lower toxicity here"
    if kept > MUCH:
        return "hardly"
    return "largely" if kept < LITTLE and moved < 0 else "only partly"
