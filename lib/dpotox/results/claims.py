"""The paper's claims as rules over measured quantities, and the verdict on each.

1. A claim, an entry of `claims.toml`, names one quantity and the range it must lie in. The ranges of the
   paper's claims were written before the runs that the book shows, but knowing the published numbers; those
   of our own claims knowing earlier runs of `mini` with seed 0; those of the chapter on the offset before
   any run that measured their quantities.
2. `dpotox.paper.evidence` measures every quantity of a study with its 95 % interval; `published_evidence`
   takes the same quantities from the published numbers.
3. `judge` compares: a claim *holds* if the whole interval lies in the range, *does not hold* if the whole
   interval lies outside, and is *inconclusive* if the interval straddles an end of the range.
4. `over_seeds` compares the mean over seeds with the same range. Where a claim holds by one seed or by the
   mean, and does not hold by another, or by the same one on another processor, it neither holds nor fails
   over seeds: it *depends on the seed*.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from statistics import NormalDist

import pandas as pd

from dpotox.estimates import DIRECTIONS, ENDS, NOTHING, Estimate, Evidence
from dpotox.estimates import over_seeds as mean_over_seeds
from dpotox.paper.groups import gross_and_net, group_quantities
from dpotox.paper.published import NUMBERS, published_groups, published_table1

VERDICTS = HOLDS, FAILS, OPEN = "holds", "does not hold", "inconclusive"
DEPENDS = "depends on the seed"
"""A verdict over seeds that contradict each other."""


@dataclass(frozen=True)
class Claim:
    """A statement, the quantity it is about, and the open range in which the quantity must lie."""

    id: str
    statement: str
    quantity: str
    low: float
    high: float
    chapter: str
    source: str  # "paper" or "ours"
    history: tuple[dict, ...] = ()  # `on` which day its `rule` came to be, `why`, and if results were `seen`

    @property
    def rule(self) -> str:
        """The rule in words."""
        if self.low == -math.inf:
            return f"{self.quantity} < {self.high:g}"
        if self.high == math.inf:
            return f"{self.quantity} > {self.low:g}"
        return f"{self.low:g} < {self.quantity} < {self.high:g}"

    def verdict(self, found: Estimate | None) -> str:
        """`holds`, `does not hold` or `inconclusive`; the last also where nothing could be measured."""
        if found is None or not all(map(math.isfinite, (found.value, found.low, found.high))):
            return OPEN
        if self.low < found.low and found.high < self.high:
            return HOLDS
        if found.high <= self.low or found.low >= self.high:
            return FAILS
        return OPEN


CHAPTERS = DPO, WHERE, GROUPS, NULLS, TABLE1, CONTROLS, OFFSET = (
    "03_dpo",
    "04_where_dpo_writes",
    "05_four_groups",
    "06_is_it_special",
    "07_ablation_versus_patching",
    "08_controls",
    "14_offset",
)


def _claim(entry: dict) -> Claim:
    low, high = entry.pop("above", -math.inf), entry.pop("below", math.inf)
    return Claim(low=low, high=high, history=tuple(entry.pop("history")), **entry)


_FILE = tomllib.loads(files("dpotox.results").joinpath("claims.toml").read_text(encoding="utf-8"))
CLAIMS = [_claim(entry) for entry in _FILE["claim"]]
WITHDRAWN: list[dict] = _FILE["withdrawn"]
"""The last entries of claims that are judged no more: `claim`, `on`, `rule`, `why`, `seen`."""
CODE: list[dict] = _FILE["code"]
"""The history of the code behind quantities: `of` what, `on` which day, its hash, `why`, what was `seen`."""
CODE_NOW = {entry["of"]: entry["code"] for entry in CODE}
"""The hashes of its last entries, which a test holds to the code."""


def measured_otherwise(code: dict[str, str], history: Sequence[dict] = CODE) -> list[str]:
    """The functions that measured a run with other code than that of the last entries, or the `same`.

    Args:
        code: the hashes that the run's record tells, by function.
    """
    alike: dict[str, list[str]] = {}
    for entry in history:
        earlier = alike.get(entry["of"], []) if entry.get("same") else []
        alike[entry["of"]] = [*earlier, entry["code"]]
    return sorted(name for name in alike.keys() | code.keys() if code.get(name) not in alike.get(name, []))


def judge(evidence: Evidence) -> pd.DataFrame:
    """The claims table: id, source, statement, the paper's value, the value here, rule, verdict, chapter."""
    published = published_evidence()
    rows = []
    for claim in CLAIMS:
        found, paper = evidence.get(claim.quantity), published.get(claim.quantity)
        row = {name: getattr(claim, name) for name in ("id", "source", "statement", "quantity")}
        row |= {"paper": paper.value if paper else None, "here": found.value if found else None}
        row |= {name: getattr(found, name, None) for name in ("low", "high", "resampled")}
        rows.append(row | {"rule": claim.rule, "verdict": claim.verdict(found), "chapter": claim.chapter})
    return pd.DataFrame(rows)


