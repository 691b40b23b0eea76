"""On the way to DPO's weights and past them, and the divergence token by token: against plain PyTorch."""

import copy
import math
import re

import numpy as np
import pytest
import torch
from test_directions_tried import NEW, Made
from torch.testing import assert_close
from transformers import LlamaConfig, LlamaForCausalLM

from dpotox.facts import AFTER_TEXT, BEFORE_TEXT, RATIO
from dpotox.model.architecture import traced, turn
from dpotox.places import PROJECT
from dpotox.run import along, beside
from dpotox.show import report_along

RULES = report_along.HALF_WAY, report_along.BACKWARDS, report_along.SHALLOW


# The way


@pytest.mark.parametrize("a", [-1.0, 0.0, 0.5, 1.0, 2.0])
def test_every_parameter_lies_on_the_straight_way_and_both_ends_stay(network, model, other, other_model, a):
    third, kept = copy.deepcopy(network), [copy.deepcopy(one).state_dict() for one in (network, other)]
    along.blend(third, model, other_model, a)
    for name, mixed in third.named_parameters():
        old, new = (some[name] for some in kept)
        assert_close(mixed.detach(), old + a * (new - old), atol=1e-5, rtol=1e-5)
    for one, before in zip((network, other), kept, strict=True):
        assert all(torch.equal(parameter, before[name]) for name, parameter in one.state_dict().items())


@pytest.mark.parametrize("a", [0, 1])
def test_the_ends_of_the_way_are_the_two_models_to_the_last_bit(network, model, other, other_model, a):
    third = copy.deepcopy(network)
    along.blend(third, model, other_model, a)
    for mixed, end in zip(third.parameters(), (network, other)[a].parameters(), strict=True):
        assert torch.equal(mixed, end)


def test_between_turned_ends_neurons_are_turned_as_if_mixed_first(model):
    torch.manual_seed(0)
    shape = {"vocab_size": model.config.vocab_size, "hidden_size": 16, "intermediate_size": 12}
    config = LlamaConfig(**shape, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2)
    given = [LlamaForCausalLM(config).eval() for _ in range(2)]
    signs = torch.where(torch.rand(2, 12) < 0.5, -1.0, 1.0)
    first, after = copy.deepcopy(given[0]), [copy.deepcopy(one) for one in given]
    plain = [traced(one, model.tokenizer) for one in given]
    along.blend(first, *plain, 0.3)
    mixed_first = traced(first, model.tokenizer)
    turn(mixed_first, signs)
    ends = [traced(one, model.tokenizer) for one in after]
    for end in ends:
        turn(end, signs)
    then = copy.deepcopy(given[0])
    along.blend(then, *ends, 0.3)
    for one, other in zip(first.parameters(), then.parameters(), strict=True):
        assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_weights_in_half_precision_are_mixed_before_they_are_rounded(network, model, other):
    third = copy.deepcopy(network).bfloat16()
    ends = [traced(copy.deepcopy(one).bfloat16(), model.tokenizer) for one in (network, other)]
    along.blend(third, *ends, 0.5)
    for mixed, old, new in zip(third.parameters(), *(end.parameters() for end in ends), strict=True):
        assert torch.equal(mixed, ((old.float() + new.float()) / 2).bfloat16())


# Token by token


def log_probabilities(network, ids, last) -> torch.Tensor:
    with torch.no_grad():
        return network(ids[None]).logits[0, -last:].double().log_softmax(-1)


@pytest.mark.parametrize("batch_size", [2, 5])
def test_the_divergence_is_kullbacks_where_each_token_is_predicted(
    model, network, other, other_model, prompts, batch_size
):
    got = beside.divergence(other_model, model, prompts, NEW, batch_size=batch_size)
    for prompt, new, found in zip(prompts, NEW, got, strict=True):
        ids = torch.cat([model.tokenizer(prompt, return_tensors="pt")["input_ids"][0], new[:-1]])
        after, before = (log_probabilities(one, ids, 3) for one in (other, network))
        assert_close(found.double(), (after.exp() * (after - before)).sum(-1), atol=1e-3, rtol=1e-3)


def test_a_model_does_not_diverge_from_itself(model, prompts):
    assert_close(beside.divergence(model, model, prompts, NEW, batch_size=3), torch.zeros(5, 3))


def test_logits_that_are_many_are_made_for_few_texts_at_a_time(model, other_model, prompts, monkeypatch):
    whole = beside.divergence(other_model, model, prompts, NEW, batch_size=5)
    asked = []
    read = beside.continued
    monkeypatch.setattr(beside, "LOGITS_AT_ONCE", 2 * 3 * model.config.vocab_size)
    monkeypatch.setattr(beside, "continued", lambda *args: asked.append(args[3]) or read(*args))
    assert_close(
        beside.divergence(other_model, model, prompts, NEW, batch_size=5), whole, atol=1e-4, rtol=1e-3
    )
    assert asked == [2]


