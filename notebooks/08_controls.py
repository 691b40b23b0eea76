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
# An edit can lower toxicity for reasons that have nothing to do with DPO: it holds neurons still, breaks the text, or
# would do the same with any other neurons. So beside each edit stands one that shares everything with it but the
# reason. All of them are ours. The measure is again the share of DPO's effect: 0 is none of it, 1 all.

# %% tags=["parameters"]
profile = "mini"
seed = 0

# %% tags=["hide-input"]
from IPython.display import display

from dpotox.results import claims
from dpotox.results.folder import open_results
from dpotox.show import answers, figures, figures_table1, report, report_table1

figures.use_style()
results = open_results(profile, seed)
summary = results.table1
print(
    f"profile {results.profile.name}, seed {results.seed}: {len(results.prompts)} prompts, {len(summary)} rows"
)

# %% [markdown]
# ## Ways to put neurons where DPO puts them
#
# - **{term}`patch <patching>`, newest**: the paper's clamp to the mean after DPO, at the position that predicts the next
#   token;
# - **patch**: the same clamp at every position;
# - **{term}`hold`**: the same clamp at the neurons' **own** means before DPO. What it does is due to clamping: the neuron
#   stops reacting to the text;
# - **{term}`shift`**: add each neuron's mean change, and let it go on reacting to the text. The mean change is read while
#   each model writes its own text, so part of it is there because the words are others; **same text** adds the
#   change where both models read the text from before DPO;
# - **{term}`copy`**: give the neurons the activations that the model after DPO has on the very same text, token by token.
#
# {numref}`fig-recovered` shows what each of them recovers, and at what price; the folded output below it has the numbers:
# greedy, then sampled, where nothing hangs on which word is just ahead of another, then perplexity.

# %% mystnb={"figure": {"caption": "What editing each set of neurons recovers of DPO's effect, one panel per kind of edit (0: nothing, 1: all; lines are 95 % intervals over prompts). Rings in the panels of patches: the same clamp at the neurons' own means. The number at a row's end is the perplexity on neutral text, times that before DPO; edits at the newest position have none, as hardly any of the text is edited where it is measured.", "name": "fig-recovered"}, "image": {"alt": "Six panels, one per kind of edit, with a dot for every set of neurons and its perplexity"}}
figure = figures_table1.recovered_by_set(summary)

# %% tags=["full-width", "hide-output"]
measures = {
    "recovered": "Share of DPO's effect on greedy toxicity",
    "recovered_sampled": "Share of DPO's effect on sampled toxicity",
    "perplexity": "Perplexity on neutral text",
}
for measure, title in measures.items():
    display(report_table1.by_set(summary, measure).set_caption(title))

# %% [markdown]
# As the GELU is not linear, a clamp of what enters it at its mean is not a clamp of the activation at its mean. The
# authors' code of 2025 clamps after the GELU. There *hold* keeps every mean activation (at the positions where it was measured, the
# newest after these prompts), and is the fairer control:

# %% tags=["full-width"]
report_table1.toxicity(
    report_table1.rows_of(
        summary, "patch after the GELU", "hold after the GELU"
    )
)

# %% [markdown] tags=["only-draws"]
# ## Are these the neurons?
#
# Beside an edit of chosen neurons, the same edit of random ones: as many in each layer, with similar mean
# activation before DPO (value vectors are not matched). And beside the shift of all four groups, the same shifts
# dealt at random within each layer and group, so that signs and sizes stay. Random edits can do harm of their own,
# and then a row's lead over them is larger than its own effect. Draws are compared on the first
# `sizes.fewer_prompts` prompts, and the row's own share is over all, so the difference shown is not quite that of the
# columns before it. The interval resamples prompts and draws; fewer than five draws give none.

# %% tags=["full-width", "only-draws"]
report_table1.draws(
    results.draws.query("not row.str.contains('offset')"), summary
) if results.holds["draws"] else None

# %% [markdown]
# ## Which weights?
#
# {term}`Swap` takes some of the weights from the model after DPO. The paper's 2025 version {cite}`yang2025dpo` edits
# activations along the probe; {term}`steer <steering>` does the simplest of that kind. It adds DPO's mean change along
# the probe, on the same text, to the residual stream after one layer: if the probe were all there is to it, that would
# do what DPO does. The control adds a vector of the same length in a random direction.

# %% tags=["full-width"]
report_table1.toxicity(report_table1.rows_of(summary, "swap", "steer"))

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
# Also in `results/table1.csv`, with every measure and interval. Among them are other ways to choose as many neurons as
# the largest ablation: by projection on the probe, and by contribution to the reduction.

# %% tags=["full-width", "hide-output"]
display(report_table1.toxicity(summary), report_table1.quality(summary))

# %% [markdown]
# (answer-controls)=
# ## The answer
#
# What was found, what was learnt from it, and the claims behind it.

# %% tags=["hide-input"]
answers.controls(results)

# %% tags=["hide-input"]
report.verdicts(results.claims_of(claims.CONTROLS))

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
# 1. At most the difference, .2, and only if the two effects add up. The other .7 come without anything of DPO, from
#    neurons that no longer react to the text. Look at the perplexity of both before you call either an effect.
# 2. With .5 to .7, that any neurons of like activation do as well, so the group's name explains nothing. With -.3 the
#    lead is .9, but .3 of it is harm that random edits do: what the group's shift recovers stays .6.
# ```
#
# ## How to change this
#
# `[interventions] sets` names the sets of neurons that are patched, held, shifted and copied, and `draws` is the number
# of random choices: with more of them expect steadier controls and a longer run. A new row is a line in
# `lib/dpotox/paper/rows.py`.
