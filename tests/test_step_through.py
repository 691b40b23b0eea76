"""The continuations token by token: what is read, what is hidden, and the page in a browser."""

import json
import re
import shutil
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from plain import STEPS, generate_plainly, hooked

from dpotox.inputs.pretraining import byte_pair_tokenizer
from dpotox.model.interventions import clamp
from dpotox.model.tracing import continue_prompts
from dpotox.paper.rows import AFTER, BEFORE, Row
from dpotox.places import PROJECT
from dpotox.run.per_token import chosen_prompts, conditions, pieces
from dpotox.show.masking import Mask, marked
from dpotox.show.step_through import masked_pieces, page


@contextmanager
def final_residuals(network, seen: list):
    """A plain hook that keeps what enters the final norm at the newest position."""
    handle = network.transformer.ln_f.register_forward_pre_hook(lambda _, x: seen.append(x[0][0, -1]))
    try:
        yield
    finally:
        handle.remove()


# What is read


def test_projections_are_what_plain_hooks_see_under_an_edit(model, network, prompts, some_neurons):
    direction = torch.randn(16, generator=torch.Generator().manual_seed(4))

    def change(layer, x):
        x = x.clone()
        for row in some_neurons[some_neurons["layer"] == layer].itertuples():
            x[..., row.neuron] = 10 * row.value
        return (x,)

    edit = clamp(some_neurons, 10 * some_neurons["value"])
    written = continue_prompts(model, prompts, STEPS, batch_size=3, interventions=[edit], direction=direction)
    for i, prompt in enumerate(prompts):
        seen = []
        with hooked(network, change), final_residuals(network, seen):
            assert torch.equal(written.tokens[i], generate_plainly(network, model.tokenizer, prompt))
        assert torch.allclose(
            written.projection[i], torch.stack(seen) @ (direction / direction.norm()), atol=1e-4
        )


def test_their_means_are_the_readings_of_all_three_models(study):
    table = study.step_through
    ablated = next(name for name in table["condition"].unique() if name.startswith("ablate"))
    for name, condition in (("base", "before DPO"), ("ablated", ablated), ("dpo", "after DPO")):
        part = table[table["condition"] == condition].groupby("number", sort=False)
        numbers = part.size().index.tolist()
        read = getattr(study.readings, name).residual[numbers, -1].numpy()
        assert np.allclose(part["projection"].mean(), read, atol=1e-4)
        written = np.stack([rows["token_id"] for _, rows in part])
        assert np.array_equal(written, study.readings.tokens[name][numbers].numpy())


def test_every_condition_writes_what_it_wrote_for_table_1(study):
    in_table = set(study.table1.results) & set(study.step_through["condition"])
    assert {"before DPO", "patch TP-, newest only", "shift all four groups", "after DPO"} <= in_table
    for (number, condition), part in study.step_through.groupby(["number", "condition"]):
        if condition in in_table:
            result = study.table1[condition]
            assert "".join(part["token"]).split() == result.texts[number].split()
            assert part["toxicity"].iloc[-1] == pytest.approx(result.greedy[number])
            assert part["step"].tolist() == list(range(1, len(part) + 1))


def test_conditions_without_neurons_are_left_out(study):
    rows = [Row("before DPO", "base", *BEFORE[:2]), Row("after DPO", "dpo", *AFTER[:2])]
    names = [row.name for row in conditions(rows, study.neurons, 3)]
    assert names == ["before DPO", "ablate top 3 toxic", "after DPO"]


# Which prompts


def test_prompts_are_chosen_by_their_scores_alone():
    before = [0.1, 0.9, 0.8, 0.6, 0.7, 0.5, 0.2]
    toxicity = pd.DataFrame({"base": before, "dpo": [0.0, 0.0, 0.8, 0.1, 0.9, 0.4, 0.0]})
    assert chosen_prompts(toxicity, 4) == [1, 5, 4, 0]  # effects .9, .1 and -.2, then the first not toxic
    assert chosen_prompts(toxicity, 2) == [1, 0]


