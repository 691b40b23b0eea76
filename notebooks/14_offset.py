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
# # The explanation that the paper attacks
#
# **Question.** Does DPO work by one shift of what the MLPs read, which keeps the toxic neurons from firing?
#
# That is how Lee et al. {cite}`lee2024mechanistic` explain DPO: value vectors stay, and the {term}`residual stream` is
# moved by an {term}`offset` to where toxic neurons do not fire. The paper of this book holds that ablating those
# neurons does not do what DPO does, and counts what all neurons write. Where the change of their activations comes from
# is the question of this chapter, in four steps: what the shift makes of the change, who writes the shift, what is
# left without it, and whether attention and MLPs need each other.

# %% tags=["parameters"]
profile = "mini"
seed = 0

# %% tags=["hide-input"]
from dpotox.results import claims
from dpotox.results.folder import open_results
from dpotox.show import (
    figures,
    figures_offset,
    report,
    report_offset,
    report_table1,
)

figures.use_style()
results = open_results(profile, seed)
summary, top = results.table1, results.profile.interventions.figure_top
print(
    f"profile {results.profile.name}, seed {results.seed}: {len(results.prompts)} prompts"
)

# %% [markdown]
# (answer-offset)=
# ## The answer

# %% tags=["hide-input"]
report_offset.offset(results)

# %% [markdown]
# ## Predictions
#
# Four rules were written, and committed to the project's history, before anything here was run for the first time, on the project's
# smallest model. Known of it at that time were rows of [](08_controls.ipynb): what single swaps recover, and what shifts
# and copies of activations do; and attention's share of the change along the probe. Here is what became of the rules:

# %% tags=["hide-input"]
report.verdicts(results.claims_of(claims.OFFSET))

# %% [markdown]
# If the explanation were all there is to it, the first would hold and the third would not.
#
# ## What the shift makes of the change
#
# Both models read the same text: the prompts and what the model before DPO wrote. At every position that predicts a
# token, what the MLP of each layer reads, behind its norm, is taken; $x_0$ is its mean before DPO and $x_1$ after, and
# likewise a neuron's key vector $k$ and bias $b$. A {term}`pre-activation` is linear in what is read, so the change of
# its mean divides without a rest, into what the shift upstream makes, what the turn of the key makes, and the bias:
#
# $$\Delta = k_0 \cdot (x_1 - x_0) + (k_1 - k_0) \cdot x_1 + (b_1 - b_0)$$
#
# {numref}`fig-upstream` shows the first part beside the whole. On the line, a neuron does what the shift makes it do.

# %% mystnb={"figure": {"caption": "Every neuron: its key vector times the shift of what its MLP reads, and the whole change of what enters its GELU, in the mean over the same text. The line is where the two are equal.", "name": "fig-upstream"}, "image": {"alt": "A dot for every neuron beside the line where the shift makes all of the change; the most toxic neurons are marked"}}
figure = figures_offset.upstream_beside_change(
    results.offset_neurons, results.neurons, top
)

# %% [markdown]
# A part's share is its sum of products with the change over the neurons of a set, $\sum p\,\Delta / \sum \Delta^2$, so
# the shares of all parts add up to 1. *Left without it* is the root mean square of the change without the shift's
# part, over that of the change.
#
# Shifts of any origin would be read by all keys, so two controls stand beside. *Random neurons like these* are in the
# same layers and as active as the most toxic ones. And *times random* divides by a random shift: how far a vector of
# the same length in a random direction moves what enters these GELUs, root mean square.

# %% tags=["full-width"]
report_offset.sets(results.offset_sets)

# %% [markdown]
# A share near 1 does not say that the shift is aimed at toxic neurons. Look at the last column and at the mean: an aimed
# shift moves the most toxic neurons further than the others, and downwards.

# %% [markdown] tags=["only-placebos"]
# ## Is that DPO's?
#
# The same after DPO on the {term}`placebo` preferences. If the shift makes as much of the change there, that it does is a
# property of fine-tuning, not of learning to be less toxic; what is left for DPO is where the shift points.

# %% tags=["full-width", "only-placebos"]
report_offset.placebos(results.offset_sets)

# %% [markdown]
# ## Who writes the shift
#
# What an MLP reads is the sum of all that was written before, the embeddings and every attention and MLP, sent through
# a layer norm. The norm is not linear: it divides by the scale of the whole sum. So the division among writers holds
# the norm as it is **before** DPO: on every token, what each writer adds is centred, divided by the scale that the
# norm has there before DPO, and multiplied by its gain then. What that leaves out is not dropped, it is a part of its
# own: *the norm itself*, which divides by another scale after DPO and has slightly other weights.

# %% tags=["full-width"]
report_offset.kinds(results.offset_writers)

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
# The model **after** DPO, with the mean shift taken away from what the MLP of each layer reads, at every position
# (*remove offset*); and the model **before** DPO with it added (*add offset*). What is edited is what enters the GELUs, by
# $k_1 \cdot (x_1 - x_0)$ and $k_0 \cdot (x_1 - x_0)$, which is the same thing. The rows of the most toxic
# neurons edit these alone: if keeping them from firing is what DPO does, that is enough.
#
# The share of DPO's effect is as in all tables: 1 is all of it. A row of *remove offset* near 1 has lost nothing.

# %% tags=["full-width"]
offset_rows = report_table1.rows_of(summary, "remove offset", "add offset")
report_table1.toxicity(offset_rows)

# %% tags=["full-width", "hide-output"]
report_table1.quality(offset_rows)

# %% [markdown] tags=["only-draws"]
# Beside them the same edits with random vectors, in each layer as long as the shift there. For *remove offset* the
# share is what is left, so the shift is more than a random vector where the row is **below** the draws. Draws are run on fewer prompts, and
# the difference is taken on those, so it is not the first number minus that of the draws:

# %% tags=["full-width", "only-draws"]
report_table1.draws(
    results.draws[results.draws["row"].isin(offset_rows["name"])], summary
) if results.holds["draws"] else None

# %% [markdown]
# Two limits. The shift was read in the unedited model, layer by layer; where an early layer's MLP gets its old input
# back, it writes less of what makes the later layers' shift, and what is taken away there may be too much. And a mean
# is taken away, not what differs from text to text; [](08_controls.ipynb) has rows (*shift, same text* and *copy*) that tell
# these two apart, behind the GELU.
#
# ## Attention and MLPs, crossed
#
# Which weights make the effect? The model before DPO, with the attention, the MLPs or both of the model after. If they
# need each other, both together recover more than the sum; if they do the same thing twice, less. Embeddings and norms
# stay as before DPO, so the corner of both is not yet the model after DPO.

# %% tags=["full-width"]
report_offset.crossed(summary)

# %% [markdown]
# Sampled, where nothing hangs on which token is just ahead of another:

# %% tags=["full-width"]
report_offset.crossed(summary, "recovered_sampled")

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
