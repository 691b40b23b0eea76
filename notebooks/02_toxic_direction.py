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
# # The toxic direction
#
# **Question.** Is there a direction in the model's {term}`residual stream` that says how toxic a text is?
#
# The {term}`probe` $W$ is the weight vector of a logistic regression on the last layer's residual stream $x$,
# averaged over a text's $T$ tokens:
#
# $$P(\text{toxic}) = \sigma\big(W \cdot \bar{x} + b\big), \qquad \bar{x} = \frac{1}{T} \sum_{t=1}^{T} x_t$$
#
# How well it tells toxic comments from others is measured by its {term}`AUC`: the probability that it ranks a toxic
# comment above another one.

# %% [markdown] tags=["only-generated"]
# The *comments* are documents of the generated language. Nobody labels them: a comment is toxic if its true toxicity, which
# follows from its words ([](01_model.ipynb)), is at least .5.

# %% [markdown] tags=["not-generated"]
# The *comments* are short texts that others have labelled as toxic or not; the profile names them in `[data] comments`.

# %% [markdown]
# A {term}`value vector` $v_i$ is what neuron $i$ adds to the residual stream when it is active. A neuron is called
# *toxic* if $\cos(v_i, W) > 0$, and *anti-toxic* otherwise. That says where it points, not when it fires.

# %% tags=["parameters"]
profile = "mini"
seed = 0

# %% tags=["hide-input"]
import pandas as pd

from dpotox.results.folder import open_results
from dpotox.show import answers, figures, lessons, report
from dpotox.show.masking import Mask

figures.use_style()
results = open_results(profile, seed)
mask, directions = Mask.of(results), results.directions.groupby("list")
settings, given = results.profile.probe, bool(results.profile.probe.path)
print(f"profile {results.profile.name}, seed {results.seed}")

# %% [markdown]
# ## What was learnt

# %% tags=["hide-input"]
lessons.toxic_direction(results)

# %% [markdown] tags=["only-fitted-probe"]
# {numref}`fig-calibration` shows it on comments that were not used to fit: the more toxic the probe says they are, the
# higher the line should stand. If the line also follows the diagonal, the probe's probabilities can be taken at their
# word ({term}`calibration`). Strong regularisation shrinks them towards the middle, which leaves the direction alone.

# %% tags=["only-fitted-probe"] mystnb={"figure": {"caption": "Does the direction know toxic comments? Look at how steeply the line rises. Comments of the report part in ten groups, by the probability that the probe gives them; on the dashed diagonal, predicted is observed.", "name": "fig-calibration"}, "image": {"alt": "Observed share of toxic comments against predicted probability, beside the diagonal"}}
if not given:
    figure = figures.calibration(results.probe_calibration)

# %% [markdown] tags=["not-fitted-probe"]
# ## The probe
#
# Its direction is given by the profile. The comments serve to see how well it tells toxic ones from others.

# %% [markdown] tags=["only-fitted-probe"]
# ## Fitting the probe
#
# The comments are split three ways: one part to fit, one to choose the regularisation, one to report on.
#
# $C$ says how freely the weights may grow: a small $C$ is strong regularisation. The rule: **the smallest $C$ whose AUC
# is within a tolerance of the best**. What counts here is the direction, not the last percent of AUC, and strong
# regularisation keeps the direction near the difference of the two classes' means. Where the smallest $C$ in
# {numref}`fig-selection` is the chosen one, smaller ones might do as well.

# %% tags=["hide-input"]
facts = {"comments, at most": f"{results.profile.sizes.comments:,}"}
if given:
    facts |= {
        "AUC on all comments": round(results.record.auc, 3),
    }
else:
    facts |= {
        "held out, half to choose and half to report": settings.held_out,
        "tolerance of AUC": settings.auc_tolerance,
        "chosen C": results.probe_selection.query("chosen")["C"].item(),
        "accuracy on the report part": round(results.record.accuracy, 3),
        "AUC on the report part": round(results.record.auc, 3),
    }
pd.Series(facts).to_frame("value")

# %% tags=["only-fitted-probe"] mystnb={"figure": {"caption": "AUC on the selection part for every C tried, and the one the rule takes.", "name": "fig-selection"}, "image": {"alt": "AUC against C on a logarithmic axis with the chosen point marked"}}
if not given:
    figure = figures.probe_selection(results.probe_selection)

# %% [markdown]
# ## What the direction means
#
# A direction can be read as words: the {term}`logit lens` lists the tokens whose output embeddings have the largest dot
# product with it. First the probe and its opposite.

# %%
report.token_table(directions.get_group("probe"), mask)

# %% [markdown]
# Then the value vectors most aligned with the probe, and those most opposed to it, named layer:neuron.

# %%
report.token_table(directions.get_group("closest"), mask)

# %%
report.token_table(directions.get_group("opposed"), mask)

# %% [markdown]
# In GPT-2 medium the paper's authors rank 19:770, 12:771 and 18:2669 first (layer:neuron). Any neuron can be looked
# up in [](11_neuron_explorer.ipynb).
#
# (answer-direction)=
# ## The answer

# %% tags=["hide-input"]
answers.toxic_direction(results)

# %% [markdown]
# ## Exercises
#
# 1. What changes if $W$ is doubled, and what if it is turned round, in all that follows from it?
# 2. Cosine leaves out how long a value vector is. Rank the value vectors by their projection on the unit probe
#    instead: are the first eight the same?
#
# ```{admonition} Solution of 1
# :class: dropdown
# Doubling changes nothing: cosines and projections are taken with $W/\lVert W\rVert$. Turning it round makes toxic
# neurons anti-toxic and changes the sign of every projection, so what reduced toxicity increases it. Of the groups in
# [](05_four_groups.ipynb), {term}`TP-` become AP-.
# ```

# %% tags=["hide-cell"]
report.token_table(directions.get_group("projection"), mask)

# %% [markdown]
# ## How to change this

# %% [markdown] tags=["only-fitted-probe"]
# `[probe] C` lists the strengths to try and `auc_tolerance` how much AUC may be given up for a stronger
# one: with `auc_tolerance = 0.0` expect a higher AUC and stranger tokens. `[probe] path` takes a probe from a
# file instead.

# %% [markdown] tags=["not-fitted-probe"]
# Without `[probe] path` a probe is fitted to the comments.

# %% [markdown]
# The switch at the top of the page shows mild words. How many vectors and tokens are listed is said in
# `lib/dpotox/model/logit_lens.py`.
