"""Paths that scalecore wrote are found where the project lies now."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalecore.config.stored_paths import Move, texts_in


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Where a project lies now: a study, and data beside it and further up."""
    for folder in ("new/deep/proj/study", "new/deep/proj/data"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "new/deep/proj/data/a.csv").touch()
    return tmp_path / "new/deep/proj"


def test_g28_a_file_is_found_relative_to_the_folder(project: Path, tmp_path: Path) -> None:
    """Under whatever name project and study lie now, and although the old place is still there."""
    old = tmp_path / "old/project/data/a.csv"
    old.parent.mkdir(parents=True)
    old.touch()
    for was, now in (("results", "study"), ("results", "studies/of/old"), ("studies/one", "study")):
        assert Move(tmp_path / "old/project" / was, project / now).find(old) == project / "data/a.csv"


def test_what_did_not_come_along_stays_where_it_was(project: Path, tmp_path: Path) -> None:
    """A file of another place, one that lies outside of every project, and all of them where nothing moved."""
    outside = tmp_path / "shared.csv"
    outside.touch()
    move = Move(tmp_path / "old/deep/proj/study", project / "study")
    assert move.find(outside) == outside
    assert move.find(Path("/dev/null")) == Path("/dev/null")
    assert Move(project / "study", project / "study").find(project / "gone.csv") == project / "gone.csv"
    assert Move(None, project / "study").find(outside) == outside


def test_a_file_that_is_yet_to_be_made_belongs_beside_the_others(project: Path, tmp_path: Path) -> None:
    """As the table of a logger does; where its folder did not come along, the old place is all that is known."""
    move = Move(tmp_path / "old/proj/study", project / "study")
    assert move.find(tmp_path / "old/proj/data/results.csv") == project / "data/results.csv"
    assert move.find(tmp_path / "old/proj/tables/results.csv") == tmp_path / "old/proj/tables/results.csv"


def test_a_study_may_be_a_link(project: Path, tmp_path: Path) -> None:
    """Data lie beside the link, or beside the folder that it leads to."""
    (tmp_path / "links").mkdir()
    link = tmp_path / "links/study"
    link.symlink_to(project / "study")
    move = Move(tmp_path / "old/proj/study", link)
    assert move.find(tmp_path / "old/proj/data/a.csv") == project / "data/a.csv"
    (tmp_path / "links/data").mkdir()
    (tmp_path / "links/data/a.csv").touch()
    assert move.find(tmp_path / "old/proj/data/a.csv") == tmp_path / "links/data/a.csv"


def test_only_absolute_paths_are_looked_for(project: Path, tmp_path: Path) -> None:
    """Everything else of a stored experiment is as it was."""
    move = Move(tmp_path / "old/proj/study", project / "study")
    old = str(tmp_path / "old/proj/data/a.csv")
    content = {"path": old, "parts": [{"file": old}, "data/a.csv"], "rows": 4, "time": None}
    new = str(project / "data/a.csv")
    assert move.apply(content) == {"path": new, "parts": [{"file": new}, "data/a.csv"], "rows": 4, "time": None}
    assert sorted(texts_in(content)) == sorted([old, old, "data/a.csv"])
