"""Results of several runs beside each other, for the page on packs."""

from __future__ import annotations

import math

import pandas as pd
from IPython.display import Markdown
from pandas.io.formats.style import Styler

from dpotox.paper.groups import REDUCING, gross_and_net, ratio
from dpotox.paper.published import published_groups
from dpotox.results.claims import measured_otherwise
from dpotox.results.folder import Results
from dpotox.show.report import interval, number, percent, shown
from dpotox.show.report_claims import marked


def runs(found: dict[str, Results]) -> Styler:
    """What was run, on what, and what it took."""
    rows = []
    for name, results in found.items():
        record, profile = results.record, results.profile
        rows.append(
            {
                "run": name,
                "profile": profile.name + (f" ({profile.title})" if profile.title else ""),
                "seed": str(results.seed),
                "layers": record.shape.layers,
                "pack": "small" if record.small else "whole",
                "neurons": record.shape.layers * record.shape.d_mlp,
                "prompts": record.prompts if record.small else len(results.prompts),
                "device": record.device,
                "steps, minutes": round(sum(record.seconds.values()) / 60, 1),
                "memory, GB": round(record.memory / 1e9, 1),
                "date": record.date,
                "measured by": _measured_by(record.code),
                "commit": record.commit[:10] + ("+" if record.commit.endswith("+") else ""),
                "torch": record.versions.get("torch", "-"),
            }
        )
    return shown(rows)


def _measured_by(code: dict[str, str]) -> str:
    if not code:
        return "not told"
    return "another version's" if measured_otherwise(code) else "this version's code"


def shares(found: dict[str, Results]) -> Styler:
    """The groups' shares of the gross reduction, and net over gross."""
    rows = []
    for name, results in found.items():
        table = results.groups.set_index("group")
        own = {group: percent(table["share_of_gross"][group]) for group in REDUCING}
        rows.append({"run": name} | own | {"net / gross": number(_net_over_gross(table))})
    return shown(rows)


def claims(found: dict[str, Results]) -> Styler:
    """Every claim's verdict and value in each run, by this version's rules."""
    first = next(iter(found.values())).claims
    table = pd.DataFrame({"claim": first["id"], "paper": first["paper"].map(number)})
    for name, results in found.items():
        judged = results.claims.itertuples()
        table[name] = [marked(c.verdict, interval(c.here, c.low, c.high)) for c in judged]
    return shown(table)


def answer(found: dict[str, Results]) -> Markdown:
    """How many verdicts on the paper's claims are the same in all runs, and which is nearest to the paper."""
    tables = {name: one.claims.query("source == 'paper'").set_index("id") for name, one in found.items()}
    verdicts = pd.DataFrame({name: table["verdict"] for name, table in tables.items()})
    same = int((verdicts.nunique(axis=1) == 1).sum())
    text = f"Of {len(verdicts)} verdicts on the paper's claims {same} are the same in all {len(found)} runs."
    net = {name: _net_over_gross(one.groups.set_index("group")) for name, one in found.items()}
    known, paper = {n: v for n, v in net.items() if math.isfinite(v)}, _net_over_gross(published_groups())
    if len(known) > 1:
        nearest = min(known, key=lambda name: abs(known[name] - paper))
        text += (
            f" Net over gross goes from {min(known.values()):.2f} to {max(known.values()):.2f}. The run that "
            f"is nearest to the paper's {paper:.2f} is *{nearest}*, with {known[nearest]:.2f}."
        )
    return Markdown(text)


def _net_over_gross(groups: pd.DataFrame) -> float:
    gross, net = gross_and_net(groups)
    return ratio(net, gross)


def refused(wrong: dict[str, str]) -> Styler:
    """Packs that could not be opened, and why."""
    return shown(pd.DataFrame(wrong.items(), columns=["pack", "what is wrong"]))
