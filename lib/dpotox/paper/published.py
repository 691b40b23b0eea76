"""The paper's published numbers, to be shown beside our own and to test the arithmetic with."""

from __future__ import annotations

import tomllib
from importlib.resources import files

import pandas as pd

from dpotox.paper.groups import TURNED, shares

NUMBERS: dict = tomllib.loads(files("dpotox.paper").joinpath("published.toml").read_text(encoding="utf-8"))


def published_table1() -> pd.DataFrame:
    """Table 1 of the paper, indexed by the row's name: `toxicity`, `perplexity`, `f1`."""
    table = NUMBERS["table1"]
    return pd.DataFrame.from_dict(table["rows"], orient="index", columns=table["columns"])


def published_groups(turned: bool = False) -> pd.DataFrame:
    """The eight groups as in `groups.group_table`, from the published counts and sums.

    Args:
        turned: count all neurons as turned towards the probe, as gated ones are.
    """
    parts = pd.DataFrame({key: NUMBERS["groups"][key] for key in ("count", "projection_drop")})
    if turned:
        parts = parts.rename(index=TURNED).groupby(level=0).sum()
    return shares(parts["count"], parts["projection_drop"])
