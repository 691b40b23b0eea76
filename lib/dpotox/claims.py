"""The paper's claims as rules over measured quantities, and the verdict on each.

1. A claim names one quantity and the range it must lie in. The ranges of the paper's claims were written
   before the runs that the book shows, but knowing the published numbers; those of our own claims knowing
   earlier runs of `mini` with seed 0.
2. `dpotox.evidence` measures every quantity of a study with its 95 % interval; `published_evidence`
   takes the same quantities from the published numbers.
3. `judge` compares: a claim *holds* if the whole interval lies in the range, *does not hold* if the whole
   interval lies outside, and is *inconclusive* if the interval straddles an end of the range.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from dpotox.evaluation import Estimate
from dpotox.evidence import Evidence
from dpotox.groups import gross_and_net, group_quantities
from dpotox.published import NUMBERS, published_groups, published_table1


@dataclass(frozen=True)
class Claim:
    """A statement, the quantity it is about, and the open range in which the quantity must lie."""

    id: str
    statement: str
    quantity: str
    low: float
    high: float
    chapter: str
    source: str = "paper"  # or "ours"

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
            return "inconclusive"
        if self.low < found.low and found.high < self.high:
            return "holds"
        if found.high <= self.low or found.low >= self.high:
            return "does not hold"
        return "inconclusive"


CHAPTERS = DPO, WHERE, GROUPS, NULLS, TABLE1 = (
    "03_dpo",
    "04_where_dpo_writes",
    "05_four_groups",
    "06_is_it_special",
    "07_ablation_versus_patching",
)
_ANY = math.inf

CLAIMS = [
    Claim(
        "dpo-reduces",
        "DPO lowers toxicity by at least a third",
        "toxicity after DPO / before",
        -_ANY,
        2 / 3,
        DPO,
    ),
    Claim(
        "vectors-stay",
        "DPO hardly turns the value vectors",
        "median of 1 - cosine of a value vector before and after",
        -_ANY,
        0.01,
        DPO,
    ),
    Claim(
        "activations-carry",
        "Nearly all of the net reduction is left when value vectors are held as before DPO",
        "part of the net reduction with value vectors held",
        0.9,
        _ANY,
        GROUPS,
        "ours",
    ),
    Claim(
        "few-fire",
        "Of the most toxic neurons, fewer than half are positively active before DPO",
        "positively active share of the top toxic neurons",
        -_ANY,
        0.5,
        WHERE,
    ),
    Claim(
        "top-is-little",
        "Dampening the most toxic neurons is a small part of the gross reduction",
        "top toxic neurons' share of gross",
        -_ANY,
        0.25,
        WHERE,
    ),
    Claim(
        "tp-is-a-minority",
        "Dampened toxic neurons (TP-) make up less than half of the gross reduction",
        "TP- share of gross",
        -_ANY,
        0.5,
        GROUPS,
    ),
    Claim(
        "four-groups",
        "All four groups contribute to the gross reduction",
        "smallest group's share of gross",
        0.05,
        _ANY,
        GROUPS,
    ),
    Claim(
        "anti-toxic-promoted",
        "Promoted anti-toxic neurons (AN- and AP+) carry a substantial share of the gross reduction",
        "AN- and AP+ share of gross",
        0.25,
        _ANY,
        GROUPS,
    ),
    Claim(
        "many-go-wrong",
        "Many neurons move the wrong way: they undo more than half of the gross reduction",
        "increase / gross reduction",
        0.5,
        _ANY,
        GROUPS,
    ),
    Claim(
        "change-ignores-toxicity",
        "How much an activation changes is unrelated to how toxic its value vector is",
        "correlation of activation change with cosine",
        -0.1,
        0.1,
        GROUPS,
    ),
    Claim(
        "ablation-is-partial",
        "Ablating the most toxic neurons recovers less than three quarters of DPO's effect",
        "best ablation's recovered share",
        -_ANY,
        0.75,
        TABLE1,
    ),
    Claim(
        "ablation-costs",
        "The largest ablation costs more perplexity than DPO does",
        "perplexity of the largest ablation / after DPO",
        1.0,
        _ANY,
        TABLE1,
    ),
    Claim(
        "patching-tp-is-partial",
        "Patching all dampened toxic neurons recovers less than three quarters of DPO's effect",
        "recovered share of patching TP-",
        -_ANY,
        0.75,
        TABLE1,
    ),
    Claim(
        "four-is-more-than-tp",
        "Shifting all four groups by their mean change recovers more than shifting TP- alone",
        "recovered share of shifting all four, minus TP- alone",
        0.0,
        _ANY,
        TABLE1,
        "ours",
    ),
    Claim(
        "keys-undo-dpo",
        "Scaling the key vectors of the 7 most toxic neurons undoes more than half of DPO's effect",
        "largest regained share of toxicity",
        0.5,
        _ANY,
        TABLE1,
    ),
    Claim(
        "clamping-harms",
        "Merely holding the four groups at their own mean activations already raises perplexity",
        "perplexity of the hold control / before DPO",
        1.05,
        _ANY,
        TABLE1,
        "ours",
    ),
    Claim(
        "share-is-special",
        "The share of TP- is larger along the probe than along nearly every random direction",
        "random directions whose TP- share is larger",
        -_ANY,
        0.05,
        NULLS,
        "ours",
    ),
    Claim(
        "share-is-special-among-probes",
        "The share of TP- is larger along the probe than along nearly every probe of shuffled labels",
        "shuffled-label probes whose TP- share is larger",
        -_ANY,
        0.05,
        NULLS,
        "ours",
    ),
    Claim(
        "net-is-special",
        "Less is undone (net / gross) along the probe than along nearly every random direction",
        "random directions whose net / gross is larger",
        -_ANY,
        0.05,
        NULLS,
        "ours",
    ),
    Claim(
        "above-noise",
        "The gross reduction is far above what sampling the same model twice gives",
        "gross of the noise / gross of DPO, both sampled",
        -_ANY,
        0.25,
        NULLS,
        "ours",
    ),
    Claim(
        "placebo-does-little",
        "DPO on shuffled preferences has less than a quarter of DPO's effect on toxicity",
        "placebo's share of DPO's effect on toxicity",
        -_ANY,
        0.25,
        NULLS,
        "ours",
    ),
    Claim(
        "shares-tell-placebo",
        "The share of TP- falls by more than .05 when preferences are shuffled",
        "TP- share after shuffled preferences, minus after DPO",
        -_ANY,
        -0.05,
        NULLS,
        "ours",
    ),
    Claim(
        "toxic-beats-random",
        "Ablating toxic neurons recovers more than ablating random ones of the same activation",
        "largest ablation's recovered share, beyond random neurons",
        0.0,
        _ANY,
        TABLE1,
        "ours",
    ),
    Claim(
        "patch-beats-hold",
        "Patching TP- after the GELU recovers more than holding it at its own mean activations",
        "recovered share of patching TP-, minus holding it",
        0.0,
        _ANY,
        TABLE1,
        "ours",
    ),
    Claim(
        "tp-beats-random",
        "Shifting TP- recovers more than shifting random neurons of the same activation",
        "recovered share of shifting TP-, beyond random neurons",
        0.0,
        _ANY,
        TABLE1,
        "ours",
    ),
    Claim(
        "four-beat-the-rest",
        "On the same text, shifting the four groups recovers more than shifting the other four",
        "recovered share of shifting the four groups, minus the other four",
        0.0,
        _ANY,
        TABLE1,
        "ours",
    ),
    Claim(
        "copying-tp-is-partial",
        "Copying DPO's own activations into TP-, token by token, recovers less than three quarters",
        "recovered share of copying TP-",
        -_ANY,
        0.75,
        TABLE1,
        "ours",
    ),
    Claim(
        "shift-beats-dealt",
        "Within each layer and group, it matters which neuron is shifted how far",
        "recovered share of shifting all four, beyond shifts dealt within groups",
        0.0,
        _ANY,
        TABLE1,
        "ours",
    ),
    Claim(
        "mlps-are-enough",
        "The MLPs' weights after DPO recover over half of its effect",
        "recovered share of swapping the MLPs",
        0.5,
        _ANY,
        TABLE1,
        "ours",
    ),
    Claim(
        "probe-is-enough",
        "Adding DPO's mean change along the probe recovers over half of its effect beyond a random one",
        "recovered share of steering along the probe, minus a random direction",
        0.5,
        _ANY,
        TABLE1,
        "ours",
    ),
    Claim(
        "attention-carries",
        "Attention, which the paper leaves out, carries over a third of the change on the same text",
        "attention's share of the residual stream's change",
        1 / 3,
        _ANY,
        WHERE,
        "ours",
    ),
]


def judge(evidence: Evidence) -> pd.DataFrame:
    """The claims table: id, source, statement, the paper's value, the value here, rule, verdict, chapter."""
    published = published_evidence()
    rows = []
    for claim in CLAIMS:
        found, paper = evidence.get(claim.quantity), published.get(claim.quantity)
        rows.append(
            {
                "id": claim.id,
                "source": claim.source,
                "statement": claim.statement,
                "quantity": claim.quantity,
                "paper": paper.value if paper else None,
                "here": found.value if found else None,
                "low": found.low if found else None,
                "high": found.high if found else None,
                "rule": claim.rule,
                "verdict": claim.verdict(found),
                "chapter": claim.chapter,
            }
        )
    return pd.DataFrame(rows)


