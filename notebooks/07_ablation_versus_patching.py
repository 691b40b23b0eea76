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
import inspect

from IPython.display import Code

from dpotox.model import interventions
from dpotox.paper import claims
from dpotox.run.study import open_study
from dpotox.show import answers, figures, figures_table1, report, report_table1

figures.use_style()
study = open_study(profile, seed)
summary, resamples = study.summary, study.profile.compute.bootstrap
print(
    f"profile {study.profile.name}, seed {study.seed}: {len(study.prompts)} prompts, {len(summary)} rows"
)

# %% [markdown]
# ## What an intervention is
#
# Data: which neurons, one value for each, a function of activations and values, and the positions where it
# acts. Those of this chapter are one line each, and so would yours be:

# %% tags=["hide-input"]
kinds = ("ablate", "clamp", "shift", "copy")
Code(
    "\n\n".join(inspect.getsource(getattr(interventions, k)) for k in kinds),
    language="python",
)

# %% [markdown]
# ## The paper's table
#
# *Patch TP-* is done as published: it clamps what enters the GELU to its mean after DPO, at the newest position
# only. *Scale keys* edits the model **after** DPO, to see whether that undoes it; every other edit is made to the
# model before DPO. Numbers of ablated neurons are scaled to the size of the model, and a published value stands
# beside an ablation only where the share of neurons is the same; of scaled keys the paper has 7 neurons, and how
# many are scaled here is set by the profile (`scale_top`), not by the size of the model. A row whose perplexity on
# all text is more than twice DPO's has broken the text, and does not count for the claim about scaled keys.

# %% tags=["full-width", "hide-input"]
paper_rows = report_table1.paper_rows(summary)
report_table1.toxicity(paper_rows)

# %% [markdown]
# The same in {numref}`fig-table1`, beside what was published:

# %% mystnb={"figure": {"caption": "Toxicity and perplexity on neutral text of the paper's rows with 95 % bootstrap intervals. Filled dots: greedy; rings: sampled. Perplexity is divided by that before DPO, as its size cannot be compared between models. The diamonds are the published values for GPT-2 medium.", "name": "fig-table1"}, "image": {"alt": "Dots with intervals for every row of table 1"}}
figure = figures_table1.table1_chart(paper_rows)

# %% [markdown]
# Perplexity, F1 of continuations, and *repetition*, the share of word pairs that occurred before in the same
# continuation.

# %% [markdown] tags=["only-generated"]
# *Neutral text* is text without toxic words, which favours models that have lost such words; *all text* has toxic
# text too, and is what the claims are about.

# %% [markdown] tags=["not-generated"]
# *Neutral text* is that of `data.text`; *all text* has comments as well, toxic ones among them, and is what the claims
# are about.

# %% tags=["full-width"]
report_table1.quality(paper_rows)

# %% [markdown]
# ## What a patch is worth
#
# There are several ways to put neurons where DPO puts them, and a control for each:
#
# - **{term}`patch <patching>`, newest**: the paper's clamp to the mean after DPO, at the position that predicts the next token. In
#   the perplexity the published code then acts at hardly any position, here at the first only, so that column says
#   nothing about it;
# - **patch**: the same clamp at every position;
# - **{term}`hold`**: the same clamp at the neurons' **own** means before DPO, which has nothing of DPO in it. What it does
#   is due to clamping: the neuron stops reacting to the text. And as the GELU is not linear, a clamp of what
#   enters it at its mean is not a clamp of the activation at its mean (after the GELU it is, see below);
# - **{term}`shift`**: add each neuron's mean change, and let it go on reacting to the text. The mean change is read while
#   each model writes its own text, so part of it is there because the words are others; **same text** adds the
#   change where both models read the text from before DPO;
# - **{term}`copy`**: give the neurons the activations that the model after DPO has on the very same text, token by token.
#
# {numref}`fig-recovered` shows what each of them recovers, and at what price.

