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
# {cite}`yang2024ablation`. It tests each claim, on a model you can make yourself in minutes.
#
# Direct preference optimisation makes GPT-2 medium less toxic, and one explanation was that it silences a few
# toxic neurons {cite}`lee2024mechanistic`. The paper disagrees: the 128 most toxic neurons give 4.9 % of the
# gross reduction, and all 3,961 toxic neurons that become less active 31.8 %. DPO adds up small shifts in four
# groups of neurons, toxic ones made less active and anti-toxic ones promoted, while many others move the wrong
# way. Ablating or patching the toxic neurons alone does not give what DPO gives.

# %% tags=["parameters", "remove-cell"]
profile = "mini"
seed = 0
seeds = [0]

# %% tags=["remove-input"]
from dpotox import figures, report
from dpotox.study import open_study

figures.use_style()
study = open_study(profile, seed)
report.verdict_counts(study.claims)

# %% tags=["remove-input"] mystnb={"figure": {"caption": "What each of the eight groups of neurons contributes to the reduction of toxicity, as a share of the gross reduction: here, and in GPT-2 medium (marks). TP- are the dampened toxic neurons; the chapter on the four groups explains the names.", "name": "fig-front"}, "image": {"alt": "Bars for eight groups of neurons with the published values as marks"}}
figure = figures.group_shares(study.neurons)

# %% [markdown]
# ## The claims
#
# The paper's values are for GPT-2 medium; ours are for the model named below the table. Each verdict follows
# from a rule stated in [](08_claims.ipynb).

# %% tags=["remove-input"]
report.claims_table(study.claims)

# %% tags=["remove-input"]
report.verdicts_by_seed(study, seeds)

# %% tags=["remove-input"]
print(
    f"Numbers of this page: profile {study.profile.name} ({study.profile.title}), seed {study.seed}."
)

# %% [markdown]
# To get the numbers of another model or seed, see [](../book/run_it.md).
#
# ```{admonition} Content note
# :class: warning
# The study is about toxic language. Toxic words are masked throughout, all but their first letter.
# ```
#
# ## The chapters
#
# ```{tableofcontents}
# ```
