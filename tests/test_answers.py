"""What chapters have learnt and how their questions are answered follows from what was measured."""

import re
from dataclasses import replace

import pandas as pd
import pytest

from dpotox.paper import table1_evidence
from dpotox.paper.groups import group_table
from dpotox.results import claims, nothing
from dpotox.results.folder import Results
from dpotox.results.record import Loss
from dpotox.show import (
    answers,
    lessons,
    lessons_edits,
    report,
    report_claims,
    report_offset,
    report_standing,
    report_table1,
)

MOST_LINES = 5
"""So many lines say what a chapter has learnt; more would not be read."""


def text(answer) -> str:
    assert not answer.data[0].islower()
    assert answer.data.endswith(".")
    assert "nan" not in answer.data
    return answer.data


def facts(lessons) -> list[str]:
    """What a chapter says that it has learnt, a fact per line."""
    found = text(lessons).split("\n")
    assert all(line.startswith("- ") and line.endswith(".") for line in found)
    return [line.removeprefix("- ") for line in found]


ANSWERS = [
    answers.toxic_direction,
    answers.dpo,
    answers.where,
    answers.four_groups,
    answers.is_it_special,
    answers.ablation_versus_patching,
    answers.controls,
    answers.offset,
]
LESSONS = [
    lessons.model,
    lessons.toxic_direction,
    lessons.dpo,
    lessons.where,
    lessons.four_groups,
    lessons.is_it_special,
    lessons_edits.patching,
    lessons_edits.controls,
    report_offset.offset,
    lessons.whole_study,
]
READINGS = [
    lessons.covered,
    lessons_edits.dpo_itself,
    lessons_edits.ablations,
    lessons_edits.where_it_acts,
    lessons_edits.scaled_keys,
    lessons_edits.after_the_gelu,
    lessons_edits.whose_words,
    lessons_edits.which_weights,
    report_offset.keys_and_biases,
    report_offset.largest_writer,
    report_offset.for_the_most_toxic_alone,
    report_offset.attention_and_mlps,
]


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_chapter_is_answered_shortly_with_finite_numbers(results, answer):
    sentence = text(answer(results))
    assert sentence.count(". ") < 4
    assert any(c.isdigit() for c in sentence)
    assert len(sentence.split()) <= 80


@pytest.mark.parametrize("learnt", LESSONS)
def test_what_a_chapter_has_learnt_is_at_most_five_short_facts_with_their_numbers(results, learnt):
    found = facts(learnt(results))
    assert 1 <= len(found) <= MOST_LINES
    for fact in found:
        assert any(c.isdigit() for c in fact)
        assert len(fact.split()) <= 40


@pytest.mark.parametrize("reading", READINGS)
def test_every_kind_of_row_is_read_with_finite_numbers(results, reading):
    assert any(c.isdigit() for c in text(reading(results)))


@pytest.fixture
def with_an_effect(study, results, monkeypatch):
    """The tiny study as if DPO surely lowered toxicity in it, so that shares of its effect are known."""
    monkeypatch.setattr(table1_evidence, "has_effect", lambda *_: True)

    def found(*_):
        measured = table1_evidence.table1_evidence(study.table1, study.profile.compute.bootstrap)
        return claims.judge(measured).set_index("id")["here"].astype(float)

    for module in (answers, lessons_edits):
        monkeypatch.setattr(module, "found", found)
    again = Results(results.folder)
    kinds = {"recovered": 0.5, "recovered_sampled": 0.25}
    again.__dict__["table1"] = results.table1.fillna(kinds)
    return again


@pytest.mark.parametrize("learnt", [lessons_edits.patching, lessons_edits.controls])
def test_where_dpo_has_an_effect_shares_of_it_are_among_what_was_learnt(with_an_effect, learnt):
    found = facts(learnt(with_an_effect))
    assert 3 <= len(found) <= MOST_LINES
    assert not any("nothing is concluded" in fact for fact in found)


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        ("holds", "No, as in the paper: "),
        ("does not hold", "On this model yes, unlike in the paper: "),
        ("inconclusive", "Undecided on this model: "),
    ],
)
def test_a_question_of_yes_or_no_is_answered_by_the_claim_s_verdict(with_an_effect, results, verdict, said):
    with_an_effect.__dict__["claims"] = results.claims.assign(verdict=verdict)
    assert text(answers.ablation_versus_patching(with_an_effect)).startswith(said)


def test_chosen_neurons_do_more_than_random_ones_only_where_the_whole_interval_says_so(
    with_an_effect, results
):
    for low, high, said in ((0.1, 0.3, "more"), (-0.3, -0.1, "less"), (-0.1, 0.1, "not surely more")):
        with_an_effect.__dict__["claims"] = results.claims.assign(low=low, high=high)
        assert f"silencing toxic ones recovers {said}, and" in text(answers.controls(with_an_effect))


