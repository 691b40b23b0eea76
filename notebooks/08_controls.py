# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Controls
#
# **Question.** What in the rows of [](07_ablation_versus_patching.ipynb) is due to DPO, and what to editing as such?
#
# An edit can lower toxicity for reasons that have nothing to do with DPO. It may stop neurons from reacting to the text,
# it may break the text, or any other neurons might do as well. So beside each edit stands a *control*, an edit that shares
# everything with it but the reason. All controls are ours, none is the paper's.
#
# The measure is again the {term}`recovered share` of DPO's effect on greedy toxicity: 0 is as toxic as before DPO, 1 is as
# toxic as after it. A share above 1 is not better than DPO. It only says that toxicity is lower, and sometimes it is lower
# because the text is *broken*: perplexity on all text is more than twice DPO's, or {term}`repetition` more than one and a
# half times.
#
# The groups of neurons are those of [](05_four_groups.ipynb). {term}`TP-`, {term}`AN-`, {term}`TN+` and {term}`AP+` reduce
# toxicity and are here called *all four groups*; TP- are the toxic neurons that DPO dampens.

# %% tags=["parameters"]
profile = "mini"
seed = 0

# %% tags=["hide-input"]
from IPython.display import display

from dpotox.results import claims
from dpotox.results.folder import open_results
from dpotox.show import (
    answers,
    figures,
    figures_table1,
    lessons_edits,
    report_standing,
    report_table1,
)

figures.use_style()
results = open_results(profile, seed)
summary = results.table1
print(
    f"profile {results.profile.name}, seed {results.seed}: {len(results.prompts)} prompts, {len(summary)} rows"
)

# %% [markdown]
# ## What was learnt

# %% tags=["hide-input"]
lessons_edits.controls(results)

# %% [markdown]
# ## Ways to put neurons where DPO puts them
#
# Two of them {term}`clamp` a neuron: it gets one constant and no longer reacts to the text.
#
# - **{term}`patch <patching>`, newest**: the paper's clamp to the mean after DPO, at the newest position, the one that
#   predicts the next token;
# - **patch**: the same clamp at every position;
# - **{term}`hold`**: the same clamp at the neurons' **own** means before DPO. There is nothing of DPO in it, so what it
#   does is due to clamping.
#
# The others let a neuron go on reacting to the text:
#
# - **{term}`shift`**: adds each neuron's mean change by DPO, read on {term}`own text`, that is, while each model writes
#   its own. Part of that change is there because the words differ;
# - **shift, same text**: adds the mean change where both models read the {term}`same text`, so other words have no part
#   in it;
# - **{term}`copy`**: gives the neurons the activations that the model after DPO has on the very same text, token by
#   token.
#
# {numref}`fig-recovered` shows what each of them recovers, and at what price.

# %% mystnb={"figure": {"caption": "What is due to DPO's values, and what to clamping? In the panels of patches compare each dot with the ring beside it, the same clamp at the neurons' own means: where they lie close together, clamping does it. In the other panels look at how far the dots come towards 1. A cross in place of a dot: the text is broken. One panel per kind of edit; lines are 95 % intervals over prompts. The number at a row's end is perplexity on neutral text, divided by that before DPO; edits at the newest position have none, as hardly any of the text is edited where it is measured.", "name": "fig-recovered"}, "image": {"alt": "Six panels, one per kind of edit, with a dot for every set of neurons and its perplexity"}}
figure = figures_table1.recovered_by_set(summary)

# %% [markdown]
# The folded output has the numbers: greedy, then sampled, where nothing hangs on which token is just ahead of another,
# then perplexity on neutral text, here as it is and not divided by anything.

# %% tags=["full-width", "hide-output"]
measures = {
    "recovered": "Recovered share of DPO's effect on greedy toxicity",
    "recovered_sampled": "Recovered share of DPO's effect on sampled toxicity",
    "perplexity": "Perplexity on neutral text",
}
for measure, title in measures.items():
    display(report_table1.by_set(summary, measure).set_caption(title))

# %% [markdown]
# ### Clamped, and where
#
# Compare the patch of TP- with the hold. What the hold recovers needs nothing of DPO.

# %% tags=["hide-input"]
lessons_edits.where_it_acts(results)

# %% [markdown]
# ### Before or after the GELU
#
# The published patch sets what enters the {term}`GELU` to its mean. As the GELU is not linear, the activation that leaves
# it is then not at its own mean, and neither is it in the hold. The authors' code of 2025 clamps after the GELU. There the
# hold keeps every mean activation, at the positions where it was measured, which are the newest after these prompts. That
# makes it the fairer control:

# %% tags=["hide-input"]
lessons_edits.after_the_gelu(results)

