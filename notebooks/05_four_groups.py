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
# # Four groups
#
# **Question.** Which kinds of neurons reduce toxicity, and what share has each?
#
# A {term}`group` has a name of three signs:
#
# - **T** or **A**: the neuron's {term}`value vector` points along or against the {term}`probe` (toxic, anti-toxic);
# - **P** or **N**: its mean {term}`activation` before DPO is positive (or zero), or negative;
# - **+** or **-**: DPO moves that activation further from zero, or closer to zero and perhaps past it.
#
# Four of the eight groups reduce toxicity:
#
# | group | what its neurons do | why that reduces toxicity |
# |---|---|---|
# | TP- | toxic, positive activation, falls | they write less towards toxicity |
# | AN- | anti-toxic, negative activation, rises | with a negative activation they write towards toxicity, after DPO less so |
# | TN+ | toxic, negative activation, falls further | they write more against toxicity |
# | AP+ | anti-toxic, positive activation, rises | they write more against toxicity |
#
# Neuron $i$ writes along the probe its activation $m_i$ times the projection of its value vector $v_i$. Its
# {term}`projection drop` $d_i$ is how much less that is after DPO:
#
# $$p_i = m_i\,v_i\cdot \frac{W}{\lVert W\rVert}, \qquad d_i = p_i^{\text{before}} - p_i^{\text{after}}$$
#
# The {term}`gross reduction` is the sum of $d_i$ over the four reducing groups, the {term}`net reduction` over all eight.
# Net is what is left of gross when the other four groups have taken some back.

# %% tags=["parameters"]
profile = "mini"
seed = 0

# %% tags=["hide-input"]
import pandas as pd

from dpotox.paper import groups
from dpotox.paper.published import NUMBERS, published_groups
from dpotox.paper.selections import most_toxic
from dpotox.results import claims
from dpotox.results.folder import open_results
from dpotox.show import answers, figures, lessons, report, report_standing

figures.use_style()
results = open_results(profile, seed)
neurons = results.neurons
print(
    f"profile {results.profile.name}, seed {results.seed}: {len(neurons):,} neurons"
)

# %% [markdown] tags=["only-gated"]
# ## Here a sign is a convention
#
# This model has {term}`gated MLPs <gated MLP>`: an {term}`activation` is a product of two numbers, one of which comes straight from a matrix.
# Turn the signs of that row, and of the neuron's {term}`value vector`, and the model computes the same, but a toxic neuron
# with a positive activation has become an anti-toxic one with a negative activation. So TP cannot be told from AN, nor TN from AP.
# The authors' own tables show it. Of the neurons in TP and in AN, these shares reduce toxicity: 58.9 and 58.9 % in
# Gemma-2-2B, 61.7 and 61.8 % in Mistral-7B, 53.1 and 53.3 % in Llama-3.1-8B; in TN and in AP 44.5 and 44.5 %, 42.2 and 42.2 %,
# 51.7 and 51.9 % (read from the notebooks of {cite}`yang2025dpo`).
#
# So every neuron is turned here so that its value vector points along the probe. **TP stands for TP with AN**, neurons that
# write towards toxicity on average, and **TN for TN with AP**, those that write against it. The other groups are empty,
# and what hangs on the sign of single neurons is left open.

# %% [markdown]
# ## What was learnt

# %% tags=["hide-input"]
lessons.four_groups(results)

# %% [markdown]
# {numref}`fig-2a` shows all groups. The upper half of them makes up the gross reduction. The lower half takes some
# of it back, as far as their bars point to the left.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Who takes toxicity out, and who puts it back? Look at how the upper bars share the work, and how long the lower ones are. Summed projection drop of each group as a share of the gross reduction (the paper's figure 2a). Thin lines are 95 % intervals over chunks of prompts; the diamonds are the published values for GPT-2 medium.", "name": "fig-2a"}, "image": {"alt": "Bars for each group with the published values marked"}}
quantities = results.evidence.set_index("quantity")
intervals = quantities.loc[
    [f"{group} share of gross" for group in groups.REDUCING], ["low", "high"]
].set_axis(groups.REDUCING)
figure = figures.group_shares(neurons, intervals)

