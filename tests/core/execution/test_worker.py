"""Classification of an exception in an attempt: a typed state with a reason, never a value."""

from __future__ import annotations

import pytest
import torch

from scalecore.api.errors import DeviceError, RefusedError
from scalecore.api.training import Diverged
from scalecore.execution.failures import classify, reason
from scalecore.execution.local.devices import FoundGpus
from scalecore.execution.worker import end_by


def allocation_failure() -> RuntimeError:
    """The error of torch on the CPU for an impossible allocation."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    return caught.value


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (Diverged("training loss is nan in epoch 1, step 3"), "diverged"),
        (MemoryError(), "out_of_memory"),
        (allocation_failure(), "out_of_memory"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory"), "out_of_memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "out_of_memory"),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9.0 GB)"), "out_of_memory"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied (4x3 and 2x5)"), "failed"),
        (ValueError("out of memory"), "failed"),
        (torch.AcceleratorError("CUDA error: out of memory"), "out_of_memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "out_of_memory"),
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), "crashed"),
        (RuntimeError("CUDA error: unspecified launch failure"), "crashed"),
        (torch.AcceleratorError("CUDA error: device-side assert triggered"), "failed"),
        (OSError(12, "Cannot allocate memory"), "out_of_memory"),
        (ValueError("the batch is cursed"), "failed"),
        (KeyError("dropout"), "failed"),
        (RefusedError("the built model has 9 parameters", guard="G04"), "failed"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_g35_an_exception_is_a_typed_state(error: Exception, state: str) -> None:
    """Out of memory, diverged or failed: type and text decide."""
    assert classify(error) == state


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("two\n  lines"), "ValueError: two lines"),
        (KeyError("dropout"), "KeyError: 'dropout'"),
        (MemoryError(), "MemoryError: "),
        (Diverged("training loss is nan in epoch 1, step 3"), "training loss is nan in epoch 1, step 3"),
        (RefusedError("the model is of another size", guard="G04"), "the model is of another size [G04]"),
        (ValueError("x" * 600), "ValueError: " + "x" * 500),
        (ValueError("file \udcff.csv"), "ValueError: file \\udcff.csv"),
        (ValueError("\x1b[31mred"), "ValueError: \\x1b[31mred"),
        (SystemExit(3), "SystemExit: 3"),
    ],
)
def test_g35_the_reason_is_one_line(error: BaseException, text: str) -> None:
    """The type of the error and its message; only the message for scalecore's own errors."""
    assert reason(error) == text


def test_g48_an_error_of_a_gpu_that_is_gone_interrupts_the_attempt() -> None:
    """If libraries still list the GPU, or do not answer, the attempt has crashed; a mistake of a model is a failure."""
    lost = FoundGpus(source="libcuda.so.1: no device", problem="libcuda.so.1: no device")
    there = FoundGpus(names=("GPU-a",), source="libcuda.so.1")
    unknown = FoundGpus(source="neither libcuda.so.1 nor libnvidia-ml.so.1 is installed")
    error = RuntimeError("CUDA error: unspecified launch failure")
    assert end_by(error, device="cuda", gpus=lambda: lost) == {
        "state": "interrupted",
        "reason": "RuntimeError: CUDA error: unspecified launch failure; the GPU is gone (libcuda.so.1: no device)",
        "error": "DeviceError",
    }
    for found in (there, unknown):
        assert end_by(error, device="cuda", gpus=lambda found=found: found)["state"] == "crashed"  # type: ignore[misc]
    assert end_by(ValueError("wrong"), device="cuda", gpus=lambda: lost)["state"] == "failed"
    assert end_by(DeviceError("no GPU"), device="cuda", gpus=lambda: there)["state"] == "interrupted"


@pytest.mark.parametrize("device", ["cpu", "mps", "auto"])
def test_g48_an_error_that_names_cuda_is_no_lost_gpu_of_a_trial_without_one(device: str) -> None:
    """In a container with the driver's library and no GPU, a model's own "CUDA error" ends its trial."""
    lost = FoundGpus(source="libcuda.so.1: no device", problem="libcuda.so.1: no device")
    error = RuntimeError("CUDA error: this text is of the model")
    assert end_by(error, device=device, gpus=lambda: lost) == {
        "state": "crashed",
        "reason": "RuntimeError: CUDA error: this text is of the model",
        "error": "RuntimeError",
    }
