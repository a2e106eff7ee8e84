"""Lists the GPUs of the NVIDIA driver; run as a script in a process that ends at once.

A process that has initialised CUDA cannot fork children that use it, so neither the driver of a study nor the fork
server may do this. The script imports nothing of scalecore, so that it starts in a few hundredths of a second.
"""

from __future__ import annotations

import ctypes
import json
import uuid
from collections.abc import Callable
from typing import Any

CUDA, NVML = "libcuda.so.1", "libnvidia-ml.so.1"
"""The libraries that torch and nvidia-ml-py load."""


class ProbeError(Exception):
    """The library returned an error."""


def cuda_devices(cuda: Any) -> list[str]:
    """Return the GPUs that CUDA may use, as identifiers for `CUDA_VISIBLE_DEVICES`; that variable may hide GPUs.

    Raises `ProbeError`, also for the stub library of the CUDA toolkit, which can be loaded but starts no device.
    """

    def check(code: int) -> None:
        if code != 0:
            text = ctypes.c_char_p()
            known = cuda.cuGetErrorString(code, ctypes.byref(text)) == 0 and text.value
            raise ProbeError(text.value.decode() if known and text.value else f"error {code}")

    check(cuda.cuInit(0))
    count = ctypes.c_int()
    check(cuda.cuDeviceGetCount(ctypes.byref(count)))
    found = []
    for index in range(count.value):
        device, name, identifier = ctypes.c_int(), ctypes.create_string_buffer(256), (ctypes.c_ubyte * 16)()
        check(cuda.cuDeviceGet(ctypes.byref(device), index))
        check(cuda.cuDeviceGetName(name, len(name), device))
        # The second version returns the identifier of a MIG device, the first one that of the whole GPU.
        get_uuid = getattr(cuda, "cuDeviceGetUuid_v2", None) or cuda.cuDeviceGetUuid
        check(get_uuid(identifier, device))
        kind = "MIG" if b" MIG " in name.value else "GPU"
        found.append(f"{kind}-{uuid.UUID(bytes=bytes(identifier))}")
    return found


def nvml_devices(nvml: Any) -> list[str]:
    """Return all GPUs of the machine or container in the order of `nvidia-smi`; raise `ProbeError` on failure."""

    def check(code: int) -> None:
        if code != 0:
            nvml.nvmlErrorString.restype = ctypes.c_char_p
            raise ProbeError((nvml.nvmlErrorString(code) or b"").decode() or f"error {code}")

    check(nvml.nvmlInit_v2())
    count = ctypes.c_uint()
    check(nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)))
    found = []
    for index in range(count.value):
        device, identifier = ctypes.c_void_p(), ctypes.create_string_buffer(96)
        check(nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device)))
        check(nvml.nvmlDeviceGetUUID(device, identifier, len(identifier)))
        found.append(identifier.value.decode())
    return found


def main() -> None:
    """Print a JSON line per library until one finds a GPU: `{"library": ..., "gpus": [...], "problem": ...}`."""
    ways: list[tuple[str, Callable[[Any], list[str]]]] = [(CUDA, cuda_devices), (NVML, nvml_devices)]
    for name, ask in ways:
        gpus: list[str] = []
        problem = None
        try:
            gpus = ask(ctypes.CDLL(name))
        except OSError:
            problem = "not installed"
        except (AttributeError, ProbeError) as error:
            problem = str(error)
        print(json.dumps({"library": name, "gpus": gpus, "problem": problem}), flush=True)
        if gpus:
            return


if __name__ == "__main__":
    main()
