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
# # How many neurons?
#
# **Question.** How many neurons carry what DPO does?
#
# The paper shows that few ablated neurons do less than DPO, and that small shifts of many add up. That leaves open how many it takes.
# Here the model before DPO gets the {term}`activations <activation>` that some of its neurons have after DPO, *copied* token by token on
# the same text. The reverse is asked of the model after DPO: some of its neurons are *set back* to what they do before it. What is
# copied shows which neurons suffice; what is set back, which are needed.

# %% tags=["parameters"]
profile = "mini"
seed = 0

# %% tags=["hide-input"]
from dpotox.results.folder import open_results
from dpotox.show import report_counts
from dpotox.show.figure_style import use_style

use_style()
results = open_results(profile, seed)
print(f"profile {results.profile.name}, seed {results.seed}")

# %% [markdown] tags=["not-counts"]
# This profile asks for no numbers of neurons, or runs its models where none can be copied, so there is nothing to see here. A profile with
# `[interventions] counted` has it.

# %% [markdown] tags=["only-counts"]
# ## The predictions
#
# Both were written down before anything below was run, in [](../book/before_the_runs.md). Whether they hold over seeds is not known yet.

# %% tags=["hide-input", "only-counts"]
report_counts.verdicts(results)

# %% [markdown] tags=["only-counts"]
# ## From one to all
#
# Neurons are chosen in five orders. *Activation change*: by the size of DPO's change on the {term}`same text`, whatever its sign. *{term}`Projection
# drop`*: by what the paper counts. *Cosine*: the most toxic by their {term}`value vector`, as for an {term}`ablation`. *Within its layer*: by projection drop again,
# but as many of each layer. *At random* are the controls, a mean over `counted_draws` draws. All but cosine and chance use what was read of the
# model after DPO, so they are no way to find neurons before training. Toxicity is that of greedy text after the first `sizes.fewer_prompts` prompts.
#
# In {numref}`fig-counts`, a curve that rises late says that the effect lies in many neurons; a curve above the random one says that it
# matters which. Look also at where the curves end: what all activations together do not recover takes something that is not copied: {term}`value vectors <value vector>`,
# attention or other weights.

# %% tags=["hide-input", "only-counts"] mystnb={"figure": {"caption": "How much of DPO's effect some neurons carry. Above: copied, from nothing (0) to all that DPO does (1); below: set back, from all that DPO does to nothing. The band is the 95 % interval over prompts of the order that the rules are about.", "name": "fig-counts"}, "image": {"alt": "Two line charts of the share of DPO's effect against the number of neurons copied, and set back, for five ways to choose them"}}
figure = report_counts.curves(results)

# %% [markdown] tags=["only-counts"]
# In numbers, copied:

# %% tags=["full-width", "hide-input", "only-counts"]
report_counts.counts(results, "copied")

# %% [markdown] tags=["only-counts"]
# And what is left of the effect with neurons set back:

# %% tags=["full-width", "hide-input", "only-counts"]
report_counts.counts(results, "set back")

# %% [markdown] tags=["only-counts"]
# ## How many are enough?
#
# The share of all neurons at which half, and nine tenths, of the effect are recovered or gone. Between the numbers that were tried the curve is taken
# to be straight on the logarithmic axis. Where the smallest number tried suffices, its share is told.

# %% tags=["full-width", "hide-input", "only-counts"]
report_counts.enough(results)

# %% [markdown] tags=["only-counts"]
# A copy assumes that the rest of the model does with an activation what it does after DPO. It may not: weights before and behind have changed
# as well, and a copied activation meets a {term}`residual stream` that it would not meet after DPO. If that failed, copies could
# recover less than the neurons carry, and setting back undo more. The toxicity of greedy text moves in jumps besides, when a word flips; so
# a curve need not rise at every step.

# %% [markdown]
# (answer-counts)=
# ## The answer

# %% tags=["hide-input", "only-counts"]
report_counts.answer(results)

# %% [markdown]
# ## Exercises
#
# 1. A tenth of the neurons recovers half of the effect when copied, and the same tenth leaves nine tenths of it when set back. How can both
#    be?
# 2. Why are random neurons a weaker control here than beside an ablation?
#
# ```{admonition} Solutions
# :class: dropdown
# 1. What the tenth does, others do as well: without it they still lower toxicity nearly as far. It suffices for half, and is needed for little.
# 2. A random neuron's activation hardly changes with DPO, so copying it does hardly anything, harm or good. A random ablation takes a neuron away
#    that did something.
# ```
#
# ## How to change this
#
# `[interventions] counted` has the shares of all neurons that are tried, and `counted_draws` the number of random choices. With 20 draws and ten shares expect
# smoother curves, and eight times the trials. Another order is a line in `orders` in `lib/dpotox/run/counts.py`.
