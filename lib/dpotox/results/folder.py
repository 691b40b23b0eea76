"""The results of a study: a folder of tables, opened without any model.

results = open_results("mini", seed=0)
results.neurons        # the table of that name in `dpotox.results.catalogue`, read and checked
results.claims         # judged anew from the evidence, by this version's rules
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet
from pyarrow import types
from safetensors.numpy import load_file, save_file

from dpotox.errors import UserError, first_line
from dpotox.facts import facts
from dpotox.places import OUTPUT
from dpotox.profile import Profile, load_profile
from dpotox.results import agreement, claims, record, schema
from dpotox.results.catalogue import TABLES
from dpotox.results.record import Record

RECORD, PROBE, CLAIMS = record.FILE, "probe.safetensors", "claims.json"
FILES = (RECORD, PROBE, *(table.file for table in TABLES.values()))
"""All that results are read from; the claims are written besides, for people."""
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "'")
"""What text in a CSV file must not begin with, as a spreadsheet would take it for a formula."""
MOST_COLUMNS, MOST_GROUPS, LONGEST_HEADER = 100, 1_000, 10_000
ENDING = ".zip"
"""Of a pack's name."""
LARGEST_TABLE = 1_000_000_000
"""What a table may unpack to, in bytes."""


@dataclass(frozen=True)
class Results:
    """The results in a folder; every table of the schema is an attribute."""

    folder: Path

    def __getattr__(self, name: str) -> pd.DataFrame:
        if name not in TABLES:
            raise AttributeError(f"results have no {name!r}")
        path = self.folder / TABLES[name].file
        if not path.is_file() and name in self.left_out:
            raise UserError(f"a small pack has no table {name}; ask whoever made it for the whole one")
        table = self.__dict__[name] = read_table(path, name)
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
        shape = self.record.shape
        return facts(self.profile, shape.gated, shape.norm_behind)

    @cached_property
    def claims(self) -> pd.DataFrame:
        """The claims table (`claims.judge`), in the order of the chapters."""
        table = claims.judge(claims.as_estimates(self.evidence))
        return table.sort_values("chapter", kind="stable", ignore_index=True)  # which are numbered

    def claims_of(self, chapter: str) -> pd.DataFrame:
        """The claims of one chapter."""
        return self.claims[self.claims["chapter"] == chapter].reset_index(drop=True)

    @property
    def left_out(self) -> list[str]:
        """The names of the tables that a small pack lacks."""
        return [name for name, table in TABLES.items() if table.whole and self.record.small]

    @property
    def tables(self) -> list[str]:
        """The names of all tables that the profile's results have, optional ones if they are there."""
        return [
            name
            for name, table in TABLES.items()
            if (not table.needs or self.holds[table.needs])
            and name not in self.left_out
            and (not table.optional or (self.folder / table.file).is_file())
        ]

    def wrong(self) -> list[str]:
        """All that is missing or not as the schema says, or else does not fit together; reads everything."""
        try:
            parts = [partial(getattr, self, name) for name in self.tables]
        except UserError as error:
            return list(error.args)
        found = []
        for part in (*parts, partial(read_direction, self.folder, self.record.shape.d_model)):
            try:
                part()
            except UserError as error:
                found += error.args
        return found or agreement.disagreements(self)


def is_pack(name: str | Path) -> bool:
    """Whether a profile's name is that of a pack's file."""
    return str(name).endswith(ENDING)


def open_results(profile: str | Path = "mini", seed: int = 0, artifacts: str | Path = "") -> Results:
    """The results of a profile (name or path) and a seed, or those in a pack.

    Args:
        profile: a pack's file, too, whose seed is its own.
        artifacts: where results are kept; `artifacts/` in `OUTPUT` if not given.

    Raises:
        UserError: there are none, or they were made with other settings.
    """
    if is_pack(profile):
        from dpotox.results.pack import opened

        return opened(Path(profile))
    loaded = load_profile(profile)
    root = Path(artifacts) if artifacts else OUTPUT / "artifacts"
    results = Results(root / loaded.name / f"seed{seed}" / "results")
    command = f'make results PROFILE="{profile}" SEED={seed}'
    if not (results.folder / RECORD).is_file():
        raise UserError(f"there are no results of the profile {loaded.name!r}, seed {seed}; run `{command}`")
    if different := record.difference(results.record.settings, record.settings_of(loaded)):
        raise UserError(
            f"the results in {results.folder} were made with another {different}; run `{command}`"
        )
    return results


def write_table(folder: Path, name: str, table: pd.DataFrame) -> None:
    """Write one of the tables, after a check against its schema; numbers without end are left empty.

    Raises:
        UserError: it is not as the schema says.
    """
    numbers = table.select_dtypes("float")
    table = table.assign(**numbers.where(numbers.abs() <= schema.LARGEST_NUMBER))
    table, path = TABLES[name].checked(table), folder / TABLES[name].file
    if path.suffix == ".parquet":
        table.to_parquet(path, index=False, compression="zstd")
    else:
        _without_formulas(table).to_csv(path, index=False, quoting=csv.QUOTE_NONNUMERIC)


