"""The sentences that answer the chapters' questions follow from what was measured."""

import re
from dataclasses import replace

import pytest

from dpotox.paper import table1_evidence
from dpotox.paper.groups import group_table
from dpotox.results import claims
from dpotox.results.folder import Results
from dpotox.results.record import Loss
from dpotox.show import answers, report, report_standing


def text(answer) -> str:
    assert not answer.data[0].islower()
    assert answer.data.endswith(".")
    return answer.data


@pytest.mark.parametrize(
    "answer",
    [
        answers.toxic_direction,
        answers.dpo,
        answers.where,
        answers.four_groups,
        answers.is_it_special,
        answers.ablation_versus_patching,
        answers.controls,
    ],
)
def test_a_chapter_is_answered_with_finite_numbers(results, answer):
    sentence = text(answer(results))
    assert any(c.isdigit() for c in sentence)
    assert "nan" not in sentence


@pytest.mark.parametrize("answer", [answers.ablation_versus_patching, answers.controls])
def test_where_dpo_has_an_effect_it_is_said_what_was_learnt(study, results, monkeypatch, answer):
    def found(*_):
        measured = table1_evidence.table1_evidence(study.table1, study.profile.compute.bootstrap)
        return claims.judge(measured).set_index("id")["here"].astype(float)

    monkeypatch.setattr(table1_evidence, "has_effect", lambda *_: True)
    monkeypatch.setattr(answers, "_found", found)
    sentence = text(answer(results))
    assert sentence.count("\n- ") >= 4
    assert "nan" not in sentence


def test_the_answer_on_groups_gives_their_shares_beside_the_paper_s(results):
    sentence = text(answers.four_groups(results))
    share = group_table(results.neurons)["share_of_gross"]["TP-"]
    assert f"TP- {share:.0%} (paper: 32%)" in sentence
    undone = results.claims_of(claims.GROUPS).set_index("id").loc["many-go-wrong", "here"]
    assert f"undo {undone:.0%} of it (paper: 85%)" in sentence


def test_the_answer_on_the_model_is_the_part_of_what_could_be_learnt():
    found = text(answers.model(Loss(loss=2.2, unigram=6.0, bound=2.0)))
    assert "95.0%" in found
    assert "6.00" in text(answers.model(Loss(loss=2.2, unigram=6.0, bound=None)))
    assert "%" not in text(answers.model(None))


def test_the_front_page_sorts_the_paper_s_claims_by_what_they_carry(results):
    paper = results.claims[results.claims["source"] == "paper"]
    sentence = text(report_standing.what_they_carry(results, {}))
    assert f"Of the paper's {len(paper)} claims" in sentence
    assert sum(map(int, re.findall(r"\*\*(\d+)\*\*", sentence))) == len(paper)
    assert "untrained" not in sentence
    assert "no score of the paper" in sentence


def test_every_claim_stands_beside_where_there_is_nothing_and_beside_other_runs(results):
    other = replace(results.record, seed=results.seed + 1)
    again = Results(results.folder)
    again.__dict__["record"] = other
    runs = {"again": again}
    for source in ("paper", "ours"):
        table = report_standing.carried(results, runs, source).data
        assert len(table) == (results.claims["source"] == source).sum()
        assert (table["here"] == table["again"]).all()
    assert "tells nothing" in set(report_standing.carried(results, runs).data["where there is nothing"])


def test_the_claims_table_links_to_places_that_the_chapters_have(results):
    table = report.claims_table(results.claims).data
    for claim in claims.CLAIMS:
        place = report.anchor(claim.id)
        assert f'{claim.chapter}.html#{place}"' in table
        assert f'id="{place}"' in report.verdicts(results.claims_of(claim.chapter)).data
