"""Open the test data: record the opening in the study's journal, then evaluate in an attempt.

This is the only access to test data. The search has none: its attempts run in the modes `smoke` and `train`, which read
training and validation windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import evolve, frozen

from scalecore.api.attempts import AttemptFolder, AttemptResult
from scalecore.api.data import Baseline, baselines, cross_entropies
from scalecore.api.engine import (
    MeasuredOnTestData,
    OpenedTestData,
    Plan,
    create,
    event_of,
    executor_context,
    missing_device,
    run_alone,
)
from scalecore.api.errors import ChangedFileError, DeviceError, StudyError
from scalecore.api.executor import AttemptStatus, Executor
from scalecore.api.predictions import Predictions, checksum, read_predictions
from scalecore.api.statistics import mean_interval
from scalecore.api.trials import TrialRecord
from scalecore_promotion.open_study import OpenStudy
from scalecore_promotion.retrain import Retrained


class Stopped(Exception):
    """The user requested a stop."""


@frozen(kw_only=True)
class _Bench:
    study: OpenStudy
    retrained: Retrained
    plan: Plan
    executor: Executor


def measure(
    study: OpenStudy, retrained: Retrained, records: Sequence[TrialRecord], *, plan: Plan, by: str
) -> dict[str, MeasuredOnTestData]:
    """Test results of finished trainings, by hash; the predictions are in the folder of the trainings.

    Earlier results are read from the journal. For the others the test data is opened once. The opening is in the
    journal, flushed to the disk, before a process that reads test data starts, so that it counts even after a crash.
    `by` is the command recorded with the opening. Raises `Stopped`, or `StudyError` if an evaluation fails.
    """
    left = [record for record in records if not _is_measured(study, retrained, record)]
    if left:
        for record in left:
            retrained.weights(record)  # raises if weights are missing, before the opening
        _raise_if_stopped(study)
        context = executor_context(plan.resolved, retrained.folder.path)
        executor: Executor = create("executor", plan.resolved.executor, context)
        try:
            study.record(
                OpenedTestData(
                    by=by,
                    models=len(left),
                    hashes=[record.hash for record in left],
                    data=plan.data.fingerprint,
                    test=plan.data.parts["test"].hash,
                )
            )
            bench = _Bench(study=study, retrained=retrained, plan=plan, executor=executor)
            for number, record in enumerate(left):
                if number:
                    _raise_if_stopped(study)
                result = _measured(bench, record)
                study.record(
                    event_of(MeasuredOnTestData, hash=record.hash, opening=len(study.state.openings), **result)
                )
        finally:
            executor.close()
    return {record.hash: study.state.measured[record.hash] for record in records}


def rules_on(plan: Plan, rows: npt.NDArray[np.int64], *, data: Path) -> list[tuple[Baseline, npt.NDArray[Any] | None]]:
    """Baselines on the windows that end at `rows`, fitted on training windows as for validation, each with its losses
    [windows] if they could be computed. `data` is the folder of prepared data.
    """
    panel = plan.panel
    found = baselines(
        panel.values,
        panel.labels,
        train=np.load(data / "train.npy", allow_pickle=False),
        val=rows,
        features=panel.features,
        target=panel.target,
        context=panel.context,
    )
    labels = panel.labels[rows]
    result = []
    for one in found:
        losses: npt.NDArray[Any] | None = None
        if one.outputs is not None and plan.data.task == "forecast":
            losses = (one.outputs[:, 0] - labels) ** 2
        elif one.outputs is not None:
            losses = cross_entropies(one.outputs, labels.astype(np.int64))
        result.append((one, losses))
    return result


def test_baselines(plan: Plan, predictions: Predictions, *, data: Path) -> list[dict[str, Any]]:
    """`rules_on` the test windows of `predictions`; `less` is model loss minus baseline loss, paired by window, with
    its 95 % confidence interval."""
    result = []
    for one, theirs in rules_on(plan, predictions.rows, data=data):
        row = one.report().plain() | {"less": None, "less_interval": None}
        if theirs is not None:
            less = predictions.losses() - theirs
            interval = mean_interval(less, overlap=plan.data.target.overlap)
            row |= {"less": float(less.mean()), "less_interval": None if interval is None else interval.plain()}
        result.append(row)
    return result


def _raise_if_stopped(study: OpenStudy) -> None:
    study.requests.look()
    if study.requests.asked:
        raise Stopped


def _is_measured(study: OpenStudy, retrained: Retrained, record: TrialRecord) -> bool:
    known = study.state.measured.get(record.hash)
    if known is None:
        return False
    path = retrained.folder.path / known.predictions.file
    return path.is_file() and checksum(path) == known.predictions.sha256


def _measured(bench: _Bench, record: TrialRecord) -> dict[str, Any]:
    """Evaluate one training on test data; retry if another process kills the attempt."""
    retries = bench.plan.resolved.experiment.execution.retry.crash
    for _ in range(retries + 1):
        folder = AttemptFolder(bench.retrained.folder.attempts / f"test_{record.number:04d}")
        status = _attempt(bench, folder, record)
        result = folder.read_result(folder.path.name)
        # Store a finished result before handling a stop request, so that it needs no further opening.
        if result is not None and result.state == "completed":
            return _kept(bench, folder, record, result)
        _raise_if_stopped(bench.study)
        if result is not None and result.error == DeviceError.__name__:
            raise missing_device(str(result.reason), bench.study.state.device)
        if result is not None and result.error == ChangedFileError.__name__:
            raise ChangedFileError(str(result.reason))
        if result is not None:
            raise StudyError(f"test evaluation of {record.origin.label} failed: {result.reason}\n{folder.log_tail()}")
        folder.raise_disk_error(status)
        if status.exit_code is not None and status.exit_code >= 0:
            break
    raise StudyError(
        f"test evaluation of {record.origin.label} ended with exit code {status.exit_code} and no result:\n"
        f"{folder.log_tail()}"
    )


def _attempt(bench: _Bench, folder: AttemptFolder, record: TrialRecord) -> AttemptStatus:
    """Run a process that evaluates, with the spec of the training, and wait for its end."""
    own = bench.retrained.folder
    trained, plan = bench.retrained.spec(record), bench.plan
    device = bench.study.state.device
    folder.clear()
    folder.create(
        evolve(
            trained,
            attempt=folder.path.name,
            mode="evaluate",
            part="test",
            epoch=None if record.best is None else record.best.epoch,
            weights=str(own.weights(record.number)),
            evaluation=record.policy.evaluation or "fp32",
            data=str(own.data),
            registry=bench.plan.resolved.registry(bench.study.training.registry),
            resume_from=(),
            # Files may have moved.
            own=getattr(plan.resolved.training.spec(trained, conventions=plan.conventions, compiled=None), "own", None),
            # The study's device, even if an older version trained on any available one; any of its GPUs.
            device=trained.device if device is None else device.kind,
            gpu=None,
            gpu_limit=None,
            gpu_sharers=1,
        )
    )
    limit = bench.plan.resolved.experiment.execution.hang_after
    late = f"test evaluation of {record.origin.label} made no step for {limit:.0f} s"
    return run_alone(bench.executor, folder, requests=bench.study.requests, limit=limit, late=late)


def _kept(bench: _Bench, folder: AttemptFolder, record: TrialRecord, result: AttemptResult) -> dict[str, Any]:
    """The result, with its logits moved to their final place."""
    if result.predictions is None:
        raise StudyError(f"{folder.result}: a completed test evaluation must name its predictions")
    own: Path = bench.retrained.folder.path
    kept = own / "predictions" / f"test_{record.number:04d}.npz"
    kept.parent.mkdir(exist_ok=True)
    folder.predictions.replace(kept)
    read_predictions(kept)
    file = {"file": str(kept.relative_to(own)), **result.predictions.plain()}
    content = result.plain()
    return {name: content[name] for name in ("loss", "metrics", "intervals", "probe", "device")} | {"predictions": file}
