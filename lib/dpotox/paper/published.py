"""The paper's published numbers, to be shown beside our own and to test the arithmetic with."""

from __future__ import annotations

import tomllib
from importlib.resources import files

import pandas as pd

from dpotox.paper.groups import shares

NUMBERS: dict = tomllib.loads(files("dpotox.paper").joinpath("published.toml").read_text(encoding="utf-8"))


def published_table1() -> pd.DataFrame:
    """Table 1 of the paper, indexed by the row's name: `toxicity`, `perplexity`, `f1`."""
    table = NUMBERS["table1"]
    return pd.DataFrame.from_dict(table["rows"], orient="index", columns=table["columns"])


def published_groups() -> pd.DataFrame:
    """The eight groups as in `groups.group_table`, from the published counts and sums."""
    groups = NUMBERS["groups"]
    return shares(pd.Series(groups["count"]), pd.Series(groups["projection_drop"]))
