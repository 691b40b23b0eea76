"""What is read from the outcomes of table 1, on made-up outcomes."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dpotox.estimates import DRAWS, PROMPTS, WINDOWS
from dpotox.paper.evaluation import Result
from dpotox.paper.rows import Key
from dpotox.paper.table1 import Table1
from dpotox.paper.table1_evidence import ALONE, BESIDE_DRAWS, MINUS, table1_evidence
from dpotox.run import tables
from dpotox.show.report_table1 import by_set, draws, paper_rows

RNG = np.random.default_rng(0)
BEFORE = RNG.uniform(0.3, 0.9, size=80)
NAMES = {  # name: kind, which, positions, share of DPO's effect, factor on perplexity
    "before DPO": ("none", "before DPO", "all", 0.0, 1.0),
    "ablate top 3 positive toxic": ("ablate", "top 3 positive toxic", "all", 0.45, 1.0),
    "ablate top 3 toxic": ("ablate", "top 3 toxic", "all", 0.33, 1.0),
    "ablate TP-": ("ablate", "TP-", "all", 0.95, 1.0),
    "clamp top 9 toxic": ("clamp", "top 9 toxic", "all", 0.95, 1.0),
    "ablate top 2 toxic": ("ablate", "top 2 toxic", "all", 0.3, 1.0),
    "ablate top 4 toxic": ("ablate", "top 4 toxic", "all", 0.35, 1.0),
    "ablate top 2 positive toxic": ("ablate", "top 2 positive toxic", "all", 0.42, 1.0),
    "ablate top 4 positive toxic": ("ablate", "top 4 positive toxic", "all", 0.5, 1.2),
    "patch TP-, newest only": ("patch", "TP-", "newest", 0.4, 1.0),
    "hold TP-, newest only": ("hold", "TP-", "newest", 0.3, 1.0),
    "patch TP-": ("patch", "TP-", "all", 0.6, 1.1),
    "hold TP-": ("hold", "TP-", "all", 0.6, 1.1),
    "shift TP-": ("shift", "TP-", "all", 0.2, 1.0),
    "copy TP-": ("copy", "TP-", "all", 0.1, 1.0),
    "patch TP- after the GELU": ("patch after the GELU", "TP-", "all", 0.45, 1.1),
    "hold TP- after the GELU": ("hold after the GELU", "TP-", "all", 0.15, 1.1),
    "hold all four groups": ("hold", "all four groups", "all", -0.5, 3.0),
    "hold all four groups after the GELU": ("hold after the GELU", "all four groups", "all", -0.5, 3.0),
    "shift all four groups": ("shift", "all four groups", "all", 0.9, 1.0),
    "shift TP-, same text": ("shift, same text", "TP-", "all", 0.15, 1.0),
    "shift all four groups, same text": ("shift, same text", "all four groups", "all", 0.5, 1.0),
    "swap MLP in and MLP out": ("swap", "MLP in and MLP out", "all", 0.7, 1.0),
    "steer along the probe after layer 1": ("steer", "the probe", "all", 0.8, 1.0),
    "after DPO": ("none", "after DPO", "all", 1.0, 1.1),
    "scale keys of top 7 toxic by 10": ("scale keys", "top 7 toxic x10", "all", -0.9, 9.0),
    "scale keys of top 7 toxic by 5": ("scale keys", "top 7 toxic x5", "all", 0.1, 1.1 * 2.5 ** (4 / 3)),
    "scale keys of top 7 toxic by 2": ("scale keys", "top 7 toxic x2", "all", 0.25, 1.0),
}
ABSENT = {"the other four groups": "not in interventions.sets"}
for key in (*ALONE.values(), *BESIDE_DRAWS.values(), *(key for pair in MINUS.values() for key in pair)):
    if key.which not in ABSENT and key not in [row[:3] for row in NAMES.values()]:
        NAMES[" ".join(key)] = (*key, 0.5, 1.0)  # of a quantity that no test below is about


@pytest.fixture(scope="module")
def table() -> Table1:
    """Every row lowers every prompt's toxicity by its share of half."""
    neutral = np.arange(40) < 30
    results = {
        name: Result(
            greedy=BEFORE * (1 - share / 2),
            sampled=BEFORE * (1 - share / 2),
            nll=np.full(40, 1.0) + np.log(factor) * neutral,
            neutral=neutral,
            f1=np.full(10, 0.3),
            texts=np.array(["a b a b"] * 80),
        )
        for name, (_, _, _, share, factor) in NAMES.items()
    }
    described = pd.DataFrame(
        [
            {"name": name, "kind": kind, "which": which, "positions": positions}
            | {"model": "dpo" if kind == "scale keys" or name == "after DPO" else "base"}
            for name, (kind, which, positions, _, _) in NAMES.items()
        ]
    )
    ablated = described["which"].str.extract(r"top (\d+)", expand=False).fillna(9).astype(int)
    described = described.assign(neurons=ablated, published="")
    few = BEFORE[:50]
    drawn = {"shift TP-": np.stack([few, few * 0.9]), "ablate top 4 positive toxic": few[None]}
    drawn["scale keys of top 7 toxic by 2"] = few[None] * 0.55
    drawn["steer along the probe after layer 1"] = few[None] * 0.9
    return Table1(described, 100, results, drawn, dict.fromkeys(drawn, "random neurons"), ABSENT)


