"""How a trial is fitted into memory: the largest micro-batch, then recomputed activations, then a refusal."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from attrs import evolve

import scalecore_torch.memory.forecast as memory_module
from scalecore.api import formatting
from scalecore.api.memory_forecast import ForecastContext
from scalecore.api.monitor import MonitorContext
from scalecore.api.record_parts import AttemptMemory, MemoryUse
from scalecore.config.resolve import load_resolved
from scalecore.monitoring.monitors import Monitors
from scalecore.planning.build_plan import build_plan, training_setup
from scalecore.planning.memory_demands import Demands
from scalecore.planning.plan import Plan
from scalecore.planning.runtime import Runtime
from scalecore.plugins.registry import load_registry
from scalecore.store.asked_trial import Attempt
from scalecore.store.events import AttemptEnded, AttemptStarted
from scalecore.store.journal import Journal
from scalecore.store.layout import StudyFolder
from scalecore.store.lock import StudyLock
from scalecore.store.state import StudyState
from scalecore.study.dispatch import Dispatcher, DoesNotFit, measured_attempt
from scalecore.study.next_trial import next_trial
from scalecore.study.run import begin
from scalecore.study.session import Session
from scalecore_torch.component import TorchTrainer
from scalecore_torch.memory.cuda import WORKSPACES
from scalecore_torch.memory.forecast import TorchForecast
from scalecore_torch.memory.trace_request import trace_question

from .conftest import Study, tiny_experiment

MARGIN, SHARE = 1.15, 0.85  # of monitor `memory`

Deep = tuple[Path, Plan, Runtime]


class Recorder:
    """An executor that starts no process."""

    def submit(self, folder: Path) -> Path:
        return folder


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory, bars: Path) -> Deep:
    """A plan of one shape whose activations need hundreds of megabytes per window: 256 layers, 96 patches."""
    experiment = tiny_experiment(bars)
    experiment["dataset"]["context"] = 96
    experiment["model"] |= {"patch_len": 1, "stride": 1, "d_model": [64], "n_layers": [256], "n_heads": [32]}
    experiment["model"]["d_ff_ratio"] = [4]
    experiment["search"] = {"use": "random", "trials": 1}
    experiment["training"]["effective_batch"] = 8
    experiment["guards"] = {"min_validation_samples": 10, "min_validation_positives": 2}
    root = tmp_path_factory.mktemp("deep")
    (root / "experiment.yaml").write_text(yaml.safe_dump(experiment))
    loaded, resolved = load_resolved(root / "experiment.yaml", registry=load_registry())
    return root, *build_plan(loaded, resolved, folder=root, registry={})


@pytest.fixture
def start(deep: Deep, tmp_path: Path) -> Iterator[Callable[[int], dict[str, Any]]]:
    """Dispatch the trial under a memory limit in bytes and return the spec of its attempt."""
    root, plan, runtime = deep
    opened: list[Any] = []

    def dispatch(limit: int) -> dict[str, Any]:
        content = yaml.safe_load((root / "experiment.yaml").read_text())
        monitor = {"use": "memory", "limit_gb": limit / 1e9, "reserve_gb": 0.0, "min_free_gb": 0.0}
        (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(content | {"monitors": [monitor]}))
        _, resolved = load_resolved(tmp_path / "experiment.yaml", registry=load_registry())
        folder = StudyFolder(tmp_path / "study")
        folder.path.mkdir()
        monitors = Monitors.create(resolved.monitors, MonitorContext(folder=folder.path))
        lock, journal = StudyLock(folder), Journal(folder.journal)
        opened.extend((journal.close, lock.release))
        watched = evolve(runtime, monitors=monitors)
        session = Session(plan, watched, folder=folder, lock=lock, journal=journal, state=StudyState())
        begin(session, 1)
        asked = next_trial(session)
        assert asked is not None
        dispatcher: Any = Dispatcher(session, Recorder(), registry={}, clock=time.monotonic)  # type: ignore[arg-type]
        deadline = time.monotonic() + 60
        while (running := dispatcher.start(asked)) is None:
            assert dispatcher.tracing, "the trial waits although no other trial runs"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        found: dict[str, Any] = json.loads(running.folder.spec.read_text())
        started = session.state.trials[asked.number].attempts[-1].started
        assert started.activation_checkpointing is found["activation_checkpointing"]
        assert started.predicted_memory * MARGIN <= SHARE * limit
        return found

    yield dispatch
    for close in opened:
        close()


def peak(deep: Deep, micro_batch: int, *, checkpointing: bool) -> int:
    """Predicted bytes of one way of training the shape."""
    _, plan, runtime = deep
    found = Demands(plan, runtime.forecast).predict(
        plan.grid.architectures[0], micro_batch, checkpointing=checkpointing
    )
    return found.bytes


def forecast_of(
    plan: Plan, runtime: Runtime, folder: Path, *, traces: bool, fork: Any = None, **options: Any
) -> TorchForecast:
    """A new forecast of the study for a trainer with other options."""
    changed = evolve(plan.resolved.trainer.options, **options)
    resolved = evolve(plan.resolved, training=TorchTrainer(changed))
    model = {"use": "patchtst", "options": {}}
    context = ForecastContext(folder=folder, registry={}, traces=traces, model=model, code=dict, fork=fork)
    made = TorchForecast(context, changed)
    made.prepare(training_setup(evolve(plan, resolved=resolved), runtime))
    return made


def limit_for(need: int) -> int:
    """The smallest limit that admits this need."""
    return round(need * MARGIN / SHARE * 1.001)


@pytest.mark.parametrize("micro_batch", [8, 2, 1])
def test_the_largest_micro_batch_that_fits_is_used(
    deep: Deep, start: Callable[[int], dict[str, Any]], micro_batch: int
) -> None:
    """Under a limit that just admits a power of two, the trial uses it, at the same effective batch."""
    spec = start(limit_for(peak(deep, micro_batch, checkpointing=False)))
    assert (spec["plan"]["micro_batch"], spec["plan"]["effective_batch"]) == (micro_batch, 8)
    assert spec["activation_checkpointing"] is False


def test_activations_are_recomputed_if_a_micro_batch_of_one_does_not_fit(
    deep: Deep, start: Callable[[int], dict[str, Any]]
) -> None:
    """With them, the largest micro-batch that fits is used."""
    limit = limit_for(peak(deep, 1, checkpointing=False)) - 50_000_000
    expected = next(m for m in (8, 4, 2, 1) if limit_for(peak(deep, m, checkpointing=True)) <= limit)
    spec = start(limit)
    assert spec["activation_checkpointing"] is True
    assert spec["plan"]["micro_batch"] == expected


def test_g40_a_trial_that_never_fits_is_refused_with_remedies(
    deep: Deep, start: Callable[[int], dict[str, Any]]
) -> None:
    """No micro-batch removes weights, gradients and moments: the message names their size and the remedies."""
    limit = limit_for(peak(deep, 1, checkpointing=True)) - 50_000_000
    with pytest.raises(DoesNotFit) as caught:
        start(limit)
    text = str(caught.value)
    assert text.startswith("does not fit even with a micro-batch of 1 and recomputed activations: predicted ")
    floor = formatting.size(16 * deep[1].grid.architectures[0].num_parameters)
    assert text.endswith(
        f"; weights, gradients and optimizer moments alone need {floor} at any micro-batch; exclude such shapes "
        "(search.exclude), set a smaller budget, or use a machine with more memory"
    )


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is replayed")
def test_measured_peaks_correct_only_predictions_of_their_kind(deep: Deep) -> None:
    """A record predicted in the same way corrects the next prediction.

    A record of an older version, without the allocator's memory, is read but corrects nothing.
    """
    _, plan, runtime = deep
    architecture = plan.grid.architectures[0]
    forecast: Any = runtime.forecast
    begun = forecast.predict(architecture, 4, device="cpu")
    assert begun.held is not None
    assert begun.group.endswith(", replayed")
    assert begun.tensors < begun.held < begun.bytes
    new = {**begun.plain(), "group": begun.group}
    old = {name: value for name, value in new.items() if name != "held"}
    old["group"] = begun.group.replace("replayed", "traced")
    measured = AttemptMemory(peak=2 * begun.bytes, micro_batch=4)
    ended = AttemptEnded(number=0, index=0, end="completed", memory=measured)
    predicted = []
    for content in (old, new):
        memory = MemoryUse(**content)
        started = AttemptStarted(number=0, index=0, micro_batch=4, predicted_memory=begun.bytes, memory=memory)
        measured_one = measured_attempt(Attempt(started=started, ended=ended))
        assert measured_one is not None
        forecast.learn([measured_one])
        predicted.append(forecast.predict(architecture, 4, device="cpu"))
    assert predicted[0].bytes == begun.bytes
    assert predicted[1].bytes > begun.bytes
    assert predicted[1].correction.observations == 1


@pytest.mark.parametrize("how", ["cannot be started", "ends", "hangs"])
def test_after_a_failed_trace_the_closed_form_is_used(
    deep: Deep, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str
) -> None:
    """The prior is applied to it, the record has the reason in one line, and the shape is not traced again."""
    _, plan, runtime = deep
    kept: list[int] = []

    def fork(questions: int, answers: int) -> bool:
        kept.extend([os.dup(questions), *([os.dup(answers)] if how == "hangs" else [])])
        return how != "cannot be started"

    monkeypatch.setattr(memory_module, "PATIENCE", 1.0)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    memory = forecast_of(plan, runtime, tmp_path, traces=True, fork=fork)
    found = [memory.predict(plan.grid.architectures[0], size, device="cpu", wait=5.0) for size in (4, 8)]
    for descriptor in kept:
        os.close(descriptor)
    reason = {
        "cannot be started": "the tracer cannot be started: [Errno 2] No such file or directory: '/nowhere/python'",
        "ends": "the tracer ended without an answer",
        "hangs": "tracing took longer than 1 s",
    }[how]
    for one, size in zip(found, (4, 8), strict=True):
        assert one is not None
        assert (one.source, one.held, one.plain()["note"]) == ("closed form", None, reason)
        assert one.bytes == memory.rough(plan.grid.architectures[0], size)


def test_memory_of_captured_steps_is_predicted(deep: Deep, tmp_path: Path) -> None:
    """On a GPU they need the tensors, gradients and workspaces of a step once more; their peaks correct no others."""
    _, plan, runtime = deep
    (architecture,) = plan.grid.architectures
    plain = forecast_of(plan, runtime, tmp_path, traces=False)
    captured = forecast_of(plan, runtime, tmp_path, traces=False, launches="graph")
    one, other = (each.predict(architecture, 8, device="cuda") for each in (plain, captured))
    assert one is not None
    assert other is not None
    assert other.bytes - one.bytes == one.tensors - one.floor * 3 // 4 + WORKSPACES
    assert other.group == f"{one.group}, graph"
    settings: dict[str, Any] = {"device": "cuda", "checkpointing": False, "evaluated": 8, "registry": {}}
    options = evolve(plan.resolved.trainer.options, launches="graph")
    question = trace_question(captured.setup, architecture, 8, options=options, **settings)
    assert {one["launches"] for one in question["specs"]} == {"plain"}, "traced with captured steps"
    here = captured.predict(architecture, 8, device="cpu")
    assert here == plain.predict(architecture, 8, device="cpu")


@pytest.mark.skipif(sys.platform != "linux", reason="the fork server is used on Linux only")
def test_a_new_study_imports_torch_once_for_predictions_and_attempts(study: Study) -> None:
    """The tracer is a fork of the fork server; no other interpreter starts before the first attempt."""
    process = study.start()
    seen: set[str] = set()

    def attempted() -> bool:
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.Error):
                seen.add(" ".join(child.cmdline()[1:3]))
        return bool(study.workers())

    study.wait_for(attempted, "the first attempt")
    process.terminate()
    process.communicate()
    assert "-m scalecore.execution.local.forkserver" in seen
    assert not {"-m scalecore_torch.memory.tracer", "-m scalecore_torch.worker"} & seen
    assert all(one["tensors"] > 0 for one in study.json("memory.json").values())
