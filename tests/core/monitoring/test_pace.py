"""A slow trial is flagged while it runs; pauses, evaluations and short disturbances are not."""

from __future__ import annotations

from attrs import define

from scalecore.execution.attempt_result import AttemptProgress
from scalecore.monitoring.pace import Pace


@define
class Trial:
    """Reports its progress twice a second, as an attempt does."""

    pace: Pace
    now: float = 0.0
    step: float = 0.0
    epoch: int = 1

    def run(self, seconds: float, *, rate: float, phase: str = "train") -> list[str]:
        said = []
        for _ in range(int(seconds * 2)):
            self.now += 0.5
            self.step += rate / 2
            progress = AttemptProgress(phase=phase, epoch=self.epoch, step=int(self.step))
            if text := self.pace.look(progress, now=self.now):
                said.append(text)
        return said


def test_g43_a_trial_that_slows_down_is_flagged_once_and_its_recovery_told() -> None:
    """Twelve times slower for a while: one flag in the record, one message, and one message at the end."""
    trial = Trial(Pace())
    assert trial.run(60, rate=10) == []
    assert trial.run(40, rate=10 / 12) == ["12 times slower than before: 1.2 s per step instead of 1e+02 ms"]
    assert trial.run(40, rate=10) == ["steps are back to normal speed"]
    assert trial.pace.flags == ["12 times slower than before: 1.2 s per step instead of 1e+02 ms"]


def test_g43_a_trial_that_is_slow_from_its_start_is_measured_by_the_others() -> None:
    """It has no history of its own, but the study has one."""
    trial = Trial(Pace(expected=0.1))
    assert trial.run(30, rate=1) == [
        "10 times slower than expected from other trials of this study: 1 s per step instead of 1e+02 ms"
    ]


def test_what_is_no_slowness() -> None:
    """A pause, an evaluation, a short disturbance, a neighbour that uses half of the machine, a new epoch."""
    trial = Trial(Pace())
    said = trial.run(60, rate=10)
    said += trial.run(300, rate=0, phase="paused")
    said += trial.run(30, rate=10)
    said += trial.run(120, rate=0, phase="evaluate")
    trial.epoch, trial.step = 2, 0
    said += trial.run(30, rate=10)
    said += trial.run(9, rate=0.1)
    said += trial.run(60, rate=5)
    assert said == []
    assert trial.pace.flags == []


def test_steps_of_minutes_are_measured_too() -> None:
    """One step in half a minute, then one in five minutes."""
    trial = Trial(Pace())
    assert trial.run(300, rate=1 / 30) == []
    assert trial.run(1200, rate=1 / 300) != []
