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
# # Ablation versus patching
#
# **Question.** Can DPO's effect be had by editing neurons: by silencing the toxic ones, or by setting those
# that DPO dampens to where DPO puts them?
#
# These are rows of the paper's table 1, made again. The next chapter, [](08_controls.ipynb), has rows of our own. All rows
# together are the {term}`table of edits`. An edit is judged by its {term}`recovered share`, the share of DPO's
# effect on {term}`greedy toxicity`:
#
# $$\text{recovered share} = \frac{\text{before} - \text{edited}}{\text{before} - \text{after}}$$
#
# where *before*, *edited* and *after* are the toxicities before DPO, with the edit and after DPO. It is read like this:
#
# - **0**: as toxic as before DPO;
# - **1**: as toxic as after DPO;
# - **above 1**: less toxic than after DPO;
# - **below 0**: more toxic than before DPO.
#
# A recovered share says how low toxicity is, and nothing else. **It does not say that an edit is good.** A model that only
# repeats itself is seldom toxic, too. So each share stands beside {term}`perplexity`, how surprised the model is by given
# text, and {term}`repetition`. There are two texts: *neutral* text, and *all* text, which has toxic text too. These pages
# call a text *broken* if perplexity on all text is more than twice DPO's, or repetition more than one and a half times
# DPO's. The paper's perplexity is on WikiText-2, and stands beside that on neutral text.

# %% tags=["parameters"]
profile = "mini"
seed = 0

# %% tags=["hide-input"]
from dpotox.results import claims
from dpotox.results.folder import open_results
from dpotox.show import (
    answers,
    figures,
    figures_table1,
    lessons_edits,
    report,
    report_standing,
    report_table1,
)

figures.use_style()
results = open_results(profile, seed)
summary = results.table1
paper_rows = report_table1.paper_rows(summary)
print(
    f"profile {results.profile.name}, seed {results.seed}: {len(results.prompts)} prompts, {len(paper_rows)} rows"
)

# %% [markdown]
# ## What was learnt

# %% tags=["hide-input"]
lessons_edits.patching(results)

# %% [markdown]
# {numref}`fig-recovered-share` has every row. In the paper (diamonds) no ablation and no patch gets
# much further than halfway from the first vertical line to the second. That is its argument: dampening toxic neurons is
# not enough.

# %% mystnb={"figure": {"caption": "Do edits get to where DPO gets? Look at where the dots lie beside the two vertical lines, before DPO (0) and after DPO (1), and compare them with the diamonds, which are published for GPT-2 medium. A cross in place of a dot: the text is broken. Ring: the same neurons held still, with nothing of DPO in the edit. Scaled keys start after DPO, at 1: what they undo is how far their dot lies to the left of the line at 1. Lines are 95 % intervals over prompts. At the right: perplexity on all text, times DPO's; a patch of the newest position has none, as it edits hardly any of the text where that is measured.", "name": "fig-recovered-share"}, "image": {"alt": "A dot with an interval for the recovered share of each edit, between a line for before DPO and a line for after DPO, beside the published values"}}
figure = figures_table1.recovered_chart(paper_rows, summary)

# %% [markdown]
# ## The three edits
#
# - **Ablate** (*ablate top 4 toxic*): the {term}`activations <activation>` of the {term}`most toxic neurons` are set to
#   zero. *Positive toxic* takes them from the neurons whose mean activation before DPO is positive.
# - **Patch** (*patch TP-, newest only*): each neuron of {term}`TP-`, the toxic neurons that are positive before DPO and
#   that DPO lowers, is set to one constant, its mean after DPO. As published, what enters the {term}`GELU` is set, at the
#   *newest* position only, the one that predicts the next token.
# - **Scale keys** (*scale keys of top 7 toxic by 2*): in the model **after** DPO, the {term}`key vectors <key vector>` of
#   the most toxic neurons are made longer, so that they react more strongly. If DPO works by dampening them, this should
#   undo it. What it {term}`undoes <undone>` is 1 less its recovered share: 0 is nothing, 1 is all, and above 1 the text is
#   more toxic than before DPO.
#
# The first two edit the model before DPO. An edit is data: which neurons, one value for each, a function of activations
# and values, and the positions where it acts. Here are all three:

# %% tags=["hide-input"]
report.source("model/interventions.py", "ablate", "clamp", "scale_keys")

# %% [markdown]
# nnsight carries them out while the model writes. [](09_by_hand.ipynb) ablates and shifts neurons with nothing else.

# %% [markdown] tags=["only-gated"]
# In this model's gated MLPs a neuron has two vectors that read. *Scale keys* makes those of the gate longer, before the nonlinearity, and *patched as
# published* is what the gate's matrix makes. Longer vectors of the other matrix would only multiply the activation, another edit. Neither depends
# on how a neuron is turned.

