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
# **Question.** Is there a direction in the model's residual stream that says how toxic a text is?
#
# The *probe* $W$ is the weight vector of a logistic regression on the last layer's residual stream,
# averaged over a text's tokens. A *value vector* $v_i$ is what neuron $i$ adds to the residual stream when
# it is active. A neuron is called *toxic* if $\cos(v_i, W) > 0$; that says where it points, not when it
# fires.

# %% tags=["parameters"]
profile = "mini"
seed = 0
show_toxic = False

# %%
import pandas as pd

from dpotox import figures, models, report
from dpotox.study import open_study

figures.use_style()
study = open_study(profile, seed)
mask = study.mask(show_toxic)
print(f"profile {study.profile.name}, seed {study.seed}")

# %% [markdown]
# ## Fitting the probe
#
# The comments are split three ways: one part to fit, one to choose the regularisation, one to report on.
# The rule: **the smallest C whose AUC is within a tolerance of the best**. What counts here is the
# direction, not the last percent of AUC, and strong regularisation keeps it near the difference of the two
# classes' means. Where the smallest C in the figure is the chosen one, smaller ones might do as well.

# %%
settings, given = study.profile.probe, bool(study.profile.probe.path)
facts = {"comments": f"{study.profile.sizes.comments:,}"}
if given:
    facts |= {
        "probe": "given by the profile, not fitted here",
        "AUC on all comments": round(study.probe.auc, 3),
    }
else:
    facts |= {
        "held out, half to choose and half to report": settings.held_out,
        "tolerance of AUC": settings.auc_tolerance,
        "chosen C": study.probe.selection.query("chosen")["C"].item(),
        "accuracy on the report part": round(study.probe.accuracy, 3),
        "AUC on the report part": round(study.probe.auc, 3),
    }
pd.Series(facts).to_frame("value")

# %% mystnb={"figure": {"caption": "AUC on the selection part for every C tried, and the one the rule takes.", "name": "fig-selection"}, "image": {"alt": "AUC against C on a logarithmic axis with the chosen point marked"}}
if not given:
    figure = figures.probe_selection(study.probe.selection)

# %% mystnb={"figure": {"caption": "Calibration on the report part, in deciles of the predicted probability. On the diagonal the probe's probabilities could be taken at their word. Strong regularisation shrinks them towards the middle.", "name": "fig-calibration"}, "image": {"alt": "Observed share of toxic comments against predicted probability"}}
if not given:
    figure = figures.calibration(study.probe.calibration)

# %% [markdown]
# ## What the direction means
#
# The tokens whose output embeddings have the largest dot product with a direction: the *logit lens*. First
# the probe and its opposite.

# %%
directions = {
    "W, the probe": study.probe.direction,
    "-W": -study.probe.direction,
}
report.token_table(study, directions, mask, 10)

# %% [markdown]
# Then the value vectors most aligned with the probe, and those most opposed to it, named layer:neuron.

# %%
values = models.value_vectors(study.base)
cosine = models.cosines(values, study.probe.direction)
report.token_table(study, models.top_vectors(values, cosine, 8), mask)

# %%
report.token_table(study, models.top_vectors(values, -cosine, 8), mask)

# %% [markdown]
# In GPT-2 medium the paper's authors rank 19:770, 12:771 and 18:2669 first (layer:neuron).
#
# ## The answer
#
# The direction exists to the degree that the AUC above is near 1, and it means toxicity to the degree that
# its nearest tokens are insults and curses.

# %%
toxic = [
    t
    for t in models.nearest_tokens(
        study.base, study.tokenizer, study.probe.direction
    )
    if study.score([t])[0] >= 0.05
]
print(
    f"AUC {study.probe.auc:.3f}; {len(toxic)} of the 10 tokens nearest to the probe are toxic on their own"
)

# %% [markdown]
# ## How to change this
#
# `[probe] C` lists the strengths to try and `auc_tolerance` how much AUC may be given up for a stronger
# one: with `auc_tolerance = 0.0` expect a higher AUC and stranger tokens. `[probe] path` takes a probe from a
# file instead. `-p show_toxic True` shows the words.
