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
# # Claims and rules
#
# **Question.** Which of the paper's claims hold on this model?
#
# Each {term}`claim` names one quantity and a range, in `lib/dpotox/results/claims.toml`. The ranges of the paper's claims were
# written before the runs shown here, but knowing the paper's numbers: that these lie inside is no discovery. What some of
# the quantities are was changed after runs; [the history](#how-the-rules-came-about) says which.

# %% [markdown] tags=["only-generated"]
# Most of our own claims were written knowing runs of the first `mini` ([](../book/embedded_model.md)) with seed 0. Every seed of the
# present one puts them to the test. Those of [](14_offset.ipynb) stood before any run that measured what they are about.

# %% [markdown] tags=["not-generated"]
# Our own claims were written knowing the outcomes of another model, which is no part of these pages. This one puts
# them to the test.

# %% [markdown]
# A claim **holds** if the whole 95 % interval of the quantity lies in its range, **does not hold** if the whole
# interval lies outside, and is **inconclusive** if the interval straddles an end. A value shown without an interval
# came out the same in every resample, or is a property of the weights; it is judged as it stands. What an interval
# resamples stands behind each value in the chapters; [](../book/statistics.md) tells how it is made and how often it
# holds the truth. What is *not measured* stays inconclusive: the profile leaves out what it takes, or DPO has no sure
# effect on toxicity of which a share could be taken.

# %% [markdown] tags=["only-gated"]
# This model's MLPs are gated, where the sign of a neuron is a convention ([](05_four_groups.ipynb)). TP stands for TP with AN here and
# TN for TN with AP. Claims about how many neurons are positively active, about all four groups, about anti-toxic ones, and about how
# an activation's change goes with its cosine or its own size are not measured, as the convention would decide them. Keys are those of the
# gate: scaling them opens a gate further, which is one of two ways to make an activation larger.

# %% tags=["parameters"]
profile = "mini"
seed = 0
seeds = [0]

# %% tags=["hide-input"]
from dpotox.places import PROJECT
from dpotox.results.folder import open_results
from dpotox.results.pack import packs_in
from dpotox.results.seeds import claims_by_seed, recovered_by_seed, runs_beside
from dpotox.show import (
    report_claims,
    report_standing,
    report_table1,
)

results = open_results(profile, seed)
packs, _ = packs_in(PROJECT / "book" / "packs")
runs = runs_beside(results, seeds, packs)
print(f"profile {results.profile.name}, seed {results.seed}")

# %% [markdown]
# ## The rules

# %%
report_claims.rules_table()

# %% [markdown]
# ## The verdicts
#
# Of this run, that is, of one seed; those [over seeds](#over-seeds) come further down. Also in `results/claims.json`. A dash means that the paper publishes no number to compare with. The last column leads
# to the cell that measures and judges it. The paper's claims:

# %% tags=["claims"]
report_claims.claims_table(results.claims.query("source == 'paper'"))

# %% [markdown]
# Our own:

# %% tags=["claims"]
report_claims.claims_table(results.claims.query("source == 'ours'"))

# %% [markdown]
# How many neurons are called *the most toxic* is a choice: as many as the profile says, or as large a share of all as the
# paper's 128. Does it decide a verdict?

# %% tags=["hide-input"]
report_standing.flips(results)

