"""Detecting and sharing a GPU, with torch's CUDA build."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from scalecore.execution.local.devices import find_gpus
from scalecore.execution.local.executor import LocalExecutor
from scalecore.execution.local.options import LocalOptions
from scalecore_torch.attempt import pick_device
from scalecore_torch.memory.device_limits import contain


def picked() -> tuple[str, str]:
    """The device that `auto` selects, and its name in the journal."""
    device = pick_device("auto")
    return device.type, torch.cuda.get_device_name(device)


def shared(limit: int | None) -> tuple[list[str], float]:
    """The memory limits of an attempt with a promise of these bytes, and torch's share of the GPU."""
    contained = contain(None, device=pick_device("cuda"), gpu_limit=limit)
    return contained, torch.cuda.get_per_process_memory_fraction()


def forked_after_a_look() -> int:
    """The exit code of a fork that initialises CUDA after its parent has looked for GPUs as the driver does."""
    find_gpus()
    pid = os.fork()
    if pid == 0:
        torch.cuda.init()
        os._exit(int(torch.cuda._is_in_bad_fork()))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_auto_selects_cuda_and_names_the_gpu(on_cuda: Callable[..., Any]) -> None:
    """The name identifies a machine with another GPU."""
    assert on_cuda(picked) == ("cuda", "Stub of an H200")


@pytest.mark.parametrize(("limit", "text", "share"), [(None, "90%", 0.9), (40 << 30, "42.4 GB", 0.2822)])
def test_g40_torch_limits_a_trial_to_its_promise(
    on_cuda: Callable[..., Any], limit: int | None, text: str, share: float
) -> None:
    """The context of 500 MiB of the 140 GiB is subtracted."""
    contained, granted = on_cuda(shared, limit)
    assert contained == [f"CUDA allocator {text}"]
    assert granted == pytest.approx(share, abs=1e-4)


def test_forks_can_use_cuda_after_gpus_were_detected(on_cuda: Callable[..., Any]) -> None:
    """Another process queries the driver's libraries."""
    assert on_cuda(forked_after_a_look) == 0


def seen_by_the_check() -> tuple[str, int]:
    """torch's error when a number is read from the GPU, and its mode afterwards."""
    from tests.gpu.test_training import without_waiting

    number = torch.ones(()).to("cuda")
    said = ""
    with without_waiting():
        try:
            float(number)
        except RuntimeError as error:
            said = str(error).splitlines()[0]
    return said, torch.cuda.get_sync_debug_mode()


def test_the_check_for_real_gpus_detects_waits(on_cuda: Callable[..., Any]) -> None:
    """`tests/gpu` treats warnings as errors, and torch warns when its check is switched on."""
    assert on_cuda(seen_by_the_check) == ("called a synchronizing CUDA operation", 0)


SINGLE_HEADS = """
import torch
queries, keys = torch.empty(4, 8, 1, device="cuda"), torch.empty(4, 1, 8, device="cuda")
try:
    torch.bmm(queries, keys)
except RuntimeError:
    print("a kernel of torch, which the stub cannot run")
"""


def test_no_attempt_compiles_unrequested_kernels(stubbed: dict[str, str]) -> None:
    """For heads of width 1, torch has a triton kernel that needs a C compiler."""
    executor = LocalExecutor(LocalOptions(), worker="scalecore_torch.worker")
    try:
        environment = {**stubbed, **executor._launcher._environment, "LD_PRELOAD": stubbed["LD_PRELOAD"]}  # type: ignore[attr-defined]
    finally:
        executor.close()
    done = subprocess.run(
        [sys.executable, "-c", SINGLE_HEADS], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "a kernel of torch, which the stub cannot run\n", done.stderr
