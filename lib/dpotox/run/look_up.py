"""What a profile names, looked up before the work: is it there, does it fit together, what is to be fetched?

Files are read; of the hub's repositories only what they say of themselves, a model's configuration and its
tokenizer. All that is wrong is found at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PretrainedConfig, PreTrainedModel
from transformers.utils import find_adapter_config_file

from dpotox import ndif
from dpotox.errors import UserError, first_line
from dpotox.inputs import data, networks, scoring, sources
from dpotox.inputs.windows import added_by_chat, cut
from dpotox.model.architecture import architecture_of
from dpotox.profile import EMBEDDED, FILE_ENDINGS, TRAINED, Profile
from dpotox.run.hub import Repository, look_up, size

WIKITEXT = "wikitext-2-raw-v1"


@dataclass(frozen=True)
class Source:
    """One thing that a profile names.

    Attributes:
        kind: `model`, `dataset`, `file` (one file, which may lie in a repository), or `code`.
    """

    key: str
    name: str
    revision: str
    kind: str

    @property
    def is_local(self) -> bool:
        """Whether it is a file or folder here."""
        return self.kind == "code" or Path(self.name).exists()

    @property
    def is_made(self) -> bool:
        """Whether it is made here."""
        return self.name in (EMBEDDED, TRAINED)

    def __str__(self) -> str:
        return f"{self.key} = {self.name!r}"


@dataclass
class Inputs:
    """What was found.

    Attributes:
        lines: what is fine, a line each.
        problems: what is not: what, why, the way out.
        warnings: what will work, but not as asked for.
        repositories: what the hub says of those that lie there.
        network: the model under study without its weights, on torch's `meta` device, if it is known.
        scorers: the configuration of every scorer that is a classifier, by key.
    """

    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    repositories: list[Repository] = field(default_factory=list)
    network: PreTrainedModel | None = None
    tokenizer: Any = None
    scorers: dict[str, PretrainedConfig] = field(default_factory=dict)

    @property
    def to_download(self) -> int:
        """Bytes to be downloaded; what several keys name counts once."""
        return sum({(r.name, r.revision, *r.files): r.to_download for r in self.repositories}.values())

    @contextmanager
    def noting(self, what: object = "") -> Iterator[None]:
        """Note what is raised as a problem, and go on."""
        try:
            yield
        except UserError as error:
            self.problems += [f"{what}: {line}" if what else line for line in error.args]


def named(profile: Profile) -> list[Source]:
    """All that a profile names and the study reads."""
    model, given, scorer = profile.model, profile.data, profile.scorer
    some = []
    if model.base != EMBEDDED:
        some.append(Source("model.base", model.base, model.revision, "model"))
        some.append(Source("model.tokenizer", model.tokenizer, model.tokenizer_revision, "tokenizer"))
    kind = "file" if model.aligned.endswith(FILE_ENDINGS) else "model"
    some.append(Source("model.aligned", model.aligned, model.aligned_revision, kind))
    some += [Source("pretraining.texts", path, "", "file") for path in profile.pretraining.texts]
    for key in ("comments", "prompts", "text", "references"):
        some.append(Source(f"data.{key}", getattr(given, key), getattr(given, f"{key}_revision"), "dataset"))
    if not model.aligned:
        some.append(Source("data.pairs", given.pairs, given.pairs_revision, "file"))
        if given.pairs == EMBEDDED:
            some.append(Source("data.pair_text", given.pair_text, "", "file"))
    some.append(Source("probe.path", profile.probe.path, profile.probe.path_revision, "file"))
    for key, name, revision in (
        ("scorer.name", scorer.name, scorer.revision),
        ("scorer.second", scorer.second, scorer.second_revision),
    ):
        some.append(Source(key, name, revision, "code" if ".py:" in name else "model"))
    return [s for s in some if s.name]


def look_at(profile: Profile, seed: int) -> Inputs:
    """Look everything up that a profile names; what is wrong is in the result's `problems`."""
    inputs = Inputs()
    some = named(profile)
    there = {s.key: s for s in some if _is_here(inputs, s)}
    distant = [s for s in some if not s.is_local and not s.is_made]
    with ThreadPoolExecutor(8) as pool:  # an answer may take seconds, or not come
        for source, ask in zip(distant, [pool.submit(_ask, s) for s in distant], strict=True):
            with inputs.noting(source.key):
                repository = ask.result()
                inputs.repositories.append(repository)
                inputs.lines.append(_line(source, repository))
                there[source.key] = source
    _look_at_model(inputs, profile, there)
    if profile.model.remote is True:
        _look_at_ndif(inputs, profile)
    for key in ("scorer.name", "scorer.second"):
        if key in there and not there[key].is_made:
            with inputs.noting():
                _look_at_scorer(inputs, there[key])
    _look_at_data(inputs, profile, seed, there)
    return inputs


