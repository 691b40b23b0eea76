"""Packs: results travel whole, and what a stranger put into one has no effect but a line that refuses it."""

import csv
import io
import json
import re
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT
from safetensors.numpy import save

from dpotox.errors import UserError
from dpotox.results import pack
from dpotox.results.catalogue import TABLES
from dpotox.results.folder import FILES, PROBE, RECORD, Results, open_results, write_table
from dpotox.results.record import FORMAT
from dpotox.results.schema import LONGEST_LABEL
from dpotox.show import report, report_packs, step_through
from dpotox.show.explorer import script
from dpotox.show.masking import Mask

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>[x](javascript:alert(1))"


@pytest.fixture(scope="module")
def packed(results, tmp_path_factory) -> Path:
    """A pack of the tiny study."""
    return pack.write(results, tmp_path_factory.mktemp("packed") / "tiny.zip")


@pytest.fixture
def repack(packed, tmp_path):
    """Makes a pack with some files changed, or left out where the content is None."""

    def make(changes: dict[str, bytes | None]) -> Path:
        path = tmp_path / "changed.zip"
        with zipfile.ZipFile(packed) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
            found = {name: source.read(name) for name in source.namelist()} | changes
            for name, content in found.items():
                if content is not None:
                    target.writestr(name, content)
        return path

    return make


@pytest.fixture
def refused(tmp_path):
    """Asserts that a pack is refused for a reason, in lines fit to be read, and nothing of it kept."""

    def check(path: Path, reason: str) -> None:
        with pytest.raises(UserError, match=reason) as error:
            pack.opened(path, tmp_path / "packs")
        for line in error.value.args:
            assert len(line) < 500
            assert line.isprintable()
        assert not (tmp_path / "packs").exists() or not any((tmp_path / "packs").iterdir())

    return check


def as_csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC).encode()


def as_parquet(table: pa.Table | pd.DataFrame, **options) -> bytes:
    if isinstance(table, pd.DataFrame):
        table = pa.Table.from_pandas(table, preserve_index=False)
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()


def with_table(name: str, table: pd.DataFrame) -> dict[str, bytes]:
    file = TABLES[name].file
    return {file: as_parquet(table) if file.endswith(".parquet") else as_csv(table)}


def with_record(results: Results, **changes) -> dict[str, bytes]:
    return {RECORD: json.dumps(json.loads((results.folder / RECORD).read_text()) | changes).encode()}


def with_settings(results: Results, **changes) -> dict[str, bytes]:
    return with_record(results, settings=results.record.settings | changes)


# What is packed is what is opened


def test_a_pack_opens_to_equal_results(results, packed, tmp_path):
    found = pack.opened(packed, tmp_path)
    assert found.record == results.record
    for name in results.tables:
        pd.testing.assert_frame_equal(getattr(found, name), getattr(results, name), check_exact=True)
    pd.testing.assert_frame_equal(found.claims, results.claims)
    assert pack.digest(found.folder) == pack.digest(results.folder)


def test_equal_results_give_equal_bytes(packed, tmp_path):
    again = pack.write(pack.opened(packed, tmp_path), tmp_path / "again.zip")
    assert again.read_bytes() == packed.read_bytes()


def test_a_pack_opened_twice_is_unpacked_once(packed, tmp_path, monkeypatch):
    first = pack.opened(packed, tmp_path)
    monkeypatch.setattr(pack, "_members", None)
    assert pack.opened(packed, tmp_path).folder == first.folder


def test_a_notebook_opens_a_pack_like_results(packed, monkeypatch, tmp_path):
    monkeypatch.setattr(pack.opened, "__defaults__", (tmp_path,))
    assert open_results(str(packed)).folder.is_relative_to(tmp_path)


def test_damaged_results_are_not_packed(results, tmp_path):
    (tmp_path / "results").mkdir()
    for file in results.folder.iterdir():
        (tmp_path / "results" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "results" / PROBE).unlink()
    with pytest.raises(UserError, match="probe"):
        pack.write(Results(tmp_path / "results"), tmp_path / "some.zip")
    assert not (tmp_path / "some.zip").exists()
    with pytest.raises(UserError, match=r"ends with \.zip"):
        pack.write(results, tmp_path / "some.tar")