def published_evidence() -> Evidence:
    """The same quantities from the published numbers, where these give them; no intervals are published."""
    groups, table = NUMBERS["groups"], published_table1()
    toxicity, perplexity = table["toxicity"], table["perplexity"]
    before, after = toxicity["gpt2: none"], toxicity["dpo: none"]
    ablations = [name for name in table.index if "ablate" in name]
    scaled = [name for name in table.index if "scale key" in name]
    values = group_quantities(published_groups()) | {
        "toxicity after DPO / before": after / before,
        "positively active share of the top toxic neurons": groups["top_128_positive"] / 128,
        "top toxic neurons' share of gross": (groups["top_128_drop"] / gross_and_net(published_groups())[0]),
        "correlation of activation change with cosine": groups["pearson_change_with_cosine"],
        "best ablation's recovered share": (before - toxicity[ablations].min()) / (before - after),
        "perplexity of the largest ablation / after DPO": (
            perplexity["gpt2: ablate top 2000 positively activated toxic neurons"] / perplexity["dpo: none"]
        ),
        "recovered share of patching TP-": (
            before - toxicity["gpt2: patch all dampened toxic neurons to post-DPO levels"]
        )
        / (before - after),
        "largest regained share of toxicity": (toxicity[scaled].max() - after) / (before - after),
    }
    return {name: Estimate(*[float(value)] * 3) for name, value in values.items()}
