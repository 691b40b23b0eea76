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
# # Results by others
#
# **Question.** What came out in other runs: other seeds, untrained networks, and whatever else is put here?
#
# A {term}`pack` is one file with the results of one run: its tables, its settings, and what made it, but no model. Toxic
# words that are not mild are masked before results are kept. This page lists the packs that lie in `book/packs/`, beside the run that these pages are of. So far they are the project's own;
# yours is welcome.

# %% tags=["parameters"]
profile = "mini"
seed = 0

# %% tags=["hide-input"]
from dpotox.places import PROJECT
from dpotox.results.folder import open_results
from dpotox.results.pack import packs_in
from dpotox.show import report_packs

results = open_results(profile, seed)
packs, refused = packs_in(PROJECT / "book" / "packs")
runs = {"these pages": results} | packs
print(f"{len(packs)} packs, {len(refused)} that cannot be opened")

# %% [markdown]
# ## The runs

# %% tags=["full-width", "hide-input"]
report_packs.runs(runs)

# %% [markdown]
# *Steps* is the time of everything but notebooks and pages; *memory* is the most that the process of a step held. A commit
# with a plus had changes that were not committed. *Measured by* is about the code behind the claims' quantities, of which newer
# packs tell the hash. A *small* pack has the tables that are compared, and no book can be made
# of it ([](../book/results.md)).
#
# ## Shares of the gross reduction

# %% tags=["hide-input"]
report_packs.shares(runs)

# %% [markdown]
# ## The claims
#
# Values with their intervals (none where DPO has no sure effect), each for one model. A pack brings values only; the verdicts follow from the rules of
# [](10_claims.ipynb), those of this version.

# %% tags=["full-width", "hide-input"]
report_packs.claims(runs)

# %% [markdown]
# ## What could not be opened
#
# A pack may come from anyone. Before anything of it is shown, every file is checked for its name, its size and its schema;
# nothing in it is executed, and text is shown as text.

# %% tags=["hide-input"]
report_packs.refused(refused)

# %% [markdown]
# ## The answer

# %% tags=["hide-input"]
report_packs.answer(runs)

# %% [markdown]
# ## How to change this
#
# `make pack PROFILE=... SEED=...` writes a pack of your own results. Put it into `book/packs/` and run `make book` to see
# it here, or open it whole with `make book FROM=file.zip`; [](../book/results.md) says what is in it. Take a pack away
# to remove its column.
#
# ## Exercise
#
# Why are verdicts not taken from the pack?
#
# ```{admonition} Solution
# :class: dropdown
# Rules change between versions, and whoever makes a pack could write any verdict into it. A value can be wrong as well,
# but then it is a wrong measurement, which a second run can find out.
# ```
