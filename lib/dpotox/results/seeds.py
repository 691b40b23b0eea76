"""Several seeds side by side, from the results that their jobs left."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from dpotox.errors import UserError
from dpotox.estimates import over_seeds
from dpotox.results.folder import RECORD, Results

FAILURE = "failure.txt"
"""In a seed's folder: why its job failed."""


def outcome(results: Results, seed: int) -> Path:
    """The file in which the job of a seed left its results' record, or its failure; the former if neither."""
    folder = results.folder.parents[1] / f"seed{seed}"
    return folder / FAILURE if (folder / FAILURE).exists() else folder / "results" / RECORD


def of_seeds(results: Results, seeds: list[int]) -> tuple[dict[int, Results], dict[int, str]]:
    """The results of all seeds that have some, and why the others have none.

    Where the given results are of none of these seeds, as those of a pack may be, they stand alone.
    """
    found, missing = {}, {}
    for seed in seeds if results.seed in seeds else [results.seed]:
        path = outcome(results, seed)
        if seed == results.seed:
            found[seed] = results
        elif path.name == FAILURE:
            missing[seed] = path.read_text(encoding="utf-8")
        elif path.exists():
            one = Results(path.parent)
            try:
                _ = one.claims, one.table1
                found[seed] = one
            except UserError as error:
                missing[seed] = str(error)
        else:
            missing[seed] = "left no results: not run, or broken off"
    return found, missing


def with_packs(results: Results, seeds: list[int], packs: dict[str, Results]) -> tuple[dict, dict]:
    """`of_seeds`, and beside them those seeds of the same profile that lie in packs; the first of each."""
    found, missing = of_seeds(results, seeds)
    for one in packs.values():
        if one.profile.name == results.profile.name:
            found.setdefault(one.seed, one)
    return dict(sorted(found.items())), {seed: why for seed, why in missing.items() if seed not in found}


def run_again(found: dict[int, Results], runs: Iterable[Results]) -> list[Results]:
    """Those runs that made another model of the same profile and of one of the seeds, as other processors do.

    Args:
        found: the runs that stand for their seeds.
    """
    profiles = {one.profile.name for one in found.values()}
    same = [one for one in runs if one.profile.name in profiles and one.seed in found]
    return [one for one in same if not _alike(one.claims, found[one.seed].claims)]


def _alike(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether claims were measured of the same model, which processors may round in the last digit."""
    values = [table.set_index("id")["here"].astype(float) for table in (one, other)]
    return values[0].index.equals(values[1].index) and np.allclose(*values, rtol=1e-9, equal_nan=True)


def runs_beside(results: Results, seeds: list[int], packs: dict[str, Results]) -> dict[str, Results]:
    """Other runs by their names: of `of_seeds` those that are not the given one, and then packs."""
    found, _ = of_seeds(results, seeds)
    return {f"seed {seed}": one for seed, one in found.items() if one is not results} | packs


def claims_by_seed(
    results: Results, seeds: list[int], packs: dict[str, Results]
) -> tuple[pd.DataFrame, dict[int, str]]:
    """The claims of all seeds that have some, and why the others have none.

    Args:
        packs: runs by their names; those of the same profile count.

    Returns:
        The claims table with the columns `seed` and `again`, which is true of a second run of the same seed,
        and for every seed without claims the reason.
    """
    found, missing = with_packs(results, seeds, packs)
    tables = [one.claims.assign(seed=seed, again=False) for seed, one in found.items()]
    tables += [one.claims.assign(seed=one.seed, again=True) for one in run_again(found, packs.values())]
    return pd.concat(tables, ignore_index=True), missing


def recovered_by_seed(results: Results, seeds: list[int], packs: dict[str, Results]) -> pd.DataFrame:
    """The recovered share of every row by seed, and the mean over seeds with its 95 % interval.

    Args:
        packs: runs by their names; those of the same profile count.

    Returns:
        Indexed by the row's name: a column per seed, `mean`, `low`, `high`.
    """
    found, _ = with_packs(results, seeds, packs)
    names = ["recovered", "recovered_low", "recovered_high"]
    columns = {seed: one.table1.set_index("name")[names] for seed, one in found.items()}
    table = pd.concat(columns, axis=1, join="inner")  # the rows that every seed has
    of = {name: table.xs(name, axis=1, level=1) for name in names}
    rows = zip(*(some.to_numpy() for some in of.values()), strict=True)
    means = pd.DataFrame([asdict(over_seeds(*row)) for row in rows], index=table.index)
    return of["recovered"].join(means.drop(columns="resampled").rename(columns={"value": "mean"}))
