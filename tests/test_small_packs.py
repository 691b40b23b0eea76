"""Small packs: what judging and comparing need, and nothing of which a book could be made."""

import pandas as pd
import pytest

from dpotox.errors import UserError
from dpotox.results import pack
from dpotox.results.catalogue import TABLES
from dpotox.results.folder import Results
from dpotox.results.nothing import cases
from dpotox.results.seeds import recovered_by_seed
from dpotox.run import book
from dpotox.show import report_packs


@pytest.fixture(scope="module")
def path(results, tmp_path_factory):
    """A small pack of the tiny study."""
    return pack.write(results, tmp_path_factory.mktemp("small") / "tiny.zip", small=True)


@pytest.fixture(scope="module")
def small(path, tmp_path_factory) -> Results:
    """The same, opened."""
    return pack.opened(path, tmp_path_factory.mktemp("opened"))


def test_a_small_pack_holds_what_it_has_of_the_whole_one(small, results):
    assert set(small.tables) == {name for name in results.tables if not TABLES[name].whole}
    for name in small.tables:
        pd.testing.assert_frame_equal(getattr(small, name), getattr(results, name), check_exact=True)
    pd.testing.assert_frame_equal(small.claims, results.claims)


def test_a_small_pack_is_compared_like_a_whole_one(small, results):
    pd.testing.assert_frame_equal(cases(results, [small], [small]), cases(results, [results], [results]))
    beside, whole = (recovered_by_seed(results, [0], {"a": one}) for one in (small, results))
    pd.testing.assert_frame_equal(beside, whole)
    for page in (report_packs.runs, report_packs.shares, report_packs.claims):
        first, second = page({"a": small}).data, page({"a": results}).data
        differ = [name for name in first if not first[name].equals(second[name])]
        assert differ == (["pack"] if page is report_packs.runs else [])


def test_a_small_pack_made_of_a_small_one_is_the_same(small, path, tmp_path):
    again = pack.write(small, tmp_path / "again.zip", small=True)
    assert again.read_bytes() == path.read_bytes()


def test_what_a_small_pack_lacks_is_known_and_said(small):
    assert set(small.left_out) == {name for name, table in TABLES.items() if table.whole}
    with pytest.raises(UserError, match="small pack has no table neurons"):
        _ = small.neurons


def test_no_book_is_made_of_a_small_pack(path, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pack.opened, "__defaults__", (tmp_path,))
    monkeypatch.setattr("sys.argv", ["book", "--from", str(path)])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    assert book.main() == 1
    lines = "".join(capsys.readouterr()).strip().splitlines()
    assert len(lines) == 1
    assert "tiny.zip is a small pack, without the tables neurons, " in lines[0]
    assert "ask for a whole one" in lines[0]
