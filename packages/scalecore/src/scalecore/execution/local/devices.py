"""Finds the GPUs of this machine without torch, and assigns them to attempts."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from attrs import frozen

from scalecore.execution.local import gpu_probe

VARIABLE = "CUDA_VISIBLE_DEVICES"
PATIENCE = 30.0
"""Seconds to wait for the driver's libraries: on a large machine without a loaded driver they start slowly."""


@frozen(kw_only=True)
class FoundGpus:
    """The GPUs that attempts may use, and where they were found."""

    names: tuple[str, ...] = ()
    """Each in the form of `CUDA_VISIBLE_DEVICES`."""
    source: str
    """Where this was found, for people."""
    problem: str | None = None
    """Why CUDA may be unable to use them, or why none were found although a library of the driver is installed."""


def find_gpus(
    environment: Mapping[str, str] = os.environ,
    *,
    ask: Callable[[str | None], Sequence[Mapping[str, Any]]] | None = None,
) -> FoundGpus:
    """Return the GPUs that CUDA sees here, else those that NVML sees; none if neither library is installed.

    `/proc/driver/nvidia` and `nvidia-smi` are not reliable: WSL2 and slim containers lack them, and a container without
    a GPU may have the first. `ask` returns the answers of the libraries (`scalecore.execution.local.gpu_probe`).
    """
    variable = environment.get(VARIABLE)
    if variable is not None and not named_devices(variable):
        return FoundGpus(
            source=f"{VARIABLE} hides all GPUs" if variable.strip() in ("", "-1") else _no_device(variable)
        )
    answers = (ask or _answers)(variable)
    if not answers:
        return FoundGpus(source=f"neither {gpu_probe.CUDA} nor {gpu_probe.NVML} is installed")
    problem = "; ".join(f"{one['library']}: {one['problem'] or 'no GPU'}" for one in answers if not one["gpus"]) or None
    for answer in answers:
        gpus = list(answer["gpus"])
        if gpus and answer["library"] == gpu_probe.NVML:
            gpus = [gpu for index, gpu in enumerate(gpus) if is_visible(variable, index=index, identifier=gpu)]
        elif gpus and (variable or "").startswith("MIG-"):
            gpus = named_devices(variable or "")  # a process sees only the first MIG device; each attempt gets its own
        if gpus:
            return FoundGpus(names=tuple(gpus), source=answer["library"], problem=problem)
        if answer["gpus"] and variable is not None:
            return FoundGpus(source=_no_device(variable), problem=problem)
    return FoundGpus(source=problem or "the NVIDIA driver has no GPU", problem=problem)


def named_devices(variable: str) -> list[str]:
    """Return the indices or identifiers in the variable, up to the first invalid one, as CUDA does."""
    names = [name.strip() for name in variable.split(",")]
    kind = next((prefix for prefix in ("GPU-", "MIG-") if names[0].startswith(prefix)), None)
    found: list[str] = []
    for name in names:
        if not (name.startswith(kind) if kind else name.isdecimal()):
            break
        if name in found:
            return []  # CUDA treats a list with a duplicate as empty
        found.append(name)
    return found


def is_visible(variable: str | None, *, index: int, identifier: str | None) -> bool:
    """Whether `CUDA_VISIBLE_DEVICES` allows the GPU with this index (of `nvidia-smi`) and identifier.

    The variable may contain shortened identifiers. Attempts start with `CUDA_DEVICE_ORDER=PCI_BUS_ID`, so that indices
    are those of `nvidia-smi`.
    """
    if variable is None:
        return True
    return any(
        int(name) == index if name.isdecimal() else (identifier or "").startswith(name)
        for name in named_devices(variable)
    )


def _no_device(variable: str) -> str:
    return f"{VARIABLE}={variable} names no GPU of this machine"


@cache
def _answers(variable: str | None) -> Sequence[Mapping[str, Any]]:
    """Ask the libraries once, in another process; `variable` is in its environment and is the cache key."""
    if sys.platform != "linux" or not any(_loads(name) for name in (gpu_probe.CUDA, gpu_probe.NVML)):
        return ()
    command = [sys.executable, "-I", str(Path(gpu_probe.__file__))]
    environment = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", **os.environ}
    environment.pop(VARIABLE, None)
    if variable is not None:
        environment[VARIABLE] = variable
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            output, _ = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
    found: list[Mapping[str, Any]] = []
    for line in output.splitlines():
        with suppress(ValueError):  # incomplete after a timeout
            found.append(json.loads(line))
    return found or ({"library": gpu_probe.CUDA, "gpus": [], "problem": "no answer"},)


def _loads(library: str) -> bool:
    """Whether the library is installed; loading it starts nothing."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


class GpuSlots:
    """Assigns a GPU to each attempt: the one of its admission, else the one with the fewest attempts.

    None if there is at most one GPU and the admission named none.
    """

    def __init__(self, gpus: Sequence[str]) -> None:
        self._used: Counter[str] = Counter(dict.fromkeys(gpus, 0))

    def take(self, judged: str | None = None) -> str | None:
        if judged is None and len(self._used) < 2:
            return None
        gpu = judged or min(self._used, key=lambda name: self._used[name])
        self._used[gpu] += 1
        return gpu

    def give_back(self, gpu: str | None) -> None:
        if gpu is not None:
            self._used[gpu] -= 1
