"""The tracer: a separate process that predicts the memory of shapes, whatever a model family does in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import psutil
import pytest
from attrs import evolve

from scalecore.execution.attempt_spec import ModelSpec
from scalecore.execution.folder import AttemptFolder
from scalecore.execution.local.executor import LocalExecutor
from scalecore.execution.local.options import LocalOptions
from scalecore_torch.memory.client import TraceClient
from scalecore_torch.memory.correction import BASE, floor_bytes, prior
from scalecore_torch.memory.tracer import answer
from scalecore_torch.spec import TorchSpec
from scalecore_torch.user_code import UserCode, UserPart

from .conftest import fork_server, gone, wait_for


def question(spec: TorchSpec, *, key: str = "one") -> dict[str, Any]:
    traced = evolve(spec, plan=evolve(spec.plan, effective_batch=8, micro_batch=4), precision="fp32")
    return {
        "key": key,
        "specs": [{**traced.plain(), "evaluate": 16}],
        "depths": [],
        "depth": None,
        "device": "cpu",
    }


def tracer_process() -> psutil.Process:
    """The tracer that was started last, after its `exec`: until then it looks like this process."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for process in psutil.Process().children():
            if process.status() != psutil.STATUS_ZOMBIE and "scalecore_torch.memory.tracer" in process.cmdline():
                return process
        time.sleep(0.01)
    raise AssertionError("no tracer was started")


def answers(client: TraceClient, count: int = 1) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    deadline = time.monotonic() + 60
    while len(found) < count and time.monotonic() < deadline:
        found += client.answers(wait=1.0)
    return found


def test_the_tracer_answers_without_the_data_and_ends_with_its_client(spec: TorchSpec) -> None:
    """It needs no data folder; its answer exceeds weights, gradients and moments; no process is left."""
    client = TraceClient()
    client.ask(question(evolve(spec, data="nowhere")))
    (found,) = answers(client)
    assert (found["key"], found["blocks"]) == ("one", 0)
    assert 16 * spec.num_parameters < found["tensors"] < 1_000_000
    assert found["held"] is None or found["tensors"] <= found["held"] < 2_000_000
    tracer = tracer_process()
    del client
    assert not tracer.is_running()


@pytest.mark.parametrize(
    ("optimizer", "moments"),
    [
        (UserPart(module="torch.optim", name="SGD"), 0),
        (UserPart(module="torch.optim", name="SGD", options={"momentum": 0.9}), 1),
        (UserPart(module="torch.optim", name="AdamW", options={"fused": True}), 2),
    ],
)
def test_a_step_is_traced_with_the_optimizer_of_the_trial(spec: TorchSpec, optimizer: UserPart, moments: int) -> None:
    """Its state per parameter replaces AdamW's two moments."""
    known, found = (answer(question(evolve(spec, own=own))) for own in (None, UserCode(optimizer=optimizer)))
    less = 4 * (2 - moments) * spec.num_parameters
    assert known["tensors"] - found["tensors"] == pytest.approx(less, abs=200)


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_what_a_process_takes_beside_its_tensors_is_measured_on_this_build(
    spec: TorchSpec, attempt: Callable[..., AttemptFolder], start: Literal["fork", "spawn"]
) -> None:
    """The prediction is near the measured peak for any torch build and any way to start attempts."""
    executor = LocalExecutor(LocalOptions(start=start), worker="scalecore_torch.worker")
    client = TraceClient(fork=executor.fork_tracer)
    client.ask(question(spec))
    (found,) = answers(client)
    floor = floor_bytes(spec.num_parameters)
    predicted = prior("cpu", "default", basis="held").apply(found["held"] or found["tensors"], floor=floor)
    folder = attempt("a")
    handle = executor.submit(folder.path)
    wait_for(lambda: executor.poll([handle])[0].state != "running", "the attempt's end")
    executor.close()
    result = folder.read_result("0-0")
    assert result is not None
    assert result.memory is not None
    assert result.memory.peak is not None
    assert (predicted + found["base"] - BASE) / result.memory.peak == pytest.approx(1, abs=0.12)


def test_a_shape_that_cannot_be_traced_is_answered_with_the_reason(spec: TorchSpec) -> None:
    """The next question is answered as usual."""
    client = TraceClient()
    wrong = evolve(spec, num_parameters=1)
    client.ask(question(wrong, key="wrong"))
    client.ask(question(spec, key="right"))
    first, second = answers(client, 2)
    assert first["key"] == "wrong"
    assert first["error"].startswith("RefusedError: the built model 'linear' has ")
    assert first["base"] == second["base"]
    assert second["tensors"] > 0


@pytest.mark.parametrize("how", ["killed", "given up"])
def test_a_tracer_that_dies_or_hangs_costs_an_answer_and_no_more(spec: TorchSpec, how: str) -> None:
    """The question is answered with the reason, and a new tracer takes the next question."""
    client = TraceClient()
    client.start()
    tracer = tracer_process()
    tracer.suspend()  # it would answer before it is killed, on a fast machine
    client.ask(question(spec))
    if how == "killed":
        tracer.kill()
        found = answers(client)
    else:
        found = client.give_up("tracing took too long")
    reason = "the tracer ended without an answer" if how == "killed" else "tracing took too long"
    assert found == [{"key": "one", "error": reason}]
    client.ask(question(spec, key="two"))
    (second,) = answers(client)
    assert second["tensors"] > 0