def test_text_with_any_character_survives(tmp_path):
    texts = [
        "a\rb",
        "a\x00b",
        "",
        "a\r\nb",
        '"q"',
        "a\n=1",
        "'x",
        "''",
        "\r",
        " ",
        "NA",
        "a,b",
        "\u2028",
        "é",
    ]
    write_table(tmp_path, "tokens", pd.DataFrame({"text": texts}))
    assert Results(tmp_path).tokens["text"].tolist() == texts


def test_what_is_kept_of_a_pack_is_written_anew(results, repack, tmp_path):
    prompt = "=HYPERLINK(1)"
    table = results.continuations.assign(prompt=prompt)
    parquet = pa.Table.from_pandas(results.neurons).replace_schema_metadata({"pandas": "{}", "x": "hidden"})
    direction = np.ones(results.record.shape.d_model, np.float32)
    changes = {
        "continuations.csv": table.to_csv(index=False).encode(),
        "neurons.parquet": as_parquet(parquet),
        PROBE: save({"direction": direction}, {"note": "hidden"}),
    }
    found = pack.opened(repack(changes), tmp_path)
    assert found.continuations["prompt"].tolist() == [prompt] * len(table)
    assert f"\n\"'{prompt}" in (found.folder / "continuations.csv").read_text()
    for name in ("neurons.parquet", PROBE):
        assert b"hidden" not in (found.folder / name).read_bytes()


# The file itself


@pytest.mark.parametrize(
    "name", ["evil.pkl", "../run.json", "/somewhere/run.json", "a/run.json", "RUN.JSON", "x\x1b[2J"]
)
def test_a_pack_with_a_foreign_file_is_refused(name, repack, refused, tmp_path):
    refused(repack({name: b"x"}), "as no pack does")
    assert not (tmp_path / "run.json").exists()


def altered(path: Path, change) -> Path:
    """A pack written anew from its members, after a change to each one's entry and content."""
    with zipfile.ZipFile(path) as source:
        members = [(zipfile.ZipInfo(name), source.read(name)) for name in source.namelist()]
    with zipfile.ZipFile(path, "w") as target:
        for member, content in members:
            target.writestr(*change(member, content))
    return path


def test_a_pack_with_a_link_is_refused(repack, refused):
    def linked(member, content):
        if member.filename == PROBE:
            member.external_attr = 0o120777 << 16
            content = b"../elsewhere"
        return member, content

    refused(altered(repack({}), linked), "as a link")


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_pack_packed_otherwise_is_refused(kind, repack, refused):
    def otherwise(member, content):
        member.compress_type = kind
        return member, content

    refused(altered(repack({}), otherwise), "packed as no pack is")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_pack_with_a_file_twice_is_refused(repack, refused):
    path = repack({})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(RECORD, "{}")
    refused(path, "a file twice")


def patched(path: Path, signature: bytes, offset: int, value: bytes) -> Path:
    """A pack in which a field of every entry of one kind is overwritten."""
    content = bytearray(path.read_bytes())
    for found in re.finditer(re.escape(signature), bytes(content)):
        content[found.start() + offset : found.start() + offset + len(value)] = value
    path.write_bytes(content)
    return path


def test_an_encrypted_pack_is_refused(repack, refused):
    refused(patched(repack({}), b"PK\1\2", 8, b"\1\0"), "encrypted")


@pytest.mark.parametrize("declared", [None, 100, 2**31])
def test_a_pack_that_unpacks_to_too_much_is_refused_whatever_size_it_declares(declared, repack, refused):
    path = repack({"tokens.csv": b"0" * (pack.LARGEST[".csv"] + 2)})
    assert path.stat().st_size < 1_000_000
    if declared:
        patched(path, b"PK\1\2", 24, struct.pack("<I", declared))
    refused(path, "larger than any study|cannot be unpacked")


def test_a_pack_of_very_many_files_is_refused_before_they_are_listed(tmp_path, refused):
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(100 * len(FILES) + 1):
            archive.writestr(str(i), "")
    refused(path, "more files than any pack")