def _is_here(inputs: Inputs, source: Source) -> bool:
    """Whether a source is here, or will be made; that is noted."""
    if source.is_made:
        inputs.lines.append(f"{source.key}: made here ({source.name})")
        return True
    if not source.is_local:
        return False
    path = Path(source.name.partition(".py:")[0] + ".py" if source.kind == "code" else source.name)
    files = [f for f in (path, *path.rglob("*")) if f.is_file()]
    if files:
        total = size(sum(f.stat().st_size for f in files))
        inputs.lines.append(f"{source.key}: {source.name}, {total}, here")
    else:
        inputs.problems.append(f"{source}: {path} holds no files; give another folder")
    return bool(files)


def _ask(source: Source) -> Repository:
    if source.kind == "file":
        parts = source.name.removeprefix("datasets/").split("/", 2)
        if len(parts) < 3:
            raise UserError(
                "there is no such file; mend the path, or name a file on the hub as org/name/file"
            )
        kind = "dataset" if source.name.startswith("datasets/") else "model"
        return look_up("/".join(parts[:2]), source.revision, kind, file=parts[2])
    folder = WIKITEXT if source.key in ("data.text", "data.references") else ""
    return look_up(source.name, source.revision, source.kind, folder=folder)


def _line(source: Source, found: Repository) -> str:
    """One line about what lies on the hub."""
    pinned = "" if len(source.revision) == 40 else f", asked for as {source.revision or 'the newest'}"
    state = "already downloaded"
    if found.here < found.files.keys():
        state = f"{size(found.to_download)} to be downloaded" if found.to_download else "to be downloaded"
    reached = "" if found.reached else "; the hub does not answer"
    total = size(sum(found.files.values())) if any(found.files.values()) else "size unknown"
    return f"{source.key}: {source.name} at {found.revision[:12]}{pinned}, {total}, {state}{reached}"


def _look_at_model(inputs: Inputs, profile: Profile, there: dict[str, Source]) -> None:
    """The model's configuration, its tokenizer, and what must fit them."""
    if (base := there.get("model.base")) is None:
        return
    own = there.get("model.tokenizer", base)
    with inputs.noting(base):
        config = _loaded(AutoConfig, base, "config.json", "check the folder or the id")
        architecture_of(config)
        if getattr(config, "quantization_config", None):
            raise UserError(
                "it is quantised, so its value vectors cannot be read, nor weights swapped or trained; give "
                "the model that it was made from, with compute.dtype = 'bfloat16' where memory is short"
            )
        with torch.device("meta"):
            inputs.network = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
        if Path(base.name).is_dir() and not any(Path(base.name).glob("*.[sb][ai][fn]*")):
            raise UserError(
                "the folder has no weights, *.safetensors or *.bin; give one made by save_pretrained"
            )
    with inputs.noting():
        inputs.tokenizer = networks.load_tokenizer(own.name, own.revision)
        if inputs.network is not None:
            networks.check_vocabulary(inputs.network, inputs.tokenizer)
    if inputs.network is None:
        return
    positions, around = inputs.network.config.max_position_embeddings, 0
    if profile.model.chat and inputs.tokenizer is not None:
        with inputs.noting():
            around = added_by_chat(inputs.tokenizer)
    for what, length in lengths(profile, around).items():
        if length > positions:
            inputs.problems.append(
                f"{what} is {length}, more than the model's {positions} positions; lower it"
            )
    checkpoint, given = profile.model.aligned, profile.probe.path
    if checkpoint and Path(checkpoint).is_file():
        with inputs.noting():
            networks.load_aligned(inputs.network, checkpoint)  # leaves nothing on `meta`
    elif (aligned := there.get("model.aligned")) and aligned.kind == "model":
        with inputs.noting(aligned):
            _look_at_aligned(aligned, inputs.network.config)
    if given and Path(given).is_file():
        with inputs.noting():
            networks.load_direction(given, inputs.network.config.hidden_size)


def _look_at_aligned(source: Source, base: PretrainedConfig) -> None:
    """An adapter, or a whole model of the same shape as the one before DPO."""
    if find_adapter_config_file(source.name, revision=source.revision or None):
        return
    config = _loaded(AutoConfig, source, "config.json", "give an adapter, a model, or a file of tensors")
    for key in ("model_type", "num_hidden_layers", "hidden_size", "vocab_size"):
        if (here := getattr(config, key)) != (wanted := getattr(base, key)):
            raise UserError(
                f"its {key} is {here}, that of model.base {wanted}; give the model.base that it was made from"
            )


