"""Logger `tensorboard`, read back with TensorBoard's reader."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

from attrs import evolve
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from scalecore.api.logger import LoggerContext
from scalecore.api.trials import TrialState
from scalecore.testing.fakes import make_study
from scalecore_trackers.options import TensorboardOptions
from scalecore_trackers.tensorboard_logger import TensorboardLogger

from .conftest import curve, follow, record, started, whole


def logger_of(folder: Path, **options: Any) -> TensorboardLogger:
    return TensorboardLogger(TensorboardOptions(**options), LoggerContext(folder=folder))


def read(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder))
    found.Reload()
    return found


def series(found: EventAccumulator, tag: str) -> list[tuple[int, float]]:
    return [(event.step, round(event.value, 5)) for event in found.Scalars(tag)]


def content(found: EventAccumulator, tag: str) -> Any:
    """The content under a tag for the plugin for hyper-parameters."""
    data = found.SummaryMetadata(tag).plugin_data.content
    parse = {
        metadata.SESSION_START_INFO_TAG: metadata.parse_session_start_info_plugin_data,
        metadata.SESSION_END_INFO_TAG: metadata.parse_session_end_info_plugin_data,
        metadata.EXPERIMENT_TAG: metadata.parse_experiment_plugin_data,
    }[tag]
    return parse(data)


def test_a_study_is_a_folder_with_one_run_a_trial(tmp_path: Path) -> None:
    """Curves by epoch, the final value, the best epoch's metrics, hyper-parameters and outcome."""
    study = make_study(tmp_path)
    logger = logger_of(tmp_path)
    logger.study_started(study)
    failed = record(1, None, reason="exit code -11")
    study = follow(logger, study, record(0, 0.7), failed, record(2, 0.65, state=TrialState.PRUNED))
    logger.close()
    root = tmp_path / "tensorboard"
    assert sorted(path.name for path in root.iterdir() if path.is_dir()) == ["trial_0000", "trial_0001", "trial_0002"]
    found = read(root / "trial_0000")
    assert series(found, "val_loss") == [(1, 0.89), (2, 0.88), (3, 0.87)]
    assert "auc" not in found.Tags()["scalars"]
    assert series(found, "value") == [(3, 0.7)]
    assert series(found, "best/accuracy") == [(3, 0.53)]
    times = [event.wall_time for event in found.Scalars("val_loss")]
    assert [b - a for a, b in pairwise(times)] == [1.5] * 2
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


def test_a_running_tensorboard_sees_every_epoch_once(tmp_path: Path) -> None:
    """During a trial, after a killed run is resumed, and when the end of the trial replaces earlier data."""
    study, run = make_study(tmp_path), tmp_path / "tensorboard" / "trial_0000"
    trial = record(0, 0.7, epochs=4)
    logger = logger_of(tmp_path)
    started(logger, study, trial, curve(2))
    assert [step for step, _ in series(read(run), "val_loss")] == [1, 2]
    watching = read(run)
    logger.close()
    (torn,) = run.iterdir()  # a killed run left it, and its last bytes are torn
    with torn.open("ab") as stream:
        stream.write(b"\x18\x00\x00\x00\x00")

    logger = logger_of(tmp_path)
    study = started(logger, study, trial, curve(2, start=3))
    watching.Reload()
    assert [step for step, _ in series(watching, "val_loss")] == [3, 4]  # the others come at the end of the trial
    logger.trial_finished(trial, evolve(study, trials=(trial,)))
    logger.close()
    for found in (watching, read(run)):
        found.Reload()
        assert series(found, "val_loss") == [(1, 0.89), (2, 0.88), (3, 0.87), (4, 0.86)]
        assert series(found, "value") == [(4, 0.7)]


def test_an_epoch_that_was_trained_twice_is_shown_as_in_the_record(tmp_path: Path) -> None:
    """An attempt that died after an epoch is followed by one that repeats it with other numbers."""
    study, trial, logger = make_study(tmp_path), record(0, 0.7), logger_of(tmp_path)
    first, second, third = trial.learning_curve
    study = started(logger, study, trial, [first, {**second, "val_loss": 0.99}, second, third])
    logger.trial_finished(trial, evolve(study, trials=(trial,)))
    logger.close()
    found = read(tmp_path / "tensorboard" / "trial_0000")
    assert series(found, "val_loss") == [(1, 0.89), (2, 0.88), (3, 0.87)]


def test_complete_runs_are_not_rewritten(tmp_path: Path) -> None:
    """Rewritten are runs of another study with this name, lost files, and trials that were never logged."""
    study = make_study(tmp_path, [record(0, 0.7), record(1, 0.6)])
    root = tmp_path / "shared" / "walk"

    def files() -> dict[Path, int]:
        assert whole(logger_of(tmp_path, path=tmp_path / "shared"), study) == []
        return {path: path.stat().st_mtime_ns for path in root.glob("**/events*")}

    before = files()
    assert len(before) == 3  # one for the columns of the table of hyper-parameters
    assert files() == before
    next(root.glob("trial_0001/events*")).unlink()
    assert len(files()) == 4
    assert series(read(root / "trial_0001"), "value") == [(3, 0.6)]
    study = evolve(study, id="another", trials=(record(0, 0.5), record(1, 0.6), record(2, 0.4)))
    files()
    assert [series(read(root / f"trial_000{n}"), "value") for n in range(3)] == [[(3, 0.5)], [(3, 0.6)], [(3, 0.4)]]


def test_neither_torch_nor_tensorflow_is_imported() -> None:
    """TensorBoard's writer needs neither."""
    code = (
        "import sys, scalecore_trackers.tensorboard_logger;"
        "print([name for name in ('torch', 'tensorflow', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
