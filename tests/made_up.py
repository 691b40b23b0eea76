"""Made-up results: tables as the schema asks for them, and the record of a run that never was."""

from pathlib import Path

import numpy as np
import pandas as pd
from pandera.pandas import Column

from dpotox.profile import Profile
from dpotox.results import record
from dpotox.results.catalogue import TABLES
from dpotox.results.folder import RECORD, write_table
from dpotox.results.record import FORMAT, Record, Shape


def a_table(name: str, rows: int = 3, seed: int = 0) -> pd.DataFrame:
    """One of the tables, of random numbers and of labels that are numbered."""
    rng = np.random.default_rng(seed)
    columns = TABLES[name].columns.items()
    return pd.DataFrame({column: _values(column, kind, rows, rng) for column, kind in columns})


def _values(name: str, column: Column, rows: int, rng: np.random.Generator) -> list:
    kind = str(column.dtype)
    if kind == "bool":
        return [bool(i % 2) for i in range(rows)]
    if kind == "int64":
        return list(range(rows))
    if kind == "float64":
        return rng.random(rows).tolist()
    among = [check.statistics["allowed_values"] for check in column.checks if check.name == "isin"]
    return [among[0][i % len(among[0])] if among else f"{name} {i}" for i in range(rows)]


def a_record(profile: Profile, seed: int = 0) -> Record:
    """The record of a run of a profile."""
    return Record(
        format=FORMAT,
        seed=seed,
        settings=record.settings_of(profile),
        shape=Shape(2, 32, 64, 600, 40_000),
        loss=None,
        auc=0.9,
        accuracy=None,
        pairs=100,
        versions={"torch": "2.0"},
        commit="",
        device="processor",
        date="2000-01-01",
        seconds={"base": 1.5},
        memory=10**9,
    )


def write_made_up(folder: Path, profile: Profile, seed: int = 0, **tables: pd.DataFrame) -> Path:
    """Write a record and some tables; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    record.write(a_record(profile, seed), folder / RECORD)
    for name, table in tables.items():
        write_table(folder, name, table)
    return folder
