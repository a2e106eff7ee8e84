"""Metadata read from folders, compared with `importlib.metadata` and `packaging`."""

from __future__ import annotations

import importlib.metadata
import sys
import zipfile
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

import scalecore
from scalecore.plugins.discovery import Status, discover
from scalecore.plugins.metadata import Metadata, folders, read_metadata


def test_installed_distributions_are_read_as_importlib_reads_them() -> None:
    """Each folder of this environment is found, with the same content."""
    found = list(folders(sys.path) or ())

    assert {str(Path(one)) for one in found} == {str(one._path) for one in importlib.metadata.distributions()}  # type: ignore[attr-defined]
    for folder in found:
        expected = importlib.metadata.Distribution.at(folder)
        for group in {entry.group for entry in expected.entry_points}:
            entries = tuple((entry.name, entry.value) for entry in expected.entry_points if entry.group == group)
            requires = tuple(expected.requires or ())
            assert read_metadata(folder, group) in (
                None,
                Metadata(expected.metadata["Name"], expected.version, requires, entries),
            )


def test_distributions_are_found_by_name(fake_plugin: Any, tmp_path: Path) -> None:
    """Names are compared as installers compare them."""
    fake_plugin("Acme_Two")
    fake_plugin("acme")

    assert [Path(one).name for one in folders([str(tmp_path)], ["acme-two"]) or ()] == ["acme_two-1.0.dist-info"]


@pytest.mark.parametrize(
    ("metadata", "requires"),
    [
        ("Name: acme\nVersion: 1\nLicense: a\n  b: c\n        \n  d\nRequires-Dist: x>=1\n\nName: no\n", ("x>=1",)),
        ("Name: acme\nVersion: 1\n\nRequires-Dist: x\n", ()),
        ("Name: acme\nVersion: 1\nRequires-Dist: x\n >=1\n", None),
        ("Name: acme\nVersion: 1\nno header\nRequires-Dist: x\n", None),
        ("Name: acme\n", None),
        ("Version: 1\n", None),
    ],
)
def test_headers_of_an_unusual_form_are_left_to_importlib(
    tmp_path: Path, metadata: str, requires: tuple[str, ...] | None
) -> None:
    """Long texts are skipped, the description is not read, and values on two lines are left to importlib."""
    (tmp_path / "METADATA").write_text(metadata)
    (tmp_path / "entry_points.txt").write_text("# a comment\n[other]\na = b\n[scalecore]\nx = y:z\n")

    read = read_metadata(str(tmp_path), "scalecore")

    assert read == (None if requires is None else Metadata("acme", "1", requires, (("x", "y:z"),)))


def test_a_plugin_with_unusual_metadata_is_found_too(fake_plugin: Any, tmp_path: Path) -> None:
    """A requirement on two lines is reported, as `packaging` cannot read it; an old egg-info folder is valid."""
    fake_plugin("acme", requires=["scalecore\n >=9"])
    egg = tmp_path / "old-1.0.egg-info"
    egg.mkdir()
    (egg / "PKG-INFO").write_text("Name: old\nVersion: 1.0\n")
    (egg / "entry_points.txt").write_text("[scalecore]\nold = old_plugin\n")

    plugins = discover([str(tmp_path)])

    assert [(plugin.name, plugin.status) for plugin in plugins] == [("acme", Status.BROKEN), ("old", Status.OK)]


def test_a_plugin_in_an_archive_is_found(fake_plugin: Any, tmp_path: Path) -> None:
    """Python imports from zip files, so they are searched, and so are folders on the same path."""
    fake_plugin("acme")
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        archive.writestr("packed-2.0.dist-info/METADATA", "Name: packed\nVersion: 2.0\n")
        archive.writestr("packed-2.0.dist-info/entry_points.txt", "[scalecore]\npacked = packed_plugin\n")

    plugins = discover([str(tmp_path / "packed.zip"), str(tmp_path)])

    assert [plugin.provider for plugin in plugins] == ["acme 1.0", "packed 2.0"]


def test_an_import_hook_may_find_distributions(
    fake_plugin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may be outside the folders of the path."""
    fake_plugin("acme", folder="elsewhere")

    class Hook:
        @staticmethod
        def find_spec(*_: object) -> None: ...

        @staticmethod
        def find_distributions(_: object) -> list[importlib.metadata.Distribution]:
            return [importlib.metadata.Distribution.at(tmp_path / "elsewhere" / "acme-1.0.dist-info")]

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Hook])

    assert [plugin.provider for plugin in discover([str(tmp_path)])] == ["acme 1.0"]


@pytest.mark.parametrize("ours", ["0.1.0", "0.1", "0.2.0", "1.0", "0.10.2", "0.2.0.dev1"])
def test_requirements_are_evaluated_as_by_packaging(
    fake_plugin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ours: str
) -> None:
    """Most are compared as numbers without it: every comparison, with any number of zeros."""
    monkeypatch.setattr(scalecore, "__version__", ours)
    versions = ("0", "0.1", "0.1.0.0", "0.1.1", "0.2", "0.10", "00.1", "1")
    texts = [f"scalecore{op}{version},<9" for op, version in product(("<", "<=", ">", ">=", "==", "!="), versions)]
    texts += ["scalecore~=0.1", "scalecore==0.1.*", "scalecore[x]>=9", "Scalecore >= 9", 'scalecore>=9; extra == "a"']
    for index, text in enumerate(texts):
        fake_plugin(f"acme-{index:03}", requires=[text])

    found = [plugin.status is Status.OK for plugin in discover([str(tmp_path)])]

    read = map(Requirement, texts)
    assert found == [one.marker is not None or one.specifier.contains(ours, prereleases=True) for one in read]
