"""The answer to every chapter's question in one sentence, from what was measured."""

from __future__ import annotations

import math

import pandas as pd
from IPython.display import Markdown

from dpotox.paper.groups import (
    REDUCING,
    WITHOUT_LARGEST,
    gross_and_net,
    group_table,
    neurons_for_share,
    ratio,
    without_largest,
)
from dpotox.paper.published import NUMBERS, published_groups
from dpotox.paper.selections import ALL_FOUR, dampened_drop, most_toxic
from dpotox.results import claims
from dpotox.results.folder import Results
from dpotox.results.record import Loss
from dpotox.show import report

STANDS_IN = "how far it stands in for GPT-2 medium, the claims have to show"
NO_DROP = "no neuron writes less along the probe after DPO, so there is no reduction to divide"


def model(loss: Loss | None) -> Markdown:
    """Chapter 1: is the model good enough? `loss` is that of a model made here."""
    if loss is None:
        return _answer("the model is given by the profile, so how good it is was decided elsewhere")
    if loss.bound is None:
        return _answer(
            f"on unseen text the model loses {loss.loss:.2f} nats per token, where token frequencies alone "
            f"would lose {loss.unigram:.2f}; {STANDS_IN}"
        )
    learnt = (loss.unigram - loss.loss) / (loss.unigram - loss.bound)
    return _answer(
        "of what token frequencies alone leave to be learnt about the language, the model has learnt "
        f"{learnt:.1%}; {STANDS_IN}"
    )


def toxic_direction(results: Results) -> Markdown:
    """Chapter 2: is there a direction that says how toxic a text is?"""
    probe = results.directions.iloc[0]
    on = "comments it has not seen" if results.holds["fitted-probe"] else "all comments"
    return _answer(
        "along the probe's direction, toxic comments are told from others with an AUC of "
        f"{results.record.auc:.3f} on {on}, and {probe['toxic']} of the {probe['count']} tokens nearest to "
        "it are toxic on their own"
    )


def dpo(results: Results) -> Markdown:
    """Chapter 3: what does DPO do to words and weights?"""
    found = results.outcomes.set_index("measure")
    greedy, neutral, everything = (
        found.loc[measure]
        for measure in ("toxicity, greedy", "perplexity, neutral text", "perplexity, all text")
    )
    left, largest = ratio(greedy["after"], greedy["before"]), results.weight_change["change"].max()
    cost = [f"{text['after'] / text['before'] - 1:+.1%}" for text in (neutral, everything)]
    return _answer(
        f"DPO leaves {_part(left)} of the greedy toxicity (paper: {_paper('dpo-reduces'):.0%}), changes "
        f"perplexity by {cost[0]} on neutral and by {cost[1]} on all text, and moves no kind of parameter by "
        f"more than {largest:.2%} of its length"
    )


def where(results: Results) -> Markdown:
    """Chapter 4: in how many neurons does DPO take toxicity out?"""
    neurons, found = results.neurons, _found(results, claims.WHERE)
    if not (neurons["projection_drop"] > 0).any():
        return _answer(NO_DROP)
    half = neurons_for_share(neurons, 0.5)
    reducing = (neurons["projection_drop"] > 0).mean()
    paper = NUMBERS["groups"]["neurons_that_reduce"] / NUMBERS["groups"]["neurons"]
    layers = neurons.groupby("layer")["projection_drop"].sum().nlargest(2)
    net, top = neurons["projection_drop"].sum(), results.profile.interventions.figure_top
    by_layer = " and ".join(f"{drop:.2f} in layer {layer}" for layer, drop in layers.items())
    return _answer(
        f"DPO lowers what the MLPs' neurons write along the probe by {net:.2f}, of that "
        f"{by_layer}; on the same text attention carries "
        f"{_part(found['attention-carries'])} of the whole change; {reducing:.1%} of all neurons write less "
        f"along the probe after DPO (paper: {paper:.1%}), {half:,} of them ({half / len(neurons):.1%} of "
        f"all) make up half of all positive drops, and the {top} most toxic ones, as far as they are "
        f"dampened, {_part(found['top-is-little'], 1)} of the gross reduction (paper: "
        f"{_paper('top-is-little'):.1%})"
    )


def four_groups(results: Results) -> Markdown:
    """Chapter 5: which kinds of neurons reduce toxicity?"""
    found = _found(results, claims.GROUPS)
    share = group_table(results.neurons)["share_of_gross"]
    if share[list(REDUCING)].isna().any():
        return _answer(NO_DROP)
    paper = published_groups()["share_of_gross"]
    each = ", ".join(f"{group} {share[group]:.0%} (paper: {paper[group]:.0%})" for group in REDUCING)
    return _answer(
        f"the gross reduction is made of {each}, and the other four groups undo "
        f"{found['many-go-wrong']:.0%} of it (paper: {_paper('many-go-wrong'):.0%}); {one_neuron(results)}"
    )


