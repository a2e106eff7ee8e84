"""Attempts of the real fork server, with torch's CUDA build, on a simulated GPU.

Children of a process that has initialised CUDA cannot use a GPU ("Cannot re-initialize CUDA in forked subprocess"),
which torch without CUDA does not show. The attempts here end at the first kernel, which the stub cannot run; by then
they have selected the device, limited its memory and copied model and data to it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import evolve

from scalecore.execution.folder import AttemptFolder
from scalecore_torch.spec import TorchSpec
from scalecore_torch.testing.training import make_attempt_spec

SERVER = """
import os, sys
from scalecore.execution.local import forkserver
from scalecore_torch import preloading
preloading.PRELOADED += tuple(sys.argv[3:])
forkserver.serve("scalecore_torch.worker", [int(number) for number in sys.argv[1:3]])
os._exit(0)
"""

TRAPS = {
    "asks_for_cuda": "import torch; torch.cuda.is_available()",
    "makes_fake_tensors": """
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
with FakeTensorMode():
    torch.zeros(1)
""",
    "asks_for_triton": "from torch.utils._triton import has_triton; has_triton()",
}
"""Modules that initialise CUDA in the fork server; in torch 2.11 also `torch._inductor.compile_fx`."""
HARMLESS = {
    "makes_an_optimizer": "import torch; torch.optim.AdamW([torch.zeros(1, requires_grad=True)], fused=True)",
    "imports_dynamo": "import torch._dynamo",
}


@pytest.fixture(scope="session")
def spec(tmp_path_factory: pytest.TempPathFactory) -> TorchSpec:
    """A spec as the driver writes it, of a small PatchTST on prepared data."""
    from scalecore.config.resolve import load_resolved
    from scalecore.planning.build_plan import build_plan
    from scalecore.planning.build_spec import attempt_spec
    from scalecore.plugins.registry import load_registry
    from scalecore.testing.fakes import EXPERIMENT, write_walk

    root = tmp_path_factory.mktemp("study")
    write_walk(root)
    model = {"use": "patchtst", "patch_len": 2, "stride": 1, "d_model": [8], "n_layers": [2], "n_heads": [2]}
    training = {"effective_batch": 64, "early_stopping": None, "threads": 1, "device": "auto"}
    search = {"use": "random", "trials": 1}
    experiment = {**EXPERIMENT, "model": model, "search": search, "training": training}
    (root / "experiment.yaml").write_text(yaml.safe_dump(experiment))
    loaded, resolved = load_resolved(root / "experiment.yaml", registry=load_registry())
    plan, _ = build_plan(loaded, resolved, folder=root)
    plan.write_data(root / "data")
    architecture = plan.grid.architectures[0]
    spec = attempt_spec(
        plan,
        mode="train",
        attempt="0-0",
        number=0,
        architecture=architecture.values,
        num_parameters=architecture.num_parameters,
        flops=architecture.flops,
        hyperparameters=plan.fixed,
        seed=5,
        micro_batch=64,
        data=root / "data",
        threads=1,
        registry={"no_plugins": False, "block": []},
    )
    assert isinstance(spec, TorchSpec)
    return spec


class Server:
    """A fork server and its tracer, used as by the driver."""

    def __init__(self, environment: dict[str, str], *, modules: list[str]) -> None:
        theirs, self.questions = os.pipe()
        answers, told = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(theirs), str(told), *modules],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(theirs, told),
        )
        os.close(theirs)
        os.close(told)
        self.answers = os.fdopen(answers)

    def trace(self, question: dict[str, Any]) -> dict[str, Any]:
        """Return the tracer's answer."""
        os.write(self.questions, json.dumps(question).encode() + b"\n")
        for line in self.answers:
            if "key" in (said := json.loads(line)):
                return said
        raise AssertionError("the tracer ended without an answer")

    def run(self, folder: AttemptFolder) -> dict[str, Any]:
        """Run an attempt and return its end."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"folder": str(folder.path)}).encode() + b"\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if "exit_code" in json.loads(line):
                break
        return {
            "result": json.loads(folder.result.read_text()),
            "contained": json.loads(folder.process.read_text())["contained"],
            "log": folder.log.read_text(),
        }

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.answers.close()
        os.close(self.questions)
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def attempt(
    stubbed: dict[str, str], spec: TorchSpec, tmp_path: Path
) -> Callable[..., tuple[dict[str, Any], dict[str, Any]]]:
    """Run an attempt in a child of the real server, which also imports `modules`; return its end and the trace."""

    def run(modules: dict[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
        for name, code in modules.items():
            (tmp_path / f"{name}.py").write_text(code)
        environment = {**stubbed, "PYTHONPATH": f"{tmp_path}{os.pathsep}{stubbed['PYTHONPATH']}"}
        server = Server(environment, modules=list(modules))
        try:
            # Before the attempt, the tracer creates fake tensors on CUDA in its process.
            specs = [{**spec.plain(), "precision": "fp32", "evaluate": 64}]
            question = {"key": "a", "specs": specs, "depths": [], "depth": None, "device": "cuda"}
            said = server.trace(question)
            folder = AttemptFolder(tmp_path / "attempt")
            folder.create(spec)
            return server.run(folder), said
        finally:
            server.close()

    return run


def test_an_attempt_of_the_fork_server_can_use_a_gpu(attempt: Callable[..., Any]) -> None:
    """`auto` selects CUDA, its memory is limited, and the first failure is a kernel."""
    ended, traced = attempt(HARMLESS)
    assert traced.get("error") is None
    assert "CUDA allocator 90%" in ended["contained"]
    assert ended["result"]["state"] == "crashed"
    assert "no kernel image is available for execution on the device" in ended["result"]["reason"]


@pytest.mark.parametrize("trap", TRAPS)
def test_modules_that_initialise_cuda_are_detected(attempt: Callable[..., Any], trap: str) -> None:
    """Each of these modules makes every attempt on a GPU fail at its start, so the test above can fail."""
    ended, _ = attempt({trap: TRAPS[trap]})
    assert "CUDA allocator 90%" not in ended["contained"]
    assert "Cannot re-initialize CUDA in forked subprocess" in ended["log"]


def choices() -> dict[str, Any]:
    """The settings that an attempt selects on a GPU, and torch's state."""
    import torch

    from scalecore_torch.attempt import pick_device
    from scalecore_torch.compute_policy import settle
    from scalecore_torch.memory.device_limits import contain

    from .counting import fake_cuda
    from .training import trainer

    device = pick_device("auto")
    contained = contain(1 << 30, device=device)
    with fake_cuda():
        made = trainer(layers=1)
    policy = settle(make_attempt_spec(precision="auto"), made)
    return {
        "device": str(device),
        "named": str(pick_device("cuda")),
        "contained": contained,
        "share": torch.cuda.get_per_process_memory_fraction(),
        "capability": torch.cuda.get_device_capability(device),
        "precision": policy.precision,
        "evaluation": policy.evaluation,
    }