def forked_tracer() -> psutil.Process:
    """The only child of the fork server."""
    wait_for(lambda: bool(fork_server().children()), "a fork of the server")
    (tracer,) = fork_server().children()
    return tracer


def test_a_tracer_forked_from_the_server_answers_like_any_other(
    spec: TorchSpec, forking: LocalExecutor, attempt: Callable[..., AttemptFolder]
) -> None:
    """It ends with its client and is reaped; the server keeps one thread and serves attempts."""
    client = TraceClient(fork=forking.fork_tracer)
    client.ask(question(spec))
    (found,) = answers(client)
    assert found["tensors"] > 16 * spec.num_parameters
    server, tracer = fork_server(), forked_tracer()
    assert server.num_threads() == 1
    del client
    wait_for(lambda: gone(tracer.pid), "the end of the tracer")
    folder = attempt("a")
    handle = forking.submit(folder.path)
    wait_for(lambda: forking.poll([handle])[0].state != "running", "the attempt's end")
    assert forking.poll([handle])[0].exit_code == 0
    assert fork_server().pid == server.pid


@pytest.mark.parametrize("how", ["nothing to fork", "no handle of processes"])
def test_where_no_tracer_can_be_forked_a_fresh_one_answers(
    spec: TorchSpec, forking: LocalExecutor, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """With an executor that starts interpreters, and on systems where a process that is not a child cannot be killed
    safely.
    """
    executor = forking
    if how == "nothing to fork":
        executor = LocalExecutor(LocalOptions(start="spawn"), worker="scalecore_torch.worker")
    else:
        monkeypatch.delattr(os, "pidfd_open")
    client = TraceClient(fork=executor.fork_tracer)
    client.ask(question(spec))
    (found,) = answers(client)
    assert found["tensors"] > 0
    assert tracer_process().is_running()
    executor.close()


@pytest.mark.parametrize("how", ["hangs", "has ended"])
def test_a_forked_tracer_that_is_of_no_use_is_replaced_by_a_fresh_one(
    spec: TorchSpec, forking: LocalExecutor, how: str
) -> None:
    """A hanging tracer is killed although it is not a child of this process; one that has ended costs no answer."""
    client = TraceClient(fork=forking.fork_tracer)
    client.ask(question(spec))
    assert len(answers(client)) == 1
    tracer = forked_tracer()
    if how == "hangs":
        tracer.suspend()
        client.ask(question(spec, key="two"))
        assert client.give_up("tracing took too long") == [{"key": "two", "error": "tracing took too long"}]
    else:
        tracer.terminate()
    # With all its threads: while one of them ends, the process is a zombie whose pipes are still open.
    wait_for(lambda: not psutil.pid_exists(tracer.pid), "the end of the tracer")
    client.ask(question(spec, key="three"))
    (third,) = answers(client)
    assert (third["key"], third["tensors"] > 0) == ("three", True)
    assert fork_server().children() == []


HANGING = """
import ctypes
from scalecore import hookimpl
from scalecore_torch.linear import LinearFamily
from scalecore.api.components import ModelRecord

class Family(LinearFamily):
    def build(self, architecture, hyperparameters, data):
        open({told!r}, "w").close()
        ctypes.PyDLL(None).pause()

@hookimpl
def scalecore_models():
    return [ModelRecord(name="odd", summary="A model of a test.", factory=lambda options: Family())]
"""

DRIVER = """
import json, sys, time
from scalecore.execution.local.executor import LocalExecutor
from scalecore.execution.local.options import LocalOptions
from scalecore_torch.memory.client import TraceClient

executor = LocalExecutor(LocalOptions(start=sys.argv[1]), worker="scalecore_torch.worker")
client = TraceClient(fork=executor.fork_tracer)
client.ask(json.loads(sys.argv[2]))
time.sleep(600)
"""


@pytest.mark.parametrize("helpers", ["alive", "killed"])
def test_a_tracer_that_hangs_in_native_code_does_not_outlive_its_driver(
    spec: TorchSpec, start: str, tmp_path: Path, fake_plugin: Any, monkeypatch: Any, helpers: str
) -> None:
    """It blocks the interpreter's lock and cannot see the end of its input; the fork server has ended too."""
    place = fake_plugin("scalecore-odd", code=HANGING.format(told=str(tmp_path / "hangs")))
    monkeypatch.setenv("PYTHONPATH", str(place), prepend=os.pathsep)
    odd = evolve(spec, model=ModelSpec(use="odd", options={}), registry={"no_plugins": False, "block": []})
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, start, json.dumps(question(odd))])
    wait_for((tmp_path / "hangs").exists, "the hang")
    others = psutil.Process(driver.pid).children(recursive=True)
    if helpers == "killed":
        for server in psutil.Process(driver.pid).children():
            if "scalecore.execution.local.forkserver" in server.cmdline():
                server.kill()
    driver.kill()
    driver.wait()
    for other in others:
        wait_for(lambda pid=other.pid: gone(pid), f"the end of process {other.pid}")  # type: ignore[misc]