def one_neuron(results: Results) -> str:
    """How much hangs on the neuron with the largest drop, as part of a sentence."""
    neurons, top = results.neurons, results.profile.interventions.figure_top
    largest, rest = neurons.loc[neurons["projection_drop"].idxmax()], without_largest(neurons)
    gross = gross_and_net(group_table(neurons))[0]
    if not gross:
        return NO_DROP
    share = group_table(rest)["share_of_gross"]["TP-"]
    toxic = most_toxic(neurons, top)
    others = ratio(dampened_drop(toxic[toxic.index.isin(rest.index)]), gross_and_net(group_table(rest))[0])
    return (
        f"one neuron, {largest['layer']:.0f}:{largest['neuron']:.0f}, gives "
        f"{largest['projection_drop'] / gross:.0%} of the gross reduction, and without that one TP- "
        f"would have {_part(share)} and the {top} most toxic neurons, as far as they are dampened, "
        f"{_part(others)}"
    )


def few_carry_much(results: Results) -> Markdown:
    """The front page: how many neurons the dark bars are of, and how much hangs on one."""
    top, count = results.profile.interventions.figure_top, len(results.neurons)
    paper = 128 / NUMBERS["groups"]["neurons"]
    bars = f"The dark bars are of {top} neurons here, {top / count:.2%} of all, and of {paper:.2%} in "
    sentence = _answer(f"{one_neuron(results)} ([Four groups](05_four_groups.ipynb))").data
    return Markdown(f"{bars}GPT-2 medium. {sentence}")


def is_it_special(results: Results) -> Markdown:
    """Chapter 6: what would the share of TP- be if there were nothing to find?"""
    found = _found(results, claims.NULLS)
    name = "TP- share of gross"
    others = results.other_directions.query("kind == 'random'").set_index("text")[name]
    random = others.loc["own"]
    here = results.comparisons.query("quantity == @name")
    shares, same = here.set_index("comparison")["value"], here.set_index("place")["value"]["same"]
    low, high = random.quantile([0.025, 0.975])
    if pd.isna([low, shares.iloc[0]]).any():
        return _answer(NO_DROP)
    without = found["share-is-special-without-largest"]
    alone = results.comparisons.set_index("quantity").loc[WITHOUT_LARGEST, "value"].iloc[0]
    placebo, effect = shares.get("shuffled preferences"), found["placebo-does-little"]
    after = ""
    if placebo is not None:
        after = (
            f"; after DPO on shuffled preferences, which has {_share(effect)} of DPO's effect on toxicity, "
            f"the share is {_part(placebo)}, the probe signed so that the placebo's change is a reduction"
        )
    return _answer(
        f"along 95 % of random directions the share of TP- lies between {low:.0%} and {high:.0%}, and "
        f"{found['share-is-special']:.0%} of them have a larger one than the probe's {shares.iloc[0]:.0%} "
        f"here; without the neuron of the largest drop {_part(without)} of them have a larger one than its "
        f"{_part(alone)}; where both models read the same text the probe's is {_part(same)}, and "
        f"{_part((others.loc['same'] > same).mean())} of random directions have a larger one{after}; for the "
        "paper's 31.8 % nobody has measured such a range"
    )


def ablation_versus_patching(results: Results) -> Markdown:
    """Chapter 7: can DPO's effect be had by editing neurons? With what was learnt from the paper's rows."""
    found = _found(results, claims.TABLE1)
    ablation, patch, keys = "ablation-is-partial", "patching-tp-is-partial", "keys-undo-dpo"
    if pd.isna(found[ablation]):
        return _answer(
            f"{_no_effect(results)}; in the paper the best ablation by cosine recovers "
            f"{_paper(ablation):.2f} of it and the patch of TP- {_paper(patch):.2f}"
        )
    sentence = _answer(
        f"of DPO's effect on greedy toxicity, the best ablation by cosine recovers {_share(found[ablation])} "
        f"(paper: {_paper(ablation):.2f}), the published patch of TP- {_share(found[patch])} (paper: "
        f"{_paper(patch):.2f}), and scaling keys after DPO undoes {_share(found[keys])} (paper: "
        f"{_paper(keys):.2f})"
    )
    return _with_lessons(sentence, _lessons_of_table1(results.table1))


