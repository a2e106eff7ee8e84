"""Reads control groups of both versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalecore.cgroups import is_frozen

V1, V2 = "6:freezer:/box\n0::/\n", "0::/box\n"


@pytest.mark.parametrize(
    ("membership", "file", "text", "frozen"),
    [
        (V1, "freezer/box/freezer.state", "FROZEN\n", True),
        (V1, "freezer/box/freezer.state", "FREEZING\n", True),
        (V1, "freezer/box/freezer.state", "THAWED\n", False),
        (V2, "box/cgroup.events", "populated 1\nfrozen 1\n", True),
        (V2, "unified/box/cgroup.events", "populated 1\nfrozen 1\n", True),
        (V2, "box/cgroup.events", "populated 1\nfrozen 0\n", False),
        (V2, "elsewhere", "", False),
    ],
)
def test_g47_a_frozen_control_group_is_detected(
    tmp_path: Path, membership: str, file: str, text: str, frozen: bool
) -> None:
    """As of a paused container, whose processes cannot run and have not hung."""
    for path, content in (("proc/7/cgroup", membership), (f"sys/fs/cgroup/{file}", text)):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    assert is_frozen(7, root=tmp_path) is frozen


def test_an_ended_process_is_not_frozen(tmp_path: Path) -> None:
    """Nor is any process if the kernel has no control groups."""
    assert not is_frozen(7, root=tmp_path)
