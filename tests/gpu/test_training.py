"""Results, waits and memory of the trainer on a GPU."""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import psutil
import pytest
import torch

from scalecore_torch.attempt import fingerprint
from scalecore_torch.compute_policy import compile_trainer
from scalecore_torch.training import checkpoint
from scalecore_torch.training.policies import Launches, Policy, missing_compiler
from scalecore_torch.training.step_graph import WARM_UP
from scalecore_torch.training.training_loop import TrainingLoop
from scalecore_torch.training.windows import open_windows

from .conftest import CONTEXT, FEATURES, patchtst

Build = Callable[..., TrainingLoop]
MIB = 1024**2


class Plain(torch.nn.Module):
    """Products, a norm and dropout, whose sums a GPU always computes in the same order."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layers = torch.nn.Sequential(
            torch.nn.Flatten(),
            torch.nn.Linear(CONTEXT * FEATURES, 128),
            torch.nn.LayerNorm(128),
            torch.nn.GELU(),
            torch.nn.Dropout(0.1),
            torch.nn.Linear(128, 1),
        )

    def forward(self, x_BTF: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(x_BTF)
        return logits


class Wide(torch.nn.Module):
    """A module that keeps a mebibyte for each window."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.linspace(-1, 1, MIB // 4))

    def forward(self, x_BTF: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x_BTF[:, -1, :1] * self.weight).mean(1, keepdim=True)


class Loop:
    """Stops the loop at a step and writes its checkpoint to `folder`."""

    def __init__(self, folder: Path, *, stop_at: int | None = None) -> None:
        self.folder, self.stop_at, self.steps = folder, stop_at, 0

    def step(self, *, epoch: int, step: int, phase: str) -> Literal["go_on", "stop", "prune"]:
        self.steps += phase == "train"
        return "stop" if self.steps - 1 == self.stop_at else "go_on"

    def epoch(self, line: Any) -> None:
        """Ignore the epoch."""

    def checkpoint(self, state: dict[str, Any]) -> None:
        checkpoint.save(self.folder, state)


def interrupted(build: Callable[[], TrainingLoop], folder: Path) -> TrainingLoop:
    """Stop a trainer in its second epoch, continue with another one and return it at its end."""
    first = build()
    assert first.run(Loop(folder, stop_at=first.steps_per_epoch + 5)) == "stopped"
    found = checkpoint.load_newest([folder])
    assert found is not None
    second = build()
    second.restore(found[0])
    assert second.run(Loop(folder)) == "completed"
    return second


def uninterrupted(build: Callable[[], TrainingLoop], folder: Path) -> TrainingLoop:
    trainer = build()
    assert trainer.run(Loop(folder)) == "completed"
    return trainer


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_resumed_training_is_bit_identical(
    trainer_of: Build, tmp_path: Path, precision: Literal["fp32", "bf16"]
) -> None:
    """Dense layers with dropout, stopped in the second epoch and continued from the checkpoint."""

    def build() -> TrainingLoop:
        return trainer_of(Plain(), policy=Policy(precision=precision, why={}))

    whole, continued = uninterrupted(build, tmp_path), interrupted(build, tmp_path)
    assert fingerprint(continued.module) == fingerprint(whole.module)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_resumed_transformer_is_as_exact_as_a_repeated_one(
    trainer_of: Build, tmp_path: Path, precision: Literal["fp32", "bf16"]
) -> None:
    """Its results are bit-identical if two trainings of it are; else they differ by at most ten times as much.

    The backward passes of fused attention may add up in varying order on a GPU.
    """

    def build() -> TrainingLoop:
        return trainer_of(patchtst(), policy=Policy(precision=precision, why={}))

    first, again = uninterrupted(build, tmp_path), uninterrupted(build, tmp_path)
    continued = interrupted(build, tmp_path)
    if fingerprint(first.module) == fingerprint(again.module):
        assert fingerprint(continued.module) == fingerprint(first.module)
        return
    apart = 10 * max((a - b).abs().max() for a, b in zip(parameters(first), parameters(again), strict=True))
    for one, other in zip(parameters(continued), parameters(first), strict=True):
        assert (one - other).abs().max() <= apart


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("make", [Plain, patchtst])
def test_captured_steps_train_as_launched_ones(
    trainer_of: Build, tmp_path: Path, device: torch.device, make: Callable[[], torch.nn.Module], precision: Any
) -> None:
    """With dropout, a short last batch and evaluations, the learning curve is that of `plain` and of a continued run.

    The learning rates of `plain` are rounded to float32, and kernels may add up in another order.
    """

    def build(launches: Launches = "graph") -> TrainingLoop:
        return trainer_of(make(), policy=Policy(precision=precision, launches=launches, why={}))

    plain = uninterrupted(lambda: build("plain"), tmp_path)
    whole, continued = uninterrupted(build, tmp_path), interrupted(build, tmp_path)
    for one in (whole, continued):
        assert one.graph is not None
        assert (one.graph.problem is None) == (device.type == "cuda"), one.graph.problem
        for line, expected in zip(one.progress.curve, plain.progress.curve, strict=True):
            assert line["train_loss"] == pytest.approx(expected["train_loss"], rel=1e-2)
            assert line["gradient_norm"] == pytest.approx(expected["gradient_norm"], rel=5e-2)
            assert line["val_loss"] == pytest.approx(expected["val_loss"], rel=2e-2)