def _lessons_of_table1(summary: pd.DataFrame) -> list[str]:
    rows = summary.set_index("name")
    ablated = rows[(rows["kind"] == "ablate") & rows["which"].str.endswith("toxic")]
    best, largest = ablated.loc[ablated["recovered"].idxmax()], ablated.loc[ablated["neurons"].idxmax()]
    dpo, before, keys = rows.loc["after DPO"], rows.loc["before DPO"], rows[rows["kind"] == "scale keys"]
    whole = keys[keys["perplexity_all"] <= 2 * dpo["perplexity_all"]]

    def at(row: pd.Series) -> str:
        perplexity = row["perplexity_all"] / dpo["perplexity_all"]
        return f"{_share(row['recovered'])} at {perplexity:.2f} times DPO's perplexity on all text"

    which = f"**Which ablation.** *{best.name}* recovers {at(best)}"
    if best.name != largest.name:
        which += f", *{largest.name}*, the largest, {at(largest)}"
    return [
        which,
        f"**What DPO leaves of the text.** Its own perplexity on all text is "
        f"{dpo['perplexity_all'] / before['perplexity_all']:.2f} times that before, and its F1 "
        f"{dpo['f1']:.3f} where it was {before['f1']:.3f}; an edit has to be held to that as well",
        f"**Scaled keys and the text.** {len(whole)} of {len(keys)} factors leave a perplexity on all text "
        "of at most twice DPO's; only those count",
        "**A patch is two things.** A neuron is put where DPO puts it, and it stops reacting to the text. "
        "This table cannot tell them apart; [the controls](08_controls.ipynb) can",
    ]


def controls(results: Results) -> Markdown:
    """Chapter 8: what in those rows is due to DPO? With what was learnt from the controls."""
    found, rows = _found(results, claims.CONTROLS), results.table1
    if pd.isna(found["mlps-are-enough"]):
        return _answer(_no_effect(results))

    def share(kind: str, which: str = ALL_FOUR, positions: str = "all", of: str = "recovered") -> str:
        here = (rows["kind"] == kind) & (rows["which"] == which) & (rows["positions"] == positions)
        return _share(rows.loc[here, of].iloc[0] if here.any() else math.nan)

    parts = [
        f"holding TP- at its own means at the newest position, which has nothing of DPO in it, recovers "
        f"{share('hold', 'TP-', 'newest')} where the published patch recovers "
        f"{share('patch', 'TP-', 'newest')}"
    ]
    lessons = [
        f"**Where an edit acts.** The patch of TP- recovers {share('patch', 'TP-', 'newest')} at the "
        f"newest position and {share('patch', 'TP-')} at all of them",
        "**Before or after the GELU.** After it, where a hold keeps the mean activations, the hold of TP- "
        f"recovers {share('hold after the GELU', 'TP-')} and the patch "
        f"{share('patch after the GELU', 'TP-')}",
    ]
    if f"shift {ALL_FOUR}" in set(rows["name"]):
        parts += [
            f"shifting all four groups {share('shift')}, by the change on the same text "
            f"{share('shift, same text')}, and copying DPO's activations into them {share('copy')}"
        ]
        lessons += [
            "**Whose words.** The shift of all four groups recovers "
            f"{share('shift')} by the change where each model reads its own text, and "
            f"{share('shift, same text')} by the change where both read the same",
            f"**What clamping costs.** Holding the four groups at their own mean activations, after the "
            f"GELU, makes perplexity on all text {found['clamping-harms']:.2f} times what it was",
            "**Without the threshold of greedy decoding.** Sampled, the shift of all four groups recovers "
            f"{share('shift', of='recovered_sampled')}, and the copy {share('copy', of='recovered_sampled')}",
        ]
    if math.isfinite(found["toxic-beats-random"]):
        lessons += [
            "**Beside random neurons.** The largest ablation recovers "
            f"{found['toxic-beats-random']:+.2f} beyond as many random neurons of like activation"
        ]
    mlps, attention = share("swap", "MLP in and MLP out"), share("swap", "attention")
    parts += [f"the MLPs' weights {mlps}, and attention's {attention}"]
    lessons += [
        f"**Which weights.** Swapping in DPO's attention recovers {attention}, the "
        f"MLPs {mlps}; steering along the probe recovers {found['probe-is-enough']:+.2f} beyond a random "
        "direction"
    ]
    return _with_lessons(_answer(f"of DPO's effect on greedy toxicity, {'; '.join(parts)}"), lessons)


def _no_effect(results: Results) -> str:
    found = results.outcomes.set_index("measure").loc["toxicity, greedy"]
    return (
        f"DPO does not surely lower greedy toxicity here ({found['before']:.3f} before, "
        f"{found['after']:.3f} after), so nothing is concluded from shares of that effect"
    )


def _with_lessons(sentence: Markdown, lessons: list[str]) -> Markdown:
    listed = "\n".join(f"- {lesson}." for lesson in lessons)
    return Markdown(f"{sentence.data}\n\nWhat was learnt:\n\n{listed}")


def _answer(sentence: str) -> Markdown:
    return Markdown(f"{sentence[0].upper()}{sentence[1:]}.")


def _share(value: float) -> str:
    """A share of DPO's effect, which cannot be measured where DPO may have none."""
    return f"{value:.2f}" if math.isfinite(value) else "an unknown share"


def _part(value: float, digits: int = 0) -> str:
    return report.percent(value, digits, "an unknown part")


def _found(results: Results, chapter: str) -> pd.Series:
    return results.claims_of(chapter).set_index("id")["here"].astype(float)


def _paper(claim: str) -> float:
    quantity = next(c.quantity for c in claims.CLAIMS if c.id == claim)
    return claims.published_evidence()[quantity].value
