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
# # Ablation versus patching
#
# **Question.** Can DPO's effect be had by editing neurons: by silencing the toxic ones, or by setting groups
# of neurons to where DPO puts them?
#
# All edits act at every position, on the prompt and on what is generated, and in the perplexity as well. In
# the published code the patch reached only the newest token, and in the perplexity hardly any, so the
# published perplexities of patched rows say little; more such traps are listed in [](../book/traps.md).

# %% tags=["parameters"]
profile = "mini"
seed = 0

# %%
import inspect

from IPython.display import Code

from dpotox import claims, figures, interventions, report
from dpotox.study import open_study

figures.use_style()
study = open_study(profile, seed)
print(
    f"profile {study.profile.name}, seed {study.seed}: {len(study.prompts)} prompts"
)

# %% [markdown]
# ## What an intervention is
#
# Data: which neurons, one value for each, and a function of activations and values. Ablation and the
# paper's patching are one line each, and so would yours be:

# %%
Code(
    "".join(
        inspect.getsource(f) + "\n\n"
        for f in (
            interventions.ablate,
            interventions.clamp,
            interventions.shift,
        )
    ),
    language="python",
)

# %% [markdown]
# ## Table 1
#
# *Ablate* and *scale keys* are the paper's rows. *Patch TP-* is the paper's too: it clamps what enters the
# GELU to its mean after DPO, as the code of 2024 does; *after the GELU* is the code of 2025. Numbers of
# ablated neurons are scaled to the size of the model, and a published value stands beside an ablation only
# where the share of neurons is the same; the 7 neurons with scaled keys are the paper's number, not its share.
# *Scale keys* edits the model **after** DPO, to see whether that undoes it; every other edit is made to the
# model before DPO.
#
# Beside every patch stand two rows of ours. *Hold* clamps the same neurons to their **own** means before
# DPO: nothing changes on average, so what it does is the harm of clamping. *Shift* adds the mean change and
# lets the neurons go on varying.

# %% tags=["full-width"]
summary = study.table1.summary(study.profile.compute.bootstrap)
report.table1_toxicity(summary)

# %% mystnb={"figure": {"caption": "Toxicity and perplexity of every row with 95 % bootstrap intervals; the purple marks are the published toxicities for GPT-2 medium.", "name": "fig-table1"}, "image": {"alt": "Dots with intervals for every row of table 1"}}
figure = figures.table1_chart(summary)

# %% [markdown]
# Perplexity on plain text and F1 of continuations:

# %% tags=["full-width"]
report.table1_quality(summary)

# %% [markdown]
# *Share of DPO's effect* is $(\text{before} - \text{row}) / (\text{before} - \text{after})$ on greedy
# toxicity: 0 is no effect, 1 is DPO's, above 1 is more than DPO's. For *scale keys*, which starts at 1, one
# minus it is the share of DPO's effect that is undone. The interval resamples prompts, the same ones for all
# three. Read a patch's share together with its *hold* row and its perplexity: a clamp can
# remove toxicity by ruining the text.
#
# ## By another scorer
#
# Does any of this depend on what says how toxic a text is? The same greedy continuations, judged by the
# profile's second scorer (`[scorer] second`); for `mini` that is a classifier of words trained on labelled
# comments, which does not know the generator's truth. *Rank correlation* is Spearman's, over prompts.

# %% tags=["full-width"]
report.two_scorers(
    study.table1, study.second_table1, study.profile.compute.bootstrap
) if study.second_score else "this profile names no second scorer"

# %% [markdown]
# ## The answer

# %%
report.answer(study.claims_of(claims.TABLE1))

# %% [markdown]
# ## How to change this
#
# `[interventions]` holds the numbers of neurons and the factors. A new kind of edit is a function in
# `lib/dpotox/interventions.py` and a line in `lib/dpotox/table1.py`.
