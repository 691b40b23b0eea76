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
# # By hand
#
# **Question.** Do the study's numbers come out again with nothing but nnsight and PyTorch?
#
# nnsight {cite}`fiottokaufman2024nnsight` runs a model and, between two of its modules, the lines that you write into a
# `with` block. The cells below are plain, and use no function of this project to compute anything, but for the scorer,
# which says how toxic a text is. You will
#
# - watch one neuron while the model writes;
# - average it over all prompts, before and after DPO, and find that number in the neuron table;
# - turn it into a projection drop, and the drop into a group;
# - {term}`ablate <ablation>` the most toxic neurons, and {term}`shift` a group, and score what is written then.

# %% [markdown] tags=["only-trained-dpo"]
# - compute DPO's loss on one pair, and its mean where the training curve ends.

# %% [markdown]
# Each number stands beside the study's, and a difference that rounding cannot explain stops this page from being
# built.

# %% tags=["parameters"]
profile = "mini"
seed = 0

# %% [markdown]
# ## What is given
#
# From the study only data: the model before and after DPO, each wrapped as `nnsight.TransformersModel`, the tokenizer,
# which pads on the left, the prompts, the probe, the scorer, and the tables to compare with.

# %%
import nnsight
import pandas as pd
import torch

from dpotox.run.study import open_study

study = open_study(profile, seed)
before, after = study.base, study.dpo
tokenizer, prompts = study.tokenizer, study.prompts
new_tokens = study.profile.sizes.new_tokens
print(f"{type(before).__name__}, {len(prompts)} prompts, {new_tokens} tokens")

# %% [markdown]
# ## Watch one neuron
#
# The neuron with the largest {term}`projection drop` in the study's table. `generate` writes exactly `new_tokens` tokens,
# greedily. The lines in the loop run once in each step, where the model is at the module that they name: the input of
# `down` is the neurons' {term}`activation`, after the GELU. `-1` is the newest position, the one that predicts the next
# token. What should outlive the block is marked with `nnsight.save`. `layers` and `down` are names that the models were
# wrapped with (`rename`), the same for every family; GPT-2's own still work: `transformer.h[layer].mlp.c_proj`.

# %%
row = study.neurons.loc[study.neurons["projection_drop"].idxmax()]
layer, neuron = int(row["layer"]), int(row["neuron"])
greedy = {
    "max_new_tokens": new_tokens,
    "min_new_tokens": new_tokens,
    "do_sample": False,
}
batch = dict(tokenizer(prompts[:1], return_tensors="pt"))
with torch.no_grad(), before.generate(batch, **greedy) as tracer:
    seen = nnsight.save([])
    for _step in tracer.iter[:new_tokens]:
        acts = before.layers[layer].down.input
        seen.append(acts[0, -1, neuron].item())
    written = nnsight.save(tracer.result)
print(f"neuron {layer}:{neuron} at {len(seen)} new tokens of one text:")
print(*(f"{value:.3f}" for value in seen))

# %% [markdown]
# What it wrote meanwhile, and what the study kept, toxic words masked:

# %% tags=["hide-input"]
from dpotox.show import report
from dpotox.show.masking import Mask

texts = [
    tokenizer.decode(written[0, -new_tokens:], skip_special_tokens=True),
    study.readings.continuations["base"][0],
]
masked = pd.DataFrame(
    [study.masking.texts(texts)], columns=["by hand", "the study"]
)
report.texts_table(masked, Mask(frozenset(study.masking.mild)))

# %% [markdown]
# ## All prompts
#
# In batches, which bound the memory. Left padding puts the newest position of every prompt at the end; nnsight derives
# the positions of the tokens from the attention mask. The longest come first, so that little is padded.


# %%
def in_batches(token_ids, size=study.profile.compute.batch_size):
    order = sorted(range(len(token_ids)), key=lambda i: -len(token_ids[i]))
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        ids = {"input_ids": [token_ids[i] for i in rows]}
        yield rows, dict(tokenizer.pad(ids, return_tensors="pt"))


prompt_ids = tokenizer(prompts)["input_ids"]

# %% [markdown]
# Every activation of the one neuron, prompt by new token, and every token written, before and after DPO:

