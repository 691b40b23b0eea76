"""The ladder: what runs of models of different shapes measured, as one table.

A *rung* is a shape, a language and a strength of DPO, with a trained model or with the untrained network
beside it. One dimension changes at a time (`ladder.toml`). `ladder_packs` reads the table, `ladder_rules`
judges it.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.resources import files

import pandas as pd

from dpotox.errors import UserError
from dpotox.estimates import Estimate, Evidence
from dpotox.facts import NOISE
from dpotox.paper.groups import REDUCING, gross_and_net
from dpotox.paper.published import published_groups
from dpotox.paper.selections import ALL_FOUR, EVERYTHING
from dpotox.profile import Profile, load_profile
from dpotox.results.agreement import BEST
from dpotox.results.claims import as_estimates, published_evidence
from dpotox.results.folder import ENDING, Results
from dpotox.results.nothing import UNTRAINED
from dpotox.results.record import difference

CONTENT: dict = tomllib.loads(files("dpotox.results").joinpath("ladder.toml").read_text(encoding="utf-8"))
DIMENSIONS = tuple(CONTENT["dimensions"])
FAMILY = "family"
SIZES = tuple(dimension for dimension in DIMENSIONS if dimension != FAMILY)
"""The dimensions of one architecture."""
MEDIUM = "GPT-2 medium"
SEEDS = (0, 1, 2)
"""No more and no fewer."""
TOXICITY, PERPLEXITY = "toxicity after DPO / before", "perplexity on all text after DPO / before"
OWN, SAME, NOTHING = "own text", "same text", "against itself"
"""On which text shifts and changes are taken; the last is of the model before DPO, sampled twice."""
NET, CHANGE = "net / gross", "correlation of activation change with cosine"
TOP, POSITIVE = (
    "top toxic neurons' share of gross, as many as the paper's share",
    "positively active share of all neurons",
)
SHARES = tuple(f"{group} share of gross" for group in REDUCING)
TOGETHER = "TP- and AN- share of gross"
"""Which is TP-'s alone where every neuron is turned towards the probe."""
SHIFTED, SHIFTED_TP = "recovered share of shifting all four", "recovered share of shifting TP-"
COPIED, SWAPPED = "recovered share of copying all neurons", "recovered share of swapping attention"
EDITS = {
    SHIFTED: ("shift, same text", ALL_FOUR),
    SHIFTED_TP: ("shift, same text", "TP-"),
    COPIED: ("copy", EVERYTHING),
    SWAPPED: ("swap", "attention"),
}
"""Rows of table 1: kind, and which neurons or weights."""
BEYOND = f"{SHIFTED}, minus the best ablation's"
WITHOUT_NOISE = f"(net + gross of the model against itself) / gross, {OWN}"
WORDS = "words of the language per dimension of the residual stream"
COLUMNS = ("rung", "seed", "trained", *DIMENSIONS, "vocabulary")
DECIDING = ("pretraining", "data", "pairs", "dpo")
"""Sections of a profile that are the rung's, or `mini`'s, to the last key."""


@dataclass(frozen=True)
class Rung:
    """A shape, a language, DPO's learning rate in those of `mini`, and whether anything was learnt before."""

    width: int
    neurons: int
    layers: int
    language: str
    strength: float
    family: str = "gpt2"
    trained: bool = True


def rung_of(profile: Profile) -> Rung:
    """The rung that a profile's model would stand on."""
    given = profile.pretraining
    return Rung(
        width=given.d_model,
        neurons=given.layers * given.d_mlp,
        layers=given.layers,
        language=given.language,
        strength=round(profile.dpo.learning_rate / load_profile("mini").dpo.learning_rate, 6),
        family=given.family,
        trained=max(given.muon_lr, given.adamw_lr) > 0,
    )


def _named() -> dict[str, Rung]:
    found = {}
    for dimension, given in CONTENT["dimensions"].items():
        for rung in _rungs(dimension, given):
            found[f"{dimension}-{getattr(rung, dimension)}"] = rung
    return found | {f"{name}-{UNTRAINED}": replace(rung, trained=False) for name, rung in found.items()}


def _rungs(dimension: str, given: dict) -> list[Rung]:
    if "profiles" in given:
        return [rung_of(load_profile(name)) for name in given["profiles"]]
    others = {key: value for key, value in given.items() if key not in ("of", "values")}
    start = Rung(**CONTENT["start"] | others)
    if "of" in given:
        start = rung_of(load_profile(given["of"]))
    return [replace(start, **{dimension: value}) for value in given["values"]]


NAMED = _named()
"""Every rung by name; those along two dimensions have two."""
NAMES: dict[Rung, str] = {}
"""Every rung's name, the first where there are two; in the order in which they are run."""
for _name, _rung in NAMED.items():
    NAMES.setdefault(_rung, _name)


def rung_named(name: str) -> Rung:
    """The rung of a name.

    Raises:
        UserError: there is none.
    """
    if name not in NAMED:
        raise UserError(f"there is no rung {name!r}; there are {', '.join(NAMED)}")
    return NAMED[name]


def along(dimension: str) -> list[Rung]:
    """The trained rungs along a dimension, in order."""
    start = f"{dimension}-"
    return [rung for name, rung in NAMED.items() if name.startswith(start) and rung.trained]


def pack_name(rung: Rung, seed: int) -> str:
    """What the pack of a run is called."""
    return f"{NAMES[rung]}-seed{seed}{ENDING}"


