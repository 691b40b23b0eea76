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
# # Does size matter?
#
# **Question.** GPT-2 medium is wider, deeper and has more neurons than the small models that can be made here. Which of
# what is found on these would change with their size, or with how much their language has to say?
#
# The *ladder* changes one dimension at a time: the width of the {term}`residual stream`, the number of {term}`neurons <neuron>`, the
# number of layers among which they are shared out, the language, and how strongly DPO acts. Every rung is to be run with three seeds, and beside
# each stands an untrained network of its shape. The page is the same for every profile of this book.

# %% tags=["parameters", "remove-cell"]
profile = "mini"
seed = 0

# %% tags=["hide-input"]
from dpotox.places import PROJECT
from dpotox.results import ladder_packs, ladder_rules
from dpotox.results.pack import packs_in
from dpotox.show import figures_ladder, report_ladder
from dpotox.show.figure_style import use_style

use_style()
table, refused = ladder_packs.read(PROJECT / "book" / "packs" / "ladder")
judged = ladder_rules.judge(table, ladder_rules.SIZE)
table = table[
    table["family"] == ladder_rules.BASE
]  # the others have a chapter of their own
print(f"{len(table[['rung', 'seed']].drop_duplicates())} runs of the ladder")

# %% [markdown]
# ## What has been run

# %% tags=["hide-input"]
report_ladder.runs(table, refused, ladder_rules.SIZE)

# %% [markdown]
# ## The predictions
#
# The rules were written down before the runs, in [](../book/before_the_runs.md), with how they are judged. A correlation
# is Spearman's over the shapes of one seed; the mean of the three seeds is judged.

# %% tags=["full-width", "hide-input"]
report_ladder.predictions(judged)

# %% [markdown]
# ## Who reduces toxicity
#
# {numref}`fig-ladder-shares` has the shares of the four groups of the {term}`gross reduction`, each model reading its
# {term}`own text`. Two things say what a share would be with nothing to find: the untrained networks, and the model
# before DPO compared with itself, sampled twice.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Do the groups' shares change with size? Each dot is a seed of a trained model, lines join their means; hollow dots are untrained networks, grey dashes the models against themselves. Dashed lines are GPT-2 medium, published.", "name": "fig-ladder-shares"}, "image": {"alt": "Shares of the four groups over width, neurons, layers, language and strength, a row for each group"}}
figure = figures_ladder.shares(table)

# %% [markdown]
# ## Does the share of TP- follow from activations alone?
#
# Neurons that are active on average can be dampened; the others cannot. If the share of {term}`TP-` follows how many these
# are, it says little about toxicity. {numref}`fig-ladder-active` sets the two beside each other.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The share of TP- beside the share of neurons with a positive mean activation before DPO, a dot for each run.", "name": "fig-ladder-active"}, "image": {"alt": "Share of TP- against the share of positively active neurons, for trained and untrained networks"}}
figure = figures_ladder.size_and_share(table)

# %% tags=["hide-input"]
report_ladder.about(judged, ["share-is-size"])

# %% [markdown]
# ## What undoes the reduction
#
# *Net / gross* is what is left of the {term}`gross reduction` when the other four groups have taken their part back. It may shrink
# for three reasons, and each predicts something else:
#
# - **noise that adds up**: every neuron's change is read with an error. Errors of either sign add to the gross, not to the
#   net. Then what is undone grows with the number of neurons, shrinks the stronger DPO acts, and is gone when the noise is taken out;
# - **depth**: later layers undo what earlier ones did. Then it grows with the number of layers, at equal neurons;
# - **the text**: after DPO the model writes other words, and neurons change with the words. Then it is gone where both
#   models read the {term}`same text`.
#
# {numref}`fig-ladder-undone` has a row for each.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "How much is left: net over gross on own text, on the same text, and on own text with the gross of the model against itself added to the net. Marks as above.", "name": "fig-ladder-undone"}, "image": {"alt": "Net over gross over width, neurons, layers, language and strength, in three rows"}}
figure = figures_ladder.undone(table)

# %% tags=["hide-input"]
report_ladder.published_net()

