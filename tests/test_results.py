"""Results: what is written is read again, what is wrong is refused in a line, and no model is needed."""

import importlib.util
import json
import math
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, TINY
from made_up import a_record, a_table, write_made_up

from dpotox.errors import UserError
from dpotox.facts import SIGNED
from dpotox.inputs.language import Language
from dpotox.profile import load_profile
from dpotox.results import catalogue, record
from dpotox.results.catalogue import TABLES
from dpotox.results.claims import CLAIMS
from dpotox.results.folder import (
    RECORD,
    Results,
    open_results,
    read_direction,
    read_table,
    write_claims,
    write_direction,
    write_table,
)
from dpotox.results.schema import LONGEST_LABEL, LONGEST_TEXT

PROFILE = load_profile(TINY)


def again(folder: Path, name: str, table: pd.DataFrame) -> pd.DataFrame:
    """A table that was written and read."""
    write_table(folder, name, table)
    return read_table(folder / TABLES[name].file, name)


def test_settings_that_there_were_not_yet_are_what_they_are_by_default_and_sections_are_no_matter():
    now = record.settings_of(load_profile("mini"))
    earlier = now | {"dpo": {key: value for key, value in now["dpo"].items() if key != "patience"}}
    assert record.difference(earlier, now) == ""
    asked = now | {"dpo": now["dpo"] | {"patience": 3}}
    assert record.difference(earlier, asked) == "dpo.patience"
    other = now | {"beyond": now["beyond"] | {"ranks": [3]}}
    assert record.difference(now, other) == "beyond.ranks"
    assert record.difference({s: v for s, v in now.items() if s != "beyond"}, other) == ""


# What is written is read again


@pytest.mark.parametrize("name", TABLES)
def test_every_table_is_read_as_it_was_written(name, tmp_path):
    table = a_table(name, 6)
    pd.testing.assert_frame_equal(again(tmp_path, name, table), table, check_exact=True)


def test_numbers_are_kept_to_the_last_bit(tmp_path):
    values = [0.1 + 0.2, math.nextafter(1, 2), 5e-324, -9.999999999999999e29, 1 / 3, -0.0, 1e22]
    values += np.random.default_rng(0).normal(size=200).tolist()
    values += np.float64(np.random.default_rng(1).random(50).astype(np.float32)).tolist()
    for name, column in (("evidence", "value"), ("neurons", "cosine")):
        table = a_table(name, len(values)).assign(**{column: values})
        found = again(tmp_path, name, table)[column].to_numpy()
        assert found.tobytes() == np.array(values).tobytes()


def test_what_is_not_known_stays_so_and_what_is_without_end_is_not_known(tmp_path):
    values = [math.nan, 0.0, math.nan, 1.5]
    for unknown in (math.nan, math.inf, -math.inf):
        table = a_table("evidence", 4).assign(value=values, low=unknown)
        found = again(tmp_path, "evidence", table)
        assert np.array_equal(found["value"], values, equal_nan=True)
        assert found["low"].isna().all()


TEXTS = ["=1+1", "+1", "-1", "@SUM(A1)", "'", "''=1", "", " ", "NaN", "None", "1", "1.50", "True", "<b>&amp;"]
TEXTS += ["a,b", 'a "word"', "\t=1", "two\nlines", "\n", "two\rlines", "\r\n", "\u2028"]
TEXTS += ["é ␣ 語 🙂", "\\n", "#x"]


@pytest.mark.parametrize("name", ["continuations", "tokens"])
def test_text_is_kept_whatever_it_begins_with_or_holds(name, tmp_path):
    table = pd.DataFrame(dict.fromkeys(TABLES[name].columns, TEXTS))
    found = again(tmp_path, name, table)
    assert found.to_dict("list") == table.to_dict("list")


@pytest.mark.parametrize("text", TEXTS)
def test_a_table_of_one_text_is_kept(text, tmp_path):
    assert again(tmp_path, "tokens", pd.DataFrame({"text": [text]}))["text"].tolist() == [text]


