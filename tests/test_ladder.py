"""The ladder: rungs and their profiles, rules that are those on the page, and how they are judged."""

import re
import zipfile
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from made_up import a_table, write_made_up
from test_figures import collisions

from dpotox.errors import UserError
from dpotox.estimates import Estimate
from dpotox.facts import NOISE
from dpotox.places import PROJECT
from dpotox.profile import load_profile
from dpotox.results import ladder, ladder_packs, ladder_rules, pack
from dpotox.results.agreement import BEST
from dpotox.results.claims import FAILS, HOLDS, OPEN
from dpotox.results.ladder import NAMED, NAMES, PERPLEXITY, SEEDS, TOXICITY
from dpotox.results.ladder_rules import NO_EVIDENCE, NOT_RUN, RULES
from dpotox.results.pack import packs_in
from dpotox.run import ladder as run
from dpotox.show import figures, figures_ladder, report_ladder

UNDONE, TEXT = f"{ladder.NET}, {ladder.OWN}", f"{ladder.NET}, {ladder.SAME}"
DONE = {TOXICITY: 0.4, PERPLEXITY: 1.1}


# Rungs


def test_a_rung_with_two_names_is_run_once():
    assert NAMED["neurons-2048"] == NAMED["width-128"]
    assert len(set(NAMES.values())) == len(NAMES)
    assert NAMES[NAMED["neurons-2048"]] == "width-128"
    assert sum(rung.trained for rung in NAMES) == len(NAMES) / 2


def test_along_a_dimension_all_else_is_equal():
    for dimension in ladder.SIZES:
        others = [asdict(rung) | {dimension: None} for rung in ladder.along(dimension)]
        assert all(other == others[0] for other in others)
        assert all(rung.neurons % rung.layers == 0 for rung in ladder.along(dimension))


def test_every_rung_is_a_profile_that_differs_from_mini_in_its_shape_and_in_how_much_is_measured(tmp_path):
    mini = load_profile("mini")
    for rung in NAMES:
        profile = load_profile(str(run.write_profile(rung, tmp_path)))
        assert ladder.rung_of(profile) == rung
        assert ladder.different(profile, rung) == ""
        samples = mini.pairs.samples if rung.trained else load_profile("untrained").pairs.samples
        pairs = replace(mini.pairs, samples=samples)
        assert (profile.pairs, profile.data) == (pairs, mini.data)
        rate = rung.strength * mini.dpo.learning_rate
        assert profile.dpo == replace(mini.dpo, learning_rate=rate)
        most = max(profile.interventions.ablate_top_positive) / rung.neurons
        assert most == pytest.approx(0.02, rel=0.05)


def test_a_name_that_no_rung_has_is_told_with_those_that_there_are():
    with pytest.raises(UserError, match=r"no rung 'width-33'; there are width-32, width-64"):
        ladder.rung_named("width-33")


# Running


@pytest.fixture
def jobs(monkeypatch, tmp_path) -> list[str]:
    """Runs that are only written down; that of width-64 fails."""
    done = []

    def run_jobs(profile, seeds, until):
        done.append(f"{profile.rpartition('/')[2]} {seeds} {until}")
        return seeds if "width-64" in profile else []

    monkeypatch.setattr(run.seeds, "run_jobs", run_jobs)
    monkeypatch.setattr(run, "open_results", lambda profile, seed: None)
    monkeypatch.setattr(run.pack, "write", lambda results, path, small: path.touch())
    monkeypatch.setattr(run, "take_over", lambda rung, seed: None)
    monkeypatch.setattr(run, "write_profile", lambda rung: tmp_path / f"ladder-{NAMES[rung]}.toml")
    return done


def test_what_is_there_is_not_run_again_and_a_rung_that_fails_is_named_while_others_go_on(jobs, tmp_path):
    rungs = [NAMED[name] for name in ("width-32", "width-64", "neurons-2048")]
    (tmp_path / "width-32-seed0.zip").touch()
    assert run.climb(rungs, [0, 1], tmp_path) == ["width-64 seed 0", "width-64 seed 1"]
    assert [job.split()[0] for job in jobs].count("ladder-width-32.toml") == 1
    assert all(job.endswith("--results") for job in jobs)
    assert run.listed(tmp_path)[:3] == [
        "width-32: seeds 0, 1 there",
        "width-64: nothing there",
        "width-128: seeds 0, 1 there",
    ]
    jobs.clear()
    run.climb(rungs, [0, 1], tmp_path)
    assert {job.split()[0] for job in jobs} == {"ladder-width-64.toml"}


