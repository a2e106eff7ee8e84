"""The manifests of a store: one of raw prices, one of processed features."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import attrs
from attrs import field, frozen

from scalecore.api.errors import DataError
from scalecore.api.files import write_json

__all__ = ["Entry", "Kind", "Source", "manifest_path", "read_manifest", "write_manifest"]

Kind = Literal["raw", "processed"]

_FORMAT = 1


@frozen(kw_only=True)
class Source:
    """A version of raw prices that a processed set was computed from."""

    version: int
    checksum: str


@frozen(kw_only=True)
class Entry:
    """One version of one table. `path` is relative to the store; `checksum` covers the content, not the file.

    Raw prices have an `origin`, the name of their file or service. Processed sets have a tier, their sources by name,
    and a hash of their features' definition.
    """

    name: str
    """`SPY.OHLCV.daily` or `SPY.dataset.a25`."""
    version: int
    path: str
    checksum: str
    time: str
    """Time of registration, UTC."""
    rows: int
    first: str
    last: str
    columns: tuple[str, ...] = field(converter=tuple)
    origin: str | None = None
    tier: str | None = None
    sources: Mapping[str, Source] = field(factory=dict)
    definition: str | None = None
    first_trusted: str | None = None
    """The first date on which all features are past their warm-up."""
    software: Mapping[str, str] = field(factory=dict)

    def to_json(self) -> dict[str, Any]:
        """All fields that are set."""
        return {key: value for key, value in attrs.asdict(self).items() if value is not None and value != {}}


def manifest_path(folder: Path, kind: Kind) -> Path:
    """`raw.json` or `processed.json` in the store."""
    return folder / f"{kind}.json"


def read_manifest(folder: Path, kind: Kind) -> list[Entry]:
    """The entries of a manifest in the order of their registration; empty without a manifest.

    Raises DataError if the file is damaged or has a newer format.
    """
    path = manifest_path(folder, kind)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise DataError(f"{path}: the manifest is damaged ({error}); restore it from a backup") from None
    form = content.get("format") if isinstance(content, dict) else None
    if form != _FORMAT:
        raise DataError(f"{path}: the manifest has format {form!r}, this version of scalecore-market reads {_FORMAT}")
    try:
        return [_entry(item) for item in content["entries"]]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: the manifest is damaged ({error}); restore it from a backup") from None


def write_manifest(folder: Path, kind: Kind, entries: list[Entry]) -> None:
    """Replace the manifest atomically."""
    write_json(
        manifest_path(folder, kind),
        {"format": _FORMAT, "kind": kind, "entries": [entry.to_json() for entry in entries]},
    )


def _entry(item: Mapping[str, Any]) -> Entry:
    sources = {name: Source(**source) for name, source in item.get("sources", {}).items()}
    entry = Entry(**{**item, "sources": sources})
    path = PurePosixPath(entry.path)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"the path {entry.path!r} is outside the store")
    return entry