@pytest.mark.parametrize(("tokens", "size"), [(20, 5), (7, 1), (3, 1), (1, 1)])
def test_quarters_are_the_first_and_the_last_tokens(tokens, size):
    kl = np.arange(2.0 * tokens).reshape(2, tokens)
    first, last = along.quarters(kl)
    assert first.tolist() == [row[:size].mean() for row in kl]
    assert last.tolist() == [row[tokens - size :].mean() for row in kl]


# In a study


def test_the_ends_are_what_was_examined_and_read_and_a_network_there_comes_out_the_same(study):
    for a in (0, 1):
        known, made = along.at_an_end(study, a), along.examined(study, float(a))
        assert_close(made["toxicity"], known["toxicity"])
        assert_close(made["nll"], known["nll"], atol=1e-5, rtol=0)
        assert_close(made["shares"], known["shares"], atol=1e-4, rtol=0, equal_nan=True)


def test_every_a_has_a_row_and_the_ends_too(results):
    assert results.along["a"].tolist() == [-1, 0, 0.5, 1]
    before = results.along.set_index("a").loc[0]
    assert before["rise"] == 0
    assert math.isnan(before["net"])  # nothing changes


def test_shares_at_the_end_are_those_of_the_same_text(study, results):
    same = results.comparisons.query("place == 'same'").set_index("quantity")["value"]
    after = results.along.set_index("a").loc[1]
    for name, quantity in along.SHARES.items():
        assert math.isclose(after[name], same[quantity], abs_tol=1e-9)


def test_effects_on_the_way_are_shares_of_that_of_dpo(study, monkeypatch):
    before = np.array([0.9, 0.7, 0.8, 0.6])
    toxicity = torch.tensor(np.stack([before, before - 0.1, before - 0.5]))
    made = {"a": torch.tensor([0.0, 0.5, 1.0]), "toxicity": toxicity, "nll": torch.ones(3, 5).double()}
    made["shares"] = torch.zeros(3, len(along.SHARES))
    monkeypatch.setitem(vars(study), "along", made)
    table = along.along(study).set_index("a")
    assert math.isclose(table["recovered"][0.5], 0.2)
    assert math.isclose(table["rise"][1.0], -0.5)
    assert math.isclose(table["perplexity"][0.5], math.e)
    made["toxicity"] = toxicity[[0, 1, 0]]
    assert along.along(study)["recovered"].isna().all()


# What is said


def test_the_page_says_what_was_predicted_and_what_came_out(results):
    said = report_along.verdicts(results).data
    for rule in RULES:
        assert re.search(rf"`{rule.id}`.*\*\*(holds|does not hold|inconclusive)\*\*", said)
    assert "divergence" in report_along.answer(results).data


def a_way(results, **columns):
    return results.along.assign(**columns)


def test_what_was_not_tried_decides_nothing_and_no_share_is_taken_of_no_effect(results):
    unknown = dict.fromkeys(("recovered", "recovered_low", "recovered_high"), math.nan)
    ends = a_way(results, **unknown).query("a in (0, 1)")
    made = Made(results, along=ends, kl_by_token=results.kl_by_token, kl_quarters=results.kl_quarters)
    assert report_along.verdicts(made).data.count("Here: not tried. **inconclusive**") == 2
    said = report_along.answer(made).data
    assert "no sure effect" in said
    assert "the other way" not in said.lower()


@pytest.mark.parametrize(
    ("low", "value", "high", "said"),
    [
        (1.1, 1.5, 1.9, "changes the first tokens most"),
        (0.2, 0.5, 0.9, "changes the last tokens most"),
        (0.9, 1.1, 1.2, "it is not sure"),
        (math.nan, math.nan, math.nan, "the same at every token"),
    ],
)
def test_where_a_text_changes_is_told_by_the_interval(results, low, value, high, said):
    table = results.kl_quarters.copy()
    table.loc[table["part"] == RATIO, ["value", "low", "high"]] = value, low, high
    made = Made(results, along=results.along, kl_by_token=results.kl_by_token, kl_quarters=table)
    assert said in report_along.answer(made).data.lower()


def test_both_texts_are_compared_at_every_new_token(results, study):
    new = study.profile.sizes.new_tokens
    assert results.kl_by_token.groupby("text")["token"].apply(list).to_dict() == {
        text: list(range(1, new + 1)) for text in (BEFORE_TEXT, AFTER_TEXT)
    }


def test_results_that_lack_the_tables_say_so(results):
    made = Made(results)
    for said in (report_along.answer(made), report_along.verdicts(made)):
        assert "before this was part of them" in said.data
    for table in (report_along.stops, report_along.shares, report_along.quarters):
        assert "nothing of this kind" in table(made).to_html()


def test_the_rules_are_those_that_were_written_down():
    page = (PROJECT / "book" / "before_the_runs.md").read_text(encoding="utf-8")
    for rule, limit in zip(RULES, (".35 to .65", "> 0", "> 1"), strict=True):
        assert f"| `{rule.id}` | {rule.statement} | {rule.quantity} | {limit} |" in page
    assert (report_along.HALF_WAY.low, report_along.HALF_WAY.high) == (0.35, 0.65)