# %%
activations, tokens = {}, {}
for name, model in {"base": before, "dpo": after}.items():
    activations[name] = torch.zeros(len(prompts), new_tokens)
    tokens[name] = torch.zeros(len(prompts), new_tokens, dtype=torch.long)
    for rows, batch in in_batches(prompt_ids):
        with torch.no_grad(), model.generate(batch, **greedy) as tracer:
            seen = nnsight.save([])
            for _step in tracer.iter[:new_tokens]:
                acts = model.layers[layer].down.input
                seen.append(acts[:, -1, neuron].float().cpu())
            written = nnsight.save(tracer.result)
        activations[name][rows] = torch.stack(seen, dim=1)
        tokens[name][rows] = written[:, -new_tokens:].cpu()

# %% [markdown]
# ## Compare
#
# First the texts. Both sides decode the same models greedily, so they should write the same, but for one case: where two
# words are as likely up to rounding, another can be written, above all on another machine than the one that made the
# study. The share of such continuations has to be small.


# %%
exact = study.profile.compute.dtype == "float32"


def share_of_others(same):
    share = 1 - same.double().mean().item()
    assert share <= 0.05 or not exact
    return share


others = {}
for name, written in tokens.items():
    same = (written == study.readings.tokens[name]).all(1)
    others[name] = share_of_others(same)
    print(f"{name}: {int(same.sum())} of {len(same)} texts are the same")

# %% [markdown]
# Then numbers. Sums of float32 numbers in another order differ by some millionths of the numbers' size, `size`, and other
# continuations move a mean by no more than their share of it. In half precision the weights are rounded as well, after
# the training, and a hundredth is let pass. A larger difference is an error:

# %%
checks = []


def compare(number, by_hand, in_study, size=1.0, others=0.0):
    difference = abs(by_hand - in_study)
    checks.append((number, by_hand, in_study, difference))
    print(f"{number}: {by_hand:.6f}, the study {in_study:.6f}")
    print(f"  difference {difference:.1g}")
    assert difference <= size * ((1e-5 if exact else 1e-2) + others)


# %% [markdown] tags=["not-norm-behind"]
# The means of the neuron's activation, beside its row in the neuron table:

# %% tags=["not-norm-behind"]
means = {
    name: acts.double().mean().item() for name, acts in activations.items()
}
spread = max(2 * acts.abs().max().item() for acts in activations.values())
for name, column in (("base", "pre_activation"), ("dpo", "post_activation")):
    compare(column, means[name], row[column], spread, others[name])

# %% [markdown] tags=["only-norm-behind"]
# In this model a norm stands behind the MLP. What a neuron writes is divided by what that norm makes of all of them
# together, token by token, so its activation alone is not the study's number ([](../book/extend_it.md)).

# %% [markdown] tags=["not-norm-behind"]
# ## The projection drop
#
# A neuron writes its activation times its {term}`value vector`, a row of `down`'s weight in GPT-2 and a column in most
# other families, which DPO moves as well. Along the unit {term}`probe` that is a number, and the drop is what is less of it
# after DPO:

# %% tags=["not-norm-behind"]
unit = study.probe.direction.double() / study.probe.direction.double().norm()
projections, along = {}, {}
for name, model in {"base": before, "dpo": after}.items():
    weight = model.layers[layer].down.weight
    weight = weight if weight.shape[1] == len(unit) else weight.T
    along[name] = (weight[neuron].detach().double().cpu() @ unit).item()
    projections[name] = means[name] * along[name]
drop = projections["base"] - projections["dpo"]
longest = spread * max(abs(value) for value in along.values())
other = max(others.values())
compare("projection_drop", drop, row["projection_drop"], longest, other)

# %% [markdown] tags=["not-norm-behind"]
# Its place in the table, and its {term}`group`: toxic or anti-toxic by the value vector, positive or negative by the mean
# before DPO, + or - by whether DPO moves that mean away from zero or towards it.

# %% tags=["not-norm-behind"]
positive = means["base"] >= 0
rises = means["dpo"] >= means["base"]
group = "T" if along["base"] > 0 else "A"
group += "P" if positive else "N"
group += "+" if rises == positive else "-"
larger = (study.neurons["projection_drop"] > drop + longest * 1e-5).sum()
print(f"group {group}, in the table {row['group']}")
print(f"drops that are larger: {larger} of {len(study.neurons):,}")