def test_a_rung_of_another_strength_begins_with_the_model_that_is_there(tmp_path):
    strong, plain = NAMED["strength-4"], NAMED["language-rich"]
    run.take_over(strong, 0, tmp_path)
    assert not list(tmp_path.iterdir())  # nothing to begin with
    base = tmp_path / "ladder-language-rich" / "seed0" / "base"
    base.mkdir(parents=True)
    (base / "weights").write_text("trained")
    for rung in (strong, plain, NAMED["width-32"]):
        run.take_over(rung, 0, tmp_path)
    copied = tmp_path / "ladder-strength-4" / "seed0" / "base" / "weights"
    assert copied.read_text() == "trained"
    assert {path.name for path in tmp_path.iterdir()} == {"ladder-language-rich", "ladder-strength-4"}
    copied.write_text("its own")
    run.take_over(strong, 0, tmp_path)
    assert copied.read_text() == "its own"


# Reading


def write_pack(folder, name: str, rung: ladder.Rung, seed: int = 0, **changes) -> None:
    """A pack of made-up numbers with the settings of a rung, some of its pre-training changed."""
    profile = load_profile(str(run.write_profile(rung, folder / "profiles")))
    profile = replace(profile, pretraining=replace(profile.pretraining, **changes))
    line = {"value": 0.5, "low": 0.4, "high": 0.6}
    own = pd.DataFrame([{"quantity": q, "resampled": "prompts"} | line for q in (BEST, ladder.NET, "gross")])
    told = line | {"sign": 1, "toxicity": 0.1}
    comparisons = [
        {"comparison": NOISE, "place": "nothing", "quantity": "gross"} | told,
        {"comparison": "both", "place": "same", "quantity": ladder.NET} | told,
    ]
    edits = a_table("table1", 1).assign(kind="shift, same text", which="all four groups", recovered=0.7)
    tables = {"evidence": own, "comparisons": pd.DataFrame(comparisons), "table1": edits}
    made = write_made_up(folder / "made" / name, profile, seed, **tables)
    with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
        for path in made.iterdir():
            archive.write(path, path.name)


def test_packs_are_read_as_one_table_and_those_that_are_no_run_of_the_ladder_are_named(tmp_path):
    rung = NAMED["width-64"]
    write_pack(tmp_path, "width-64-seed1", rung, 1)
    write_pack(tmp_path, "width-64-seed2", rung, 2, rows=64)
    write_pack(tmp_path, "copy-of-seed1", rung, 1)
    (tmp_path / "width-32-seed0.zip").write_bytes(b"no pack")
    table, refused = ladder_packs.read(tmp_path, tmp_path / "kept")
    values = table.set_index("quantity")["value"]
    assert set(table["rung"]) == {"width-64"}
    assert set(table["seed"]) == {1}
    assert values[UNDONE] == values[TEXT] == values[BEST] == 0.5
    assert values[ladder.BEYOND] == pytest.approx(0.7 - 0.5)
    assert values[ladder.WITHOUT_NOISE] == pytest.approx(0.5 + 0.5 / 0.5)
    assert refused["width-64-seed2.zip"] == "its pretraining.rows is not that of the rung width-64"
    assert "named after" in refused["copy-of-seed1.zip"]
    assert "cannot be unpacked" in refused["width-32-seed0.zip"]


def test_what_was_read_of_packs_is_kept_until_one_of_them_changes(tmp_path, monkeypatch):
    kept = tmp_path / "kept"
    write_pack(tmp_path, "width-64-seed1", NAMED["width-64"], 1)
    (tmp_path / "width-32-seed0.zip").write_bytes(b"no pack")
    first, refused = ladder_packs.read(tmp_path, kept)
    with monkeypatch.context() as patch:
        patch.setattr(ladder_packs, "unpacked", None)
        again, still = ladder_packs.read(tmp_path, kept)
    pd.testing.assert_frame_equal(first, again)
    assert refused == still
    write_pack(tmp_path, "width-64-seed0", NAMED["width-64"], 0)
    assert set(ladder_packs.read(tmp_path, kept)[0]["seed"]) == {0, 1}