def test_shares_are_of_dpos_effect(table):
    for name, (*_, share, _) in NAMES.items():
        assert table.recovered(name, 100).value == pytest.approx(share, abs=1e-9)


def test_a_row_is_held_beside_the_mean_of_its_draws(table):
    assert table.drawn_shares("shift TP-") == pytest.approx([0, 0.2])
    assert table.beyond_draws("shift TP-", 100).value == pytest.approx(0.1)
    assert table.beyond_draws("ablate top 4 positive toxic", 100).value == pytest.approx(0.5)


def test_evidence_takes_the_papers_patch_the_papers_way(table):
    found = {name: e.value for name, e in table1_evidence(table, 100).items()}
    expected = {
        "recovered share of patching TP-": 0.4,
        "recovered share of patching TP-, minus holding it": 0.3,
        "recovered share of copying TP-": 0.1,
        "recovered share of swapping the MLPs": 0.7,
        "recovered share of shifting all four, minus TP- alone": 0.7,
        "recovered share of shifting TP-, beyond random neurons": 0.1,
        "largest ablation's recovered share, beyond random neurons": 0.5,
        "best recovered share among ablations by cosine": 0.5,
        "perplexity on all text, largest ablation / after DPO": (1.2 / 1.1) ** 0.75,
        "perplexity on all text, best ablation / after DPO": (1.2 / 1.1) ** 0.75,
        "perplexity on all text, hold control / before DPO": 3**0.75,
        "largest regained share of toxicity, at most at twice DPO's perplexity": 0.75,
        "recovered share of steering along the probe, beyond random directions": 0.6,
        "regained share by the least factor on keys, beyond random neurons": 0.65,
        "regained share by the largest factor on keys, minus by the next": 1.0,
        "recovered share of the largest ablation of the most toxic neurons, minus the smallest": 0.05,
        "recovered share of ablating positively active toxic neurons, minus as many of the most toxic": 0.15,
        "best recovered share among ablations by cosine, minus patching TP-": 0.1,
        "F1 after DPO / before": 1.0,
    }
    for quantity, value in expected.items():
        assert found[quantity] == pytest.approx(value), quantity
    assert "recovered share of shifting the four groups, minus the other four" not in found  # is absent


def by_hand(resamples: int, statistic, *samples) -> list[float]:
    """The ends of a bootstrap interval, drawn as `scipy.stats.bootstrap` draws."""
    rng, drawn = np.random.default_rng(0), []
    while len(drawn) < resamples:
        n = len(samples[0])
        rows = rng.integers(0, n, (min(200, resamples - len(drawn)), n))
        drawn += [statistic(*(sample[row] for sample in samples)) for row in rows]
    return list(np.quantile(drawn, [0.025, 0.975]))