# %% [markdown]
# ## What the verdicts carry
#
# A claim can hold for a reason that has nothing to do with toxicity. So each rule was also tried where there is nothing
# to find:
#
# - along **directions** that mean nothing: random ones, ones that vary as the residual stream does (*matched*), and
#   probes fitted to shuffled labels, with each model on its *own* text and with both on the *same*;
# - with the model **against itself**, sampled twice, and after **placebos**, DPO on shuffled or reversed preferences,
#   signed so that what they change counts as a reduction: here and with every other seed whose pack lies in `book/packs/`;
# - in **untrained** networks of the same shape, taken through the whole study, as far as their packs lie there.
#
# Each of these is a case with a verdict of its own. What is told so is the verdict [over seeds](#over-seeds), or that of this
# run if there is no other. It is *no evidence* if in some kind of place at least half
# of the cases come out the same: they would do so in noise. It is *evidence* if at most one of twenty does in every kind, of
# twenty cases or more. Everything else is *weak evidence*. Cases that are inconclusive count for nothing. Some places cannot tell of a
# claim, and are left out: directions where its quantity is the same along all of them; placebos and the model itself where
# it is about the model before DPO alone; and, for what DPO does to the text, untrained networks, which are trained
# to do just that.
#
# Some rules can hardly fail for other reasons, and no place above would show it. That value vectors hardly turn follows from
# small steps of training. How many neurons are positively active follows from how the model was made. Most edits leave perplexity
# nearly as it is.
#
# The limits of one half and one of twenty were written before any of it was run here, but knowing a trial on one untrained
# network. The rest was changed after results had been seen, where a review found that it misled. Runs of other profiles stand
# in columns of their own and decide nothing here. First the paper's claims, by the names that the rules give them:

# %% tags=["full-width"]
report_standing.carried(results, runs)

# %% [markdown]
# That a verdict is no evidence here does not make the paper's numbers wrong, or the claim false. It says that the rule
# is met, or not met, as often without toxicity or training. The value itself can still tell models apart, as the
# last table of this section shows. In GPT-2 medium nobody has looked.
# Claims about what edits do to the text cannot be decided where DPO has no sure effect. But it can have one in an
# untrained network, too, which it teaches which words to write, and there some of them hold as well.
#
# Our own:

# %% tags=["full-width", "hide-output"]
report_standing.carried(results, runs, "ours")

# %% [markdown]
# In how many of the decided cases each claim holds:

# %% tags=["full-width"]
report_standing.passes(results, runs)

# %% [markdown]
# For the claims that describe the neuron table, a quantity that does discriminate is where the probe stands among
# directions that vary as the residual stream does, both models reading the same text. Few directions as far from the
# median mean that the number belongs to the probe:

# %%
report_standing.beside_directions(results)

# %% [markdown]
# (how-the-rules-came-about)=
# ## How the rules came about
#
# Ranges of the paper's claims were chosen knowing its numbers. Some quantities were changed after results had been seen.
# When, why, and whether they had is listed below. Besides, on 2026-11-26 the intervals of quantities of the neuron table, of
# ranks, of the best of several rows and over seeds were replaced, for reasons that [](../book/statistics.md) gives, after
# results had been seen.

# %% tags=["full-width", "hide-output"]
report_standing.history()

# %% [markdown]
# A rule is no better than the code that measures its quantity. When that last changed, comments and formatting aside,
# stands here; the hash is of all that the function reaches in this package, and a test fails when it is another:

# %% tags=["full-width", "hide-output"]
report_standing.code_history()

# %% [markdown]
# ## What chance may have decided
#
# So many verdicts from the same few hundred prompts depend on each other. What follows is true even so:

# %% tags=["hide-input"]
report_claims.chance_sentences(results.claims)

# %% [markdown]
# (over-seeds)=
# ## Over seeds
#
# A run is one model. What holds of it may be luck, and its interval cannot tell, as that is for this one model. So the unit of
# evidence is the seed: the whole study again with other seeds, as far as `make book` was asked for some or their
# packs lie in `book/packs/`. *Over seeds* is the mean with its 95 % interval by Student's t, on neither side narrower than one
# seed's own interval is on average, and judged by the same rule. But a mean can lie in the range while a seed lies surely
# outside. So:
#
# - A claim **holds over seeds** if the whole interval of the mean lies in its range, and by no seed it does not hold. It **does
#   not hold** if the interval lies outside, and it holds by no seed.
# - It **depends on the seed** (↔) if it holds by some seed or by the mean, and by another seed does not. It is not called
#   holding then, whatever the mean.
# - It is **inconclusive** otherwise. A seed by which it is inconclusive contradicts nothing; it widens the interval of the mean.
#
# Beside the mean stand the least and the greatest value of a seed, and by how many seeds the claim holds (✓), does not (✗) and is
# inconclusive (?). Of three seeds or five all this is a rough guide, above all for ranks, most of which are close to 0. With more
# seeds the mean is surer, and it is likelier that one contradicts.

