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
# **Question.** Which model do we study, and how good is it?
#
# The paper studies GPT-2 medium. Which model this book studies is said by a {term}`profile`, a file of settings.

# %% [markdown] tags=["only-generated"]
# This one studies a {term}`model organism`: a small model with GPT-2's architecture, pre-trained on the spot on a
# generated language whose every toxic word is known. What holds in it need not hold in GPT-2 medium, and the other
# way round.

# %% [markdown] tags=["only-made-here", "not-generated"]
# This one studies a model with GPT-2's architecture that is pre-trained on the spot, on text files.

# %% [markdown] tags=["not-made-here"]
# This one studies a model that is given: its weights come from a folder or from the hub.

# %% [markdown]
# How good a model is, is measured by its *loss*: how surprised it is by each next token of a text. That is $-\ln p$ in the
# mean, where $p$ is the probability that the model gave to the token. The unit is the {term}`nat`. Lower is better.

# %% tags=["parameters"]
profile = "mini"
seed = 0

# %% tags=["hide-input"]
import pandas as pd

from dpotox.inputs import data
from dpotox.inputs.language import Language
from dpotox.results.folder import open_results
from dpotox.show import answers, figures, lessons, report
from dpotox.show.masking import Mask

figures.use_style()
results = open_results(profile, seed)
shape, loss = results.record.shape, results.record.loss
print(f"profile {results.profile.name}, seed {results.seed}")

# %% [markdown]
# ## What was learnt

# %% tags=["hide-input"]
lessons.model(results)

# %% [markdown] tags=["only-generated"]
# ## Pre-training
#
# The model is trained from random weights on a generated language. Every draw of the generator is recorded, so the
# information in a document's complete sentences is known. An ideal model would lose just that much on them, as no other
# draws spell the same words. {numref}`fig-pretraining` shows how near this one comes. Its dot is for complete sentences
# only.

# %% [markdown] tags=["only-made-here", "not-generated"]
# ## Pre-training
#
# The model is trained from random weights on text files. How well an ideal model would do on such text is not known, so
# {numref}`fig-pretraining` sets this one beside a model that knows only how frequent each token is.

# %% tags=["only-made-here"] mystnb={"figure": {"caption": "How much has the model learnt? Look at how near the dot comes to the dashed line. Line: loss of training batches. Dot: loss on unseen text. Dashed: the loss to compare it with.", "name": "fig-pretraining"}, "image": {"alt": "Line falling from above 4 nats, a dot at its end and a dashed line to compare it with"}}
if loss:
    figure = figures.pretraining_curve(results.pretraining, loss)

# %% [markdown] tags=["only-generated"]
# ## The generated language
#
# Every document has hidden traits: how strongly its author tends to each kind of toxicity, its topic and its style. Each
# choice of a sentence pattern, of a word class and of a word leans towards them. Here are two documents by authors without
# any toxicity, and two for each kind by authors given to that kind alone. Words that are toxic by themselves are masked:

# %% tags=["hide-input", "only-generated"]
language = Language(results.profile.pretraining.language)
rng, kinds = data.stream("show", seed), list(language.kinds[0])
authors = {"none": {}} | {kind: {kind: 1.0} for kind in kinds}
samples = [
    {
        "kind": name,
        "document": " ".join(
            language.sample(rng, 30, **dict.fromkeys(kinds, 0.0) | levels).words
        ),
    }
    for name, levels in authors.items()
    for _ in range(2)
]
mask = Mask.of(results)
report.texts_table(pd.DataFrame(samples), mask, {})

# %% [markdown] tags=["only-generated"]
# Every toxic word $w$ has a severity $s_w$, all others have 0. In the rich language some words hurt only when they are said to
# somebody: *pig* after *you* in the same sentence, *smash* before *you* or *your*. Elsewhere they are an animal and a verb. A
# text's true toxicity follows:
#
# $$\text{toxicity} = 1 - \exp\Big(-1.2 \sum_w s_w\Big)$$
#
# The table shows the toxicity of 20 words from the middle of a document by the level (0 to 1) of the author's strongest kind: the
# mean, and the share of documents with any. Friendly authors use toxic words too, and hostile ones not always:

# %% tags=["only-generated"]
documents = [language.sample(rng) for _ in range(3_000)]
truth = pd.DataFrame(
    {
        "strongest kind": d.hostility,
        "toxicity": language.toxicity(" ".join(d.words[15:35])),
    }
    for d in documents
)
truth.groupby("strongest kind")["toxicity"].agg(
    mean="mean", any=lambda t: (t > 0).mean()
).T.round(2)

# %% [markdown]
# ## Its shape
#
# The {term}`residual stream` is what every layer reads from and adds to; a {term}`neuron` is one unit of a layer's
# {term}`MLP`.

# %% tags=["hide-input"]
facts = {
    "layers": shape.layers,
    "numbers in the residual stream (d_model)": shape.d_model,
    "neurons per layer (d_mlp)": shape.d_mlp,
    "neurons": shape.layers * shape.d_mlp,
    "tokens in the vocabulary": shape.vocabulary,
    "parameters": shape.parameters,
}
if loss:
    facts |= {
        "loss, nats per token": loss.loss,
        "token frequencies alone": loss.unigram,
    }
if loss and loss.bound:
    facts |= {
        "information in the text (an ideal model)": loss.bound,
        "above that": loss.loss - loss.bound,
    }
report.shown(pd.DataFrame(facts.items(), columns=["fact", "value"]))

# %% [markdown] tags=["only-generated"]
# What was tried to bring this model nearer to GPT-2 medium is told in [](../book/embedded_model.md), and what
# a model of the same kind does on natural text in [](../book/natural_language.md).

# %% [markdown]
# (answer-model)=
# ## The answer

# %% tags=["hide-input"]
answers.model(loss)

# %% [markdown] tags=["only-generated"]
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

# %% [markdown] tags=["not-generated"]
# ## Exercises
#
# 1. A model holds all of its 4,096 tokens equally likely. How many nats does it lose per token, and how large is its
#    perplexity?
# 2. GPT-2 medium has 24 layers and $d_\text{model} = 1024$, and each MLP is four times as wide. How many neurons are
#    that?
#
# ```{admonition} Solutions
# :class: dropdown
# 1. $\ln 4096 = 8.3$; its perplexity is the number of tokens, 4,096.
# 2. $24 \cdot 4 \cdot 1024 = 98{,}304$.
# ```

# %% [markdown]
# ## How to change this

# %% [markdown] tags=["only-generated"]
# Words, patterns and preferences are in `lib/dpotox/inputs/languages/`.

# %% [markdown] tags=["only-made-here"]
# The model's size and training are in `[pretraining]` of the profile. A wider `d_mlp` gives more neurons; fewer
# `rows` a worse model, whose dot in {numref}`fig-pretraining` stays further from the dashed line.

# %% [markdown] tags=["not-made-here"]
# `[model] base` names another folder, or another model on the hub; [](../book/own_model_and_data.md) says which work.
