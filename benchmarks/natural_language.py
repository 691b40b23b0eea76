"""The whole study on a small model pre-trained on text files of one's own, such as real comments.

    python benchmarks/natural_language.py --comments train.csv --prompts prompts.jsonl \
        --text wiki.train.txt --held-out wiki.test.txt

Formats: comments as Jigsaw's `train.csv`, prompts as RealToxicityPrompts' jsonl, the texts as text files.
The model is trained on the comments and on `--text`; pairs begin with sentences of `--text`; perplexity and
F1 are measured on `--held-out`. The scorer is a classifier of words, trained on comments that
the probe does not use.
Writes a profile to `artifacts/`, makes its book and the tables `natural_language_*.csv`; steps that are there
are used again.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import pandas as pd
from machine import write

from dpotox.paper.groups import REDUCING, group_quantities
from dpotox.paper.published import published_groups
from dpotox.places import PROJECT
from dpotox.results.folder import Results, open_results
from dpotox.show.report import interval, number

PROFILE = """# Written by benchmarks/natural_language.py.
title = "a small GPT-2 pre-trained here on real comments and encyclopedia text"

[model]
base = "embedded"

[pretraining]
texts = ['{comments}', '{text}']
vocabulary = 4096
passes = {passes}
dropout = 0.05
layers = 6
d_model = 192
heads = 6
d_mlp = 768
init_std = 0.06
mlp_bias = -1.0
rows = 100000
words = 47
batch_size = 32
muon_lr = 0.02
muon_weight_decay = 0.15
adamw_lr = 0.003
warmup_steps = 50
decay_share = 0.5

[data]
comments = '{comments}'
prompts = '{prompts}'
text = '{held_out}'
references = '{held_out}'
pair_text = '{text}'

[sizes]
comments = 4000
prompts = 1199
prompt_tokens = 24
new_tokens = 20
text_windows = 400
window_tokens = 48
references = 300
chunks = 20

[probe]
C = [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0]
max_tokens = 48

[scorer]
name = "trained"
mask_from = {mask_from}

[pairs]
count = 1500
samples = 8
margin = 0.3
steering = [2.0, 4.0, 8.0]
prompt_tokens = 24
new_tokens = 20
validation = 64

[dpo]
beta = 0.1
learning_rate = 1e-5
optimizer = "adamw_torch"
schedule = "linear"
batch_size = 16
steps = 180
eval_every = 20

[interventions]
ablate_top = [5, 9, 47]
ablate_top_positive = [5, 9, 47, 94]
scale_top = 7
scale_factors = [2.0, 5.0, 10.0]
figure_top = 47
sets = ["TP-", "all four groups", "the other four groups", "all neurons"]
draws = 5

[compute]
threads = 2
batch_size = 300
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("comments", "prompts", "text", "held-out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--passes", type=int, default=4, help="over the texts; decides the time (default 4)")
    parser.add_argument("--seed", default="0")
    parser.add_argument(
        "--no-texts", action="store_true", help="hide every word, for a pack that others may have"
    )
    arguments = parser.parse_args()
    paths = {k: v.resolve() for k, v in vars(arguments).items() if isinstance(v, Path)}
    profile = PROJECT / "artifacts" / "natural-language.toml"
    profile.parent.mkdir(exist_ok=True)
    profile.write_text(
        PROFILE.format(**paths, passes=arguments.passes, mask_from=0.0 if arguments.no_texts else 0.45),
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "dpotox.run.book", "--profile", str(profile), "--seeds", arguments.seed]
    if failed := subprocess.call(command, cwd=PROJECT):
        return failed
    results = open_results(profile, int(arguments.seed))
    for name, table in (("claims", claims(results)), ("shares", shares(results)), ("edits", edits(results))):
        write(f"natural_language_{name}", table.replace("-", "none"))  # a lone hyphen would begin a list
    return 0


def claims(results: Results) -> pd.DataFrame:
    """Every claim with the published value, the value here and the verdict."""
    rows = [
        (c.statement, c.source, number(c.paper), interval(c.here, c.low, c.high), c.verdict)
        for c in results.claims.itertuples()
    ]
    return pd.DataFrame(rows, columns=["claim", "source", "published", "here", "verdict"])


def shares(results: Results) -> pd.DataFrame:
    """The groups' shares of gross: published, here on either text, and along directions that mean nothing."""
    quantities = {group: f"{group} share of gross" for group in REDUCING}
    quantities |= {"increase / gross": "increase / gross reduction"}
    published = group_quantities(published_groups())
    rows = {"GPT-2 medium, published": {n: number(published[q]) for n, q in quantities.items()}}
    here = results.comparisons.set_index(["place", "quantity"])["value"]
    for text in ("own", "same"):
        rows[f"here, {text} text"] = {n: number(here[text, q]) for n, q in quantities.items()}
        for kind in ("random", "matched"):
            some = results.other_directions.query("kind == @kind and text == @text")
            ends = some[list(quantities.values())].quantile([0.025, 0.975])
            middle = {
                n: f"{number(ends[q].iloc[0])} to {number(ends[q].iloc[1])}" for n, q in quantities.items()
            }
            rows[f"95 % of {len(some)} {kind} directions, {text} text"] = middle
    return pd.DataFrame.from_dict(rows, orient="index").fillna("-").reset_index(names="along")


def edits(results: Results) -> pd.DataFrame:
    """What each edit of the model before DPO recovers, greedy and sampled."""
    table = results.table1.query("model == 'base' and kind != 'none'")
    rows = [
        (
            row.name,
            interval(row.recovered, row.recovered_low, row.recovered_high),
            interval(row.recovered_sampled, row.recovered_sampled_low, row.recovered_sampled_high),
        )
        for row in table.itertuples(index=False)
    ]
    return pd.DataFrame(rows, columns=["edit", "greedy", "sampled"])


if __name__ == "__main__":
    sys.exit(main())
