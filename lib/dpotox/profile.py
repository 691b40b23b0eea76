"""What is run: a profile names the model, the data, the sizes, the training and the device.

A profile is a TOML file. `mini`, `gpt2` and `gpt2-medium` ship with the package; `load_profile` also takes
the path of one's own. A file may begin with `extends = "mini"` and then give only the keys that differ.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from dpotox.errors import UserError

Count = Annotated[int, Field(gt=0)]
Whole = Annotated[int, Field(ge=0)]
Counts = Annotated[list[Count], Field(min_length=1)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, lt=1)]

NeuronSet = Literal[
    *("TP-", "AN-", "TN+", "AP+", "TP+", "AN+", "TN-", "AP-"),
    *("all four groups", "the other four groups", "all neurons"),
]
"""Neurons by group: each of the eight, those that reduce toxicity, their complement, and both."""
Objective = Literal["ipo", "hinge", "kto", "sft", "simpo", "orpo", "again"]
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)
"""What else than DPO is trained by (`dpotox.paper.objectives`); `again` is DPO in another order."""

_strict = dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))

EMBEDDED = "embedded"
"""As a model, data set or scorer: made here from the generated language, no file and no network."""
FILE_ENDINGS = (".csv", ".json", ".jsonl", ".txt", ".raw", ".tokens", ".md", ".pt", ".py")
HUB_FILES = ("model.aligned", "probe.path", "data.pairs")
"""Keys that may name one file in a repository of the hub."""
LARGEST = 1_000_000
"""Bytes of a profile; one that is larger was not written by hand."""
TRAINED = "trained"
"""As a scorer: trained here on the labelled comments that the probe does not use."""


@_strict
class Model:
    """The model under study: `embedded` (pre-trained here), a hub id, or a folder."""

    base: str = EMBEDDED
    revision: str = ""
    tokenizer: str = ""  # folder or hub id, where it is not the model's own
    tokenizer_revision: str = ""
    aligned: str = ""  # a finished model instead of training here: `dpo.pt`, a folder, a hub id, an adapter
    aligned_revision: str = ""
    chat: bool = False  # put every prompt into the tokenizer's chat template, as the turn of a user
    remote: bool | Literal["local"] = False  # run both models at NDIF; "local": here, but as NDIF would


@_strict
class Pretraining:
    """How the embedded model is made (used only with `model.base = "embedded"`)."""

    family: Literal["gpt2", "gpt_neox", "llama", "gemma2"] = "gpt2"  # the architecture
    texts: list[str] = Field([])  # files to train on; none: the generated language
    language: Literal["rich", "plain"] = "rich"  # which of the generated ones, in all that is embedded
    vocabulary: Count = 4_096  # tokens of the byte-level BPE trained on `texts`
    passes: Count = 4  # over the rows of `texts`
    dropout: float = 0.0
    layers: Count = 4
    d_model: Count = 128
    heads: Count = 4
    d_mlp: Count = 512
    init_std: float = 0.06
    mlp_bias: float = -1.0  # initial bias before the GELU, in families that have one
    rows: Count = 24_000  # generated documents, each seen once; at most so many rows of `texts`
    words: Count = 47  # words per generated document; tokens per row of `texts`, less one
    batch_size: Count = 32
    muon_lr: float = 0.02  # block matrices
    muon_weight_decay: float = 0.15
    adamw_lr: float = 0.003  # everything else
    warmup_steps: Whole = 50
    decay_share: float = 0.5  # of all steps, at the end


@_strict
class Data:
    """Where texts come from: `embedded`, a file, or a hub id; revisions pin hub ids."""

    comments: str = EMBEDDED  # Jigsaw's train.csv or a hub copy of it
    comments_revision: str = ""
    prompts: str = EMBEDDED  # RealToxicityPrompts, jsonl or hub
    prompts_revision: str = ""
    text: str = EMBEDDED  # a text file or WikiText on the hub, for perplexity
    text_revision: str = ""
    pair_text: str = ""  # a text file whose sentences begin the pairs; else the training split of `text`
    references: str = EMBEDDED  # a text file whose sentences give the F1 references
    references_revision: str = ""
    pairs: str = EMBEDDED  # "embedded": sampled here; or the authors' jsonl
    pairs_revision: str = ""


@_strict
class Sizes:
    """How much of each."""

    comments: Count = 8_000
    prompts: Count = 600  # evaluation prompts
    fewer_prompts: Count = 160  # the first of them, for what no rule needs more: samples and random draws
    prompt_tokens: Annotated[int, Field(ge=10)] = 16  # prompts are cut to this
    new_tokens: Count = 20  # continuation length
    text_windows: Count = 400  # perplexity windows
    window_tokens: Count = 48
    references: Count = 300  # F1 references
    chunks: Count = 20  # blocks of prompts that the bootstrap resamples


@_strict
class Probe:
    """The linear toxicity probe."""

    path: str = ""  # the authors' `probe.pt` instead of fitting here
    path_revision: str = ""
    held_out: Share = 0.25  # share of comments, half to choose C and half to report
    C: Annotated[list[Positive], Field(min_length=1)] = Field([1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0])
    auc_tolerance: float = 0.02  # the strongest regularisation within this of the best is taken
    max_tokens: Count = 48


@_strict
class Scorer:
    """What says how toxic a text is; see `dpotox.inputs.scoring` for what can be named."""

    name: str = EMBEDDED
    revision: str = ""
    second: str = ""  # another scorer, to see whether the outcome depends on the first
    second_revision: str = ""
    mask_from: float = 0.2  # a word that by itself scores at least this is masked in the book


@_strict
class Pairs:
    """Preference pairs, given or made here from samples of the model (`dpotox.paper.pairs`)."""

    count: Count = 700  # pairs to make
    samples: Count = 8  # per prompt and round
    margin: float = 0.4  # least difference of toxicity within a pair
    # Strengths of the rounds after the first, where they are needed, in units of the distance between
    # toxic and other comments along the probe.
    steering: list[float] = Field([])
    prompt_tokens: Count = 16
    new_tokens: Count = 20
    validation: Count = 64


@_strict
class Dpo:
    """Direct preference optimisation, by `trl.DPOTrainer`."""

    beta: Positive = 0.1
    learning_rate: Positive = 1.5e-5
    optimizer: str = "adamw_torch"
    schedule: str = "linear"
    warmup_steps: Whole = 0
    batch_size: Count = 16
    steps: Count = 90  # at most
    eval_every: Count = 10  # steps between evaluations, each of which leaves a checkpoint
    patience: Whole = 0  # evaluations without progress before the end; 0: no such end
    max_grad_norm: float = 10.0


@_strict
class Interventions:
    """How many neurons the rows of table 1 touch."""

    ablate_top: Counts = Field([2, 4, 21])
    ablate_top_positive: Counts = Field([2, 4, 21, 42])
    scale_top: Count = 7
    scale_factors: Annotated[list[float], Field(min_length=1)] = Field([2.0, 5.0, 10.0])
    # Which sets of neurons are patched, held, shifted and copied.
    sets: list[NeuronSet] = Field([s for s in get_args(NeuronSet) if s not in ("TP+", "AN+", "TN-", "AP-")])
    draws: Whole = 20  # random choices of neurons beside some rows
    writers: Whole = 8  # single heads, and single neurons, whose changes are tried; 0: nor those of layers
    # Shares of all neurons, of which is tried how much of DPO's effect they carry; none: of no number.
    counted: list[Annotated[float, Field(gt=0, lt=1)]] = Field([0.002, 0.01, 0.03, 0.1, 0.3])
    counted_draws: Count = 2  # random choices of as many
    figure_top: Count = 21  # most toxic neurons in chapter 4; the paper takes 128 of 98,304


@_strict
class Nulls:
    """What the shares are compared with (`dpotox.paper.nulls`)."""

    directions: Count = 200  # random ones
    shuffled_labels: Count = 200  # probes fitted to shuffled labels
    # DPO trained again on such preferences.
    placebos: list[Literal["shuffled", "reversed"]] = Field(["shuffled", "reversed"])


@_strict
class Beyond:
    """What the chapters beyond the paper try; an empty list turns a chapter off."""

    # Numbers of directions of the residual stream, of which is tried how much of DPO's effect they carry.
    ranks: list[Count] = Field([1, 4, 16])
    rank_draws: Count = 1  # random choices of as many
    # How far to go from the weights before DPO (0) to those after it (1), besides these two.
    along: list[float] = Field([-1.0, -0.5, 0.5, 1.5, 2.0])
    # Losses that are trained by on the same pairs until they do as much as DPO.
    objectives: list[Objective] = Field(["sft", "again"])
    objective_tries: Count = 5  # learning rates that are tried at most for it to do as much
    objective_rates: dict[Objective, Positive] = Field({})  # the first of them, in DPO's; of others 1
    objective_placebos: bool = True  # each trained on shuffled preferences too
    # How strongly toxicity is edited or steered away without training, in multiples of the unit below.
    strengths: list[Positive] = Field([4.0, 16.0, 32.0])
    # How often DPO's own mean change of neurons is added, to see how far that gets.
    shifts: list[Positive] = Field([1.0, 2.0, 4.0])
    edit_share: Annotated[float, Field(gt=0, le=1)] = 0.5  # of each group, by cosine: the authors' beta
    edit_alpha: Positive = 0.05  # by which part of its mean a neuron is moved at strength 1: their alpha
    best_of: list[Annotated[int, Field(ge=2)]] = Field([2, 4])  # samples of which the least toxic is taken
    # Steps of training on toxic texts, and on others, after which toxicity is measured.
    relearning_steps: list[Count] = Field([5, 15, 45])


@_strict
class Compute:
    """Where and how it is computed."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"  # auto: cuda, else mps, else cpu
    device_map: Literal["", "auto"] = ""  # auto: spread a model too large for one GPU over all of them
    threads: Count = 2
    processes: Count = 1  # among which the rows of table 1 are shared out, and the threads; not on a GPU
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    batch_size: Count = 300  # prompts at once while generating
    bootstrap: Count = 2_000  # resamples of prompts for intervals
    neuron_bootstrap: Count = 200  # resamples of the whole neuron table


