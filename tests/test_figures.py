"""The figures: colours that can be told apart, text that does not collide, small files, pages' themes."""

import importlib.util
import io
import itertools
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from dpotox.paper.groups import INCREASING, REDUCING, group_by_activation
from dpotox.paper.selections import most_toxic
from dpotox.show import figure_style, figures, figures_claims, figures_table1, report_table1

ROOT = Path(__file__).parents[1]
BACKGROUNDS = ("#ffffff", "#121212", "#14181e")

# The primaries of sRGB in CIE XYZ, and the cones' responses to XYZ (Hunt, Pointer and Estevez, for D65).
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
CONES = np.array([[0.4002, 0.7076, -0.0808], [-0.2263, 1.1653, 0.0457], [0, 0, 0.9182]]) @ XYZ
VISIONS = {"normal": None, "protanopia": 0, "deuteranopia": 1, "tritanopia": 2}


def linear(colour: str) -> np.ndarray:
    value = np.array(to_rgb(colour))
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    dark, light = sorted(XYZ[1] @ linear(colour) + 0.05 for colour in (one, other))
    return light / dark


def seen(vision: str) -> np.ndarray:
    """What a dichromat sees, in linear RGB: the missing cone's response is made up from the other two.

    They are weighed so that white and one primary stay as they are: blue, or for tritanopia red (after
    Viénot, Brettel and Mollon 1999).
    """
    missing = VISIONS[vision]
    if missing is None:
        return np.eye(3)
    others = [i for i in range(3) if i != missing]
    kept = np.array([CONES @ [1, 1, 1], CONES @ ([1, 0, 0] if missing == 2 else [0, 0, 1])])
    replace = np.eye(3)
    replace[missing] = 0
    replace[missing, others] = np.linalg.solve(kept[:, others], kept[:, missing])
    return np.linalg.inv(CONES) @ replace @ CONES


def difference(one: str, other: str, vision: str) -> float:
    """The distance in CIELAB, lightness included; 2 or 3 is just seen."""
    labs = []
    for colour in (one, other):
        light = XYZ @ np.clip(seen(vision) @ linear(colour), 0, 1) / (XYZ @ np.ones(3))
        x, y, z = np.where(light > (6 / 29) ** 3, np.cbrt(light), light / (3 * (6 / 29) ** 2) + 4 / 29)
        labs.append(np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)]))
    return float(np.linalg.norm(labs[0] - labs[1]))


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize(("groups", "least"), [(REDUCING, 15), (INCREASING, 10)])
def test_groups_can_be_told_apart_by_colour_blind_readers(vision, groups, least):
    for one, other in itertools.combinations(groups, 2):
        assert difference(figures.COLOURS[one], figures.COLOURS[other], vision) > least, (one, other)


def test_red_and_green_are_told_apart_only_by_those_who_can():
    """Of about the same lightness, so that the measure itself is seen to work."""
    assert difference("#b04040", "#5c7a3a", "normal") > 50
    assert difference("#b04040", "#5c7a3a", "deuteranopia") < 25


def test_marks_stand_out_from_both_backgrounds():
    others = (figure_style.DPO, figure_style.PAPER, figure_style.ABLATED, figure_style.GREY)
    for colour, background in itertools.product([*figures.COLOURS.values(), *others], BACKGROUNDS):
        assert contrast(colour, background) >= 3, colour
    for text in (figure_style.INK, figure_style.MUTED):
        assert contrast(text, "#ffffff") >= 4.5


@pytest.fixture(autouse=True)
def style():
    with plt.rc_context():
        figures.use_style()
        yield
        plt.close("all")


def of_neurons(neurons: pd.DataFrame, top: int) -> dict[str, plt.Figure]:
    return {
        "cumulative_reduction": figures.cumulative_reduction(neurons),
        "group_shares": figures.group_shares(neurons),
        "stacked_shares": figures.stacked_shares(neurons),
        "activation_shifts": figures.activation_shifts(neurons),
        "drops_by_layer": figures.drops_by_layer(neurons),
        "top_toxic_activations": figures.top_toxic_activations(most_toxic(neurons, 100)),
        "overview": figures.overview(neurons, top),
    }


