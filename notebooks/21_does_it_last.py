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
# # Does it last?
#
# **Question.** Is toxicity gone after DPO, or only kept from showing?
#
# If many small shifts lower toxicity, and no neuron is silenced, then all that makes a text toxic may still be there. Three things can tell. How soon is it back when
# the model is trained on toxic texts? Does the {term}`probe` still read toxicity in the model after DPO? And what does it take in the neurons to have it back?

# %% tags=["parameters"]
profile = "mini"
seed = 0

# %% tags=["hide-input"]
from dpotox.results.folder import open_results
from dpotox.show import lessons_edits, report_relearning
from dpotox.show.figure_style import use_style

use_style()
results = open_results(profile, seed)
print(f"profile {results.profile.name}, seed {results.seed}")

# %% [markdown] tags=["not-relearning"]
# This profile asks for no steps, or its models run where none can be trained, so the training and the probe are not seen here. A profile with
# `[beyond] relearning_steps` has them.

# %% [markdown] tags=["only-relearning"]
# ## The predictions
#
# They were written down before anything below was run, in [](../book/before_the_runs.md). Whether they hold over seeds is not known yet.

# %% tags=["hide-input", "only-relearning"]
report_relearning.verdicts(results)

# %% [markdown] tags=["only-relearning"]
# ## Learnt back
#
# Three trainings, each on as many texts at a time as DPO had pairs, no longer than pairs are, with DPO's optimizer and rate. The rate
# stays what it is, also where DPO's falls. So as many steps move weights further here; the answer counts by the sum of the learning rates as well. The loss is that of a language model: the next token.
#
# - *After DPO, on toxic texts*: comments that are labelled toxic.
# - *Before DPO, on toxic texts*: the control. It says how toxic these texts make a model that had nothing to learn back.
# - *After DPO, on other texts*: the placebo, comments that are not toxic. What they bring back is due to training as such, not to what is said in the texts.
#
# The comments are those that the probe was made of, as every profile has them, and no prompt is among them. Toxicity is that of greedy text after the first `sizes.fewer_prompts` prompts.
# In {numref}`fig-relearning`, a green line that climbs to the dotted one early would fit with toxicity that was only kept from showing; a grey one that climbs with it would say that any training undoes DPO.

# %% tags=["hide-input", "only-relearning"] mystnb={"figure": {"caption": "Greedy toxicity while three models are trained on. Step 0 is the untouched model, and the dotted line the untouched model before DPO. Bands are 95 % intervals over prompts.", "name": "fig-relearning"}, "image": {"alt": "A line chart of greedy toxicity against steps of training for the model after DPO on toxic texts and on other texts, and the model before DPO on toxic texts, with a horizontal line for the model before DPO untouched"}}
figure = report_relearning.curves(results)

# %% tags=["full-width", "hide-input", "only-relearning"]
report_relearning.runs(results)

# %% [markdown] tags=["only-relearning"]
# That training on such texts brings toxicity back is causal: the placebo differs in nothing but the texts. That it does so *because* something was left
# in the model is an inference. It assumes that a model which had never known toxic text would take longer; no such model is here. If that failed, quick relearning would say how fast
# this can be learnt at all, and not what DPO left.

# %% [markdown] tags=["only-relearning", "not-trained-dpo"]
# The model after DPO was given, not trained here. In how many steps it was made is not known, so its rule on steps is left open.

# %% [markdown] tags=["only-relearning"]
# ## Read on
#
# The comments that the probe was not fitted to, read by both models. Beside the study's own probe stands one that is fitted anew to
# what each model makes of them, so that a direction that merely turned is not taken for one that is gone. This is correlational: that toxicity can be read says nothing of whether the model uses it.

# %% tags=["full-width", "hide-input", "only-relearning"]
report_relearning.probes(results)

# %% [markdown]
# ## Keys scaled back
#
# The paper's own sign that DPO leaves something is in its table 1, and so in [](07_ablation_versus_patching.ipynb): in the model after DPO the {term}`key vectors <key vector>` of a few of the most toxic neurons
# are multiplied, so that these are active more easily.

# %% tags=["hide-input"]
lessons_edits.scaled_keys(results)

# %% [markdown]
# If toxicity comes back so, its value vectors were there all along, and only what makes them active had changed. No text was needed for it, and no training. It is a
# weaker sign than it seems: larger keys make neurons write more than they ever did before DPO, so toxicity may come from strong writing that was
# not DPO's to remove; and where perplexity rises with it, from broken text. Relearning on texts changes all weights a little, as DPO did, and is the fairer way back.

# %% [markdown]
# (answer-does-it-last)=
# ## The answer

# %% tags=["hide-input", "only-relearning"]
report_relearning.answer(results)

# %% [markdown] tags=["not-relearning"]
# Without the training only the scaled keys above tell of it.

# %% [markdown]
# ## Exercises
#
# 1. Suppose the model before DPO becomes more toxic, too, when it is trained on toxic texts. What does that say of the point where toxicity "is back"?
# 2. Suppose the probe's AUC hardly falls with DPO, and greedy toxicity falls by more than half. How can both be?
#
# ```{admonition} Solutions
# :class: dropdown
# 1. The green line does not return to where it was; it passes through on its way to where such texts lead any model. What can be compared is how fast
#    it rises beside the control, and that a placebo does not rise alike.
# 2. The probe reads comments that others wrote: whether the model notices. Greedy toxicity is what it writes itself. DPO can change what follows
#    from noticing without changing the noticing.
# ```
#
# ## How to change this
#
# `[beyond] relearning_steps` has the steps at which toxicity is measured; the last is where training ends. Take half of DPO's steps or more, or the first rule stays open
# if toxicity is not back by then. Other texts are a line in `texts_of` in `lib/dpotox/run/relearning.py`.
