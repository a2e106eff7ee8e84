"""Open the test data: record the opening in the study's journal, then evaluate in an attempt.

This is the only access to test data. The search has none: its attempts run in the modes `smoke` and `train`, which read
training and validation windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import evolve, frozen

from scalecore.api.errors import ChangedFileError, DeviceError, RefusedError, StudyError
from scalecore.api.executor import AttemptStatus, Executor
from scalecore.api.trainer import SupportsEvaluation
from scalecore.api.trials import TrialRecord
from scalecore.config.instantiate import create
from scalecore.data.baselines import Baseline, baselines
from scalecore.data.predictions import checksum, read_predictions
from scalecore.data.regression import cross_entropies
from scalecore.execution.attempt_result import AttemptResult
from scalecore.execution.folder import AttemptFolder
from scalecore.planning.plan import Plan
from scalecore.planning.slots import executor_context
from scalecore.store.event_lines import event_of
from scalecore.store.events import MeasuredOnTestData, OpenedTestData
from scalecore.store.layout import StudyFolder
from scalecore.store.study_device import missing_device
from scalecore.study.open_study import OpenStudy
from scalecore.study.running_trial import run_alone


class EvaluationStopped(Exception):
    """The user requested a stop."""


@frozen(kw_only=True)
class _Bench:
    study: OpenStudy
    folder: StudyFolder
    place: Path
    plan: Plan
    executor: Executor


def refuse_without_weights(study: OpenStudy, command: str) -> None:
    """Raise `RefusedError` if the study's trainer stores no weights, which `command` needs."""
    trainer = study.plan.resolved.trainer
    able = isinstance(study.plan.resolved.training, SupportsEvaluation)
    if not (able and trainer.record.keeps_weights):  # type: ignore[attr-defined]  # a TrainerRecord
        raise RefusedError(
            f"{study.folder.path}: {command} needs the weights of a model, but trainer {trainer.name!r} stores none; "
            "`scalecore confirm` compares the best trials on validation data"
        )


def measure(
    study: OpenStudy, records: Sequence[TrialRecord], *, plan: Plan, folder: StudyFolder, place: Path, by: str
) -> dict[str, MeasuredOnTestData]:
    """Test results of finished trainings, by hash; the predictions are in `predictions/` below `place`.

    Earlier results are read from the journal. For the others the test data in `folder` is opened once. The opening is
    in the journal, flushed to the disk, before a process that reads test data starts, so that it counts even after a
    crash. `by` is the command recorded with the opening. Raises `EvaluationStopped`, or `StudyError` if an
    evaluation fails.
    """
    left = [record for record in records if not is_measured(study, record.hash, place=place)]
    if left:
        _raise_if_stopped(study)
        context = executor_context(plan.resolved, folder.path)
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
            bench = _Bench(study=study, folder=folder, place=place, plan=plan, executor=executor)
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


def opened_text(openings: Sequence[Mapping[str, Any]]) -> str:
    """How often the test data of a study was opened, and the consequence."""
    if len(openings) == 1:
        return "The test data was opened once, for this result."
    return (
        f"The test data has been opened {len(openings)} times. A choice based on an earlier opening makes later "
        "results optimistic; only the first opening is certainly unbiased."
    )


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


def _raise_if_stopped(study: OpenStudy) -> None:
    study.requests.look()
    if study.requests.asked:
        raise EvaluationStopped


def is_measured(study: OpenStudy, identity: str, *, place: Path) -> bool:
    """Whether the journal has the test results of this training, and its predictions are where it says."""
    known = study.state.measured.get(identity)
    if known is None:
        return False
    path = test_predictions_file(study, known, place=place)
    return path.is_file() and checksum(path) == known.predictions.sha256


def test_predictions_file(study: OpenStudy, measured: MeasuredOnTestData, *, place: Path) -> Path:
    """The predictions of a measured model. Version 0.1 kept those of replicates in `confirm/`."""
    path = place / measured.predictions.file
    return path if path.is_file() else study.folder.confirmation / measured.predictions.file


def _measured(bench: _Bench, record: TrialRecord) -> dict[str, Any]:
    """Evaluate one training on test data; retry if another process kills the attempt."""
    retries = bench.plan.resolved.experiment.execution.retry.crash
    for _ in range(retries + 1):
        folder = AttemptFolder(bench.folder.attempts / f"test_{record.number:04d}")
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
    own, trainer = bench.folder, bench.plan.resolved.training
    assert isinstance(trainer, SupportsEvaluation)  # its record says that it keeps weights
    trained = AttemptFolder(own.attempt(record.number, len(record.attempts) - 1))
    spec = trainer.evaluation_spec(trained.path, precision=record.policy.evaluation)
    device = bench.study.state.device
    folder.clear()
    folder.create(
        evolve(
            spec,
            attempt=folder.path.name,
            mode="evaluate",
            part="test",
            epoch=None if record.best is None else record.best.epoch,
            weights=str(own.weights(record.number)),
            data=str(own.data),
            registry=bench.plan.resolved.registry(bench.study.training.registry),
            resume_from=(),
            # The study's device, even if an older version trained on any available one; any of its GPUs.
            device=spec.device if device is None else device.kind,
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
    kept = bench.place / "predictions" / f"test_{record.number:04d}.npz"
    kept.parent.mkdir(exist_ok=True)
    folder.predictions.replace(kept)
    read_predictions(kept)
    file = {"file": str(kept.relative_to(bench.place)), **result.predictions.plain()}
    content = result.plain()
    return {name: content[name] for name in ("loss", "metrics", "intervals", "probe", "device")} | {"predictions": file}
