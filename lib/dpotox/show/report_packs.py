"""Results of several runs beside each other, for the page on packs."""

from __future__ import annotations

import pandas as pd
from pandas.io.formats.style import Styler

from dpotox.paper.groups import REDUCING, gross_and_net, ratio
from dpotox.results.folder import Results
from dpotox.show.report import VERDICTS, interval, number, percent, shown


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
                "neurons": len(results.neurons),
                "prompts": len(results.prompts),
                "device": record.device,
                "steps, minutes": round(sum(record.seconds.values()) / 60, 1),
                "memory, GB": round(record.memory / 1e9, 1),
                "date": record.date,
                "commit": record.commit[:10] + ("+" if record.commit.endswith("+") else ""),
                "torch": record.versions.get("torch", "-"),
            }
        )
    return shown(pd.DataFrame(rows))


def shares(found: dict[str, Results]) -> Styler:
    """The groups' shares of the gross reduction, and net over gross."""
    rows = []
    for name, results in found.items():
        table = results.groups.set_index("group")
        gross, net = gross_and_net(table)
        own = {group: percent(table["share_of_gross"][group]) for group in REDUCING}
        rows.append({"run": name} | own | {"net / gross": number(ratio(net, gross))})
    return shown(pd.DataFrame(rows))


def claims(found: dict[str, Results]) -> Styler:
    """Every claim's verdict and value in each run, by this version's rules."""
    first = next(iter(found.values())).claims
    table = pd.DataFrame({"claim": first["id"], "paper": first["paper"].map(number)})
    for name, results in found.items():
        judged = results.claims.itertuples()
        table[name] = [f"{VERDICTS[c.verdict][0]} {interval(c.here, c.low, c.high)}" for c in judged]
    return shown(table)


def refused(wrong: dict[str, str]) -> Styler:
    """Packs that could not be opened, and why."""
    return shown(pd.DataFrame(wrong.items(), columns=["pack", "what is wrong"]))
