"""The device of a study: set by its smoke step and used by every attempt; if it is missing, no trial is to blame."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from attrs import evolve

from scalecore.api import formatting
from scalecore.api.analysis import TrainingContext
from scalecore.api.errors import DeviceError, ExitCode, RefusedError
from scalecore.api.record_parts import ComputePolicy
from scalecore.api.trials import StudyEnd, TrialRecord, TrialState
from scalecore.config.resolve import load_resolved
from scalecore.execution.local.devices import FoundGpus
from scalecore.plugins.registry import load_registry
from scalecore.store.event_parts import SmokeResult
from scalecore.store.events import SmokeStep
from scalecore.store.layout import StudyFolder
from scalecore.store.state import StudyState, read_state
from scalecore.store.study_device import StudyDevice, common_device, device_of_result
from scalecore.study.run import run_study
from scalecore.testing.fakes import EXPERIMENT, make_trial, write_walk
from scalecore.views.status import status_lines, study_status
from scalecore_torch.attempt import pick_device

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="these studies lose a GPU that is not there")

REGISTRY = {"no_plugins": True, "block": []}


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., StudyEnd]:
    """Run the study of the temporary folder up to this many trials, with real attempts on the CPU."""
    write_walk(tmp_path)

    def run(trials: int, **training: Any) -> StudyEnd:
        content = {**EXPERIMENT, "output": str(tmp_path / "study")}
        content["search"] = {**content["search"], "trials": trials}
        content["training"] = {**content["training"], "device": "auto", **training}
        (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(content))
        loaded, resolved = load_resolved(tmp_path / "experiment.yaml", registry=load_registry(**REGISTRY))
        return run_study(loaded, resolved, TrainingContext(registry=REGISTRY, verbosity=-1))

    return run


def settle(folder: Path, device: dict[str, Any] | None) -> None:
    """Write to the journal that the first smoke step found this device."""
    lines = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    for line in lines:
        if line["event"] == "smoke":
            line["device"] = device
    (folder / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def state_of(folder: Path) -> StudyState:
    return read_state(StudyFolder(folder).journal)


def test_the_device_that_the_smoke_step_found_is_journalled(tmp_path: Path, run: Callable[..., StudyEnd]) -> None:
    """Every later attempt gets it instead of `auto`."""
    assert run(1) is StudyEnd.COMPLETED
    state = state_of(tmp_path / "study")
    assert state.settled == state.device == StudyDevice(kind="cpu")
    spec = json.loads((tmp_path / "study/attempts/trial_0000/attempt_0/spec.json").read_text())
    assert spec["device"] == "cpu"
    assert "gpu" not in spec


def test_a_study_of_an_older_version_settles_on_the_device_of_its_trials(
    tmp_path: Path, run: Callable[..., StudyEnd]
) -> None:
    """Set permanently by the first run that continues it."""
    run(1)
    settle(tmp_path / "study", None)
    assert state_of(tmp_path / "study").settled is None
    assert run(2) is StudyEnd.COMPLETED
    state = state_of(tmp_path / "study")
    assert state.settled == StudyDevice(kind="cpu")
    assert [record.versions["run:device"] for record in state.records] == ["cpu", "cpu"]


def test_g48_a_study_whose_device_is_gone_is_refused_before_its_next_trial(
    tmp_path: Path, run: Callable[..., StudyEnd], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written; a study without remaining trials needs no device."""
    run(1)
    settle(tmp_path / "study", {"kind": "cuda", "gpu": "NVIDIA H200"})
    before = (tmp_path / "study/journal.jsonl").read_bytes()
    hidden = FoundGpus(source="CUDA_VISIBLE_DEVICES hides all GPUs")
    monkeypatch.setattr("scalecore.planning.preflight.find_gpus", lambda: hidden)
    monkeypatch.setattr("scalecore.planning.preflight.torch_build", lambda: "cu130")
    with pytest.raises(RefusedError) as caught:
        run(2)
    assert str(caught.value) == (
        "the study was not started:\n  device: this study trains on cuda (NVIDIA H200), but CUDA_VISIBLE_DEVICES hides "
        "all GPUs; make the device available: a study must not rank results of different devices together"
    )
    assert (tmp_path / "study/journal.jsonl").read_bytes() == before
    assert run(1) is StudyEnd.COMPLETED