@pytest.mark.parametrize(
    ("kept", "said"),
    [(0.9, "Hardly: "), (0.5, "Only partly: "), (float("nan"), "Undecided, ")],
)
def test_how_far_the_offset_is_what_dpo_does_follows_from_what_is_left_without_it(results, kept, said):
    made_up = Results(results.folder)
    row = results.table1["name"] == "remove offset, all neurons"
    made_up.__dict__["table1"] = results.table1.assign(
        recovered=results.table1["recovered"].astype(float).mask(row, kept)
    )
    assert text(answers.offset(made_up)).startswith(said)


def test_a_share_is_a_sign_of_toxicity_only_if_it_stands_out_on_both_texts(results):
    made_up, name = Results(results.folder), "TP- share of gross"
    low, high = results.other_directions.assign(**{name: -1.0}), results.other_directions["text"] == "same"
    made_up.__dict__["other_directions"] = low
    assert "safe sign" not in text(answers.is_it_special(made_up))
    made_up.__dict__["other_directions"] = low.assign(**{name: low[name].mask(high, 2.0)})
    found = text(answers.is_it_special(made_up))
    assert "100% of such directions have a larger share than the probe, so by itself" in found


def test_what_the_ablated_neurons_cover_is_a_part_of_the_gap_in_the_last_layer(results):
    made_up = Results(results.folder)
    rows = [("residual stream", model, 1, value) for model, value in (("before", 3.0), ("after", 1.0))]
    for ablated, said in ((2.5, "covers 25% of that gap"), (3.5, "covers nothing of that gap")):
        layers = pd.DataFrame([*rows, ("residual stream", "ablated", 1, ablated)])
        made_up.__dict__["layers"] = layers.set_axis(["part", "model", "layer", "value"], axis=1)
        assert said in text(lessons.covered(made_up))
    rows = [("residual stream", model, 1, 1.0) for model in ("before", "ablated", "after")]
    made_up.__dict__["layers"] = pd.DataFrame(rows, columns=["part", "model", "layer", "value"])
    assert "no gap to cover" in text(lessons.covered(made_up))


def test_the_chapter_on_dpo_says_who_scores(results):
    assert "the continuation alone" in text(lessons.scorer(results))


def made_up_rows() -> pd.DataFrame:
    """Rows of table 1 in which one edit goes below DPO's toxicity with its text and one without."""
    columns = ["name", "model", "kind", "which", "positions", "neurons", "toxicity", "recovered"]
    rows = [
        ("before DPO", "base", "none", "before DPO", "all", 0, 0.5, 0.0),
        ("ablate top 2 toxic", "base", "ablate", "top 2 toxic", "all", 2, 0.4, 0.4),
        ("ablate top 4 toxic", "base", "ablate", "top 4 toxic", "all", 4, 0.2, 1.2),
        ("hold all neurons", "base", "hold", "all neurons", "all", 9, 0.0, 2.0),
        ("after DPO", "dpo", "none", "after DPO", "all", 0, 0.25, 1.0),
    ]
    prices = {
        "perplexity_all": [5.0, 5.0, 6.0, 5.5, 5.5],
        "repetition": [0.3, 0.3, 0.3, 0.9, 0.3],
    }
    return pd.DataFrame(rows, columns=columns).assign(**prices)


def test_a_text_is_broken_where_it_repeats_itself_or_surprises_far_more_than_dpo_s():
    rows = made_up_rows()
    assert report_table1.broken(rows, rows).tolist() == [False, False, False, True, False]
    rows.loc[1, "perplexity_all"] = 11.1
    assert report_table1.broken(rows, rows).tolist() == [False, True, False, True, False]


def test_a_low_toxicity_of_a_broken_text_is_marked_in_the_table(results):
    rows = results.table1.assign(repetition=0.1, perplexity_all=5.0)
    assert report_table1.BROKEN not in report_table1.toxicity(rows, rows).to_html()
    rows.loc[3, "repetition"] = 0.9
    table = report_table1.toxicity(rows, rows)
    marked = table.data[report_table1.RECOVERED].str.endswith(report_table1.BROKEN)
    assert marked[marked].index.tolist() == [3]
    assert "broken text" in table.caption


def test_an_ablation_is_told_with_its_price(results):
    made_up = Results(results.folder)
    made_up.__dict__["table1"] = made_up_rows()
    sentence = text(lessons_edits.ablations(made_up))
    assert "*ablate top 4 toxic* leaves the least toxicity, 0.200" in sentence
    assert "recovered share of 1.20, at 1.09 times DPO's perplexity" in sentence
    assert "broken" not in sentence


def test_what_was_learnt_on_groups_gives_their_shares_beside_the_paper_s(results):
    found = text(lessons.four_groups(results))
    share = group_table(results.neurons)["share_of_gross"]["TP-"]
    assert f"TP- {share:.0%} (paper: 32%)" in found
    undone = results.claims_of(claims.GROUPS).set_index("id").loc["many-go-wrong", "here"]
    assert f"undo {undone:.0%} of it (paper: 85%)" in found
    assert "(paper: 87.3%)" in found


