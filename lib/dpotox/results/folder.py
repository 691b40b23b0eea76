"""The results of a study: a folder of tables, opened without any model.

results = open_results("mini", seed=0)
results.neurons        # the table of that name in `dpotox.results.schema`, read and checked
results.claims         # judged anew from the evidence, by this version's rules
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
import pyarrow.parquet
from safetensors.numpy import load_file, save_file

from dpotox.errors import UserError
from dpotox.estimates import Estimate
from dpotox.facts import facts
from dpotox.places import OUTPUT
from dpotox.profile import Profile, load_profile
from dpotox.results import claims, record, schema
from dpotox.results.record import Record
from dpotox.results.schema import TABLES

RECORD, PROBE, CLAIMS = "run.json", "probe.safetensors", "claims.json"
FILES = (RECORD, PROBE, *(table.file for table in TABLES.values()))
"""All that results are read from; the claims are written besides, for people."""
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "'")
"""What text in a CSV file must not begin with, as a spreadsheet would take it for a formula."""


@dataclass(frozen=True)
class Results:
    """The results in a folder; every table of the schema is an attribute."""

    folder: Path

    def __getattr__(self, name: str) -> pd.DataFrame:
        if name not in TABLES:
            raise AttributeError(f"results have no {name!r}")
        table = self.__dict__[name] = read_table(self.folder / TABLES[name].file, name)
        return table

    @cached_property
    def record(self) -> Record:
        """What made the results."""
        return record.read(self.folder / RECORD)

    @cached_property
    def profile(self) -> Profile:
        """The profile that they are of."""
        return self.record.profile

    @property
    def seed(self) -> int:
        """The seed that they are of."""
        return self.record.seed

    @property
    def holds(self) -> dict[str, bool]:
        """What holds for the profile (`dpotox.facts`)."""
        return facts(self.profile)

    @cached_property
    def claims(self) -> pd.DataFrame:
        """The claims table (`claims.judge`), in the order of the chapters."""
        found = self.evidence.set_index("quantity")[["value", "low", "high", "resampled"]]
        table = claims.judge({row.Index: Estimate(*row[1:]) for row in found.itertuples()})
        order = table["chapter"].map(claims.CHAPTERS.index)
        return table.iloc[order.argsort(kind="stable")].reset_index(drop=True)

    def claims_of(self, chapter: str) -> pd.DataFrame:
        """The claims of one chapter."""
        return self.claims[self.claims["chapter"] == chapter].reset_index(drop=True)

    def wrong(self) -> list[str]:
        """All that is missing or not as the schema says, a line each; reads everything."""
        try:
            holds = self.holds
        except UserError as error:
            return list(error.args)
        found = []
        for name, table in TABLES.items():
            if table.needs and not holds[table.needs]:
                continue
            try:
                getattr(self, name)
            except UserError as error:
                found += error.args
        if not found and len(self.nearest_tokens) != len(self.neurons):
            found.append("the table nearest_tokens has another number of rows than neurons")
        if not found and int(self.nearest_tokens.to_numpy().max()) >= len(self.tokens):
            found.append("the table nearest_tokens names tokens that are not there")
        return found


def open_results(profile: str | Path = "mini", seed: int = 0, artifacts: str | Path = "") -> Results:
    """The results of a profile (name or path) and a seed, or those in a pack.

    Args:
        profile: a pack's file, too, whose seed is its own.
        artifacts: where results are kept; `artifacts/` in `OUTPUT` if not given.

    Raises:
        UserError: there are none, or they were made with other settings.
    """
    if str(profile).endswith(".zip"):
        from dpotox.results.pack import opened

        return opened(Path(profile))
    loaded = load_profile(profile)
    root = Path(artifacts) if artifacts else OUTPUT / "artifacts"
    results = Results(root / loaded.name / f"seed{seed}" / "results")
    command = f'make results PROFILE="{profile}" SEED={seed}'
    if not (results.folder / RECORD).is_file():
        raise UserError(f"there are no results of the profile {loaded.name!r}, seed {seed}; run `{command}`")
    if different := _difference(results.record.settings, record.settings_of(loaded)):
        raise UserError(
            f"the results in {results.folder} were made with another {different}; run `{command}`"
        )
    return results


def _difference(made_with: dict, asked_for: dict) -> str:
    """The first setting in which two differ, but for what the computer decides."""
    for section, settings in asked_for.items():
        before = made_with.get(section)
        if section in ("compute", "name", "extends") or before == settings:
            continue
        if not isinstance(settings, dict):
            return section
        key = next(k for k in settings if not isinstance(before, dict) or before.get(k) != settings[k])
        return f"{section}.{key}"
    return ""


def write_table(folder: Path, name: str, table: pd.DataFrame) -> None:
    """Write one of the tables, after a check against its schema.

    Raises:
        UserError: it is not as the schema says.
    """
    table, path = schema.checked(name, table), folder / TABLES[name].file
    if path.suffix == ".parquet":
        table.to_parquet(path, index=False, compression="zstd")
    else:
        _without_formulas(table).to_csv(path, index=False)


def write_claims(results: Results) -> None:
    """Write the claims as JSON, for people and other programs."""
    content = json.loads(results.claims.to_json(orient="records"))
    (results.folder / CLAIMS).write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")


def write_direction(folder: Path, direction) -> None:
    """Write the probe's direction `(d_model,)`."""
    save_file({"direction": direction}, folder / PROBE)


def read_direction(folder: Path):
    """Read it again."""
    return load_file(folder / PROBE)["direction"]


def read_table(path: Path, name: str) -> pd.DataFrame:
    """Read one of the tables and check it against its schema.

    Raises:
        UserError: it is missing, cannot be read, or is not as the schema says.
    """
    if not path.is_file():
        raise UserError(f"the table {path.name} is missing; make the results anew")
    try:
        table = _read_parquet(path, name) if path.suffix == ".parquet" else _read_csv(path, name)
    except UserError:
        raise
    except Exception as error:  # parsers raise many kinds on damaged files
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:100]
        raise UserError(f"the table {path.name} cannot be read ({reason}); make the results anew") from None
    return schema.checked(name, table)


def _read_parquet(path: Path, name: str) -> pd.DataFrame:
    file = pyarrow.parquet.ParquetFile(path)
    if file.metadata.num_rows > schema.MOST_ROWS or file.metadata.num_columns > 100:
        raise UserError(f"the table {path.name} is larger than any study's")
    return file.read().to_pandas(ignore_metadata=True)


def _read_csv(path: Path, name: str) -> pd.DataFrame:
    """Every cell as it was written: numbers to the last digit, and no text taken for a missing value."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    kinds = {column: str(some.dtype) for column, some in TABLES[name].columns.items()}
    for column in table:
        if kinds.get(column, "").startswith("str"):
            table[column] = table[column].map(lambda text: text.removeprefix("'"))
        elif kinds.get(column) == "bool":
            table[column] = table[column].map({"True": True, "False": False})
        elif kinds.get(column) == "float64":
            table[column] = table[column].where(table[column] != "", "nan").astype(object).astype(float)
    return table


def _without_formulas(table: pd.DataFrame) -> pd.DataFrame:
    """Text that a spreadsheet would take for a formula begins with an apostrophe instead."""

    def inert(value):
        return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value

    text = table.select_dtypes(exclude=["number", "bool"]).columns
    return table.assign(**{name: table[name].map(inert) for name in text})
