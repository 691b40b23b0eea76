"""The pages in a real browser: Debian's Chromium, headless, as a reader on a desk and on a phone has them.

They are the pages of the tiny study, or with `pytest --site FOLDER` those that are there.
"""

from collections import defaultdict
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from bs4 import BeautifulSoup
from conftest import CHROMIUM, ROOT

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
Axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium (Debian: chromium)")

VIEWS = {
    "desk, light": ({"width": 1280, "height": 900}, "light"),
    "desk, dark": ({"width": 1280, "height": 900}, "dark"),
    "phone, light": ({"width": 390, "height": 844}, "light"),
    "phone, dark": ({"width": 390, "height": 844}, "dark"),
}
LOOKED_AT_CLOSELY = ("desk, light", "phone, dark")
"""Where axe-core is run; it takes most of the time."""
PAGES = [
    line.split("file:")[1].strip() for line in (ROOT / "_toc.yml").read_text().splitlines() if "file:" in line
]
PAGES.append("notebooks/index")


@cache
def parsed(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def has(path: Path, anchor: str) -> bool:
    """Whether a page has an anchor; `#neuron=19:770` and its like are for the page's script."""
    return anchor in ("", "top") or "=" in anchor or parsed(path).find(id=anchor) is not None


def url(site: Path, page: str, fragment: str = "") -> str:
    return (site / f"{page}.html").as_uri() + fragment


class Tab:
    """A page of the browser that notes its errors and every request that leaves the site."""

    def __init__(self, browser, view: str) -> None:
        viewport, theme = VIEWS[view]
        self.context = browser.new_context(viewport=viewport, color_scheme=theme)
        script = f"localStorage.setItem('theme', '{theme}'); localStorage.setItem('mode', '{theme}')"
        self.context.add_init_script(script)
        self.page, self.wrong = self.context.new_page(), []
        self.page.on("console", lambda m: self.wrong.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", self._see)

    def _see(self, request) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.wrong.append(f"asks another host: {request.url}")


@pytest.fixture(scope="module")
def tabs(browser):
    made = {view: Tab(browser, view) for view in VIEWS}
    yield made
    for tab in made.values():
        tab.context.close()


@needs_chromium
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_loads_fits_and_is_accessible(site, tabs, page, view):
    tab = tabs[view]
    tab.wrong.clear()
    tab.page.goto(url(site, page), wait_until="load")
    tab.page.wait_for_timeout(100)
    assert tab.page.evaluate("document.documentElement.dataset.theme") == VIEWS[view][1]
    assert not tab.wrong
    width = tab.page.evaluate("document.documentElement.scrollWidth")
    assert width <= VIEWS[view][0]["width"], "the page is wider than the screen"
    if view not in LOOKED_AT_CLOSELY:
        return
    options = {"resultTypes": ["violations"], "preload": False}
    found = Axe().run(tab.page, options=options).response["violations"]
    serious = [
        f"{v['id']}: {v['help']}: {v['nodes'][0]['html'][:200]} (and {len(v['nodes']) - 1} more)"
        for v in found
        if v["impact"] in ("serious", "critical")
    ]
    assert not serious, "\n".join(serious)


def test_every_link_and_anchor_leads_somewhere(site):
    missing = defaultdict(set)
    for path in sorted(site.rglob("*.html")):
        if "_static" in path.parts:
            continue
        for link in parsed(path).select("a[href]"):
            target, anchor = urldefrag(link["href"])
            if ":" in target.split("/")[0]:
                continue  # another host's
            file = (path.parent / unquote(target)).resolve() if target else path
            if not file.is_file() or (file.suffix == ".html" and not has(file, unquote(anchor))):
                missing[str(path.relative_to(site))].add(link["href"])
    assert not missing


def test_every_figure_has_a_caption_a_number_and_a_text_for_those_who_cannot_see_it(site):
    for path in sorted((site / "notebooks").glob("*.html")):
        for figure in parsed(path).select("figure"):
            picture = figure.select_one("svg[role=img], img")
            assert picture is not None, path
            label = picture.get("aria-label") or picture.get("alt") or ""
            assert len(label) > 20, (path, label)
            assert figure.select_one("figcaption .caption-number") is not None, path
            referred = parsed(path).select(f'a[href="#{figure["id"]}"].reference')
            assert referred, f"nothing in {path.name} refers to {figure['id']}"


def test_pages_are_light(site):
    for path in site.rglob("*.html"):
        if path.stem != "11_neuron_explorer":
            assert path.stat().st_size < 3e6, path


def test_every_page_says_what_made_it_and_notebooks_can_be_downloaded(site):
    for page in PAGES:
        colophon = parsed(site / f"{page}.html").select_one(".colophon")
        assert colophon is not None, page
        for word in ("Profile", "seed", "torch", " s"):
            assert word in colophon.text, (page, word)
        if page.startswith("notebooks/"):
            files = {link.text for link in colophon.select("a[download]")}
            name = page.removeprefix("notebooks/")
            assert {f"{name}.ipynb", f"{name}.py"} < files, "and a table of results"


@needs_chromium
def test_toxic_words_are_hidden_until_the_switch_is_used_and_it_is_remembered(site, browser):
    tab = Tab(browser, "desk, light")
    tab.page.goto(url(site, "notebooks/03_dpo"))
    words = tab.page.locator(".masked .word")
    assert words.count()
    assert not any(words.nth(i).is_visible() for i in range(words.count()))
    switch = tab.page.locator(".toxic-switch").first
    switch.click()
    assert switch.get_attribute("aria-pressed") == "true"
    assert words.first.is_visible()
    assert not tab.page.locator(".masked .stars").first.is_visible()
    for _ in range(5):
        tab.page.wait_for_timeout(500)  # another process writes down what is remembered
        tab.page.goto(url(site, "notebooks/02_toxic_direction"))
        if tab.page.locator(".masked .word").first.is_visible():
            break
        tab.page.goto(url(site, "notebooks/03_dpo"))
        if switch.get_attribute("aria-pressed") != "true":
            switch.click()
    assert tab.page.locator(".masked .word").first.is_visible()
    tab.page.locator(".toxic-switch").first.click()
    tab.page.locator(".masked .word").first.wait_for(state="hidden")
    assert not tab.wrong
    tab.context.close()


def test_the_claims_table_leads_to_the_cell_that_made_each_value(site):
    links = parsed(site / "notebooks" / "index.html").select('a[href*="#claim-"]')
    assert links
    for link in links:
        file, anchor = urldefrag(link["href"])
        cell = parsed(site / "notebooks" / file).find(id=anchor).find_parent(class_="cell")
        assert "verdicts(results" in cell.text


@needs_chromium
@pytest.mark.parametrize("view", ["desk, light", "phone, light"])
def test_a_claim_has_room_to_be_read(site, tabs, view):
    tab = tabs[view]
    tab.page.goto(url(site, "notebooks/index"))
    claim = tab.page.locator(".tag_claims td").first
    assert claim.bounding_box()["width"] > 240