def _look_at_ndif(inputs: Inputs, profile: Profile) -> None:
    """A key, and two models that NDIF runs; nothing can be trained there."""
    model = profile.model
    for key, name, revision in (
        ("model.base", model.base, model.revision),
        ("model.aligned", model.aligned, model.aligned_revision),
    ):
        with inputs.noting(key):
            if not name or name == EMBEDDED or name.endswith(FILE_ENDINGS) or Path(name).exists():
                raise UserError("with model.remote it must be the hub id of a whole model that NDIF runs")
            ndif.check_key()
            ndif.check_served(name, revision)


def lengths(profile: Profile, around: int = 0) -> dict[str, int]:
    """The longest sequences of tokens that a model is given, by the keys that say so.

    Args:
        around: tokens of the chat template, which stand around every prompt.
    """
    sizes, pairs = profile.sizes, profile.pairs
    longest = {
        "sizes.prompt_tokens + sizes.new_tokens": sizes.prompt_tokens + around + sizes.new_tokens,
        "sizes.window_tokens": sizes.window_tokens,
        "probe.max_tokens": profile.probe.max_tokens,
    }
    if not profile.model.aligned:
        longest["pairs.prompt_tokens + pairs.new_tokens"] = pairs.prompt_tokens + around + pairs.new_tokens
    return longest


def _loaded(kind: type, source: Source, what: str, way_out: str) -> Any:
    """What one of transformers' `Auto` classes loads; what it cannot is said with the way out."""
    try:
        return kind.from_pretrained(source.name, revision=source.revision or None, trust_remote_code=False)
    except Exception as error:  # the hub's client, damaged files and packages that are asked for, many kinds
        raise UserError(f"its {what} cannot be used ({first_line(error)}); {way_out}") from None


def _look_at_scorer(inputs: Inputs, source: Source) -> None:
    """A classifier's labels and tokenizer, or whether a function of one's own is there."""
    path, _, function = source.name.rpartition(":")
    if source.kind == "code":
        scoring.own_function(path, function)
        return
    with inputs.noting(source):
        config = _loaded(AutoConfig, source, "config.json", "check the folder or the id")
        inputs.scorers[source.key] = config
        with inputs.noting(source.key):
            scoring.toxic_labels(source.name, config.id2label)
        _loaded(AutoTokenizer, source, "tokenizer", "mend that, or give another")


def _look_at_data(inputs: Inputs, profile: Profile, seed: int, there: dict[str, Source]) -> None:
    """Read what is a file, by itself; and with the rest where nothing has to be fetched for that."""
    given = profile.data
    read: dict[str, Callable[[str], object]] = {
        "data.comments": sources.labelled_comments,
        "data.prompts": sources.prompts,
        "data.text": lambda path: sources.text(path, "", "test"),
        "data.pair_text": lambda path: sources.text(path, "", "train"),
        "data.pairs": lambda path: sources.given_pairs(path, profile.pairs.validation),
    }
    before = len(inputs.problems)
    for key, reader in read.items():
        source = there.get(key)
        if source and (Path(source.name).is_file() or (key == "data.pairs" and Path(source.name).is_dir())):
            with inputs.noting(key):
                reader(source.name)
    for path in profile.pretraining.texts:
        with inputs.noting("pretraining.texts"):
            sources.documents(path)
    near = all(s.is_local or s.name == EMBEDDED for s in named(profile) if s.key.startswith("data."))
    if not near or len(inputs.problems) > before:
        return
    with inputs.noting("data.references"):
        data.references(profile, seed)
    with inputs.noting("data.prompts"):
        prompts = data.evaluation_prompts(profile, seed)
        if inputs.tokenizer is not None:
            cut(inputs.tokenizer, prompts, profile.sizes.prompt_tokens)
    if not profile.model.aligned and given.pairs == EMBEDDED:
        with inputs.noting("data.pair_text" if given.pair_text else "data.text"):
            prompts = data.pair_prompts(profile, seed)
            if len(prompts) < profile.pairs.count:
                raise UserError(
                    f"it has beginnings for {len(prompts):,} pairs at most, of pairs.count = "
                    f"{profile.pairs.count:,}; lower pairs.count or give more text"
                )
    if TRAINED in (profile.scorer.name, profile.scorer.second):
        with inputs.noting("scorer"):
            data.other_comments(profile, seed)