def test_a_pack_larger_than_any_is_not_read(tmp_path, refused):
    path = tmp_path / "large.zip"
    with path.open("wb") as file:
        file.truncate(pack.LARGEST_PACK + 1)
    refused(path, "larger than any pack")


@pytest.mark.parametrize("part", [0, 1, 100, 0.3, 0.5, 0.99])
def test_a_broken_off_pack_is_refused(part, repack, refused):
    path = repack({})
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content)) if isinstance(part, float) else part])
    refused(path, "cannot be unpacked .*get it again")


@pytest.mark.parametrize("seed", range(20))
def test_a_pack_with_damaged_bytes_is_refused_or_whole(seed, packed, tmp_path):
    rng, content = np.random.default_rng(seed), bytearray(packed.read_bytes())
    for at in rng.integers(len(content), size=3):
        content[at] ^= rng.integers(1, 256)
    path = tmp_path / "damaged.zip"
    path.write_bytes(content)
    try:
        assert not pack.opened(path, tmp_path / "packs").wrong()
    except UserError as error:
        assert all(len(line) < 500 for line in error.args)


def test_what_is_no_pack_is_refused(tmp_path, refused):
    (tmp_path / "a.zip").write_bytes(b"not a zip")
    refused(tmp_path / "a.zip", "cannot be unpacked")
    (tmp_path / "a.txt").write_bytes(b"")
    refused(tmp_path / "a.txt", r"not named \*\.zip")
    (tmp_path / "folder.zip").mkdir()
    refused(tmp_path / "folder.zip", "there is no pack")


# The record


def test_a_pack_without_a_record_is_refused(repack, refused):
    refused(repack({RECORD: None}), "holds no run.json")


@pytest.mark.parametrize("number", [0, FORMAT + 1, str(FORMAT), None, True, [FORMAT], "\x1b[2J"])
def test_a_pack_of_another_format_says_which(number, results, repack, refused):
    number_told = re.escape(ascii(str(number)))
    if number is True:  # which equals 1 for Python, but is no number
        refused(repack(with_record(results, format=number)), "format")
    else:
        refused(
            repack(with_record(results, format=number)),
            f"of format {number_told}, and this version reads {FORMAT}",
        )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"strange": 1}, "strange"),
        ({"model": {"base": "embedded", "strange": 1}}, r"model\.strange"),
        ({"sizes": {"prompts": "many"}}, r"sizes\.prompts"),
        ({"title": "<b>"}, "'<b>'"),
        ({"title": "a\u202eb"}, r"'a\\u202eb'"),
        ({"name": "../../name"}, r"name no profile: '\.\./\.\./name'"),
        ({"sizes": {"prompts": 10**40}}, "number that no profile needs"),
    ],
)
def test_settings_that_are_no_profile_s_are_refused_with_what_is_wrong(
    changes, reason, results, repack, refused
):
    refused(repack(with_settings(results, **changes)), f"settings in run.json .*{reason}")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"strange": 1}, "strange"),
        ({"\x1b[2J": 1}, r"\?\[2J"),
        ({"auc": float("nan")}, "auc"),
        ({"auc": "0.9"}, "auc"),
        ({"seed": -1}, "seed"),
        ({"memory": 10**40}, "memory"),
        ({"seconds": {"base": float("inf")}}, "seconds.base"),
        ({"versions": {str(i): "1" for i in range(51)}}, "versions"),
        *(({"device": text}, "device") for text in ("<b>", "a\nb", "a\x00b", "x" * (LONGEST_LABEL + 1))),
        ({"commit": "a\u202eb"}, "commit"),
        (
            {"shape": {"layers": 0, "d_model": 1, "d_mlp": 1, "vocabulary": 1, "parameters": 1}},
            "shape.layers",
        ),
        ({"loss": None}, "loss"),
        ({"accuracy": None}, "accuracy"),
    ],
)
def test_a_record_that_is_not_as_its_schema_says_is_refused(changes, reason, results, repack, refused):
    refused(repack(with_record(results, **changes)), f"run.json .*{reason}")


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"[" * 100_000, b'{"format": 1}', b"\xff", b'{"format": 1' + b"0" * 5_000]
)
def test_a_record_that_is_none_is_refused(content, repack, refused):
    refused(repack({RECORD: content}), "run.json")


