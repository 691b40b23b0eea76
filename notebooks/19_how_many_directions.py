# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,mystnb,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: kernelspec,-jupytext.text_representation.jupytext_version
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
# # How many directions?
#
# **Question.** In how many directions of the {term}`residual stream` does DPO's change lie, and how many of them carry its effect?
#
# The [chapter on neurons](18_how_many_neurons.ipynb) asks how many of them it takes. Many may write along the same few directions, and only what they write together
# reaches the words. So here the residual stream is looked at, after every layer: what the model after DPO has there, less what the model
# before it has on the {term}`same text`, token by token. First it is described in how many directions that change lies. Then some directions are
# *copied*: after one layer of the model before DPO, the part of the stream along them is replaced by what the model after DPO has.

# %% tags=["parameters"]
profile = "mini"
seed = 0

# %% tags=["hide-input"]
from dpotox.results.folder import open_results
from dpotox.show import report_directions
from dpotox.show.figure_style import use_style

use_style()
results = open_results(profile, seed)
print(f"profile {results.profile.name}, seed {results.seed}")

# %% [markdown] tags=["not-ranks"]
# This profile asks for no numbers of directions, or runs its models where no two can be read together, so there is nothing to see here. A profile with
# `[beyond] ranks` has it.

# %% [markdown] tags=["only-ranks"]
# ## The predictions
#
# Both were written down before anything below was run, in [](../book/before_the_runs.md). Whether they hold over seeds is not known yet.

# %% tags=["hide-input", "only-ranks"]
report_directions.verdicts(results)

# %% [markdown] tags=["only-ranks"]
# ## Where the change lies
#
# This part describes, and shows no cause. All changes, of every prompt and every new token, are the rows of a matrix, from which no mean is taken away. Its
# singular vectors are the directions: the first holds as much of the squared change as any one can, the second as much as is left to any, and so on.
# A change that is the same for every token lies in one direction. One that differs at random from token to token needs as many as the stream has dimensions.
#
# In {numref}`fig-spectrum`, look at where each line begins, and how soon it is flat.

# %% tags=["hide-input", "only-ranks"] mystnb={"figure": {"caption": "In how many directions DPO's change of the residual stream lies: the share of the squared change in its first directions, after each layer, on the text from before DPO. Of more than four layers only the first and the last are named.", "name": "fig-spectrum"}, "image": {"alt": "Lines that rise from the share of the first direction to one with all directions, one for each layer"}}
figure = report_directions.spectrum(results)

# %% [markdown] tags=["only-ranks"]
# Few directions mean something only beside the stream itself, which does not fill its dimensions evenly either. So the table also tells how many directions
# hold as much of the stream before DPO. *Size* is the root mean square of the change over that of the stream. The last columns are cosines: of the change's first direction with
# the {term}`probe`, of that direction with the mean change, and of the mean change with the probe. Where the first direction has a cosine near one with
# the mean change, it is a shift that is much the same for every token. Below zero with the probe it points away from toxicity.

# %% tags=["full-width", "hide-input", "only-ranks"]
report_directions.layers(results)

# %% [markdown] tags=["only-ranks"]
# ## What the mean change says
#
# The {term}`logit lens` reads a direction as the tokens whose output embeddings lie nearest to it, here without the final norm, as elsewhere in this book. Of a layer
# that is not the last it says what later layers would have to leave alone for it to be heard.

# %% tags=["full-width", "hide-input", "only-ranks"]
report_directions.tokens(results)

# %% [markdown] tags=["only-ranks"]
# A change that answers to toxic text would look different where nothing is toxic. So the same is taken on unrelated neutral text, on which perplexity is measured, at all
# positions but the first of each window. A cosine near one says that DPO shifts the stream the same way there on average; single tokens may differ. The interval draws the blocks
# of prompts, and those of windows, again.

# %% tags=["full-width", "hide-input", "only-ranks"]
report_directions.neutral(results)

# %% tags=["full-width", "hide-input", "only-ranks"]
report_directions.tokens(results, "neutral text")

# %% [markdown] tags=["only-ranks"]
# ## What some directions carry
#
# This part is causal. While the model before DPO writes, both models read the text, and after one layer the part of the first one's stream along some directions is replaced,
# at every token. Tried are the first directions of the change, as many first directions of the stream before DPO, in which it is largest whatever DPO does, as many that are drawn at random and stand at right angles to each other,
# the probe alone, and all directions there are. A random line is the mean of `rank_draws` draws. Copied after the last layer, all of them leave nothing of the model before DPO but its final norm and its unembedding.
# After half of the layers the other half is still that of the model before DPO. The change's directions use what was read of the model after DPO, so they are no way to find
# directions before training.
#
# In {numref}`fig-streams`, a green line far above the others says that it matters which directions are taken, and that it is not enough to take those in which the stream is large. Where the green line is near its end early, few
# are enough.

# %% tags=["hide-input", "only-ranks"] mystnb={"figure": {"caption": "How much of DPO's effect some directions of the residual stream carry, copied after half of the layers (above) and after the last: from nothing (0) to all that DPO does (1). Bands and bars are 95 % intervals over prompts; the diamond is the probe's direction alone.", "name": "fig-streams"}, "image": {"alt": "Line charts of the share of DPO's effect against the number of directions copied, for those of the largest change and random ones, with a mark for the probe"}}
figure = report_directions.curves(results)

# %% tags=["full-width", "hide-input", "only-ranks"]
report_directions.tried(results)

# %% [markdown] tags=["only-ranks"]
# For the prediction the number of directions that recovers half is taken as a share of the stream's dimensions. Between the numbers that were tried the line
# is taken to be straight on the logarithmic axis; where the smallest suffices, its share is told.
#
# A copy assumes that what reads the stream does with a part of it what it does with that part in the model after DPO, where the rest has changed as well. Norms and
# MLPs do not treat directions one by one, so that need not be. If it failed, few directions could recover less than they carry after DPO, or more, since the rest of the
# stream then does not hold against them; the verdicts would still be true of the mixed model, but not of DPO's own. Copying after the last layer leaves the final norm and the
# unembedding to assume this of; after an earlier one, all later layers. Greedy text moves in jumps besides, when a word flips.
#
# In half precision (`compute.dtype`) both streams are rounded, and the rounding of each token is part of what is described here as change.

# %% [markdown]
# (answer-directions)=
# ## The answer

# %% tags=["hide-input", "only-ranks"]
report_directions.answer(results)

# %% [markdown]
# ## Exercises
#
# 1. Suppose one direction holds half of the squared change, and copying it recovers a tenth of the effect. How can that be?
# 2. Copying one random direction does nearly nothing, copying a quarter of all dimensions at random does something. Why is that no sign of many causes?
#
# ```{admonition} Solutions
# :class: dropdown
# 1. What is largest need not be what is read. A large shift along a direction that the unembedding hardly sees, or that the final norm takes away, changes
#    no word; a small one between the logits of two words does.
# 2. A quarter of the dimensions, drawn at random, holds about a quarter of the square of any vector, of the one direction that matters too. So a random choice
#    of many copies a part of every single cause.
# ```
#
# ## How to change this
#
# `[beyond] ranks` has the numbers of directions that are tried, and `rank_draws` that of random choices. With `ranks = [1, 2, 4, 8, 16, 32]` and 20 draws expect
# smoother curves, and about sixteen times the trials. After which layers is said in `tried_layers` in `lib/dpotox/run/directions_tried.py`; another choice of directions is a line in `trials` there.
