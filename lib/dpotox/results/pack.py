"""Packs: the results of one run in one file, to be shown elsewhere.

A pack is data from strangers when it comes from somewhere else. It is a ZIP file of known names only, each no
larger than any study needs, and nothing in it is executed: CSV, JSON, parquet and safetensors are read, every
table is checked against its schema and the others, and verdicts follow from this version's rules.
"""

from __future__ import annotations

import contextlib
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from dpotox.errors import UserError
from dpotox.places import OUTPUT
from dpotox.results import record
from dpotox.results.folder import (
    ENDING,
    FILES,
    RECORD,
    Results,
    is_pack,
    read_direction,
    write_claims,
    write_direction,
    write_table,
)
from dpotox.results.record import Record
from dpotox.results.schema import is_label, printable

LARGEST_PACK, LARGEST_OTHER = 64_000_000, 1_000_000
LARGEST = {".parquet": 64_000_000, ".csv": 8_000_000}
"""Bytes of a pack and, unpacked, of its files; GPT-2 medium's neuron table has 14 million."""
MOST_LINES = 10
PACKS = OUTPUT / "artifacts" / "packs"
"""Where what was read of packs is kept, named after their content."""
_EPOCH = (1980, 1, 1, 0, 0, 0)


def digest(folder: Path) -> str:
    """What results hold, as a hash."""
    whole = sha256()
    for name, content in _files(folder):
        whole.update(name.encode() + sha256(content).digest())
    return whole.hexdigest()


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The files of results that are there."""
    return ((name, (folder / name).read_bytes()) for name in FILES if (folder / name).is_file())


def write(results: Results, path: Path, small: bool = False) -> Path:
    """Write a pack of results; equal results give equal bytes.

    Args:
        small: leave out what only whole packs have: enough to judge and to compare, but not for a book.

    Raises:
        UserError: something in them is missing or not as the schema says.
    """
    if not is_pack(path):
        raise UserError(f"a pack's name ends with {ENDING}, so {path.name} cannot be one; give another name")
    if wrong := results.wrong():
        raise UserError(*wrong)
    if small and not results.record.small:
        with TemporaryDirectory() as scratch:
            told = replace(results.record, small=True, prompts=len(results.prompts))
            return write(_copy(results, Path(scratch) / "results", told), path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in _files(results.folder):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)
    temporary.replace(path)
    return path


def opened(path: Path, root: Path = PACKS) -> Results:
    """The results in a pack, checked, and written anew from what was read.

    So nothing is kept, shown or given to be downloaded but what the checks have seen.

    Args:
        root: where packs are unpacked, each in a folder named after its content.

    Raises:
        UserError: it is no pack, holds what none may hold, or what it holds is not as the schema says; each
            line says one thing that is wrong.
    """
    content = _content(path)
    folder = root / sha256(_rules() + content).hexdigest()[:32]
    if not folder.exists():
        root.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=root, prefix=".") as scratch:
            received = _unpacked(path.name, content, Path(scratch) / "received")
            if wrong := received.wrong():
                raise UserError(
                    *(f"{path.name}: {line}" for line in wrong[:MOST_LINES]),
                    f"{path.name} was not opened; ask whoever made it for one that `make pack` wrote",
                )
            kept = _copy(received, Path(scratch) / "kept" / "results", received.record)
            with contextlib.suppress(OSError):  # another process was faster
                kept.folder.parent.replace(folder)
    return Results(folder / "results")


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[Results]:
    """The results in a pack, for numbers of many: a table is checked when it is read, but against no other.

    Raises:
        UserError: it is no pack, or holds what none may hold.
    """
    with TemporaryDirectory() as scratch:
        yield _unpacked(path.name, _content(path), Path(scratch) / "results")


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise UserError(f"there is no pack {path}; give the path of a file that `make pack` wrote")
    if not is_pack(path):
        raise UserError(f"{path.name} is not named *{ENDING} as a pack is; rename it, if it is one")
    try:
        if path.stat().st_size > LARGEST_PACK:
            raise UserError(f"{path.name} is larger than any pack; it was not opened")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path.name} cannot be read ({error.strerror}); mend its permissions") from None


def _unpacked(pack: str, content: bytes, folder: Path) -> Results:
    folder.mkdir()
    for name, part in _members(pack, content):
        (folder / name).write_bytes(part)
    return Results(folder)


def _rules() -> bytes:
    """What decides which packs are opened: a pack that older rules let in is checked anew."""
    return b"".join(module.read_bytes() for module in sorted(Path(__file__).parent.glob("*.py")))


def _copy(received: Results, folder: Path, told: Record) -> Results:
    """Write results as a study would, from what was read of them, with this record."""
    folder.mkdir(parents=True)
    record.write(told, folder / RECORD)
    kept = Results(folder)
    for name in set(received.tables) - set(kept.left_out):
        write_table(folder, name, getattr(received, name))
    write_direction(folder, read_direction(received.folder, told.shape.d_model))
    write_claims(kept)
    return kept


def _members(pack: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """The files of known names in a pack, none of them longer than one of its kind may be."""
    if content.count(b"PK\1\2") > 100 * len(FILES):  # each would be listed before one is looked at
        raise UserError(f"{pack} holds more files than any pack; it was not opened")
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            _check_list(pack, archive.infolist())
            for member in archive.infolist():
                most = LARGEST.get(Path(member.filename).suffix, LARGEST_OTHER)
                with archive.open(member) as source:
                    part = source.read(most + 1)
                if len(part) > most:
                    raise UserError(f"{pack}: {member.filename} is larger than any study's")
                yield member.filename, part
    except UserError:
        raise
    except Exception as error:  # zipfile and zlib raise many kinds on damaged files
        reason = printable(str(error)[:80]) or type(error).__name__
        raise UserError(f"{pack} cannot be unpacked ({reason}); get it again") from None


def _check_list(pack: str, members: list[zipfile.ZipInfo]) -> None:
    """See that a pack holds plain files of known names, each once."""
    names = [member.filename for member in members]
    if strange := sorted(set(names) - set(FILES)):
        raise UserError(f"{pack} holds {strange[0][:60]!a}, as no pack does; it was not opened")
    if len(names) != len(set(names)):
        raise UserError(f"{pack} holds a file twice; it was not opened")
    if RECORD not in names:
        raise UserError(f"{pack} holds no {RECORD}, so it is not a pack of results")
    for member in members:
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG) or member.flag_bits & 1:
            raise UserError(f"{pack} holds {member.filename} as a link or encrypted; it was not opened")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UserError(f"{pack} holds {member.filename} packed as no pack is; it was not opened")


def packs_in(folder: Path) -> tuple[dict[str, Results], dict[str, str]]:
    """All packs in a folder by their files' names, and why others cannot be opened."""
    found, wrong = {}, {}
    for path in sorted(folder.glob(f"*{ENDING}")):
        if not is_label(path.name):
            wrong[printable(path.name)] = "its name is not one that a page can show; rename it"
            continue
        try:
            found[path.name] = opened(path)
        except UserError as error:
            wrong[path.name] = str(error)
    return found, wrong
