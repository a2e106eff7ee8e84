"""The device of a study: found by its smoke step, and the same for all its trials, which are compared."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from attrs import frozen

from scalecore.api.errors import DeviceError
from scalecore.api.readings import Device
from scalecore.api.trials import TrialRecord


@frozen(kw_only=True)
class StudyDevice:
    """Where trials train. Another model of GPU may continue a study, as another processor may; records name it."""

    kind: Device
    gpu: str | None = None
    """The name of the GPU, where it is one of CUDA."""

    @property
    def text(self) -> str:
        """For people."""
        return self.kind if self.gpu is None else f"{self.kind} ({self.gpu})"

    def plain(self) -> dict[str, Any]:
        """For the journal."""
        return {"kind": self.kind, "gpu": self.gpu}


def device_of_result(result: Mapping[str, Any]) -> StudyDevice | None:
    """The device that an attempt or a step says it had; None where it says nothing known."""
    return device_named(result.get("device"), result.get("gpu"))


def device_of_record(record: TrialRecord) -> StudyDevice | None:
    """The device of a trial's last attempt; None where it had none, or an older version did not say."""
    return device_named(record.versions.get("run:device"), record.versions.get("run:gpu"))


def common_device(records: Iterable[TrialRecord]) -> StudyDevice | None:
    """That of most records, of equally many the one that came first."""
    found = Counter(device for device in map(device_of_record, records) if device is not None)
    return max(found, key=lambda device: found[device], default=None)


def kind_of(device: StudyDevice | None) -> Device | None:
    """The kind of `device`; None where there is none."""
    return None if device is None else device.kind


def missing_device(reason: str, device: StudyDevice | None) -> DeviceError:
    """What ends a run whose attempt did not get the device of the study, or of the file where the study has none."""
    if device is None:
        return DeviceError(f"{reason}; make the device available, or set training.device to another one")
    return DeviceError(
        f"{reason}; this study trains on {device.text}, and results of another device would be ranked together with "
        "its own. Nothing counts as failed: make the device available, and `scalecore run` continues",
        guard="G48",
    )


@cache
def torch_build() -> str | None:
    """What the torch that attempts will import is built for, found without importing it: `cpu`, `cu130`, `rocm6.4`.

    Read from its `version.py`, since the name of a release need not say it. None where torch is not installed.
    """
    found = find_spec("torch")
    try:
        text = (Path(found.origin).parent / "version.py").read_text(encoding="utf-8") if found and found.origin else ""
    except OSError:
        text = ""
    if not text:
        return None
    for name, prefix in (("cuda", "cu"), ("hip", "rocm")):
        if version := re.search(rf"^{name}\b[^=]*=\s*['\"]([^'\"]*)", text, re.MULTILINE):
            return prefix + (version[1].replace(".", "") if name == "cuda" else version[1])
    return "cpu"


def built_for_cuda() -> bool:
    """Whether attempts import a torch that is built for CUDA."""
    return (torch_build() or "").startswith("cu")


def device_named(name: object, gpu: str | None) -> StudyDevice | None:
    """The device that torch names so, such as `cuda:0`; None for another one."""
    kind = str(name).partition(":")[0]
    if kind == "cuda":
        return StudyDevice(kind="cuda", gpu=gpu)
    return StudyDevice(kind=kind) if kind in ("cpu", "mps") else None  # type: ignore[arg-type]  # two of the three
