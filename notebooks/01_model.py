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
# # The model under study
#
# **Question.** What do we study where GPT-2 medium cannot be downloaded, and is it good enough to stand
# in for it?
#
# The book runs on a {term}`profile`. The profile `gpt2-medium` studies the paper's own model. The default,
# `mini`, studies a {term}`model organism`: a small model with GPT-2's architecture, pre-trained on the spot on a
# generated language whose every toxic word is known. What holds in one need not hold in the other; that is a reason
# to have both.

# %% tags=["parameters"]
profile = "mini"
seed = 0

# %% tags=["hide-input"]
import json

import pandas as pd

from dpotox import answers, data, figures, report
from dpotox.language import Language
from dpotox.pretraining import LossReport
from dpotox.profile import EMBEDDED
from dpotox.study import open_study

figures.use_style()
study = open_study(profile, seed)
made_here = study.profile.model.base == EMBEDDED
generated = made_here and not study.profile.pretraining.texts
print(f"profile {study.profile.name}, seed {study.seed}: {study.profile.title}")

# %% [markdown]
# ## The generated language
#
# This is what the embedded model of `mini` learns; a profile with a model of its own skips it. Every document
# has three hidden traits: how hostile its author is, the topic, and the style. They tilt each choice of a
# sentence pattern, of a kind of word and of a word. Two documents of each level of hostility:

# %% tags=["hide-input"]
language, rng = Language(), data.stream("show", seed)
samples = [
    {
        "hostility": level,
        "document": " ".join(language.sample(rng, 30, level).words),
    }
    for level in language.data["hostility"]["levels"]
    for _ in range(2)
]
report.texts_table(
    pd.DataFrame(samples), study.mask(), {"hostility": "{:.2f}"}
) if generated else None

# %% [markdown]
# A text's true toxicity follows from the severities $s_w$ of its words:
#
# $$\text{toxicity} = 1 - \exp\Big(-1.2 \sum_w s_w\Big)$$
#
# Mean toxicity of 20 words from the middle of a document, by the author's hostility. Friendly authors do
# use toxic words and hostile ones do not always:

# %%
documents = [language.sample(rng) for _ in range(3_000)]
truth = pd.DataFrame(
    {
        "hostility": d.hostility,
        "toxicity": language.toxicity(" ".join(d.words[15:35])),
    }
    for d in documents
)
truth.groupby("hostility")["toxicity"].agg(
    mean="mean", any=lambda t: (t > 0).mean()
).T.round(2) if generated else None

# %% [markdown]
# ## Pre-training
#
# A model that is made here, on the generated language or on text files, is trained from random weights. Since
# every draw of the generator is recorded, the information in a document's complete sentences is known. It is
# what an ideal model would lose on them, but for the rare case that different draws spell the same words. Where a
# model is made here, {numref}`fig-pretraining` shows how near it comes.

# %% mystnb={"figure": {"caption": "Loss of a model made here during pre-training: of training batches (line) and on unseen text (dot; of the generated language, complete sentences only). Dashed: the mark to compare the dot with, which is the generator's information in those same sentences, or for text files the loss of a model that knows token frequencies alone.", "name": "fig-pretraining"}, "image": {"alt": "Line falling from above 4 nats, a dot at its end and a dashed line to compare it with"}}
if made_here:
    curve = pd.read_csv(study.base_folder / "curve.csv")
    loss = LossReport(
        **json.loads((study.base_folder / "loss.json").read_text())
    )
    figure = figures.pretraining_curve(curve, loss)

# %% tags=["hide-input"]
config = study.base.config
facts = {
    "layers": config.n_layer,
    "d_model": config.n_embd,
    "d_mlp": config.n_inner or 4 * config.n_embd,
    "neurons": config.n_layer * (config.n_inner or 4 * config.n_embd),
    "tokens in the vocabulary": config.vocab_size,
    "parameters": sum(p.numel() for p in study.base.parameters()),
}
if made_here:
    facts |= {
        "loss, nats per token": loss.loss,
        "token frequencies alone": loss.unigram,
    }
if generated:
    facts |= {
        "generator's bound": loss.bound,
        "above the bound": loss.excess,
    }
report.shown(pd.DataFrame(facts.items(), columns=["fact", "value"]))

# %% [markdown]
# What was tried to bring the embedded model nearer to GPT-2 medium is told in [](../book/embedded_model.md), and what
# a model of the same kind does on natural text in [](../book/natural_language.md).
#
# (answer-model)=
# ## The answer

# %% tags=["hide-input"]
answers.model(loss if made_here else None)

# %% [markdown]
# ## Exercises
#
# 1. A text has two words of severity .5. How toxic is it, and how many such words make a toxicity of .9?
# 2. Why is the generator's information a bound for complete sentences only?
#
# ```{admonition} Solutions
# :class: dropdown
# 1. $1 - e^{-1.2 \cdot 1} = .70$. For .9 the severities must sum to $\ln(10) / 1.2 = 1.92$: four such words.
# 2. A sentence that is cut off has cost draws for words that are not there. The information in those draws would be
#    counted, and no model could lose it.
# ```
#
# ## How to change this
#
# Words, patterns and preferences are in `lib/dpotox/language.toml`; the model's size and training are in
# `[pretraining]` of the profile. A wider `d_mlp` gives more neurons; fewer `rows` a worse model, whose dot in
# {numref}`fig-pretraining` stays further above the dashed line.
