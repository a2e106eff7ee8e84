"""Predicts the device of an attempt without importing torch."""

from __future__ import annotations

from scalecore.api.machine import find_gpus, torch_build
from scalecore.api.readings import Device


def likely_device(setting: str) -> Device:
    """The configured device; for `auto`, CUDA if a GPU responds and torch is built for CUDA, else the CPU."""
    if setting != "auto":
        return setting  # type: ignore[return-value]  # a device
    gpus = find_gpus()
    return "cuda" if gpus.names and gpus.problem is None and torch_build() != "cpu" else "cpu"
