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
# A neuron's {term}`group` says three things: **T** or **A**, its value vector points along or against the probe
# (toxic, anti-toxic); **P** or **N**, its mean activation before DPO is at least zero or negative; **+** or
# **-**, DPO moves that activation further from zero or closer to it, seen from its own side. Four of the
# eight groups reduce toxicity: TP-, TN+, AP+ and AN-.
#
# Neuron $i$ writes along the {term}`probe` its {term}`activation` $m_i$ times the projection of its
# {term}`value vector` $v_i$, and its {term}`projection drop` $d_i$ is how much less that is after DPO:
#
# $$p_i = m_i\,v_i\cdot \frac{W}{\lVert W\rVert}, \qquad d_i = p_i^{\text{before}} - p_i^{\text{after}}$$
#
# {term}`Gross <gross reduction>` reduction is the sum of $d_i$ over the four reducing groups,
# {term}`net <net reduction>` reduction over all eight.

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
from dpotox.show import answers, figures, report

figures.use_style()
results = open_results(profile, seed)
neurons = results.neurons
print(
    f"profile {results.profile.name}, seed {results.seed}: {len(neurons):,} neurons"
)

# %% [markdown]
# ## The neuron table
#
# One row per neuron, also in `results/neurons.parquet` and in [](11_neuron_explorer.ipynb); [](09_by_hand.ipynb) makes
# the first of these rows again with nnsight alone. The five with the largest drops:

# %% tags=["hide-input"]
columns = [
    "layer",
    "neuron",
    "cosine",
    "pre_activation",
    "post_activation",
    "pre_projection",
    "post_projection",
    "projection_drop",
    "activation_change",
    "group",
]
report.shown(
    neurons.nlargest(5, "projection_drop")[columns],
    dict.fromkeys(columns[2:9], "{:.4f}"),
)

# %% tags=["hide-input"]
inactive = (neurons["pre_activation"] < 0).mean()
print(
    f"{inactive:.1%} of neurons have a negative mean activation before DPO; GPT-2 medium, published: 87.3%"
)

# %% [markdown]
# ## The eight groups
#
# By the sign of the activation change, as in the 2024 paper, beside its numbers for GPT-2 medium;
# {numref}`fig-2a` draws the shares of the gross reduction.

# %%
here, paper = groups.group_table(neurons), published_groups()
report.groups_beside_published(here)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Summed projection drop of each group as a share of the gross reduction (the paper's figure 2a). Thin lines are 95 % intervals over chunks of prompts; the diamonds are the published values for GPT-2 medium.", "name": "fig-2a"}, "image": {"alt": "Bars for eight groups with the published values marked"}}
quantities = results.evidence.set_index("quantity")
intervals = quantities.loc[
    [f"{group} share of gross" for group in groups.REDUCING], ["low", "high"]
].set_axis(groups.REDUCING)
figure = figures.group_shares(neurons, intervals)

# %% tags=["hide-input"]
gross, net = groups.gross_and_net(here)
paper_gross, paper_net = groups.gross_and_net(paper)
positive = neurons["projection_drop"].clip(lower=0).sum()
rows = [
    ("gross reduction: the four groups", gross, paper_gross),
    ("all positive drops", positive, NUMBERS["groups"]["gross_by_projection"]),
    ("net reduction: all eight groups", net, paper_net),
    ("net / gross", groups.ratio(net, gross), paper_net / paper_gross),
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
# Whether these shares say anything about toxicity is asked in [](06_is_it_special.ipynb).
#
# One neuron can be a large part of a small model; the last line but one says what TP- has without the largest.
# The last line says what the names leave out: groups are named by what activations do, while DPO also turns
# value vectors. Where that counts, a group that is named as increasing toxicity can end on the other side.
#
# The paper's 2025 version {cite}`yang2025dpo` sorts by the sign of the *projection* change instead. The two differ where DPO
# moved the value vector itself:

# %%
report.shown(groups.group_table(neurons, "group_by_projection").reset_index())

# %% [markdown]
# The same shares in other models (those of the 2025 version by projection change):

# %%
report.shown(
    report.shares_elsewhere(neurons).reset_index(names="model"),
    dict.fromkeys(groups.REDUCING, report.percent),
)

# %% [markdown]
# ## Along the ranking
#
# Neurons in the order of their drops: {numref}`fig-2b` adds up what each group has given by each rank, and
# {numref}`fig-2c` shows how far each single neuron moved.

# %% mystnb={"figure": {"caption": "What each of the four reducing groups has added by each rank (the paper's figure 2b). Diamonds at the right edge: where the borders between the groups lie in GPT-2 medium, by the published shares of the gross reduction.", "name": "fig-2b"}, "image": {"alt": "Stacked areas of four groups"}}
figure = figures.stacked_shares(neurons)

# %% mystnb={"figure": {"caption": "Mean activation before (grey) and after DPO (coloured) of the 500 neurons with the largest drops, or of all where there are fewer, by group (the paper's figure 2c; there the 500 are of 98,304).", "name": "fig-2c"}, "image": {"alt": "Four panels under each other, with vertical lines from activations before to after"}}
figure = figures.activation_shifts(neurons, 500)

# %% [markdown]
# ## By layer
#
# {numref}`fig-3` divides the drops among the layers. {numref}`fig-4` looks at the most toxic neurons alone, those whose
# dampening earlier work took for the explanation {cite}`lee2024mechanistic`.

# %% mystnb={"figure": {"caption": "Summed projection drop per layer and group; above zero what reduces toxicity, below what increases it, the line with dots the net (the paper's figure 3).", "name": "fig-3"}, "image": {"alt": "Stacked bars per layer, with a line for their sum"}}
figure = figures.drops_by_layer(neurons)

# %% mystnb={"figure": {"caption": "Mean activation of the 100 most toxic neurons before and after DPO (the paper's figure 4). Above the figure: how many of them are active on average before DPO.", "name": "fig-4"}, "image": {"alt": "Pairs of dots, before and after DPO, by rank of cosine"}}
figure = figures.top_toxic_activations(most_toxic(neurons, 100))

# %% [markdown]
# ## Does the change know about toxicity?
#
# In GPT-2 medium it does not: over all neurons the correlation of the change in activation with the cosine is .0037.

# %%
correlation = report.number(groups.change_with(neurons, "cosine"))
print(f"correlation of activation change with cosine, here: {correlation}")

# %% [markdown]
# (answer-groups)=
# ## The answer

# %% tags=["hide-input"]
answers.four_groups(results)

# %% [markdown]
# The claims behind it:

# %%
report.verdicts(results.claims_of(claims.GROUPS))

# %% [markdown]
# ## Exercises
#
# 1. A TN+ neuron is toxic and its activation moves further from zero. Why does that *reduce* toxicity?
# 2. How much of the shares hangs on a few neurons? Leave out the 20 with the largest drops and group again. The solution
#    is in the folded cell.
#
# ```{admonition} Solution of 1
# :class: dropdown
# Its mean activation is negative, so it writes its value vector with a minus sign: against the probe. Further from
# zero means more of that.
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
