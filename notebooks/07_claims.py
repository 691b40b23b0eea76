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
# # Claims and rules
#
# **Question.** Which of the paper's claims hold on this model?
#
# Each claim names one quantity and a range. The ranges are written in `lib/dpotox/claims.py`, before any
# result. A claim **holds** if the whole 95 % interval of the quantity lies in its range, **does not hold** if
# the whole interval lies outside, and is **inconclusive** if the interval straddles an end.

# %% tags=["parameters"]
profile = "mini"
seed = 0

# %%
from dpotox import report
from dpotox.study import open_study

study = open_study(profile, seed)
print(f"profile {study.profile.name}, seed {study.seed}")

# %% [markdown]
# ## The rules

# %%
report.rules_table()

# %% [markdown]
# ## The verdicts
#
# Also in `results/claims.json`. A dash means that the paper publishes no number to compare with.

# %%
report.claims_table(study.claims)

# %% [markdown]
# ## The answer

# %%
report.verdict_counts(study.claims)

# %% [markdown]
# ## Where it does not hold, and why that may be
#
# The embedded model differs from GPT-2 medium in size (four layers), in its language (a toxic word is
# marked far more clearly than on the web) and in how strongly DPO acts on it. Three things to keep in mind:
#
# - **Greedy decoding is a threshold.** A small push that changes which word is the likeliest changes the
#   whole continuation. In a model with one clear toxic direction a few neurons are enough for that; the
#   column of sampled toxicity in [](06_ablation_versus_patching.ipynb) is the milder measure.
# - **Neurons that move the wrong way.** In GPT-2 medium they undo most of the gross reduction. DPO's signal
#   here is one-dimensional and the model small, so there is less that moves for no reason.
# - **Clamping is not neutral.** The *hold* rows clamp neurons without moving their means. What they do to
#   toxicity and perplexity has nothing to do with DPO.
#
# ## How to change this
#
# A claim is one entry of `CLAIMS` in `lib/dpotox/claims.py`; its quantity is measured in
# `lib/dpotox/evidence.py`. Run other seeds with `make book SEED=1`.
