"""What is said of claims where there is nothing to find, on made-up numbers."""

from datetime import date
from types import SimpleNamespace

import pandas as pd
import pytest

from dpotox.results import nothing
from dpotox.results.claims import CLAIMS, CODE, CODE_NOW, WITHDRAWN, judge
from dpotox.run.keys import behind_quantities, fingerprint
from dpotox.run.reach import Package, package

SHARE, FIRES = "TP- share of gross", "positively active share of the top toxic neurons"


def a_run(shares=(0.2, 0.4, 0.6, 0.7), verdicts=None, noise=(0.3, 0.2, 0.4), seed=0):
    """Results with a few directions, one comparison with nothing in it, and claims as told."""
    others = pd.DataFrame({"kind": "random", "text": "own", SHARE: shares})
    value, low, high = noise
    line = {"comparison": "noise", "place": "nothing", "quantity": SHARE}
    compared = pd.DataFrame([line | {"value": value, "low": low, "high": high}])
    table = judge({}).assign(verdict="inconclusive")
    for name, verdict in (verdicts or {}).items():
        table.loc[table["id"] == name, "verdict"] = verdict
    return SimpleNamespace(
        other_directions=others,
        comparisons=compared,
        claims=table,
        profile=SimpleNamespace(name="mini"),
        record=SimpleNamespace(shape=1),
        seed=seed,
    )


def found(places, name):
    here = places[places["id"] == name]
    return {line.where: (line.hold, line.fail) for line in here.itertuples()}


def test_directions_and_comparisons_are_cases_and_what_is_inconclusive_is_none():
    places = nothing.cases(a_run(), [])
    assert found(places, "tp-is-a-minority") == {"random, own text": (2, 2), "noise": (1, 0)}
    straddling = nothing.cases(a_run(noise=(0.3, 0.2, 0.6)), [])
    assert "noise" not in found(straddling, "tp-is-a-minority")


def test_placebos_of_other_seeds_count_beside_those_here():
    others = [a_run(noise=(0.3, 0.2, 0.6)), a_run(), a_run(noise=(0.7, 0.6, 0.8))]
    assert found(nothing.cases(a_run(), [], others), "tp-is-a-minority")["noise"] == (2, 1)


def test_a_quantity_that_no_direction_changes_is_not_looked_for_along_them():
    assert "random, own text" not in found(nothing.cases(a_run(shares=(0.2, 0.2)), []), "tp-is-a-minority")


def test_untrained_networks_count_by_their_verdicts_but_not_for_what_dpo_does_to_the_text():
    verdicts = {"few-fire": "holds", "dpo-reduces": "holds"}
    runs = [a_run(verdicts=verdicts), a_run(verdicts={"few-fire": "does not hold"}), a_run()]
    places = nothing.cases(a_run(), runs)
    assert found(places, "few-fire") == {"untrained networks": (1, 1)}
    assert found(places, "dpo-reduces") == {}


@pytest.mark.parametrize("name", ["few-fire", "few-are-positive"])
def test_what_is_of_the_model_before_dpo_alone_is_not_looked_for_after_placebos(name):
    quantity = next(claim.quantity for claim in CLAIMS if claim.id == name)
    run = a_run()
    run.comparisons["quantity"] = quantity
    assert found(nothing.cases(run, []), name) == {}


@pytest.mark.parametrize(
    ("verdict", "hold", "fail", "carries"),
    [
        ("holds", 10, 10, nothing.NONE),
        ("holds", 9, 11, nothing.WEAK),
        ("holds", 1, 19, nothing.EVIDENCE),
        ("holds", 0, 3, nothing.WEAK),  # of three cases nothing can be said
        ("does not hold", 1, 19, nothing.NONE),
        ("does not hold", 19, 1, nothing.EVIDENCE),
        ("does not hold", 0, 3, nothing.NONE),
    ],
)
def test_a_verdict_is_no_evidence_if_half_of_the_cases_with_nothing_have_the_same(
    verdict, hold, fail, carries
):
    name = "tp-is-a-minority"
    places = pd.DataFrame({"id": [name], "where": ["x"], "hold": [hold], "fail": [fail]})
    assert nothing.told(places, a_run(verdicts={name: verdict}).claims)[name] == carries