def test_yes_and_no_are_kept(tmp_path):
    found = again(tmp_path, "probe_selection", a_table("probe_selection", 4))["chosen"]
    assert found.dtype == bool
    assert found.tolist() == [False, True, False, True]


def test_a_table_without_rows_is_kept_with_its_columns(tmp_path):
    for name in ("mild_words", "draws", "dpo_curves"):
        found = again(tmp_path, name, a_table(name, 0))
        assert len(found) == 0
        assert list(found) == list(TABLES[name].columns)


def test_as_many_nearest_tokens_are_kept_as_the_model_gives(tmp_path):
    table = a_table("nearest_tokens").assign(token_2=[2, 1, 0], token_3=7)
    assert again(tmp_path, "nearest_tokens", table).to_dict("list") == table.to_dict("list")


def test_the_direction_is_kept_to_the_last_bit(tmp_path):
    direction = np.random.default_rng(0).normal(size=32).astype(np.float32)
    write_direction(tmp_path, direction)
    assert read_direction(tmp_path, 32).tobytes() == direction.tobytes()
    with pytest.raises(UserError, match="not one direction of 16 numbers"):
        read_direction(tmp_path, 16)


def test_a_record_is_read_as_it_was_written(tmp_path):
    made = replace(a_record(PROFILE, 3), loss=record.Loss(2.0, 6.0, None), accuracy=1 / 3, commit="abc+")
    record.write(made, tmp_path / RECORD)
    found = record.read(tmp_path / RECORD)
    assert found == made
    assert found.profile == PROFILE


# What is wrong is refused


def wrong(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """A table of evidence that is wrong, in each way, by the column that is."""
    return {
        "value": table.drop(columns="value"),
        "low": table.assign(low="much"),
        "strange": table.assign(strange=1),
        "quantity": table.assign(quantity="<b>bold</b>"),
    }


@pytest.mark.parametrize("column", ["value", "low", "strange", "quantity"])
def test_a_table_that_is_not_as_its_schema_says_is_refused_when_written_and_when_read(column, tmp_path):
    table = wrong(a_table("evidence"))[column]
    path = tmp_path / "evidence.csv"
    with pytest.raises(UserError, match=f"evidence is not as its schema says: .*{column}") as error:
        write_table(tmp_path, "evidence", table)
    assert not path.exists()
    assert "\n" not in str(error.value)
    table.to_csv(path, index=False)
    with pytest.raises(UserError, match=f"evidence .*{column}") as error:
        read_table(path, "evidence")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1_000


@pytest.mark.parametrize(
    "label",
    ["<b>", "[x](y)", "`code`", "$x$", "a|b", "{term}`x`", "a\nb", "\\", "&lt;", "x" * (LONGEST_LABEL + 1)],
)
def test_a_label_that_a_page_could_take_for_markup_is_refused(label, tmp_path):
    for name, column in (("table1", "name"), ("comparisons", "comparison"), ("mild_words", "word")):
        with pytest.raises(UserError, match=f"{name}.*{column}"):
            write_table(tmp_path, name, a_table(name).assign(**{column: label}))


@pytest.mark.parametrize(
    ("name", "column", "value"),
    [
        ("groups", "group", "TP"),
        ("groups", "count", -1),
        ("prompts", "before", math.nan),
        ("prompts", "before", math.inf),
        ("prompts", "before", -1e40),
        ("continuations", "after", "x" * (LONGEST_TEXT + 1)),
        ("nearest_tokens", "token_1", -1),
        ("nearest_tokens", "token_1", "first"),
    ],
)
def test_a_value_that_cannot_be_is_refused(name, column, value, tmp_path):
    with pytest.raises(UserError, match=f"{name}.*{column}"):
        write_table(tmp_path, name, a_table(name).assign(**{column: value}))


@pytest.mark.parametrize(
    ("name", "column", "cell"),
    [
        *(("probe_selection", "chosen", cell) for cell in ("", "yes", "1", "true ")),
        *(("groups", "count", cell) for cell in ("", "1.5", "one", "1e400")),
        *(("prompts", "before", cell) for cell in ("", "much", "0,5")),
    ],
)
def test_a_cell_of_another_kind_is_refused(name, column, cell, tmp_path):
    path = tmp_path / TABLES[name].file
    a_table(name).astype({column: object}).assign(**{column: cell}).to_csv(path, index=False)
    with pytest.raises(UserError, match=f"{name}.*{column}") as error:
        read_table(path, name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["neurons", "evidence", "nearest_tokens"])
def test_a_table_with_more_rows_than_any_study_s_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.setitem(TABLES, name, replace(TABLES[name], most=3))
    write_table(tmp_path, name, a_table(name))
    with pytest.raises(UserError, match=f"{name}.* more than 3 rows"):
        write_table(tmp_path, name, a_table(name, 4))
    monkeypatch.setitem(TABLES, name, replace(TABLES[name], most=2))
    with pytest.raises(UserError, match=name):
        read_table(tmp_path / TABLES[name].file, name)


@pytest.mark.parametrize("name", [name for name, table in TABLES.items() if table.key])
def test_two_rows_of_the_same_name_are_refused(name, tmp_path):
    table = a_table(name)
    with pytest.raises(UserError, match=f"{name} has two rows of the same {TABLES[name].key[0]}"):
        write_table(tmp_path, name, pd.concat([table, table.tail(1)]))


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'"', b"PAR1", b"a,b\n1,2,3\n"])
@pytest.mark.parametrize("name", ["neurons", "table1"])
def test_a_file_that_is_no_table_is_refused_in_one_line(name, content, tmp_path):
    path = tmp_path / TABLES[name].file
    path.write_bytes(content)
    with pytest.raises(UserError, match=name) as error:
        read_table(path, name)
    assert "\n" not in str(error.value)


