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
# # A shift upstream? (Lee et al.)
#
# **Question.** Does DPO work by one shift of what the MLPs read, which keeps the toxic neurons from firing?
#
# That is how Lee et al. {cite}`lee2024mechanistic` explain DPO: {term}`value vectors <value vector>` stay, and the
# {term}`residual stream` is moved to where the toxic neurons do not fire. The paper of this book argues against it: it holds
# that ablating those neurons does not do what DPO does, and counts what all neurons write. This chapter asks where the
# change of their activations comes from.
#
# Three words are needed. A neuron reads with its {term}`key vector` $k$ and a bias $b$: what enters its {term}`GELU` is
# $k \cdot x + b$, where $x$ is what its MLP reads. The *shift*, or {term}`offset`, is by how much DPO moves $x$ in the mean,
# on the {term}`same text`. It comes from *upstream*: from all that writes to the residual stream before the MLP reads it.
#
# The chapter goes in four steps: what the shift makes of the change, who writes the shift, what is left without it, and
# whether attention and MLPs need each other.

# %% tags=["parameters"]
profile = "mini"
seed = 0

# %% tags=["hide-input"]
from dpotox.results import claims
from dpotox.results.folder import open_results
from dpotox.show import (
    answers,
    figures,
    figures_offset,
    report,
    report_offset,
    report_standing,
    report_table1,
)

figures.use_style()
results = open_results(profile, seed)
summary, top = results.table1, results.profile.interventions.figure_top
print(
    f"profile {results.profile.name}, seed {results.seed}: {len(results.prompts)} prompts"
)

# %% [markdown]
# ## What was learnt

# %% tags=["hide-input"]
report_offset.offset(results)

# %% [markdown]
# {numref}`fig-upstream` has every neuron. On the line, a neuron's change is all made by the shift.

# %% mystnb={"figure": {"caption": "Does the shift make the change? Look at how near the dots lie to the line, where it makes all of it, and on which side of zero the most toxic neurons lie. Every neuron: its key vector times the shift of what its MLP reads, and the whole change of what enters its GELU, in the mean over the same text.", "name": "fig-upstream"}, "image": {"alt": "A dot for every neuron beside the line where the shift makes all of the change; the most toxic neurons are marked"}}
figure = figures_offset.upstream_beside_change(
    results.offset_neurons, results.neurons, top
)
# %% [markdown]
# ## Predictions
#
# Four rules were written, and committed to the project's history, before anything here was run for the first time, on the
# project's smallest model. Known of it at that time were rows of [](08_controls.ipynb), what single swaps recover and what
# shifts and copies of activations do, and attention's share of the change along the probe. Here is what became of the
# rules:

# %% tags=["hide-input"]
report_standing.verdicts(results, claims.OFFSET)

# %% [markdown]
# If the shift were all there is to DPO, the first rule would hold and the third would not.
#
# ## What the shift makes of the change
#
# Both models read the same text: the prompts and what the model before DPO wrote. At every position that predicts a
# token, what the MLP of each layer reads, behind its layer norm, is taken. $x_0$ is its mean before DPO and $x_1$ after.
# $k_0$ and $k_1$ are a neuron's key vector before and after, $b_0$ and $b_1$ its bias.
#
# What enters the GELU, the {term}`pre-activation`, is linear in what is read. So the change $\Delta$ of its mean is the sum of
# three parts: what the shift upstream makes, what the turn of the key makes, and what the bias makes.
#
# $$\Delta = k_0 \cdot (x_1 - x_0) + (k_1 - k_0) \cdot x_1 + (b_1 - b_0)$$
#
# {numref}`fig-upstream` shows the first part beside the whole.

# %% tags=["hide-input"]
report_offset.keys_and_biases(results)

# %% [markdown]
# The table has it for sets of neurons. The share of a part $p$ in a set is $\sum p\,\Delta / \sum \Delta^2$ over the neurons
# of the set, so the shares of all three parts add up to 1. *Left without it* says how large the change is without the
# shift's part, as a share of the change (both as root mean squares).
#
# Every shift, whatever it is for, moves what all keys read. So there are two controls. *Random neurons like these* are in
# the same layers as the most toxic ones and as active. *Times random* compares with a random shift: how many times as far
# the shift moves what enters these GELUs as a vector of the same length in a random direction does.

# %% tags=["full-width"]
report_offset.sets(results.offset_sets)

# %% [markdown]
# A share near 1 does not say that the shift is aimed at toxic neurons. For that, look at the last column and at the mean
# change: an aimed shift moves the most toxic neurons further than the others, and downwards.

# %% [markdown] tags=["only-placebos"]
# ## Is that DPO's?
#
# The same is read after DPO on the {term}`placebo` preferences, which are shuffled or reversed. If the shift makes as much
# of the change there, then that is a property of fine-tuning, not of learning to be less toxic. What is left for DPO is
# where the shift points.

# %% tags=["full-width", "only-placebos"]
report_offset.placebos(results.offset_sets)

# %% [markdown]
# ## Who writes the shift
#
# What an MLP reads is a sum, sent through a layer norm. The sum is of all that was written before: by the embeddings and by
# every earlier attention and MLP.
#
# The norm is not linear, as it divides by the scale of the whole sum. So the division among writers holds the norm as it is
# **before** DPO: on every token, what each writer adds is centred, divided by the scale that the norm has there before DPO,
# and multiplied by its gain before DPO. What that leaves out is counted as a writer of its own, *the norm itself*: after
# DPO it divides by another scale and may have slightly other weights.

