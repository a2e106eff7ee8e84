"""Logger `tensorboard`, read back with TensorBoard's own reader."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from scalecore.api.protocols import LoggerContext
from scalecore.api.trials import RestoredTrial, StudyView, TrialRecord, TrialState
from scalecore.testing.fakes import make_study
from scalecore_trackers.options import TensorboardOptions
from scalecore_trackers.tensorboard_logger import TensorboardLogger

from .conftest import curve, finish, follow, proposal, record, wait_for


def logger_of(folder: Path, **options: Any) -> TensorboardLogger:
    return TensorboardLogger(TensorboardOptions(**options), LoggerContext(folder=folder))


def read(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder))
    found.Reload()
    return found


def series(found: EventAccumulator, tag: str) -> list[tuple[int, float]]:
    return [(event.step, round(event.value, 5)) for event in found.Scalars(tag)]


def seen(run: Path) -> list[tuple[int, float]]:
    """The losses of a trial so far, none where it is not there yet."""
    found = read(run) if run.exists() else None
    return series(found, "val_loss") if found is not None and "val_loss" in found.Tags()["scalars"] else []


def content(found: EventAccumulator, tag: str) -> Any:
    """What the plugin for hyper-parameters finds under a tag."""
    data = found.SummaryMetadata(tag).plugin_data.content
    parse = {
        metadata.SESSION_START_INFO_TAG: metadata.parse_session_start_info_plugin_data,
        metadata.SESSION_END_INFO_TAG: metadata.parse_session_end_info_plugin_data,
        metadata.EXPERIMENT_TAG: metadata.parse_experiment_plugin_data,
    }[tag]
    return parse(data)


def test_a_study_is_a_folder_with_one_run_a_trial(tmp_path: Path) -> None:
    """Curves by epoch, the final value and the best epoch's metrics, hyper-parameters and how it ended."""
    study = make_study(tmp_path)
    logger = logger_of(tmp_path)
    logger.study_started(study)
    failed = record(1, None, reason="exit code -11")
    study = follow(logger, study, record(0, 0.7), failed, record(2, 0.65, state=TrialState.PRUNED))
    assert finish(logger, study) == []
    root = tmp_path / "tensorboard"
    assert sorted(path.name for path in root.iterdir() if path.is_dir()) == ["trial_0000", "trial_0001", "trial_0002"]
    found = read(root / "trial_0000")
    assert series(found, "val_loss") == [(1, 0.89), (2, 0.88), (3, 0.87)]
    assert "auc" not in found.Tags()["scalars"]
    assert series(found, "value") == [(3, 0.7)]
    assert series(found, "best/accuracy") == [(3, 0.53)]
    times = [event.wall_time for event in found.Scalars("val_loss")]
    assert [b - a for a, b in pairwise(times)] == [pytest.approx(1.5)] * 2
    start = content(found, metadata.SESSION_START_INFO_TAG)
    assert start.group_name == "trial_0000"
    told = {name: value.number_value for name, value in start.hparams.items()}
    assert told == {"width": 8, "depth": 1, "num_parameters": 824, "learning_rate": 1e-3}
    ends = [content(read(root / f"trial_000{number}"), metadata.SESSION_END_INFO_TAG).status for number in range(3)]
    assert ends == [1, 2, 1]
    columns = content(read(root), metadata.EXPERIMENT_TAG)
    assert [(one.name.tag, one.display_name) for one in columns.metric_infos] == [
        ("value", "val_loss"),
        ("best/epoch", "best epoch"),
    ]
    assert {one.name for one in columns.hparam_infos} == set(told)


def with_a_running_trial(folder: Path, study: StudyView, trial: TrialRecord) -> TensorboardLogger:
    """A logger that was told of the study and of the trial's start."""
    logger = logger_of(folder)
    logger.study_started(study)
    logger.trial_started(0, proposal(trial), evolve(study, running=(0,)))
    return logger


