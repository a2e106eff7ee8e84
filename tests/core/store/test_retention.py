from __future__ import annotations

from pathlib import Path

from attrs import evolve

from scalecore.api.files import write_json
from scalecore.api.space import Architecture
from scalecore.api.trials import FIRST_RETRAINED, Origin, TrialRecord, TrialState, best_first
from scalecore.execution.folder import AttemptFolder
from scalecore.store.layout import StudyFolder
from scalecore.store.retention import settle_weights
from scalecore_torch.testing.training import make_attempt_spec


def finished(
    folder: StudyFolder, number: int, value: float | None, *, state: TrialState = TrialState.COMPLETED
) -> TrialRecord:
    """A trial with two attempts: the first was killed, the second reached the best epoch."""
    for index, names in enumerate((("best_1", "best_2"), ("best_4",))):
        attempt = AttemptFolder(folder.attempt(number, index))
        attempt.create(make_attempt_spec())
        for name in names:
            (attempt.path / f"{name}.safetensors").write_text(f"{number} {name}")
    result = {"attempt": f"{number}-1", "state": "completed", "best_weights": "attempt_1/best_4.safetensors"}
    write_json(AttemptFolder(folder.attempt(number, 1)).result, result)
    return TrialRecord(
        number=number,
        hash=str(number),
        seed=0,
        state=state,
        reason=None,
        value=value,
        origin=Origin(kind="sampled"),
        architecture=Architecture(values={}, num_parameters=1, flops=1),
        hyperparameters={},
        attempts=({"index": 0}, {"index": 1}),
    )


def kept(folder: StudyFolder) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted((folder.path / "weights").glob("*"))}


def test_g44_the_weights_of_the_best_trials_are_kept_and_no_others(tmp_path: Path) -> None:
    """In any order of trials, the weights of the two best remain, from the right attempt, and nothing else."""
    folder = StudyFolder(tmp_path)
    records: list[TrialRecord] = []
    for number, value in enumerate((0.5, 0.7, 0.4, None, 0.6)):
        state = TrialState.COMPLETED if value is not None else TrialState.FAILED
        records.append(finished(folder, number, value, state=state))
        settle_weights(folder, records[-1], best_first(records, direction="minimize")[:2])
        best = sorted((r.value, r.number) for r in records if r.value is not None)[:2]
        names = sorted(f"trial_{number:04d}.safetensors" for _, number in best)
        assert sorted(kept(folder)) == names
        assert not list(folder.attempts.rglob("best_*"))
    assert kept(folder) == {"trial_0000.safetensors": "0 best_4", "trial_0002.safetensors": "2 best_4"}


def test_other_weights_are_left_alone(tmp_path: Path) -> None:
    """Those of a trial after the search, which its command deletes, and a file of the user with a similar name."""
    folder = StudyFolder(tmp_path)
    (folder.path / "weights").mkdir()
    names = [f"trial_{FIRST_RETRAINED}.safetensors", "trial_best.safetensors"]
    for name in names:
        (folder.path / "weights" / name).write_text("other")
    record = finished(folder, 0, 0.5)
    settle_weights(folder, record, [record])
    assert sorted(kept(folder)) == ["trial_0000.safetensors", *names]


def test_what_a_driver_that_died_left_is_taken_up_later(tmp_path: Path) -> None:
    """The next trial also settles the weights of an earlier one, if that is among the best."""
    folder = StudyFolder(tmp_path)
    left = finished(folder, 0, 0.5)
    now = finished(folder, 1, 0.6)
    settle_weights(folder, now, best_first([left, now], direction="minimize")[:2])
    assert sorted(kept(folder)) == ["trial_0000.safetensors", "trial_0001.safetensors"]


def test_with_nothing_to_keep_everything_is_removed(tmp_path: Path) -> None:
    """`keep_weights: 0`, also for a study that kept some before."""
    folder = StudyFolder(tmp_path)
    first = finished(folder, 0, 0.5)
    settle_weights(folder, first, best_first([first], direction="maximize")[:1])
    second = finished(folder, 1, 0.6)
    settle_weights(folder, second, best_first([first, second], direction="maximize")[:0])
    assert kept(folder) == {}


def test_a_record_that_was_read_anew_is_the_same_trial(tmp_path: Path) -> None:
    """Ranked records come from the journal and need not equal the written one."""
    folder = StudyFolder(tmp_path)
    written = finished(folder, 0, 0.5)
    settle_weights(folder, written, [evolve(written, timings={"train_seconds": 1.0})])
    assert kept(folder) == {"trial_0000.safetensors": "0 best_4"}