# %% [markdown] tags=["only-generated"]
# The rule on contradicting seeds was written knowing the verdicts of three seeds of the first `mini`, and before any of the
# present one.

# %% [markdown] tags=["only-generated", "only-trained-dpo"]
# Everything differs between seeds: model, data, pairs, training.

# %% [markdown] tags=["not-generated"]
# Evaluation prompts and texts are the same for all seeds; what is drawn, sampled or trained here differs.

# %% tags=["full-width"]
report_claims.claims_by_seed(*claims_by_seed(results, seeds, packs))

# %% [markdown]
# The share of DPO's effect that each row of [](07_ablation_versus_patching.ipynb) and [](08_controls.ipynb) recovers, by
# seed:

# %% tags=["full-width", "hide-output"]
report_table1.recovered_by_seed(recovered_by_seed(results, seeds, packs))

# %% [markdown] tags=["only-generated"]
# ## Another processor
#
# The same seed on another processor is not the same model. Which instructions a processor has decides in what order
# numbers are added, so that they are rounded otherwise, and pre-training makes much of that. So where a seed of the
# packs in `book/packs/` was also run by `make book`, on whatever machine made these pages, there can be two models of it. The first run is
# the one that counts in the mean over seeds, the other, *again* in the table above, can only contradict: a claim that holds by one and
# does not by the other depends on the seed, too.

# %% tags=["hide-input", "only-generated"]
report_standing.on_another_processor(claims_by_seed(results, seeds, packs)[0])

# %% [markdown] tags=["only-generated"]
# On the first `mini`, another model, three seeds were run with all instructions of an Intel Xeon (AVX-512) and with AVX2 alone, in runs
# that differ in nothing else: 2 to 5 of the 32 verdicts that there were then differed, and between seeds 4 to 7. Of this one, seed 0
# with AVX2 alone was the same model on an Intel Xeon and on an AMD EPYC, with the same tables to the last byte but for a
# few numbers, which differ by less than one part in 10¹⁵.

# %% [markdown]
# (answer-claims)=
# ## The answer

# %% tags=["hide-input"]
report_standing.what_they_carry(results, runs)

# %% [markdown]
# ## How to read the verdicts
#
# Intervals resample prompts, windows of text, random draws or directions, for one model, one probe and one DPO run;
# other seeds, and other processors, can differ by more: run `make book SEEDS="0 1 2"` and look at the table above. Where a claim does not hold here, these are the
# first things to think of:
#
# - **Greedy decoding is a threshold.** A small push that changes which word is the likeliest changes the
#   whole continuation. The column of sampled toxicity in [](07_ablation_versus_patching.ipynb) is free of that
#   threshold; shares there can be smaller or larger.
# - **Size.** In a model of few neurons a handful of them is a large share, and there is less that moves for no
#   reason.
# - **Clamping is not neutral.** The *hold* rows of [](08_controls.ipynb) have nothing of DPO in them. What they do to
#   toxicity and perplexity is due to clamping.
# - **A share need not be about toxicity.** [](06_is_it_special.ipynb) holds it beside other
#   directions, texts and trainings.
#
# ## Exercises
#
# 1. A quantity is .49 with the interval [.46, .52], and the rule is: below .5. What is the verdict, and what could
#    turn it into *holds*?
# 2. Suppose a claim is false, and its quantity lies just outside the range. How often does the rule say *holds*?
#
# ```{admonition} Solutions
# :class: dropdown
# 1. Inconclusive: the interval straddles .5. More prompts narrow it; whether it then lies below .5 is for the
#    measurement to say.
# 2. Only if the whole interval lies inside, so that it misses the true value on one side: in about 2.5 % of samples,
#    as far as the interval keeps what its 95 % promise. Of 40 such claims one is expected to be wrong.
# ```
#
# ## How to change this
#
# A claim is one entry of `lib/dpotox/results/claims.toml`; its quantity is measured in
# `lib/dpotox/paper/evidence.py`. With a narrower range expect more verdicts to be inconclusive.