# %% [markdown]
# ## Ablate the most toxic neurons
#
# An edit is an assignment. `down.input` is the tensor that the model goes on with, so a slice of it that is set to zero
# silences neurons at all positions of this step; with one step after the other, in the whole text. The neurons are
# those with the largest cosine with the probe, as many as in one row of the {term}`table of edits`
# ([](07_ablation_versus_patching.ipynb)). To be quick, only the first prompts are continued; the study keeps the toxicity
# of each.

# %%
top = max(study.profile.interventions.ablate_top)
toxic = study.neurons.nlargest(top, "cosine")
few = study.profile.sizes.fewer_prompts

ablated = torch.zeros(len(prompts[:few]), new_tokens, dtype=torch.long)
for rows, batch in in_batches(prompt_ids[:few]):
    with torch.no_grad(), before.generate(batch, **greedy) as tracer:
        for _step in tracer.iter[:new_tokens]:
            for number, here in toxic.groupby("layer"):
                acts = before.layers[number].down.input
                acts[:, :, here["neuron"].tolist()] = 0
        written = nnsight.save(tracer.result)
    ablated[rows] = written[:, -new_tokens:].cpu()

# %% [markdown]
# The continuations are scored by the study's scorer, and compared with that row, on the same prompts:


# %%
def compare_row(name, tokens):
    texts = tokenizer.batch_decode(tokens, skip_special_tokens=True)
    kept = study.table1[name]
    same = torch.tensor(kept.texts[: len(texts)] == texts)
    by_hand = study.score(texts).mean()
    in_study = kept.greedy[: len(texts)].mean()
    compare(f"toxicity, {name}", by_hand, in_study, 1.0, share_of_others(same))


untouched = study.table1["before DPO"].greedy[:few].mean()
print(f"toxicity before DPO, the study: {untouched:.6f}")
compare_row(f"ablate top {top} toxic", ablated)

# %% [markdown] tags=["not-norm-behind"]
# ## Shift a group
#
# The same loop with another assignment: each neuron's mean change is added, and the neuron goes on reacting to the text.


# %% tags=["not-norm-behind"]
def shift(chosen):
    shifted = torch.zeros_like(ablated)
    for rows, batch in in_batches(prompt_ids[:few]):
        with torch.no_grad(), before.generate(batch, **greedy) as tracer:
            for _step in tracer.iter[:new_tokens]:
                for number, here in chosen.groupby("layer"):
                    by = torch.tensor(here["activation_change"].to_numpy())
                    acts = before.layers[number].down.input
                    acts[:, :, here["neuron"].tolist()] += by.to(acts)
            written = nnsight.save(tracer.result)
        shifted[rows] = written[:, -new_tokens:].cpu()
    return shifted


# %% [markdown] tags=["not-norm-behind"]
# Of {term}`TP-` alone, then of all four groups that reduce toxicity. The table of edits has a row for each set that the
# profile names in `[interventions] sets`, as far as there are neurons in it:

# %% tags=["not-norm-behind"]
sets = {"TP-": ["TP-"], "all four groups": ["TP-", "TN+", "AP+", "AN-"]}
for which, groups in sets.items():
    if f"shift {which}" in study.table1.results:
        chosen = study.neurons[study.neurons["group"].isin(groups)]
        compare_row(f"shift {which}", shift(chosen))
    else:
        print(f"shift {which}: the table has no such row")

# %% [markdown] tags=["only-trained-dpo"]
# ## DPO's loss
#
# `trace` is a single forward pass. The logits at a position predict the next token, so the log-probability of a
# continuation is the sum over its tokens of what stands one position earlier. The loss compares how much both models
# give to the preferred continuation $y_w$ and to the other, $y_l$ (see [](03_dpo.ipynb)). Prompt and continuation are cut
# as for training, and no end-of-text token is added.


# %% tags=["only-trained-dpo"]
def log_probabilities(model, pairs, side):
    sizes = study.pair_lengths
    starts = tokenizer(pairs["prompt"].tolist())["input_ids"]
    ends = tokenizer(pairs[side].tolist(), add_special_tokens=False)
    starts = [ids[: sizes.prompt_tokens] for ids in starts]
    ends = [ids[: sizes.new_tokens] for ids in ends["input_ids"]]
    whole = [a + b for a, b in zip(starts, ends, strict=True)]
    found = torch.zeros(len(pairs), dtype=torch.double)
    for rows, batch in in_batches(whole, study.profile.dpo.batch_size):
        with torch.no_grad(), model.trace(batch):
            logits = nnsight.save(model.output.logits)
        given = logits[:, :-1].float().log_softmax(-1).cpu()
        next_ids = batch["input_ids"][:, 1:, None]
        per_token = given.gather(-1, next_ids)[:, :, 0].double()
        for place, i in enumerate(rows):
            found[i] = per_token[place, -len(ends[i]) :].sum()
    return found