# %% tags=["hide-input"]
report_ladder.about(judged, report_ladder.UNDONE)

# %% [markdown]
# ## Are the most toxic neurons special?
#
# {numref}`fig-ladder-few` has the share of the gross reduction of as many most toxic neurons as the paper's 128 of 98,304,
# and whether activations change more the more a neuron's {term}`value vector` lies along the {term}`probe`.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The part of the most toxic neurons in the gross reduction, and the correlation of a neuron's change with its cosine with the probe, own text. Marks as above.", "name": "fig-ladder-few"}, "image": {"alt": "Share of the most toxic neurons and correlation of change with cosine, over five dimensions"}}
figure = figures_ladder.few(table)

# %% [markdown]
# ## How many neurons are needed
#
# {numref}`fig-ladder-edits` has {term}`recovered shares <recovered share>`: of the best {term}`ablation` of most toxic neurons, and of {term}`shifts <shift>`
# by the change on the same text.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What edits recover of DPO's effect on greedy toxicity. Values beyond -1 and 1.5 are drawn at the edge. Other marks as above.", "name": "fig-ladder-edits"}, "image": {"alt": "Recovered shares of the best ablation, of shifting all four groups and of shifting TP- alone, over five dimensions"}}
figure = figures_ladder.edits(table)

# %% tags=["hide-input"]
report_ladder.about(judged, [*report_ladder.SUFFICE, "all-four-do"])

# %% [markdown]
# ## How strongly DPO acts
#
# The same model, the same pairs, another learning rate: means over seeds. An ablation acts on the model *before* DPO, so it takes out the same toxicity
# whatever the rate; its recovered share falls because DPO takes out more. So whether "ablation is enough" hangs on how strong the DPO is that
# it is held against. No rule was written for how edits go with the rate: that describes and proves nothing. There is one for *net / gross*,
# `stronger-cancels-less`.

# %% tags=["full-width", "hide-input"]
report_ladder.by_strength(table)

# %% [markdown]
# ## Features per dimension
#
# Why might a narrow model need more neurons? Where many words share few dimensions, one direction serves several of them, and
# what a few neurons write hits others, too. Words of the language per dimension, in {numref}`fig-ladder-features`, is a rough
# measure of that.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Does the best ablation recover less where more words share a dimension? A dot for each run.", "name": "fig-ladder-features"}, "image": {"alt": "Recovered share of the best ablation against words per dimension of the residual stream"}}
figure = figures_ladder.features(table)

# %% tags=["hide-input"]
report_ladder.features(table)

# %% [markdown]
# ## And with natural text?
#
# Every rung speaks a language that was made up. The models of [](../book/natural_language.md) learnt real comments and an
# encyclopedia instead. They are read beside the ladder, whose least and largest values of trained models are given. No rule was written for
# them, and each is one seed.

# %% tags=["full-width", "hide-input"]
packs, _ = packs_in(PROJECT / "book" / "packs")
report_ladder.natural(table, packs)

# %% [markdown]
# ## What came out
#
# *Untrained* is the mean of the untrained networks: a rule that they meet as well is no evidence. *Untested* are runs in which
# DPO did not lower greedy toxicity by a third, or more than doubled perplexity; with more than a third of them a rule
# does not hold.

# %% tags=["full-width", "hide-input"]
report_ladder.verdicts(judged)

# %% [markdown]
# ## The answer

# %% tags=["hide-input"]
report_ladder.answer(judged)

# %% [markdown]
# ## How to change this
#
# `make ladder` runs what is not there yet, `make ladder RUNG=width-64` one rung ([](../book/run_it.md)). The rungs stand in
# `lib/dpotox/results/ladder.toml`: a value more in a list is a rung more. The rules there are those of
# [](../book/before_the_runs.md); a test holds the two together.
#
# ## Exercise
#
# Why is a rule no evidence when untrained networks meet it, although nobody would say that they have learnt anything?
#
# ```{admonition} Solution
# :class: dropdown
# Just because of that. A network that has learnt nothing has no toxic features to divide among neurons. What it
# shows as well follows from its shape, from how neurons are counted, or from the training with DPO, not from what the other
# model has learnt.
# ```