@cache
def settings(rung: Rung) -> dict[str, dict]:
    """In what the profile of a rung differs from `mini`: its shape, and tables as large as the rules need."""
    mini = load_profile("mini")
    learning = {} if rung.trained else _changes(mini, load_profile(UNTRAINED))
    share = rung.neurons / (mini.pretraining.layers * mini.pretraining.d_mlp)

    def scaled(*counts: int) -> list[int]:
        return sorted({max(1, round(share * count)) for count in counts})

    given = mini.interventions
    shape = {"d_model": rung.width, "layers": rung.layers, "d_mlp": rung.neurons // rung.layers}
    shape |= {"language": rung.language, "family": rung.family}
    if rung.strength != 1:
        learning |= {"dpo": {"learning_rate": mini.dpo.learning_rate * rung.strength}}
    return learning | {
        "pretraining": learning.get("pretraining", {}) | shape,
        "scorer": {"second": ""},
        "interventions": {
            "ablate_top": scaled(*given.ablate_top),
            "ablate_top_positive": scaled(*given.ablate_top_positive),
            "figure_top": scaled(given.figure_top)[0],
            "scale_factors": given.scale_factors[:1],
            "sets": ["TP-", ALL_FOUR, EVERYTHING],
            "draws": 0,
            "writers": 0,
            "counted": [],
        },
        "beyond": {"ranks": [], "along": [], "relearning_steps": [], "objectives": [], "strengths": []},
        "nulls": {"directions": 10, "shuffled_labels": 2, "placebos": []},
        "compute": {"neuron_bootstrap": 50, "threads": 1},  # so small that two rungs side by side cost less
    }


def _deciding(profile: Profile) -> dict[str, dict]:
    return {section: asdict(getattr(profile, section)) for section in DECIDING}


def _changes(one: Profile, other: Profile) -> dict[str, dict]:
    """In which settings that decide the other profile differs."""
    now, then = _deciding(one), _deciding(other)
    changes = {s: {k: v for k, v in then[s].items() if v != now[s][k]} for s in DECIDING}
    return {section: some for section, some in changes.items() if some}


def wide(table: pd.DataFrame) -> pd.DataFrame:
    """The table of `ladder_packs.read` with a row per run and a column per quantity, values only."""
    return table.pivot(index=list(COLUMNS), columns="quantity", values="value").reset_index()


def words_per_dimension(table: pd.DataFrame) -> pd.DataFrame:
    """The same with `WORDS`, as a measure of how many features share a dimension."""
    runs = wide(table)
    return runs.assign(**{WORDS: runs["vocabulary"] / runs["width"]})


def different(profile: Profile, rung: Rung) -> str:
    """In which setting a run is not that of its rung; empty if in none that decides."""
    own = settings(rung)
    wanted = {s: given | own.get(s, {}) for s, given in _deciding(load_profile("mini")).items()}
    wrong = difference(_deciding(profile), wanted)
    return f"its {wrong} is not that of the rung {NAMES[rung]}" if wrong else ""


def measured(results: Results) -> Evidence:
    """What the ladder compares, of one run."""
    known, compared = as_estimates(results.evidence), results.comparisons
    same = as_estimates(compared[compared["place"] == "same"])
    noise = as_estimates(compared[compared["comparison"] == NOISE])
    found = {name: known[name] for name in (TOXICITY, PERPLEXITY, BEST) if name in known}
    for text, there in ((OWN, known), (SAME, same), (NOTHING, noise)):
        found |= {f"{q}, {text}": there[q] for q in (*SHARES, NET, CHANGE, TOP, POSITIVE) if q in there}
        if set(SHARES[:2]) <= there.keys():
            found[f"{TOGETHER}, {text}"] = _plus(*(there[share] for share in SHARES[:2]))
    edits = results.table1.set_index(["kind", "which"])[["recovered", "recovered_low", "recovered_high"]]
    for name, row in EDITS.items():
        if row in edits.index:  # a group may have no neuron
            found[name] = Estimate(*edits.loc[[row]].iloc[0])
    if SHIFTED in found and BEST in found:
        found[BEYOND] = minus(found[SHIFTED], found[BEST])
    if {NET, "gross"} <= known.keys() and "gross" in noise:
        found[WITHOUT_NOISE] = _plus(known[NET], _ratio(noise["gross"], known["gross"]))
    return found


# The interval of a difference, a sum or a ratio is as wide as if both values erred against each other: how
# they hang together is not known here, and so it is never too narrow.


def minus(one: Estimate, other: Estimate) -> Estimate:
    """The first less the second."""
    return Estimate(one.value - other.value, one.low - other.high, one.high - other.low)


def _plus(one: Estimate, other: Estimate) -> Estimate:
    return Estimate(one.value + other.value, one.low + other.low, one.high + other.high)


def _ratio(part: Estimate, whole: Estimate) -> Estimate:
    """Of positive values."""
    if not whole.low > 0:
        return Estimate(*[math.nan] * 3)
    return Estimate(part.value / whole.value, part.low / whole.high, part.high / whole.low)


def published() -> dict[str, dict[str, float]]:
    """The published values, by quantity and by model."""
    paper = published_evidence()
    gross, net = gross_and_net(published_groups())
    larger = {model: value for model, value in CONTENT["published"].items() if model != "source"}
    together, left = ({model: value[key] for model, value in larger.items()} for key in ("together", "net"))
    found = {f"{share}, {OWN}": {MEDIUM: paper[share].value} for share in SHARES}
    return found | {
        f"{NET}, {OWN}": {MEDIUM: net / gross} | left,
        f"{TOGETHER}, {OWN}": {MEDIUM: sum(paper[share].value for share in SHARES[:2])} | together,
        f"{CHANGE}, {OWN}": {MEDIUM: paper[CHANGE].value},
        f"{TOP}, {OWN}": {MEDIUM: paper["top toxic neurons' share of gross"].value},
        BEST: {MEDIUM: paper[BEST].value},
    }
