"""What is going on now, for loggers, and how long a step should take."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from scalecore.space import Architecture
from scalecore.study.attempts import RunningTrial
from scalecore.study.estimate import seconds_left
from scalecore.study.forecast import forecast
from scalecore.study.plan import Plan
from scalecore.trials import Progress, TrialRecord

__all__ = ["progress_of", "seconds_per_step"]


def progress_of(
    plan: Plan, counted: Sequence[TrialRecord], running: Sequence[RunningTrial], *, total: int, slots: int
) -> Iterator[Progress]:
    """One message for each running trial; `counted` are the finished trials that count towards `total`."""
    now = time.monotonic()
    times = [(now - one.started, one.fraction_done()) for one in running]
    left = seconds_left(counted, total=total, slots=slots, running=times)
    for one in running:
        seen = one.progress
        yield Progress(
            number=one.asked.number,
            phase=str(seen.get("phase", "starting")),
            epoch=int(seen.get("epoch", 0)),
            epochs=int(one.asked.hyperparameters["epochs"]),
            step=int(seen.get("step", 0)),
            steps_per_epoch=_steps_per_epoch(plan),
            trial_seconds=now - one.started,
            study_seconds_left=left,
            readings=plan.monitors.texts(),
        )


def seconds_per_step(plan: Plan, records: Sequence[TrialRecord], shape: Architecture) -> float | None:
    """What the finished trials suggest for this shape, evaluation included; None before the first."""
    windows = plan.data.parts["train"]["windows"]
    found = forecast([shape], records, windows=windows, epochs=1)["seconds"][shape.id]
    return None if found is None else float(found) / _steps_per_epoch(plan)


def _steps_per_epoch(plan: Plan) -> int:
    windows = int(plan.data.parts["train"]["windows"])
    return -(-windows // plan.resolved.experiment.training.effective_batch)
