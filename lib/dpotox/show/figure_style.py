"""The look of every figure: one palette, one size, one way to label and to draw the paper's values.

A figure is an SVG that serves a light and a dark page. Text and axes are drawn in a few set colours
(`THEMED`) that the book's pages replace by the theme's; data colours stand out from both backgrounds.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

import matplotlib.pyplot as plt
import numpy as np
from IPython import get_ipython
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.ticker import PercentFormatter
from matplotlib_inline.backend_inline import set_matplotlib_formats

# Toxic groups are warm, anti-toxic ones cool; the strong ones reduce toxicity, and each has a muted relative
# that increases it. Lightness and hue together keep them apart for colour-blind readers.
COLOURS = {
    "TP-": "#C8402F",
    "AN-": "#4C5FC4",
    "TN+": "#B58E12",
    "AP+": "#2E9FB4",
    "TP+": "#9E6259",
    "AN+": "#747BA8",
    "TN-": "#A8915E",
    "AP-": "#66999E",
}
WORDS = {"T": "toxic", "A": "anti-toxic", "P": "active", "N": "negative", "+": "more", "-": "less"}
MEANING = {a + b + c: f"{WORDS[a]}, {WORDS[c]} {WORDS[b]}" for a, b, c in COLOURS}
"""What DPO does to the mean activation of a group's neurons, in plain words."""

INK, MUTED, FAINT, BACK = "#1f2630", "#5b6470", "#d8dde3", "#fffffe"
THEMED = {INK: "ink", MUTED: "muted", FAINT: "faint", BACK: "back"}
"""Colours that stand for a role; a page may give each role another colour."""

GREY = "#8A9099"
HOLLOW = {"markerfacecolor": BACK, "markeredgecolor": GREY}
BASE, ABLATED, DPO, PAPER = INK, "#9A5CC6", "#1E9860", "#C2338A"
BEFORE, AFTER = "before DPO", "after DPO"
PUBLISHED = "paper, GPT-2 medium"
WIDTH = 4.6  # inches; narrow, so that its text can be read on a phone
SMALL = 8.8


def use_style() -> None:
    """Set the book's look; call it once at the top of a notebook, whose figures then are SVG."""
    plt.rc("figure", facecolor="none", dpi=200)  # dots of those parts of a figure that are pixels
    plt.rc("figure.constrained_layout", use=True)
    plt.rc("savefig", facecolor="none")
    plt.rc("svg", fonttype="none", hashsalt="dpotox")
    plt.rc("font", size=9.5)
    plt.rc("text", color=INK)
    plt.rc("axes", facecolor="none", edgecolor=MUTED, labelcolor=MUTED, labelsize=9, linewidth=0.7)
    plt.rc("axes", titlesize=9, titlecolor=MUTED, titlelocation="left", axisbelow=True)
    plt.rc("axes.spines", top=False, right=False)
    plt.rc("axes.formatter", useoffset=False)
    plt.rc("grid", color=FAINT, linewidth=0.7)
    plt.rc(("xtick", "ytick"), color=MUTED, labelsize=SMALL)
    plt.rc(("xtick.major", "ytick.major"), width=0.7)
    plt.rc("xtick.major", size=3)
    plt.rc("ytick.major", size=0)
    if get_ipython() is not None:
        set_matplotlib_formats("svg", bbox_inches=None, metadata={"Date": None})


def panel(height: float, rows: int = 1, **options) -> tuple[Figure, Axes | np.ndarray]:
    """A figure of the common width, with rows of axes under each other."""
    return plt.subplots(rows, 1, figsize=(WIDTH, height), **options)


def nothing(reason: str) -> Figure:
    """What stands in a figure's place where there is nothing to draw."""
    figure, axes = panel(0.8)
    axes.set_axis_off()
    note(axes, reason, (0, 0.5), (0, 0), fontsize=9.5)
    return figure


def name_y(axes: Axes, text: str, *, grid: bool = True) -> None:
    """Name the y axis above it, where the text can be read without turning one's head."""
    axes.set_title(text, pad=8)
    axes.spines["left"].set_visible(False)
    if grid:
        axes.grid(axis="y")


