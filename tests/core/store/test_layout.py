"""Finding a study."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalecore.store.layout import find_study


def test_a_study_is_known_by_its_absolute_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that compares folders, such as the table across studies, must find it under any name."""
    (tmp_path / "studies" / "one").mkdir(parents=True)
    (tmp_path / "studies" / "one" / "journal.jsonl").touch()
    monkeypatch.chdir(tmp_path)
    assert find_study(Path("studies/one")).path == tmp_path / "studies" / "one"
