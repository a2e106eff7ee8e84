"""The folder of prepared data: written atomically, verified before reuse."""

from __future__ import annotations

import hashlib
import os
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from scalecore.api.data_report import DataReport
from scalecore.api.errors import DataError, RefusedError
from scalecore.api.files import read_json, sync_folder, write_json
from scalecore.config.kept import structured

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DATA_FILE = "data.json"


def read_description(folder: Path) -> DataReport:
    """Return the description of the data in `folder`; raise DataError if there is none."""
    stored = _read(folder)
    if stored is None:
        raise DataError(f"{folder} has no prepared data: its {DATA_FILE} is missing or damaged; run the study again")
    return _report(folder, stored)


def store(folder: Path, *, arrays: Mapping[str, npt.NDArray[Any]], description: DataReport) -> None:
    """Write each array as NAME.npy, then data.json, to `folder`; keep existing complete data."""
    stored = _read(folder)
    if stored is None and folder.exists() and any(folder.iterdir()) and not (folder / DATA_FILE).exists():
        raise DataError(f"{folder} is not empty and has no prepared data; choose another folder, or empty it")
    if stored is not None:
        if stored["fingerprint"] != description.fingerprint:
            raise RefusedError(
                f"the data in {folder} (fingerprint {stored['fingerprint'][:12]}) is not that of the experiment "
                f"({description.fingerprint[:12]}): the source, the target, the split or the features changed. Use "
                "another output folder, or restore the old data",
                guard="G52",
            )
        if _is_whole(folder, files=stored["files"], names=list(arrays)):
            now = {**description.plain(), "files": stored["files"]}
            if now != stored:
                write_json(folder / DATA_FILE, now)
            return
    partial = folder.with_name(f"{folder.name}.partial")
    # Remove the remains of a process that died while writing.
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    files = {}
    for name, array in arrays.items():
        path = partial / f"{name}.npy"
        with path.open("wb") as file:
            np.save(file, array, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        files[path.name] = {"bytes": path.stat().st_size, "sha256": _checksum(path)}
    write_json(partial / DATA_FILE, {**description.plain(), "files": files})
    if folder.exists():
        # An attempt that still maps the old files keeps access to them until it ends.
        shutil.rmtree(folder)
    os.replace(partial, folder)
    sync_folder(folder.parent)


def _read(folder: Path) -> dict[str, Any] | None:
    """Return the content of data.json; None if it is missing or damaged."""
    stored = read_json(folder / DATA_FILE)
    try:
        _report(folder, stored)
    except DataError:
        return None
    return stored if isinstance(stored["files"], dict) else None


def _report(folder: Path, stored: object) -> DataReport:
    return structured(DataReport, stored, place=str(folder / DATA_FILE), error=DataError)


def _is_whole(folder: Path, *, files: Mapping[str, Any], names: list[str]) -> bool:
    for name in names:
        path, known = folder / f"{name}.npy", files.get(f"{name}.npy")
        if known is None or not path.is_file() or path.stat().st_size != known["bytes"]:
            return False
        if _checksum(path) != known["sha256"]:
            return False
    return True


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
