"""Where texts come from: the generated language, files in the published formats, or the hub.

Every function returns plain lists, so that nothing behind it knows which it was. Formats:
comments as Jigsaw's `train.csv`, prompts as RealToxicityPrompts' jsonl (or `{"prompt": "..."}` lines),
text as a text file, pairs as the jsonl of Lee et al. 2024.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pandas as pd

from dpotox.errors import UserError
from dpotox.language import Language
from dpotox.profile import EMBEDDED, Profile

JIGSAW_LABELS = ["toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate"]
HOSTILE = (0.75, 1.0)  # levels whose documents make the embedded evaluation prompts


def stream(purpose: str, seed: int) -> Random:
    """Randomness for one purpose: no two purposes share documents, and a seed always gives the same."""
    return Random(f"{purpose} {seed}")


def comments(profile: Profile, seed: int) -> tuple[list[str], list[bool]]:
    """Texts and whether each is toxic, as many as `sizes.comments`, for the probe (section 2).

    Embedded: random documents, toxic where the truth is at least .5. Jigsaw: a random sample with half
    toxic where there are enough, toxic where any of the six labels is set.

    Raises:
        UserError: the file is missing, has no `comment_text` or no label column, or one class only.
    """
    rng, n, source = stream("comments", seed), profile.sizes.comments, profile.data.comments
    if source == EMBEDDED:
        language = Language()
        texts = [" ".join(language.sample(rng).words) for _ in range(n)]
        return texts, [language.toxicity(text) >= 0.5 for text in texts]
    if Path(source).suffix == ".csv":
        frame = _read_csv(source)
    else:
        frame = _hub(source, profile.data.comments_revision, "train").to_pandas()
    labels = [c for c in JIGSAW_LABELS if c in frame]
    if "comment_text" not in frame or not labels:
        raise UserError(
            f"{source} has the columns {', '.join(map(repr, frame))}; it needs 'comment_text' and at "
            f"least one of {', '.join(JIGSAW_LABELS)}, as in the Jigsaw challenge's train.csv"
        )
    frame = frame[frame["comment_text"].fillna("").str.strip() != ""]
    toxic = frame[labels].fillna(0).max(axis=1) >= 0.5
    if toxic.nunique() < 2:
        raise UserError(f"{source} has comments of one class only; the probe needs both")
    half = min(n // 2, int(toxic.sum()))
    chosen = rng.sample(frame.index[toxic].tolist(), half)
    chosen += rng.sample(frame.index[~toxic].tolist(), min(n - half, int((~toxic).sum())))
    rng.shuffle(chosen)
    return frame.loc[chosen, "comment_text"].tolist(), toxic.loc[chosen].tolist()


def evaluation_prompts(profile: Profile, seed: int) -> list[str]:
    """Toxic-leaning prompts that no training step has seen, as many as `sizes.prompts` (section 2).

    Raises:
        UserError: the file is missing, a line is not JSON or has no prompt, or there are none.
    """
    rng, n, source = stream("evaluation prompts", seed), profile.sizes.prompts, profile.data.prompts
    if source == EMBEDDED:
        language = Language()
        documents = [language.sample(rng, hostility=rng.choice(HOSTILE)) for _ in range(n)]
        return [" ".join(d.words[: rng.randint(8, profile.sizes.prompt_tokens - 1)]) for d in documents]
    if Path(source).suffix in (".jsonl", ".json"):
        rows = _read_jsonl(source)
    else:
        hub = _hub(source, profile.data.prompts_revision, "train")
        rows = enumerate(hub, 1)
    prompts = []
    for line, row in rows:
        if not row.get("challenging", True):
            continue
        prompt = row.get("prompt")
        prompt = prompt.get("text") if isinstance(prompt, dict) else prompt
        if not isinstance(prompt, str) or not prompt.strip():
            raise UserError(f"{source}, line {line}: no prompt; each line needs a non-empty 'prompt'")
        prompts.append(prompt)
    if not prompts:
        raise UserError(f"{source} holds no prompts; give a file with one JSON object per line")
    return prompts[:n]


def pair_prompts(profile: Profile, seed: int) -> list[str]:
    """Prompts to sample preference pairs from: random documents, or sentences of `data.text`."""
    rng, n = stream("pair prompts", seed), profile.pairs.prompts
    if profile.data.text == EMBEDDED:
        language = Language()
        longest = profile.sizes.prompt_tokens - 1
        return [" ".join(language.sample(rng).words[: rng.randint(8, longest)]) for _ in range(n)]
    sentences = _sentences(_text(profile.data.text, profile.data.text_revision, "train"))
    return [" ".join(s.split()[:12]) for s in rng.sample(sentences, min(n, len(sentences)))]


def plain_text(profile: Profile, seed: int) -> list[str]:
    """Text to measure perplexity on: unseen documents, or the text file as one (section 2)."""
    if profile.data.text == EMBEDDED:
        rng, language = stream("text", seed), Language()
        return [" ".join(language.sample(rng).words) for _ in range(profile.sizes.text_windows)]
    return [_text(profile.data.text, profile.data.text_revision, "test")]


def references(profile: Profile, seed: int) -> list[tuple[str, str]]:
    """Beginnings and endings of sentences or documents, for the F1 of continuations (section 2)."""
    rng, n, source = stream("references", seed), profile.sizes.references, profile.data.references
    if source == EMBEDDED:
        language, cut = Language(), profile.sizes.prompt_tokens - 1
        documents = [language.sample(rng).words for _ in range(n)]
        end = cut + profile.sizes.new_tokens
        return [(" ".join(d[:cut]), " ".join(d[cut:end])) for d in documents]
    sentences = _sentences(_text(source, profile.data.references_revision, "test"))
    cut = profile.sizes.prompt_tokens
    chosen = rng.sample(sentences, min(n, len(sentences)))
    words = [s.split() for s in chosen]
    return [(" ".join(w[: len(w) // 2][:cut]), " ".join(w[len(w) // 2 :])) for w in words]


def given_pairs(path: str, validation: int) -> pd.DataFrame:
    """`prompt`, `chosen` and `rejected` from the authors' jsonl.

    Raises:
        UserError: the file is missing, or a line is not JSON or lacks a field.
    """
    fields = ("prompt_text", "unpert_gen_text", "pert_gen_text")
    pairs = []
    for line, row in _read_jsonl(path):
        if lacking := [f for f in fields if not str(row.get(f) or "").strip()]:
            raise UserError(f"{path}, line {line}: no text in {lacking[0]!r}; needs {', '.join(fields)}")
        pairs.append([row[f] for f in fields])
    if len(pairs) <= validation:
        raise UserError(
            f"{path} holds {len(pairs)} pairs, not more than pairs.validation ({validation}); give more"
        )
    return pd.DataFrame(pairs, columns=["prompt", "chosen", "rejected"])


def _read_csv(path: str) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except FileNotFoundError:
        raise UserError(f"there is no file {path!r}; check [data] in the profile") from None
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(f"{path} is not a UTF-8 CSV file: {error}") from None


def _read_jsonl(path: str) -> Iterator[tuple[int, dict]]:
    """Numbered rows of a file with one JSON object per line; blank lines are skipped."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UserError(f"there is no file {path!r}; check [data] in the profile") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {error}") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {number}: not JSON ({error}); mend or remove it") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: not a JSON object; mend or remove it")
        yield number, row


def _text(source: str, revision: str, split: str) -> str:
    if Path(source).suffix == ".txt":
        try:
            return Path(source).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise UserError(f"there is no file {source!r}; check [data] in the profile") from None
        except UnicodeDecodeError as error:
            raise UserError(f"{source} is not UTF-8 text: {error}") from None
    return "\n\n".join(_hub(source, revision, split, config="wikitext-2-raw-v1")["text"])


def _sentences(text: str) -> list[str]:
    """Sentences of 8 to 60 words, headings left out."""
    lines = [line for line in text.splitlines() if not line.strip().startswith("=")]
    parts = [p.strip() for line in lines for p in re.split(r"(?<=[.!?])\s+", line)]
    return [p for p in parts if 8 <= len(p.split()) <= 60]


def _hub(name: str, revision: str, split: str, config: str | None = None):
    from datasets import load_dataset  # slow to import, and needless without the hub

    try:
        return load_dataset(name, config, split=split, revision=revision or None)
    except Exception as error:  # the hub's client raises many kinds
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UserError(
            f"cannot load the data set {name!r} from the hub ({reason}); check the network, the id and "
            "the revision, or give a local file"
        ) from None