def test_what_a_claim_s_verdict_carries():
    verdicts = {"tp-is-a-minority": "holds", "dpo-reduces": "holds", "few-fire": "does not hold"}
    untrained = a_run(verdicts={"few-fire": "does not hold"})
    untrained.profile = SimpleNamespace(name="untrained")
    carries = nothing.standing(a_run(verdicts=verdicts), {"untrained": untrained})["carries"]
    assert carries["tp-is-a-minority"] == nothing.NONE
    assert carries["dpo-reduces"] == nothing.UNTRIED
    assert carries["few-fire"] == nothing.NONE
    assert carries["four-groups"] == nothing.OPEN


def test_a_verdict_that_another_seed_turns_carries_nothing_but_the_seed():
    first, other = a_run(verdicts={"four-groups": "holds"}), a_run(seed=1)
    assert nothing.standing(first, {"other": other}).loc["four-groups", "carries"] == nothing.OPEN
    other = a_run(verdicts={"four-groups": "does not hold"}, seed=1)
    assert nothing.standing(first, {"other": other}).loc["four-groups", "carries"] == nothing.SEED


def test_beside_a_run_stand_untrained_networks_of_its_shape_and_other_seeds_of_its_profile():
    def run(name, seed, shape=1):
        return SimpleNamespace(
            profile=SimpleNamespace(name=name), seed=seed, record=SimpleNamespace(shape=shape)
        )

    runs = {"a": run("untrained", 0), "b": run("mini", 1), "c": run("mini", 0), "d": run("mine", 1)}
    runs["e"] = run("untrained", 1, shape=2)
    runs |= {"f": run("mini", 10), "g": run("mini", 2), "b again": run("mini", 1)}
    held = nothing.beside(run("mini", 0), runs)
    assert held.untrained == [runs["a"]]
    assert list(held.seeds) == ["b", "g", "f"]
    assert held.seeds["b"] is runs["b"]
    assert held.elsewhere == {"d": runs["d"]}


def test_where_the_probe_stands_among_directions():
    values = [0.1, 0.2, 0.3, 0.4, 0.5]
    run = SimpleNamespace(
        other_directions=pd.DataFrame({"kind": "matched", "text": "same", SHARE: values}),
        comparisons=pd.DataFrame({"place": ["same"], "quantity": [SHARE], "value": [0.45]}),
    )
    line = nothing.beside_directions(run).loc["tp-is-a-minority"]
    assert line["median"] == pytest.approx(0.3)
    assert line["beyond"] == pytest.approx(2 / 5)  # .1 and .5 lie further from the median


def test_every_rule_is_the_last_entry_of_its_history():
    assert not {entry["claim"] for entry in WITHDRAWN} & {claim.id for claim in CLAIMS}
    last = {claim.id: claim.history[-1]["rule"] for claim in CLAIMS}
    rules = {claim.id: claim.rule for claim in CLAIMS}
    assert last == rules, "a rule was changed: say when, why and whether results were seen"


def test_every_change_says_when_why_and_whether_results_were_seen():
    entries = nothing.history()
    assert (entries[["claim", "on", "rule", "why"]].map(len) > 0).all(axis=None)
    assert entries["seen"].map(type).eq(bool).all()


def test_the_code_behind_the_quantities_is_that_of_its_last_entry():
    now = behind_quantities()
    assert not set(CODE_NOW) - set(now), "the history is of code that no quantity is measured with"
    assert all(entry["on"] and entry["why"] for entry in CODE)
    entries = [
        f'[[code]]\nof = "{name}"\non = "{date.today()}"\ncode = "{code}"\nwhy = ""\nseen = true\n'
        for name, code in now.items()
        if CODE_NOW.get(name) != code
    ]
    if entries:
        told = "code was changed; add to claims.toml, with the reason and whether results were seen:\n"
        pytest.fail("\n".join([told, *entries]), pytrace=False)


def test_a_fingerprint_changes_with_code_deep_below_and_not_with_words():
    here = package().sources
    before = fingerprint("paper.evidence", "dpo_evidence")
    told = here | {"estimates.py": here["estimates.py"].replace('"""A value', '"""One value')}
    other = here | {"estimates.py": here["estimates.py"].replace('method="percentile"', 'method="basic"')}
    assert told != here
    assert fingerprint("paper.evidence", "dpo_evidence", Package(told)) == before
    assert other != here
    assert fingerprint("paper.evidence", "dpo_evidence", Package(other)) != before
