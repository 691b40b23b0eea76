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
# **Question.** Can DPO's effect be had by editing neurons: by silencing the toxic ones, or by setting those
# that DPO dampens to where DPO puts them?
#
# This is the paper's table 1, row by row. What in its rows is due to DPO and what to editing as such is the question
# of the next chapter, [](08_controls.ipynb), which adds rows to it. Where these pages say *table 1*, they mean both.
#
# The measure is the **share of DPO's effect** on {term}`greedy toxicity`,
#
# $$\text{share} = \frac{\text{toxicity before DPO} - \text{toxicity of the row}}{\text{toxicity before DPO} - \text{toxicity after DPO}}$$
#
# where 0 is no effect, 1 is DPO's, and above 1 is more than DPO's. Its interval resamples prompts, the same
# ones for all three. A share says nothing about what is left of the text, so {term}`perplexity` stands beside it.

# %% tags=["parameters"]
profile = "mini"
seed = 0

# %% tags=["hide-input"]
from dpotox.results import claims
from dpotox.results.folder import open_results
from dpotox.show import answers, figures, figures_table1, report, report_table1

figures.use_style()
results = open_results(profile, seed)
paper_rows = report_table1.paper_rows(results.table1)
print(
    f"profile {results.profile.name}, seed {results.seed}: {len(results.prompts)} prompts, {len(paper_rows)} rows"
)

# %% [markdown]
# ## What an intervention is
#
# Data: which neurons, one value for each, a function of activations and values, and the positions where it
# acts. Here are the paper's three:

# %% tags=["hide-input"]
report.source("model/interventions.py", "ablate", "clamp", "scale_keys")

# %% [markdown]
# nnsight carries them out while the model writes; [](09_by_hand.ipynb) ablates and shifts neurons with nothing else.
#
# ## Toxicity
#
# *Patch TP-* is done as published: it clamps what enters the GELU to its mean after DPO, at the newest position
# only. *Scale keys* edits the model **after** DPO, to see whether that undoes it; every other edit is made to the
# model before DPO. Numbers of ablated neurons are scaled to the size of the model, and a published value stands
# beside an ablation only where the share of neurons is the same; of scaled keys the paper has 7 neurons, and how
# many are scaled here is set by the profile (`scale_top`), not by the size of the model. What they *undo* of DPO's
# effect is 1 less the row's share: 0 is nothing, 1 all, and above 1 the text is more toxic than before DPO. A row
# whose perplexity on all text is more than twice DPO's has broken the text, and does not count for the claim about
# scaled keys.

# %% tags=["full-width", "hide-input"]
report_table1.toxicity(paper_rows)

# %% [markdown]
# The same in {numref}`fig-table1`, beside what was published:

# %% mystnb={"figure": {"caption": "Toxicity and perplexity on neutral text of the paper's rows with 95 % bootstrap intervals. Filled dots: greedy; rings: sampled. Perplexity is divided by that before DPO, as its size cannot be compared between models. The diamonds are the published values for GPT-2 medium.", "name": "fig-table1"}, "image": {"alt": "Dots with intervals for every row of the paper's table 1"}}
figure = figures_table1.table1_chart(paper_rows)

# %% [markdown]
# ## What is left of the text
#
# Perplexity, F1 of continuations, and *repetition*, the share of word pairs that occurred before in the same
# continuation. Perplexity is measured on texts that are given. There the published patch acts at the first position
# only, so its perplexity says nothing about it.

# %% [markdown] tags=["only-generated"]
# *Neutral text* is text without toxic words, which favours models that have lost such words; *all text* has toxic
# text too, and is what the claims are about.

# %% [markdown] tags=["not-generated"]
# *Neutral text* is that of `data.text`; *all text* has comments as well, toxic ones among them, and is what the claims
# are about.

# %% tags=["full-width"]
report_table1.quality(paper_rows)

# %% [markdown]
# (answer-patching)=
# ## The answer

# %% tags=["hide-input"]
answers.ablation_versus_patching(results)

# %% [markdown]
# The claims behind it:

# %%
report.verdicts(results.claims_of(claims.TABLE1))

# %% [markdown]
# ## Exercises
#
# 1. What enters a neuron's GELU is -3 at half of the positions and 1 at the others. Compare its mean activation with
#    the activation at the mean input. What does that say of a patch before the GELU?
# 2. An edit leaves toxicity at .30, where it was .45 before and is .20 after DPO. What is its share of DPO's effect, and
#    when can a share exceed 1?
#
# ```{admonition} Solutions
# :class: dropdown
# 1. $\text{GELU}(-3) \approx -.004$ and $\text{GELU}(1) \approx .841$, in the mean .42; the mean input is -1, and
#    $\text{GELU}(-1) \approx -.159$. A neuron that is clamped to its own mean input before the GELU is far from its own
#    mean activation, here even on the other side of zero.
# 2. $(.45 - .30) / (.45 - .20) = .6$. It exceeds 1 where the edit leaves less toxicity than DPO does, for instance
#    because it breaks the text.
# ```
#
# ## How to change this
#
# `[interventions]` holds the numbers of ablated neurons (`ablate_top`, `ablate_top_positive`) and the factors of scaled
# keys; with more neurons expect more of the effect, and in the end less text. A new kind of edit is a function in
# `lib/dpotox/model/interventions.py` and a line in `lib/dpotox/paper/rows.py`.