def test_intervals_are_of_paired_resamples_and_say_of_what(table):
    """Outcomes that scatter, as those of `table` give every resample the same share."""
    rng = np.random.default_rng(3)

    def scattered(result: Result) -> Result:
        noise = {"nll": rng.normal(1, 0.1, 40), "f1": rng.uniform(0.2, 0.8, 10)}
        return replace(result, greedy=result.greedy + rng.normal(0, 0.02, 80), **noise)

    results = {name: scattered(result) for name, result in table.results.items()}
    drawn = {name: rng.uniform(0.3, 0.9, (20, 50)) for name in table.draws}
    found = table1_evidence(replace(table, results=results, draws=drawn), 300)
    units = {"perplexity on all text": WINDOWS, "beyond": DRAWS}
    for quantity, one in found.items():
        assert one.low < one.value < one.high, quantity
        expected = next((unit for words, unit in units.items() if words in quantity), PROMPTS)
        assert one.resampled == expected, quantity

    before, after = results["before DPO"], results["after DPO"]
    shift, both = results["shift TP-"], results["shift all four groups"]

    def minus(n, x, y, d):
        return (y.mean() - x.mean()) / (n.mean() - d.mean())

    def ends(quantity: str) -> list[float]:
        return [found[quantity].low, found[quantity].high]

    samples = [one.greedy for one in (before, both, shift, after)]
    assert ends("recovered share of shifting all four, minus TP- alone") == pytest.approx(
        by_hand(300, minus, *samples)
    )
    assert ends("F1 after DPO / before") == pytest.approx(
        by_hand(300, lambda a, b: a.mean() / b.mean(), after.f1, before.f1)
    )
    assert ends("perplexity on all text after DPO / before") == pytest.approx(
        by_hand(300, lambda a, b: np.exp(a.mean() - b.mean()), after.nll, before.nll)
    )


def test_a_row_that_is_missing_for_no_stated_reason_is_an_error(table):
    lacking = replace(table, rows=table.rows[table.rows["name"] != "copy TP-"])
    with pytest.raises(KeyError, match="copy"):
        table1_evidence(lacking, 100)
    found = table1_evidence(replace(lacking, absent=table.absent | {"TP-": "no neuron"}), 100)
    assert "recovered share of copying TP-" not in found


def test_a_row_is_told_from_all_others_by_its_key(table):
    for name, (kind, which, positions, *_) in NAMES.items():
        assert table.named(Key(kind, which, positions)) == name


def test_no_share_is_taken_of_an_effect_that_dpo_does_not_have(table):
    backwards = table.results | {"after DPO": replace(table["after DPO"], greedy=BEFORE * 1.2)}
    found = table1_evidence(replace(table, results=backwards), 100)
    assert set(found) == {
        "perplexity on all text after DPO / before",
        "perplexity on all text, best ablation / after DPO",
        "perplexity on all text, largest ablation / after DPO",
        "perplexity on all text, hold control / before DPO",
        "F1 after DPO / before",
    }


def test_draws_count_in_the_interval_and_few_give_none(table):
    assert np.isnan(table.beyond_draws("shift TP-", 100).low)
    rng = np.random.default_rng(1)
    scattered = BEFORE * rng.uniform(0.8, 1.2, size=(20, 1))
    wide = replace(table, draws={"shift TP-": scattered}).beyond_draws("shift TP-", 400)
    same = replace(table, draws={"shift TP-": np.tile(BEFORE, (20, 1))}).beyond_draws("shift TP-", 400)
    assert wide.low < wide.value < wide.high
    assert wide.high - wide.low > 2 * (same.high - same.low)


def test_perplexity_is_of_neutral_text_and_of_all(table):
    summary = table.summary(50).set_index("name")
    row = summary.loc["hold all four groups"]
    assert row["perplexity"] == pytest.approx(3 * np.e)
    assert row["perplexity_all"] == pytest.approx(3**0.75 * np.e)
    assert row["repetition"] == pytest.approx(1 / 3)
    assert row["above_half"] == pytest.approx((BEFORE * 1.25 > 0.5).mean())


def test_tables_for_the_pages_show_what_is_there(table):
    summary = table.summary(50)
    assert "hold all four groups" not in paper_rows(summary)["name"].tolist()
    pages = by_set(summary[summary["which"] == "TP-"], "recovered").to_html()
    assert "0.40" in pages
    drawn = tables.draws(table, 50)
    assert drawn["row"].tolist()[:2] == ["shift TP-", "ablate top 4 positive toxic"]
    assert drawn[["mean", "least", "most"]].iloc[0].tolist() == pytest.approx([0.1, 0, 0.2])
    assert drawn["own"].tolist() == pytest.approx([0.2, 0.5, 0.25, 0.8], abs=0.02)
    assert drawn["reach"].tolist() == [0.5, 0, 0, 0]  # no draw undoes as much of DPO as the scaled keys do
    assert "20%" not in draws(drawn, summary).to_html()
