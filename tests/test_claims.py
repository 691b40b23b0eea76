import math
import tomllib
from importlib.resources import files

import pandas as pd
import pytest

from dpotox.estimates import Estimate
from dpotox.results import claims
from dpotox.results.claims import (
    CHAPTERS,
    CLAIMS,
    Claim,
    as_estimates,
    judge,
    measured_otherwise,
    published_evidence,
)


def inside(claim) -> float:
    """A value in the claim's range, at least 1e-3 from its ends."""
    if claim.low == -math.inf:
        return claim.high - 1
    return claim.low + 1 if claim.high == math.inf else (claim.low + claim.high) / 2


def outside(claim) -> float:
    return claim.high + 1 if claim.high < math.inf else claim.low - 1


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda c: c.id)
def test_a_claim_holds_inside_fails_outside_and_is_open_astride_its_range(claim):
    def around(value: float, reach: float = 1e-4) -> Estimate:
        return Estimate(value, value - reach, value + reach)

    edge = claim.high if claim.high < math.inf else claim.low
    assert claim.verdict(around(inside(claim))) == "holds"
    assert claim.verdict(around(outside(claim))) == "does not hold"
    assert claim.verdict(around(edge)) == "inconclusive"


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.1, 0.4, "holds"),
        (0.0, 0.4, "inconclusive"),  # the range is open: its ends do not belong to it
        (0.1, 0.5, "inconclusive"),
        (-0.2, 0.0, "does not hold"),
        (0.5, 0.9, "does not hold"),
        (-0.2, 0.9, "inconclusive"),
    ],
)
def test_an_interval_that_touches_an_end_of_the_range_is_not_inside_it(low, high, verdict):
    claim = Claim("id", "statement", "quantity", 0.0, 0.5, "05_four_groups", "ours")
    assert claim.verdict(Estimate((low + high) / 2, low, high)) == verdict


def test_a_judged_claim_has_all_that_the_pages_show():
    quantity = "TP- share of gross"
    found = Estimate(0.4, 0.3, 0.45, "chunks of prompts")
    row = judge({quantity: found}).set_index("id").loc["tp-is-a-minority"]
    claim = next(c for c in CLAIMS if c.id == "tp-is-a-minority")
    assert row.drop("paper").to_dict() == {
        "source": "paper",
        "statement": claim.statement,
        "quantity": quantity,
        "here": 0.4,
        "low": 0.3,
        "high": 0.45,
        "resampled": "chunks of prompts",
        "rule": "TP- share of gross < 0.5",
        "verdict": "holds",
        "chapter": "05_four_groups",
    }
    assert row["paper"] == pytest.approx(0.318, abs=1e-3)
    empty = judge({}).set_index("id").loc["tp-is-a-minority"]
    assert empty[["here", "low", "high"]].isna().all()
    assert empty["verdict"] == "inconclusive"


@pytest.mark.parametrize("found", [None, Estimate(math.nan, 0, 0), Estimate(0, -math.inf, 0)])
def test_what_was_not_measured_is_inconclusive(found):
    assert CLAIMS[0].verdict(found) == "inconclusive"


def test_every_claim_of_the_paper_holds_on_its_published_numbers():
    table = judge(published_evidence())
    measured = table[(table["source"] == "paper") & table["paper"].notna()]
    assert len(measured) > 20
    assert (measured["verdict"] == "holds").all()


def test_reversed_numbers_overturn_the_headline():
    evidence = published_evidence()
    evidence["TP- share of gross"] = Estimate(0.682, 0.65, 0.71)
    table = judge(evidence).set_index("id")
    assert table.loc["tp-is-a-minority", "verdict"] == "does not hold"


