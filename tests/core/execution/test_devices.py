"""One GPU per slot: which GPU an attempt may use."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from scalecore.execution.folder import AttemptFolder
from scalecore.execution.local import gpu_probe
from scalecore.execution.local.devices import FoundGpus, GpuSlots, find_gpus, named_devices
from scalecore.execution.local.executor import LocalExecutor
from scalecore.execution.local.options import LocalOptions

from .conftest import pid_of

NO_DRIVER = "neither libcuda.so.1 nor libnvidia-ml.so.1 is installed"
NO_STAND_IN = find_gpus({}).source != NO_DRIVER or shutil.which("gcc") is None


def answer(library: str, *gpus: str, problem: str | None = None) -> dict[str, Any]:
    return {"library": library, "gpus": list(gpus), "problem": problem}


def found(variable: str | None, *answers: dict[str, Any]) -> FoundGpus:
    """The GPUs found with these answers of the driver's libraries."""
    environment = {} if variable is None else {"CUDA_VISIBLE_DEVICES": variable}
    return find_gpus(environment, ask=lambda _: answers)


@pytest.mark.parametrize(
    ("variable", "names"),
    [
        ("2, GPU-5ebe9fd0", ["2"]),
        ("0,-1,1", ["0"]),
        ("1,x,2", ["1"]),
        ("0,0", []),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("GPU-5ebe, GPU-77aa,3", ["GPU-5ebe", "GPU-77aa"]),
        ("MIG-1,MIG-2", ["MIG-1", "MIG-2"]),
    ],
)
def test_the_variable_is_read_as_cuda_reads_it(variable: str, names: list[str]) -> None:
    """Up to the first entry that names no device of the same kind; a duplicate hides all devices."""
    assert named_devices(variable) == names


def test_gpus_are_those_that_the_drivers_libraries_name() -> None:
    """CUDA first, NVML if CUDA does not answer, and none without either library."""
    assert found(None) == FoundGpus(source=NO_DRIVER)
    both = answer("libcuda.so.1", "GPU-a", "GPU-b")
    assert found(None, both) == FoundGpus(names=("GPU-a", "GPU-b"), source="libcuda.so.1")
    failed, nvml = answer("libcuda.so.1", problem="unknown error"), answer("libnvidia-ml.so.1", "GPU-a", "GPU-b")
    assert found(None, failed, nvml) == FoundGpus(
        names=("GPU-a", "GPU-b"), source="libnvidia-ml.so.1", problem="libcuda.so.1: unknown error"
    )
    assert found("1", failed, nvml).names == found("GPU-b", failed, nvml).names == ("GPU-b",)


def test_what_is_no_gpu_is_not_counted_and_the_reason_is_said() -> None:
    """A stub library, a driver without a GPU, a variable that hides all GPUs or names none."""
    stub = answer("libcuda.so.1", problem="CUDA driver is a stub library")
    assert found(None, stub) == FoundGpus(
        source="libcuda.so.1: CUDA driver is a stub library", problem="libcuda.so.1: CUDA driver is a stub library"
    )
    assert found(None, answer("libcuda.so.1")).source == "libcuda.so.1: no GPU"
    some = answer("libcuda.so.1", "GPU-a")
    assert found("", some) == found("-1", some) == FoundGpus(source="CUDA_VISIBLE_DEVICES hides all GPUs")
    assert found("NoDevFiles", some) == FoundGpus(source="CUDA_VISIBLE_DEVICES=NoDevFiles names no GPU of this machine")
    no_match = found("7", stub, answer("libnvidia-ml.so.1", "GPU-a"))
    assert (no_match.names, no_match.source) == ((), "CUDA_VISIBLE_DEVICES=7 names no GPU of this machine")


def test_each_part_of_a_divided_gpu_that_is_named_is_a_place_for_a_trial() -> None:
    """CUDA shows only the first part to a process, so the variable counts."""
    first = answer("libcuda.so.1", "MIG-1")
    assert found("MIG-1,MIG-2", first).names == ("MIG-1", "MIG-2")
    assert found(None, first).names == ("MIG-1",)


def fake_cuda(*names: bytes, start: int = 0) -> Any:
    """The functions of `libcuda.so.1` that the probe calls, for GPUs with these names; `start` is the result of
    `cuInit`.
    """

    def fill(target: Any, value: Any) -> int:
        target._obj.value = value
        return 0

    def error_string(code: int, text: Any) -> int:
        return fill(text, b"CUDA driver is a stub library") if code == 34 else 1

    def name_of(name: Any, length: int, device: Any) -> int:
        name.value = names[device.value]
        return 0

    def uuid_of(identifier: Any, device: Any) -> int:
        identifier[:] = [device.value + 1] * 16
        return 0

    return SimpleNamespace(
        cuInit=lambda flags: start,
        cuGetErrorString=error_string,
        cuDeviceGetCount=lambda count: fill(count, len(names)),
        cuDeviceGet=fill,
        cuDeviceGetName=name_of,
        cuDeviceGetUuid_v2=uuid_of,
    )


