"""Checkpoints of the trainer `function`: the file written by the function, and the state of the study's side.

The state file names the function's file with its size and CRC-32 and is renamed last, so a checkpoint is complete or
ignored. Only the newest is kept.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from scalecore.api.files import plain, replacing

STATE = "checkpoint.npz"


def save(folder: Path, state: dict[str, Any]) -> None:
    """Write the checkpoint of an epoch; `state["save"]` writes the function's own file."""
    own = folder / f"checkpoint_{state['epoch']}.own"
    with replacing(own) as temporary:
        state["save"](temporary)
        if not temporary.is_file():
            raise RuntimeError("the function given to trial.save_with wrote no file at the path it received")
    known = {name: state[name] for name in ("epoch", "seconds", "track")}
    known |= {"file": own.name, "bytes": own.stat().st_size, "crc32": _crc32(own)}
    outputs = {} if state["outputs"] is None else {"outputs": state["outputs"]}
    with replacing(folder / STATE) as temporary, temporary.open("wb") as stream:
        np.savez(stream, known=np.array(json.dumps(plain(known))), **outputs)
    for one in folder.glob("checkpoint_*.own"):
        if one != own:
            one.unlink()


def load_newest(folders: Iterable[Path], *, skipped: list[str]) -> tuple[dict[str, Any], Path] | None:
    """Return the newest complete state written by `save`, and the function's file; `folders` are newest first.

    A message about each damaged checkpoint is appended to `skipped`.
    """
    for folder in folders:
        path = folder / STATE
        if not path.exists():
            continue
        try:
            with np.load(path, allow_pickle=False) as arrays:
                state: dict[str, Any] = json.loads(str(arrays["known"]))
                state["outputs"] = arrays.get("outputs")
            own = folder / state["file"]
            whole = own.stat().st_size == state["bytes"] and _crc32(own) == state["crc32"]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            skipped.append(f"checkpoint skipped: {folder.name}/{path.name}: {error}")
            continue
        if whole:
            return state, own
        skipped.append(f"checkpoint skipped: {folder.name}/{own.name}: its content has changed since it was written")
    return None


def _crc32(path: Path) -> int:
    value = 0
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            value = zlib.crc32(block, value)
    return value