def test_settings_nested_without_end_are_refused(results, repack, refused):
    deep = json.loads("[" * 400 + "]" * 400)
    refused(repack(with_settings(results, title=deep)), "run.json")


# The tables


def test_a_pack_without_a_table_says_which(repack, refused):
    refused(
        repack({"table1.csv": None, "neurons.parquet": None}),
        "neurons.parquet is missing[^$]*table1.csv is missing",
    )


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("cosine", np.nan),
        ("cosine", np.inf),
        ("cosine", 1e300),
        ("layer", -1),
        ("group", "TP"),
        ("neuron", 10**15),
    ],
)
def test_a_value_that_no_table_may_hold_is_refused(column, value, results, repack, refused):
    table = results.neurons.assign(**{column: [value, *results.neurons[column].tolist()[1:]]})
    refused(repack(with_table("neurons", table)), f"neurons .*'{column}'")


@pytest.mark.parametrize(
    "label", ["<b>", "a\x00", "a\u202eb", "a\u2028b", "[a](b)", "$x$", "`a`", "a|b", "{x}"]
)
def test_a_label_that_could_be_more_than_text_is_refused(label, results, repack, refused):
    table = results.evidence.assign(quantity=[label, *results.evidence["quantity"].tolist()[1:]])
    refused(repack(with_table("evidence", table)), "a label without markup")


def many_rows(columns: int) -> bytes:
    """Very many rows in few bytes."""
    table = pa.table({f"token_{i + 1}": pa.array(np.zeros(3_000_000, np.int64)) for i in range(columns)})
    return as_parquet(table, compression="zstd")


def flat(**columns) -> bytes:
    return as_parquet(pa.table(columns))


def long_name(size: int) -> bytes:
    """One very long name, for every row."""
    names = pa.DictionaryArray.from_arrays(np.zeros(1_000, np.int32), ["x" * size])
    return as_parquet(pa.table({"layer": np.zeros(1_000, int), "group": names}), compression="zstd")


@pytest.mark.parametrize(
    ("name", "make", "reason"),
    [
        ("nearest_tokens", lambda: many_rows(1), "larger than any study"),
        ("nearest_tokens", lambda: flat(**{f"t{i}": [0] for i in range(1_000)}), "larger than any study"),
        ("nearest_tokens", lambda: flat(token_1=[[1, 2]]), "larger than any study|not of numbers"),
        ("nearest_tokens", lambda: flat(token_1=[{"a": 1}]), "larger than any study|not of numbers"),
        ("nearest_tokens", lambda: flat(token_1=[b"pickled"]), "not of numbers"),
        ("nearest_tokens", lambda: flat(token_1=pd.to_datetime(["2000"])), "not of numbers"),
        ("nearest_tokens", lambda: flat(token_1=pa.array(["a"]).dictionary_encode()), "not of numbers"),
        ("neurons", lambda: flat(group=[b"\xff\xfe"]), "not of names"),
        ("neurons", lambda: long_name(10_000_000), "longer names"),
        ("neurons", lambda: b"PAR1" + b"\0" * 100 + b"PAR1", "cannot be read"),
        ("neurons", lambda: b"", "cannot be read"),
        ("tokens", lambda: ",".join(f"c{i}" for i in range(10**6)).encode(), "more columns than any"),
        ("tokens", lambda: b"text\n" + b"1\n" * 1_100_000, "more than 1,000,000 rows"),
        ("tokens", lambda: b"text\n" + b"x" * 5_000_000, "str_length"),
        ("evidence", lambda: b"quantity,value,low,high\n" + b"9" * 5_000_000 + b",1,1,1\n", "without markup"),
        ("writers", lambda: b"writer,own_text,same_text\nall,1\n", "not_nullable"),
        ("writers", lambda: b"writer,own_text,same_text\nall,1,2,3\n", "cells"),
        ("groups", lambda: b"\xff\xfe\x00", "cannot be read"),
        ("groups", lambda: b"", "cannot be read"),
    ],
)  # fmt: skip
def test_a_table_made_to_exhaust_or_to_mislead_its_reader_is_refused(name, make, reason, repack, refused):
    refused(repack({TABLES[name].file: make()}), reason)


