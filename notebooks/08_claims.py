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
# Each {term}`claim` names one quantity and a range, in `lib/dpotox/claims.toml`. The ranges of the paper's claims were
# written before the runs shown here, but knowing the paper's numbers: that these lie inside is no discovery. Our
# own claims were written knowing earlier runs of `mini` with seed 0; other seeds and other models put them to the
# test. A claim **holds** if the whole 95 % interval of the quantity lies in its range, **does not hold** if
# the whole interval lies outside, and is **inconclusive** if the interval straddles an end. A value shown
# without an interval came out the same in every resample, or is a property of the weights; it is judged as it
# stands.

# %% tags=["parameters"]
profile = "mini"
seed = 0
seeds = [0]

# %% tags=["hide-input"]
from dpotox import answers, report, report_table1
from dpotox.seeds import recovered_by_seed
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
# Also in `results/claims.json`. A dash means that the paper publishes no number to compare with. The last column leads
# to the cell that measures and judges it. The paper's claims:

# %% tags=["claims"]
report.claims_table(study.claims.query("source == 'paper'"))

# %% [markdown]
# Our own:

# %% tags=["claims"]
report.claims_table(study.claims.query("source == 'ours'"))

# %% [markdown]
# ## Other seeds
#
# The whole study again with other seeds. For the generated language everything differs: model, data, pairs,
# training. With files or hub data the evaluation prompts and texts are the same for all seeds, and with a finished
# `dpo_checkpoint` the training too. *Over seeds* is the mean with its 95 % interval by Student's t, judged by the
# same rule.

# %% tags=["full-width"]
report.claims_by_seed(study, seeds)

# %% [markdown]
# The share of DPO's effect that each row of table 1 recovers, by seed:

# %% tags=["full-width", "hide-output"]
report_table1.recovered_by_seed(recovered_by_seed(study, seeds))

# %% [markdown]
# (answer-claims)=
# ## The answer

# %% tags=["hide-input"]
answers.which_claims_hold(study.claims)

# %% [markdown]
# ## How to read the verdicts
#
# Intervals are over prompts, for one model, one probe and one DPO run; other seeds can differ by more: run
# `make book SEEDS="0 1 2"` and look at the table above. Where
# a claim does not hold here, these are the first things to think of:
#
# - **Greedy decoding is a threshold.** A small push that changes which word is the likeliest changes the
#   whole continuation. The column of sampled toxicity in [](07_ablation_versus_patching.ipynb) is free of that
#   threshold; shares there can be smaller or larger.
# - **Size.** `mini` has few layers and few neurons. A handful of them is a larger share of it, and there is less
#   that moves for no reason.
# - **Clamping is not neutral.** The *hold* rows have nothing of DPO in them. What they do to toxicity and perplexity
#   is due to clamping.
# - **A share need not be about toxicity.** [](06_is_it_special.ipynb) holds it beside other directions and
#   placebos.
#
# ## Exercises
#
# 1. A quantity is .49 with the interval [.46, .52], and the rule is: below .5. What is the verdict, and what could
#    turn it into *holds*?
# 2. Suppose a claim is false, and its quantity lies just outside the range. How often does the rule say *holds*?
#
# ```{admonition} Solutions
# :class: dropdown
# 1. Inconclusive: the interval straddles .5. More prompts narrow it; whether it then lies below .5 is for the
#    measurement to say.
# 2. Only if the whole interval lies inside, so that it misses the true value on one side: in about 2.5 % of samples,
#    as far as the interval keeps what its 95 % promise.
# ```
#
# ## How to change this
#
# A claim is one entry of `lib/dpotox/claims.toml`; its quantity is measured in
# `lib/dpotox/evidence.py`. With a narrower range expect more verdicts to be inconclusive.
