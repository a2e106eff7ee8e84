"""Paths that scalecore stored are found at the new place of a moved project."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalecore.config.stored_paths import Move, texts_in


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The new place of a project: a study, with data next to it and further up."""
    for folder in ("new/deep/proj/study", "new/deep/proj/data"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "new/deep/proj/data/a.csv").touch()
    return tmp_path / "new/deep/proj"


def test_g28_a_file_is_found_relative_to_the_folder(project: Path, tmp_path: Path) -> None:
    """Under any new name of project and study, even if the old place still exists."""
    old = tmp_path / "old/project/data/a.csv"
    old.parent.mkdir(parents=True)
    old.touch()
    for was, now in (("results", "study"), ("results", "studies/of/old"), ("studies/one", "study")):
        assert Move(tmp_path / "old/project" / was, project / now).find(old) == project / "data/a.csv"


def test_files_that_were_not_moved_keep_their_place(project: Path, tmp_path: Path) -> None:
    """A file elsewhere, one outside of every project, and all files if nothing was moved."""
    outside = tmp_path / "shared.csv"
    outside.touch()
    move = Move(tmp_path / "old/deep/proj/study", project / "study")
    assert move.find(outside) == outside
    assert move.find(Path("/dev/null")) == Path("/dev/null")
    assert Move(project / "study", project / "study").find(project / "gone.csv") == project / "gone.csv"
    assert Move(None, project / "study").find(outside) == outside


def test_a_future_file_belongs_next_to_the_others(project: Path, tmp_path: Path) -> None:
    """Such as the table of a logger; if its folder was not moved, it keeps the old place."""
    move = Move(tmp_path / "old/proj/study", project / "study")
    assert move.find(tmp_path / "old/proj/data/results.csv") == project / "data/results.csv"
    assert move.find(tmp_path / "old/proj/tables/results.csv") == tmp_path / "old/proj/tables/results.csv"


def test_a_study_may_be_a_link(project: Path, tmp_path: Path) -> None:
    """Data may be next to the link, or next to its target."""
    (tmp_path / "links").mkdir()
    link = tmp_path / "links/study"
    link.symlink_to(project / "study")
    move = Move(tmp_path / "old/proj/study", link)
    assert move.find(tmp_path / "old/proj/data/a.csv") == project / "data/a.csv"
    (tmp_path / "links/data").mkdir()
    (tmp_path / "links/data/a.csv").touch()
    assert move.find(tmp_path / "old/proj/data/a.csv") == tmp_path / "links/data/a.csv"


def test_only_absolute_paths_are_changed(project: Path, tmp_path: Path) -> None:
    """All other values of a stored experiment stay unchanged."""
    move = Move(tmp_path / "old/proj/study", project / "study")
    old = str(tmp_path / "old/proj/data/a.csv")
    content = {"path": old, "parts": [{"file": old}, "data/a.csv"], "rows": 4, "time": None}
    new = str(project / "data/a.csv")
    assert move.apply(content) == {"path": new, "parts": [{"file": new}, "data/a.csv"], "rows": 4, "time": None}
    assert sorted(texts_in(content)) == sorted([old, old, "data/a.csv"])
