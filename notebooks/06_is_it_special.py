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
# # Is 31.8 % special?
#
# **Question.** Dampened toxic neurons give 31.8 % of the gross reduction in GPT-2 medium. What would that
# share be if there were nothing to find?
#
# *Dampened toxic neurons* are the group {term}`TP-`: their value vectors point along the {term}`probe`, their mean
# activation before DPO is positive, and DPO lowers it. The {term}`gross reduction` is what the four groups of neurons that
# reduce toxicity take out together ([](05_four_groups.ipynb)).
#
# The paper compares the share with nothing. Here it is compared with the share along
# {term}`random directions <random direction>`, which mean nothing, and with other readings that are explained below. The
# paper has no such comparison.

# %% tags=["parameters"]
profile = "mini"
seed = 0

# %% tags=["hide-input"]
from dpotox.paper import groups
from dpotox.results import claims
from dpotox.results.folder import open_results
from dpotox.show import (
    answers,
    figures,
    lessons,
    report_nulls,
    report_standing,
)

figures.use_style()
results = open_results(profile, seed)
others, comparisons = results.other_directions, results.comparisons
print(
    f"profile {results.profile.name}, seed {results.seed}: {len(others) // 2} other directions, on two texts"
)

# %% [markdown]
# ## What was learnt

# %% tags=["hide-input"]
lessons.is_it_special(results)

# %% [markdown]
# {numref}`fig-null-share` shows it. If the dot of the study lies among the thin marks of the random directions, DPO
# divides its changes along the probe as it does along any direction, and the share says nothing about toxicity.

# %% mystnb={"figure": {"caption": "Is the share special? Look at whether the green dot lies inside or outside the thick line of the random directions. TP-'s share of the gross reduction along other directions (thin marks; thick line: 95 % of them; ring: median) and in each comparison along the probe (dots with 95 % intervals over chunks of prompts; green: the study's own). The vertical line with the diamond is the paper's 31.8 % for GPT-2 medium.", "name": "fig-null-share"}, "image": {"alt": "Ranges of the share along random directions and shuffled-label probes, above dots for the study and what it is compared with"}}
figure = figures.null_shares(
    others,
    comparisons,
    "TP- share of gross",
    "TP-'s share of the gross reduction",
)

# %% [markdown]
# ## What it is compared with
#
# Directions, put in the place of the probe, on the same two models:
#
# - **{term}`random directions <random direction>`**. If their TP- shares are like the probe's, the share tells how
#   activations change, not that the change has to do with toxicity;
# - **directions as the residual stream varies** (*matched* in tables). A random direction is mostly one along which
#   nothing varies. These are sums, with random weights, of the deviations of comments' features from their mean, so
#   something varies along them;
# - **probes of shuffled labels** ({term}`shuffled-label probe`), fitted to the same comments. They know what comments
#   look like, but not which are toxic.
#
# Other pairs of models and texts, read along the probe:
#
# - **the same text**: before and after DPO each model writes its own text, so neurons differ also because the words do.
#   Where both read one text ({term}`same text`), only the models differ. That difference is what DPO did, so this is no
#   case of nothing to find;
# - **noise**: the model before DPO is compared with itself, sampled twice after the same prompts. Beside it stand the
#   models before and after DPO, sampled too.

# %% [markdown] tags=["only-placebos"]
# - **{term}`placebos <placebo>`**: DPO is trained the same way, for as many steps, on other preferences. On *shuffled*
#   ones half of the pairs are turned round, so that there is nothing to learn about toxicity. On *reversed* ones all are
#   turned round. Then there is much to find, but nothing that lowers toxicity. There is one such run of each per seed.

# %% [markdown]
# A direction and its opposite show the same change, one as a reduction and one as an increase. So all directions, and the
# probe in each comparison, are given the sign with which their net is a reduction.
#
# ## On the same text
#
# In {numref}`fig-null-share` each model reads its own text, so part of every change is there because the words differ.
# {numref}`fig-null-same` lets both models read the same text. Compare only what was read on the same kind of text.