@pytest.mark.parametrize(
    "make",
    [
        lambda n: {"direction": np.ones(n + 1, np.float32)},
        lambda n: {"direction": np.ones((1, n), np.float32)},
        lambda n: {"direction": np.ones(n, np.int64)},
        lambda n: {"direction": np.full(n, np.nan, np.float32)},
        lambda n: {"direction": np.ones(n, np.float32), "more": np.ones(1)},
        lambda n: {"other": np.ones(n, np.float32)},
        lambda n: None,
    ],
)
def test_a_probe_that_is_not_one_direction_is_refused(make, results, repack, refused):
    tensors = make(results.record.shape.d_model)
    refused(repack({PROBE: save(tensors) if tensors else b"\xff" * 100}), "probe")


# Tables that do not fit together


def without(table: pd.DataFrame, column: str, value: object) -> pd.DataFrame:
    return table[table[column] != value]


DISAGREEMENTS = {
    "neurons": [
        (lambda t: t.iloc[1:], "layers of"),
        (lambda t: pd.concat([t, t.tail(1)]), "same layer, neuron"),
        (lambda t: t.assign(layer=t["layer"] + 10**9), "layers of"),
        (lambda t: t.assign(projection_drop=2 * t["projection_drop"]), "not of the same neurons"),
    ],
    "nearest_tokens": [
        (lambda t: t.iloc[1:], "number of rows"),
        (lambda t: t.assign(token_1=10**9), "tokens that are not there"),
    ],
    "groups": [
        (lambda t: t.assign(count=t["count"] + 1), "not of the same neurons"),
        (lambda t: t.iloc[1:], "no row"),
    ],
    "evidence": [
        (lambda t: without(t, "quantity", "TP- share of gross"), "no row 'TP- share of gross'"),
        (lambda t: t.assign(value=0.123), "not of the same neurons"),
    ],
    "comparisons": [
        (lambda t: t.iloc[1:], "lacks a quantity"),
        (lambda t: t.iloc[:0], "is empty"),
        (lambda t: t.assign(value=0.123), "not of the same neurons"),
    ],
    "other_directions": [
        (lambda t: t.iloc[:0], "no row 'matched'"),
    ],
    "table1": [
        (lambda t: t.iloc[:0], "no row 'after DPO'"),
        (lambda t: without(t, "name", "before DPO"), "no row 'before DPO'"),
        (lambda t: without(t, "name", "after DPO"), "no row 'after DPO'"),
        (lambda t: without(t, "published", "gpt2: none").assign(name=t["name"][::-1]), "table1"),
        (lambda t: without(t, "kind", "ablate"), "no ablation|lacks"),
        (lambda t: without(t, "kind", "copy"), "lacks"),
        (lambda t: t.assign(which="x", positions="all"), "same edit"),
        (lambda t: t.assign(perplexity=0.0), "perplexity that no text"),
    ],
    "outcomes": [(lambda t: t.iloc[1:], "no row 'toxicity, greedy'"), (lambda t: t.iloc[:0], "no row")],
    "writers": [(lambda t: without(t, "writer", "all"), "no row 'all'")],
    "weight_change": [(lambda t: t.iloc[:0], "is empty")],
    "prompts": [(lambda t: t.iloc[:0], "is empty")],
    "layers": [
        (lambda t: t.iloc[1:], "lacks a layer"),
        (lambda t: t.assign(layer=t["layer"] + 1), "lacks a layer"),
        (lambda t: t.assign(reach=-1.0), "ends before it begins"),
    ],
    "directions": [(lambda t: without(t, "list", "closest"), "no row 'closest'")],
    "step_through": [
        (lambda t: t.assign(number=t["number"] + 10**9), "prompts that the table prompts lacks"),
        (lambda t: t.iloc[1:], "lacks tokens"),
        (lambda t: t.iloc[:-1], "lacks tokens"),
        (lambda t: t.iloc[:0], "no row 'after DPO'"),
        (lambda t: without(t, "condition", "before DPO"), "no row 'before DPO'"),
        (lambda t: t.iloc[::-1], "does not begin"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "change", "reason"), [(name, *case) for name, cases in DISAGREEMENTS.items() for case in cases]
)
def test_tables_that_no_page_could_be_made_of_are_refused(name, change, reason, results, repack, refused):
    refused(repack(with_table(name, change(getattr(results, name)))), reason)


# What is shown of it


@pytest.fixture
def hostile(results, repack, tmp_path) -> Results:
    """Results in whose texts is all that a page could take for markup."""

    def with_markup(name: str, *columns: str) -> dict[str, bytes]:
        table = getattr(results, name)
        return with_table(name, table.assign(**{c: HOSTILE + table[c] for c in columns}))

    changes = with_markup("continuations", "prompt", "before", "after")
    changes |= with_markup("step_through", "prompt", "token") | with_markup("tokens", "text")
    changes |= with_markup("directions", "tokens")
    return pack.opened(repack(changes), tmp_path / "packs")


def test_text_of_a_pack_enters_pages_as_text(hostile):
    mask = Mask.of(hostile)
    shown = [
        report.continuations(hostile.continuations, mask).to_html(),
        report.token_table(hostile.directions, mask).to_html(),
        step_through.page(hostile).data,
    ]
    for page in shown:
        assert HOSTILE.split(">")[0] + ">alert" not in page
        assert "<img src" not in page
        assert "&lt;script&gt;" in page
    assert re.findall(r"</?script[^>]*>", shown[2]) == [
        '<script type="application/json">',
        "</script>",
        '<script src="../_static/step_through.js" defer>',
        "</script>",
    ]
    assert script(hostile).isascii()


def test_characters_that_act_are_shown_as_a_sign():
    mask = Mask(frozenset({"word"}))
    for text in ("a\x00b word", "a\u202eb word", "\u2066a\x1b[2J word"):
        for shown in (mask(text), mask.html(text)):
            assert shown.replace("\N{REPLACEMENT CHARACTER}", "").isprintable()
            assert "\N{REPLACEMENT CHARACTER}" in shown


def test_a_file_s_name_enters_the_page_on_packs_as_text(results, packed, tmp_path):
    for name in ("claim", "these pages", "<img src=x onerror=alert(1)>", "a\u202eb"):
        (tmp_path / f"{name}.zip").write_bytes(packed.read_bytes())
    (tmp_path / "broken & broken.zip").write_bytes(b"")
    found, wrong = pack.packs_in(tmp_path)
    assert set(found) == {"claim.zip", "these pages.zip"}
    assert len(wrong) == 3
    for page in (report_packs.claims, report_packs.runs, report_packs.shares):
        assert "<img" not in page({"<img src=x>": results} | found).to_html()
    assert "<img" not in report_packs.refused(wrong).to_html()


def test_a_pack_is_shown_by_itself_whatever_its_seed(results, repack, tmp_path):
    from dpotox.results.seeds import claims_by_seed

    found = pack.opened(repack(with_record(results, seed=3)), tmp_path / "packs")
    table, missing = claims_by_seed(found, [0], {})
    assert set(table["seed"]) == {3}
    assert not missing


def test_a_bad_pack_is_refused_on_the_command_line_without_a_traceback(repack, tmp_path):
    path = repack({"neurons.parquet": None, "groups.csv": b"<b>\n1"})
    done = subprocess.run(
        [sys.executable, "-m", "dpotox.run.book", "--from", str(path)],
        cwd=ROOT,
        env={"DPOTOX_OUTPUT": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    lines = (done.stdout + done.stderr).strip().splitlines()
    assert len(lines) == 3
    assert all(line.startswith("error: changed.zip") for line in lines)


def test_every_file_of_a_pack_is_of_a_kind_that_executes_nothing():
    assert {Path(name).suffix for name in FILES} == {".csv", ".json", ".parquet", ".safetensors"}
