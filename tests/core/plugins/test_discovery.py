"""Plugins are found by their metadata alone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from scalecore import __version__
from scalecore.plugins.discovery import Status, discover
from scalecore.plugins.registry import load_registry


def test_discovery_reads_name_version_and_place_without_importing(fake_plugin: Any, tmp_path: Path) -> None:
    """The module of the plugin, which would fail, is not imported."""
    fake_plugin("scalecore-acme", version="2.1", entry_point="acme", module="acme_plugin_a", code="raise RuntimeError")

    (plugin,) = discover([str(tmp_path)])

    assert (plugin.name, plugin.value, plugin.provider) == ("acme", "acme_plugin_a", "scalecore-acme 2.1")
    assert plugin.location == str(tmp_path)
    assert plugin.status is Status.OK
    assert "acme_plugin_a" not in sys.modules


def test_the_same_distribution_seen_twice_counts_once(fake_plugin: Any, tmp_path: Path) -> None:
    """A second copy further down the path is ignored, in any spelling of its name: an import finds the first."""
    fake_plugin("scalecore-acme", version="2.0", folder="first")
    fake_plugin("Scalecore_Acme", version="1.0", folder="second")

    plugins = discover([str(tmp_path / "first"), str(tmp_path / "second")])

    assert [plugin.provider for plugin in plugins] == ["scalecore-acme 2.0"]


def test_the_same_folder_twice_on_the_path_counts_once(fake_plugin: Any, tmp_path: Path) -> None:
    """A repeated folder on the path changes nothing."""
    fake_plugin("scalecore-acme")

    assert len(discover([str(tmp_path), str(tmp_path)])) == 1


def test_entry_points_of_one_name_are_two_plugins(fake_plugin: Any, tmp_path: Path) -> None:
    """Only names of components must differ; names of entry points belong to their distribution."""
    fake_plugin("acme-one", version="1.0", entry_point="acme", code=fake_plugin.model("one"))
    fake_plugin("acme-two", version="3.2", entry_point="acme", code=fake_plugin.model("two"))

    registry = load_registry(path=[str(tmp_path)])

    assert [(plugin.status, plugin.reason) for plugin in registry.plugins] == [(Status.OK, None)] * 2
    assert registry.names("model") == ("one", "two")


def test_blocking_one_distribution_keeps_the_others(fake_plugin: Any, tmp_path: Path) -> None:
    """--block excludes a plugin in any spelling of its distribution."""
    fake_plugin("acme-one", entry_point="acme", code=fake_plugin.model("one"))
    fake_plugin("acme-two", entry_point="acme")

    registry = load_registry(path=[str(tmp_path)], block=["Acme_Two"])

    assert [(plugin.distribution, plugin.status, plugin.reason) for plugin in registry.plugins] == [
        ("acme-one", Status.OK, None),
        ("acme-two", Status.BLOCKED, "excluded by --block Acme_Two"),
    ]


@pytest.mark.parametrize(
    ("requirement", "needed"),
    [
        ("scalecore>=9", ">=9"),
        ("scalecore>=0.1,<0.2", "<0.2,>=0.1"),
        ("scalecore (>=0.1,<0.2)", "<0.2,>=0.1"),
        ("ScaleCore ~= 0.1.0", "~=0.1.0"),
        ("scalecore==0.1.*", "==0.1.*"),
        ("scalecore<0.2; python_version >= '3'", "<0.2"),
    ],
)
def test_the_required_version_is_compared_before_the_import(
    fake_plugin: Any, tmp_path: Path, requirement: str, needed: str
) -> None:
    """A plugin for another scalecore is incompatible, and its module is never imported."""
    fake_plugin("acme", module="acme_never_imported", code="raise RuntimeError", requires=["attrs", requirement])

    (plugin,) = load_registry(path=[str(tmp_path)]).plugins

    reason = f"it requires scalecore {needed}, but this is scalecore {__version__}"
    assert (plugin.status, plugin.reason) == (Status.INCOMPATIBLE, reason)
    assert "acme_never_imported" not in sys.modules


@pytest.mark.parametrize(
    "requirement",
    [
        "scalecore>=0.2,<0.3",
        "scalecore>=0.1",
        "scalecore",
        "scalecore>=9; python_version < '3'",
        "scalecore>=9; extra == 'later'",
        "numpy>=99",
    ],
)
def test_requirements_that_are_met_or_do_not_apply_are_ignored(
    fake_plugin: Any, tmp_path: Path, requirement: str
) -> None:
    """Markers and extras count; requirements on other packages are left to pip."""
    fake_plugin("acme", requires=[requirement])

    (plugin,) = load_registry(path=[str(tmp_path)]).plugins

    assert (plugin.status, plugin.reason) == (Status.OK, None)


def test_an_unreadable_requirement_makes_the_plugin_broken(fake_plugin: Any, tmp_path: Path) -> None:
    """An invalid requirement is reported with its text."""
    fake_plugin("acme", requires=["scalecore >>> 1"])

    (plugin,) = load_registry(path=[str(tmp_path)]).plugins

    assert plugin.status is Status.BROKEN
    assert plugin.reason is not None
    assert plugin.reason.startswith("its requirement 'scalecore >>> 1' cannot be read (")


def test_a_distribution_without_metadata_is_broken(fake_plugin: Any, tmp_path: Path) -> None:
    """The leftovers of an incomplete uninstall are named by their folder, and other plugins work."""
    fake_plugin("acme")
    (tmp_path / "rest-1.0.dist-info").mkdir()
    (tmp_path / "rest-1.0.dist-info" / "entry_points.txt").write_text("[scalecore]\nrest = rest_plugin\n")

    plugins = load_registry(path=[str(tmp_path)]).plugins

    assert [(plugin.distribution, plugin.status, plugin.reason) for plugin in plugins] == [
        ("acme", Status.OK, None),
        ("rest-1.0.dist-info", Status.BROKEN, f"its metadata in {tmp_path} has no Name; reinstall it"),
    ]


def test_a_distribution_with_unreadable_entry_points_is_broken(fake_plugin: Any, tmp_path: Path) -> None:
    """An invalid list of entry points breaks this distribution, not the command."""
    folder = fake_plugin("acme", version="1.0")
    (folder / "acme-1.0.dist-info" / "entry_points.txt").write_text("[scalecore]\nno equals sign\n")

    (plugin,) = load_registry(path=[str(tmp_path)]).plugins

    assert (plugin.distribution, plugin.status) == ("acme", Status.BROKEN)
    assert plugin.reason is not None
    assert plugin.reason.startswith(f"its entry_points.txt in {tmp_path} cannot be read (TypeError: ")


def test_entry_points_of_other_groups_are_not_plugins(fake_plugin: Any, tmp_path: Path) -> None:
    """A console script named scalecore-something is not a plugin."""
    fake_plugin("acme", group="console_scripts", entry_point="scalecore-acme")

    assert discover([str(tmp_path)]) == ()


def test_no_plugins_keeps_the_core_only(fake_plugin: Any, tmp_path: Path) -> None:
    """--no-plugins blocks all plugins but the core's own, without importing them."""
    fake_plugin("scalecore", version=__version__, entry_point="builtin")
    fake_plugin("acme", module="acme_left_out", code="raise RuntimeError")

    registry = load_registry(path=[str(tmp_path)], no_plugins=True)

    assert [(plugin.distribution, plugin.status, plugin.reason) for plugin in registry.plugins] == [
        ("scalecore", Status.OK, None),
        ("acme", Status.BLOCKED, "excluded by --no-plugins"),
    ]
    assert "acme_left_out" not in sys.modules


def test_binary_entry_points_break_only_their_plugin(fake_plugin: Any, tmp_path: Path) -> None:
    """Those of other distributions are ignored."""
    for name, group in (("acme", b"[scalecore]"), ("other", b"[console_scripts]")):
        folder = fake_plugin(name, version="1.0")
        (folder / f"{name}-1.0.dist-info" / "entry_points.txt").write_bytes(group + b"\nname = \xff\xfe\n")

    (plugin,) = load_registry(path=[str(tmp_path)]).plugins

    assert (plugin.distribution, plugin.status) == ("acme", Status.BROKEN)
    assert plugin.reason is not None
    assert plugin.reason.startswith(f"its entry_points.txt in {tmp_path} cannot be read (UnicodeDecodeError: ")
