"""Reading the published formats, from files or from the hub, with a clear word where that fails.

A source is the path of a file, or else the id of a data set on the hub, which a revision pins.
"""

from __future__ import annotations

import csv
import json
import re
import warnings
from collections.abc import Iterable, Iterator
from io import StringIO
from itertools import islice
from pathlib import Path

import pandas as pd
from huggingface_hub import hf_hub_download

from dpotox.errors import UserError, refused
from dpotox.profile import FILE_ENDINGS
from dpotox.progress import note

JIGSAW_LABELS = ["toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate"]


def labelled_comments(source: str, revision: str = "") -> pd.DataFrame:
    """Comments in the columns of the Jigsaw challenge's `train.csv`: `text` and whether it is `toxic`.

    Empty comments and those labelled -1 (unused in the challenge) are left out, and their number is said.

    Raises:
        UserError: the source cannot be read, lacks a column, has a label that is no number, or one class.
    """
    frame = _read_csv(source) if _is_file(source) else _hub(source, revision, "train").to_pandas()
    labels = [c for c in JIGSAW_LABELS if c in frame]
    if "comment_text" not in frame or not labels:
        raise UserError(
            f"{source} has the columns {', '.join(map(repr, frame))}; it needs 'comment_text' and at "
            f"least one of {', '.join(JIGSAW_LABELS)}, as in the Jigsaw challenge's train.csv"
        )
    given = frame[labels].replace("", float("nan"))
    values = given.apply(pd.to_numeric, errors="coerce")
    wrong = values.isna() & given.notna()
    if wrong.any(axis=None):
        row, label = wrong.stack().idxmax()
        raise UserError(
            f"{source}, {_place(source, row)}: the label {label!r} is {str(frame.at[row, label])[:20]!r}, "
            "not a number; mend or remove the row"
        )
    unlabelled = values.isna().all(axis=1)
    if unlabelled.any():
        place = _place(source, int(unlabelled.idxmax()))
        raise UserError(f"{source}, {place}: no label; the file may be cut off, fetch it again")
    empty = frame["comment_text"].fillna("").astype(str).str.strip() == ""
    unused = values.min(axis=1) < 0
    left_out = empty | unused
    if left_out.any():
        first = _place(source, int(left_out.idxmax()))
        note(
            f"{source}: left out {empty.sum()} empty and {unused.sum()} unlabelled comments, from {first} on"
        )
    result = pd.DataFrame({"text": frame["comment_text"], "toxic": values.fillna(0).max(axis=1) >= 0.5})
    result = result[~left_out].reset_index(drop=True)
    if result["toxic"].nunique() < 2:
        raise UserError(f"{source} has comments of one class only; the probe needs both")
    return result


def prompts(source: str, revision: str = "") -> list[str]:
    """Prompts of RealToxicityPrompts (the `challenging` ones), or of lines `{"prompt": "..."}`.

    Raises:
        UserError: the source cannot be read, a line has no prompt, or there are none.
    """
    rows: Iterable = (
        _read_jsonl(source) if _is_file(source) else enumerate(_hub(source, revision, "train"), 1)
    )
    found = []
    for line, row in rows:
        if not row.get("challenging", True):
            continue
        prompt = row.get("prompt")
        prompt = prompt.get("text") if isinstance(prompt, dict) else prompt
        if not isinstance(prompt, str) or not prompt.strip():
            raise UserError(f"{source}, line {line}: no prompt; each line needs a non-empty 'prompt'")
        found.append(prompt)
    if not found:
        raise UserError(f"{source} holds no prompts; give a file with one JSON object per line")
    return found


def given_pairs(path: str, validation: int) -> pd.DataFrame:
    """`prompt`, `chosen` and `rejected` from the authors' jsonl, or from a folder of such files.

    Raises:
        UserError: the file is missing, or a line is not JSON or lacks a field.
    """
    fields = ("prompt_text", "unpert_gen_text", "pert_gen_text")
    pairs = []
    files = sorted(Path(path).glob("*.jsonl")) if Path(path).is_dir() else [path]
    for file, (line, row) in ((f, numbered) for f in files for numbered in _read_jsonl(str(f))):
        texts = {f: row[f] for f in fields if isinstance(row.get(f), str) and row[f].strip()}
        if lacking := [f for f in fields if f not in texts]:
            raise UserError(f"{file}, line {line}: no text in {lacking[0]!r}; needs {', '.join(fields)}")
        pairs.append([texts[f] for f in fields])
    if len(pairs) <= validation:
        raise UserError(
            f"{path} holds {len(pairs)} pairs, not more than pairs.validation ({validation}); give more"
        )
    return pd.DataFrame(pairs, columns=["prompt", "chosen", "rejected"])


