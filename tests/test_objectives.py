"""Other objectives: their losses, when a training by one ends, what is compared and what the page says."""

import copy
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset

from dpotox import profile
from dpotox.facts import CHANGED, JUMPED, MATCHED, ON_PAIRS, ON_SHUFFLED, WEAK
from dpotox.paper import dpo, objectives
from dpotox.paper.nulls import SAME_TEXT
from dpotox.places import PROJECT
from dpotox.run import matching
from dpotox.run import objectives as compared
from dpotox.run.stopping import After, Until
from dpotox.show import report_objectives

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
SETTINGS = profile.Dpo(beta=0.3, learning_rate=0.01, batch_size=4, steps=2, eval_every=1)
ROWS = [
    {"prompt_ids": [0, 5 + i, 6], "chosen_ids": [7, 8 + i, 9, 10][: 2 + i % 3], "rejected_ids": [20 + i, 21]}
    for i in range(8)
]


# The losses


def test_simpo_is_that_of_its_paper():
    chosen, rejected = -1.2, -2.0  # nats per token
    expected = -math.log(1 / (1 + math.exp(-(2.0 * chosen - 2.0 * rejected - 1.0))))
    assert objectives.simpo(torch.tensor(chosen), torch.tensor(rejected)).item() == pytest.approx(expected)


def test_orpo_is_that_of_its_paper():
    chosen, rejected = 0.3, 0.1  # geometric means of the tokens' probabilities
    odds = (chosen / (1 - chosen)) / (rejected / (1 - rejected))
    expected = -math.log(chosen) + 0.1 * -math.log(odds / (1 + odds))
    means = (torch.tensor(math.log(p)) for p in (chosen, rejected))
    assert objectives.orpo(*means).item() == pytest.approx(expected, abs=1e-6)


@pytest.fixture
def make(network, model, tmp_path):
    """Makes the trainer of an objective, as `train_dpo` does, and moves its network."""

    def make(objective: str):
        options = objectives.options(objective)
        arguments = dpo._arguments(SETTINGS, tmp_path, 0, True, None, options["config"])
        policy = copy.deepcopy(network)
        common = {"args": arguments, "processing_class": model.tokenizer}
        rows = {"train_dataset": Dataset.from_list(ROWS), "eval_dataset": Dataset.from_list(ROWS[:4])}
        trainer = options["trainer"](policy, **common, **rows)
        torch.manual_seed(3)
        for parameter in policy.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
        return trainer, policy

    return make


def tokens(network, row, side: str) -> torch.Tensor:
    """The log-probability of each token of a continuation, given all before it."""
    ids = torch.tensor([row["prompt_ids"] + row[side]])
    each = network(ids).logits[0, :-1].log_softmax(-1).gather(-1, ids[0, 1:, None])[:, 0]
    return each[len(row["prompt_ids"]) - 1 :].detach()


def by_hand(objective: str, policy, reference, rows) -> float:
    """The mean loss of pairs, from the papers' formulas."""
    found = []
    for row in rows:
        now, then = (
            [tokens(some, row, side).double() for side in ("chosen_ids", "rejected_ids")]
            for some in (policy, reference)
        )
        chosen, rejected = ((a - b).sum().item() for a, b in zip(now, then, strict=True))
        lengths = [len(one) for one in now]
        (p, q) = (one.mean() for one in now)
        found.append(
            {
                "ipo": (chosen / lengths[0] - rejected / lengths[1] - 1 / (2 * SETTINGS.beta)) ** 2,
                "hinge": max(0.0, 1 - SETTINGS.beta * (chosen - rejected)),
                "simpo": float(-torch.nn.functional.logsigmoid(2 * (p - q) - 1)),
                "orpo": float(
                    -p
                    + 0.1 * torch.log1p(torch.exp((q - torch.log1p(-q.exp())) - (p - torch.log1p(-p.exp()))))
                ),
            }[objective]
        )
    return float(np.mean(found))