# %% [markdown]
# ## The neuron table
#
# It has one row per neuron. The whole of it is in `results/neurons.parquet` and in [](11_neuron_explorer.ipynb).
# *pre* is before DPO, *post* after it. [](09_by_hand.ipynb) makes the first of these rows again with nnsight alone. The five
# with the largest drops:

# %% tags=["full-width", "hide-input"]
columns = [
    "layer",
    "neuron",
    "group",
    "projection_drop",
    "cosine",
    "pre_activation",
    "post_activation",
    "pre_projection",
    "post_projection",
    "activation_change",
]
report.shown(
    neurons.nlargest(5, "projection_drop")[columns],
    dict.fromkeys(columns[3:], "{:.4f}"),
)

# %% tags=["hide-input", "not-gated"]
inactive = (neurons["pre_activation"] < 0).mean()
print(
    f"{inactive:.1%} of neurons have a negative mean activation before DPO; GPT-2 medium, published: 87.3%"
)

# %% [markdown]
# ## The eight groups
#
# The numbers behind {numref}`fig-2a`, beside those of the 2024 paper for GPT-2 medium. A neuron's group follows from the
# sign of its activation change.

# %% tags=["full-width"]
here, paper = (
    groups.group_table(neurons),
    published_groups(groups.are_turned(neurons)),
)
report.groups_beside_published(here)

# %% tags=["hide-input"]
gross, net = groups.gross_and_net(here)
paper_gross, paper_net = groups.gross_and_net(paper)
held = groups.group_table(groups.with_vectors_held(neurons))
by_projection = groups.group_table(neurons, "group_by_projection")
positive = neurons["projection_drop"].clip(lower=0).sum()
rows = [
    ("gross reduction: the four groups", gross, paper_gross),
    ("all positive drops", positive, NUMBERS["groups"]["gross_by_projection"]),
    ("net reduction: all eight groups", net, paper_net),
    ("net / gross", groups.ratio(net, gross), paper_net / paper_gross),
    (
        "the same, groups named by projections",
        groups.ratio(*groups.gross_and_net(by_projection)[::-1]),
        float("nan"),
    ),
    (
        "the same, value vectors held as before DPO",
        groups.ratio(*groups.gross_and_net(held)[::-1]),
        float("nan"),
    ),
    (
        "TP-'s share of gross",
        here["share_of_gross"]["TP-"],
        paper["share_of_gross"]["TP-"],
    ),
    (
        "the same, without the neuron of the largest drop",
        groups.group_table(groups.without_largest(neurons))["share_of_gross"][
            "TP-"
        ],
        float("nan"),
    ),
    (
        "part of the net if value vectors had not moved",
        groups.moved_by_activations(neurons),
        float("nan"),
    ),
]
report.shown(
    pd.DataFrame(rows, columns=["sum of projection drops", "here", "paper"])
)

# %% [markdown]
# One neuron can be a large part of a small model. The last line but one says what TP- has without the
# {term}`largest neuron`, the one with the largest projection drop.
#
# The last line says what the names leave out. Groups are named by what activations do, but DPO also turns value vectors.
# Where that counts for much, a group can do the opposite of what its name says: a group named as increasing toxicity can
# in sum reduce it. With the value vectors held as before DPO no group can:

# %%
report.shown(held.reset_index())

# %% [markdown]
# Whether these shares say anything about toxicity is asked in [](06_is_it_special.ipynb).

# %% [markdown]
# ### Named by projections instead
#
# The paper's 2025 version {cite}`yang2025dpo` sorts neurons by the sign of the *projection* change. That differs from the
# sign of the activation change where DPO turned the value vector itself:

# %%
report.shown(by_projection.reset_index())

# %% [markdown]
# ### Other models
#
# The same shares in models of the paper. Those of the 2025 version are by projection change:

# %%
report.shown(
    report.shares_elsewhere(neurons).reset_index(names="model"),
    dict.fromkeys(groups.REDUCING, report.percent),
)