# %% mystnb={"figure": {"caption": "What editing each set of neurons recovers of DPO's effect, one panel per kind of edit (0: nothing, 1: all; lines are 95 % intervals over prompts). Rings in the panels of patches: the same clamp at the neurons' own means. The number at a row's end is the perplexity on neutral text, times that before DPO.", "name": "fig-recovered"}, "image": {"alt": "Six panels, one per kind of edit, with a dot for every set of neurons and its perplexity"}}
figure = figures_table1.recovered_by_set(summary)

# %% [markdown]
# The same as numbers, and with the control of the paper's own patch, *hold, newest*: the share of DPO's effect on greedy
# toxicity,

# %% tags=["full-width"]
report_table1.by_set(summary, "recovered")

# %% [markdown]
# on sampled toxicity, where nothing hangs on which word is just ahead of another,

# %% tags=["full-width"]
report_table1.by_set(summary, "recovered_sampled")

# %% [markdown]
# and the perplexity on neutral text:

# %% tags=["full-width"]
report_table1.by_set(summary, "perplexity")

# %% [markdown]
# The code of 2025 clamps after the GELU instead of before it. There *hold* keeps every mean activation (at the
# positions where it was measured, the newest after these prompts), and is the fairer control:

# %% tags=["full-width"]
report_table1.toxicity(
    report_table1.rows_of(
        summary, "patch after the GELU", "hold after the GELU"
    )
)

# %% [markdown]
# ## Are these the neurons?

# %% [markdown] tags=["only-draws"]
# Beside an edit of chosen neurons, the same edit of random ones: as many in each layer, with similar mean
# activation before DPO (value vectors are not matched). And beside the shift of all four groups, the same shifts
# dealt at random within each layer and group, so that signs and sizes stay. Random edits can do harm of their own,
# and then a row's lead over them is larger than its own effect. Draws are compared on the first
# `sizes.fewer_prompts` prompts. The interval resamples prompts and draws; fewer than five draws give none.

# %% tags=["full-width", "only-draws"]
report_table1.draws(study.table1, resamples)

# %% [markdown]
# Ablating by cosine is one way to choose. By projection on the probe, or by contribution to the reduction, as many
# neurons give:

# %% tags=["full-width"]
report_table1.toxicity(summary[summary["which"].str.contains(" by ")])

# %% [markdown]
# ## Which weights?
#
# {term}`Swap` takes some of the weights from the model after DPO. The paper's 2025 version {cite}`yang2025dpo` edits
# activations along the probe; {term}`steer <steering>` does the simplest of that kind. It adds DPO's mean change along the probe, on the same
# text, to the residual stream after one layer: if the probe were all there is to it, that would do what DPO does. The
# control adds a vector of the same length in a random direction.

# %% tags=["full-width"]
weights = report_table1.rows_of(summary, "swap", "steer")
report_table1.toxicity(weights)

# %% tags=["full-width"]
report_table1.quality(weights)

# %% [markdown] tags=["only-second-scorer"]
# ## By another scorer
#
# Does any of this depend on what says how toxic a text is? The same greedy continuations, judged by the
# profile's second scorer (`[scorer] second`, see [](../book/scorers.md)). *Rank correlation* is Spearman's, over
# prompts.

# %% tags=["full-width", "hide-output", "only-second-scorer"]
report_table1.two_scorers(
    study.table1, study.second_table1, resamples
) if study.second_score else "this profile names no second scorer"

# %% [markdown]
# ## Every row
#
# Also in `results/table1.csv`, with every measure and interval.

# %% tags=["full-width", "hide-output"]
report_table1.toxicity(summary)

# %% tags=["full-width", "hide-output"]
report_table1.quality(summary)

# %% [markdown]
# (answer-patching)=
# ## The answer

# %% tags=["hide-input"]
answers.ablation_versus_patching(study)

# %% [markdown]
# The claims behind it:

# %%
report.verdicts(study.claims_of(claims.TABLE1))

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

# %% [markdown]
# ## How to change this
#
# `[interventions]` holds the numbers of neurons, the factors, and the number of random draws; with
# more draws expect steadier controls and a longer run. A new kind of edit is
# a function in `lib/dpotox/model/interventions.py` and a line in `lib/dpotox/paper/rows.py`.
