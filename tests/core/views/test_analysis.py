"""Writing the result of an analysis."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalecore.api.analysis import AnalysisResult
from scalecore.api.errors import DataError
from scalecore.views.analysis import Analysed, listing, write_result


def analysed(*names: str) -> Analysed:
    """A result with files of these names."""
    result = AnalysisResult(title="T", tables={}, data={}, files=dict.fromkeys(names, "content"))
    return Analysed(name="acme", result=result, options={}, studies=[], versions={}, made="now")


def test_files_may_be_in_a_folder(tmp_path: Path) -> None:
    """Files in a folder of the result are written there, and listed by their number."""
    folder = tmp_path / "analyses" / "acme"
    written = write_result(analysed("page.html", "figures/a.svg", "tables/a.csv", "tables/b.csv"), folder)
    assert (folder / "tables" / "b.csv").read_text() == "content"
    assert listing(written, folder) == "result.json, result.md, page.html, figures (1 file), tables (2 files)"


@pytest.mark.parametrize(
    "name", ["../a.svg", "/a.svg", "figures/../a.svg", ".hidden", "a/.hidden", "a/b/c.svg", "a//b", "a/", "/", ".", ""]
)
def test_files_stay_inside_the_folder(tmp_path: Path, name: str) -> None:
    """Any other name is refused before anything is written."""
    with pytest.raises(DataError) as raised:
        write_result(analysed(name), tmp_path / "acme")
    assert str(raised.value) == (
        f"analysis 'acme' returned a file {name!r}, which is neither a plain file name nor one in a folder, such as "
        "'figures/loss.svg'"
    )
    assert not list(tmp_path.iterdir())
