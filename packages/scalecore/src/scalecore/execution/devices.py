"""One GPU for each slot: which one an attempt of this machine may see."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

__all__ = ["GpuSlots", "visible_gpus"]

VARIABLE = "CUDA_VISIBLE_DEVICES"


def visible_gpus(environment: Mapping[str, str], *, root: Path = Path("/")) -> list[str]:
    """The GPUs that this process may use, as CUDA names them; empty without an NVIDIA driver.

    By the variable of CUDA where it is set, which may hold indices or identifiers, else all that the driver has.
    """
    if VARIABLE in environment:
        named = [name.strip() for name in environment[VARIABLE].split(",") if name.strip()]
        return [] if named and named[0] == "-1" else named
    try:
        count = len(list((root / "proc/driver/nvidia/gpus").iterdir()))
    except OSError:
        return []
    return [str(index) for index in range(count)]


class GpuSlots:
    """Gives each attempt the GPU that the fewest others have; none where there is no choice."""

    def __init__(self, gpus: list[str]) -> None:
        self._used: Counter[str] = Counter(dict.fromkeys(gpus, 0))

    def take(self) -> str | None:
        if len(self._used) < 2:
            return None
        gpu = min(self._used, key=lambda name: self._used[name])
        self._used[gpu] += 1
        return gpu

    def give_back(self, gpu: str | None) -> None:
        if gpu is not None:
            self._used[gpu] -= 1