def text(source: str, revision: str, split: str) -> str:
    """A text file, or one split of WikiText-2 in its raw version from the hub."""
    if _is_file(source):
        return _read_text(source)
    return "\n\n".join(_hub(source, revision, split, config="wikitext-2-raw-v1")["text"])


def documents(path: str) -> list[str]:
    """Texts to pre-train on: comments of a CSV, prompts of a jsonl, or the lines of a text file."""
    ending = Path(path).suffix
    if ending == ".csv":
        frame = _read_csv(path)
        if "comment_text" not in frame:
            raise UserError(f"{path} has no column 'comment_text'; give a CSV that has, or a text file")
        lines = frame["comment_text"].dropna().astype(str).tolist()
    elif ending in (".json", ".jsonl"):
        lines = prompts(path)
    else:
        lines = _read_text(path).splitlines()
    return [stripped for line in lines if (stripped := line.strip())]


def sentences(text: str) -> list[str]:
    """Sentences of 8 to 60 words, headings left out."""
    lines = [line for line in text.splitlines() if not line.strip().startswith("=")]
    parts = [p.strip() for line in lines for p in re.split(r"(?<=[.!?])\s+", line)]
    return [p for p in parts if 8 <= len(p.split()) <= 60]


def fetch(source: str, revision: str = "") -> str:
    """The path of a file: itself, or `org/name/path` on the hub (`datasets/org/name/path` of a data set).

    Raises:
        UserError: it is neither a file here nor on the hub.
    """
    kind = "dataset" if source.startswith("datasets/") else "model"
    parts = source.removeprefix("datasets/").split("/", 2)
    if Path(source).is_file() or len(parts) < 3 or source.startswith(("/", ".", "~")):
        return source  # whoever reads it says if it is not there
    way_out = "check the path, the network and the revision"
    with refused(f"there is no file {source!r} here, nor on the hub", way_out):
        return hf_hub_download("/".join(parts[:2]), parts[2], repo_type=kind, revision=revision or None)


def _is_file(source: str) -> bool:
    return Path(source).is_file() or Path(source).suffix.lower() in FILE_ENDINGS


def _read_text(path: str) -> str:
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise UserError(f"there is no file {path!r}; check [data] in the profile") from None
    except OSError as error:
        raise UserError(f"cannot read {path} ({error}); check its permissions") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path}, line {line}: not UTF-8 text (byte {content[error.start]:#04x}); save the file as "
            "UTF-8, for example with `iconv -f latin1 -t utf-8`"
        ) from None


def _read_csv(path: str) -> pd.DataFrame:
    content = _read_text(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # more fields than columns
            return pd.read_csv(StringIO(content), index_col=False, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise UserError(
            f"{path} is not a whole CSV file ({reason}); mend that line, or fetch the file again"
        ) from None


def _place(source: str, row: int) -> str:
    """Where a row of a table, counted from 0, begins in its file."""
    if _is_file(source):
        reader = csv.reader(StringIO(_read_text(source)))
        if len(list(islice(reader, row + 1))) > row:  # the header, and the rows before it
            return f"line {reader.line_num + 1}"
    return f"comment {row + 1}"


def _read_jsonl(path: str) -> Iterator[tuple[int, dict]]:
    """Numbered rows of a file with one JSON object per line; blank lines are skipped."""
    for number, line in enumerate(_read_text(path).split("\n"), 1):  # a string may hold other breaks
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {number}: not JSON ({error}); mend or remove it") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: not a JSON object; mend or remove it")
        yield number, row


def _hub(name: str, revision: str, split: str, config: str | None = None):
    from datasets import load_dataset_builder  # slow to import, and needless without the hub

    at = f" at revision {revision}" if revision else ""
    way_out = "check the network, the id and the revision, or give a local file"
    with refused(f"cannot load the data set {name!r}{at} from the hub", way_out):
        builder = load_dataset_builder(name, config, revision=revision or None)
        # Where `datasets` gets no answer, it takes the revision that was used last, whichever was asked for.
        pinned = re.fullmatch("[0-9a-f]{40}", revision) and not Path(name).is_dir()
        if pinned and builder.hash != revision:
            raise UserError(
                f"the data set {name!r} cannot be had from the hub{at}, and what was used last is revision "
                f"{builder.hash}; check the network and the access to it, or give a local file"
            )
        builder.download_and_prepare()
        return builder.as_dataset(split)
