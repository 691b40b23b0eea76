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
# # Where DPO writes
#
# **Question.** In which layers, and in how many neurons, does DPO take toxicity out of the residual stream?
#
# Everything is measured while the models write. Each model continues the same prompts greedily. At every new token $t$,
# what layer $\ell$ adds to the {term}`residual stream`, $o_{\ell,t}$, is {term}`projected <projection>` on the unit
# {term}`probe`, in the mean over all $T$ new tokens:
#
# $$p_\ell = \frac{1}{T} \sum_{t=1}^{T} o_{\ell,t} \cdot \frac{W}{\lVert W\rVert}$$
#
# A single neuron's {term}`projection drop` is by how much less it writes along the probe after DPO. It is positive where
# the neuron takes toxicity out. The {term}`gross reduction` adds the drops of the four groups of neurons that take it out
# ([](05_four_groups.ipynb) names them). The *most toxic* neurons are those whose value vectors have the largest cosine
# with the probe.

# %% tags=["parameters"]
profile = "mini"
seed = 0

# %% tags=["hide-input"]
import pandas as pd

from dpotox.paper import groups
from dpotox.paper.published import NUMBERS
from dpotox.results import claims
from dpotox.results.folder import open_results
from dpotox.show import answers, figures, lessons, report, report_standing

figures.use_style()
results = open_results(profile, seed)
neurons, layers = results.neurons, results.layers
top, count = results.profile.interventions.figure_top, len(neurons)
print(
    f"profile {results.profile.name}, seed {results.seed}: {len(results.prompts)} prompts"
)

# %% [markdown]
# ## What was learnt

# %% tags=["hide-input"]
lessons.where(results)

# %% [markdown]
# ## By neuron
#
# {numref}`fig-1b` adds the projection drops of all neurons up, the largest first.

# %% mystnb={"figure": {"caption": "How many neurons does it take? Look at how steeply the line rises at the left, and how far it falls at the right. Running sum of the projection drops, the largest first, as a share of its peak, the sum of all positive drops (the paper's figure 1b). After the peak come the neurons that increase toxicity; the end of the line is the net reduction. Other figures divide the net by the gross reduction of the four groups, which is not larger than the sum of all positive drops, so their net can be a larger share. Neurons are counted as a share of all, so that models can be compared. Diamonds: the paper's peak, and its net reduction at the end.", "name": "fig-1b"}, "image": {"alt": "Curve that rises steeply, flattens and falls"}}
figure = figures.cumulative_reduction(neurons)

# %% tags=["hide-input"]
rows = [
    {
        "share of all positive drops": f"{share:.0%}",
        "neurons": needed,
        "of all neurons": f"{needed / count:.2%}",
    }
    for share in (0.25, 0.5, 0.75, 0.95)
    for needed in [groups.neurons_for_share(neurons, share)]
]
report.shown(pd.DataFrame(rows))

# %% tags=["hide-input"]
reducing = int((neurons["projection_drop"] > 0).sum())
print(
    f"{reducing:,} of {count:,} neurons ({reducing / count:.1%}) reduce toxicity; GPT-2 medium, published: 57,501 of 98,304 (58.5%)"
)

# %% [markdown]
# Now the most toxic neurons. The paper says that few of them have a positive mean activation before DPO (36 of 128), and
# that those which DPO dampens give little (4.9 % of the gross reduction). Its 128 are .13 % of all neurons. The first
# line here is for a share as near to that as whole neurons allow:

# %% tags=["full-width", "hide-input"]
same = max(1, round(count * 128 / NUMBERS["groups"]["neurons"]))
report.shown(report.most_toxic_table(neurons, [same, top]))

# %% [markdown]
# ## By layer
#
# Three models are compared: before DPO, before DPO with the most toxic neurons {term}`ablated <ablation>`, that is,
# silenced, and after DPO. The paper ablates 128 of 98,304 neurons (.13 %). Here:

# %% tags=["hide-input"]
print(f"ablated: the {top} most toxic of {count:,} neurons ({top / count:.2%})")

# %% [markdown]
# {numref}`fig-1a` shows what each layer's MLP adds. {numref}`fig-residual` shows the sum of all that was written up to
# there. Look at how much of the way from the line before DPO to the line after it the ablated model goes:

# %% tags=["hide-input"]
lessons.covered(results)

# %% mystnb={"figure": {"caption": "In which layers does DPO differ? Look for layers where the line after DPO lies below the one before, and whether the line of the ablated model goes down with it there. Projection of every MLP layer's output on the probe, averaged over generated tokens (the paper's figure 1a). Bars are 95 % intervals over prompts.", "name": "fig-1a"}, "image": {"alt": "Projection by layer for three models"}}
figure = figures.layer_projections(layers, "MLP output")

# %% mystnb={"figure": {"caption": "How much of the change do the most toxic neurons make? Look at the right end: how far the ablated model's line lies from the one before DPO, beside how far the one after DPO does. Projection of the residual stream after every layer, which collects what all layers up to there have written. Bars are 95 % intervals over prompts.", "name": "fig-residual"}, "image": {"alt": "Projection of the residual stream by layer for three models"}}
figure = figures.layer_projections(layers, "residual stream")

# %% [markdown]
# ## Neurons are not all
#
# The residual stream is a sum, so its change can be divided among all that write to it. Attention writes too, and the
# paper's neurons leave it out. This table is our addition.
#
# On its {term}`own text` each model reads what it wrote itself, so part of the change is there because the words differ.
# On the {term}`same text`, that from before DPO, the change is the model's alone. The MLPs' part includes their biases,
# which belong to no neuron.

# %% tags=["full-width", "hide-input"]
report.writers(results.writers)

# %% [markdown]
# ## How it is read
#
# One call lets a model write and reads it on the way, with all prompts and new tokens. It is made for each model:
#
# ```python
# written, read = read_generation(model, prompts, new_tokens, direction, batch_size=batch_size)
# ```
#
# It reads two things. One is, for each neuron, the mean of what enters and what leaves its {term}`GELU`, over prompts and
# new tokens. The other is, for each prompt and layer, the projections on the unit probe of what attention and MLP write
# and of the residual stream. All of it is summed while the model runs, so that no activation has to be kept.
# [](09_by_hand.ipynb) makes the call, and does the same for one neuron in plain nnsight.

# %% [markdown]
# (answer-where)=
# ## The answer

# %% tags=["hide-input"]
answers.where(results)

# %% [markdown]
# The claims behind it, each verdict with [what it carries](10_claims.ipynb):

# %%
report_standing.verdicts(results, claims.WHERE)

# %% [markdown]
# ## Exercises
#
# 1. The change of the residual stream can be divided among its writers with nothing left over. Why can the change of the
#    logits not be divided like that?
# 2. The ablated neurons sit in some layers, yet in {numref}`fig-1a` the ablated model may differ from the one before
#    DPO in others as well. How can that be?
#
# ```{admonition} Solutions
# :class: dropdown
# 1. The residual stream is a plain sum. Between it and the logits lies the last layer norm, which divides by a length
#    that depends on everything that was written.
# 2. Later layers read what the ablated neurons no longer write. And the model writes other words, so every layer,
#    earlier ones too, reads another text from the first changed word on.
# ```

# %% [markdown]
# ## How to change this
#
# `[interventions] figure_top` is the number of toxic neurons that the middle model lacks: with ten times as
# many, expect its line to come nearer to DPO's in the layers where they sit. `[sizes] prompts` narrows or
# widens the intervals.
