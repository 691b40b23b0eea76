"""The answer to every chapter's question in one short sentence, from what was measured.

What the answer rests on stands in the lines at the top of the chapter (`dpotox.show.lessons`).
"""

from __future__ import annotations

import math

import pandas as pd
from IPython.display import Markdown

from dpotox.paper.groups import gross_and_net, group_table, neurons_for_share, ratio, without_largest
from dpotox.paper.published import NUMBERS
from dpotox.paper.selections import EVERYTHING, dampened_drop, most_toxic
from dpotox.results import claims
from dpotox.results.folder import Results
from dpotox.results.record import Loss
from dpotox.show import lessons_edits
from dpotox.show.report_nulls import stands
from dpotox.show.wording import NO_DROP, NO_SHIFT, found, no_effect, paper, part, sentence, share

STANDS_IN = "How far it stands in for GPT-2 medium, the claims have to show"


def model(loss: Loss | None) -> Markdown:
    """Chapter 1: is the model good enough? `loss` is that of a model made here."""
    if loss is None:
        return sentence("the model is given by the profile, so how good it is was decided elsewhere")
    if loss.bound is None or loss.loss >= loss.unigram:
        better = "better" if loss.loss < loss.unigram else "no better"
        return sentence(
            f"with {loss.loss:.2f} nats per token the model predicts unseen text {better} than token "
            f"frequencies alone, which lose {loss.unigram:.2f}. {STANDS_IN}"
        )
    learnt = (loss.unigram - loss.loss) / (loss.unigram - loss.bound)
    return sentence(
        f"the model has learnt {learnt:.1%} of what token frequencies alone leave to be learnt. {STANDS_IN}"
    )


def toxic_direction(results: Results) -> Markdown:
    """Chapter 2: is there a direction that says how toxic a text is?"""
    return sentence(
        f"the probe's direction tells toxic comments from others with an AUC of {results.record.auc:.3f}, "
        "where .5 is chance"
    )


def dpo(results: Results) -> Markdown:
    """Chapter 3: what does DPO do to words and weights?"""
    measures = results.outcomes.set_index("measure")
    greedy, everything = (measures.loc[name] for name in ("toxicity, greedy", "perplexity, all text"))
    left, largest = ratio(greedy["after"], greedy["before"]), results.weight_change["change"].max()
    change = everything["after"] / everything["before"] - 1
    return sentence(
        f"DPO leaves {part(left)} of the greedy toxicity, changes perplexity on all text by "
        f"{change:+z.1%}, and moves no kind of parameter by more than {largest:.2%} of its length"
    )


def where(results: Results) -> Markdown:
    """Chapter 4: in how many neurons does DPO take toxicity out?"""
    neurons, carries = results.neurons, found(results, claims.WHERE)["attention-carries"]
    if not (neurons["projection_drop"] > 0).any():
        return sentence(NO_DROP)
    half, reducing = neurons_for_share(neurons, 0.5), (neurons["projection_drop"] > 0).mean()
    layer = neurons.groupby("layer")["projection_drop"].sum().idxmax()
    return sentence(
        f"{reducing:.1%} of the neurons write less along the probe, and half of all drops comes from "
        f"{half:,} of them. Layer {layer} has the largest drop, and on the same text attention carries "
        f"{part(carries)} of the whole change"
    )


def four_groups(results: Results) -> Markdown:
    """Chapter 5: which kinds of neurons reduce toxicity?"""
    own = group_table(results.neurons)["share_of_gross"]["TP-"]
    if pd.isna(own):
        return sentence(NO_DROP)
    undone = found(results, claims.GROUPS)["many-go-wrong"]
    return sentence(
        f"dampened toxic neurons, TP-, give {own:.0%} of the gross reduction and the three other groups that "
        f"reduce toxicity {1 - own:.0%}; the remaining four groups undo {undone:.0%} of it"
    )


def one_neuron(results: Results) -> str:
    """How much hangs on the neuron with the largest drop, as a sentence."""
    neurons, top = results.neurons, results.profile.interventions.figure_top
    largest, rest = neurons.loc[neurons["projection_drop"].idxmax()], without_largest(neurons)
    gross = gross_and_net(group_table(neurons))[0]
    if not gross:
        return NO_DROP
    own = group_table(rest)["share_of_gross"]["TP-"]
    toxic = most_toxic(neurons, top)
    others = ratio(dampened_drop(toxic[toxic.index.isin(rest.index)]), gross_and_net(group_table(rest))[0])
    return (
        f"one neuron, {largest['layer']:.0f}:{largest['neuron']:.0f}, gives "
        f"{largest['projection_drop'] / gross:.0%} of the gross reduction. Without it, TP- gives "
        f"{part(own)}, and the {top} most toxic neurons, as far as they become less active, {part(others)}"
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
    name = "TP- share of gross"
    random = results.other_directions.query("kind == 'random' and text == 'own'")[name]
    own = results.comparisons.set_index("quantity").loc[name, "value"].iloc[0]
    low, high = random.quantile([0.025, 0.975])
    if pd.isna([low, own]).any():
        return sentence(NO_DROP)
    return sentence(
        f"along a direction that means nothing the share would be between {low:.0%} and {high:.0%} in this "
        f"model, and the probe's {own:.0%} lies **{stands(own, low, high)}** that range. For the paper's "
        "31.8 % nobody has measured such a range"
    )


def ablation_versus_patching(results: Results) -> Markdown:
    """Chapter 7: can DPO's effect be had by editing neurons?"""
    measured = found(results, claims.TABLE1)
    ablation, patch = "ablation-is-partial", "patching-tp-is-partial"
    if pd.isna(measured[ablation]):
        return sentence(no_effect(results))
    return sentence(
        f"silencing toxic neurons recovers at most {share(measured[ablation])} of DPO's effect on greedy "
        f"toxicity (paper: {paper(ablation):.2f}), and the published patch of TP- {share(measured[patch])} "
        f"(paper: {paper(patch):.2f}). What in this is due to DPO, the next chapter asks"
    )


def controls(results: Results) -> Markdown:
    """Chapter 8: what in those rows is due to DPO?"""
    if math.isnan(found(results, claims.CONTROLS)["mlps-are-enough"]):
        return sentence(no_effect(results))
    patch, hold = (
        lessons_edits.recovered(results.table1, kind, "TP-", "newest") for kind in ("patch", "hold")
    )
    return sentence(
        f"the published patch of TP- recovers {share(patch)}; holding the same neurons still, with nothing "
        f"of DPO in it, recovers {share(hold)}. Both are shares of DPO's effect on greedy toxicity"
    )


def offset(results: Results) -> Markdown:
    """Chapter 14: does a shift of what the MLPs read explain what DPO does?"""
    recovered = results.table1.set_index("name")["recovered"]
    upstream = results.offset_sets.set_index(["comparison", "which"]).loc[("DPO", EVERYTHING), "upstream"]
    if pd.isna(upstream):
        return sentence(NO_SHIFT)
    return sentence(
        f"the shift makes {part(upstream, 1)} of the change of what enters the GELUs; without it the "
        f"model after DPO keeps {share(recovered['remove offset, all neurons'])} of DPO's effect"
    )