def test_a_table_that_is_missing_says_so(tmp_path):
    results = Results(write_made_up(tmp_path, PROFILE))
    for name, table in TABLES.items():
        with pytest.raises(UserError, match=f"table {table.file} is missing; make the results anew"):
            getattr(results, name)
    with pytest.raises(AttributeError, match="no 'neuron'"):
        results.neuron  # noqa: B018


@pytest.fixture
def copied(results, tmp_path) -> Results:
    """The tiny study's results in a folder of their own."""
    return Results(Path(shutil.copytree(results.folder, tmp_path / "copied")))


def test_everything_that_is_wrong_is_listed_with_the_table(copied):
    (copied.folder / "groups.csv").write_text("group\nTP-\n")
    (copied.folder / "draws.csv").unlink()
    lines = copied.wrong()
    assert len(lines) == 2
    assert any("the table groups is not as its schema says" in line for line in lines)
    assert "the table draws.csv is missing; make the results anew" in lines


def test_a_table_of_what_the_profile_does_not_do_is_not_missed(copied):
    (copied.folder / "second_scorer.csv").unlink()
    assert copied.wrong() == ["the table second_scorer.csv is missing; make the results anew"]
    settings = copied.record.settings
    one = settings | {"scorer": settings["scorer"] | {"second": ""}}
    record.write(replace(copied.record, settings=one), copied.folder / RECORD)
    assert Results(copied.folder).wrong() == []


def test_an_optional_table_may_be_missing_and_is_checked_where_it_is_there(copied, monkeypatch):
    monkeypatch.setitem(TABLES, "weight_change", replace(TABLES["weight_change"], optional=True))
    assert "weight_change" in copied.tables
    (copied.folder / "weight_change.csv").write_text("change\n1\n")
    assert any("the table weight_change" in line for line in Results(copied.folder).wrong())
    (copied.folder / "weight_change.csv").unlink()
    assert "weight_change" not in copied.tables
    assert Results(copied.folder).wrong() == []


