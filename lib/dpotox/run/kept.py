"""How values are kept in a folder: what writes them and reads them again, in open formats."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file

from dpotox.estimates import Estimate, Evidence
from dpotox.model.tracing import Continuations, Reading
from dpotox.paper.evaluation import Result
from dpotox.paper.nulls import Nulls
from dpotox.paper.probe import Probe
from dpotox.paper.readings import Pass, Readings
from dpotox.paper.table1 import Table1


@dataclass(frozen=True)
class Format:
    """Writes a value into a folder, and reads it again."""

    write: Callable[[Any, Path], None]
    read: Callable[[Path], Any]


def _save(values: dict[str, torch.Tensor | np.ndarray], path: Path) -> None:
    save_file({name: torch.as_tensor(some).contiguous() for name, some in values.items()}, path)


def _file(name: str, write: Callable[[Any, Path], None], read: Callable[[Path], Any]) -> Format:
    """A value in one file."""
    return Format(lambda value, folder: write(value, folder / name), lambda folder: read(folder / name))


FOLDER = Format(lambda value, folder: None, lambda folder: folder)
"""The step writes into the folder itself, as a trainer does; what is given is the folder."""
TABLE = _file("table.parquet", pd.DataFrame.to_parquet, pd.read_parquet)
TENSORS = _file("tensors.safetensors", _save, load_file)
"""Several by name."""
TENSOR = _file(
    "tensor.safetensors",
    lambda tensor, path: _save({"values": tensor}, path),
    lambda path: load_file(path)["values"],
)


def evidence_table(evidence: Evidence) -> pd.DataFrame:
    """A row per quantity: `quantity`, and the fields of its estimate."""
    rows = [{"quantity": name} | asdict(estimate) for name, estimate in evidence.items()]
    return pd.DataFrame(rows, columns=["quantity", *(field.name for field in fields(Estimate))])


EVIDENCE = Format(
    lambda evidence, folder: TABLE.write(evidence_table(evidence), folder),
    lambda folder: {row.quantity: Estimate(*row[2:]) for row in TABLE.read(folder).itertuples()},
)


def _write_probe(probe: Probe, folder: Path) -> None:
    _save({"direction": probe.direction}, folder / "direction.safetensors")
    probe.selection.to_csv(folder / "selection.csv", index=False)
    probe.calibration.to_csv(folder / "calibration.csv", index=False)
    quality = {"accuracy": probe.accuracy, "auc": probe.auc, "gap": probe.gap}
    (folder / "quality.json").write_text(json.dumps(quality))


def _read_probe(folder: Path) -> Probe:
    return Probe(
        direction=load_file(folder / "direction.safetensors")["direction"],
        selection=pd.read_csv(folder / "selection.csv"),
        calibration=pd.read_csv(folder / "calibration.csv"),
        **json.loads((folder / "quality.json").read_text()),
    )


PROBE = Format(_write_probe, _read_probe)


def _write_pass(one: Pass, folder: Path) -> None:
    written, read = one
    pd.DataFrame({"text": written.texts}).to_parquet(folder / "texts.parquet")
    _save(vars(read) | {"tokens": written.tokens}, folder / "read.safetensors")


def _read_pass(folder: Path) -> Pass:
    tensors = load_file(folder / "read.safetensors")
    written = Continuations(pd.read_parquet(folder / "texts.parquet")["text"].tolist(), tensors.pop("tokens"))
    return written, Reading(**tensors)


PASS = Format(_write_pass, _read_pass)


def _write_readings(readings: Readings, folder: Path) -> None:
    readings.continuations.to_parquet(folder / "continuations.parquet")
    for name, tokens in readings.tokens.items():
        _save(vars(getattr(readings, name)) | {"tokens": tokens}, folder / f"{name}.safetensors")


def _read_readings(folder: Path) -> Readings:
    tensors = {path.stem: load_file(path) for path in sorted(folder.glob("*.safetensors"))}
    tokens = {name: some.pop("tokens") for name, some in tensors.items()}
    read = {name: Reading(**some) for name, some in tensors.items()}
    return Readings(**read, continuations=pd.read_parquet(folder / "continuations.parquet"), tokens=tokens)


READINGS = Format(_write_readings, _read_readings)


def _write_nulls(nulls: Nulls, folder: Path) -> None:
    _save(nulls.activation, folder / "activation.safetensors")
    _save(nulls.values, folder / "values.safetensors")
    pd.DataFrame(nulls.texts).to_parquet(folder / "texts.parquet")


def _read_nulls(folder: Path) -> Nulls:
    activation, values = (load_file(folder / f"{name}.safetensors") for name in ("activation", "values"))
    return Nulls(activation, values, pd.read_parquet(folder / "texts.parquet").to_dict("list"))


NULLS = Format(_write_nulls, _read_nulls)
MEASURES = ("greedy", "sampled", "nll", "f1")


def _write_results(results: dict[str, Result], folder: Path) -> None:
    arrays = {m: np.stack([getattr(r, m) for r in results.values()]) for m in MEASURES}
    arrays["neutral"] = next(iter(results.values())).neutral
    _save(arrays, folder / "outcomes.safetensors")
    pd.DataFrame({name: r.texts for name, r in results.items()}).to_parquet(folder / "texts.parquet")


def _read_results(folder: Path) -> dict[str, Result]:
    arrays = {m: a.numpy() for m, a in load_file(folder / "outcomes.safetensors").items()}
    texts, neutral = pd.read_parquet(folder / "texts.parquet"), arrays.pop("neutral")
    return {
        name: Result(
            **{measure: values[i] for measure, values in arrays.items()},
            neutral=neutral,
            texts=texts[name].to_numpy(dtype=np.str_),
        )
        for i, name in enumerate(texts)
    }


RESULTS = Format(_write_results, _read_results)


def _write_table1(table: Table1, folder: Path) -> None:
    _write_results(table.results, folder)
    table.rows.assign(total_neurons=table.total_neurons).to_csv(folder / "rows.csv", index=False)
    _save(table.draws, folder / "draws.safetensors")
    pd.Series(table.draw_names, name="name").rename_axis("beside").to_csv(folder / "draws.csv")
    (folder / "absent.json").write_text(json.dumps(table.absent))


def _read_table1(folder: Path) -> Table1:
    rows = pd.read_csv(folder / "rows.csv", keep_default_na=False)
    total = int(rows.pop("total_neurons")[0])
    names = pd.read_csv(folder / "draws.csv", index_col="beside")["name"]
    drawn = load_file(folder / "draws.safetensors")
    draws = {row: drawn[row].numpy() for row in names.index}
    absent = json.loads((folder / "absent.json").read_text())
    return Table1(rows, total, _read_results(folder), draws, names.to_dict(), absent)


TABLE1 = Format(_write_table1, _read_table1)
