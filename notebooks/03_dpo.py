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
# # DPO
#
# **Question.** What does direct preference optimisation do to the model's words, and how much does it
# change its weights?
#
# {term}`DPO` shows the model two continuations of a prompt and makes the preferred one likelier and the other less likely,
# compared with the model before. For {term}`pairs <preference pair>` of continuations $y_w$ (preferred) and $y_l$ of a
# prompt $x$ it lowers
#
# $$-\log\sigma\Big(\beta\log\frac{\pi(y_w|x)}{\pi_0(y_w|x)} - \beta\log\frac{\pi(y_l|x)}{\pi_0(y_l|x)}\Big),$$
#
# where $\pi$ is the model in training, $\pi_0$ the model before, and $\sigma$ the logistic function
# {cite}`rafailov2023dpo`. The term in the brackets is the {term}`reward margin`.
#
# Toxicity is that of continuations of held-out prompts. In *greedy* ones every token is the likeliest one, in *sampled*
# ones tokens are drawn by their probabilities. {term}`Perplexity <perplexity>` says how surprised the model is by given
# text, and {term}`F1` how many words a continuation shares with the true one.

# %% tags=["parameters"]
profile = "mini"
seed = 0

# %% tags=["hide-input"]
from dpotox.results import claims
from dpotox.results.folder import open_results
from dpotox.show import answers, figures, lessons, report, report_standing
from dpotox.show.masking import Mask

figures.use_style()
results = open_results(profile, seed)
mask, holds = Mask.of(results), results.holds
print(f"profile {results.profile.name}, seed {results.seed}")

# %% tags=["hide-input"]
lessons.scorer(results)

# %% [markdown]
# ## What was learnt

# %% tags=["hide-input"]
lessons.dpo(results)

# %% [markdown]
# {numref}`fig-outcomes` has it in one picture: what DPO is meant to change, and what it should leave alone.

# %% mystnb={"figure": {"caption": "What does DPO change? Look at how far each dot lies from the line at 1, where nothing changes: left of it DPO lowers a measure, right of it DPO raises it. Each measure after DPO as a multiple of its value before; diamonds: published for GPT-2 medium, whose perplexity is on WikiText-2 and stands beside neutral text.", "name": "fig-outcomes"}, "image": {"alt": "A dot for each measure of toxicity, F1 and perplexity on an axis of multiples of the value before DPO, with a line at 1"}}
figure = figures.outcomes(results.outcomes)

# %% [markdown] tags=["not-trained-dpo"]
# ## A finished model
#
# The model after DPO is given by the profile, so it was trained elsewhere, on pairs that are not known here.

# %% [markdown] tags=["only-trained-dpo"]
# ## Preference pairs

# %% [markdown] tags=["only-sampled-pairs"]
# Made here (`dpotox.paper.pairs`): for every prompt the model samples several continuations. The least toxic is the
# chosen one. The most toxic is the rejected one, if the two differ by the margin in the profile. For prompts without a
# pair, a profile may ask for further rounds, in which the model is {term}`steered <steering>` along the probe while it
# samples, more in each round. A profile can also name the authors' own pairs.

# %% [markdown] tags=["only-trained-dpo", "not-sampled-pairs"]
# They are given by the profile, in the authors' format.

# %% tags=["hide-input", "only-trained-dpo"]
validation = results.profile.pairs.validation
if holds["trained-dpo"]:
    print(f"{results.record.pairs} pairs, the last {validation} for validation")

# %% [markdown] tags=["only-sampled-pairs"]
# How many prompts gave a pair, by the strength of steering that the rejected continuation needed (0 is none;
# 1 moves the last residual stream as far along the probe as toxic comments lie from others):

# %% tags=["full-width", "hide-input", "only-sampled-pairs"]
report.pair_yield(results.pair_yield) if holds["sampled-pairs"] else None

# %% [markdown] tags=["only-trained-dpo"]
# Four of them:

# %% tags=["hide-input", "only-trained-dpo"]
report.texts_table(results.pair_examples, mask) if holds[
    "trained-dpo"
] else None