def rows_only(axes: Axes) -> None:
    """Axes whose rows carry their names: no y axis."""
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")


def name_row(axes: Axes, y: float, name: str) -> Annotation:
    """The name of a row, above its marks at the left edge, so that no width is lost to names."""
    box = {"facecolor": BACK, "edgecolor": "none", "pad": 1}
    place = {"xycoords": axes.get_yaxis_transform(), "va": "center", "annotation_clip": False}
    return axes.annotate(name, (0, y), fontsize=SMALL, bbox=box, **place)


def percent(axis) -> None:
    """Ticks in percent of 1."""
    axis.set_major_formatter(PercentFormatter(1, 0))


def layer_axis(axes: Axes, layers: int) -> None:
    """The layers, counted from 0; of many, not every one is named."""
    axes.set(xlabel="layer", xticks=np.arange(0, layers, -(-layers // 8)))


def spread(places: Sequence[float], gap: float) -> np.ndarray:
    """The places moved as little apart as gives each pair of neighbours the gap; order stays."""
    from scipy.optimize import isotonic_regression  # slow to import

    places = np.asarray(places, float)
    order = np.argsort(places, kind="stable")
    shift = np.arange(len(places)) * gap
    result = np.empty_like(places)
    # Without the gaps, what is sought are the nearest places, by least squares, that keep the order.
    result[order] = isotonic_regression(places[order] - shift).x + shift
    return result


def label_right(
    axes: Axes, labels: Sequence[tuple[float, str, str]], lines: float = 1.25, drawn: Container[str] = ()
) -> None:
    """Labels right of the axes at these heights (in data), moved apart if need be; call it last.

    Args:
        labels: height, text and the colour of the mark before it.
        lines: the least distance, in lines of text.
        drawn: texts of what is a plain line in the figure, whose mark is a line, too.
    """
    figure = axes.figure
    figure.draw_without_rendering()  # settles the limits and the layout
    low, high = axes.get_ylim()
    inches = axes.get_window_extent().height / figure.dpi
    heights = (np.array([height for height, _, _ in labels]) - low) / (high - low)
    gap = lines * plt.rcParams["font.size"] / 72 / inches
    start = 1 + 8 * figure.dpi / 72 / axes.get_window_extent().width
    for y, (_, text, colour) in zip(spread(heights, gap), labels, strict=True):
        mark = {"marker": "_", "markersize": 7, "markeredgewidth": 1.6} if text in drawn else {"marker": "s"}
        axes.plot(start, y, color=colour, transform=axes.transAxes, clip_on=False, **{"markersize": 5} | mark)
        place = {"xycoords": "axes fraction", "textcoords": "offset points", "annotation_clip": False}
        axes.annotate(text, (start, y), xytext=(7, -0.5), va="center", **place)


def paper_mark(axes: Axes, x, y, **options) -> None:
    """The paper's values, drawn alike in every figure; `note` one of them with `PUBLISHED`."""
    style = {"markersize": 5.5, "markerfacecolor": BACK, "markeredgecolor": PAPER, "markeredgewidth": 1.6}
    axes.plot(x, y, "D", clip_on=False, zorder=5, **style, **options)


def note(axes: Axes, text: str, xy: tuple, xytext: tuple[float, float] = (7, 0), **place) -> None:
    """A text beside a point, in points from it; each line is set by itself, as page fonts are narrower."""
    place = {"va": "center", "fontsize": SMALL, "annotation_clip": False, **place}
    lines, height = text.split("\n"), 1.25 * place["fontsize"]
    up = {"center": (len(lines) - 1) / 2, "bottom": len(lines) - 1}.get(place["va"], 0)
    for i, line in enumerate(lines):
        offset = (xytext[0], xytext[1] + (up - i) * height)
        axes.annotate(line, xy, xytext=offset, textcoords="offset points", **place)


def share(value: float) -> str:
    """A share in whole percent."""
    return f"{round(100 * value)}%".replace("-", "−")  # noqa: RUF001


def zero_line(axes: Axes) -> None:
    """The horizontal line at zero."""
    axes.axhline(0, color=MUTED, linewidth=0.8, zorder=1)
