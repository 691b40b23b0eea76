"""The study on small models of two sizes, pre-trained on text files of one's own, such as real comments.

    python benchmarks/natural_language.py --comments train.csv --prompts prompts.jsonl \
        --text wiki.train.txt --held-out wiki.test.txt

Formats: comments as Jigsaw's `train.csv`, prompts as RealToxicityPrompts' jsonl, the texts as text files.
The model is trained on the comments and on `--text`; pairs begin with sentences of `--text`; perplexity and
F1 are measured on `--held-out`. The scorer is a classifier of words, trained on comments that
the probe does not use.
Writes a profile of each size to `artifacts/`, makes its results, a small pack of them in `artifacts/` and the
tables `natural_language_*.csv`; steps that are there are used again. `make book PROFILE=...` makes the pages.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import pandas as pd
import torch
from machine import write

from dpotox.paper.groups import REDUCING, group_quantities
from dpotox.paper.published import published_groups
from dpotox.places import PROJECT
from dpotox.results import pack
from dpotox.results.folder import Results, open_results
from dpotox.show.report import interval, number

PROFILE = """# Written by benchmarks/natural_language.py.
title = "a GPT-2 of {neurons:,} neurons, pre-trained here on real comments and encyclopedia text"

[model]
base = "embedded"

[pretraining]
texts = ['{comments}', '{text}']
vocabulary = 4096
passes = {passes}
dropout = 0.05
layers = {layers}
d_model = {width}
heads = {heads}
d_mlp = {d_mlp}
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
ablate_top = {ablate_top}
ablate_top_positive = {ablate_top_positive}
scale_top = {scale_top}
scale_factors = [2.0, 5.0, 10.0]
figure_top = {figure_top}
sets = ["TP-", "all four groups", "the other four groups", "all neurons"]
draws = 5

[compute]
threads = {threads}
batch_size = 300
"""
SIZES = {"small": (4, 128, 512), "middle": (6, 192, 768)}
"""Layers, width and neurons of a layer; a head is 32 wide."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("comments", "prompts", "text", "held-out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--passes", type=int, default=4, help="over the texts; decides the time (default 4)")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--no-texts", action="store_true", help="hide every word, so that the results give nobody's text away"
    )
    arguments = parser.parse_args()
    found = {}
    for size in arguments.sizes:
        profile = write_profile(arguments, size)
        some = [sys.executable, "-m", "dpotox.run.book", "--profile", str(profile), "--results"]
        if failed := subprocess.call([*some, "--seeds", str(arguments.seed)], cwd=PROJECT):
            return failed
        found[size] = open_results(profile, arguments.seed)
        pack.write(found[size], profile.with_name(f"{profile.stem}-seed{arguments.seed}.zip"), small=True)
    for name, table_of in (("claims", claims), ("shares", shares), ("edits", edits)):
        write(f"natural_language_{name}", table_of(found).replace("-", "none"))  # a lone hyphen begins a list
    return 0


def write_profile(arguments: argparse.Namespace, size: str) -> Path:
    """Write the profile of a size."""
    layers, width, d_mlp = SIZES[size]
    paths = {k: v.resolve() for k, v in vars(arguments).items() if isinstance(v, Path)}
    neurons = layers * d_mlp
    few, some, many = (max(1, round(neurons * share)) for share in (0.001, 0.002, 0.01))
    shape = {
        **{"layers": layers, "width": width, "heads": width // 32, "d_mlp": d_mlp, "neurons": neurons},
        **{"ablate_top": [few, some, many], "ablate_top_positive": [few, some, many, 2 * many]},
        **{"scale_top": round(neurons * 7 / 4_608), "figure_top": many},
    }
    mask_from = 0.0 if arguments.no_texts else 0.45
    profile = PROJECT / "artifacts" / f"natural-language-{size}.toml"
    profile.parent.mkdir(exist_ok=True)
    others = {"passes": arguments.passes, "mask_from": mask_from, "threads": torch.get_num_threads()}
    profile.write_text(PROFILE.format(**paths, **shape, **others), encoding="utf-8")
    return profile


def claims(found: dict[str, Results]) -> pd.DataFrame:
    """Every claim with the published value, and the value and verdict at each size."""
    first = next(iter(found.values())).claims
    table = first[["statement", "source"]].rename(columns={"statement": "claim"})
    table = table.assign(published=first["paper"].map(number))
    for size, results in found.items():
        here = [interval(*ends) for ends in results.claims[["here", "low", "high"]].itertuples(index=False)]
        table = table.assign(**{size: here, f"verdict, {size}": list(results.claims["verdict"])})
    return table


def shares(found: dict[str, Results]) -> pd.DataFrame:
    """The groups' shares of gross: published, here on either text, and along directions that mean nothing."""
    quantities = {group: f"{group} share of gross" for group in REDUCING}
    quantities |= {"increase / gross": "increase / gross reduction"}
    published = group_quantities(published_groups())
    rows = {"GPT-2 medium, published": {n: number(published[q]) for n, q in quantities.items()}}
    for size, results in found.items():
        here = results.comparisons.set_index(["place", "quantity"])["value"]
        for text in ("own", "same"):
            rows[f"{size}, {text} text"] = {n: number(here[text, q]) for n, q in quantities.items()}
            for kind in ("random", "matched"):
                some = results.other_directions.query("kind == @kind and text == @text")
                ends = some[list(quantities.values())].quantile([0.025, 0.975])
                middle = {
                    n: f"{number(ends[q].iloc[0])} to {number(ends[q].iloc[1])}"
                    for n, q in quantities.items()
                }
                rows[f"{size}, 95 % of {len(some)} {kind} directions, {text} text"] = middle
    return pd.DataFrame.from_dict(rows, orient="index").fillna("-").reset_index(names="along")


def edits(found: dict[str, Results]) -> pd.DataFrame:
    """What each edit of the model before DPO recovers at each size, greedy and sampled."""
    columns = {}
    for size, results in found.items():
        table = results.table1.query("model == 'base' and kind != 'none'").set_index("name")
        for ending in ("", "_sampled"):
            ends = table[[f"recovered{ending}{end}" for end in ("", "_low", "_high")]]
            name = f"{size}, {'sampled' if ending else 'greedy'}"
            columns[name] = ends.apply(lambda one: interval(*one), axis=1)
    return pd.DataFrame(columns).fillna("-").reset_index(names="edit")


if __name__ == "__main__":
    sys.exit(main())