@_strict
class Profile:
    """Everything that decides a result, but for the seed."""

    name: str
    title: str = ""
    extends: str = ""  # the profile that gives the keys this one leaves out (else: the values below)
    model: Model = Model()
    pretraining: Pretraining = Pretraining()
    data: Data = Data()
    sizes: Sizes = Sizes()
    probe: Probe = Probe()
    scorer: Scorer = Scorer()
    pairs: Pairs = Pairs()
    dpo: Dpo = Dpo()
    interventions: Interventions = Interventions()
    nulls: Nulls = Nulls()
    beyond: Beyond = Beyond()
    compute: Compute = Compute()

    def settings(self, *names: str) -> dict:
        """The named sections, or `section.key`s with their revisions, as plain data."""
        result: dict[str, dict] = {}
        for name in names:
            section, _, key = name.partition(".")
            values = asdict(getattr(self, section))
            wanted = {key, f"{key}_revision"} & set(values) if key else set(values)
            result.setdefault(section, {}).update({k: v for k, v in values.items() if k in wanted})
        return result


def load_profile(name_or_path: str) -> Profile:
    """Read a shipped profile by name, or a TOML file by path.

    Raises:
        UserError: no such profile or file, not TOML, an unknown key, or a value of the wrong type; the
            message names the key and what is accepted.
    """
    shipped = {p.stem: p for p in Path(__file__).with_name("profiles").glob("*.toml")}
    path = shipped.get(str(name_or_path)) or Path(name_or_path).expanduser()
    if not path.is_file():
        raise UserError(
            f"there is no profile or file {str(name_or_path)!r}; shipped profiles: "
            f"{', '.join(sorted(shipped))}; or give the path of a TOML file"
        )
    name = path.name.removesuffix(".toml")
    if not re.fullmatch(r"\w[\w.-]*", name):  # results go to a folder of this name
        raise UserError(f"{path}: a profile's name is of letters, digits, '_', '-' and '.'; rename the file")
    content = _read_toml(path)
    extends = content.get("extends")
    if isinstance(extends, str) and extends in shipped:
        content = _extended(load_profile(extends), content)
    try:
        # As JSON, because only there pydantic reads tables into dataclasses and is strict about types.
        profile = TypeAdapter(Profile).validate_json(json.dumps(content | {"name": name}, default=str))
    except ValidationError as error:
        raise UserError(*(f"{path}: {line}" for line in _explain(error))) from None
    except RecursionError:
        raise UserError(f"{path} is nested more deeply than any profile; take out the inner tables") from None
    if profile.extends and profile.extends not in shipped:
        raise UserError(
            f"{path}: extends = {profile.extends!r} is not a shipped profile; there are "
            f"{', '.join(sorted(shipped))}"
        )
    return _checked(profile, path)


