from __future__ import annotations

import os
from pathlib import Path

import pytest

from scalecore.files import read_json, replacing, write_json


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_others_may_read_what_the_umask_lets_them(tmp_path: Path, mask: int, mode: int) -> None:
    """Results are no secrets of who made them, unless the user says so."""
    before = os.umask(mask)
    try:
        write_json(tmp_path / "a.json", {"a": 1})
    finally:
        os.umask(before)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("durable", [True, False])
def test_what_cannot_be_written_whole_is_not_written_at_all(tmp_path: Path, durable: bool) -> None:
    """The old content stays, and nothing lies beside it."""
    path = tmp_path / "a.json"
    write_json(path, {"a": 1}, durable=durable)

    def half() -> None:
        with replacing(path, durable=durable) as temporary:
            temporary.write_text('{"a": ')
            raise OSError("the disk is full")

    with pytest.raises(OSError, match=r"^the disk is full$"):
        half()
    assert read_json(path) == {"a": 1}
    assert [one.name for one in tmp_path.iterdir()] == ["a.json"]


def test_a_link_to_the_old_content_is_replaced_too(tmp_path: Path) -> None:
    """Renaming one of two names of a file to the other does nothing, and would leave the temporary one."""
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with replacing(path) as temporary:
        os.link(path, temporary)
    assert read_json(path) == {"a": 1}
    assert [one.name for one in tmp_path.iterdir()] == ["a.json"]
