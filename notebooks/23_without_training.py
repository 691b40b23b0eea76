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
# # Without training
#
# **Question.** What would have lowered toxicity without training, and what would it cost the text?
#
# If it is known which neurons write along the toxic direction, toxicity may be lowered without DPO, by editing their {term}`activations <activation>`.
# Here this is tried on the model before DPO, beside other ways to do without training and at several strengths. With each stands what it does to
# text that has nothing toxic about it. Only with both can one way be called better than another.

# %% tags=["parameters"]
profile = "mini"
seed = 0

# %% tags=["hide-input"]
from dpotox.results.folder import open_results
from dpotox.show import report_without_training
from dpotox.show.figure_style import use_style

use_style()
results = open_results(profile, seed)
print(f"profile {results.profile.name}, seed {results.seed}")

# %% [markdown] tags=["not-untrained-edits"]
# This profile asks for no strengths, so there is nothing to see here. A profile with `[beyond] strengths` has it.

# %% [markdown] tags=["only-untrained-edits"]
# ## The prediction
#
# It was written down before anything below was run, in [](../book/before_the_runs.md), and says that knowing the groups is worth no more than knowing the {term}`probe`.
# Whether it holds over seeds is not known yet.

# %% tags=["hide-input", "only-untrained-edits"]
report_without_training.verdict(results)

# %% [markdown] tags=["only-untrained-edits"]
# ## The ways
#
# 1. *Editing by group*, as the authors' later code does it. Groups are of the model before DPO: whether a {term}`value vector` points along the probe, and
#    whether the mean activation is at least zero. Of each group the share `edit_share` is edited, by the size of the cosine with the probe: the largest first where
#    a neuron writes along the probe, the smallest first where it writes against it. Each is held at its mean, times 1 less or more than
#    `edit_alpha` times the strength, so that it writes less along the probe. Strength 0 holds it at the mean itself.
# 2. *Steering along the probe* by as much. Editing moves what a layer writes along the probe by a sum that can be told beforehand; the same length is
#    taken from the {term}`residual stream` along the probe, after every layer its own.
# 3. *Steering along the mean difference*: as far, but along the direction from the mean of other comments to that of toxic ones. Nothing is fitted.
# 4. *Shifts*: DPO's mean change of each activation on the {term}`same text`, times the strength, is added to it; to the four groups that
#    reduce toxicity, or to all neurons. This uses the model after DPO, so it is no way to do without training. It says how far DPO's own mean change gets, if it is the same for every text.
# 5. *Best of n*: n sampled continuations, of which the least toxic is taken. It is chosen by the scorer that judges it afterwards, which
#    flatters it. It is held beside one sample, and changes no model: it costs n times the writing.
#
# All act at every position, in the prompt, too. Toxicity is that of greedy text after the first `sizes.fewer_prompts` prompts, but for best of n.

# %% [markdown] tags=["only-untrained-edits", "only-gated"]
# In this model the sign of a neuron is a convention. All were turned towards the probe, so the first way has two groups, not four.

# %% [markdown] tags=["only-untrained-edits"]
# ## Removed and added
#
# In {numref}`fig-plane` up is good and right is bad. A point is *in front* if no other removes as much toxicity and adds as little perplexity; those are ringed. Best of n
# stands at the left edge, as it has no place on the axis below.

# %% tags=["hide-input", "only-untrained-edits"] mystnb={"figure": {"caption": "What each way removes and costs, from the lowest strength to the highest along each line. The dotted line is half of what DPO removes; the star is DPO. The axis below is logarithmic but around zero, and lines only join points.", "name": "fig-plane"}, "image": {"alt": "A chart of toxicity removed against perplexity added, a line for each of five ways with a point per strength, and single points for DPO and for best of n"}}
figure = report_without_training.plane(results)

# %% [markdown] tags=["only-untrained-edits"]
# In numbers. The {term}`perplexity` and the KL divergence are measured on neutral text; the divergence is that of what the model before DPO predicts
# from what the changed model does, the other way round than in [](20_how_far_along.ipynb). The F1 is that of continuations of neutral beginnings against the true ones, as in [](08_controls.ipynb). Best of n chooses whole texts, so no loss on given text is known of it.

# %% tags=["full-width", "hide-input", "only-untrained-edits"]
report_without_training.trials(results)

# %% [markdown] tags=["only-untrained-edits", "only-second-scorer"]
# The column at the right end has the same texts judged by another scorer; on a narrow screen, scroll the table. Whoever chooses by one scorer should look at the other.

# %% [markdown] tags=["only-untrained-edits", "not-second-scorer"]
# No other scorer judged these texts. That best of n is less toxic is said by the scorer that chose it, and by nobody else.

# %% [markdown] tags=["only-untrained-edits"]
# ## At the same effect
#
# Ways can only be compared where they remove equally much. Taken is half of what DPO removes. Between two strengths both
# quantities are taken to be straight; costs rise faster than that, so few strengths make them look larger than they are, and of two ways that are close none is shown to be cheaper. Editing begins at strength 0, the others at the unchanged model. Where even the first point of editing removes as much, its cost is told.

# %% tags=["full-width", "hide-input", "only-untrained-edits"]
report_without_training.half_way(results)

# %% [markdown] tags=["only-untrained-edits"]
# All this is causal for the model before DPO: something is done to it, and what follows is measured on the same prompts and texts. It rests on the scorer, which may be blind to
# some toxicity; then a way could seem to remove what it only rewords. And it rests on neutral text to stand for all that a model should still be able
# to do. If that failed, costs would be larger than they are here, and not for all ways alike.

# %% [markdown]
# (answer-without-training)=
# ## The answer

# %% tags=["hide-input", "only-untrained-edits"]
report_without_training.answer(results)

# %% [markdown]
# ## Exercises
#
# 1. Editing does two things to a neuron: it holds it, and it moves it. How can the costs of the two be told apart?
# 2. Steering uses one direction for all texts and positions. DPO's change depends on the text. Which of the ways says what that is worth?
#
# ```{admonition} Solutions
# :class: dropdown
# 1. Strength 0 holds without moving. To move without holding, add the same difference to each activation: `shift` instead of `clamp` in `trials` in
#    `lib/dpotox/run/without_training.py`. What the two do alone need not add up to what they do together.
# 2. The shifts. They move every neuron by DPO's mean change, whatever the text. What DPO does better than a shift of all neurons lies in
#    what varies with the text, or is done by attention and other weights.
# ```
#
# ## How to change this
#
# `[beyond] strengths` has the strengths, `shifts` how often DPO's mean change is added, `best_of` the numbers of samples, `edit_share` and `edit_alpha` what is edited and the unit. For smooth curves take
# seven strengths or more, such as `[0.5, 1, 2, 4, 8, 16, 32]`. Another way is a line in `trials` in `lib/dpotox/run/without_training.py`.
