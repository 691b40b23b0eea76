"""The neuron explorer: an interactive page over the whole neuron table, which needs no server.

The chapter holds a container (`page`). Beside the page lie plotly.js and the neurons as a script
(`script`), since a page opened from the file system may load scripts, but no data. What a reader can do
with them is in `book/_static/explorer.js`.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import plotly
from IPython.display import HTML, Markdown
from jaxtyping import Int

from dpotox.paper.groups import GROUPS, REDUCING, ranking
from dpotox.results.folder import Results
from dpotox.show.figure_style import COLOURS
from dpotox.show.masking import Mask, seen

NUMBERS = ("cosine", "projection_drop", "pre_activation", "post_activation")
"""The columns of the neuron table that the page shows."""
TABLE = "downloads/neurons.parquet"


def page(static: str = "../_static") -> HTML:
    """The explorer's place in the page, and the scripts that fill it.

    Outside the built book there is no style sheet that hides the first line, and no script.
    """
    return HTML(f"""<link rel="stylesheet" href="{static}/explorer.css">
<div class="neuron-explorer" data-table="{static}/{TABLE}">
<p class="outside">The explorer runs in the built book: <code>make book</code>, then open this chapter.</p>
<noscript><p>The explorer needs JavaScript. The table below and the download of
<a href="{static}/{TABLE}">all neurons</a> do not.</p></noscript>
</div>
<script defer src="{static}/plotly.min.js"></script>
<script defer src="{static}/neurons.js"></script>
<script defer src="{static}/explorer.js"></script>""")


def script(results: Results) -> str:
    """What the page loads beside plotly.js (`data_script`)."""
    mask, texts = Mask.of(results), results.tokens["text"]
    return data_script(
        results.neurons, results.nearest_tokens.to_numpy(), [(mask(t), seen(t)) for t in texts]
    )


def answer(neurons: pd.DataFrame, top: int = 100) -> Markdown:
    """Where the largest projection drops sit, in short sentences.

    Args:
        top: how many drops are looked at; all positive ones where there are fewer.
    """
    ranked = ranking(neurons)
    positive = ranked[ranked["projection_drop"] > 0]
    if positive.empty:
        return Markdown("No neuron's projection drops.")
    largest, first = positive.head(top), positive.iloc[0]
    layers, names = largest["layer"].value_counts(), largest["group"].value_counts()
    share = largest["projection_drop"].sum() / positive["projection_drop"].sum()
    return Markdown(
        f"The {len(largest)} largest drops, of {len(neurons):,} neurons, make up {share:.0%} of all positive "
        f"drops. Layer {layers.index[0]} holds the most of them ({layers.iloc[0]}), and their commonest "
        f"group is {names.index[0]} ({names.iloc[0]}). The neuron of the largest drop is "
        f"{first['layer']}:{first['neuron']}, of {first['group']}, with a drop of "
        f"{first['projection_drop']:.3g}."
    )


def plotly_script() -> Path:
    """plotly.js as the package plotly ships it."""
    return Path(plotly.__file__).with_name("package_data") / "plotly.min.js"


def data_script(
    neurons: pd.DataFrame,
    nearest: Int[np.ndarray, "row k"],
    tokens: Sequence[tuple[str, str]],
) -> str:
    """A script that defines `window.dpotoxNeurons`: typed arrays in base 64, the largest drop first.

    Args:
        neurons: the neuron table.
        nearest: per row of it, the positions in `tokens` of the neuron's nearest tokens.
        tokens: every token as it is first shown and after the page's switch.
    """
    ranked = ranking(neurons.assign(row=np.arange(len(neurons))))
    # Only tokens that are near some neuron, each string once.
    used, places = np.unique(nearest[ranked["row"]], return_inverse=True)
    strings = {pair: i for i, pair in enumerate(dict.fromkeys(tokens[i] for i in used))}
    place_of = np.array([strings[tokens[i]] for i in used], dtype=np.int64)
    codes = ranked["group"].map({group: i for i, group in enumerate(GROUPS)})
    data = {
        "count": len(ranked),
        "layer": _whole(ranked["layer"]),
        "neuron": _whole(ranked["neuron"]),
        "group": _whole(codes),
        "nearest": _whole(place_of[places]),
        "perNeuron": nearest.shape[1],
        # A string where nothing is hidden, else a pair.
        "tokens": [hidden if hidden == shown else [hidden, shown] for hidden, shown in strings],
        "groups": [{"name": g, "colour": COLOURS[g], "reduces": g in REDUCING} for g in GROUPS],
    }
    data |= {name: _array(ranked[name], "f4") for name in NUMBERS}
    return f"window.dpotoxNeurons = {json.dumps(data, separators=(',', ':'))};\n"


def _whole(values) -> tuple[str, str]:
    """Whole numbers in the smallest type that holds them."""
    largest = np.asarray(values).max(initial=0)
    return _array(values, np.min_scalar_type(largest).str[1:])


def _array(values, dtype: str) -> tuple[str, str]:
    """The type's name, and the values, little-endian, in base 64."""
    return dtype, b64encode(np.asarray(values).astype(f"<{dtype}").tobytes()).decode("ascii")