def of_results(results) -> dict[str, plt.Figure]:
    """Every figure of the book."""
    nulls, layers = (results.other_directions, results.comparisons), results.layers
    claims, summary = results.claims, results.table1
    rows = report_table1.paper_rows(summary)
    return of_neurons(results.neurons, results.profile.interventions.figure_top) | {
        "pretraining_curve": figures.pretraining_curve(results.pretraining, results.record.loss),
        "probe_selection": figures.probe_selection(results.probe_selection),
        "calibration": figures.calibration(results.probe_calibration),
        "outcomes": figures.outcomes(results.outcomes),
        "dpo_curves": figures.dpo_curves(results.dpo_curves),
        "projections of the MLPs": figures.layer_projections(layers, "MLP output"),
        "projections of the stream": figures.layer_projections(layers, "residual stream"),
        "null_shares": figures.null_shares(*nulls, "TP- share of gross", "share"),
        "null_nets": figures.null_shares(*nulls, "net / gross", "net / gross"),
        "table1_chart": figures_table1.table1_chart(rows),
        "recovered_chart": figures_table1.recovered_chart(rows, summary),
        "recovered_by_set": figures_table1.recovered_by_set(summary),
        "published_numbers": figures_claims.published_numbers(claims.assign(seed=results.seed), [claims]),
    }


def unseen_ticks(figure: plt.Figure) -> list[Text]:
    """Labels of ticks that matplotlib holds ready but does not draw."""
    unseen = []
    for axes in figure.axes:
        for i, axis in enumerate((axes.xaxis, axes.yaxis)):
            low, high = sorted(axis.get_view_interval())
            reach = 1e-6 * (high - low)
            for label in axis.get_ticklabels(which="both"):
                at = label.get_position()[i]
                if not axes.axison or not low - reach <= at <= high + reach:
                    unseen.append(label)
    return unseen


def collisions(figure: plt.Figure) -> list[str]:
    """Texts that overlap another or leave the figure, as drawn in matplotlib's own, wide font."""
    figure.draw_without_rendering()
    unseen = unseen_ticks(figure)
    texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip() and t not in unseen]
    boxes = [(t.get_text(), Text.get_window_extent(t)) for t in texts if not t.get_rotation()]
    whole = figure.bbox
    out = [text for text, b in boxes if b.x0 < -1 or b.y0 < -1 or b.x1 > whole.x1 + 1 or b.y1 > whole.y1 + 1]
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        wide, high = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        if wide > 2 and high > 0.35 * min(a.height, b.height):
            out.append(f"{one} / {other}")
    return out


def test_no_text_of_a_figure_is_clipped_or_lies_on_another(results):
    found = {name: collisions(figure) for name, figure in of_results(results).items()}
    assert {name: texts for name, texts in found.items() if texts} == {}


def as_svg(figure: plt.Figure) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def test_figures_of_as_many_neurons_as_gpt2_medium_stay_small():
    rng, layers, width = np.random.default_rng(0), 24, 4_096
    n = layers * width
    before = np.where(rng.random(n) < 0.13, rng.exponential(0.15, n), -rng.exponential(0.06, n))
    table = pd.DataFrame(
        {
            "layer": np.repeat(np.arange(layers), width),
            "cosine": rng.normal(0, 0.05, n),
            "pre_activation": before,
            "post_activation": before + rng.normal(0, 0.02, n),
            "projection_drop": rng.normal(0.0001, 0.001, n),
        }
    )
    table["group"] = group_by_activation(table)
    sizes = {name: len(as_svg(figure)) for name, figure in of_neurons(table, 128).items()}
    assert max(sizes.values()) < 300_000, sizes


@pytest.fixture(scope="module")
def extension() -> ModuleType:
    spec = importlib.util.spec_from_file_location("inline_svg", ROOT / "book" / "_ext" / "inline_svg.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_page_draws_a_figure_in_its_theme_and_names_it(results, extension):
    svg = as_svg(figures.group_shares(results.neurons))
    assert svg == as_svg(figures.group_shares(results.neurons))  # the same bytes every time
    root = ElementTree.fromstring(extension.inline(svg, 'shares of "TP-" < others', "a-"))
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'shares of "TP-" < others'
    assert not {"width", "height"} & set(root.attrib)
    styles = [element.get("style", "") for element in root.iter()]
    assert any(f"var(--chart-ink, {figure_style.INK})" in style for style in styles)
    assert not any("DejaVu" in style for style in styles)
    assert all(element.tag.rpartition("}")[2] not in ("style", "metadata") for element in root.iter())
    defined = (ROOT / "book" / "_static" / "figures.css").read_text()
    assert all(f"--chart-{role}:" in defined for role in figure_style.THEMED.values())


def test_two_figures_of_a_page_share_no_ids(results, extension):
    svg = as_svg(figures.overview(results.neurons, 5))
    ids, links = [], []
    for prefix in ("a-", "b-"):
        for element in ElementTree.fromstring(extension.inline(svg, "", prefix)).iter():
            ids += [element.get("id")] if element.get("id") else []
            links += [v for k, v in element.attrib.items() if k.endswith("href") and v[0] == "#"]
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in links} <= set(ids)


def test_labels_move_apart_no_further_than_they_must():
    moved = figure_style.spread([0.5, 0.1, 0.52], 0.1)
    np.testing.assert_allclose(moved, [0.46, 0.1, 0.56])
