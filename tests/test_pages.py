"""The pages that people read to run and change the book: what they show must work."""

import ast
import re
import tomllib
from pathlib import Path

import matplotlib
import pytest

from dpotox.paper import groups, rows
from dpotox.results import catalogue, claims, folder
from dpotox.results.claims import Claim
from dpotox.run import book, study
from dpotox.run.picture import draw

ROOT = Path(book.PROJECT)
PAGES = sorted((ROOT / "book").glob("*.md"))


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of one language."""
    text = (ROOT / "book" / page).read_text()
    return re.findall(rf"^```{re.escape(language)}\n(.*?)^```", text, re.M | re.S)


def test_the_python_of_the_page_on_extending_runs(request, monkeypatch, tmp_path, capsys):
    made, results = (request.getfixturevalue(name) for name in ("study", "results"))
    monkeypatch.setattr(study, "open_study", lambda name: made)
    monkeypatch.setattr(folder, "open_results", lambda name: results)
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    names = {}
    for block in blocks("extend_it.md", "python"):
        exec(block, names)
    assert (tmp_path / "cosine_and_drop.svg").stat().st_size > 1_000
    shown = capsys.readouterr().out
    assert "halve the top 20 (20 neurons" in shown
    quantities = claims_shown()
    assert all(f"{claim['quantity']}\n" in shown for claim in quantities)


def claims_shown() -> list[dict]:
    entries = [tomllib.loads(block)["claim"] for block in blocks("extend_it.md", "toml")]
    return [claim for entry in entries for claim in entry]


def test_the_claim_of_the_page_on_extending_is_a_claim():
    (entry,) = claims_shown()
    claim = Claim(low=entry.pop("above"), high=float("inf"), **entry)
    assert claim.chapter in claims.CHAPTERS
    assert claim.id not in {c.id for c in claims.CLAIMS}


def test_the_row_the_step_and_the_table_of_the_page_on_extending_fit(request):
    made = request.getfixturevalue("study")
    row, step, table, line, *_ = blocks("extend_it.md", "{code-block} python")
    names = vars(rows) | {"neurons": made.neurons, "settings": made.profile.interventions, "rows": []}
    exec(row, names)
    (added,) = names["rows"]
    (edit,) = added.interventions
    assert (added.which, len(edit.neurons)) == ("top 4 toxic", 4)
    names = vars(study) | {"groups": groups}
    exec(step, names)
    (described,) = eval(f"({table})", vars(catalogue).copy())
    name = described.name
    assert line == f'"{name}": lambda: study.{name},\n'
    assert len(described.checked(names[name].make(made))) == made.shape["layers"].iloc[0]


VALUE_LENGTH = 30
"""A value in a message that a page quotes is no longer: a file's name, a number, a key."""


def messages() -> list[list[str]]:
    """Every text in the sources as its fixed parts: what stands between the values of an f-string."""
    found = [re.findall(r'echo "error: (.*?)"', (ROOT / "Makefile").read_text())[0].split("$(PYTHON)")]
    for path in (ROOT / "lib" / "dpotox").rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        within = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in nodes:
            if isinstance(node, ast.JoinedStr):
                fixed = [[v.value] if isinstance(v, ast.Constant) else ["", ""] for v in node.values]
                parts = [""]
                for first, *rest in fixed:
                    parts[-1] += first
                    parts += rest
                found.append(parts)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in within:
                found.append([node.value])
    return found


def can_begin(message: list[str], quoted: str) -> bool:
    """Whether a message with some values for its gaps can begin as quoted, after a file's name perhaps."""
    at, fixed = 0, 0
    for part in filter(None, message):
        whole = quoted.find(part, at)
        ends = next((n for n in range(len(part), 0, -1) if quoted.endswith(part[:n])), 0)
        length = len(part) if whole >= 0 else ends
        begin = whole if whole >= 0 else len(quoted) - ends
        if not length or begin < at or begin - at > VALUE_LENGTH:
            break
        at, fixed = begin + length, fixed + length
    return fixed >= 12 and len(quoted) - at <= VALUE_LENGTH


def quoted_errors() -> list[str]:
    text = "\n".join(page.read_text() for page in PAGES)
    inline = re.findall(r"`error: ([^`]+)`", text)
    return inline + re.findall(r"^error: (.+)$", text, re.M)


@pytest.mark.parametrize("error", quoted_errors())
def test_an_error_that_a_page_quotes_is_one_that_can_happen(error):
    assert any(can_begin(m, text) for m in messages() for text in (error, f"error: {error}"))


@pytest.mark.parametrize(
    "error", ["the moon is -1; give a whole number", "there is no file, sorry about that"]
)
def test_an_error_that_cannot_happen_is_noticed(error):
    assert not any(can_begin(message, error) for message in messages())


def test_the_readme_names_every_module_and_every_folder():
    readme = (ROOT / "README.md").read_text()
    modules = {path.stem for path in (ROOT / "lib" / "dpotox").rglob("*.py")} - {"__init__"}
    assert {name for name in modules if f"`{name}`" not in readme} == set()
    kept = {p.name for p in ROOT.iterdir() if p.name[0] != "." and p.is_dir() and any(p.iterdir())}
    kept -= {"artifacts", "_build", "shared", "lib", "local"}
    assert {name for name in kept if f"`{name}/`" not in readme} == set()


def test_every_page_is_in_the_contents_and_every_reference_is_cited():
    contents = (ROOT / "_toc.yml").read_text()
    assert {p.stem for p in PAGES if f"book/{p.stem}\n" not in contents} == set()
    texts = [p.read_text() for p in [*PAGES, *(ROOT / "notebooks").glob("*.py")]]
    cited = {
        key for text in texts for keys in re.findall(r"\{cite\}`([^`]+)`", text) for key in keys.split(",")
    }
    entries = re.findall(r"^@\w+\{(\w+),", (ROOT / "book" / "references.bib").read_text(), re.M)
    assert cited == set(entries)


def test_the_picture_of_the_readme_is_drawn_the_same_twice_and_is_small(request, tmp_path):
    results = request.getfixturevalue("results")
    for name in ("one.svg", "two.svg"):
        draw(results, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert (ROOT / "book" / "_static" / "result.svg").stat().st_size < 200_000