def as_estimates(table: pd.DataFrame) -> Evidence:
    """A table with a row per `quantity`: its `value`, `low`, `high` and, where told, `resampled`."""
    columns = [name for name in ("value", "low", "high", "resampled") if name in table]
    rows = table[columns].itertuples(index=False, name=None)
    return {quantity: Estimate(*row) for quantity, row in zip(table["quantity"], rows, strict=True)}


@dataclass(frozen=True)
class Chance:
    """What chance may do to the verdicts of a claims table, however much the claims depend on each other.

    Attributes:
        judged: how many claims have an interval that something was resampled for.
        decided: how many of them hold or do not hold.
        wrong: how many decided verdicts are wrong on average, at most, if every interval keeps its 95 %.
        open: the ids of decided claims that are inconclusive by intervals stretched until all of them
            together keep 95 % (Bonferroni).
    """

    judged: int
    decided: int
    wrong: float
    open: tuple[str, ...]


def chance(table: pd.DataFrame) -> Chance:
    """What chance may do to the verdicts of a claims table.

    A verdict is wrong only if the truth lies beyond one end of the interval, in 2.5 % of samples; or
    beyond either, where the range has two ends. Means add up whether or not claims depend on each other.
    """
    sure = table["resampled"].isin([None, NOTHING]) | table[["here", "low", "high"]].isna().any(axis=1)
    judged = table[~sure].set_index("id")
    decided = judged[judged["verdict"] != OPEN]
    rules = {c.id: c for c in CLAIMS}
    ends = [math.isfinite(rules[name].low) + math.isfinite(rules[name].high) for name in judged.index]
    wrong = sum(ENDS[0] * some for some in ends)
    normal = NormalDist().inv_cdf
    times = normal(ENDS[0] / max(len(judged), 1)) / normal(ENDS[0])
    left_open = []
    for name, c in decided.iterrows():
        stretched = Estimate(c.here, c.here - times * (c.here - c.low), c.here + times * (c.high - c.here))
        if rules[name].verdict(stretched) == OPEN:
            left_open.append(name)
    return Chance(len(judged), len(decided), wrong, tuple(left_open))


