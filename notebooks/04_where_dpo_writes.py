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
# Everything is measured while the models write: each model continues the same prompts greedily, and at
# every new token $t$ what layer $\ell$ adds to the {term}`residual stream`, $o_{\ell,t}$, is
# {term}`projected <projection>` on the unit {term}`probe`, in the mean over all $T$ new tokens:
#
# $$p_\ell = \frac{1}{T} \sum_{t=1}^{T} o_{\ell,t} \cdot \frac{W}{\lVert W\rVert}$$

# %% tags=["parameters"]
profile = "mini"
seed = 0

# %% tags=["hide-input"]
import pandas as pd

from dpotox.paper import groups
from dpotox.paper.published import NUMBERS
from dpotox.results import claims
from dpotox.results.folder import open_results
from dpotox.show import answers, figures, report

figures.use_style()
results = open_results(profile, seed)
neurons, layers = results.neurons, results.layers
print(
    f"profile {results.profile.name}, seed {results.seed}: {len(results.prompts)} prompts"
)

# %% [markdown]
# ## How it is read
#
# One call lets a model write and reads it on the way, for each of the models, with all prompts and new tokens:
#
# ```python
# written, read = read_generation(model, prompts, new_tokens, direction, batch_size=batch_size)
# ```
#
# What it reads are means over prompts and new tokens, by chunk of prompts, layer and neuron, of what leaves the GELU and
# of what enters it; and projections on the unit probe, by prompt and layer, of what attention and MLP write and of the
# residual stream. All of it is summed inside the trace, so that no activation has to be kept. [](09_by_hand.ipynb) makes
# the call, and does the same for one neuron in plain nnsight.
#
# ## By layer
#
# Three models: before DPO, before DPO with the most toxic neurons {term}`ablated <ablation>`, and after DPO. The paper
# ablates 128 of 98,304 neurons (0.13 %). Here:

# %% tags=["hide-input"]
top, count = results.profile.interventions.figure_top, len(neurons)
print(f"ablated: the {top} most toxic of {count:,} neurons ({top / count:.2%})")

# %% [markdown]
# {numref}`fig-1a` shows what each layer's MLP adds, {numref}`fig-residual` what has come together up to there.

# %% mystnb={"figure": {"caption": "Projection of every MLP layer's output on the probe, averaged over generated tokens (the paper's figure 1a). Bars are 95 % intervals over prompts.", "name": "fig-1a"}, "image": {"alt": "Projection by layer for three models"}}
figure = figures.layer_projections(layers, "MLP output")

# %% mystnb={"figure": {"caption": "The same for the residual stream after every layer, which collects what all layers before have written.", "name": "fig-residual"}, "image": {"alt": "Projection of the residual stream by layer for three models"}}
figure = figures.layer_projections(layers, "residual stream")

# %% [markdown]
# The residual stream is a sum, so its change can be divided among those who write to it. Attention is
# not among the paper's neurons; this is our addition. On its *own text* each model reads what it wrote itself,
# so part of the change is there because the words are others; on the *same text*, that from before DPO, the
# change is the model's alone. The MLPs' part has that of their biases in it, which belong to no neuron.

# %% tags=["full-width", "hide-input"]
report.writers(results.writers)

# %% [markdown]
# ## By neuron
#
# A neuron's {term}`projection drop` is how much less it writes along the probe after DPO. {numref}`fig-1b` adds the
# drops up, the largest first:

# %% mystnb={"figure": {"caption": "Running sum of the projection drops of all neurons, the largest first, as a share of its peak, the sum of all positive drops (the paper's figure 1b). After the peak come the neurons that increase toxicity; the end of the line is the net reduction. Neurons are counted as a share of all, so that models can be compared; diamonds: the paper's peak, and its net reduction at the end.", "name": "fig-1b"}, "image": {"alt": "Curve that rises steeply, flattens and falls"}}
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
# And the most toxic ones, of which the paper says that few are active before DPO (36 of 128) and that dampening them
# gives little (4.9 % of the gross reduction). For the same share of all neurons, look at the first line:

# %% tags=["full-width", "hide-input"]
same = max(1, round(count * 128 / NUMBERS["groups"]["neurons"]))
report.shown(report.most_toxic_table(neurons, [same, top]))

# %% [markdown]
# (answer-where)=
# ## The answer

# %% tags=["hide-input"]
answers.where(results)

# %% [markdown]
# The claims behind it:

# %%
report.verdicts(results.claims_of(claims.WHERE))

# %% [markdown]
# ## Exercises
#
# 1. The change of the residual stream can be divided among its writers without a rest. Why can the change of the
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