def test_rungs_are_not_among_the_results_by_others(tmp_path):
    (tmp_path / "ladder").mkdir()
    write_pack(tmp_path / "ladder", "width-64-seed1", NAMED["width-64"], 1)
    assert pack.packs_in(tmp_path) == ({}, {})


# The rules


def test_the_rules_are_those_on_the_page():
    page = (PROJECT / "book" / "before_the_runs.md").read_text(encoding="utf-8")
    sections = [
        page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        for name in ("Does size matter?", "Other architectures")
    ]
    rows = [
        line.strip("| ").split(" | ")
        for section in sections
        for line in section.splitlines()
        if line.startswith("| `")
    ]

    def shown(number: str) -> str:
        return re.sub(r"\b0(\.\d)", r"\1", number)

    rules = [
        [f"`{r.claim.id}`", r.claim.statement, r.claim.quantity, shown(ladder_rules.range_of(r.claim))]
        for r in RULES
    ]
    assert rules == rows


def test_the_page_and_the_rungs_are_of_the_same_sizes():
    page = (PROJECT / "book" / "before_the_runs.md").read_text(encoding="utf-8").replace("\n", " ")
    for words in ("Widths are", "numbers of neurons", "layers 2"):
        assert words in page
    said = page.partition("Widths are")[2].partition("that of `mini`")[0].replace(",", "")
    sizes = [float(number) for number in re.findall(r"\d*\.?\d+", said)]
    changing = [d for d in ladder.SIZES if d != "language"]
    along = [getattr(rung, d) for d in changing for rung in ladder.along(d)]
    assert sorted(set(along) - set(sizes)) == []


def made_up(values, untrained=None, reach: float = 0.01, **changes) -> pd.DataFrame:
    """A table of every run.

    Args:
        values: of a rung and seed, what was measured by quantity.
        untrained: the same of untrained networks; NaN everywhere if not given.
        changes: by name of a run, with underscores, quantities that are otherwise there.
    """
    rows = []
    for rung, name in NAMES.items():
        for seed in SEEDS:
            found = DONE | values(rung, seed)
            if not rung.trained:
                found = untrained(rung, seed) if untrained else dict.fromkeys(found, np.nan)
            found |= changes.get(f"{name}_{seed}".replace("-", "_"), {})
            common = {"rung": name, "seed": seed, "vocabulary": 100 * rung.layers} | asdict(rung)
            rows += [
                common | {"quantity": q, "value": v, "low": v - reach, "high": v + reach}
                for q, v in found.items()
            ]
    return pd.DataFrame(rows)


def judge(table: pd.DataFrame) -> pd.DataFrame:
    """All rules of either chapter."""
    chapters = (ladder_rules.SIZE, ladder_rules.ARCHITECTURES)
    return pd.concat([ladder_rules.judge(table, chapter) for chapter in chapters])


def judged(rule: str, table: pd.DataFrame) -> pd.Series:
    return judge(table).set_index("id").loc[rule]


def verdict(rule: str, table: pd.DataFrame) -> str:
    return judged(rule, table)["verdict"]


def narrow(rung, seed) -> dict:
    return {BEST: 0.2 + 0.01 * seed if rung.width == 32 else 0.6}


def by_neurons(rung, seed) -> dict:
    return {UNDONE: 1 - rung.neurons / 40_000 + 0.001 * seed}


def test_a_difference_holds_fails_or_is_inconclusive():
    assert verdict("narrow-needs-more", made_up(narrow)) == HOLDS
    assert verdict("narrow-needs-more", made_up(lambda rung, seed: {BEST: 0.5 + 0.001 * seed})) == FAILS
    unsure = made_up(lambda rung, seed: {BEST: rung.width / 500 * seed})
    assert verdict("narrow-needs-more", unsure) == OPEN


def test_a_rule_that_untrained_networks_meet_as_well_is_no_evidence():
    table = made_up(narrow, untrained=narrow)
    assert verdict("narrow-needs-more", table) == NO_EVIDENCE
    unsure = made_up(narrow, untrained=lambda rung, seed: {BEST: -0.4 * seed if rung.width == 32 else 0.0})
    assert verdict("narrow-needs-more", unsure) == NO_EVIDENCE


