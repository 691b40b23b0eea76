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
# # Token by token
#
# **Question.** What happens, word by word? [](07_ablation_versus_patching.ipynb) and [](08_controls.ipynb) say how
# toxic whole continuations are under each edit. Here you can watch a few of them being written.

# %% tags=["parameters"]
profile = "mini"
seed = 0

# %% tags=["hide-input"]
from dpotox.results.folder import open_results
from dpotox.show import report, step_through

results = open_results(profile, seed)
table = results.step_through
print(
    f"profile {results.profile.name}, seed {results.seed}: {table['number'].nunique()} prompts, {table['condition'].nunique()} conditions"
)

# %% [markdown]
# ## How to read it
#
# Each lane is one model or one edit. All of them continue the same prompt greedily, that is, with the likeliest token each
# time, and in step. The line is the {term}`projection` of the last layer's {term}`residual stream` on the unit
# {term}`probe`, at the position that predicts the token. The higher it is, the further the model leans towards the toxic
# direction as it chooses its next token.
#
# Move with the slider, with the buttons or, after a click anywhere in the lanes, with the arrow keys, and see where a lane
# leaves the first one.

# %% tags=["full-width"]
step_through.page(results)

# %% [markdown]
# The edits are rows of the tables of [](07_ablation_versus_patching.ipynb) and [](08_controls.ipynb); the ablation is the
# one of [](04_where_dpo_writes.ipynb). {term}`Ablations <ablation>` and a {term}`patch <patching>` at the newest position are the
# paper's {cite}`yang2024ablation`; a {term}`shift` or {term}`copy` is ours. *Toxicity so far* is that of the text up to the token, by the
# study's scorer.
#
# ## Which prompts

# %%
step_through.rule(results)

# %% [markdown]
# ## The same as numbers
#
# Means over the prompts shown; every token is in `results/step_through.csv`, with toxic words masked.

# %%
report.shown(step_through.by_condition(table).reset_index())

# %% [markdown]
# ## The answer

# %% tags=["hide-input"]
step_through.answer(results)

# %% [markdown]
# These are a few prompts, chosen by a rule; what holds for all prompts, with intervals, is in
# [](07_ablation_versus_patching.ipynb) and [](08_controls.ipynb).
#
# ## How to change this
#
# `SHOWN` in `lib/dpotox/run/per_token.py` is the number of prompts, and `conditions` there names the edits: any row of
# those two chapters can stand beside the others. `[sizes] new_tokens` is the number of tokens; more of them give edits
# more time to part from each other.
#
# ## Exercises
#
# **1.** At which token is the largest gap between the projections before and after DPO, for each prompt? Does it
# lie before or after the first token that differs?
#
# ```{admonition} Solution
# :class: dropdown
# The folded cell lists both. Up to and with the first token that differs, both models have read the same text, so a
# gap there is due to the model alone. A later gap is due to the other words as well.
# ```

# %% tags=["hide-cell"]
wide = table.pivot(index=["number", "step"], columns="condition")
values, ids = wide["projection"], wide["token_id"]
gap = values["before DPO"] - values["after DPO"]
differs = ids["before DPO"] != ids["after DPO"]
largest = gap.groupby("number").idxmax().str[1].rename("largest gap at")
first = differs[differs].reset_index().groupby("number")["step"].first()
report.shown(
    largest.to_frame().join(first.rename("first other token at")).reset_index()
)

# %% [markdown]
# **2.** Does the projection say what comes? Compare its mean at the tokens that raise the toxicity so far with
# its mean at the others, before DPO.
#
# ```{admonition} Solution
# :class: dropdown
# The folded cell has both means. The probe was fitted to mean features of whole comments, not to single positions, so
# nothing says that it must peak just there. With so few tokens, look at the counts before you believe a difference.
# ```

# %% tags=["hide-cell"]
before = table[table["condition"] == "before DPO"]
so_far = before.groupby("number")["toxicity"]
raises = so_far.diff().fillna(before["toxicity"]) > 0
before.groupby(raises.rename("raises toxicity"))["projection"].agg(
    ["mean", "count"]
).reset_index()