# %% tags=["full-width"]
report_table1.toxicity(
    report_table1.rows_of(
        summary, "patch after the GELU", "hold after the GELU"
    ),
    summary,
)

# %% [markdown]
# ### Whose words
#
# The mean change on own text has the effect of other words in it: where DPO lowers toxicity, the model after it reads less
# toxic text, its own. A shift by that change puts some of the result into the cause. The change on the same text does not.

# %% tags=["hide-input"]
lessons_edits.whose_words(results)

# %% [markdown] tags=["only-draws"]
# ## Are these the neurons?
#
# Would other neurons do as well? Beside an edit of chosen neurons stands the same edit of random ones: as many in each
# layer, with similar mean activation before DPO (value vectors are not matched). Each random choice is a *draw*.
#
# Beside the shift of all four groups stand the same shifts dealt at random among the neurons of each layer and group, so
# that signs and sizes stay, and only which neuron gets which shift is random.
#
# Random edits can do harm of their own. Then a row's lead over them is larger than its own effect, so look at both
# numbers. Draws are made on the first `sizes.fewer_prompts` prompts, while the row's own share is over all prompts. So the
# difference shown is not quite that of the columns before it. The interval resamples prompts and draws; fewer than five
# draws give none.

# %% tags=["full-width", "only-draws"]
report_table1.draws(
    results.draws.query("not row.str.contains('offset')"), summary
) if results.holds["draws"] else None

# %% [markdown]
# ## Which weights?
#
# {term}`Swap` puts some of the weights of the model after DPO into the model before. *MLP in* are the
# {term}`key vectors <key vector>`, *MLP out* the {term}`value vectors <value vector>`, each with their biases.
#
# {term}`Steer <steering>` edits no weights. It adds DPO's mean change along the probe, on the same text, to the residual
# stream after one layer. If the probe were all there is to it, that would do what DPO does. The controls add vectors of
# the same length in random directions. The paper's 2025 version {cite}`yang2025dpo` edits activations along the probe;
# this is the simplest edit of that kind.

# %% [markdown] tags=["only-remote"]
# These models ran at NDIF, where no job has two models or changes weights: swaps and copies, marked `-`, were not made.

# %% tags=["hide-input"]
lessons_edits.which_weights(results)

# %% tags=["full-width"]
report_table1.toxicity(report_table1.rows_of(summary, "swap", "steer"), summary)

# %% [markdown] tags=["only-second-scorer"]
# ## By another scorer
#
# Does any of this depend on what says how toxic a text is? The same greedy continuations, judged by the
# profile's second scorer (`[scorer] second`, see [](../book/scorers.md)). *Rank correlation* is Spearman's, over
# prompts.

# %% tags=["full-width", "hide-output", "only-second-scorer"]
report_table1.two_scorers(summary, results.second_scorer) if results.holds[
    "second-scorer"
] else None

# %% [markdown]
# ## Every row
#
# The whole {term}`table of edits`, also in `results/table1.csv` with every measure and interval. Among its rows are other ways to choose as many
# neurons as the largest ablation has: by how much they write along the probe before DPO (*by projection*), and by their
# projection drop (*by contribution*).

# %% tags=["full-width", "hide-output"]
display(
    report_table1.toxicity(summary, summary), report_table1.quality(summary)
)

# %% [markdown]
# (answer-controls)=
# ## The answer

# %% tags=["hide-input"]
answers.controls(results)

# %% [markdown]
# The claims behind it, each verdict with [what it carries](10_claims.ipynb):

# %% tags=["hide-input"]
report_standing.verdicts(results, claims.CONTROLS)

# %% [markdown]
# ## Exercises
#
# 1. A patch of some neurons recovers .9 of DPO's effect, and holding the same neurons at their own means recovers .7.
#    How much of the .9 can be laid to where DPO puts them?
# 2. The shift of a group recovers .6, and ten draws of random neurons recover .5 to .7. What would you conclude if the
#    random ones recovered -.3 instead?
#
# ```{admonition} Solutions
# :class: dropdown
# 1. The difference, .2, and only if the two effects add up. The other .7 come without anything of DPO, from neurons that
#    no longer react to the text. Look at the perplexity of both before you call either an effect.
# 2. With .5 to .7: any neurons of like activation do as well, so the group's name explains nothing. With -.3: the lead is
#    .9, but .3 of it is harm that random edits do, and what the group's shift recovers stays .6.
# ```
#
# ## How to change this
#
# `[interventions] sets` names the sets of neurons that are patched, held, shifted and copied, and `draws` is the number
# of random choices: with more of them expect steadier controls and a longer run. A new row is a line in
# `lib/dpotox/paper/rows.py`.