@pytest.mark.parametrize("objective", ["ipo", "hinge", "simpo", "orpo"])
def test_a_trainer_s_loss_is_that_of_the_formula(make, network, objective):
    trainer, policy = make(objective)
    batch = next(iter(trainer.get_eval_dataloader()))
    expected = by_hand(objective, policy, network, ROWS[:4])
    assert trainer.compute_loss(policy, batch).item() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_sft_s_loss_is_the_mean_over_the_tokens_of_chosen_continuations_alone(make):
    trainer, policy = make("sft")
    batch = next(iter(trainer.get_eval_dataloader()))
    every = torch.cat([tokens(policy, row, "chosen_ids") for row in ROWS[:4]])
    assert trainer.compute_loss(policy, batch).item() == pytest.approx(-every.mean().item(), rel=1e-4)


def test_kto_takes_both_continuations_of_every_pair_and_its_reference_point_from_other_pairs():
    rows = objectives._unpaired({name: [row[name] for row in ROWS[:4]] for name in ROWS[0]})
    seen = {(tuple(p), tuple(c), y) for p, c, y in zip(*list(rows.values())[:2], rows["label"], strict=True)}
    wanted = [(row, side) for row in ROWS[:4] for side in ("chosen_ids", "rejected_ids")]
    assert seen == {(tuple(r["prompt_ids"]), tuple(r[s]), s == "chosen_ids") for r, s in wanted}
    for prompt, other in zip(rows["prompt_ids"], rows["KL_completion_ids"], strict=True):
        (own,) = (row for row in ROWS if row["prompt_ids"] == prompt)
        assert other not in (own["chosen_ids"], own["rejected_ids"])


def test_kto_s_loss_is_that_of_its_paper(make, network):
    trainer, policy = make("kto")
    assert trainer.args.per_device_train_batch_size == 2 * SETTINGS.batch_size
    rows = trainer.eval_dataset.to_list()
    assert len(rows) == 8

    def moved(row, side):
        return (tokens(policy, row, side).double() - tokens(network, row, side).double()).sum().item()

    point = max(0.0, np.mean([moved(row, "KL_completion_ids") for row in rows]))
    signs = [1 if row["label"] else -1 for row in rows]
    by_row = [
        s * SETTINGS.beta * (moved(r, "completion_ids") - point) for s, r in zip(signs, rows, strict=True)
    ]
    expected = np.mean([1 - 1 / (1 + math.exp(-one)) for one in by_row])
    batch = next(iter(trainer.get_eval_dataloader()))
    assert trainer.compute_loss(policy, batch).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("objective", profile.OBJECTIVES)
def test_every_objective_trains_and_can_be_ended_on_the_way(study, objective, tmp_path):
    settings = replace(study.profile.dpo, steps=4, learning_rate=1e-3)
    network = study.base_network(study.profile.compute)
    before = copy.deepcopy(network.state_dict())
    options = objectives.options(objective) | {"watch": [After(2)]}
    common = {"seed": 0, "on_cpu": True, "at_once": 4, **options}
    curves = dpo.train_dpo(
        network, study.tokenizer, study.pairs, settings, study.pair_lengths, tmp_path, **common
    )
    assert any((before[name] != weight).any() for name, weight in network.state_dict().items())
    assert curves["step"].max() == 2
    assert np.isfinite(curves["loss"]).all()
    assert not list((tmp_path / "checkpoints").glob("checkpoint-*"))


# When a training ends


def watched(shares: dict[int, float], steps: int = 90) -> tuple[list[int], int]:
    """The steps after which it was measured, and the last, if so much was gone after each step."""
    now = SimpleNamespace(global_step=0, max_steps=steps)
    until = Until(lambda _: shares[max(step for step in shares if step <= now.global_step)])
    until.on_train_begin(None, now, None)
    control = SimpleNamespace(should_training_stop=False)
    while not control.should_training_stop and now.global_step < steps:
        now.global_step += 1
        until.on_step_end(None, now, control)
    return [step for step, _ in until.history], now.global_step


def test_it_is_measured_seldom_then_at_every_step_and_ends_when_enough_is_gone():
    assert watched({0: 0.5, 35: 0.8, 43: 0.97}) == ([10, 20, 30, 40, 41, 42, 43], 43)


def test_a_training_that_will_not_do_enough_is_given_up_at_half_of_its_steps():
    assert watched({0: 0.2}) == ([10, 20, 30, 40, 50], 50)
    assert watched({0: 0.3})[1] == 90