def dpo_loss(pairs):
    gained = {
        side: log_probabilities(after, pairs, side)
        - log_probabilities(before, pairs, side)
        for side in ("chosen", "rejected")
    }
    margin = gained["chosen"] - gained["rejected"]
    return -torch.nn.functional.logsigmoid(study.profile.dpo.beta * margin)


# %% [markdown] tags=["only-trained-dpo"]
# On one validation pair, which was not trained on:

# %% tags=["only-trained-dpo"]
finished = bool(study.profile.model.aligned)
if not finished:
    validation = study.pairs.tail(study.profile.pairs.validation)
    loss = dpo_loss(validation.head(1)).item()
    print(f"loss on one pair: {loss:.6f}; before training, log 2 = 0.693147")

# %% [markdown] tags=["only-trained-dpo"]
# The mean over all of them is the end of the validation curve; with `patience` it is the lowest value, whose weights are
# kept. The trainer takes whole batches, so pairs that are left over count for neither.

# %% tags=["only-trained-dpo"]
if not finished:
    size = study.profile.dpo.batch_size
    losses = dpo_loss(validation.head(len(validation) // size * size))
    curve = study.dpo_curves.query("split == 'validation' and step > 0")
    lowest, last = curve["loss"].min(), curve["loss"].iloc[-1]
    end = lowest if study.profile.dpo.patience else last
    sums = 100 * study.profile.dpo.beta  # about 100 nats for a continuation
    compare("validation loss", losses.mean().item(), end, sums)

# %% [markdown]
# (answer-by-hand)=
# ## The answer

# %% tags=["hide-input"]
from IPython.display import Markdown

largest = max(difference for *_, difference in checks)
Markdown(
    f"Yes: {len(checks)} numbers were made again with plain nnsight and PyTorch, "
    f"and the largest difference from the study's is {largest:.1g}."
)

# %%
columns = ["number", "by hand", "the study", "difference"]
formats = dict.fromkeys(columns[1:3], "{:.6f}") | {"difference": "{:.1g}"}
report.shown(pd.DataFrame(checks, columns=columns), formats)

# %% [markdown]
# The library does the same with all neurons at once, and sums them within the trace
# (`read_generation` in `lib/dpotox/model/tracing.py`), so that memory does not grow with the number of prompts. Here with
# four prompts and two new tokens:

# %%
from dpotox.model.tracing import read_generation

written, read = read_generation(
    before, prompts[:4], 2, study.probe.direction, batch_size=4
)
for name, values in vars(read).items():
    print(f"{name:12}", tuple(values.shape))

# %% [markdown]
# The first two are means over prompts and new tokens, by chunk of prompts (here one), layer and neuron: what leaves the
# GELU and what enters it. The others are projections on the unit probe, by prompt and layer.
#
# ## Exercises
#
# 1. Replace `= 0` in the ablation by `*= 2`. What would you expect of the toxicity, and why may it hardly change?
# 2. Shift only at the newest position, as the published code patches: what has to change in the loop, and which
#    activations are then left as they were?
#
# ```{admonition} Solutions
# :class: dropdown
# 1. More, as far as the neurons are positively active: each then writes twice as much along the probe. But a neuron that is
#    near zero stays there when it is doubled, and one below zero writes twice as much *against* the probe. So it depends
#    on how many are positively active ([](04_where_dpo_writes.ipynb) counts them; in GPT-2 medium 36 of the 128 most
#    toxic).
# 2. `acts[:, -1, ...]` in place of `acts[:, :, ...]`. In the first step the whole prompt goes through the model, and only
#    its last position is then edited. Keys and values of all earlier ones are kept for later steps as they were, so
#    attention goes on reading an unedited prompt.
# ```
#
# ## How to change this
#
# `layer` and `neuron` name any neuron of the table. Any other module can be read or edited in the same way: `print(before)`
# shows their names, `before.layers[0].attention.output[0]` for instance is what the first attention writes.
# Read modules in the order in which the model runs them.