def test_the_answer_on_the_model_is_the_part_of_what_could_be_learnt():
    found = text(answers.model(Loss(loss=2.2, unigram=6.0, bound=2.0)))
    assert "95.0%" in found
    assert "6.00" in text(answers.model(Loss(loss=2.2, unigram=6.0, bound=None)))
    assert "%" not in text(answers.model(None))


def test_a_model_that_has_learnt_nothing_is_no_better_than_frequencies():
    assert "no better" in text(answers.model(Loss(loss=6.5, unigram=6.0, bound=2.0)))


def test_the_front_page_counts_the_paper_s_claims_and_says_what_their_verdicts_carry(results):
    paper = results.claims[results.claims["source"] == "paper"]
    counts = paper["verdict"].value_counts().reindex(claims.VERDICTS, fill_value=0)
    said = text(report_standing.what_they_carry(results, {}))
    holds, fails, is_open = counts
    assert f"**On this model {holds} hold, {fails} do not hold, {is_open} cannot be decided.** One" in said
    for kind, n in (("the verdicts that hold", holds), ("those that do not hold", fails)):
        line = "".join(re.findall(rf"- Of {kind}, (.*)\.", said))
        assert sum(map(int, re.findall(r"(?:^|; )(\d+) ", line))) == n
    assert "never trained" not in said
    assert "no score of the paper" in said


def test_the_front_page_tells_of_other_seeds_and_untrained_networks_that_lie_in_packs(results):
    def run(seed, name=results.profile.name):
        one = Results(results.folder)
        settings = results.record.settings | {"name": name}
        one.__dict__["record"] = replace(results.record, seed=seed, settings=settings)
        return one

    runs = {"a": run(results.seed + 1), "b": run(results.seed + 2), "c": run(0, "untrained")}
    runs["d"] = run(0, "elsewhere")
    said = text(report_standing.what_they_carry(results, runs))
    holds = (results.claims.query("source == 'paper'")["verdict"] == "holds").sum()
    assert "**Over 3 seeds " in said
    assert f"seed by seed, {holds} to {holds} hold." in said
    assert "In networks that were never trained" in said
    assert "In [runs of other profiles](13_results_by_others.ipynb) the three counts are" in said


def test_the_front_page_tells_what_seeds_reach_if_there_are_several(results):
    over = claims.over_seeds(results.claims)
    assert lessons.whole_study(results, over).data == lessons.whole_study(results).data
    two = pd.concat([results.claims, results.claims.assign(here=0.75)])
    said = text(lessons.whole_study(results, claims.over_seeds(two)))
    assert said.count("seeds: ") == 5
    assert "75%" in said


def test_what_another_processor_made_of_the_same_seed_is_told(results):
    first = results.claims.assign(seed=0, again=False, verdict=claims.HOLDS, here=0.5, low=0.4, high=0.6)
    assert "No seed was run" in text(report_standing.on_another_processor(first))
    other = first.assign(again=True, here=0.53)
    other.loc[other["id"] == "four-groups", "verdict"] = claims.FAILS
    other.loc[other["id"] == "few-fire", "verdict"] = claims.OPEN
    said = text(report_standing.on_another_processor(pd.concat([first, other])))
    assert f"here of seed 0, 2 of {len(first)} verdicts differ (`few-fire`, `four-groups`), and 1 of" in said
    assert "or back (`four-groups`). Values move by 0.3 half-widths" in said


def test_every_claim_stands_beside_other_runs(results):
    again = Results(results.folder)
    again.__dict__["record"] = replace(results.record, seed=results.seed + 1)
    runs = {"again": again}
    for source in ("paper", "ours"):
        table = report_standing.carried(results, runs, source).data
        assert len(table) == (results.claims["source"] == source).sum()
        same = table["this run"].str[2:] == table["over 2 seeds"].str[2:]
        assert same.all()
        assert table["seeds"].str.startswith("2\N{NO-BREAK SPACE}").all()
    assert nothing.NONE in set(report_standing.carried(results, runs).data["its verdict carries"])


def test_the_claims_table_links_to_places_that_the_chapters_have(results):
    table = report_claims.claims_table(results.claims).data
    for claim in claims.CLAIMS:
        place = report_claims.anchor(claim.id)
        assert f'{claim.chapter}.html#{place}"' in table
        assert f'id="{place}"' in report_claims.verdicts(results.claims_of(claim.chapter)).data


def test_where_nothing_is_shifted_the_chapter_on_the_offset_says_so(results):
    unmoved = Results(results.folder)
    shares = ["change", "upstream_change", "upstream", "key", "bias", "left", "times_random"]
    unmoved.__dict__["offset_sets"] = results.offset_sets.assign(**dict.fromkeys(shares, float("nan")))
    for said in (report_offset.offset, report_offset.keys_and_biases, answers.offset):
        assert report.NO_SHIFT[1:] in text(said(unmoved))
