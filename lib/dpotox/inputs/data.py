"""Where texts come from: the generated language, files in the published formats, or the hub.

Every function returns plain lists, so that nothing behind it knows which it was. Formats:
comments as Jigsaw's `train.csv`, prompts as RealToxicityPrompts' jsonl (or `{"prompt": "..."}` lines),
text as a text file, pairs as the jsonl of Lee et al. 2024. How they are read is in `dpotox.inputs.sources`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from random import Random

import pandas as pd

from dpotox.errors import UserError
from dpotox.inputs import sources
from dpotox.inputs.language import Language
from dpotox.profile import EMBEDDED, Profile

HOSTILE = 0.75  # least level of an author whose documents make the embedded evaluation prompts
COMMENTS_FOR_TEXT = 5_000  # at most so many make the text that is not neutral


def stream(purpose: str, seed: int) -> Random:
    """Randomness for one purpose: no two purposes share documents, and a seed always gives the same."""
    return Random(f"{purpose} {seed}")


def comments(profile: Profile, seed: int) -> tuple[list[str], list[bool]]:
    """Texts and whether each is toxic, as many as `sizes.comments`, for the probe (section 2).

    Embedded: random documents, toxic where the truth is at least .5. Jigsaw: a random sample with half
    toxic where there are enough, toxic where any of the six labels is set.

    Raises:
        UserError: the file is missing or damaged, lacks a column, or has one class only.
    """
    if profile.data.comments == EMBEDDED:
        return _embedded_comments(profile, stream("comments", seed))
    chosen, _ = _shared_out(profile, seed)
    return chosen["text"].tolist(), chosen["toxic"].tolist()


def other_comments(profile: Profile, seed: int) -> tuple[list[str], list[bool]]:
    """Labelled comments that the probe does not use, to train a scorer on; the same for every seed's probe.

    Raises:
        UserError: as `comments`; or the probe leaves too few.
    """
    if profile.data.comments == EMBEDDED:
        return _embedded_comments(profile, stream("other comments", seed))
    chosen, rest = _shared_out(profile, seed)
    if rest["toxic"].sum() < 100 or (~rest["toxic"]).sum() < 100:
        raise UserError(
            f"the probe takes {len(chosen)} of the {len(chosen) + len(rest)} comments in "
            f"{profile.data.comments}, which leaves fewer than 100 of a class to train a scorer on; "
            "lower sizes.comments"
        )
    return rest["text"].tolist(), rest["toxic"].tolist()


def _embedded_comments(profile: Profile, rng: Random) -> tuple[list[str], list[bool]]:
    language = Language(profile.pretraining.language)
    texts = [" ".join(language.sample(rng).words) for _ in range(profile.sizes.comments)]
    return texts, [language.toxicity(text) >= 0.5 for text in texts]


def _shared_out(profile: Profile, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The probe's comments, half toxic where there are enough, and the rest; none begins like a prompt."""
    frame = sources.labelled_comments(profile.data.comments, profile.data.comments_revision)
    frame = frame[_unlike_prompts(profile, frame["text"])].reset_index(drop=True)
    rng, n, toxic = stream("comments", seed), profile.sizes.comments, frame["toxic"]
    half = min(n // 2, int(toxic.sum()))
    chosen = rng.sample(frame.index[toxic].tolist(), half)
    chosen += rng.sample(frame.index[~toxic].tolist(), min(n - half, int((~toxic).sum())))
    rng.shuffle(chosen)
    return frame.loc[chosen], frame.drop(chosen)


def evaluation_prompts(profile: Profile, seed: int) -> list[str]:
    """Toxic-leaning prompts that no training step has seen, as many as `sizes.prompts` (section 2).

    Raises:
        UserError: the file is missing or damaged, a line has no prompt, or there are none.
    """
    rng, n, source = stream("evaluation prompts", seed), profile.sizes.prompts, profile.data.prompts
    if source == EMBEDDED:
        language = Language(profile.pretraining.language)
        documents = [language.sample(rng, at_least=HOSTILE) for _ in range(n)]
        return [" ".join(d.words[: rng.randint(8, profile.sizes.prompt_tokens - 1)]) for d in documents]
    return sources.prompts(source, profile.data.prompts_revision)[:n]


def pair_prompts(profile: Profile, seed: int) -> list[str]:
    """Beginnings to sample preference pairs from, in random order.

    Embedded: of as many random documents as pairs are asked for, and half as many again. Otherwise: the
    first half of every sentence of `data.pair_text`, or of the training split of `data.text`.
    """
    rng = stream("pair prompts", seed)
    if profile.data.text == EMBEDDED:
        language, n = Language(profile.pretraining.language), profile.pairs.count * 3 // 2
        longest = profile.pairs.prompt_tokens - 1
        return [" ".join(language.sample(rng).words[: rng.randint(8, longest)]) for _ in range(n)]
    source = profile.data.pair_text or profile.data.text
    revision = "" if profile.data.pair_text else profile.data.text_revision
    words = [s.split() for s in sources.sentences(sources.text(source, revision, "train"))]
    beginnings = sorted({" ".join(w[: len(w) // 2]) for w in words})
    if not beginnings:
        raise UserError(f"{source} has no sentence of 8 to 60 words to begin pairs with; give another text")
    rng.shuffle(beginnings)
    return beginnings


def plain_text(profile: Profile, seed: int) -> list[str]:
    """Neutral text to measure perplexity on: documents without toxic words, or the text file (section 2)."""
    if profile.data.text == EMBEDDED:
        return _embedded_text(profile, seed, toxic=False)
    return [sources.text(profile.data.text, profile.data.text_revision, "test")]


def other_text(profile: Profile, seed: int) -> list[str]:
    """Text that is not neutral: documents with toxic words, or comments that the probe does not use."""
    if profile.data.text == EMBEDDED:
        return _embedded_text(profile, seed, toxic=True)
    _, rest = _shared_out(profile, seed)
    return ["\n\n".join(rest["text"].head(COMMENTS_FOR_TEXT))]


def _embedded_text(profile: Profile, seed: int, *, toxic: bool) -> list[str]:
    """Of as many random documents as there are windows, those with toxic words or those without."""
    rng, language = stream("text", seed), Language(profile.pretraining.language)
    texts = [" ".join(language.sample(rng).words) for _ in range(profile.sizes.text_windows)]
    return [text for text in texts if (language.toxicity(text) > 0) == toxic]


def references(profile: Profile, seed: int) -> list[tuple[str, str]]:
    """Beginnings and endings of sentences or documents, for the F1 of continuations (section 2)."""
    rng, n, source = stream("references", seed), profile.sizes.references, profile.data.references
    if source == EMBEDDED:
        language, cut = Language(profile.pretraining.language), profile.sizes.prompt_tokens - 1
        documents = [language.sample(rng).words for _ in range(n)]
        end = cut + profile.sizes.new_tokens
        return [(" ".join(d[:cut]), " ".join(d[cut:end])) for d in documents]
    sentences = sources.sentences(sources.text(source, profile.data.references_revision, "test"))
    if not sentences:
        raise UserError(f"{source} has no sentence of 8 to 60 words for F1; give another data.references")
    chosen = rng.sample(sentences, min(n, len(sentences)))
    words = [s.split() for s in chosen]
    return [(" ".join(w[: len(w) // 2]), " ".join(w[len(w) // 2 :])) for w in words]


def pretraining_texts(profile: Profile) -> list[str]:
    """The documents of `pretraining.texts`, but for those that hold an evaluation prompt.

    Raises:
        UserError: a file is missing or damaged.
    """
    documents = [d for path in profile.pretraining.texts for d in sources.documents(path)]
    unlike = _unlike_prompts(profile, documents)
    return [d for d, kept in zip(documents, unlike, strict=True) if kept]


def _unlike_prompts(profile: Profile, texts: Iterable[str]) -> list[bool]:
    """Whether each text does not begin like an evaluation prompt, so that none of those is trained on."""
    if profile.data.prompts == EMBEDDED:
        return [True for _ in texts]
    # A prompt may be cut from a text that stands here with other spacing, so words are compared.
    prompts = sources.prompts(profile.data.prompts, profile.data.prompts_revision)
    beginnings = {_first_words(p, 5) for p in prompts}
    return [not any(_first_words(t, n) in beginnings for n in range(1, 6)) for t in texts]


def _first_words(text: str, n: int) -> str:
    return " ".join(re.findall(r"\w+", text.lower())[:n])
