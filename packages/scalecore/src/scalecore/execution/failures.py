"""Classifies exceptions, signals and exit codes of attempts."""

from __future__ import annotations

import signal
from typing import Literal

from scalecore.api.escaping import masked, message_of, printable
from scalecore.api.training import Diverged

OUT_OF_MEMORY_TEXTS = (
    "DefaultCPUAllocator",
    "out of memory",
    "can't allocate memory",
    "Cannot allocate memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""A failed allocation is a plain RuntimeError on the CPU, and on a GPU if a library allocates."""

DEVICE_TEXTS = ("CUDA error", "CUDNN_STATUS_", "CUBLAS_STATUS_", "NCCL error")
OUR_FAULT_TEXTS = (
    "device-side assert",
    "invalid argument",
    "CUDNN_STATUS_NOT_SUPPORTED",
    "CUDNN_STATUS_BAD_PARAM",
    "CUBLAS_STATUS_INVALID_VALUE",
)
"""Device errors caused by the model, which would fail again. Other device errors may be transient."""

CRASHES = frozenset({"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGTRAP", "SIGSYS"})
"""Signals that a process causes itself; all others come from outside."""


def classify(error: BaseException) -> Literal["diverged", "out_of_memory", "crashed", "failed"]:
    """Classify an exception of an attempt by its type and text.

    `crashed` is an error of the device: its context is unusable afterwards, so the trial resumes from its checkpoint in
    a new process.
    """
    if isinstance(error, Diverged):
        return "diverged"
    if is_out_of_memory(error):
        return "out_of_memory"
    text = message_of(error)
    device = type(error).__name__ == "AcceleratorError" or any(one in text for one in DEVICE_TEXTS)
    if isinstance(error, RuntimeError) and device and not any(one in text for one in OUR_FAULT_TEXTS):
        return "crashed"
    return "failed"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on any device."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError | OSError) and any(text in message_of(error) for text in OUT_OF_MEMORY_TEXTS)


def reason(error: BaseException) -> str:
    """Return one line for the record: the type of the error and its message."""
    from scalecore.api.errors import ScalecoreError

    text = printable(masked(" ".join(message_of(error).split())))[:500]
    return text if isinstance(error, ScalecoreError | Diverged) else f"{type(error).__name__}: {text}"


def crash_signal(exit_code: int) -> tuple[str, bool]:
    """Return the name of the signal of a negative exit code, and whether the process caused it itself."""
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    return name, name in CRASHES
