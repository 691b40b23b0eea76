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
# The paper compares it with nothing. Here it is held beside other readings, none of them the paper's. In some there is
# nothing to find; *the same text* has all of DPO's effect in it, and nothing of other words:
#
# - **{term}`random directions <random direction>`** in place of the probe, on the same two models. If their TP- shares are like the
#   probe's, the share tells how activations change, not that the change has to do with toxicity;
# - **probes of shuffled labels**, fitted to the same comments. They know what comments look like, but not which
#   are toxic;
# - **directions as the residual stream varies** (*matched* in tables): sums of the deviations of comments' features, with random weights. A
#   random direction is mostly one along which nothing varies; these are not;
# - **noise**: the model before DPO against itself, sampled twice after the same prompts, beside the models
#   before and after DPO, sampled too;
# - **the same text**: before and after DPO, each model writes its own text, so neurons differ also because the
#   words do. Reading both on one text leaves the models' difference alone.

# %% [markdown] tags=["only-placebos"]
# - **placebos**: DPO trained the same way, for as many steps, on *shuffled* preferences, in which half of the pairs
#   are turned round, or on *reversed* ones, which teach the opposite, so that there is much to find, but nothing that dampens
#   toxicity. One run per seed.

# %% [markdown]
# All directions, and the probe in each comparison, are signed so that their net is a reduction. They are read on each
# model's own greedy text and on the same text; compare only what was read on the same.

# %% tags=["parameters"]
profile = "mini"
seed = 0

# %% tags=["hide-input"]
from dpotox.paper import groups
from dpotox.results import claims
from dpotox.results.folder import open_results
from dpotox.show import answers, figures, report, report_nulls

figures.use_style()
results = open_results(profile, seed)
others, comparisons = results.other_directions, results.comparisons
print(
    f"profile {results.profile.name}, seed {results.seed}: {len(others) // 2} other directions, on two texts"
)

# %% [markdown]
# ## The share of TP-
#
# {numref}`fig-null-share` shows the share along the probe, and above it those along directions that mean nothing. In each
# line the probe is signed so that the net is a reduction.

# %% mystnb={"figure": {"caption": "TP-'s share of the gross reduction along other directions (thin marks; thick line: 95 % of them; ring: median) and in each comparison along the probe (dots with 95 % intervals over chunks of prompts; green: the study's own). The vertical line with the diamond is the paper's 31.8 % for GPT-2 medium.", "name": "fig-null-share"}, "image": {"alt": "Ranges of the share along random directions and shuffled-label probes, above dots for the study and what it is compared with"}}
figure = figures.null_shares(
    others,
    comparisons,
    "TP- share of gross",
    "TP-'s share of the gross reduction",
)

# %% [markdown]
# In that figure each model reads its own text, so other words are part of every change. {numref}`fig-null-same` lets both
# read the same text:

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
# *Net / gross* is 1 where the other four groups undo nothing and 0 where they undo all. It can exceed 1, as groups
# are named by activations, while moved value vectors can make a group that is named as increasing reduce. It is
# .15 in GPT-2 medium. {numref}`fig-null-net` shows it along the same directions.

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
# Sums along a random direction and along the probe are in the same units: both are projections on a unit
# vector.
#
# ## Other pairs of models and texts
#
# A line is one comparison of two models. *Toxicity* is that of what the second one wrote greedily, where it wrote
# anything of its own; the last line shows that of the model before DPO. Where DPO or a placebo increases what is written
# along the probe, the probe is turned round, so that every line tells of a reduction. Gross sums grow with noise:
# only movements that reduce toxicity are added, so chance movements do not cancel. A resample is noisier than the
# whole; the intervals, over chunks of prompts, are wide enough to allow for that on either side.

# %% tags=["full-width", "hide-input"]
report_nulls.comparisons_table(comparisons)

# %% [markdown]
# In words:

# %%
report_nulls.null_sentences(others, comparisons)

# %% [markdown]
# (answer-special)=
# ## The answer

# %% tags=["hide-input"]
answers.is_it_special(results)

# %% [markdown]
# The claims behind it:

# %%
report.verdicts(results.claims_of(claims.NULLS))

# %% [markdown]
# ## Exercises
#
# 1. Why is each direction signed so that its net is a reduction?
# 2. Suppose the probe's share lay in the middle of the random directions' range. Would the paper's four groups then be
#    wrong?
#
# ```{admonition} Solutions
# :class: dropdown
# 1. Of a direction and its opposite one shows a reduction and the other the same as an increase. Without a sign, half
#    of all directions would be asked who reduces what in sum grew, and the probe's would not be like them.
# 2. No: the sums along the probe would be what they are. But nothing about the share would be owed to toxicity; DPO
#    would divide its changes along the probe as it does along any direction.
# ```

# %% [markdown]
# ## How to change this
#
# `[nulls]` in the profile: `directions` and `shuffled_labels` are numbers. More directions make the ranges in {numref}`fig-null-share` steadier, not narrower.

# %% [markdown] tags=["only-trained-dpo"]
# `placebos` there says on which other preferences DPO is trained; each costs another run.