def test_the_last_step_is_measured_whatever_its_number():
    assert watched({0: 0.5}, steps=25)[0][-1] == 25


def tried(*outcomes: tuple[float, str]) -> list[dict]:
    return [{"learning_rate": rate, "outcome": outcome} for rate, outcome in outcomes]


def test_the_rate_is_doubled_after_too_little_halved_after_a_jump_and_never_tried_twice():
    assert matching.next_rate(tried((1.0, WEAK)), 5) == 2
    assert matching.next_rate(tried((1.0, JUMPED)), 5) == 0.5
    assert matching.next_rate(tried((1.0, JUMPED), (0.5, WEAK)), 5) is None
    assert matching.next_rate(tried((1.0, MATCHED)), 5) is None
    assert matching.next_rate(tried((1.0, WEAK), (2.0, WEAK)), 2) is None


def test_within_a_twentieth_of_dpo_s_effect_is_matched():
    assert [matching.outcome_of(share) for share in (0.94, 0.96, 1.04, 1.06)] == [
        WEAK,
        MATCHED,
        MATCHED,
        JUMPED,
    ]


def test_a_network_in_training_is_judged_by_what_dpo_does(study):
    judge = matching.judge(study)
    assert judge(study.base_network(study.profile.compute)) == pytest.approx(0, abs=1e-6)
    after = copy.deepcopy(study.dpo._module)
    assert judge(after) == pytest.approx(1, abs=1e-6)


def test_where_dpo_has_no_effect_nothing_is_trained(study, tmp_path, monkeypatch):
    ends = np.linspace(0.1, 0.5, 9), np.linspace(0.5, 0.1, 9)
    monkeypatch.setattr(matching, "_ends", lambda _: ends)
    monkeypatch.setattr(matching, "share_out", lambda *_: pytest.fail("something is trained"))
    matching.train_all_into(study, tmp_path)


# What is compared


def test_the_cosine_of_weight_changes_is_that_of_all_parameters_and_of_blocks(model, other_model, network):
    third = copy.deepcopy(network)
    torch.manual_seed(5)
    for parameter in third.parameters():
        parameter.data += torch.randn_like(parameter)
    found = compared.cosines_of_changes(model, other_model, compared.traced(third, model.tokenizer))

    def changes(some, among):
        named = dict(some.named_parameters())
        return np.concatenate(
            [(named[n] - p).detach().numpy().ravel() for n, p in network.named_parameters() if among in n]
        )

    other = other_model._module
    for among, cosine in zip(("", ".attn.", ".mlp.c_fc.", ".mlp.c_proj."), found, strict=True):
        a, b = changes(other, among), changes(third, among)
        assert cosine == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-5)
    assert compared.cosines_of_changes(model, model, other_model) == [0.0] * 4


def test_shares_are_as_far_apart_as_would_have_to_be_moved():
    one, other = np.array([[0.4, 0.3, 0.2, 0.1, 0.5]]), np.array([[0.3, 0.3, 0.3, 0.1, 0.9]])
    assert compared.apart(one, other) == pytest.approx([0.1])


def test_dpo_again_differs_in_the_order_of_the_pairs_alone(study, monkeypatch, tmp_path):
    asked = {}
    monkeypatch.setattr(matching.training, "trained", lambda *_, **options: (asked.update(options), None))
    matching._train(study, "again", tmp_path, study.pairs, 1e-4, None)
    assert asked["seed"] == study.seed + 1
    assert asked["config"](output_dir=str(tmp_path), use_cpu=True).loss_type == ["sigmoid"]
    matching._train(study, "sft", tmp_path, study.pairs, 1e-4, None)
    assert asked["config"](output_dir=str(tmp_path), use_cpu=True).loss_type == ["sft"]


