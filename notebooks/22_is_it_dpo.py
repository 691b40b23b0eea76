# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,mystnb,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: kernelspec,-jupytext.text_representation.jupytext_version
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
# # Is it DPO?
#
# **Question.** Is what the study finds DPO's doing, or that of any training that takes out as much toxicity?
#
# The paper studies one loss. If another one on the same pairs moves the same groups of neurons, then what was found belongs to the data, or to
# the model, more than to DPO. So the same model is trained by other losses, with the same pairs, batches, optimizer and schedule, until it has lost as
# much greedy toxicity. Then the neurons are read, copied and counted as before.

# %% tags=["parameters"]
profile = "mini"
seed = 0

# %% tags=["hide-input"]
from dpotox.results.folder import open_results
from dpotox.show import report_objectives
from dpotox.show.figure_style import use_style

use_style()
results = open_results(profile, seed)
print(f"profile {results.profile.name}, seed {results.seed}")

# %% [markdown] tags=["not-objectives"]
# Nothing was trained by another objective here, so there is nothing to see. It takes preference pairs, a model whose weights can be trained on this machine, and a profile
# with `[beyond] objectives`. A finished aligned model brings no pairs along, and a model that runs elsewhere cannot be trained from here.

# %% [markdown] tags=["only-objectives"]
# ## The predictions
#
# They were written down before any of this was run, with how an objective is matched, in [](../book/before_the_runs.md). An objective that could not be matched is
# *untested*. What this profile does not ask for is not run. A rule on shares that training on shuffled pairs meets as well is *no evidence*. Whether the rules hold over seeds is not known yet.

# %% tags=["hide-input", "only-objectives"]
report_objectives.verdicts(results)

# %% [markdown] tags=["only-objectives"]
# ## As much as DPO
#
# *IPO* and *hinge* want the chosen continuation ahead of the rejected one, as DPO does, by another measure. *KTO* looks at one continuation at a time. *SFT* fine-tunes
# on the chosen ones alone. *SimPO* and *ORPO* do without a reference model. *DPO in another order* is no other objective, but what one can expect of the same. Which of them were run the profile says. Each try ends when
# greedy toxicity after the first `sizes.fewer_prompts` prompts has fallen as far as DPO takes it, within a twentieth; if it falls too little, or in too large a step, the learning rate is
# doubled or halved.

# %% tags=["full-width", "hide-input", "only-objectives"]
report_objectives.tries(results)

# %% [markdown] tags=["only-objectives"]
# What the models that are compared do to text follows, on all prompts. Beside each, where it was made, stands its placebo: as many steps at the same rate on *shuffled pairs*. For
# SFT these are texts drawn from chosen and rejected alike. The last columns say how much of a model's own effect is there, after the first `sizes.fewer_prompts` prompts, if its activations are copied into the model
# before, token by token on the same text. `-` stands where a model has no sure effect of its own.

# %% tags=["full-width", "hide-input", "only-objectives"]
report_objectives.outcomes(results)

# %% [markdown] tags=["only-objectives"]
# ## The same groups?
#
# Each model is read on the {term}`same text`, that from before DPO, so that words make no difference. {numref}`fig-objective-shares` divides the gross
# reduction among the {term}`groups <group>` that reduce toxicity. What counts is the distance of a full dot from its hollow one: if shuffled pairs divide it the same way, the shares say
# how the model is built, and nothing of the objective. As in [](06_is_it_special.ipynb), the probe is turned for a model that writes more along it, so that what is divided is a reduction.

# %% tags=["hide-input", "only-objectives"] mystnb={"figure": {"caption": "Shares of the gross reduction, by objective. Full: trained on the pairs; hollow: on shuffled pairs, where that was done. Lines are 95 % intervals over chunks of prompts.", "name": "fig-objective-shares"}, "image": {"alt": "Dots with intervals: for each objective the share of each group of neurons that reduces toxicity, beside that after training on shuffled pairs"}}
figure = report_objectives.shares(results)

# %% [markdown] tags=["only-objectives"]
# In numbers, with the difference that the rules are about. Intervals of a difference resample the same prompts for both models.

# %% tags=["full-width", "hide-input", "only-objectives"]
report_objectives.shares_table(results)

# %% [markdown] tags=["only-objectives"]
# ## The same weights?
#
# Two trainings may do the same to text with other weights. {numref}`fig-objective-changes` has the cosine of each objective's weight change with DPO's. In so many dimensions two random
# changes have a cosine near 0. How near 1 another training by DPO itself comes, with the same pairs in another order, is shown where it was run (*DPO in another order*); a cosine
# as high as that says that weights move as in DPO. Shuffled pairs show how much of the likeness comes of the same texts in the same order, whatever is preferred.

# %% tags=["hide-input", "only-objectives"] mystnb={"figure": {"caption": "Cosine of the weight change with DPO's, of all parameters and of three kinds of blocks. Full: trained on the pairs; hollow: on shuffled pairs.", "name": "fig-objective-changes"}, "image": {"alt": "Dots: for each objective the cosine of its weight change with that of DPO, of all parameters, attention, MLP in and MLP out"}}
figure = report_objectives.changes(results)

# %% tags=["full-width", "hide-input", "only-objectives"]
report_objectives.changes_table(results)

# %% [markdown] tags=["only-objectives"]
# Shares and cosines are descriptive. The causal claim is that of the comparison: the objective makes the difference, together with the learning rate and the number of steps that it takes to
# equal toxicity. It assumes that a model that has lost as much toxicity is comparable whatever else it has lost. Where perplexity above differs, they are not alike in that. If that failed, a difference of shares could come of
# how far the training went. Copying is causal for one model at a time, as in [](18_how_many_neurons.ipynb), which also judges for DPO how few neurons carry half of the effect.

# %% [markdown]
# (answer-objectives)=
# ## The answer

# %% tags=["hide-input", "only-objectives"]
report_objectives.answer(results)

# %% [markdown]
# ## Exercises
#
# 1. Two objectives divide the reduction alike, and their weight changes have a cosine of .1. How can both be?
# 2. Why is each objective stopped at DPO's toxicity, instead of being trained for as many steps?
#
# ```{admonition} Solutions
# :class: dropdown
# 1. Shares add up thousands of small changes of activations, each with the sign of its neuron's value vector. Many changes of weights give the same sums, and most of a weight change may do nothing to them.
# 2. A share of the gross reduction changes with how far a training goes, and at the same rate losses go at different speeds. With equal steps one would compare a strong training with a weak one.
# ```
#
# ## How to change this
#
# `[beyond] objectives` names the losses, of `ipo`, `hinge`, `kto`, `sft`, `simpo` and `orpo`; each takes as long as DPO for every learning rate that is tried, at most `objective_tries` of
# them from DPO's times what `objective_rates` says, and once more for its placebo, which `objective_placebos = false` leaves out. A loss of your own is a function of two mean log-probabilities
# in `lib/dpotox/paper/objectives.py` and a line in `options` there.
