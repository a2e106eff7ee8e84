"""The trainer on a GPU: what it computes, what it waits for, and how much memory it takes."""

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
    """Products, a norm and dropout: nothing whose sums a GPU adds up in changing order."""

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
    """Keeps a mebibyte for each window."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.linspace(-1, 1, MIB // 4))

    def forward(self, x_BTF: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x_BTF[:, -1, :1] * self.weight).mean(1, keepdim=True)


class Loop:
    """Stops the loop at a step, and keeps its checkpoint in `folder`."""

    def __init__(self, folder: Path, *, stop_at: int | None = None) -> None:
        self.folder, self.stop_at, self.steps = folder, stop_at, 0

    def step(self, *, epoch: int, step: int, phase: str) -> Literal["go_on", "stop", "prune"]:
        self.steps += phase == "train"
        return "stop" if self.steps - 1 == self.stop_at else "go_on"

    def epoch(self, line: Any) -> None:
        """Nobody reads it."""

    def checkpoint(self, state: dict[str, Any]) -> None:
        checkpoint.save(self.folder, state)


def interrupted(build: Callable[[], TrainingLoop], folder: Path) -> TrainingLoop:
    """A trainer at its end, which was stopped in its second epoch and continued by another one."""
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
def test_a_training_goes_on_to_the_last_bit(
    trainer_of: Build, tmp_path: Path, precision: Literal["fp32", "bf16"]
) -> None:
    """Stopped in its second epoch and continued from its checkpoint, with dropout; nothing but dense layers."""

    def build() -> TrainingLoop:
        return trainer_of(Plain(), policy=Policy(precision=precision, why={}))

    whole, continued = uninterrupted(build, tmp_path), interrupted(build, tmp_path)
    assert fingerprint(continued.module) == fingerprint(whole.module)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_transformer_goes_on_as_exactly_as_it_repeats_itself(
    trainer_of: Build, tmp_path: Path, precision: Literal["fp32", "bf16"]
) -> None:
    """To the last bit where two trainings of it are equal; else within what these two differ by, times ten.

    The backward passes of fused attention may add up in changing order on a GPU.
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
    """With dropout, a short last batch and evaluations between: the curve of `plain`, and that of a continued one.

    Beside rates of `plain`, which are rounded to float32, kernels may add up in another order.
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
def test_a_replayed_step_waits_for_nothing_and_takes_no_memory(trainer_of: Build) -> None:
    """Under torch's own check for synchronising calls."""
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
    """Let this process allocate `more` bytes than it has now."""
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


def test_a_step_that_does_not_fit_is_made_with_half_the_micro_batch(trainer_of: Build, device: torch.device) -> None:
    """As often as it takes; the gradients are those of small micro-batches without a limit."""
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


@pytest.mark.filterwarnings("ignore")  # torch warns about what its own compiler does
def test_compiled_blocks_compute_what_is_written(trainer_of: Build, device: torch.device, tmp_path: Path) -> None:
    """In bfloat16 the loss of an epoch's steps is near that of the eager ones; dropout would draw other numbers."""
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


def test_an_evaluation_in_float32_is_that_of_the_cpu(trainer_of: Build) -> None:
    """Losses and logits within 1e-4."""
    here, there = trainer_of(on=torch.device("cpu")), trainer_of()
    loss_here, _, _ = here.evaluate(here.validation)
    loss_there, _, _ = there.evaluate(there.validation)
    assert loss_there == pytest.approx(loss_here, abs=1e-4)
    assert (logits(there) - logits(here)).abs().max() < 1e-4


def test_an_evaluation_in_tf32_is_near_that_of_the_cpu(trainer_of: Build) -> None:
    """Inputs of products have 10 bits of mantissa, an error of 5e-4 each: the logits are within 1 % of their size."""
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
    """Bytes that are used: of the GPU as NVML says, which counts all processes; of the process itself on a CPU."""
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


def test_the_measured_peak_is_what_the_driver_sees(device: torch.device) -> None:
    """A process that holds a gigabyte reports it with its context as NVML has it, within a quarter."""
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
    """The training windows' loss falls within two epochs."""
    trainer = trainer_of(patchtst(dropout=0.0), policy=Policy(precision="bf16", why={}))
    before, _, _ = trainer.evaluate(trainer.train)
    for _ in range(trainer.steps_per_epoch):
        trainer.optimizer_step()
    assert trainer.evaluate(trainer.train)[0] < before


@contextmanager
def without_waiting() -> Iterator[None]:
    """Within, a call that makes the host wait for the GPU is an error, as far as torch notices."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it does not notice all of them
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.only_gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_no_step_waits_for_the_gpu(trainer_of: Build, precision: Literal["fp32", "bf16"]) -> None:
    """Under torch's own check for synchronising calls, after the order of the epoch was drawn."""
    trainer = trainer_of(patchtst(), policy=Policy(precision=precision, why={}))
    trainer.optimizer_step()
    with without_waiting():
        for _ in range(min(10, trainer.steps_per_epoch - 1)):
            trainer.optimizer_step()


@pytest.mark.parametrize(("dropout", "expected"), [(0.3, "stochastic"), (0.0, "exact")])
def test_dropout_on_the_gpu_is_reported_as_stochastic(trainer_of: Build, dropout: float, expected: str) -> None:
    """Its random numbers come from the generator of the GPU."""
    trainer = trainer_of(patchtst(dropout=dropout))
    trainer.optimizer_step()
    assert trainer.batching()["invariance"] == expected


def test_batches_on_the_gpu_equal_those_on_the_cpu(prepared: Path, device: torch.device) -> None:
    """The gather on the device gives the same windows, from one copy of the rows for all parts."""
    here, there = open_windows(prepared), open_windows(prepared, device=device)
    assert there["train"]._rows is there["val"]._rows
    indices = torch.randperm(len(here["train"]))[:32]
    x, y = there["train"].batch(indices.to(device))
    assert torch.equal(x.cpu(), here["train"].batch(indices)[0])
    assert torch.equal(y.cpu(), here["train"].batch(indices)[1])