def test_auto_on_a_gpu(on_cuda: Callable[..., Any]) -> None:
    """CUDA, and bfloat16 if the GPU has matrix units for it; torch accepts the memory limit."""
    assert on_cuda(choices) == {
        "device": "cuda",
        "named": "cuda",
        "contained": ["CUDA allocator 90%"],
        "share": 0.9,
        "capability": (9, 0),
        "precision": "bf16",
        "evaluation": "tf32",
    }


def captured(folder: Path, spec: TorchSpec) -> tuple[str, list[str]]:
    """How an attempt launched its steps, and its warnings."""
    import torch

    from scalecore.execution.attempt_control import AttemptMonitor
    from scalecore_torch.attempt import run_attempt
    from scalecore_torch.training import checkpoint

    torch.backends.cuda.enable_cudnn_sdp(False)  # the stub has no cuDNN
    attempt = AttemptFolder(folder)
    attempt.create(spec)
    result = run_attempt(spec, AttemptMonitor(attempt, save=checkpoint.save))
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    return result["policy"]["launches"], result["warnings"]


@pytest.mark.parametrize("recomputed", [False, True])
def test_an_attempt_reports_why_its_steps_are_not_captured(
    on_idle_cuda: Callable[..., Any], spec: TorchSpec, tmp_path: Path, recomputed: bool
) -> None:
    """A warning, which becomes a flag of the record; steps with recomputed activations cannot be captured."""
    asked = evolve(spec, launches="graph", activation_checkpointing=recomputed)
    reason = "it sets the state of the GPU's generator, as recomputed activations do"
    flag = f"training.launches: graph: steps are not captured: {reason}"
    assert on_idle_cuda(captured, tmp_path / "attempt", asked) == ("graph", [flag] if recomputed else [])
