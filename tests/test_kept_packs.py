"""The packs of the repository: small ones are small, and those of shipped profiles of today's code."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from made_up import a_record

from dpotox.profile import load_profile
from dpotox.results import claims, ladder, ladder_packs, pack
from dpotox.results.record import Record, difference, settings_of
from dpotox.run.keys import behind_quantities
from dpotox.show import report_ladder

KEPT = ROOT / "book" / "packs"
SHIPPED = {path.stem for path in (ROOT / "lib" / "dpotox" / "profiles").glob("*.toml")}
MOST = 200_000
"""Bytes that a small pack may have, as many of them lie there."""


@pytest.fixture(scope="module")
def kept():
    """All packs that lie there, opened."""
    found, wrong = pack.packs_in(KEPT)
    assert not wrong
    return found


def made_otherwise(record: Record, history: list[dict] = claims.CODE) -> str:
    """What differs between a run of a shipped profile and one of today; empty if nothing does."""
    if setting := difference(record.settings, settings_of(load_profile(record.profile.name))):
        return f"made with another {setting}"
    if not record.code:
        return "made before packs told the code that measured them"
    other = claims.measured_otherwise(record.code, history)
    return f"measured by other code: {', '.join(other)}" if other else ""


def test_small_packs_are_small(kept):
    sizes = {name: (KEPT / name).stat().st_size for name, one in kept.items() if one.record.small}
    assert {name: size for name, size in sizes.items() if size > MOST} == {}


def test_packs_of_shipped_profiles_were_made_by_today_s_code_and_settings(kept):
    """Runs of other profiles are told of as they are (`book/natural_language.md`)."""
    shipped = {name: one.record for name, one in kept.items() if one.profile.name in SHIPPED}
    wrong = {name: reason for name, record in shipped.items() if (reason := made_otherwise(record))}
    if wrong:
        told = "make these packs of book/packs/ anew, `make pack PROFILE=... SEED=... SMALL=1`:"
        pytest.fail("\n".join([told, *(f"{name}: {why}" for name, why in wrong.items())]), pytrace=False)


LEARNT = {
    "ablation-is-partial": "which is the largest tried, recovers {}",
    "tp-is-a-minority": "make up {} of what all neurons",
    "share-is-special": "but {} of all random directions",
    "mlps-are-enough": "MLPs alone recover {}",
    "attention-carries": "attention writes {}",
}
"""What the README says of claims over the kept seeds."""


def test_the_readme_tells_what_the_kept_seeds_show(kept):
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    seeds = [one.claims.assign(seed=one.seed) for one in kept.values() if one.profile.name == "mini"]
    over = claims.over_seeds(pd.concat(seeds))
    told = {name: said.format(f"{over['value'][name]:.2f}"[1:]) for name, said in LEARNT.items()}
    assert {name: said for name, said in told.items() if said not in readme} == {}
    assert len(seeds) == 10
    assert "in the mean of ten seeds of `mini`" in readme
    verdict = over["verdict"]["ablation-is-partial"]
    decided = "cannot be decided" if verdict == claims.OPEN else verdict
    assert f"*ablation is not enough* {decided} over them" in readme


def test_the_readme_tells_of_the_best_ablation_and_of_untrained_networks_as_they_are(kept):
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    holding = {"mini": [], "untrained": []}
    best = set()
    for one in kept.values():
        if one.profile.name in holding:
            paper = one.claims.query("source == 'paper'")["verdict"]
            holding[one.profile.name].append((paper == claims.HOLDS).sum())
        if one.profile.name == "mini":
            by_cosine = one.table1[one.table1["name"].str.fullmatch(r"ablate top \d+ (positive )?toxic")]
            best.add(by_cosine.set_index("name")["recovered"].idxmax())
    assert best == {"ablate top 84 positive toxic"}
    assert max(load_profile("mini").interventions.ablate_top_positive) == 84
    assert "of 84 positively active toxic neurons, which is the largest tried" in readme
    assert np.mean(holding["untrained"]) >= np.mean(holding["mini"])
    assert "untrained networks meet at least as many of the paper's claims" in readme


def test_the_readme_tells_what_an_ablation_and_dpo_of_several_rates_take_out():
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    shown = report_ladder.by_strength(ladder_packs.read(KEPT / "ladder")[0]).data.set_index("DPO's rate")
    by_ablation = set(shown["taken out by the best ablation"].map("{:.2f}".format))
    weak, own, strong = (f"{1 - shown.loc[rate, 'toxicity left']:.2f}" for rate in ("0.75", "1", "4"))
    assert (by_ablation, strong) == ({"0.36"}, "1.00")
    assert (shown["seeds"] == len(ladder.SEEDS)).all()
    assert (
        f"it takes out .36 of the toxicity, while DPO takes out {weak[1:]} at three quarters of its rate"
        in readme
    )
    assert f"{own[1:]} at its own, and all at four times" in readme


def test_the_readme_tells_what_an_ablation_recovers_in_other_architectures():
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    table, _ = ladder_packs.read(KEPT / "ladder")
    twice = report_ladder.by_ablation(table, "strength")[2]
    others = {f: e for f, e in report_ladder.by_ablation(table).items() if f != "gpt2"}
    own, neox, llama, gemma = (
        f"{e.value:.2f}"[1:] for e in (twice, *(others[f] for f in ("gpt_neox", "llama", "gemma2")))
    )
    assert f"At twice the rate it recovers {own} in `mini`" in readme
    assert f"{neox} in a GPT-NeoX, {llama} in a Llama and {gemma} in a Gemma 2 (three seeds each" in readme
    assert [family for family, e in others.items() if e.high < twice.low] == ["gemma2"]
    assert "only the Gemma 2 is surely lower" in readme
    runs = table[table["trained"] & (table["rung"].str.startswith("family-"))]
    assert {rung.strength for rung in ladder.along("family") if rung.family != "gpt2"} == {2}
    assert (runs.groupby("rung")["seed"].nunique() == len(ladder.SEEDS)).all()


def test_a_run_tells_the_code_that_measured_it(results):
    assert results.record.code == behind_quantities()


def test_what_a_pack_was_made_with_is_held_against_what_there_is():
    history = [{"of": "paper.rows.table1_rows", "code": "aa"}, {"of": "paper.nulls.along", "code": "bb"}]
    made = replace(a_record(load_profile("mini")), code={entry["of"]: entry["code"] for entry in history})
    assert made_otherwise(made, history) == ""
    assert "before packs told" in made_otherwise(replace(made, code={}), history)
    other, same = {"of": "paper.nulls.along", "code": "cc"}, {"of": "paper.nulls.along", "code": "dd"}
    assert made_otherwise(made, [*history, other]).endswith("other code: paper.nulls.along")
    assert made_otherwise(made, [*history, same | {"same": True}]) == ""
    assert made_otherwise(made, [*history, other, same | {"same": True}]).endswith("paper.nulls.along")
    assert made_otherwise(made, [*history, {"of": "new", "code": "cc"}]).endswith("other code: new")
    sizes = made.settings["sizes"] | {"prompts": 7}
    other = replace(made, settings=made.settings | {"sizes": sizes})
    assert made_otherwise(other, history) == "made with another sizes.prompts"