def test_a_running_tensorboard_sees_every_epoch_once(tmp_path: Path) -> None:
    """While a trial runs, when it is over, and when what a killed run left is replaced."""
    study, run = make_study(tmp_path), tmp_path / "tensorboard" / "trial_0000"
    trial = record(0, 0.7, epochs=4)
    logger = with_a_running_trial(tmp_path, study, trial)
    for line in curve(2):
        logger.epoch(0, line)
    wait_for(lambda: len(seen(run)) == 2)
    watching = read(run)
    logger.close()  # the run is killed here: what it wrote lies there, and its last bytes are torn
    (torn,) = run.iterdir()
    with torn.open("ab") as stream:
        stream.write(b"\x18\x00\x00\x00\x00")

    waiting = RestoredTrial(number=0, proposal=proposal(trial), outcome=None)
    study = evolve(study, unfinished=(waiting,))
    logger = with_a_running_trial(tmp_path, study, trial)
    for line in curve(3, start=2):
        logger.epoch(0, line)
    wait_for(lambda: series(read(run), "val_loss")[-1:] == [(4, 0.86)])
    watching.Reload()
    assert [step for step, _ in series(watching, "val_loss")] == [2, 3, 4]  # no attempt left the first one here
    study = evolve(study, unfinished=(), trials=(trial,))
    logger.trial_finished(trial, study)
    assert finish(logger, study) == []
    watching.Reload()
    assert [step for step, _ in series(watching, "val_loss")] == [1, 2, 3, 4]
    assert [step for step, _ in series(read(run), "val_loss")] == [1, 2, 3, 4]
    logger = logger_of(tmp_path)
    logger.study_started(study)
    assert finish(logger, study) == []
    assert len(list(run.glob("events*"))) == 1
    assert [step for step, _ in series(read(run), "val_loss")] == [1, 2, 3, 4]


def test_an_epoch_that_was_trained_twice_is_shown_as_in_the_record(tmp_path: Path) -> None:
    """An attempt that died after an epoch is followed by one that trains it again, and other numbers come out."""
    study, run = make_study(tmp_path), tmp_path / "tensorboard" / "trial_0000"
    trial = record(0, 0.7, epochs=3)
    logger = with_a_running_trial(tmp_path, study, trial)
    first, second, _ = curve(3)
    for line in (first, {**second, "val_loss": 0.99}):
        logger.epoch(0, line)
    wait_for(lambda: seen(run) == [(1, 0.89), (2, 0.99)])
    for line in trial.learning_curve[1:]:
        logger.epoch(0, line)
    study = evolve(study, trials=(trial,))
    logger.trial_finished(trial, study)
    assert finish(logger, study) == []
    assert series(read(run), "val_loss") == [(1, 0.89), (2, 0.88), (3, 0.87)]


def test_a_short_trial_is_one_file(tmp_path: Path) -> None:
    """Epochs that end together with the trial are added to the file that grew."""
    study, run = make_study(tmp_path), tmp_path / "tensorboard" / "trial_0000"
    trial = record(0, 0.7, epochs=3)
    logger = with_a_running_trial(tmp_path, study, trial)
    logger.epoch(0, trial.learning_curve[0])
    wait_for(lambda: seen(run) == [(1, 0.89)])
    for line in trial.learning_curve[1:]:
        logger.epoch(0, line)
    study = evolve(study, trials=(trial,))
    logger.trial_finished(trial, study)
    assert finish(logger, study) == []
    assert len(list(run.glob("events*"))) == 1
    times = [event.wall_time for event in read(run).Scalars("val_loss")]
    assert [b - a for a, b in pairwise(times)] == [pytest.approx(1.5)] * 2


def test_a_resumed_study_goes_on_in_the_same_folder(tmp_path: Path) -> None:
    """What is whole is left alone, what is missing is made; also for a study that had no such logger before."""
    study = make_study(tmp_path, [record(0, 0.7), record(1, 0.6)])
    root = tmp_path / "shared" / "walk"
    for _ in range(2):
        logger = logger_of(tmp_path, path=tmp_path / "shared")
        logger.study_started(study)
        assert finish(logger, study) == []
        files = {path: path.stat().st_mtime_ns for path in root.glob("trial_*/events*")}
        assert len(files) == 2
    assert {path: path.stat().st_mtime_ns for path in root.glob("trial_*/events*")} == files
    assert len(list(root.glob("events*"))) <= 2
    next(root.glob("trial_0001/scalecore.json")).unlink()
    logger = logger_of(tmp_path, path=tmp_path / "shared")
    logger.study_started(study)
    assert finish(logger, study) == []
    assert series(read(root / "trial_0001"), "value") == [(3, 0.6)]


def test_neither_torch_nor_tensorflow_is_imported() -> None:
    """TensorBoard's own writer needs neither."""
    code = (
        "import sys, scalecore_trackers.tensorboard_logger;"
        "print([name for name in ('torch', 'tensorflow', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