def write_claims(results: Results) -> None:
    """Write the claims as JSON, for people and other programs."""
    content = json.loads(results.claims.to_json(orient="records"))
    (results.folder / CLAIMS).write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")


def write_direction(folder: Path, direction) -> None:
    """Write the probe's direction `(d_model,)`."""
    save_file({"direction": direction}, folder / PROBE)


def read_direction(folder: Path, d_model: int):
    """Read it again.

    Raises:
        UserError: it is missing, or is no direction of this length.
    """
    try:
        found = load_file(folder / PROBE)
    except Exception as error:  # safetensors and numpy raise many kinds on damaged files
        raise UserError(f"the probe cannot be read ({_reason(error)}); make the results anew") from None
    direction = found.get("direction", np.empty(0))
    if len(found) != 1 or direction.dtype.kind != "f" or direction.shape != (d_model,):
        raise UserError(f"the probe is not one direction of {d_model} numbers; make the results anew")
    if not np.isfinite(direction).all():
        raise UserError("the probe's direction is not of finite numbers; make the results anew")
    return direction


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
        raise UserError(
            f"the table {path.name} cannot be read ({_reason(error)}); make the results anew"
        ) from None
    return TABLES[name].checked(table)


def _reason(error: Exception) -> str:
    """What a parser says of a file, in a few words."""
    return schema.printable(first_line(error)[:100])


def _read_parquet(path: Path, name: str) -> pd.DataFrame:
    """A flat table of numbers and of short names, looked at before any of its values is read."""
    there = pyarrow.parquet.read_schema(path).names
    columns = TABLES[name].columns.items()
    texts = [column for column, some in columns if column in there and str(some.dtype).startswith("str")]
    with pyarrow.parquet.ParquetFile(path, read_dictionary=texts) as file:
        told, fields = file.metadata, {field.name: field.type for field in file.schema_arrow}
        groups = [told.row_group(i) for i in range(min(told.num_row_groups, MOST_GROUPS + 1))]
        chunks = [group.column(i) for group in groups for i in range(group.num_columns)]
        rows = {chunk.num_values for chunk in chunks}
        if (
            not 0 < told.num_columns == len(fields) <= MOST_COLUMNS
            or len(groups) > MOST_GROUPS
            or told.num_rows > TABLES[name].most
            or max(rows, default=0) > told.num_rows
            or sum(chunk.total_uncompressed_size for chunk in chunks) > LARGEST_TABLE
        ):
            raise UserError(f"the table {path.name} is larger than any study's")
        for column, kind in fields.items():
            if column in texts:
                texts_of = (pyarrow.string(), pyarrow.large_string())
                plain = types.is_dictionary(kind) and kind.value_type in texts_of
            else:
                plain = types.is_integer(kind) or types.is_floating(kind)
            if not plain:
                kinds = "names" if column in texts else "numbers"
                raise UserError(f"the table {path.name} has a column that is not of {kinds}")
        table = file.read()
    for column in texts:
        for part in table[column].chunks:
            lengths = [len(value) for value in part.dictionary.to_pylist() if value]
            if max(lengths, default=0) > schema.LONGEST_LABEL:
                raise UserError(f"the table {path.name} has longer names than any study's")
    return table.to_pandas(ignore_metadata=True).astype(dict.fromkeys(texts, object))


def _read_csv(path: Path, name: str) -> pd.DataFrame:
    """Every cell as it was written: numbers to the last digit, and no text taken for a missing value."""
    with path.open(encoding="utf-8", newline="") as file:
        if file.readline(LONGEST_HEADER).count(",") > MOST_COLUMNS:
            raise UserError(f"the table {path.name} has more columns than any study's")
    most = TABLES[name].most + 1
    table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8", nrows=most)
    if not isinstance(table.index, pd.RangeIndex) or table.isna().any(axis=None):
        raise UserError(f"the table {path.name} has a row of more or fewer cells than its first")
    for column in table:
        kind = TABLES[name].kind_of(column)
        if kind.startswith("str"):
            table[column] = table[column].map(lambda text: text.removeprefix("'"))
        elif kind == "bool":
            if not table[column].isin(("True", "False")).all():
                reason = f"{column!r}: neither True nor False"
                raise UserError(f"the table {name} is not as its schema says: {reason}")
            table[column] = table[column] == "True"
        elif kind == "float64":
            table[column] = _as_numbers(table[column], name)
    return table


def _as_numbers(cells: pd.Series, name: str) -> pd.Series:
    try:
        return cells.where(cells != "", "nan").astype(object).astype(float)
    except ValueError as error:
        reason = f"{cells.name!r}: {_reason(error)}"
        raise UserError(f"the table {name} is not as its schema says: {reason}") from None


def _without_formulas(table: pd.DataFrame) -> pd.DataFrame:
    """Text that a spreadsheet would take for a formula begins with an apostrophe instead."""

    def inert(value):
        return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value

    text = table.select_dtypes(exclude=["number", "bool"]).columns
    return table.assign(**{name: table[name].map(inert) for name in text})