def test_tables_that_do_not_belong_together_are_noticed(copied):
    nearest, tokens = copied.nearest_tokens, copied.tokens
    for name, table in (("nearest_tokens", nearest.tail(-1)), ("tokens", tokens.head(3))):
        write_table(copied.folder, name, table)
        assert any(name in line for line in Results(copied.folder).wrong())
        write_table(copied.folder, "nearest_tokens", nearest)


def test_a_run_whose_own_comparison_is_along_the_turned_probe_is_held_against_no_neurons(copied):
    """As where DPO moves away from the probe: the quantities are of the other direction then."""
    compared = copied.comparisons
    own = compared["comparison"] == compared["comparison"].iloc[0]
    other = compared.assign(value=compared["value"].mask(own, compared["value"] / 2))
    write_table(copied.folder, "comparisons", other)
    assert any("not of the same neurons" in line for line in Results(copied.folder).wrong())
    write_table(copied.folder, "comparisons", other.assign(sign=other["sign"].mask(own, -1)))
    assert not any("not of the same neurons" in line for line in Results(copied.folder).wrong())


def test_in_gated_mlps_what_hangs_on_signs_is_unknown_in_the_evidence_and_nowhere_else(copied):
    told = json.loads((copied.folder / RECORD).read_text())
    told["shape"]["gated"] = True
    (copied.folder / RECORD).write_text(json.dumps(told))
    assert any("not of the same neurons" in line for line in Results(copied.folder).wrong())
    known = copied.evidence
    values = known[["value", "low", "high"]].mask(known["quantity"].isin(SIGNED))
    write_table(copied.folder, "evidence", known.assign(**values))
    assert Results(copied.folder).wrong() == []


# The record


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"format": 1}, "format '1', and this version reads 3"),
        ({"seed": -1}, "seed"),
        ({"seed": "0"}, "seed"),
        ({"device": "<img>"}, "device"),
        ({"versions": {"a`b": "1"}}, "versions"),
        ({"more": 1}, "more"),
        ({"settings": {"title": "[x](y)"}}, "hold text that no profile needs"),
        ({"settings": {"titel": "x"}}, "titel"),
        ({"settings": {"dpo": {"steps": "many"}}}, "dpo.steps"),
    ],
)
def test_a_record_that_is_not_one_is_refused_in_a_line(changed, said, tmp_path):
    path = tmp_path / RECORD
    record.write(a_record(PROFILE), path)
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    with pytest.raises(UserError) as error:
        record.read(path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert Results(tmp_path).wrong() == [str(error.value)]


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000, '{"format": NaN}'])
def test_a_file_that_is_no_record_is_refused_in_a_line(text, tmp_path):
    (tmp_path / RECORD).write_text(text)
    with pytest.raises(UserError, match=RECORD) as error:
        record.read(tmp_path / RECORD)
    assert "\n" not in str(error.value)


def test_settings_tell_no_path_of_this_machine(tmp_path):
    """But the names of the files, and what is on the hub as it is."""
    files = tmp_path / "someone"
    (files / "model").mkdir(parents=True)
    for name in ("comments.csv", "text.txt", "probe.pt", "words.py", "prompts.jsonl"):
        (files / name).write_text("def share(texts): pass\n")
    (files / "p.toml").write_text(
        f"""extends = "mini"
[model]
base = "{files}/model"
[data]
comments = "{files}/comments.csv"
prompts = "./prompts.jsonl"
text = "org/text"
references = "{files}/text.txt"
pair_text = "{files}/text.txt"
[probe]
path = "{files}/probe.pt"
[scorer]
name = "{files}/words.py:share"
second = "org/scorer"
"""
    )
    settings = record.settings_of(load_profile(files / "p.toml"))
    assert "/" not in json.dumps(settings).replace("org/text", "").replace("org/scorer", "")
    assert settings["model"]["base"] == "model"
    assert settings["data"]["comments"] == "comments.csv"
    assert settings["data"]["prompts"] == "prompts.jsonl"
    assert settings["data"]["text"] == "org/text"
    assert settings["probe"]["path"] == "probe.pt"
    assert settings["scorer"]["name"] == "words.py:share"
    assert settings["scorer"]["second"] == "org/scorer"
    record.write(replace(a_record(PROFILE), settings=settings), tmp_path / RECORD)
    assert record.read(tmp_path / RECORD).profile.name == "p"  # which asks for none of the files


