"""What `matrix.py` notices in the books that it makes; `make matrix` makes them."""

from pathlib import Path

import matrix
import matrix_inputs
import pytest


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    """The folder of the input files."""
    folder = tmp_path_factory.mktemp("matrix") / "inputs"
    matrix_inputs.write_inputs(folder)
    return folder


@pytest.mark.parametrize(
    "wrong",
    ["the generated language", "a share of nan%", "None", "<figure></figure>", '<svg class="chart"/>'],
)
def test_what_must_not_be_in_a_chapter_is_noticed(inputs, tmp_path, wrong):
    (tmp_path / "inputs").symlink_to(inputs)
    matrix.write_profile("finished", tmp_path)
    chapter = tmp_path / "finished" / "_build" / "html" / "notebooks" / "01_model.html"
    chapter.parent.mkdir(parents=True)
    for text, found in (("A chapter of none but good words.", False), (wrong, True)):
        chapter.write_text(f"<article>{text}</article>")
        assert any(fault.startswith("01_model: ") for fault in matrix.faults("finished", tmp_path)) == found


def test_a_page_that_is_missing_is_noticed(inputs, tmp_path):
    (tmp_path / "inputs").symlink_to(inputs)
    matrix.write_profile("finished", tmp_path)
    assert "the page book/speed is missing" in matrix.faults("finished", tmp_path)
