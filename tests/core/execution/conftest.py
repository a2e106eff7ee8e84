"""Attempts of a small linear model on real prepared data, without a study."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from attrs import evolve

from scalecore.execution.attempt_result import AttemptResult
from scalecore.execution.folder import AttemptFolder
from scalecore.execution.local.executor import LocalExecutor
from scalecore.execution.local.options import LocalOptions
from scalecore.planning.build_spec import attempt_spec
from scalecore.testing.fakes import plan_walk
from scalecore_torch.spec import TorchSpec

WAIT = 60.0
WORKER = "scalecore_torch.worker"
ENDLESS = 1_000_000
"""Epochs: an attempt that goes on until something ends it."""


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait until the condition is true; fail after a minute."""
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline, f"timed out after {WAIT:.0f} s waiting for {what}"
        time.sleep(0.01)


def gone(pid: int) -> bool:
    """Whether a process has ended; a zombie counts as ended."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def pid_of(folder: AttemptFolder) -> int:
    """The process id of an attempt, once it is written."""
    wait_for(lambda: folder.read_process() is not None, f"{folder.process}")
    process = folder.read_process()
    assert process is not None
    return process.pid


def result_of(folder: AttemptFolder, attempt: str = "0-0") -> AttemptResult:
    """The result of an attempt that has one."""
    result = folder.read_result(attempt)
    assert result is not None
    return result


def fork_server() -> psutil.Process:
    """The one live fork server of this process."""
    servers = [
        child
        for child in psutil.Process().children()
        if child.status() != psutil.STATUS_ZOMBIE and "scalecore.execution.local.forkserver" in child.cmdline()
    ]
    assert len(servers) == 1
    return servers[0]


@pytest.fixture(scope="session")
def spec(tmp_path_factory: pytest.TempPathFactory) -> TorchSpec:
    """A spec as the driver writes it, for a linear model on prepared data."""
    root = tmp_path_factory.mktemp("study")
    training = {"effective_batch": 64, "early_stopping": None, "threads": 1, "checkpoint_every": 3600.0}
    plan = plan_walk(root, search={"use": "random", "trials": 1}, training=training)
    plan.write_data(root / "data")
    (architecture,) = plan.grid.architectures
    spec = attempt_spec(
        plan,
        mode="train",
        attempt="0-0",
        number=0,
        architecture=architecture.values,
        num_parameters=architecture.num_parameters,
        flops=architecture.flops,
        hyperparameters={**plan.fixed, "epochs": 2},
        seed=5,
        micro_batch=64,
        data=root / "data",
        threads=1,
        registry={"no_plugins": True, "block": []},
    )
    assert isinstance(spec, TorchSpec)
    return spec


@pytest.fixture
def attempt(tmp_path: Path, spec: TorchSpec) -> Callable[..., AttemptFolder]:
    """Write the folder of an attempt: `attempt("a")`, `attempt("b", epochs=3)`, `attempt("c", mode="smoke")`."""

    def write(name: str, *, epochs: int = 2, **changes: Any) -> AttemptFolder:
        folder = AttemptFolder(tmp_path / name)
        folder.create(evolve(spec, hyperparameters={**spec.hyperparameters, "epochs": epochs}, **changes))
        return folder

    return write


@pytest.fixture(params=["fork", "spawn"])
def start(request: pytest.FixtureRequest) -> str:
    """Both ways to start an attempt's process."""
    if request.param == "fork" and sys.platform != "linux":
        pytest.skip("the fork server is used on Linux only")
    return str(request.param)


@pytest.fixture
def executor(start: str) -> Iterator[LocalExecutor]:
    """A local executor; everything that it started is ended after the test."""
    executor = LocalExecutor(LocalOptions(start=start), worker=WORKER)  # type: ignore[arg-type]
    yield executor
    executor.close()


@pytest.fixture
def forking() -> Iterator[LocalExecutor]:
    """A local executor with a fork server."""
    if sys.platform != "linux":
        pytest.skip("the fork server is used on Linux only")
    executor = LocalExecutor(LocalOptions(start="fork"), worker=WORKER)
    yield executor
    executor.close()