# Results are opened


def opened(artifacts: Path, profile: str = TINY, seed: int = 0) -> Results:
    return open_results(profile, seed, artifacts)


def test_results_that_are_not_there_name_the_command_that_makes_them(tmp_path):
    with pytest.raises(
        UserError, match=f'no results of .*tiny.*seed 3; run `make results PROFILE="{TINY}" SEED=3`'
    ):
        opened(tmp_path, seed=3)


def test_results_are_those_of_the_profile_and_the_seed(tmp_path):
    folder = write_made_up(tmp_path / "tiny" / "seed0" / "results", PROFILE)
    found = opened(tmp_path)
    assert found.folder == folder
    assert (found.profile, found.seed) == (PROFILE, 0)
    with pytest.raises(UserError, match="SEED=1"):
        opened(tmp_path, seed=1)


@pytest.mark.parametrize(
    ("section", "changes"),
    [("dpo", {"steps": 3}), ("pretraining", {"texts": ["a.txt"]}), ("nulls", {"placebos": []})],
)
def test_results_of_other_settings_name_the_first_that_differs_and_the_command(section, changes, tmp_path):
    other = replace(PROFILE, **{section: replace(getattr(PROFILE, section), **changes)})
    write_made_up(tmp_path / "tiny" / "seed0" / "results", other)
    key = f"{section}.{next(iter(changes))}"
    with pytest.raises(
        UserError, match=f'made with another {key}; run `make results PROFILE="{TINY}" SEED=0`'
    ):
        opened(tmp_path)


def test_what_the_computer_decides_makes_no_other_results(tmp_path):
    other = replace(PROFILE, compute=replace(PROFILE.compute, threads=7, batch_size=3))
    write_made_up(tmp_path / "tiny" / "seed0" / "results", other)
    assert opened(tmp_path).profile.compute.threads == 7


def test_claims_are_judged_anew_from_the_evidence(tmp_path):
    claim = next(c for c in CLAIMS if c.id == "tp-is-a-minority")
    for value, verdict in ((0.3, "holds"), (0.6, "does not hold"), (math.nan, "inconclusive")):
        row = {"quantity": claim.quantity, "value": value, "low": value, "high": value}
        row |= {"resampled": "prompts"}
        results = Results(write_made_up(tmp_path, PROFILE, evidence=pd.DataFrame([row])))
        (tmp_path / "claims.json").write_text('[{"id": "tp-is-a-minority", "verdict": "proven"}]')
        judged = results.claims.set_index("id")["verdict"]
        assert judged[claim.id] == verdict
        assert (judged.drop([c.id for c in CLAIMS if c.quantity == claim.quantity]) == "inconclusive").all()
        assert results.claims_of(claim.chapter)["chapter"].unique().tolist() == [claim.chapter]
        write_claims(results)
        written = {c["id"]: c["verdict"] for c in json.loads((tmp_path / "claims.json").read_text())}
        assert written == judged.to_dict()


WITHOUT_MODELS = """
import sys
from importlib import import_module

for name in sys.argv[1:]:
    import_module(name)
    loaded = {"torch", "transformers", "nnsight"} & set(sys.modules)
    assert not loaded, f"{name} loads {loaded}"
"""


def test_no_model_s_library_is_loaded_to_read_results_to_show_them_or_to_make_the_book_of_them():
    rooms = [ROOT / "lib" / "dpotox" / room for room in ("results", "show")]
    names = [
        f"dpotox.{path.parent.name}.{path.stem}" for room in rooms for path in sorted(room.glob("[!_]*.py"))
    ]
    names += ["dpotox.run.book", "dpotox.run.pack", "dpotox.run.picture"]
    assert all(importlib.util.find_spec(name) for name in names)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_MODELS, *names], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-500:]