@pytest.mark.only_gpu
def test_a_replayed_step_neither_waits_nor_allocates(trainer_of: Build) -> None:
    """torch's check for synchronising calls is on."""
    trainer = trainer_of(patchtst(), policy=Policy(launches="graph", why={}))
    for _ in range(WARM_UP + 2):
        trainer.optimizer_step()
    before = torch.cuda.memory_stats()["allocation.all.allocated"]
    with without_waiting():
        for _ in range(3):
            trainer.optimizer_step()
    assert trainer.graph is not None
    assert trainer.graph.problem is None
    assert torch.cuda.memory_stats()["allocation.all.allocated"] == before


def parameters(trainer: TrainingLoop) -> list[torch.Tensor]:
    return [one.detach() for one in trainer.module.parameters()]


@contextmanager
def limited(device: torch.device, *, more: int) -> Iterator[None]:
    """Limit the memory of this process to its current memory plus `more` bytes."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + more) / total, 0)
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, 0)
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (psutil.Process().memory_info().data + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def test_a_step_that_does_not_fit_is_repeated_with_smaller_batches(trainer_of: Build, device: torch.device) -> None:
    """It is halved until the step fits; the gradients are those of small micro-batches without a limit."""
    trainer = trainer_of(Wide(), effective_batch=256, micro_batch=256)
    reference = trainer_of(Wide(), effective_batch=256, micro_batch=32)
    with limited(device, more=400 * MIB):
        trainer.optimizer_step()
    reference.optimizer_step()
    halvings = trainer.batching()["halvings"]
    assert halvings[0]["from"] == 256
    assert trainer.micro_batch == halvings[-1]["to"] <= 128
    assert trainer.batching()["invariance"] == "exact"
    gradients = [one.module.weight.grad for one in (trainer, reference)]
    assert torch.allclose(*gradients, rtol=1e-3, atol=1e-7)


@pytest.mark.filterwarnings("ignore")  # torch warns about its compiler
def test_compiled_blocks_compute_the_same(trainer_of: Build, device: torch.device, tmp_path: Path) -> None:
    """In bfloat16 the losses of an epoch are near the eager ones; without dropout, which draws other numbers."""
    if (missing := missing_compiler(device.type)) is not None:
        pytest.skip(f"cannot compile here: {missing}")
    eager = trainer_of(patchtst(dropout=0.0, n_layers=2), policy=Policy(precision="bf16", why={}))
    compiled = trainer_of(patchtst(dropout=0.0, n_layers=2))
    policy = Policy(precision="bf16", compile="block", why={})
    seconds, problem = compile_trainer(compiled, policy, folder=tmp_path / "compiled", asked=True)
    assert (problem, seconds is not None) == (None, True)
    for trainer in (eager, compiled):
        for _ in range(trainer.steps_per_epoch):
            trainer.optimizer_step()
    assert float(compiled._loss_sum) == pytest.approx(float(eager._loss_sum), rel=1e-2)


def logits(trainer: TrainingLoop) -> torch.Tensor:
    return trainer.evaluate(trainer.validation)[2]


def test_an_evaluation_in_float32_matches_the_cpu(trainer_of: Build) -> None:
    """Losses and logits agree within 1e-4."""
    here, there = trainer_of(on=torch.device("cpu")), trainer_of()
    loss_here, _, _ = here.evaluate(here.validation)
    loss_there, _, _ = there.evaluate(there.validation)
    assert loss_there == pytest.approx(loss_here, abs=1e-4)
    assert (logits(there) - logits(here)).abs().max() < 1e-4


def test_an_evaluation_in_tf32_is_close_to_the_cpu(trainer_of: Build) -> None:
    """Inputs of products have 10 bits of mantissa, an error of 5e-4 each: the logits agree within 1 %."""
    here = trainer_of(on=torch.device("cpu"))
    there = trainer_of(policy=Policy(evaluation="tf32", why={}))
    assert (logits(there) - logits(here)).abs().max() < 0.01 * logits(here).abs().max()
    assert there.evaluate(there.validation)[0] == pytest.approx(here.evaluate(here.validation)[0], abs=1e-3)


HOLDS = """
import sys
import torch
from scalecore_torch.memory.allocation import measured
device = torch.device(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
kept = torch.ones(250_000_000, device=device)
product = torch.ones(512, 512, device=device) @ torch.ones(512, 512, device=device)
print(float(product[0, 0]), flush=True)
print(measured(device, micro_batch=1)["peak"], flush=True)
sys.stdin.readline()
"""


def used(device: torch.device, pid: int) -> int:
    """Used bytes: of the GPU by NVML, for all processes, or of this process on a CPU."""
    if device.type == "cpu":
        return int(psutil.Process(pid).memory_info().rss)

    class Memory(ctypes.Structure):
        _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))

    nvml, handle, memory = ctypes.CDLL("libnvidia-ml.so.1"), ctypes.c_void_p(), Memory()
    uuid = f"GPU-{torch.cuda.get_device_properties(0).uuid}".encode()
    assert nvml.nvmlInit_v2() == 0
    assert nvml.nvmlDeviceGetHandleByUUID(uuid, ctypes.byref(handle)) == 0
    assert nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) == 0
    return int(memory.used)


def test_the_measured_peak_matches_the_driver(device: torch.device) -> None:
    """A process with a gigabyte and its context reports NVML's figure within a quarter."""
    command = [sys.executable, "-c", HOLDS, device.type]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        before = used(device, process.pid) if device.type == "cuda" else 0
        print(file=process.stdin, flush=True)
        assert float(process.stdout.readline()) == 512.0
        reported = int(process.stdout.readline())
        seen = used(device, process.pid) - before
        print(file=process.stdin, flush=True)
    assert seen > 10**9
    assert reported == pytest.approx(seen, rel=0.25)


def test_training_in_bfloat16_learns(trainer_of: Build) -> None:
    """The loss on the training windows decreases within two epochs."""
    trainer = trainer_of(patchtst(dropout=0.0), policy=Policy(precision="bf16", why={}))
    before, _, _ = trainer.evaluate(trainer.train)
    for _ in range(trainer.steps_per_epoch):
        trainer.optimizer_step()
    assert trainer.evaluate(trainer.train)[0] < before


@contextmanager
def without_waiting() -> Iterator[None]:
    """Raise for calls in the block that make the host wait for the GPU, if torch detects them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it does not detect all of them
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.only_gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_no_step_waits_for_the_gpu(trainer_of: Build, precision: Literal["fp32", "bf16"]) -> None:
    """torch's check for synchronising calls is on after the order of the epoch is drawn."""
    trainer = trainer_of(patchtst(), policy=Policy(precision=precision, why={}))
    trainer.optimizer_step()
    with without_waiting():
        for _ in range(min(10, trainer.steps_per_epoch - 1)):
            trainer.optimizer_step()


@pytest.mark.parametrize(("dropout", "expected"), [(0.3, "stochastic"), (0.0, "exact")])
def test_dropout_on_the_gpu_is_reported_as_stochastic(trainer_of: Build, dropout: float, expected: str) -> None:
    """Its random numbers are those of the GPU's generator."""
    trainer = trainer_of(patchtst(dropout=dropout))
    trainer.optimizer_step()
    assert trainer.batching()["invariance"] == expected


def test_batches_on_the_gpu_equal_those_on_the_cpu(prepared: Path, device: torch.device) -> None:
    """The gather on the device returns the same windows, from one copy of the rows for all parts."""
    here, there = open_windows(prepared), open_windows(prepared, device=device)
    assert there["train"]._rows is there["val"]._rows
    indices = torch.randperm(len(here["train"]))[:32]
    x, y = there["train"].batch(indices.to(device))
    assert torch.equal(x.cpu(), here["train"].batch(indices)[0])
    assert torch.equal(y.cpu(), here["train"].batch(indices)[1])
