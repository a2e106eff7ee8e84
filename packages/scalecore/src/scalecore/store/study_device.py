"""The device of a study: set by its smoke step and the same for all its trials, so that they are comparable."""

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
    """The device of the trials. Another GPU model or processor may continue a study; records name the GPU."""

    kind: Device
    gpu: str | None = None
    """The name of the GPU, on CUDA."""

    @property
    def text(self) -> str:
        """For people."""
        return self.kind if self.gpu is None else f"{self.kind} ({self.gpu})"

    def plain(self) -> dict[str, Any]:
        """For the journal."""
        return {"kind": self.kind, "gpu": self.gpu}


def device_of_result(result: Mapping[str, Any]) -> StudyDevice | None:
    """Return the device that an attempt or a step reports; None if unknown."""
    return device_named(result.get("device"), result.get("gpu"))


def device_of_record(record: TrialRecord) -> StudyDevice | None:
    """Return the device of a trial's last attempt; None if it had none or an older version did not record it."""
    return device_named(record.versions.get("run:device"), record.versions.get("run:gpu"))


def common_device(records: Iterable[TrialRecord]) -> StudyDevice | None:
    """Return the device of most records; in a tie, the first one."""
    found = Counter(device for device in map(device_of_record, records) if device is not None)
    return max(found, key=lambda device: found[device], default=None)


def kind_of(device: StudyDevice | None) -> Device | None:
    """Return the kind of `device`, or None."""
    return None if device is None else device.kind


def missing_device(reason: str, device: StudyDevice | None) -> DeviceError:
    """Return the error for an attempt that cannot use the study's device, or the file's if the study has none yet."""
    if device is None:
        return DeviceError(f"{reason}; make the device available, or set training.device to another one")
    return DeviceError(
        f"{reason}; this study trains on {device.text}, and results of another device would be ranked together with "
        "its own. No trial counts as failed: make the device available, then `scalecore run` resumes the study",
        guard="G48",
    )


@cache
def torch_build() -> str | None:
    """Return the build of the torch that attempts import, without importing it: `cpu`, `cu130`, `rocm6.4`.

    Read from its `version.py`, since the release name need not contain it. None if torch is not installed.
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
    """Whether attempts import a torch build for CUDA."""
    return (torch_build() or "").startswith("cu")


def device_named(name: object, gpu: str | None) -> StudyDevice | None:
    """Return the device for a torch device name such as `cuda:0`; None for an unknown one."""
    kind = str(name).partition(":")[0]
    if kind == "cuda":
        return StudyDevice(kind="cuda", gpu=gpu)
    return StudyDevice(kind=kind) if kind in ("cpu", "mps") else None  # type: ignore[arg-type]  # two of the three