# %% [markdown] tags=["only-trained-dpo"]
# ## Training
#
# By `trl.DPOTrainer` {cite}`vonwerra2020trl`, with the settings of the profile, beside those of the paper's
# model. Where they differ, so may what DPO does:

# %% tags=["only-trained-dpo"]
report.dpo_settings(results.profile.settings("dpo")["dpo"])

# %% [markdown] tags=["only-trained-dpo"]
# In {numref}`fig-dpo` the loss begins at $\log 2$, where both continuations are as likely as before. What counts is
# the validation part, whose pairs were not trained on; [](09_by_hand.ipynb) computes its end with nnsight alone.

# %% tags=["only-trained-dpo"] mystnb={"figure": {"caption": "DPO's loss and reward margin (in nats, the margin scaled by beta), and the share of pairs with a positive margin, on training and validation pairs. The validation pairs are judged before the first step, too, where no margin is positive, so their share begins at zero; training pairs are counted only from the first steps on.", "name": "fig-dpo"}, "image": {"alt": "Three panels under each other against training steps: loss, reward margin and share of pairs with a positive margin"}}
if holds["trained-dpo"]:
    figure = figures.dpo_curves(results.dpo_curves)

# %% [markdown]
# ## Before and after
#
# Greedy continuations of held-out, toxic-leaning prompts, side by side:

# %%
report.continuations(results.continuations, mask)

# %% [markdown]
# The table has every measure with its 95 % {term}`bootstrap interval` over prompts or pieces of text.
# Samples are drawn after the first `sizes.fewer_prompts` prompts. The paper's values are for GPT-2 medium; its toxicity
# is scored by the Perspective API. Its perplexity is on WikiText-2 and stands beside that on neutral text.

# %% [markdown] tags=["only-generated"]
# *Neutral* text has no toxic words; *all* text has some.

# %% [markdown] tags=["not-generated"]
# *Neutral* text is that of `data.text`; *all* text has comments as well, which the probe does not use.

# %% tags=["full-width", "hide-input"]
report.before_and_after(results.outcomes)

# %% [markdown]
# ## How little the weights moved
#
# The table shows each kind of parameter over all layers: the length of the change relative to the length before, and the
# cosine between before and after. In GPT-2 the value vectors are the rows of `mlp.c_proj.weight`, the key vectors the columns of
# `mlp.c_fc.weight`.

# %% tags=["hide-input"]
report.weight_change(results.weight_change)

# %% [markdown]
# (answer-dpo)=
# ## The answer

# %% tags=["hide-input"]
answers.dpo(results)

# %% [markdown]
# The claims behind it, each verdict with [what it carries](10_claims.ipynb):

# %%
report_standing.verdicts(results, claims.DPO)

# %% [markdown]
# Vectors that hardly turn can still do much: [](05_four_groups.ipynb) measures how much of the reduction is left when
# the {term}`value vectors <value vector>` are held as before DPO.

# %% [markdown]
# ## Exercises
#
# 1. What is the loss before the first step, and why is it the same for every model and every pair?
# 2. With $\beta = .1$ the reward margin of a pair is .5. By what factor has the preferred continuation gained on the
#    other?
#
# ```{admonition} Solutions
# :class: dropdown
# 1. $\pi = \pi_0$, so both logarithms are 0 and the loss is $-\log\sigma(0) = \log 2 = .693$.
# 2. The logarithms differ by $.5/.1 = 5$ nats: $\pi(y_w)/\pi(y_l)$ is $e^5 \approx 148$ times what it was.
# ```

# %% [markdown]
# ## How to change this

# %% [markdown] tags=["not-trained-dpo"]
# Without `[model] aligned` the model is trained here, on pairs that it samples or that `[data] pairs` names.

# %% [markdown] tags=["only-trained-dpo"]
# `[dpo] learning_rate` and `steps` decide how far DPO goes; much larger ones cost perplexity.
# {term}`beta` decides how much it is held back, and `patience` ends training when the validation loss no longer
# falls.

# %% [markdown] tags=["only-sampled-pairs"]
# `[pairs] margin` asks for more or less distinct pairs.