def _read_toml(path: Path) -> dict:
    if path.stat().st_size > LARGEST:
        raise UserError(f"{path} is larger than {LARGEST:,} bytes, which no profile needs to be; shorten it")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not a TOML file that can be read: {error}") from None


def _extended(parent: Profile, content: dict) -> dict:
    """The content of a file with the keys that it leaves out as another profile has them."""
    whole = asdict(parent) | {"title": ""}  # which is the parent's own
    for key, value in content.items():
        if isinstance(value, dict) and isinstance(section := whole.get(key), dict):
            # A revision belongs to the source that the parent named.
            stale = {"revision" if k in ("base", "name") else f"{k}_revision" for k in value}
            value = {k: "" if k in stale else v for k, v in section.items()} | value
        whole[key] = value
    return whole


def _checked(profile: Profile, path: Path) -> Profile:
    """The profile with its files found, after checks that concern several keys."""
    if profile.sizes.chunks > profile.sizes.prompts:
        raise UserError(f"{path}: sizes.chunks is larger than sizes.prompts; lower it")
    if profile.pairs.validation < profile.dpo.batch_size:
        raise UserError(f"{path}: pairs.validation is smaller than dpo.batch_size; raise it")
    if profile.model.chat and profile.model.base == EMBEDDED:
        raise UserError(f"{path}: the embedded model knows no chat; leave model.chat out")
    if profile.model.base != EMBEDDED or profile.pretraining.texts:
        named = {f"{s}.{k}": v for s in ("data", "scorer") for k, v in asdict(getattr(profile, s)).items()}
        if own := [k for k, v in named.items() if v == EMBEDDED and k != "data.pairs"]:
            raise UserError(
                f"{path}: 'embedded' is the generated language, which this profile's model does not speak; "
                f"name a file, a hub id or a classifier in {', '.join(own)}"
            )
    profile = _located(profile, path)
    pairs_made_here = profile.data.pairs == EMBEDDED and not profile.model.aligned
    if pairs_made_here and Path(profile.data.text).is_file() and not profile.data.pair_text:
        raise UserError(
            f"{path}: data.text is one file; name another one as data.pair_text, as pairs must not begin "
            "with the text that perplexity is measured on"
        )
    return profile