# %% mystnb={"figure": {"caption": "The same where both models read the same text: that from before DPO, as the directions do, and that from after.", "name": "fig-null-same"}, "image": {"alt": "Ranges of the share along three kinds of directions on the same text, above dots for the probe on two texts"}}
figure = figures.null_shares(
    others,
    comparisons,
    "TP- share of gross",
    "TP-'s share of the gross reduction",
    "same",
)

# %% [markdown]
# ## How much is undone
#
# The {term}`net reduction` is the gross reduction less what the other four groups undo. *Net / gross* is 1 where these undo
# nothing and 0 where they undo all. It is .15 in GPT-2 medium. {numref}`fig-null-net` shows it along the same directions.
#
# It can exceed 1. Groups are named by what activations do, and where DPO turns value vectors, a group named as increasing
# toxicity can in sum reduce it.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Net over gross reduction, drawn as the figure above.", "name": "fig-null-net"}, "image": {"alt": "Ranges of net over gross along random directions and shuffled-label probes, above dots for the study and what it is compared with"}}
figure = figures.null_shares(
    others, comparisons, "net / gross", "net / gross reduction"
)

# %% [markdown]
# ## All quantities

# %% tags=["full-width", "hide-input"]
names = [
    "TP- share of gross",
    groups.WITHOUT_LARGEST,
    "AN- share of gross",
    "TN+ share of gross",
    "AP+ share of gross",
    "gross",
    "net / gross",
]
report_nulls.other_directions(others, comparisons, names)

# %% [markdown]
# And where both models read the text from before DPO:

# %% tags=["full-width", "hide-input"]
report_nulls.other_directions(others, comparisons, names, "same")

# %% [markdown]
# *Gross* along a random direction and along the probe can be compared: both are sums of projections on a vector of
# length 1. *Largest neuron left out* means that the neuron with the largest projection drop is left out, for each
# direction its own.
#
# ## Other pairs of models and texts
#
# A line is one comparison of two models. *Toxicity* is that of what the second one wrote greedily, where it wrote
# anything of its own; the last line shows that of the model before DPO. *Probe turned* says that along the probe as it is
# the line would show an increase.
#
# Noise alone makes gross sums larger. Only drops that reduce toxicity are added, so drops that come by chance do not
# cancel. A resample of prompts is noisier than all prompts together; the intervals are wide enough to allow for that.

# %% tags=["full-width", "hide-input"]
report_nulls.comparisons_table(comparisons)

# %% [markdown]
# The shares of TP- in words:

# %%
report_nulls.null_sentences(others, comparisons)

# %% [markdown]
# (answer-special)=
# ## The answer

# %% tags=["hide-input"]
answers.is_it_special(results)

# %% [markdown]
# The claims behind it, each verdict with [what it carries](10_claims.ipynb):

# %%
report_standing.verdicts(results, claims.NULLS)

# %% [markdown]
# ## Exercises
#
# 1. Why is each direction signed so that its net is a reduction?
# 2. Suppose the probe's share lay in the middle of the random directions' range. Would the paper's four groups then be
#    wrong?
#
# ```{admonition} Solutions
# :class: dropdown
# 1. Of a direction and its opposite, one shows a reduction and the other the same change as an increase. Without the
#    sign, half of all directions would be asked which neurons reduce something that in sum grew. The probe is not asked
#    that, so the comparison would not be fair.
# 2. No: the sums along the probe would be what they are. But the share would say nothing about toxicity. DPO would
#    divide its changes along the probe as it does along any direction.
# ```

# %% [markdown]
# ## How to change this
#
# `[nulls]` in the profile: `directions` and `shuffled_labels` are numbers. More directions make the ranges in {numref}`fig-null-share` steadier, not narrower.

# %% [markdown] tags=["only-trained-dpo"]
# `placebos` there says on which other preferences DPO is trained; each costs another run.
