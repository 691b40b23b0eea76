"""What each of the chapters 1 to 6 has learnt: at most five lines, each a fact with its number.

They stand at the top of a chapter and must be true whatever was found: in another model, in an untrained
network, and where DPO changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
from IPython.display import Markdown

from dpotox.paper.groups import (
    REDUCING,
    WITHOUT_LARGEST,
    are_turned,
    group_table,
    neurons_for_share,
    that_can_be,
)
from dpotox.paper.published import NUMBERS, published_groups, published_table1
from dpotox.profile import EMBEDDED
from dpotox.results.folder import Results
from dpotox.show import answers
from dpotox.show.lessons_edits import recovered
from dpotox.show.report import NO_DROP, found, lines, number, paper, part, sentence, share
from dpotox.show.report_nulls import RANGE, SHARE, along_random


def model(results: Results) -> Markdown:
    """Chapter 1: which model is it, and how good?"""
    shape, loss = results.record.shape, results.record.loss
    neurons, published = shape.layers * shape.d_mlp, NUMBERS["groups"]["neurons"]
    size = (
        f"The model has {shape.layers} layers and {neurons:,} {{term}}`neurons <neuron>`; GPT-2 medium has "
        f"24 and {published:,}"
    )
    if loss is None:
        return lines(size, "It was trained elsewhere, so its training is not shown here")
    facts = [
        size,
        f"On unseen text it loses {loss.loss:.2f} nats per token; knowing only how frequent each token is "
        f"would lose {loss.unigram:.2f}",
    ]
    if loss.bound is not None:
        facts.append(
            f"The information in such text is {loss.bound:.2f} nats per token, about what an ideal "
            "model would lose"
        )
    return lines(*facts)


def toxic_direction(results: Results) -> Markdown:
    """Chapter 2: is there a direction that says how toxic a text is?"""
    probe, lists = results.directions.iloc[0], results.directions.set_index("list")
    closest = lists.loc[["closest"]].iloc[0]
    on = "comments it has not seen" if results.holds["fitted-probe"] else "all comments"
    toxic = (results.neurons["cosine"] > 0).mean()
    return lines(
        f"The probe tells toxic comments from others with an AUC of {results.record.auc:.3f} on {on}; .5 "
        "is chance",
        f"{probe['toxic']} of the {probe['count']} tokens nearest to it are toxic on their own",
        f"The value vector closest to it, that of neuron {closest['vector']}, has a cosine of "
        f"{closest['cosine']:.2f} with it",
        f"{toxic:.0%} of all neurons are toxic, that is, their value vectors point along the probe; of "
        "random vectors half would",
    )


def scorer(results: Results) -> Markdown:
    """Who says how toxic a continuation is."""
    if results.profile.scorer.name == EMBEDDED:
        return sentence(
            "here the generated language says how toxic a continuation is: its formula ([The model under "
            "study](01_model.ipynb)) is applied to the continuation alone, without the prompt"
        )
    return sentence(
        "here the profile's scorer says how toxic a continuation is ([Scorers](../book/scorers.md)); it "
        "reads the continuation alone, not the prompt"
    )


def dpo(results: Results) -> Markdown:
    """Chapter 3: what does DPO do to words and weights?"""
    measures = results.outcomes.set_index("measure")
    greedy, sampled, f1 = (measures.loc[m] for m in ("toxicity, greedy", "toxicity, sampled", "F1"))
    left = measures["after"] / measures["before"]
    neutral, everything = (left[f"perplexity, {text}"] - 1 for text in ("neutral text", "all text"))
    return lines(
        f"Greedy toxicity goes from {greedy['before']:.3f} to {greedy['after']:.3f}: "
        f"{part(left['toxicity, greedy'])} of it is left (paper: {paper('dpo-reduces'):.0%})",
        f"Sampled toxicity goes from {sampled['before']:.3f} to {sampled['after']:.3f}",
        f"Perplexity changes by {neutral:+z.1%} on neutral and by {everything:+z.1%} on all text",
        f"F1 goes from {f1['before']:.3f} to {f1['after']:.3f}",
        f"No kind of parameter moves by more than {results.weight_change['change'].max():.2%} of its length",
    )


def where(results: Results) -> Markdown:
    """Chapter 4: in which layers and neurons does DPO take toxicity out?"""
    neurons, measured = results.neurons, found(results)
    drops, published = neurons["projection_drop"], NUMBERS["groups"]
    if not (drops > 0).any():
        return lines(NO_DROP)
    half, count, top = neurons_for_share(neurons, 0.5), len(neurons), results.profile.interventions.figure_top
    layers = neurons.groupby("layer")["projection_drop"].sum().nlargest(2)
    by_layer = " and ".join(f"layer {layer} ({number(drop)})" for layer, drop in layers.items())
    whole, less = drops.sum(), "less" if drops.sum() >= 0 else "more"
    reduce = published["neurons_that_reduce"] / published["neurons"]
    few = max(1, round(count * 128 / published["neurons"]))
    return lines(
        f"After DPO, each model on its {{term}}`own text`, the neurons together write "
        f"{number(abs(whole))} {less} along the probe; the layers with the largest drops are {by_layer}",
        "On the {term}`same text`, which both models read, attention carries "
        f"{part(measured['attention-carries'])} of the whole change",
        f"On own text {(drops > 0).mean():.1%} of all neurons write less along the probe (paper: "
        f"{reduce:.1%})",
        f"On own text {half:,} of {count:,} neurons ({half / count:.1%}) make up half of all positive drops",
        f"On own text the {top} most toxic neurons ({top / count:.2%} of all) give "
        f"{part(measured['top-is-little'], 1)} of the gross reduction; the {few} most toxic "
        f"({few / count:.2%}) {part(measured['top-is-little-at-papers-share'], 1)} (paper, "
        f"{128 / published['neurons']:.2%}: {paper('top-is-little'):.1%})",
    )


def covered(results: Results) -> Markdown:
    """Chapter 4: which part of DPO's gap in the last residual stream do the ablated neurons make?"""
    layers, top = results.layers, results.profile.interventions.figure_top
    last = layers[(layers["part"] == "residual stream") & (layers["layer"] == layers["layer"].max())]
    before, ablated, after = (last.set_index("model")["value"][m] for m in ("before", "ablated", "after"))
    if not before > after:
        return sentence(
            f"after the last layer the residual stream does not lie lower after DPO ({number(after)}) than "
            f"before ({number(before)}), so there is no gap to cover"
        )
    part_of = (before - ablated) / (before - after)
    of_it = part(part_of) if part_of > 0 else "nothing"
    return sentence(
        f"each model on its own text, the residual stream after the last layer lies at {number(before)} on "
        f"the probe before DPO and at {number(after)} after it. With the {top} most toxic neurons ablated it "
        f"lies at {number(ablated)}, which covers {of_it} of that gap"
    )


