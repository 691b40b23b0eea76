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
# # How does DPO reduce toxicity?
#
# A companion to *Ablation is Not Enough to Emulate DPO: How Neuron Dynamics Drive Toxicity Reduction*
# {cite}`yang2024ablation`: it tests its main claims on [one model](#which-model), and you can make every number again.
#
# **What the paper claims, in five sentences.** Fine-tuning with direct preference optimisation
# ({term}`DPO` {cite}`rafailov2023dpo`) makes GPT-2 medium less toxic, and an earlier explanation was that it
# dampens the few most toxic neurons, by keeping the residual stream away from where they fire
# {cite}`lee2024mechanistic`. The paper measures how much
# every one of the 98,304 {term}`neurons <neuron>` writes along a toxic direction, before and after. All toxic
# neurons that became less active make up only 31.8 % of the {term}`gross reduction`, and the 128 most toxic ones
# 4.9 %. The rest comes from small shifts in three other {term}`groups <group>`, two thirds of it from anti-toxic
# neurons, while many neurons move the wrong way and undo 85 % of the gross reduction. So {term}`ablating <ablation>` or
# {term}`patching <patching>` the toxic neurons alone does not give what DPO gives.

# %% tags=["parameters", "remove-cell"]
profile = "mini"
seed = 0
seeds = [0]

# %% tags=["remove-input"]
from dpotox.places import PROJECT
from dpotox.results.folder import open_results
from dpotox.results.nothing import beside, standing
from dpotox.results.pack import packs_in
from dpotox.results.seeds import claims_by_seed, runs_beside
from dpotox.show import (
    answers,
    figures,
    figures_claims,
    lessons,
    report,
    report_claims,
    report_standing,
)

figures.use_style()
results = open_results(profile, seed)
packs, _ = packs_in(PROJECT / "book" / "packs")
runs = runs_beside(results, seeds, packs)
over = standing(results, runs)

# %% [markdown]
# **What happened in the model of this book.**

# %% tags=["remove-input"]
lessons.whole_study(results, over)

# %% [markdown]
# **What becomes of the claims.**

# %% tags=["remove-input"]
report_standing.what_they_carry(results, runs)

# %% tags=["remove-input"] mystnb={"figure": {"caption": "Where the gross reduction of toxicity comes from, in the model of this book and in GPT-2 medium as published. Coloured: the four groups of neurons that reduce toxicity. Dark bar: the part of the most toxic neurons that become less active. Grey: what the other four groups take back; below it, what is left.", "name": "fig-front"}, "image": {"alt": "Two columns, this model and the paper's, divided into four groups of neurons, with a dark bar for the most toxic neurons and a grey bar for what is taken back"}}
figure = figures.overview(
    results.neurons, results.profile.interventions.figure_top
)

# %% tags=["remove-input"]
answers.few_carry_much(results)

# %% [markdown]
# {numref}`fig-front` sets the paper's finding beside ours; mind the numbers at the dark bars. *Gross* is what the four
# groups remove together, *net* what is left of it after the other four have put some back. *TP-* is the bottom part of
# each column, toxic neurons that become less active; [](05_four_groups.ipynb) explains the groups and their names.
#
# ## The claims
#
# The paper's numbers first: {numref}`fig-numbers` has them in GPT-2 medium as published and in every model of this book. Where the
# untrained networks, in which nothing was learnt, lie with the diamond, a number like the paper's says little.

# %% tags=["remove-input"] mystnb={"figure": {"caption": "Which of the paper's numbers come out in other models? Diamond: published. Dots: one model each, the same recipe with other seeds. Hollow: untrained networks of the same shape, taken through the same study. Values beyond the axis are drawn at its edge.", "name": "fig-numbers"}, "image": {"alt": "A row for each published number with a diamond for GPT-2 medium, dots for seeds and hollow dots for untrained networks"}}
by_seed, missing = claims_by_seed(results, seeds, packs)
figure = figures_claims.published_numbers(
    by_seed, [one.claims for one in beside(results, runs).untrained]
)

# %% [markdown]
# Each verdict follows from a rule stated in [](10_claims.ipynb). Where several seeds were run, it is that over seeds: of the
# mean, as long as no seed by itself has the opposite verdict. If one has, the claim *depends on the seed*. Beside the verdict
# stand by how many seeds the claim holds (✓), does not (✗) and is inconclusive (?), and what it carries. *No evidence*:
# where there is nothing to find, at least half of the cases of some kind come out the same. *Evidence*: at most one of
# twenty does, of many cases. Claims on edits could be tried in a few untrained networks only, so they are *weak evidence*
# at best. The last column leads to the cell that measures and judges it in this run. A dash means that the paper publishes
# no number. First the claims of the paper:

# %% tags=["remove-input", "claims"]
report_claims.claims_table(results.claims.query("source == 'paper'"), over)

# %% tags=["remove-input"]
report_claims.verdicts_by_seed(by_seed, missing)

# %% tags=["remove-input", "only-generated"]
report_standing.on_another_processor(by_seed)

# %% [markdown]
# Then ours, which hold the paper's claims beside random directions and edits with nothing of DPO in them.

# %% tags=["remove-input", "claims"]
report_claims.claims_table(results.claims.query("source == 'ours'"), over)

# %% [markdown]
# (which-model)=
# ## Which model is this?

# %% tags=["remove-input"]
report.provenance(results)

# %% [markdown]
# To get the numbers of another model or seed, see [](../book/run_it.md); for your own model and texts
# [](../book/own_model_and_data.md).
#
# ```{admonition} Content note
# :class: warning
# The study is about toxic language. Words that are toxic by themselves are masked throughout, all but their first letter. Pages that have
# some have a switch at their top, *Show toxic words*. It shows mild ones; of others there is nothing to show in
# these pages.
# ```
#
# ## How to read it
#
# - **Ten minutes**: this page, then the answers: [is the model good enough](#answer-model),
#   [is there a toxic direction](#answer-direction), [what does DPO do](#answer-dpo), [where](#answer-where),
#   [by which neurons](#answer-groups), [is that special](#answer-special),
#   [can editing neurons do the same](#answer-patching), [what of that is due to editing](#answer-controls),
#   [what does the earlier explanation explain](#answer-offset),
#   [do the numbers come out by hand](#answer-by-hand), [which claims hold](#answer-claims).
# - **The code**: [](09_by_hand.ipynb) makes a few of the numbers again with nnsight alone, a plain cell for each step.
# - **An afternoon**: the chapters in their order, with their exercises; [look a neuron up](11_neuron_explorer.ipynb) or
#   [watch a text being written](12_step_through.ipynb).
# - **One number**: find it in the table above and follow its link; every chapter has its notebook and its results
#   to download at the end.
#
# ## The chapters
#
# ```{tableofcontents}
# ```
