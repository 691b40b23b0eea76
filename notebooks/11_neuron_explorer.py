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
# # Neuron explorer
#
# **Question.** Which neurons are these? Look one up.
#
# Every point is a neuron: to the right its value vector points along the probe, and the higher it stands, the
# more DPO lowers what it writes there. Point at one to read about it, click or tap to keep it, and drag over the
# plot to look closer; the buttons of the eight [groups](05_four_groups.ipynb) filter and are the legend.
# Type a neuron as `layer:neuron` to find it: the address of the page then links to it. The height is the neuron's
# {term}`projection drop`; {term}`TP-`, {term}`AN-`, {term}`TN+` and {term}`AP+` are the groups that reduce toxicity.

# %% tags=["parameters"]
profile = "mini"
seed = 0

# %% tags=["hide-input"]
from dpotox.paper import groups
from dpotox.results.folder import open_results
from dpotox.show import explorer, report

results = open_results(profile, seed)
neurons = results.neurons
print(
    f"profile {results.profile.name}, seed {results.seed}: {len(neurons):,} neurons"
)

# %% tags=["full-width", "hide-input"]
explorer.page()

# %% [markdown]
# Nearest tokens are read with the {term}`logit lens`, without the final norm, from the value vector before DPO; toxic
# ones are masked. The vertical axis is linear near zero and logarithmic far from it, since most drops are tiny
# beside the largest: *Stretch small drops* turns that off. Groups are named by what activations do. So where
# DPO turned a value vector, a neuron of a group that reduces toxicity can lie below zero, and one of the others above it.
#
# ## The five largest drops

# %%
columns = [
    "rank",
    "layer",
    "neuron",
    "group",
    "cosine",
    "projection_drop",
]
ranked = groups.ranking(neurons)
report.shown(ranked[columns].head(5))

# %% [markdown]
# ## Exercises
#
# **1.** Show the group TP- alone, then TN+ alone. Both have toxic value vectors. Which of the two has the larger
# drops one by one, and which has more neurons?
#
# ```{admonition} Solution
# :class: dropdown
# Take the groups away with their buttons and read the height of the points; the number in each button counts
# them. The folded cell has the numbers.
# ```

# %% tags=["hide-cell"]
by_group = neurons.groupby("group")["projection_drop"]
table = by_group.agg(["size", "mean", "max"])
report.shown(
    table.reindex(["TP-", "TN+"])
    .fillna({"size": 0})
    .astype({"size": int})
    .reset_index()
)

# %% [markdown]
# **2.** Do neurons with the largest cosines have the largest drops? Walk along the rank with *Next* and watch
# the ring.
#
# ```{admonition} Solution
# :class: dropdown
# A neuron writes its activation times its value vector. One with a large cosine that is hardly active has
# little to lose, and one along which DPO changes nothing has no drop at all. The folded cell has Spearman's
# correlation.
# ```

# %% tags=["hide-cell"]
rank_correlation = neurons["cosine"].corr(
    neurons["projection_drop"], method="spearman"
)
print(f"rank correlation of cosine and drop: {report.number(rank_correlation)}")

# %% [markdown]
# ## The answer

# %% tags=["hide-input"]
explorer.answer(neurons)

# %% [markdown]
# ## How to change this
#
# The number of nearest tokens is `TOKENS` in `lib/dpotox/model/logit_lens.py`. Other columns of the table, such as the change
# on the same text, are in the downloaded table; a column in `NUMBERS` of `lib/dpotox/show/explorer.py` also comes to the page, where
# `book/_static/explorer.js` can show it. More tokens say more of a neuron and make the page heavier.