def test_cuda_names_gpus_as_its_variable_takes_them() -> None:
    """By identifiers; MIG devices have their own prefix."""
    assert gpu_probe.cuda_devices(fake_cuda(b"NVIDIA H200", b"NVIDIA H200 MIG 1g.18gb")) == [
        "GPU-01010101-0101-0101-0101-010101010101",
        "MIG-02020202-0202-0202-0202-020202020202",
    ]
    assert gpu_probe.cuda_devices(fake_cuda()) == []


@pytest.mark.parametrize(("code", "text"), [(34, "CUDA driver is a stub library"), (12345, "error 12345")])
def test_a_cuda_library_that_does_not_start_says_why(code: int, text: str) -> None:
    """The library of the CUDA toolkit loads and has no device."""
    with pytest.raises(gpu_probe.ProbeError, match=f"^{text}$"):
        gpu_probe.cuda_devices(fake_cuda(b"NVIDIA H200", start=code))


@pytest.mark.skipif(find_gpus(os.environ).names != (), reason="a GPU answers here")
def test_the_probe_is_a_program_that_needs_no_package() -> None:
    """It tries both libraries and reports why each has no GPU."""
    out = subprocess.run([sys.executable, "-I", gpu_probe.__file__], capture_output=True, text=True, check=True).stdout
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["library"] for line in lines] == ["libcuda.so.1", "libnvidia-ml.so.1"]
    assert all(line["gpus"] == [] and line["problem"] for line in lines)


@pytest.mark.skipif(NO_STAND_IN, reason="a driver is installed here, or there is no compiler")
def test_a_library_that_is_not_installed_is_named_so(tmp_path: Path) -> None:
    """One library exists, as a stub without functions, and the other does not."""
    (tmp_path / "empty.c").write_text("")
    subprocess.run(["gcc", "-shared", "-o", tmp_path / gpu_probe.CUDA, tmp_path / "empty.c"], check=True)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path)}
    command = [sys.executable, "-I", gpu_probe.__file__]
    out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    first, second = [json.loads(line) for line in out.splitlines()]
    assert (first["gpus"], "undefined symbol: cuInit" in first["problem"]) == ([], True)
    assert second == {"library": "libnvidia-ml.so.1", "gpus": [], "problem": "not installed"}


def test_every_slot_has_a_gpu_of_its_own() -> None:
    """The least used GPU; more slots than GPUs share them evenly; with one GPU there is no choice."""
    slots = GpuSlots(["0", "1"])
    assert [slots.take() for _ in range(4)] == ["0", "1", "0", "1"]
    slots.give_back("1")
    assert slots.take() == "1"
    assert GpuSlots(["0"]).take() is None


def test_a_slot_has_the_gpu_that_admission_judged() -> None:
    """It counts as used for attempts without one; CUDA need not have named it."""
    slots = GpuSlots(["0", "1"])
    assert [slots.take("0"), slots.take("0"), slots.take(), slots.take()] == ["0", "0", "1", "1"]
    assert GpuSlots([]).take("GPU-a") == "GPU-a"


@pytest.mark.parametrize(
    ("gpus", "judged", "seen"), [(("3", "5"), (None, None), ["3", "5"]), ((), ("GPU-a", "GPU-a"), ["GPU-a", "GPU-a"])]
)
def test_an_attempt_sees_its_gpu_only(
    attempt: Callable[..., AttemptFolder],
    start: str,
    monkeypatch: pytest.MonkeyPatch,
    gpus: tuple[str, ...],
    judged: tuple[str | None, str | None],
    seen: list[str],
) -> None:
    """Attempts get the GPU of their admission, else one each, before CUDA could start."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.setattr("scalecore.execution.local.executor.find_gpus", lambda: FoundGpus(names=gpus, source="a test"))
    executor = LocalExecutor(LocalOptions(start=start), worker="scalecore_torch.worker")  # type: ignore[arg-type]
    try:
        folders = [
            attempt(name, device="cpu", epochs=1_000_000, gpu=gpu) for name, gpu in zip("ab", judged, strict=True)
        ]
        for folder in folders:
            executor.submit(folder.path)
        for folder in folders:
            pid_of(folder)
        assert [json.loads(folder.process.read_text())["visible_gpus"] for folder in folders] == seen
    finally:
        executor.close()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3,5"