def test_g48_an_attempt_that_does_not_get_the_device_is_interrupted_and_its_trial_continues(
    tmp_path: Path, run: Callable[..., StudyEnd], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine seems to have a GPU, but CUDA does not start: exit code 5, and no trial failed."""
    run(1)
    folder = tmp_path / "study"
    settle(folder, {"kind": "cuda", "gpu": "NVIDIA H200"})
    there = FoundGpus(names=("GPU-a",), source="libcuda.so.1")
    monkeypatch.setattr("scalecore.planning.preflight.find_gpus", lambda: there)
    monkeypatch.setattr("scalecore.planning.preflight.torch_build", lambda: "cu130")
    with pytest.raises(DeviceError) as caught:
        run(2)
    assert caught.value.exit_code == ExitCode.REFUSED == 5
    why = f"torch {torch.__version__} finds no CUDA device here"
    assert str(caught.value) == (
        f"{why}; this study trains on cuda (NVIDIA H200), and results of another device would be ranked together with "
        "its own. No trial counts as failed: make the device available, then `scalecore run` resumes the study [G48]"
    )
    lost = state_of(folder)
    assert [(trial.number, trial.attempts[-1].ended.end) for trial in lost.unfinished] == [(1, "interrupted")]
    assert lost.unfinished[0].attempts[-1].ended.reason == why
    assert [record.state for record in lost.records] == [TrialState.COMPLETED]
    assert lost.end is StudyEnd.FAILED
    settle(folder, {"kind": "cpu", "gpu": None})
    assert run(2) is StudyEnd.COMPLETED
    kinds = [attempt.ended.end for attempt in state_of(folder).trials[1].attempts]
    assert kinds == ["interrupted", "completed"]


def test_g48_a_smoke_step_that_does_not_get_the_device_ends_the_run(
    tmp_path: Path, run: Callable[..., StudyEnd], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new study requires CUDA on a machine that only seems to have it."""
    there = FoundGpus(names=("GPU-a",), source="libcuda.so.1")
    monkeypatch.setattr("scalecore.planning.preflight.find_gpus", lambda: there)
    monkeypatch.setattr("scalecore.planning.preflight.torch_build", lambda: "cu130")
    with pytest.raises(DeviceError) as caught:
        run(1, device="cuda")
    assert str(caught.value) == (
        f"torch {torch.__version__} finds no CUDA device here; make the device available, or set training.device to "
        "another one"
    )
    assert state_of(tmp_path / "study").trials == {}


def test_a_device_that_torch_does_not_find_is_an_error_that_says_what_hides_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The variable is often the reason; `auto` uses the available device."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    with pytest.raises(DeviceError, match=f"^torch {re.escape(torch.__version__)} finds no CUDA device with CUDA_VIS"):
        pick_device("cuda")
    if not torch.backends.mps.is_available():
        with pytest.raises(DeviceError, match=f"^torch {re.escape(torch.__version__)} finds no MPS device here$"):
            pick_device("mps")
        assert pick_device("auto") == torch.device("cpu")


def on(number: int, device: str | None, *, gpu: str | None = None, precision: str = "fp32") -> TrialRecord:
    """A completed trial that names its device."""
    versions = {f"run:{name}": value for name, value in {"device": device, "gpu": gpu}.items() if value}
    return evolve(make_trial(number), value=0.5, versions=versions, policy=ComputePolicy(precision=precision))


def test_an_older_study_has_the_device_of_its_trials() -> None:
    """Of most of them, else of its last smoke step."""
    assert common_device([on(0, None)]) is None
    assert common_device([on(0, "cpu"), on(1, "cuda:0"), on(2, "cuda")]) == StudyDevice(kind="cuda")
    assert common_device([on(0, "cpu"), on(1, "mps:0")]) == StudyDevice(kind="cpu")
    state = StudyState(
        smoke=SmokeStep(
            versions={},
            results={"smallest": SmokeResult(left_out="too large"), "largest": SmokeResult(device="cuda")},
        )
    )
    assert state.device == StudyDevice(kind="cuda")
    assert StudyState().device is None
    assert device_of_result({"device": "cuda", "gpu": "NVIDIA H200"}) == StudyDevice(kind="cuda", gpu="NVIDIA H200")


def test_the_device_is_that_of_the_first_smoke_step() -> None:
    """A repeated smoke step, after a change of the code, does not change it."""
    steps = [SmokeStep(versions={}, results={}, device=StudyDevice(kind=kind)) for kind in ("cuda", "cpu")]
    state = StudyState(id="a study")
    for step in steps:
        state.apply(step)
    assert state.device == StudyDevice(kind="cuda")
    assert state.device_needed(1) == StudyDevice(kind="cuda")
    assert state.device_needed(0) is None


def test_g48_trials_that_were_computed_differently_are_said() -> None:
    """By device, GPU and precision; trials without a value, or without this information, do not count."""
    assert formatting.mixtures([on(0, "cuda:0"), on(1, "cuda"), on(2, None)]) == []
    assert formatting.mixtures([on(0, "cpu"), evolve(on(1, "cuda"), value=None)]) == []
    mixed = [on(0, "cuda", gpu="NVIDIA A100", precision="bf16"), on(1, "cuda", gpu="NVIDIA H200"), on(2, "cpu")]
    assert formatting.mixtures([*mixed, *(on(number, "cpu") for number in range(3, 9))]) == [
        "trials were computed on different devices, which may affect their values: cpu (trials 2, 3, 4, 5, 6 and "
        "2 more), cuda (trials 0, 1) [G48]",
        "trials were computed on different GPUs, which may affect their values: NVIDIA A100 (trial 0), NVIDIA "
        "H200 (trial 1) [G48]",
        "trials were computed in different precisions, which may affect their values: bf16 (trial 0), fp32 "
        "(trials 1, 2, 3, 4, 5 and 3 more) [G48]",
    ]


def test_g48_status_says_that_trials_were_computed_differently(tmp_path: Path, run: Callable[..., StudyEnd]) -> None:
    """As in a study of an older version, which chose the device for each trial."""
    run(2)
    lines = [json.loads(line) for line in (tmp_path / "study/journal.jsonl").read_text().splitlines()]
    next(one for one in lines if one["event"] == "trial_finished")["record"]["versions"]["run:device"] = "cuda"
    (tmp_path / "study/journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    first, second = sorted(line["number"] for line in lines if line["event"] == "trial_finished")
    said = (
        "caution: trials were computed on different devices, which may affect their values: "
        f"cpu (trial {second}), cuda (trial {first}) [G48]"
    )
    assert said in status_lines(study_status(StudyFolder(tmp_path / "study")))
