"""What the hub says of a repository before anything large is fetched: its revision, files, sizes and gate.

Nothing but these facts is asked for here; where the hub cannot be reached, what was downloaded before counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import filter as matching
from pathlib import Path

from huggingface_hub import (
    HfApi,
    constants,
    errors,
    get_hf_file_metadata,
    hf_hub_url,
    snapshot_download,
    try_to_load_from_cache,
)
from huggingface_hub.utils import filter_repo_objects

from dpotox.errors import UserError

SECONDS = 10
"""How long an answer of the hub is waited for."""
WEIGHTS = (
    *("model.safetensors", "model-*.safetensors", "pytorch_model.bin", "pytorch_model-*.bin"),
    "adapter_model.safetensors",
)
"""The files of a model's weights, in the order in which the first kind that is there is taken."""
SMALL = ["*.json", "*.txt", "*.model"]
"""What is fetched of a model beside its weights."""
TABLES = (".parquet", ".csv", ".json", ".jsonl", ".jsonl.gz", ".json.gz", ".txt", ".tsv", ".arrow", ".zst")
"""Endings of the files that hold a data set."""


@dataclass(frozen=True)
class Repository:
    """A revision of a repository, and what would be fetched from it.

    Attributes:
        revision: the commit.
        files: the sizes in bytes of the files that are needed, of which `here` are downloaded already.
        reached: whether the hub answered; if not, this is what lies in its client's cache.
    """

    name: str
    revision: str
    files: dict[str, int]
    here: frozenset[str]
    reached: bool = True

    @property
    def to_download(self) -> int:
        """Bytes that are still to come."""
        return sum(size for file, size in self.files.items() if file not in self.here)


def look_up(name: str, revision: str, kind: str, *, folder: str = "", file: str = "") -> Repository:
    """Ask the hub for a revision of a repository; nothing is downloaded.

    Args:
        kind: `model`, `tokenizer` (of a model, whose weights are not read) or `dataset`.
        folder: of a data set, the folder of the configuration that is read.
        file: the one file that is read.

    Raises:
        UserError: there is no such repository, revision or file, its licence is not accepted, or the hub
            cannot be reached and nothing of it was downloaded before.
    """
    api, repo_type = HfApi(), "dataset" if kind == "dataset" else "model"
    ask = api.dataset_info if kind == "dataset" else api.model_info
    page = f"{constants.ENDPOINT}/{'datasets/' if kind == 'dataset' else ''}{name}"
    try:
        info = ask(name, revision=revision or None, files_metadata=True, timeout=SECONDS)
        wanted = _wanted({s.rfilename: s.size or 0 for s in info.siblings or []}, kind, folder, file)
        if info.gated and wanted:  # what it says of its files needs no licence; a file does
            address = hf_hub_url(name, next(iter(wanted)), repo_type=repo_type, revision=info.sha)
            get_hf_file_metadata(address, timeout=SECONDS)
    except errors.GatedRepoError:
        raise UserError(
            f"{page} asks for its terms to be accepted; log in there and accept them, make a "
            f"token at {constants.ENDPOINT}/settings/tokens and give it as HF_TOKEN or by `hf auth login`"
        ) from None
    except errors.RevisionNotFoundError:
        raise UserError(f"{name} has no revision {revision!r}; take one of {page}/commits/main") from None
    except errors.RepositoryNotFoundError:
        raise UserError(
            f"{page} is not there, or private; check the id, or give the path of a file or "
            "folder; a private one needs a token in HF_TOKEN"
        ) from None
    except Exception as error:  # the client and what it stands on raise many kinds where there is no network
        return _from_cache(name, revision, kind, folder, file, error)
    if not wanted:
        what = f"no file {file!r}" if file else f"no data in {folder!r}" if folder else "no files to read"
        raise UserError(f"{page} has {what} at {info.sha}; check the name and the revision")
    cached = {f: try_to_load_from_cache(name, f, revision=info.sha, repo_type=repo_type) for f in wanted}
    here = frozenset(f for f, path in cached.items() if isinstance(path, str))
    return Repository(name, info.sha, wanted, here)


def _wanted(sizes: dict[str, int], kind: str, folder: str, file: str) -> dict[str, int]:
    """The files that the study reads, of all that a repository has."""
    if file:
        wanted = [f for f in sizes if f == file]
    elif kind == "dataset":
        inside = f"{folder}/" if folder else ""
        wanted = [f for f in sizes if f.startswith(inside) and f.lower().endswith(TABLES)]
    elif kind == "tokenizer":
        wanted = list(filter_repo_objects(sizes, allow_patterns=SMALL))
    else:
        # Most models lie there in several formats, of which one is fetched; folders in it hold others.
        top = [f for f in sizes if "/" not in f]
        weights = next((found for glob in WEIGHTS if (found := matching(top, glob))), [])
        wanted = weights and [*weights, *sorted(filter_repo_objects(top, allow_patterns=SMALL))]
    return {f: sizes[f] for f in wanted}


def _from_cache(name: str, revision: str, kind: str, folder: str, file: str, error: Exception) -> Repository:
    options = {"repo_type": "dataset" if kind == "dataset" else "model", "revision": revision or None}
    try:
        kept = Path(snapshot_download(name, **options, local_files_only=True))
    except errors.LocalEntryNotFoundError:
        kept = None
    files = [f for f in kept.rglob("*") if f.is_file()] if kept else []
    sizes = {str(f.relative_to(kept)): f.stat().st_size for f in files}
    if wanted := _wanted(sizes, kind, folder, file):
        return Repository(name, kept.name, wanted, frozenset(wanted), reached=False)
    if isinstance(error, errors.OfflineModeIsEnabled):
        reason, way_out = "HF_HUB_OFFLINE is set", "unset it"
    else:
        reason = f"no answer from {constants.ENDPOINT}: {type(error).__name__}"
        way_out = "check the network and the proxy"
    at = f" at {revision}" if revision else ""
    raise UserError(
        f"{name}{at} was not downloaded before and cannot be looked up ({reason}); {way_out}, or give the "
        "path of a file or folder"
    ) from None


def size(number: float) -> str:
    """Bytes as a person reads them."""
    for unit, step in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= step:
            return f"{number / step:.1f} {unit}"
    return f"{number:.0f} bytes"
