"""Files from elsewhere have no effect but the one they are read for."""

import pandas as pd
import pytest

from dpotox.errors import UserError
from dpotox.profile import LARGEST, load_profile
from dpotox.results.folder import write_table
from dpotox.show.report import shown


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x = " + "[" * 100_000 + "]" * 100_000, "is not a TOML file"),
        ("[model]\n" + "a." * 3_000 + "b = 1", "nested more deeply"),
        ("#" * (LARGEST + 1), "larger than"),
    ],
)
def test_a_profile_that_would_exhaust_the_reader_is_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "bomb.toml"
    path.write_text(content)
    with pytest.raises(UserError, match=message) as error:
        load_profile(str(path))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1_000


@pytest.mark.parametrize("name", ["...toml", ".. .toml", ".hidden.toml", "<b>.toml", "=1.toml"])
def test_a_profile_s_name_cannot_lead_out_of_the_artifacts_or_into_a_page(tmp_path, name):
    path = tmp_path / name
    path.write_text('extends = "mini"\n')
    with pytest.raises(UserError, match="rename the file"):
        load_profile(str(path))


def test_a_table_has_no_formulas_for_those_who_open_it_in_a_spreadsheet(tmp_path):
    texts = ["=1+1", "+1", "-1", "@SUM(A1)", "a=1", "TP-"]
    table = pd.DataFrame({"quantity": texts}).assign(value=range(-3, 3), low=-1.5, high=1.5)
    table["resampled"] = "prompts"
    write_table(tmp_path, "evidence", table)
    read = pd.read_csv(tmp_path / "evidence.csv")
    assert read["quantity"].tolist() == ["'=1+1", "'+1", "'-1", "'@SUM(A1)", "a=1", "TP-"]
    assert read["value"].tolist() == list(range(-3, 3))
    write_table(tmp_path, "tokens", pd.DataFrame({"text": ["\t=1", "\r=1", *texts]}))
    lines = (tmp_path / "tokens.csv").read_bytes().decode().split("\n")[1:3]
    assert [line.strip('"')[:2] for line in lines] == ["'\t", "'\r"]


def test_text_in_a_table_of_the_book_is_shown_as_text():
    hostile = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    for formats in (None, {"text": None}):
        page = shown(pd.DataFrame({"text": [hostile], "value": [0.5]}), formats).to_html()
        assert "<script" not in page
        assert "<img" not in page
        assert "&lt;script&gt;" in page