# %% [markdown]
# ## The table
#
# Shares and toxicity with 95 % intervals, which resample prompts, the same ones for the row and for the models before
# and after DPO:

# %% tags=["full-width", "hide-input"]
report_table1.toxicity(paper_rows, summary)

# %% [markdown]
# Which rows can be compared with the paper's? Numbers of ablated neurons are scaled to the size of the model, and a
# published value stands beside an ablation only where the share of all neurons is the same. Of scaled keys the paper has
# 7 neurons. How many are scaled here is set by the profile (`scale_top`), not by the size of the model.
#
# ## What is left of the text
#
# *F1* says how many words a continuation shares with the true one, and *repetition* is the share of word pairs that
# occurred before in the same continuation.

# %% [markdown] tags=["only-generated"]
# *Neutral text* has no toxic words, which favours models that have lost such words. *All text* has toxic text too, and is
# what the claims are about.

# %% [markdown] tags=["not-generated"]
# *Neutral text* is that of `data.text`. *All text* has comments as well, toxic ones among them, and is what the claims
# are about.

# %% tags=["full-width"]
report_table1.quality(paper_rows)

# %% [markdown]
# ## How to read it
#
# ### DPO itself
#
# Begin with the rows *before DPO* and *after DPO*. What DPO itself does to the text is the price that an edit has to be held
# to, as well as to DPO's toxicity:

# %% tags=["hide-input"]
lessons_edits.dpo_itself(results)

# %% [markdown]
# ### Ablations
#
# An ablation silences neurons for good, at every position and whatever the text is.

# %% tags=["hide-input"]
lessons_edits.ablations(results)

# %% [markdown]
# ### The patch
#
# A patch does two things at once. It puts a neuron where DPO puts it, and it stops the neuron from reacting to the text.
# The paper's table cannot tell the two apart. The next chapter can: it adds the {term}`hold`, which stops the same neurons
# from reacting and has nothing of DPO in it.

# %% tags=["hide-input"]
lessons_edits.where_it_acts(results)

# %% [markdown]
# The perplexity of the published patch says nothing about it. Perplexity is measured on given texts, where this patch
# acts at the first position only.
#
# ### Scaled keys
#
# These rows go the other way: they start after DPO, and bring toxicity back as far as they undo it. Longer keys can also
# make the text worse. So for the claim only factors count that leave perplexity on all text at most at twice DPO's. The
# rules of the claims call what is undone the *regained share of toxicity*.

# %% tags=["hide-input"]
lessons_edits.scaled_keys(results)

# %% [markdown]
# ### Greedy and sampled
#
# {numref}`fig-table1` shows toxicity itself, greedy and sampled. Greedy text depends on which token is just ahead of
# another, so a small change of the model can turn much of it. In sampled text nothing hangs on that.

# %% mystnb={"figure": {"caption": "Do sampled texts say the same as greedy ones? Look at whether the rings go where the dots go. Left: toxicity of the paper's rows. Right: perplexity on neutral text, divided by that before DPO, as its size cannot be compared between models. Lines are 95 % bootstrap intervals. The diamonds are the published values for GPT-2 medium, with perplexity on WikiText-2.", "name": "fig-table1"}, "image": {"alt": "Dots with intervals for every row of the paper's table 1"}}
figure = figures_table1.table1_chart(paper_rows)

# %% [markdown]
# (answer-patching)=
# ## The answer

# %% tags=["hide-input"]
answers.ablation_versus_patching(results)

# %% [markdown]
# The claims behind it, each verdict with [what it carries](10_claims.ipynb):

# %%
report_standing.verdicts(results, claims.TABLE1)

# %% [markdown]
# ## Exercises
#
# 1. What enters a neuron's GELU is -3 at half of the positions and 1 at the others. Compare its mean activation with
#    the activation at the mean input. What does that say of a patch before the GELU?
# 2. An edit leaves toxicity at .30, where it was .45 before and is .20 after DPO. What is its recovered share, and when can
#    one exceed 1?
#
# ```{admonition} Solutions
# :class: dropdown
# 1. $\text{GELU}(-3) \approx -.004$ and $\text{GELU}(1) \approx .841$, in the mean .42; the mean input is -1, and
#    $\text{GELU}(-1) \approx -.159$. A neuron that is clamped to its own mean input before the GELU is far from its own
#    mean activation. Here it even has the opposite sign.
# 2. $(.45 - .30) / (.45 - .20) = .6$. It exceeds 1 where the edit leaves less toxicity than DPO does, for instance
#    because it breaks the text.
# ```
#
# ## How to change this
#
# `[interventions]` holds the numbers of ablated neurons (`ablate_top`, `ablate_top_positive`) and the factors of scaled
# keys; with more neurons expect more of the effect, and in the end less text. A new kind of edit is a function in
# `lib/dpotox/model/interventions.py` and a line in `lib/dpotox/paper/rows.py`.
