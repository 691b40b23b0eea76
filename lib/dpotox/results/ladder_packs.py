"""The packs of the ladder's runs, read into one table.

table, refused = read(PROJECT / "book" / "packs" / "ladder")
"""

from __future__ import annotations

from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from dpotox.errors import UserError
from dpotox.results.folder import ENDING, Results
from dpotox.results.ladder import COLUMNS, NAMES, different, measured, pack_name, rung_of
from dpotox.results.pack import PACKS, unpacked
from dpotox.results.schema import printable


def read(folder: Path, root: Path = PACKS) -> tuple[pd.DataFrame, dict[str, str]]:
    """What the packs in a folder measured, and why others do not count.

    Several notebooks ask for it, so it is kept for as long as neither packs nor this package change.

    Args:
        root: where it is kept.

    Returns:
        A row per run and quantity: `COLUMNS`, `quantity`, `value`, `low`, `high`; and by the names of packs
        that are no run of the ladder the reason.
    """
    paths = sorted(folder.glob(f"*{ENDING}"))
    kept = root / f"ladder-{_identity(paths)}.parquet"
    if not kept.exists():
        table, refused = _measured_in(paths)
        table.attrs["refused"] = refused
        root.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=root, prefix=".") as scratch:
            begun = Path(scratch) / kept.name
            table.to_parquet(begun)
            begun.replace(kept)
    table = pd.read_parquet(kept)
    return table, table.attrs.pop("refused")


def _identity(paths: list[Path]) -> str:
    """What decides what packs measured: their names and contents, and this package."""
    package = Path(__file__).parents[1]
    whole = sha256()
    for path in (*paths, *sorted(package.rglob("*.py")), *sorted(package.rglob("*.toml"))):
        whole.update(path.name.encode() + sha256(path.read_bytes()).digest())
    return whole.hexdigest()[:32]


def _measured_in(paths: list[Path]) -> tuple[pd.DataFrame, dict[str, str]]:
    rows, refused = [], {}
    for path in paths:
        try:
            with unpacked(path) as results:
                rows += _rows(path, results)
        except UserError as error:
            refused[printable(path.name)] = str(error)
    return pd.DataFrame(rows, columns=[*COLUMNS, "quantity", "value", "low", "high"]), refused


def _rows(path: Path, results: Results) -> list[dict]:
    rung = rung_of(results.profile)
    if rung not in NAMES or path.name != pack_name(rung, results.seed):
        raise UserError("it is not of the rung and the seed that it is named after")
    if wrong := different(results.profile, rung):
        raise UserError(wrong)
    run = {"rung": NAMES[rung], "seed": results.seed, "vocabulary": results.record.shape.vocabulary}
    found = measured(results).items()
    return [run | asdict(rung) | {"quantity": quantity} | asdict(one) for quantity, one in found]
