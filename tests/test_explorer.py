"""The neuron explorer: what its data script holds, and what a reader can do with it in a browser."""

import json
import shutil
from base64 import b64decode
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dpotox.model import logit_lens, weights
from dpotox.model.logit_lens import nearest_token_ids
from dpotox.paper.groups import GROUPS, ranking
from dpotox.places import PROJECT
from dpotox.results import catalogue
from dpotox.run import pages
from dpotox.show import explorer
from dpotox.show.masking import Mask

HTML_TOKEN = "<img src=x onerror=\"document.title='hit'\"></script>"
TOKENS = [("pan", "pan"), ("f***", "fool"), (HTML_TOKEN, HTML_TOKEN), ("never near", "never near")]
NEAREST = np.array([[0, 1, 2]] * 60)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Sixty neurons of three layers, every group in each; one lacks a cosine."""
    rng = np.random.default_rng(0)
    place = np.arange(60)
    made = pd.DataFrame({"layer": place // 20, "neuron": place % 20})
    made["group"] = [GROUPS[i % 8] for i in place]
    made["projection_drop"] = rng.permutation(np.linspace(-0.5, 1, 60))
    for column in ("cosine", "pre_activation", "post_activation"):
        made[column] = rng.normal(size=60)
    made.loc[made["projection_drop"].idxmin(), "cosine"] = np.nan
    return made


def decoded(script: str) -> dict:
    """What a browser makes of the script."""
    data = json.loads(script.removeprefix("window.dpotoxNeurons = ").removesuffix(";\n"))
    for name, value in data.items():
        if isinstance(value, list) and value[0] in ("u1", "u2", "u4", "f4"):
            data[name] = np.frombuffer(b64decode(value[1]), f"<{value[0]}")
    return data


def test_the_script_holds_the_table_in_the_order_of_the_drop(table):
    data, ranked = decoded(explorer.data_script(table, NEAREST, TOKENS)), ranking(table)
    for column in ("layer", "neuron"):
        assert data[column].tolist() == ranked[column].tolist()
    for column in explorer.NUMBERS:
        np.testing.assert_allclose(data[column], ranked[column], rtol=1e-6)
    assert [data["groups"][code]["name"] for code in data["group"]] == ranked["group"].tolist()


def test_every_neuron_keeps_its_own_nearest_tokens(table):
    nearest = np.random.default_rng(1).integers(0, 300, (60, 6))
    tokens = [(f"t{i}", f"t{i}") for i in range(300)]
    data = decoded(explorer.data_script(table, nearest, tokens))
    rows = data["nearest"].reshape(60, 6)
    first = ranking(table).iloc[0]
    own = nearest[first["layer"] * 20 + first["neuron"]]
    assert [data["tokens"][i] for i in rows[0]] == [f"t{i}" for i in own]


def test_the_script_holds_no_token_that_is_near_no_neuron_and_both_forms_of_a_masked_one(table):
    assert decoded(explorer.data_script(table, NEAREST, TOKENS))["tokens"] == [
        "pan",
        ["f***", "fool"],
        HTML_TOKEN,
    ]


def test_a_whole_table_of_gpt2_medium_stays_under_5_mb():
    rng, n = np.random.default_rng(0), 98_304
    table = pd.DataFrame({"layer": np.repeat(np.arange(24), 4096), "neuron": np.tile(np.arange(4096), 24)})
    table["group"] = rng.choice(GROUPS, n)
    table[list(explorer.NUMBERS)] = rng.normal(size=(n, 4))
    tokens = [(f"tok{i}", f"tok{i}") for i in range(50_257)]
    assert len(explorer.data_script(table, rng.integers(0, 50_257, (n, 6)), tokens)) < 5e6


def test_nearest_tokens_of_all_neurons_are_those_of_each(model, monkeypatch):
    monkeypatch.setattr("dpotox.model.logit_lens.AT_ONCE", 7)  # batches that do not divide the neurons
    values = weights.value_vectors(model)
    ids = nearest_token_ids(model, values, 4)
    assert ids.shape == (3, 24, 4)
    for layer, neuron in ((0, 0), (1, 23), (2, 7)):
        words = [model.tokenizer.decode([i]).strip() for i in ids[layer, neuron].tolist()]
        assert words == logit_lens.nearest_tokens(model, model.tokenizer, values[layer, neuron], 4)


def test_the_books_files_are_written_and_hold_only_masked_tokens(results, tmp_path):
    markup = explorer.page().data
    pages.write_explorer(results, tmp_path)
    for name in ("plotly.min.js", "neurons.js"):
        assert (tmp_path / name).is_file()
        assert f"../_static/{name}" in markup
    assert Path(explorer.TABLE) == Path("downloads", catalogue.TABLES["neurons"].file)
    assert "neurons" in pages.SHOWN["05_four_groups"]  # from whose page it is downloaded
    mask = Mask.of(results)
    for token in decoded((tmp_path / "neurons.js").read_text())["tokens"]:
        hidden = token if isinstance(token, str) else token[0]
        assert mask(hidden) == hidden


def test_the_answer_says_where_the_largest_drops_sit(table):
    text, first = explorer.answer(table, 10).data, ranking(table).iloc[0]
    assert text.startswith("The 10 largest drops, of 60 neurons, ")
    assert (
        f"largest drop is {first['layer']}:{first['neuron']}, of {first['group']}, with a drop of 1." in text
    )
    assert "No neuron" in explorer.answer(table.assign(projection_drop=-1.0)).data


# In a browser


@pytest.fixture(scope="module")
def page(browser, table, tmp_path_factory):
    """A chapter with the explorer alone, named by its title as the book does it, in Chromium."""
    folder = tmp_path_factory.mktemp("site")
    static = folder / "_static"
    static.mkdir()
    (static / "neurons.js").write_text(explorer.data_script(table, NEAREST, TOKENS))
    for path in (explorer.plotly_script(), *(PROJECT / "book" / "_static").glob("*.*")):
        shutil.copy(path, static)
    html = '<!doctype html><meta charset="utf-8"><title>safe</title><section id="neuron-explorer">'
    html += f"<h1>Neuron explorer</h1>{explorer.page('_static').data}</section>"
    (folder / "page.html").write_text(html)
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.wrong, tab.requests = [], []
    tab.on("pageerror", lambda error: tab.wrong.append(str(error)))
    tab.on("console", lambda said: said.type == "error" and tab.wrong.append(said.text))
    tab.on("request", lambda request: tab.requests.append(request.url))
    tab.address = (folder / "page.html").as_uri()
    return tab


@pytest.fixture
def opened(page):
    """The page as it is at first; whatever is done with it, nothing goes wrong or is asked for elsewhere."""
    open_at(page, "")
    yield page
    assert [url for url in page.requests if not url.startswith(("file:", "about:", "blob:", "data:"))] == []
    assert page.wrong == []


def open_at(page, anchor: str) -> None:
    page.goto("about:blank")
    page.goto(page.address + anchor)
    page.wait_for_selector(".neuron-explorer[data-ready]")


def shown(page) -> int:
    return int(page.inner_text(".shown").split()[0])


def panel(page) -> str:
    return page.inner_text(".panel")


def neuron_at(table: pd.DataFrame, rank: int) -> str:
    row = ranking(table).iloc[rank - 1]
    return f"{row['layer']}:{row['neuron']}"


def test_it_first_shows_every_neuron_and_tells_of_the_largest_drop(opened, table):
    assert opened.inner_text("h1") == "Neuron explorer"  # what is around it stays
    assert shown(opened) == 60
    assert neuron_at(table, 1) in panel(opened)
    assert "1 of 60" in panel(opened)
    drawn = opened.evaluate("document.querySelector('.plot').data.reduce((sum, t) => sum + t.x.length, 0)")
    assert drawn == 60


def test_groups_layers_and_ranks_are_filtered_together(opened, table):
    opened.click('[data-group="TP-"]')
    opened.select_option("#explorer-layer", "1")
    opened.fill("#explorer-top", "40")
    opened.press("#explorer-top", "Enter")
    top = ranking(table).head(40)
    assert shown(opened) == ((top["layer"] == 1) & (top["group"] != "TP-")).sum()
    assert opened.get_attribute('[data-group="TP-"]', "aria-pressed") == "false"
    opened.click(".reset")
    assert shown(opened) == 60


def test_a_neuron_is_found_by_its_name_and_linked_to(opened, table):
    opened.fill("#explorer-search", " 2:7 ")
    opened.press("#explorer-search", "Enter")
    row = ranking(table).query("layer == 2 and neuron == 7").iloc[0]
    assert f"{row['rank']} of 60" in panel(opened)
    assert row["group"] in panel(opened)
    assert opened.url.endswith("#neuron=2:7")
    # Plotly rings it in the plot and writes its name beside it.
    labels = opened.evaluate("document.querySelector('.plot').layout.annotations.map(a => a.text)")
    assert "2:7" in labels


@pytest.mark.parametrize("wanted", ["9:1", "1:20", "999999:9999999"])
def test_a_neuron_that_is_not_there_is_said_in_one_line(opened, wanted):
    before = panel(opened)
    opened.fill("#explorer-search", wanted)
    opened.press("#explorer-search", "Enter")
    assert f"There is no neuron {wanted}" in opened.inner_text(".message")
    assert panel(opened) == before


def test_a_link_opens_its_neuron_and_a_new_anchor_another(page):
    open_at(page, "#neuron=1:19")
    assert page.get_attribute(".panel", "data-neuron") == "1:19"
    page.evaluate("location.hash = 'neuron=0%3A3'")
    page.wait_for_selector('.panel[data-neuron="0:3"]')


def test_an_anchor_with_html_is_shown_as_text(page):
    open_at(page, "#neuron=<img src=x onerror=document.title='hit'>")
    assert "is no neuron" in page.inner_text(".message")
    assert page.query_selector(".neuron-explorer img") is None


def test_previous_and_next_go_along_the_rank_of_what_is_shown(opened, table):
    opened.click("[data-step=next]")
    assert opened.get_attribute(".panel", "data-neuron") == neuron_at(table, 2)
    opened.click("[data-step=previous]")
    assert opened.get_attribute(".panel", "data-neuron") == neuron_at(table, 1)
    opened.click("[data-step=previous]")
    assert "No neuron shown" in opened.inner_text(".message")
    opened.select_option("#explorer-layer", "2")
    opened.click("[data-step=next]")
    assert opened.get_attribute(".panel", "data-neuron").startswith("2:")


def test_hovering_tells_of_a_neuron_and_a_click_keeps_it(opened, table):
    second = neuron_at(table, 2)
    row = ranking(table).iloc[1]
    place = opened.evaluate(
        """([x, drop]) => {
            const plot = document.querySelector(".plot"), {xaxis, yaxis} = plot._fullLayout;
            const y = plot.data.flatMap((t) => [...t.x].map((v, i) => [v, t.y[i]]))
                .find(([v]) => Math.abs(v - x) < 1e-6)[1];
            const box = plot.getBoundingClientRect();
            return [box.x + xaxis._offset + xaxis.l2p(x), box.y + yaxis._offset + yaxis.l2p(y)];
        }""",
        [row["cosine"], row["projection_drop"]],
    )
    opened.mouse.move(place[0] - 3, place[1] - 3)
    opened.mouse.move(*place)
    opened.wait_for_selector(f'.panel[data-neuron="{second}"]')
    opened.mouse.click(*place)
    opened.wait_for_function("location.hash.startsWith('#neuron=')")
    opened.mouse.move(5, 5)
    assert opened.url.endswith(f"#neuron={second}")


def test_tokens_are_text_and_masked_ones_have_the_markup_that_the_switch_knows(opened):
    tokens = opened.locator(".token")
    assert tokens.nth(0).inner_text() == "pan"
    assert tokens.nth(1).locator(".masked .stars").inner_text() == "f***"
    assert tokens.nth(1).locator(".masked .word").get_attribute("hidden") is not None
    assert tokens.nth(1).inner_text() == "f***"
    assert tokens.nth(2).inner_text() == HTML_TOKEN
    assert opened.title() == "safe"


def test_a_neuron_without_a_cosine_is_told_of_and_not_drawn(opened, table):
    opened.fill("#explorer-search", neuron_at(table, 60))
    opened.press("#explorer-search", "Enter")
    assert "cosine with the probe\n-" in panel(opened)


def test_the_theme_turns_the_pictures_colours(opened):
    colour = "document.querySelector('.plot').layout.font.color"
    before = opened.evaluate(colour)
    opened.evaluate(
        """() => {
            document.documentElement.style.setProperty("--pst-color-text-base", "#eeeeee");
            document.documentElement.dataset.theme = "dark";
        }"""
    )
    opened.wait_for_function(f"{colour} === '#eeeeee'")
    assert before != "#eeeeee"


def test_the_neurons_shown_are_downloaded_as_a_table(opened, table):
    opened.select_option("#explorer-layer", "0")
    with opened.expect_download() as download:
        opened.click("[data-download]")
    saved = pd.read_csv(download.value.path())
    ranked = ranking(table).query("layer == 0")
    assert saved["neuron"].tolist() == ranked["neuron"].tolist()
    np.testing.assert_allclose(saved["projection_drop"], ranked["projection_drop"], rtol=1e-5)


def test_it_fits_a_phone_and_its_controls_have_names(opened):
    opened.set_viewport_size({"width": 390, "height": 844})
    try:
        opened.wait_for_function("document.querySelector('.plot')._fullLayout.width <= 390")
        assert opened.evaluate("document.documentElement.scrollWidth") <= 390
        boxes = [opened.locator(part).bounding_box() for part in (".picture", ".panel")]
        assert boxes[1]["y"] >= boxes[0]["y"] + boxes[0]["height"]
        unnamed = """[...document.querySelectorAll('.neuron-explorer :is(input, select)')]
            .filter((control) => !control.labels.length).length"""
        assert opened.evaluate(unnamed) == 0
    finally:
        opened.set_viewport_size({"width": 1280, "height": 900})


def test_all_that_it_needs_lies_beside_it(opened):
    fetched = {url.rpartition("/")[2] for url in opened.requests if url.startswith("file:")}
    assert {"page.html", "neurons.js", "explorer.js"} <= fetched