def test_too_few_prompts_of_a_kind_are_made_up_for():
    none = pd.DataFrame({"base": [0.0, 0.1, 0.2], "dpo": [0.0, 0.0, 0.0]})
    assert chosen_prompts(none, 2) == [0, 1]
    every = pd.DataFrame({"base": [0.9, 0.8, 0.7], "dpo": [0.0, 0.0, 0.0]})
    assert chosen_prompts(every, 3) == [0, 1, 2]


# Tokens as text


def test_pieces_of_byte_pairs_join_to_the_text_even_where_a_character_is_cut():
    tokenizer = byte_pair_tokenizer([], 257)  # every byte a token, without merges, so that characters are cut
    ids = tokenizer(" is \u00e9t", add_special_tokens=False)["input_ids"]
    got = pieces(tokenizer, "It", torch.tensor(ids))
    assert got == [" ", "i", "s", " ", "", "\u00e9", "t"]


def test_pieces_of_whole_words_have_the_space_before_them(model):
    ids = torch.tensor(model.tokenizer("fresh bread .", add_special_tokens=False)["input_ids"])
    assert pieces(model.tokenizer, "the soup", ids) == [" fresh", " bread", " ."]


# What is hidden


@pytest.fixture(scope="module")
def mask() -> Mask:
    return Mask(frozenset({"fool"}))


def hidden(texts, mask) -> list[str]:
    return ["".join(stars for stars, _, _ in piece) for piece in masked_pieces(texts, mask)]


def test_a_mild_word_in_two_pieces_is_hidden_in_both_and_shown_by_the_switch(mask):
    assert hidden(["you", " fo", "ol", " ."], mask) == ["you", " f*", "**", " ."]
    assert [shown for piece in masked_pieces(["fo", "ol"], mask) for _, shown, _ in piece] == ["fo", "ol"]
    assert hidden(["foo", "led"], mask) == ["foo", "led"]


def test_a_word_that_was_hidden_before_it_was_kept_is_marked_in_every_piece(mask):
    cut = masked_pieces(["you", " z**", "***", " ."], mask)
    assert [[masked for *_, masked in piece] for piece in cut] == [[False], [False, True], [True], [False]]
    assert "".join(map(marked, cut)).count('<span class="masked">') == 2


def test_a_word_that_begins_in_the_prompt_is_hidden_too(mask):
    assert hidden(["you fo", "ol"], mask) == ["you f*", "**"]


def test_pieces_are_marked_as_the_mask_marks_words(mask):
    for text in ("a fool & a pan", "you z*****", "<b>fool</b>"):
        assert marked(masked_pieces([text], mask)[0]) == mask.html(text)


def test_pieces_of_the_results_are_as_long_as_those_that_were_written(study, results):
    made, kept = study.step_through, results.step_through
    assert kept["token"].str.len().tolist() == made["token"].str.len().tolist()
    kept, made = (table.drop(columns=["prompt", "token"]) for table in (kept, made))
    pd.testing.assert_frame_equal(kept, made, check_dtype=False, check_exact=True, check_like=True)


# The page


@pytest.fixture(scope="module")
def fragment() -> str:
    """A page of made-up lanes with words that look like HTML."""
    rows = [
        {
            "number": number,
            "prompt": "<i>the soup</i>",
            "condition": condition,
            "step": step + 1,
            "token": token,
            "token_id": step,
            "projection": step - shift,
            "toxicity": step / 4,
        }
        for number in (3, 8)
        for shift, condition in enumerate(("before DPO", "after DPO"))
        for step, token in enumerate([" </script>", " fo", "ol", " <b>&", f" end{number}"])
    ]

    mild = pd.DataFrame({"word": ["fool"]})
    return page(SimpleNamespace(step_through=pd.DataFrame(rows), mild_words=mild)).data


