"""Writes checkpoints atomically, and reads them without executing code from the file.

A checkpoint is one file of `torch.save` and a JSON file with its size and CRC-32. It is written to a temporary file,
flushed and renamed. The one before is kept as `previous`, so that a truncated or damaged newest one loses one interval
and not the trial. Loading uses `weights_only=True`: tensors and plain containers, no pickled code.
"""

from __future__ import annotations

import os
import pickle
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from scalecore.api.files import read_json, sync_folder, write_json

NEWEST = "checkpoint.pt"
PREVIOUS = "checkpoint.previous.pt"


def save(folder: Path, state: dict[str, Any]) -> Path:
    """Write `state` as the newest checkpoint in `folder` and keep the one before.

    Raises OSError or RuntimeError if the disk is full; existing checkpoints then stay valid.
    """
    temporary = folder / (NEWEST + ".tmp")
    try:
        with temporary.open("wb") as stream:
            torch.save(state, stream)
            stream.flush()
            os.fsync(stream.fileno())
        seal = {"bytes": temporary.stat().st_size, "crc32": _crc32(temporary)}
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    newest = folder / NEWEST
    # The seal is written before the file is renamed: a file without a matching seal is never loaded.
    if newest.exists():
        write_json(_seal(folder / PREVIOUS), read_json(_seal(newest)))
        os.replace(newest, folder / PREVIOUS)
    write_json(_seal(newest), seal)
    os.replace(temporary, newest)
    sync_folder(folder)
    return newest


def load_newest(
    folders: Iterable[Path], *, skipped: list[str] | None = None
) -> tuple[dict[str, Any], Path, list[str]] | None:
    """Load the newest valid checkpoint in `folders` (newest attempt first).

    Returns its state, its path, and the skipped files with reasons, which are also added to `skipped`; None without a
    valid one.
    """
    skipped = [] if skipped is None else skipped
    for folder in folders:
        for path in (folder / NEWEST, folder / PREVIOUS):
            if not path.exists():
                continue
            problem = _problem(path)
            if problem is None:
                try:
                    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
                except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
                    problem = f"not a checkpoint: {str(error).splitlines()[0]}"
                else:
                    return state, path, skipped
            skipped.append(f"{path.parent.name}/{path.name}: {problem}")
    return None


def _problem(path: Path) -> str | None:
    seal = read_json(_seal(path))
    if not isinstance(seal, dict):
        return "its seal is missing"
    if path.stat().st_size != seal.get("bytes"):
        return f"{path.stat().st_size} bytes instead of {seal.get('bytes')}"
    if _crc32(path) != seal.get("crc32"):
        return "the checksum does not match"
    return None


def _seal(path: Path) -> Path:
    return path.with_suffix(".json")


def _crc32(path: Path) -> int:
    value = 0
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            value = zlib.crc32(block, value)
    return value