def published_evidence() -> Evidence:
    """The same quantities from the published numbers, where these give them; no intervals are published."""
    groups, table = NUMBERS["groups"], published_table1()
    toxicity, perplexity = table["toxicity"], table["perplexity"]
    before, after = toxicity["gpt2: none"], toxicity["dpo: none"]
    ablations = [name for name in table.index if "ablate" in name]
    scaled = [name for name in table.index if "scale key" in name]

    def recovered(row: str) -> float:
        return (before - toxicity[row]) / (before - after)

    plain = [f"gpt2: ablate top {n} toxic neurons" for n in (100, 1000)]
    patch = recovered("gpt2: patch all dampened toxic neurons to post-DPO levels")
    best = max(map(recovered, ablations))
    values = group_quantities(published_groups()) | {
        "toxicity after DPO / before": after / before,
        "perplexity on all text after DPO / before": perplexity["dpo: none"] / perplexity["gpt2: none"],
        "positively active share of the top toxic neurons": groups["top_128_positive"] / 128,
        "top toxic neurons' share of gross": (groups["top_128_drop"] / gross_and_net(published_groups())[0]),
        "F1 after DPO / before": table["f1"]["dpo: none"] / table["f1"]["gpt2: none"],
        "share of neurons that reduce": groups["neurons_that_reduce"] / groups["neurons"],
        "positively active share of all neurons": groups["positive_mean_activation"],
        "correlation of activation change with cosine": groups["pearson_change_with_cosine"],
        "correlation of activation change with activation, without sign": abs(
            groups["pearson_change_with_activation"]
        ),
        "best recovered share among ablations by cosine": best,
        "best recovered share among ablations by cosine, minus patching TP-": best - patch,
        "recovered share of the largest ablation of the most toxic neurons, minus the smallest": (
            recovered(plain[1]) - recovered(plain[0])
        ),
        "recovered share of ablating positively active toxic neurons, minus as many of the most toxic": (
            recovered("gpt2: ablate top 1000 positively activated toxic neurons") - recovered(plain[1])
        ),
        "perplexity on all text, largest ablation / after DPO": (
            perplexity["gpt2: ablate top 2000 positively activated toxic neurons"] / perplexity["dpo: none"]
        ),
        "recovered share of patching TP-": patch,
        "largest regained share of toxicity, at most at twice DPO's perplexity": 1
        - min(map(recovered, scaled)),
        "regained share by the largest factor on keys, minus by the next": (
            recovered("dpo: scale key vectors of top 7 toxic neurons x5")
            - recovered("dpo: scale key vectors of top 7 toxic neurons x10")
        ),
    }
    return {name: Estimate(*[float(value)] * 3) for name, value in values.items()}


def over_seeds(by_seed: pd.DataFrame) -> pd.DataFrame:
    """For every claim the mean over seeds with its 95 % interval, and the verdict over seeds.

    Of one seed these are its own.

    Args:
        by_seed: the claims tables of all seeds, one below the other. Where a column `again` is true, it is of
            another run of a seed, which can contradict and counts for nothing else.

    Returns:
        Indexed by the claim's id: `value`, `low`, `high`, `resampled`, `verdict`; the `least` and the
        `greatest` value of a seed; the number of `seeds`, and how many of them `hold`, `fail`, are `open`.
    """
    rows = []
    for claim in CLAIMS:
        of_claim = by_seed[by_seed["id"] == claim.id]
        own = of_claim[~of_claim["again"]] if "again" in of_claim else of_claim
        if own.empty:
            continue
        mean, found = _over_seeds(own), own["verdict"].tolist()
        verdict = claim.verdict(mean) if len(found) > 1 else found[0]
        verdict = DEPENDS if {HOLDS, FAILS} <= {verdict, *of_claim["verdict"]} else verdict
        values = own["here"].astype(float)
        row = {"id": claim.id, "verdict": verdict} | asdict(mean)
        row |= {"least": values.min(), "greatest": values.max(), "seeds": len(found)}
        named = {"hold": HOLDS, "fail": FAILS, "open": OPEN}
        rows.append(row | {name: found.count(one) for name, one in named.items()})
    return pd.DataFrame(rows).set_index("id")


def _over_seeds(own: pd.DataFrame) -> Estimate:
    """The mean of one claim's values over seeds; of one seed its own estimate."""
    values = own[["here", "low", "high"]].astype(float)
    if len(own) == 1:
        return Estimate(*values.iloc[0], own["resampled"].iloc[0])
    rank = bool((own["resampled"] == DIRECTIONS).any())
    return mean_over_seeds(*(values[column].tolist() for column in values), rank=rank)