def test_published_quantities_are_the_ones_in_the_paper():
    evidence, effect = published_evidence(), 0.453 - 0.208
    expected = {
        "TP- share of gross": 15.1108 / 47.4837,
        "increase / gross reduction": 40.2673 / 47.4837,
        "toxicity after DPO / before": 0.208 / 0.453,
        "recovered share of patching TP-": (0.453 - 0.335) / (0.453 - 0.208),
        "best recovered share among ablations by cosine": (0.453 - 0.319) / (0.453 - 0.208),
        "largest regained share of toxicity, at most at twice DPO's perplexity": (0.555 - 0.208)
        / (0.453 - 0.208),
        "positively active share of the top toxic neurons": 36 / 128,
        "top toxic neurons' share of gross": 2.33297 / 47.4837,
        "AN- and AP+ share of gross": (17.7173 + 3.3198) / 47.4837,
        "perplexity on all text, largest ablation / after DPO": 29.07 / 23.34,
        "share of neurons that reduce": 57501 / 98304,
        "best recovered share among ablations by cosine, minus patching TP-": (0.335 - 0.319) / effect,
        "recovered share of ablating positively active toxic neurons, minus as many of the most toxic": (
            (0.436 - 0.320) / effect
        ),
        "regained share by the largest factor on keys, minus by the next": (0.458 - 0.555) / effect,
        "F1 after DPO / before": 0.195 / 0.193,
    }
    for quantity, value in expected.items():
        assert evidence[quantity].value == pytest.approx(value, rel=1e-4), quantity
        assert evidence[quantity].low == evidence[quantity].high == evidence[quantity].value


def test_claims_are_the_entries_of_their_file():
    entries = tomllib.loads(files("dpotox.results").joinpath("claims.toml").read_text(encoding="utf-8"))[
        "claim"
    ]
    assert [c.id for c in CLAIMS] == [entry["id"] for entry in entries]
    assert [c.low for c in CLAIMS] == [entry.get("above", -math.inf) for entry in entries]
    assert [c.high for c in CLAIMS] == [entry.get("below", math.inf) for entry in entries]


def test_claims_have_unique_ids_and_known_chapters():
    assert len({c.id for c in CLAIMS}) == len(CLAIMS)
    assert {c.chapter for c in CLAIMS} == set(CHAPTERS)
    assert all(c.low < c.high for c in CLAIMS)


def test_a_rule_reads_as_it_is_applied():
    rules = {c.id: c.rule for c in CLAIMS}
    assert rules["tp-is-a-minority"] == "TP- share of gross < 0.5"
    assert rules["many-go-wrong"] == "increase / gross reduction > 0.5"
    assert rules["change-ignores-toxicity"].startswith("-0.1 < ")


def test_a_claim_without_an_end_of_its_range_has_none_there():
    entry = {"id": "a", "statement": "b", "quantity": "c", "chapter": "d", "source": "ours", "history": [{}]}
    above, below = claims._claim(entry | {"above": 0.2}), claims._claim(entry | {"below": 0.7})
    assert (above.low, above.high, above.history) == (0.2, math.inf, ({},))
    assert (below.low, below.high, below.id) == (-math.inf, 0.7, "a")


def test_a_run_counts_as_measured_by_today_s_code_if_it_is_the_last_or_said_to_be_the_same():
    history = [{"of": "f", "code": "1"}, {"of": "g", "code": "2"}]
    assert measured_otherwise({"f": "1", "g": "2"}, history) == []
    assert measured_otherwise({"f": "1"}, history) == ["g"]
    assert measured_otherwise({"f": "1", "g": "2", "h": "3"}, history) == ["h"]
    other, same = {"of": "f", "code": "4"}, {"of": "f", "code": "5", "same": True}
    assert measured_otherwise({"f": "1", "g": "2"}, [*history, other]) == ["f"]
    assert measured_otherwise({"f": "1", "g": "2"}, [*history, same]) == []
    assert measured_otherwise({"f": "5", "g": "2"}, [*history, same]) == []
    assert measured_otherwise({"f": "4", "g": "2"}, [*history, other, same]) == []
    assert measured_otherwise({"f": "1", "g": "2"}, [*history, other, same]) == ["f"]


def test_estimates_are_read_from_a_table_with_what_was_resampled_where_told():
    table = pd.DataFrame({"quantity": ["a", "b"], "value": [1, 2], "low": [0, 1], "high": [2, 3]})
    assert as_estimates(table)["b"] == Estimate(2, 1, 3)
    told = as_estimates(table.assign(resampled="seeds", more="text"))
    assert told == {"a": Estimate(1, 0, 2, "seeds"), "b": Estimate(2, 1, 3, "seeds")}