# %% tags=["full-width"]
report_offset.kinds(results.offset_writers)

# %% tags=["hide-input"]
report_offset.largest_writer(results)

# %% mystnb={"figure": {"caption": "Who makes the shift, as two sets of neurons read it: the share of each writer in what their keys make of the shift. The writers are the embeddings, attention and MLP of each layer, and the norm itself. All shares of a set add up to 1.", "name": "fig-offset-writers"}, "image": {"alt": "Two panels of bars, one for all neurons and one for the most toxic, with bars for attention and MLP of each layer"}}
figure = figures_offset.writers(
    results.offset_writers.query(
        "which in ('all neurons', @which)",
        local_dict={"which": f"top {top} toxic"},
    )
)

# %% [markdown]
# {numref}`fig-offset-writers` counts a writer once for every layer that reads it, so early writers have more readers.
# How far each layer's input is moved:

# %% tags=["full-width"]
report_offset.layers(results.offset_layers)

# %% [markdown]
# ## What is left without it
#
# Two edits test what the shift does to toxicity, at every position and in every layer:
#
# - *remove offset*: the model **after** DPO, with the mean shift taken away from what the MLPs read;
# - *add offset*: the model **before** DPO, with the mean shift added.
#
# What is edited is what enters the GELUs, by $k_1 \cdot (x_1 - x_0)$ and $k_0 \cdot (x_1 - x_0)$, which comes to the same.
# Two rows edit the most toxic neurons alone. If DPO works by keeping these from firing, that should be enough.
#
# The {term}`recovered share` is as in all tables: 0 is as toxic as before DPO, 1 as after it. So a row of *remove offset*
# near 1 has lost nothing of DPO's effect.

# %% tags=["full-width"]
offset_rows = report_table1.rows_of(summary, "remove offset", "add offset")
report_table1.toxicity(offset_rows, summary)

# %% tags=["hide-input"]
report_offset.for_the_most_toxic_alone(results)

# %% tags=["full-width", "hide-output"]
report_table1.quality(offset_rows)

# %% [markdown] tags=["only-draws"]
# Beside them stand the same edits with random vectors, in each layer as long as the shift there; each random choice is a
# *draw*. For *remove offset* the share is what is left of DPO's effect, so the shift does more than a random vector where
# the row is **below** its draws. Draws are run on fewer prompts, and the difference is taken on those, so it is not quite
# the first number minus that of the draws:

# %% tags=["full-width", "only-draws"]
report_table1.draws(
    results.draws[results.draws["row"].isin(offset_rows["name"])], summary
) if results.holds["draws"] else None

# %% [markdown]
# There are two limits. First, the shift was read in the unedited model, layer by layer. Where an early layer's MLP gets its
# old input back, it writes less of what makes the later layers' shift, and what is taken away there may be too much.
# Second, a mean is taken away, not what differs from text to text. [](08_controls.ipynb) has rows that tell these two
# apart, behind the GELU: *shift, same text* and *copy*.
#
# ## Attention and MLPs, crossed
#
# Which weights make the effect? The table is of the model before DPO with the attention, the MLPs or both of the model
# after. If they need each other, both together recover more than the sum of the two. If they do the same thing twice, both
# together recover less. Embeddings and norms stay as before DPO, so the corner of both is not yet the model after DPO.

# %% tags=["full-width"]
report_offset.crossed(summary)

# %% tags=["hide-input"]
report_offset.attention_and_mlps(results)

# %% [markdown]
# The same for sampled text, where nothing hangs on which token is just ahead of another:

# %% tags=["full-width"]
report_offset.crossed(summary, "recovered_sampled")

# %% [markdown]
# (answer-offset)=
# ## The answer

# %% tags=["hide-input"]
answers.offset(results)

# %% [markdown]
# The rules and their verdicts stand above, under *Predictions*.

# %% [markdown]
# ## Exercises
#
# 1. In the first layer the shift can come from two kinds of writers only. Which, and why not from an MLP?
# 2. A shift upstream makes nearly all of the change of what enters the GELUs, and yet taking it away can
#    leave much of DPO's effect. How can both be true?
# 3. The norm has a part of its own in what neurons read of the shift. How large could a writer's share be if the norm
#    had been held as it is after DPO instead?
#
# ```{admonition} Solutions
# :class: dropdown
# 1. From the embeddings and from that layer's attention. Its MLP writes after it has read.
# 2. What attention and the embeddings write also goes straight to the logits, past all neurons; and what the neurons
#    write depends on their value vectors, too, and on how their activation varies around its mean.
# 3. That cannot be said from these tables. The norm's part says how much the two ways of holding it differ in all, not
#    in which writer; run `read_streams` with the scale of the model after DPO to see.
# ```
#
# ## How to change this
#
# `[interventions] figure_top` is the number of most toxic neurons, here and in [](04_where_dpo_writes.ipynb); `draws`, up
# to ten, is the number of random vectors; `[sizes] chunks` are the blocks of prompts that the intervals of the shares
# are resampled from. The division itself is in `lib/dpotox/run/offset.py`, the reading in
# `lib/dpotox/model/streams.py`:

# %% tags=["hide-input"]
report.source("run/offset.py", "read", "share")
