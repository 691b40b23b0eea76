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
# A neuron's name says three things: **T** or **A**, its value vector points along or against the probe
# (toxic, anti-toxic); **P** or **N**, its mean activation before DPO is at least zero or negative; **+** or
# **-**, DPO moves that activation further from zero or closer to it, seen from its own side. Four of the
# eight groups reduce toxicity: TP-, TN+, AP+ and AN-.
#
# Neuron $i$ writes $p_i = m_i\,v_i\cdot W/\lVert W\rVert$ along the probe, where $m_i$ is its activation. Its
# projection drop is $p_i$ before DPO minus $p_i$ after. *Gross* reduction is the sum over the four reducing
# groups, *net* reduction over all eight.

# %% tags=["parameters"]
profile = "mini"
seed = 0

# %%
import pandas as pd

from dpotox import claims, evidence, figures, groups, report
from dpotox.neurons import most_toxic
from dpotox.published import NUMBERS, published_groups
from dpotox.study import open_study

figures.use_style()
study = open_study(profile, seed)
neurons = study.neurons
print(
    f"profile {study.profile.name}, seed {study.seed}: {len(neurons):,} neurons"
)

# %% [markdown]
# ## The neuron table
#
# One row per neuron, also in `results/neurons.parquet`. The five with the largest drops:

# %%
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

# %%
inactive = (neurons["pre_activation"] < 0).mean()
print(
    f"{inactive:.1%} of neurons have a negative mean activation before DPO; GPT-2 medium, published: 87.3%"
)

# %% [markdown]
# ## The eight groups
#
# By the sign of the activation change, as in the 2024 paper, beside its numbers for GPT-2 medium:

# %%
here, paper = groups.group_table(neurons), published_groups()
report.groups_beside_published(here)

# %% mystnb={"figure": {"caption": "Summed projection drop of each group as a share of the gross reduction (the paper's figure 2a). Thin lines are 95 % intervals over prompts; the coloured marks are the published values for GPT-2 medium.", "name": "fig-2a"}, "image": {"alt": "Bars for eight groups with the published values marked"}}
quantities = study.resampled_neuron_quantities[
    [f"{g} share of gross" for g in groups.REDUCING]
]
intervals = (
    quantities.quantile([0.025, 0.975])
    .T.set_axis(["low", "high"], axis=1)
    .set_axis(groups.REDUCING)
)
figure = figures.group_shares(neurons, intervals)

# %%
gross, net = groups.gross_and_net(here)
paper_gross, paper_net = groups.gross_and_net(paper)
positive = neurons["projection_drop"].clip(lower=0).sum()
rows = [
    ("gross reduction: the four groups", gross, paper_gross),
    ("all positive drops", positive, NUMBERS["groups"]["gross_by_projection"]),
    ("net reduction: all eight groups", net, paper_net),
    ("net / gross", net / gross, paper_net / paper_gross),
    (
        "part of the net if value vectors had not moved",
        evidence.moved_by_activations(neurons),
        float("nan"),
    ),
]
report.shown(
    pd.DataFrame(rows, columns=["sum of projection drops", "here", "paper"])
)

# %% [markdown]
# Whether these shares say anything about toxicity is asked in [](06_is_it_special.ipynb).
#
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
    dict.fromkeys(groups.REDUCING, "{:.0%}"),
)

# %% [markdown]
# ## Along the ranking

# %% mystnb={"figure": {"caption": "What each of the four reducing groups has added by each rank (the paper's figure 2b).", "name": "fig-2b"}, "image": {"alt": "Stacked areas of four groups"}}
figure = figures.stacked_shares(neurons)

# %% mystnb={"figure": {"caption": "Mean activation before (grey) and after DPO (coloured) of the 500 neurons with the largest drops, by group (the paper's figure 2c; there the 500 are of 98,304).", "name": "fig-2c"}, "image": {"alt": "Four panels of vertical lines from activations before to after"}}
figure = figures.activation_shifts(neurons, 500)

# %% [markdown]
# ## By layer

# %% mystnb={"figure": {"caption": "Summed projection drop per layer and group; above zero what reduces toxicity, below what increases it, the diamonds the net (the paper's figure 3).", "name": "fig-3"}, "image": {"alt": "Stacked bars per layer"}}
figure = figures.drops_by_layer(neurons)

# %% mystnb={"figure": {"caption": "Mean activation of the 100 most toxic neurons before and after DPO (the paper's figure 4).", "name": "fig-4"}, "image": {"alt": "Pairs of dots by rank of cosine"}}
figure = figures.top_toxic_activations(most_toxic(neurons, 100))

# %% [markdown]
# ## The answer

# %%
report.answer(study.claims_of(claims.GROUPS))

# %% [markdown]
# ## How to change this
#
# Everything here follows from `neurons.parquet`: load it with pandas and regroup. To read other prompts, set
# `[data] prompts`; to read more tokens, `[sizes] new_tokens`.
