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
# # How far along?
#
# **Question.** What lies between the weights before DPO and those after it, and past both ends?
#
# DPO moves every weight a little. The straight way from the weights $W$ before it to the weights $W'$ after it is $W + a\,(W' - W)$: at $a = 0$ stands the model before, at
# $a = 1$ the one after. Half of the way may have half of the effect, or nearly all, or none until a threshold is passed. Past $a = 1$ DPO is carried on,
# and below 0 it is turned round. Last comes a question about the text: are all new tokens changed alike, or the first ones most?

# %% tags=["parameters"]
profile = "mini"
seed = 0

# %% tags=["hide-input"]
from dpotox.results.folder import open_results
from dpotox.show import report_along
from dpotox.show.figure_style import use_style

use_style()
results = open_results(profile, seed)
print(f"profile {results.profile.name}, seed {results.seed}")

# %% [markdown] tags=["not-along"]
# This profile asks for no places on the way, or runs its models where no weights can be mixed, so there is nothing to see here. A profile with
# `[beyond] along` has it.

# %% [markdown] tags=["only-along"]
# ## The predictions
#
# They were written down before anything below was run, in [](../book/before_the_runs.md). Whether they hold over seeds is not known yet.

# %% tags=["hide-input", "only-along"]
report_along.verdicts(results)

# %% [markdown] tags=["only-along"]
# ## Along the way
#
# For every $a$ a third network is made, each of whose parameters is such a mixture. Toxicity is that of greedy text after the first `sizes.fewer_prompts` prompts;
# {term}`perplexity` is that on neutral text. This is causal: the weights are set, and what follows is measured. What it is about is the mixed weights, and nothing else. That a mixture is what
# DPO would have made with half of the steps, or a smaller rate, is an assumption of any reader who takes it for that. If it failed, all below would still be true
# of the straight way, but not of DPO's own.
#
# In {numref}`fig-along`, a straight line of toxicity from 0 to 1 says that every part of the way does as much as any other. Look at perplexity beside it: where it rises faster than toxicity falls,
# the text is paid for.

# %% tags=["hide-input", "only-along"] mystnb={"figure": {"caption": "What becomes of the text along the straight way from the weights before DPO (0) to those after it (1), and past both. Above: toxicity of greedy text; below: perplexity on neutral text. Bands are 95 % intervals over prompts, or windows.", "name": "fig-along"}, "image": {"alt": "Two line charts under each other of greedy toxicity and of perplexity against how far the weights are along the way"}}
figure = report_along.way(results)

# %% tags=["full-width", "hide-input", "only-along"]
report_along.stops(results)

# %% [markdown] tags=["only-along"]
# ## Who reduces toxicity on the way?
#
# Each of these models was read on the text from before DPO, and its {term}`neuron table <projection drop>` made as that of the model after DPO. So groups are named by
# what neurons do at that $a$; below 0 a reducing group still writes less along the probe, though toxicity need not fall, and net / gross is negative where more is added than taken out.
# Where the shares hardly change along the way, the change is nearly proportional along this line; that says nothing of a DPO that was trained less. This describes; no neuron is edited here. At 0 nothing changes, so there is
# nothing to divide.

# %% tags=["full-width", "hide-input", "only-along"]
report_along.shares(results)

# %% [markdown] tags=["only-along"]
# ## Which tokens?
#
# If alignment acted on the first few tokens alone, what comes later would follow from how the text begins. So both models read the same text, and wherever a new token
# is predicted, it is measured how far what the model after DPO would write diverges from what the model before would (Kullback and Leibler's divergence, in nats, mean over prompts). On the text from after DPO
# that is what the model after DPO meets when it writes; that from before DPO is beside it, as texts differ in more than their places. This describes, too.
#
# In {numref}`fig-kl`, a line that falls from a high start speaks for a shallow change, a level one for a change that is made anew at every token.

# %% tags=["hide-input", "only-along"] mystnb={"figure": {"caption": "How far what the model after DPO would write next diverges from what the model before it would, at every new token, on the text that either has written.", "name": "fig-kl"}, "image": {"alt": "Two lines of the divergence against the place of the new token, one for each text"}}
figure = report_along.by_token(results)

# %% tags=["full-width", "hide-input", "only-along"]
report_along.quarters(results)

# %% [markdown] tags=["only-along"]
# In half precision (`compute.dtype`) a weight can only stand where it can be written down. A small change is then rounded, and a part of it may be all or nothing.

# %% [markdown]
# (answer-along)=
# ## The answer

# %% tags=["hide-input", "only-along"]
report_along.answer(results)

# %% [markdown]
# ## Exercises
#
# 1. Suppose half of the way recovers a third of the effect. Does that show that DPO's second half does more to the activations than its first?
# 2. The divergence is measured on a text that is given. Why not let each model write its own, and compare these?
#
# ```{admonition} Solutions
# :class: dropdown
# 1. No. Greedy text changes when a word flips, and words flip when logits have moved far enough. Activations may have moved evenly all the way, which the table of shares and a reading
#    of single neurons can tell.
# 2. After the first word that differs the texts differ, and so does what would be written next, whatever DPO does there. On the same text what differs is due to the models.
# ```
#
# ## How to change this
#
# `[beyond] along` has the values of $a$; 0 and 1 are always there. With `along = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]` the way between is seen in detail; each value takes
# a generation and a reading of all prompts. What is mixed is said in `blend` in `lib/dpotox/run/along.py`, where a mixture of attention's weights alone would be a line.