def test_a_rule_whose_runs_are_missing_is_not_run_and_says_which():
    table = made_up(narrow)
    lacks = (table["rung"] == "width-32") & (table["seed"] == 2)
    found = judged("narrow-needs-more", table[~lacks])
    assert (found["verdict"], found["missing"]) == (NOT_RUN, ["width-32 seed 2"])
    bare = table["rung"].str.endswith("untrained")
    found = judged("narrow-needs-more", table[~bare])
    assert found["verdict"] == NOT_RUN
    assert found["missing"][0] == "width-32-untrained seed 0"
    fails = made_up(lambda rung, seed: {BEST: 0.5})
    assert verdict("narrow-needs-more", fails[~bare]) == FAILS  # whatever untrained networks do
    assert (judge(table.iloc[:0])["verdict"] == NOT_RUN).all()


def test_more_than_a_third_of_untested_runs_is_a_rule_that_does_not_hold():
    weak, broken = {TOXICITY: 0.7}, {PERPLEXITY: 2.1}
    two = {"width_32_0": weak, "width_256_0": broken}  # of the same seed: two seeds are left
    assert verdict("narrow-needs-more", made_up(narrow, **two)) == HOLDS
    assert verdict("narrow-needs-more", made_up(narrow, **two, width_32_1=weak)) == FAILS
    unknown = {f"width_32_{seed}": {BEST: np.nan} for seed in SEEDS}
    assert verdict("narrow-needs-more", made_up(narrow, **unknown)) == FAILS


def test_a_correlation_is_over_the_shapes_of_each_seed():
    assert verdict("more-cancels", made_up(by_neurons)) == HOLDS
    assert verdict("more-cancels", made_up(by_neurons, reach=0.5)) == OPEN  # any order could be by chance
    up = made_up(lambda rung, seed: {UNDONE: rung.neurons / 20_000})
    assert verdict("more-cancels", up) == FAILS
    one = {"neurons_1024_0": {TOXICITY: 0.9}}
    found = judged("more-cancels", made_up(by_neurons, **one))
    assert (found["verdict"], found["untested"]) == (HOLDS, 1)
    more = {f"neurons_{n}_0": {TOXICITY: 0.9} for n in (4096, 8192)}
    found = judged("more-cancels", made_up(by_neurons, **one, **more))
    assert np.isnan(found["seed 0"])
    assert found["seed 1"] == -1


def test_the_share_is_held_beside_another_quantity_over_all_shapes():
    rule = next(rule for rule in RULES if rule.claim.id == "share-is-size")
    assert len(rule.at) == 14
    table = made_up(
        lambda rung, seed: {rule.quantity: rung.layers + rung.width / 100, rule.beside: rung.layers}
    )
    assert 0.5 < judged("share-is-size", table)["value"] < 1


def test_spearmans_correlation_lies_in_its_interval():
    values = [Estimate(v, v - 0.2, v + 0.2) for v in (0.3, 0.1, 0.4, 0.15, 0.9)]
    sizes = [Estimate(v, v, v) for v in (1.0, 2.0, 3.0, 4.0, 5.0)]
    found = ladder_rules.correlation(values, sizes)
    assert found.value == pytest.approx(0.5)
    assert found.low < 0.5 < found.high
    alike = ladder_rules.correlation([Estimate(1.0, 1.0, 1.0)] * 5, sizes)
    assert np.isnan(alike.value)


# The page

FIGURES = ("shares", "undone", "few", "edits", "size_and_share", "features", "divided", "recovered")


def everything(rung, seed) -> dict:
    names = [*figures_ladder.SHARES, *figures_ladder.UNDONE, *figures_ladder.FEW, *figures_ladder.EDITS]
    names += [*figures_ladder.DIVIDED, *figures_ladder.RECOVERED]
    names += [f"TP- share of gross, {ladder.SAME}", f"{ladder.POSITIVE}, {ladder.SAME}"]
    return dict.fromkeys(names, 0.3 + 0.01 * seed + rung.layers / 50 + rung.width / 1000)


@pytest.mark.parametrize("name", FIGURES)
def test_figures_can_be_read_whether_much_or_nothing_was_run(name):
    figures.use_style()
    table = made_up(everything)
    some = table[table["rung"].isin(["width-32", "layers-12-untrained"])]
    for runs in (table, some, table.iloc[:0]):
        assert collisions(getattr(figures_ladder, name)(runs)) == []