# The schema, and the tiny study's results


def test_every_column_of_every_table_has_a_meaning():
    for name, table in TABLES.items():
        assert table.meaning.endswith("."), name
        for column, kind in table.columns.items():
            assert kind.description, (name, column)
            assert "unit" in kind.metadata, (name, column)
    rows = catalogue.described()
    assert (rows["meaning"] != "").all()
    assert rows["table"].tolist().count("table1.csv") == 1
    columns = sum(len(table.columns) + (table.more is not None) for table in TABLES.values())
    assert len(rows) == len(TABLES) + columns


def test_every_fact_that_a_table_needs_is_one(results):
    assert {table.needs for table in TABLES.values() if table.needs} <= set(results.holds)


def test_all_tables_of_a_study_are_as_the_schema_says(results):
    assert results.wrong() == []
    named = {table.file for table in TABLES.values()}
    there = {path.name for path in results.folder.iterdir()} - {"settings.json", "made.json"}
    assert there - named == {RECORD, "probe.safetensors", "claims.json"}


def test_results_are_what_the_study_s_steps_gave(study, results):
    for kept, made in (
        (results.neurons, study.neurons),
        (results.table1, study.summary),
        (results.dpo_curves, study.dpo_curves),
        (results.other_directions, study.other_directions),
        (results.probe_selection, study.probe.selection),
    ):
        made = made.replace([math.inf, -math.inf], math.nan)
        pd.testing.assert_frame_equal(kept, made, check_dtype=False, check_exact=True)
    found = {row.quantity: row.value for row in results.evidence.itertuples()}
    assert found == pytest.approx({name: e.value for name, e in study.evidence.items()}, nan_ok=True, rel=0)
    assert (
        read_direction(results.folder, results.record.shape.d_model).tolist()
        == study.probe.direction.tolist()
    )
    assert asdict(results.record.shape) == study.shape.iloc[0].to_dict()


def test_a_neuron_s_nearest_tokens_are_the_same_by_their_rows(study, results):
    rows = results.nearest_tokens.to_numpy()
    ids = study.nearest_tokens.flatten(0, 1)
    assert rows.shape == tuple(ids.shape)
    for neuron in (0, 17, len(rows) - 1):
        words = [study.tokenizer.decode([i]).strip() or "␣" for i in ids[neuron].tolist()]
        assert results.tokens["text"].iloc[rows[neuron]].tolist() == study.masking.texts(words)


def test_every_toxic_word_in_the_results_is_listed_as_mild(study, results):
    texts = [*results.tokens["text"], *results.directions["tokens"]]
    for table in (results.pair_examples, results.continuations):
        texts += [text for column in table for text in table[column]]
    for _, part in results.step_through.groupby(["number", "condition"]):
        texts.append(part["prompt"].iloc[0] + "".join(part["token"]))
    words = sorted({word for text in texts for word in text.replace("*", " * ").split() if word.isalpha()})
    toxic = {w for w, s in zip(words, study.score(words), strict=True) if s >= study.profile.scorer.mask_from}
    assert toxic
    assert toxic <= set(results.mild_words["word"])
    language = Language()
    worse = {w for w in language.severity if language.toxicity(w) >= study.profile.scorer.mask_from}
    assert set(results.mild_words["word"]) == worse


def test_the_record_of_a_study_tells_what_made_it_and_no_path(study, results):
    assert results.record.profile == study.profile
    assert set(results.record.seconds) >= {"base", "pairs", "dpo", "table1", "shape", "directions"}
    assert results.record.pairs == len(study.pairs)
    text = (results.folder / RECORD).read_text()
    assert str(ROOT) not in text
    assert str(Path.home()) not in text
    assert '"/' not in text