def test_text_cannot_leave_its_place_in_the_page(fragment):
    assert fragment.count("</script>") == 2
    data = re.search(r'<script type="application/json">(.*?)</script>', fragment, re.S)[1]
    assert json.loads(data)["prompts"][1]["number"] == 8
    assert "<b>" not in fragment
    assert "&lt;b&gt;&amp;" in fragment


def test_the_page_says_everything_without_a_script(fragment):
    static = fragment.split('<script type="application/json">')[0]
    assert static.count("<table") == 2
    assert static.count('<span class="stars">f*</span><span class="word" hidden>fo</span>') == 4
    for cell in ("before DPO", "after DPO", "<td>2.00</td>", "<td>1.00</td>"):
        assert cell in static


@pytest.fixture
def browser_page(browser, fragment, tmp_path):
    """The fragment opened in Chromium from the file system; fails on any error in the console."""
    (tmp_path / "notebooks").mkdir()
    shutil.copytree(PROJECT / "book" / "_static", tmp_path / "_static")
    beginning = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>t</title><body><button>out</button>'
    )
    (tmp_path / "notebooks" / "page.html").write_text(beginning + fragment, encoding="utf-8")
    errors = []
    opened = browser.new_page(viewport={"width": 390, "height": 844})
    opened.on("console", lambda message: errors.append(message.text))
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto((tmp_path / "notebooks" / "page.html").as_uri())
    yield opened
    opened.close()
    assert not errors


def in_view(opened) -> tuple[str, str, str]:
    """The count, the newest token of the first lane, and its projection."""
    lane = opened.locator(".st-lane").first
    token = lane.locator(".st-now").inner_text()
    return opened.locator(".st-count").inner_text(), token, lane.locator("b").first.inner_text()


def test_the_slider_the_buttons_and_the_arrow_keys_move_all_lanes(browser_page):
    assert in_view(browser_page) == ("5 of 5", "end3", "4.00")
    slider = browser_page.get_by_label("token", exact=True)
    slider.fill("1")
    assert in_view(browser_page) == ("1 of 5", "</script>", "0.00")
    assert browser_page.locator(".st-later:visible").count() == 0
    slider.focus()
    browser_page.keyboard.press("ArrowRight")
    assert in_view(browser_page)[0] == "2 of 5"
    browser_page.get_by_role("button", name="next token").click()
    browser_page.locator(".st-text").last.click()
    browser_page.keyboard.press("ArrowRight")
    assert in_view(browser_page) == ("4 of 5", "<b>&", "3.00")
    said = browser_page.locator("[aria-live]").inner_text()
    assert said == "Token 4 of 5. before DPO: <b>&, projection 3.0; after DPO: <b>&, projection 2.0."
    browser_page.get_by_role("button", name="previous token").click()
    assert in_view(browser_page) == ("3 of 5", "**", "2.00")


def test_arrow_keys_elsewhere_are_left_alone(browser_page):
    browser_page.get_by_role("button", name="out").focus()
    browser_page.keyboard.press("ArrowLeft")
    assert in_view(browser_page)[0] == "5 of 5"


def test_another_prompt_is_chosen_by_its_button(browser_page):
    second = browser_page.get_by_role("button", name="prompt 2 of 2")
    second.click()
    assert in_view(browser_page)[1] == "end8"
    assert second.get_attribute("aria-pressed") == "true"
    assert "<i>the soup</i>" in browser_page.locator(".st-prompt").inner_text()


def test_it_fits_a_phone_and_axe_finds_nothing_serious(browser_page):
    assert browser_page.evaluate("document.documentElement.scrollWidth") <= 390
    assert browser_page.locator(".st-static").count() == 0
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    options = {"preload": False}  # it would fetch the style sheets, which file:// does not allow
    found = axe.Axe().run(browser_page, options=options).response["violations"]
    assert not [v["id"] for v in found if v["impact"] in ("serious", "critical")]
