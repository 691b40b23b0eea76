"""Packs: the results of one run in one file, to be shown elsewhere.

A pack is data from strangers when it comes from somewhere else. It is a ZIP file of known names only, each no
larger than any study needs, and nothing in it is executed: CSV, JSON, parquet and safetensors are read, every
table is checked against its schema, and verdicts follow from this version's rules.
"""

from __future__ import annotations

import shutil
import zipfile
from hashlib import sha256
from pathlib import Path

from dpotox.errors import UserError
from dpotox.places import OUTPUT
from dpotox.results.folder import FILES, RECORD, Results, read_direction, write_claims

LARGEST_FILE, LARGEST_PACK = 64_000_000, 128_000_000
"""Bytes, unpacked and packed; GPT-2 medium's neuron table has 14 million."""
ENDING = ".zip"
_EPOCH = (1980, 1, 1, 0, 0, 0)


def is_pack(name: str | Path) -> bool:
    """Whether a profile's name is that of a pack's file."""
    return str(name).endswith(ENDING)


def digest(folder: Path) -> str:
    """What results hold, as a hash."""
    whole = sha256()
    for name in FILES:
        if (folder / name).is_file():
            whole.update(name.encode() + sha256((folder / name).read_bytes()).digest())
    return whole.hexdigest()


def write(results: Results, path: Path) -> Path:
    """Write a pack of results; equal results give equal bytes.

    Raises:
        UserError: something in them is missing or not as the schema says.
    """
    if wrong := results.wrong():
        raise UserError(*wrong)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in FILES:
            if (results.folder / name).is_file():
                member = zipfile.ZipInfo(name, _EPOCH)
                member.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(member, (results.folder / name).read_bytes())
    temporary.replace(path)
    return path


def opened(path: Path, root: Path = OUTPUT / "artifacts" / "packs") -> Results:
    """The results in a pack, unpacked and checked.

    Args:
        root: where packs are unpacked, each in a folder named after its content.

    Raises:
        UserError: it is no pack, holds what none may hold, or what it holds is not as the schema says; each
            line says one thing that is wrong.
    """
    if not path.is_file():
        raise UserError(f"there is no pack {path}; give the path of a file that `make pack` wrote")
    if path.stat().st_size > LARGEST_PACK:
        raise UserError(f"{path.name} is larger than any pack; it was not opened")
    with path.open("rb") as file:
        folder = root / sha256(file.read()).hexdigest()[:16]
    results = Results(folder / "results")
    if not (folder / "whole").exists():
        shutil.rmtree(folder, ignore_errors=True)
        try:
            _unpack(path, results.folder)
            if wrong := Results(results.folder).wrong() or _wrong_direction(results):
                raise UserError(*(f"{path.name}: {line}" for line in wrong))
        except UserError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        write_claims(results)
        (folder / "whole").touch()
    return results


def _unpack(path: Path, folder: Path) -> None:
    """Unpack the files of known names, none of them further than a file of its kind may grow."""
    folder.mkdir(parents=True)
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if strange := sorted(set(names) - set(FILES)):
                raise UserError(f"{path.name} holds {strange[0][:60]!r}, as no pack does; it was not opened")
            if len(names) != len(set(names)):
                raise UserError(f"{path.name} holds a file twice; it was not opened")
            if RECORD not in names:
                raise UserError(f"{path.name} holds no {RECORD}, so it is not a pack of results")
            for member in archive.infolist():
                with archive.open(member) as source:
                    content = source.read(LARGEST_FILE + 1)
                if len(content) > LARGEST_FILE:
                    raise UserError(f"{path.name}: {member.filename} is larger than any study's")
                (folder / member.filename).write_bytes(content)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise UserError(f"{path.name} cannot be unpacked ({str(error)[:80]}); get it again") from None


def _wrong_direction(results: Results) -> list[str]:
    """What is wrong with the probe's direction."""
    try:
        direction = read_direction(results.folder)
    except Exception as error:  # safetensors and numpy raise many kinds on damaged files
        return [f"the probe cannot be read ({str(error)[:80]})"]
    if direction.shape != (results.record.shape.d_model,):
        return [f"the probe has the shape {direction.shape}, not that of the model's residual stream"]
    return []


def packs_in(folder: Path) -> tuple[dict[str, Results], dict[str, str]]:
    """All packs in a folder by their names, and why others cannot be opened."""
    found, wrong = {}, {}
    for path in sorted(folder.glob(f"*{ENDING}")):
        try:
            found[path.stem] = opened(path)
        except UserError as error:
            wrong[path.stem] = str(error)
    return found, wrong