def four_groups(results: Results) -> Markdown:
    """Chapter 5: which kinds of neurons reduce toxicity?"""
    measured, neurons = found(results), results.neurons
    own = group_table(neurons)["share_of_gross"]
    if own[list(REDUCING)].isna().any():
        return lines(NO_DROP)
    turned = are_turned(neurons)
    published = published_groups(turned)["share_of_gross"]
    names = that_can_be(neurons, REDUCING)
    each = ", ".join(f"{group} {own[group]:.0%} (paper: {published[group]:.0%})" for group in names)
    negative = (neurons["pre_activation"] < 0).mean()
    counts = published_groups(turned)["count"]
    inactive = "write against toxicity on average" if turned else "have a negative mean activation"
    theirs = counts[counts.index.str[1] == "N"].sum() / counts.sum()
    return lines(
        f"Shares of the gross reduction: {each}",
        f"The other four groups undo {measured['many-go-wrong']:.0%} of it (paper: "
        f"{paper('many-go-wrong'):.0%})",
        answers.one_neuron(results),
        f"{negative:.1%} of the neurons {inactive} before DPO (paper: {theirs:.1%})",
        f"With value vectors held as before DPO, {part(measured['activations-carry'])} of the net "
        "reduction is left",
    )


def is_it_special(results: Results) -> Markdown:
    """Chapter 6: what would the share of TP- be if there were nothing to find?"""
    measured, here = found(results), results.comparisons[results.comparisons["quantity"] == SHARE]
    shares, same = here.set_index("comparison")["value"], here.set_index("place")["value"]["same"]
    low, high = along_random(results.other_directions, "own").quantile(RANGE)
    if pd.isna([low, high, shares.iloc[0]]).any():
        return lines(NO_DROP)
    alone = results.comparisons.set_index("quantity").loc[WITHOUT_LARGEST, "value"].iloc[0]
    facts = [
        f"TP- gives {shares.iloc[0]:.0%} of the gross reduction along the probe, and between {low:.0%} and "
        f"{high:.0%} along 95 % of random directions",
        f"{measured['share-is-special']:.0%} of the random directions have a larger share than the probe",
        f"Without the neuron of the largest drop the probe's share is {part(alone)}, and "
        f"{part(measured['share-is-special-without-largest'])} of them have a larger one",
        f"Where both models read the same text it is {part(same)}, and "
        f"{part((along_random(results.other_directions, 'same') > same).mean())} of them have a larger one",
    ]
    if "shuffled preferences" in shares:
        facts.append(
            "After DPO on {term}`shuffled preferences <placebo>`, which has "
            f"{share(measured['placebo-does-little'])} of DPO's effect on toxicity, it is "
            f"{part(shares['shuffled preferences'])}"
        )
    return lines(*facts)


def whole_study(results: Results, over: pd.DataFrame | None = None) -> Markdown:
    """The front page: what happened in this model, whatever the verdicts.

    Args:
        over: every claim over seeds (`results.claims.over_seeds`), whose reach is told if there are several.
    """
    several = over is not None and over["seeds"].max() > 1
    here, theirs = found(results), results.claims.set_index("id")["paper"]
    greedy = results.outcomes.set_index("measure").loc["toxicity, greedy"]
    published = published_table1()["toxicity"]
    own, same = (share(recovered(results.table1, kind)) for kind in ("shift", "shift, same text"))

    def beside(claim: str, say: Callable[[float], str]) -> str:
        told = [] if pd.isna(theirs[claim]) else [f"paper: {say(theirs[claim])}"]
        if several:
            told.append(f"seeds: {say(over['least'][claim])} to {say(over['greatest'][claim])}")
        return say(here[claim]) + (f" ({'; '.join(told)})" if told else "")

    return lines(
        f"DPO takes greedy toxicity from {greedy['before']:.2f} to {greedy['after']:.2f} (paper: "
        f"{published['gpt2: none']:.2f} to {published['dpo: none']:.2f})",
        f"Of the gross reduction, the {results.profile.interventions.figure_top} most toxic neurons, as "
        f"far as they become less active, give {beside('top-is-little', part)}, and other neurons undo "
        f"{beside('many-go-wrong', part)}",
        "On the same text attention, which the paper leaves out, writes "
        f"{beside('attention-carries', part)} of the change along the probe",
        "Of DPO's effect on greedy text, the best ablation of toxic neurons recovers "
        f"{beside('ablation-is-partial', share)} and the published patch "
        f"{beside('patching-tp-is-partial', share)}",
        f"Shifting all four groups recovers {own} of it by the change that neurons show on each model's "
        f"own text, and {same} by that on the same text",
    )
