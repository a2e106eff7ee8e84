"""Progress of the running trials for loggers, and the expected duration of a step."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from scalecore.api.space import Architecture
from scalecore.api.trials import Progress, TrialRecord
from scalecore.execution.attempt_result import AttemptProgress
from scalecore.planning.plan import Plan
from scalecore.planning.time_estimates import Speeds, seconds_left
from scalecore.study.running_trial import RunningTrial


def progress_of(
    plan: Plan,
    counted: Sequence[TrialRecord],
    running: Sequence[RunningTrial],
    *,
    earlier: Sequence[TrialRecord] = (),
    total: int,
    slots: int,
    readings: Mapping[str, str],
) -> Iterator[Progress]:
    """Yield one message per running trial; `counted` are the finished trials that count towards `total`.

    Before the first of them, trials take as long as the `earlier` ones of the study.
    """
    now = time.monotonic()
    times = [(now - one.started, one.fraction_done()) for one in running]
    left = seconds_left(counted, earlier=earlier, total=total, slots=slots, running=times)
    for one in running:
        seen = one.progress or AttemptProgress(phase="starting", epoch=0, step=0)
        yield Progress(
            number=one.asked.number,
            phase=seen.phase,
            epoch=seen.epoch,
            epochs=int(one.asked.hyperparameters.get("epochs", 0)),
            step=seen.step,
            steps_per_epoch=_steps_per_epoch(plan),
            trial_seconds=now - one.started,
            study_seconds_left=left,
            readings=readings,
        )


def speeds_of(plan: Plan, records: Sequence[TrialRecord]) -> Speeds:
    """Measure the speeds of the finished trials."""
    return Speeds.of(records, windows=plan.data.parts["train"].windows)


def seconds_per_step(plan: Plan, speeds: Speeds, shape: Architecture) -> float | None:
    """Estimate from the finished trials, evaluation included; None before the first."""
    found = speeds.seconds(shape.flops, epochs=1)
    steps = _steps_per_epoch(plan)
    return None if found is None or not steps else found / steps


def _steps_per_epoch(plan: Plan) -> int:
    """Return 0 if unknown."""
    windows = plan.data.parts["train"].windows
    return 0 if not plan.step_size.counts_steps else -(-windows // plan.step_size.effective_batch)
