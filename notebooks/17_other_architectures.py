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
# # Other architectures
#
# **Question.** Most of today's models are no GPT-2: their MLPs are {term}`gated <gated MLP>`, and much else is arranged otherwise. Does DPO
# change such a model alike?
#
# Four models stand side by side. All learnt the same language from the same documents, and all went through the same study: a
# GPT-2; a GPT-NeoX, whose attention and MLP work side by side; a Llama, whose MLP is gated; and a Gemma 2, in which a norm stands
# behind it as well. The first two have GELUs. Each is run with three {term}`seeds <seed>`, and beside each stands an untrained network. The page is the
# same for every profile of this book.

# %% tags=["parameters", "remove-cell"]
profile = "mini"
seed = 0

# %% tags=["hide-input"]
from dpotox.places import PROJECT
from dpotox.results import ladder_packs, ladder_rules
from dpotox.show import figures_ladder, report_ladder
from dpotox.show.figure_style import use_style

use_style()
table, _ = ladder_packs.read(PROJECT / "book" / "packs" / "ladder")
judged = ladder_rules.judge(table, ladder_rules.ARCHITECTURES)

# %% [markdown]
# ## What has been run

# %% tags=["hide-input"]
report_ladder.runs(table, {}, ladder_rules.ARCHITECTURES)

# %% [markdown]
# ## The predictions
#
# They were written down before any of these models was trained, in [](../book/before_the_runs.md), where it also says how they are judged. DPO's
# rate was changed afterwards: at that of the GPT-2 it took too little out of the others. Each family has a rate of its own now, chosen by the toxicity
# of the text alone; three first runs do not count.

# %% tags=["full-width", "hide-input"]
report_ladder.predictions(judged)

# %% [markdown]
# ## What can be said of groups
#
# A gated neuron has a sign by convention only. Turn one of the two vectors that its activation is made of, and its {term}`value vector`, and the
# model is the same, but what was TP is AN now. So a group alone says nothing, while TP- *and* AN- together say how much
# of the {term}`gross reduction` comes from neurons that push towards toxicity and do so less; the rest is of neurons that push away from it more. Both
# can be said of a GELU as well, and that is what {numref}`fig-families-divided` compares.
#
# The authors' own outputs for larger models show the same, as must be where signs are drawn by chance. The part of neurons that reduce toxicity is
# 58.9 % within TP and 58.9 % within AN in Gemma 2 2B, 61.7 and 61.8 % in Mistral 7B, 53.1 and 53.3 % in Llama 3.1 8B. Their groups go by the sign
# of the projection's change.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Is the reduction divided alike, and is as much of it undone? Each dot is a seed of a trained model, short lines are means; hollow dots are untrained networks, grey dashes models against themselves. The dashed line is GPT-2 medium, published; dotted are Llama 3.1 8B, Gemma 2 2B and Mistral 7B, from the authors' notebooks.", "name": "fig-families-divided"}, "image": {"alt": "Share of TP- and AN- together and net over gross, on own and on same text, for GPT-2, GPT-NeoX, Llama and Gemma 2"}}
figure = figures_ladder.divided(table)

# %% tags=["hide-input"]
report_ladder.about(judged, ["gated-is-alike", "gated-cancels-alike"])

# %% [markdown]
# ## What edits recover
#
# {numref}`fig-families-recovered` has {term}`recovered shares <recovered share>`: of the best {term}`ablation` of toxic neurons, of a {term}`shift` of all four
# groups, of copying what all neurons do after DPO, token by token, and of giving the model before DPO the attention of the model after it.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Is ablation not enough in other architectures, too? Values beyond -1 and 1.5 are drawn at the edge. Marks as above.", "name": "fig-families-recovered"}, "image": {"alt": "Recovered shares of four kinds of edits for GPT-2, GPT-NeoX, Llama and Gemma 2"}}
figure = figures_ladder.recovered(table)

# %% tags=["hide-input"]
report_ladder.about(judged, ["attention-anywhere", "copying-anywhere"])

# %% [markdown]
# ## In numbers
#
# Means over seeds with intervals, beside what is published.

# %% tags=["full-width", "hide-input"]
report_ladder.families(table)

# %% [markdown]
# ## What came out

# %% tags=["full-width", "hide-input"]
report_ladder.verdicts(judged)

# %% [markdown]
# ## The answer

# %% tags=["hide-input"]
report_ladder.answer_families(judged, table)

# %% [markdown]
# ## How to change this
#
# `make ladder RUNG=family-llama` runs one of these models ([](../book/run_it.md)); it goes through the whole book as one of the profiles that ship
# with it ([](../book/own_model_and_data.md)).
#
# ## Exercise
#
# In a gated MLP, does it change the mean activation of TP neurons if the signs of half of them are turned?
#
# ```{admonition} Solution
# :class: dropdown
# The neurons that are turned are TP no more: they have become AN, and their activations negative. The mean over the rest may be anything. But activation
# times value vector is what it was for every neuron, and so is every sum of that over TP and AN together.
# ```