@pytest.mark.parametrize("chapter", [ladder_rules.SIZE, ladder_rules.ARCHITECTURES])
@pytest.mark.parametrize("there", [[], ["width-32", "family-llama"], list(NAMES.values())])
def test_the_sentences_say_what_is_missing_and_what_makes_it(there, chapter):
    table = made_up(everything)
    table = table[table["rung"].isin(there)]
    rules = ladder_rules.judge(table, chapter)
    rungs = ladder_rules.rungs_of(chapter)
    said = report_ladder.runs(table, {"x.zip": "its <name>"} if there else {}, chapter).data
    said += report_ladder.about(rules, rules["id"]).data
    said += report_ladder.features(table).data + report_ladder.answer(rules).data
    said += report_ladder.answer_families(rules, table).data
    assert "nan" not in said
    assert "<name>" not in said
    assert report_ladder.verdicts(rules).to_html().count("<tr") == len(rules) + 1
    if len(there) < len(NAMES):
        assert "`make ladder" in said
    if not there:
        assert "Nothing of the ladder has been run" in said
    else:
        assert f"{3 * len(set(there) & set(rungs))} of {3 * len(rungs)} runs are here" in said


def test_families_stand_beside_each_other_and_beside_what_is_published():
    shown = report_ladder.families(made_up(everything)).data.set_index("")
    assert list(shown)[:4] == list(figures_ladder.FAMILY_NAMES.values())
    assert shown.loc["share of TP- and AN-, own text", "Llama-3.1-8B"] == "0.52"
    assert shown.loc["share of TP- and AN-, own text", "GPT-2 medium"].startswith("0.")
    assert shown.loc["net / gross, own text", "Gemma-2-2B"] == "0.053"
    assert shown.loc["by swapping attention", "Mistral-7B"] == "-"
    assert not (report_ladder.families(made_up(everything).iloc[:0]).data == "nan").any(axis=None)


def test_gated_families_are_held_against_the_others_by_their_means():
    name = f"{ladder.TOGETHER}, {ladder.SAME}"

    def values(rung, seed) -> dict:
        shares = {"gpt2": 0.5, "gpt_neox": 0.7, "llama": 0.61, "gemma2": 0.63}
        return {name: shares[rung.family] + 0.001 * seed, ladder.SWAPPED: shares[rung.family]}

    found = judged("gated-is-alike", made_up(values))
    assert found["value"] == pytest.approx(0.02)
    assert (found["verdict"], found["runs"]) == (HOLDS, 12)
    assert judged("attention-anywhere", made_up(values))["value"] == pytest.approx(0.5)
    weak = made_up(values, family_llama_1={TOXICITY: 0.9})
    assert np.isnan(judged("gated-is-alike", weak)["seed 1"])


def test_edits_are_told_by_the_strength_of_dpo():
    def values(rung, seed) -> dict:
        return {BEST: 1 - rung.strength / 5 + 0.1 * seed, TOXICITY: 0.5}

    shown = report_ladder.by_strength(made_up(values)).data.set_index("DPO's rate")
    assert list(shown.index) == ["0.75", "1", "1.5", "2", "4"]
    assert shown.loc["4", "recovered by the best ablation"] == pytest.approx(0.3)
    assert (shown["seeds"] == 3).all()
    assert "nothing of this kind" in report_ladder.by_strength(made_up(values).iloc[:0]).to_html()


def test_models_of_natural_text_stand_beside_the_ladder():
    packs, _ = packs_in(PROJECT / "book" / "packs")
    texts = {name: one for name, one in packs.items() if "natural" in name}
    shown = report_ladder.natural(made_up(everything), packs).data
    assert [name.startswith("natural text, ") for name in shown].count(True) == len(texts) > 0
    assert shown.set_index("")["GPT-2 medium, published"]["net / gross, own text"] == "0.152"
    assert shown.set_index("")["the ladder"]["share of TP-"].count(" to ") == 1
    nothing = report_ladder.natural(made_up(everything), {})
    assert "nothing of this kind" in nothing.to_html()


def test_published_values_are_those_of_the_paper_and_of_the_authors_notebooks():
    said = report_ladder.published_net().data
    assert "GPT-2 medium, 0.152" in said
    assert "Mistral-7B 0.067, read from the authors' notebooks" in said