# %% [markdown]
# ## Along the ranking
#
# Now the neurons stand in the order of their drops, the largest first. {numref}`fig-2b` adds up what each group has given
# by each rank. {numref}`fig-2c` shows how far the activation of each single neuron moved.

# %% mystnb={"figure": {"caption": "What each of the four reducing groups has added by each rank (the paper's figure 2b). Diamonds at the right edge: where the borders between the groups lie in GPT-2 medium, by the published shares of the gross reduction.", "name": "fig-2b"}, "image": {"alt": "Stacked areas of four groups"}}
figure = figures.stacked_shares(neurons)

# %% mystnb={"figure": {"caption": "Did DPO move these activations far? Look at the vertical lines, from the grey dot before DPO to the coloured one after it: whether a few are long or all are, and at which ranks. Mean activations of the 500 neurons with the largest drops, or of all where there are fewer, by group (the paper's figure 2c; there the 500 are of 98,304).", "name": "fig-2c"}, "image": {"alt": "Four panels under each other, with vertical lines from activations before to after"}}
figure = figures.activation_shifts(neurons, 500)

# %% [markdown]
# ## By layer
#
# {numref}`fig-3` divides the drops among the layers. {numref}`fig-4` looks at the most toxic neurons alone. Earlier work
# explained DPO by their dampening {cite}`lee2024mechanistic`.

# %% mystnb={"figure": {"caption": "Summed projection drop per layer and group; above zero what reduces toxicity, below what increases it, the line with dots the net (the paper's figure 3).", "name": "fig-3"}, "image": {"alt": "Stacked bars per layer, with a line for their sum"}}
figure = figures.drops_by_layer(neurons)

# %% mystnb={"figure": {"caption": "Mean activation of the 100 most toxic neurons before and after DPO (the paper's figure 4). Above the figure: how many of them are active on average before DPO.", "name": "fig-4"}, "image": {"alt": "Pairs of dots, before and after DPO, by rank of cosine"}}
figure = figures.top_toxic_activations(most_toxic(neurons, 100))

# %% [markdown] tags=["not-gated"]
# ## Does the change know about toxicity?
#
# If DPO singled toxic neurons out, a neuron's change in activation would go with its cosine with the probe. In GPT-2 medium
# it does not: over all neurons the correlation of the two is .0037.

# %% tags=["not-gated"]
correlation = report.number(groups.change_with(neurons, "cosine"))
print(f"correlation of activation change with cosine, here: {correlation}")

# %% [markdown]
# (answer-groups)=
# ## The answer

# %% tags=["hide-input"]
answers.four_groups(results)

# %% [markdown]
# The claims behind it, each verdict with [what it carries](10_claims.ipynb):

# %%
report_standing.verdicts(results, claims.GROUPS)

# %% [markdown]
# ## Exercises
#
# 1. A TN+ neuron is toxic and its activation moves further from zero. Why does that *reduce* toxicity? And by which sign
#    does a TN- neuron increase it?
# 2. How much of the shares hangs on a few neurons? Leave out the 20 with the largest drops and group again. The solution
#    is in the folded cell.
#
# ```{admonition} Solution of 1
# :class: dropdown
# Its mean activation is negative, so it writes its value vector with a minus sign: against the probe. Further from
# zero means more of that. A TN- neuron's activation moves closer to zero, so less is written against the probe.
# ```

# %% tags=["hide-cell"]
rest = neurons.drop(neurons.nlargest(20, "projection_drop").index)
left = groups.group_table(rest)
with_them, without = (
    report.percent(table["share_of_gross"]["TP-"]) for table in (here, left)
)
print(f"TP-: {with_them} with them, {without} without")
report.shown(left.reset_index())

# %% [markdown]
# ## How to change this
#
# Everything here follows from `neurons.parquet`: load it with pandas and regroup. To read other prompts, set
# `[data] prompts`; to read more tokens, `[sizes] new_tokens`.
# Expect narrower intervals in {numref}`fig-2a` from more prompts, and other shares from prompts of another kind.
