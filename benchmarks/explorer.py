"""How soon the neuron explorer shows its first picture, and how fast a filter is, in headless Chromium.

    python benchmarks/explorer.py --neurons 98304

A random table of that many neurons with GPT-2's number of tokens, opened from the file system. Chromium draws
WebGL in software (SwiftShader) here, which a laptop's GPU does faster.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from playwright.sync_api import Browser, sync_playwright

from dpotox.paper.groups import group_by_activation
from dpotox.places import PROJECT
from dpotox.show import explorer

TOKENS = 50_257
LIMIT = 2.0  # seconds until the first picture
TIMES = 5


def random_table(neurons: int, seed: int = 0) -> pd.DataFrame:
    """Heavy-tailed drops around zero, as real ones are."""
    rng = np.random.default_rng(seed)
    width = 4096 if neurons > 4096 else 512
    place = np.arange(neurons)
    table = pd.DataFrame({"layer": place // width, "neuron": place % width})
    table["cosine"] = rng.normal(0, 0.05, neurons)
    table["pre_activation"] = rng.normal(-0.05, 0.05, neurons)
    table["post_activation"] = table["pre_activation"] + rng.normal(0, 0.01, neurons)
    change = table["pre_activation"] - table["post_activation"]
    table["projection_drop"] = change * table["cosine"] * rng.lognormal(0, 2, neurons)
    return table.assign(group=group_by_activation(table))


def write_site(neurons: int, folder: Path) -> Path:
    """A page with the explorer alone, and the files beside it."""
    static, rng = folder / "_static", np.random.default_rng(0)
    static.mkdir()
    nearest = rng.integers(0, TOKENS, (neurons, 6))
    tokens = [(f"token{i}", f"token{i}") for i in range(TOKENS)]
    (static / "neurons.js").write_text(explorer.data_script(random_table(neurons), nearest, tokens))
    for path in (explorer.plotly_script(), *(PROJECT / "book" / "_static").glob("explorer.*")):
        shutil.copy(path, static)
    page = folder / "page.html"
    head = '<!doctype html><meta charset="utf-8"><title>explorer</title>'
    page.write_text(head + explorer.page("_static").data)
    return page


def first_picture(browser: Browser, page: Path) -> float:
    """Seconds from navigation until the points are drawn."""
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    began = time.perf_counter()
    tab.goto(page.as_uri(), wait_until="commit")
    tab.wait_for_selector(".neuron-explorer[data-ready]")
    seconds = time.perf_counter() - began
    tab.close()
    return seconds


def filter_change(browser: Browser, page: Path) -> float:
    """Seconds from a group's button to the drawn frame after it, the median of several."""
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.goto(page.as_uri())
    tab.wait_for_selector(".neuron-explorer[data-ready]")
    script = """async (times) => {
        const button = document.querySelector(".group"), seconds = [];
        for (let i = 0; i < times; i++) {
            const began = performance.now();
            button.click();
            await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
            seconds.push((performance.now() - began) / 1000);
        }
        return seconds;
    }"""
    seconds = tab.evaluate(script, TIMES)
    tab.close()
    return statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--neurons", type=int, nargs="+", default=[98_304, 500_000])
    arguments = parser.parse_args()
    chromium = shutil.which("chromium")
    if not chromium:
        sys.exit("error: there is no chromium on the path; install it")
    slow = False
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for neurons in arguments.neurons:
            with tempfile.TemporaryDirectory() as folder:
                page = write_site(neurons, Path(folder))
                megabytes = (page.parent / "_static" / "neurons.js").stat().st_size / 1e6
                seconds = [first_picture(browser, page) for _ in range(TIMES)]
                change = filter_change(browser, page)
            median = statistics.median(seconds)
            slow |= neurons <= 98_304 and median > LIMIT
            print(
                f"{neurons:,} neurons: neurons.js {megabytes:.1f} MB; first picture {median:.2f} s, "
                f"median of {TIMES} ({min(seconds):.2f} to {max(seconds):.2f}); filter change {change:.2f} s",
                flush=True,
            )
        print(f"headless Chromium {browser.version}, WebGL in software")
        browser.close()
    if slow:
        sys.exit(f"above the limit of {LIMIT} s")


if __name__ == "__main__":
    main()
