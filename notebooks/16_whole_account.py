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
# # The whole account
#
# **Question.** Who writes less along the probe after DPO, when all that write are counted?
#
# The paper counts neurons. But the {term}`residual stream` before the final norm is a sum: the embeddings, what every head
# of attention writes in every layer, what every neuron writes, and biases. So its change along the {term}`probe` is the sum
# of theirs, with nothing left over. A neuron's part can be divided further. It writes its {term}`activation` $m$ times the
# projection $u$ of its {term}`value vector` on the unit probe. With $\hat m$ and $\hat u$ after DPO, what it writes less,
# $m u - \hat m \hat u$, is the sum of
#
# - what its *activation* does alone: $(m - \hat m)\,u$;
# - what its *value vector* does alone: $m\,(u - \hat u)$;
# - and what goes off because they do *both at once*: $-(m - \hat m)(u - \hat u)$.
#
# All are means over the prompts and the new tokens, at the position that predicts each token. A part that is above zero
# makes the text less toxic as far as the probe can tell. Whether it does so in truth, an account cannot say.

# %% tags=["parameters"]
profile = "mini"
seed = 0

# %% tags=["hide-input"]
from dpotox.results.folder import open_results
from dpotox.show import report_account, report_causes
from dpotox.show.figure_style import use_style

use_style()
results = open_results(profile, seed)
print(
    f"profile {results.profile.name}, seed {results.seed}: "
    f"{results.record.shape.layers} layers"
)

# %% [markdown]
# ## Who writes less, by kind
#
# Each model on its {term}`own text`, and both on the {term}`same text`, that from before DPO. The shares add up to the whole.

# %% tags=["full-width", "hide-input"]
report_account.parts(results)

# %% [markdown]
# ## By layer
#
# {numref}`fig-account` has the same on the models' own texts, layer by layer; {numref}`fig-account-same` on the same text, where
# what differs is the model alone.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Who writes less along the probe, by layer and kind, each model on its own text. Look at which colour is tallest, and in which layers bars go below zero: there DPO's model writes more. The line is the sum of a layer.", "name": "fig-account"}, "image": {"alt": "Stacked bars for each layer, for heads, three parts of neurons and biases, with a line for their sum"}}
figure = report_account.by_layer(results, "own")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The same where both models read the text from before DPO.", "name": "fig-account-same"}, "image": {"alt": "Stacked bars for each layer, for heads, three parts of neurons and biases, with a line for their sum"}}
figure = report_account.by_layer(results, "same")

# %% [markdown]
# ## The largest single writers
#
# A head is named by its layer and its place in it, as a neuron is.

# %% tags=["hide-input"]
report_account.largest(results)

# %% [markdown] tags=["only-causes"]
# ## Does it happen?
#
# What is written along the probe is a prediction of what a writer's change does. To test it, the mean change of a single writer, the whole
# vector, is added to what the model *before* DPO writes after that layer, and the text is measured: greedy toxicity of the first prompts, and
# the log-probability of toxic tokens in text that has them. Tried are all heads and all neurons of each layer together, and the
# single heads and neurons that change most along the probe; {numref}`fig-causes` has a mark for each. The MLP of the writer's own layer does not see what is added. The mean change
# is that at the positions that predict new tokens; it is added at every position, those of the prompt too. So this asks for more than
# the account says, which is about what is written at these positions directly.
#
# In the last layer a writer can do nothing but what it writes. What is written earlier is also read by the layers behind, so that
# its effect may be larger or smaller than the prediction.

# %% tags=["hide-input", "only-causes"] mystnb={"figure": {"caption": "Does what a writer writes less along the probe say what its change does? Each mark is a writer; thin lines are 95 % intervals over prompts. If the account predicted well, marks would rise from the lower left to the upper right.", "name": "fig-causes"}, "image": {"alt": "Two scatter plots: by how much greedy toxicity, and the log-probability of toxic tokens, fall with the change of a writer, against how much less it writes along the probe"}}
figure = report_causes.scatter(results)

# %% tags=["hide-input", "only-causes"]
report_causes.correlations(results)

# %% [markdown] tags=["only-causes"]
# ## One without the other
#
# Heads read what neurons wrote below them, and the reverse. So a part of what heads write less is there because the MLPs have changed. In the model
# *after* DPO the weights of all MLPs, or of all attention, are put back to what they were before, and the account is taken
# again, on the same text. Norms and embeddings stay as after DPO.

# %% tags=["hide-input", "only-causes"]
report_causes.without(results)

# %% tags=["hide-input", "only-causes"]
report_causes.left(results)

# %% [markdown]
# (answer-account)=
# ## The answer

# %% tags=["hide-input"]
report_account.answer(results)

# %% [markdown]
# ## Exercise
#
# Why do the activations' part and the value vectors' part not add up to what the neurons write less?
#
# ```{admonition} Solution
# :class: dropdown
# Because both change at once. An activation that falls takes some of the value vector's change with it: with
# $\hat m = 0$ nothing is written, however far the vector has turned, and counting both alone would take the turn away twice.
# ```
