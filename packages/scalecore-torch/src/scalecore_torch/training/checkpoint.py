"""Checkpoints that are whole or absent, and are read without executing anything from the file.

A checkpoint is one file of `torch.save` with a JSON file beside it that holds its size and CRC-32. It is written to a
temporary file, flushed and renamed; the one before is kept as `previous`, so that a torn or damaged newest one costs
one interval and not the trial. Loading uses `weights_only=True`: tensors and plain containers, no pickled code.
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
    """Write `state` as the newest checkpoint of `folder` and keep the one before.

    Raises OSError or RuntimeError when the disk is full; the checkpoints that were there are still valid then.
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
    # The seal of a file is written before the file gets its name: a file without a matching seal is never trusted.
    if newest.exists():
        write_json(_seal(folder / PREVIOUS), read_json(_seal(newest)))
        os.replace(newest, folder / PREVIOUS)
    write_json(_seal(newest), seal)
    os.replace(temporary, newest)
    sync_folder(folder)
    return newest


def load_newest(
    folders: Iterable[Path], *, passed_over: list[str] | None = None
) -> tuple[dict[str, Any], Path, list[str]] | None:
    """The newest valid checkpoint of `folders` (newest attempt first).

    Its state, its path, and what had to be passed over; that is added to `passed_over` too, also where None is valid.
    """
    passed: list[str] = [] if passed_over is None else passed_over
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
                    return state, path, passed
            passed.append(f"{path.parent.name}/{path.name}: {problem}")
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