def test_dpo_s_own_row_is_that_of_the_study(study):
    table = compared.compared(study).set_index(["objective", "trained_on", "quantity"]).sort_index()
    table = table.loc[("dpo", ON_PAIRS)]
    same = study.comparisons[study.comparisons["comparison"] == SAME_TEXT].set_index("quantity")
    for quantity in compared.MEASURED:
        for end in ("value", "low", "high"):
            assert table.loc[quantity, end] == pytest.approx(same.loc[quantity, end], abs=1e-6, nan_ok=True)
    assert table.loc[compared.MINUS_DPO, "value"] == 0
    assert table.loc[f"cosine, {CHANGED[0]}", "value"] == pytest.approx(1)
    assert table.loc["greedy toxicity", "value"] == pytest.approx(study.toxicity["dpo"].mean(), abs=1e-6)
    every = study.table1["copy all neurons"].greedy[: study.profile.sizes.fewer_prompts]
    assert np.allclose(study.objective_trials["dpo/copied"][1], every, atol=1e-6)


# What the page says


def made_up(share: float, placebo: float, outcome: str = MATCHED) -> SimpleNamespace:
    """Results of SFT whose share of TP- differs from DPO's by so much."""
    quantities = {report_objectives.MINUS_DPO: 0.0, f"cosine, {CHANGED[0]}": 0.2, "TP- share of gross": 0.3}
    rows = [
        {"objective": name, "trained_on": on, "quantity": q, "value": v, "low": v - 0.01, "high": v + 0.01}
        for name, on, minus in (("dpo", ON_PAIRS, 0), ("sft", ON_PAIRS, share), ("sft", ON_SHUFFLED, placebo))
        for q, v in (quantities | {report_objectives.MINUS_DPO: minus}).items()
    ]
    tries = pd.DataFrame({"objective": ["sft"], "outcome": [outcome], "shown": [True]})
    objectives = pd.DataFrame(rows)
    tables = {"objectives": objectives, "objective_tries": tries}
    return SimpleNamespace(objectives=objectives, objective_tries=tries, tables=tables)


@pytest.mark.parametrize(
    ("share", "placebo", "outcome", "verdict"),
    [
        (0.02, 0.3, MATCHED, "holds"),
        (0.02, 0.05, MATCHED, "no evidence"),
        (0.3, 0.02, MATCHED, "does not hold"),
        (0.095, 0.3, MATCHED, "inconclusive"),
        (0.02, 0.3, JUMPED, "untested"),
    ],
)
def test_a_rule_on_shares_is_judged_beside_its_placebo_and_only_if_matched(share, placebo, outcome, verdict):
    results = made_up(share, placebo, outcome)
    (rule,) = (rule for rule in report_objectives.RULES if rule.id == "sft-too")
    assert report_objectives.judged(results, rule)["sft"][0] == verdict
    assert f"**{verdict}**" in report_objectives.verdicts(results).data


def test_a_rule_on_weights_is_judged_without_placebos_and_what_was_not_run_is_named():
    results = made_up(0.02, 0.05)
    by = {rule.id: report_objectives.judged(results, rule) for rule in report_objectives.RULES}
    assert by["weights-go-elsewhere"]["sft"][0] == "holds"
    assert by["shares-are-not-dpos"] == {}
    assert "not run here: IPO, hinge and KTO" in report_objectives.verdicts(results).data


def test_what_could_not_be_matched_counts_for_nothing():
    assert "SFT could not be brought" in report_objectives.answer(made_up(0.02, 0.3, WEAK)).data
    assert "SFT does as much as DPO" in report_objectives.answer(made_up(0.02, 0.3)).data


def test_the_rules_are_those_that_were_written_down():
    page = (PROJECT / "book" / "before_the_runs.md").read_text(encoding="utf-8")
    for rule in report_objectives.RULES:
        low, high = (f"{end:g}".replace("0.", ".") for end in (rule.low, rule.high))
        bounds = f"{low} to {high}" if math.isfinite(rule.low) else f"< {high}"
        assert f"| `{rule.id}` | {rule.statement} | {rule.quantity} | {bounds} |" in page


def test_the_page_of_the_tiny_study_says_what_came_out(results):
    assert "`sft-too`" in report_objectives.verdicts(results).data
    assert report_objectives.answer(results).data
    for figure in (report_objectives.shares(results), report_objectives.changes(results)):
        assert figure.axes
    for table in (report_objectives.tries, report_objectives.outcomes, report_objectives.changes_table):
        assert "nan" not in table(results).to_html()