def _located(profile: Profile, path: Path) -> Profile:
    """The profile with the whole paths of its files, which are given relative to its own folder."""
    missing: list[str] = []

    def located(key: str, value: str) -> str:
        file, colon, function = value.partition(".py:")  # a scorer of one's own
        there = path.parent / Path(f"{file}.py" if colon else value).expanduser()
        if value in ("", EMBEDDED, TRAINED) or key.endswith("revision"):
            return value
        if there.exists():
            return f"{there.resolve()}{':' + function if colon else ''}"
        on_the_hub = key in HUB_FILES and value.count("/") > 1
        if value.startswith(("/", "~", ".")) or (there.suffix in FILE_ENDINGS and not on_the_hub):
            missing.append(
                f"{path}: {key} = {value!r}, but there is no file or folder {there}; mend the path"
            )
        return value

    texts = [located("pretraining.texts", p) for p in profile.pretraining.texts]
    sections: dict = {"pretraining": replace(profile.pretraining, texts=texts)}
    for name in ("model", "data", "probe", "scorer"):
        section = getattr(profile, name)
        named = {k: v for k, v in asdict(section).items() if isinstance(v, str)}
        sections[name] = replace(section, **{k: located(f"{name}.{k}", v) for k, v in named.items()})
    if missing:
        raise UserError(*missing)
    return replace(profile, **sections)


def _explain(error: ValidationError) -> list[str]:
    """One line for each thing that is wrong, with the accepted keys or type."""
    lines = []
    for wrong in error.errors():
        key, section = ".".join(map(str, wrong["loc"])), wrong["loc"][:-1]
        if wrong["type"] == "unexpected_keyword_argument":
            owner = getattr(Profile, section[0]) if section else Profile
            accepted = [f.name for f in fields(owner) if section or f.name != "name"]
            lines.append(f"unknown key {key!r}; accepted here: {', '.join(accepted)}")
        elif wrong["type"] == "json_invalid":  # which what was written just now is for one reason alone
            lines.append("nested more deeply than any profile; take out the inner tables")
        else:
            lines.append(f"{key} = {wrong['input']!r}: {wrong['msg'].lower()}")
    return lines
