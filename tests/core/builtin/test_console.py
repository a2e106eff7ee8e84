"""The logger `console` without a terminal: plain lines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from scalecore.api.logger import LoggerContext
from scalecore.api.space import Architecture
from scalecore.api.trials import (
    FIRST_RETRAINED,
    Origin,
    Progress,
    Proposal,
    Retraining,
    StudyEnd,
    StudyView,
)
from scalecore.builtin.console import ConsoleLogger
from scalecore.builtin.options import ConsoleOptions

from .conftest import COLLAPSED, shape, trial

Make = Callable[..., StudyView]

LARGE = Architecture(
    values={"d_model": 384, "n_layers": 128, "n_heads": 32, "d_ff": 768}, num_parameters=226_800_000, flops=1
)
PROGRESS = Progress(
    number=1,
    phase="train",
    epoch=2,
    epochs=8,
    step=3,
    steps_per_epoch=19,
    trial_seconds=4.0,
    study_seconds_left=7500.0,
    readings={"memory": "1.2 GB", "temperature": "unavailable (no sensor)"},
)


def console(tmp_path: Path, *, verbosity: int = 0, every: float = 0.0) -> ConsoleLogger:
    return ConsoleLogger(ConsoleOptions(every=every), LoggerContext(folder=tmp_path, verbosity=verbosity))


def test_the_line_of_a_trial_names_everything(study: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It has number, dimensions, parameter count, varied values, value and best value so far."""
    best = trial(0, 0.37561)
    record = trial(7, 0.40672, architecture=LARGE, hyperparameters={"learning_rate": 0.00031623, "epochs": 75, "x": 1})
    console(tmp_path).trial_finished(record, study([best, record]))
    assert capsys.readouterr().out == (
        "trial 7  d_model=384 n_layers=128 n_heads=32 d_ff=768 params=226.8M learning_rate=0.000316 epochs=75"
        " -> val_loss=0.4067 (best 0.3756 #0)\n"
    )


def test_g27_a_failed_trial_has_its_reason(study: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It has state and reason instead of a value; brackets are not interpreted as markup."""
    record = trial(1, state="timed_out", reason="no step for 600 s (execution.hang_after) [G45]")
    console(tmp_path).trial_finished(record, study([record]))
    assert capsys.readouterr().out == (
        "trial 1  width=8 depth=2 params=128 learning_rate=0.002 epochs=50"
        " -> timed_out (no step for 600 s (execution.hang_after))\n"
    )


def test_the_start_shows_data_baselines_and_search(
    study: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It prints model, data, number of trials, finished trials and the place of the results."""
    view = study([trial(0, 0.5)], total=9)
    console(tmp_path).study_started(view)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"walk: 9 trials, 1 already finished; results in {view.folder}"
    assert lines[1] == "data: walk.csv, 1 features, context 4; target CLOSE[t+2] >= CLOSE[t]"
    assert [line.split()[0] for line in lines[2:5]] == ["train", "val", "test"]
    assert "warn: monitors: no hardware monitor is active: memory and temperature are not watched" in lines
    assert any(line.startswith("search: 1 architectures, 0 forced first") for line in lines)


def test_progress_has_epoch_best_eta_memory_and_temperature(
    study: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Or the reason why there is no temperature."""
    view = study([trial(0, 0.5)], total=9)
    logger = console(tmp_path)
    logger.trial_started(1, Proposal(architecture=shape(8), hyperparameters={}, origin=Origin(kind="sampled")), view)
    logger.epoch(1, {"epoch": 1, "train_loss": 0.7, "val_loss": 0.65, "train_seconds": 1.5})
    logger.progress(PROGRESS)
    started, progress = capsys.readouterr().out.splitlines()
    assert started == "trial 1 of 9 starts (sampled): width=8 depth=2 params=128"
    assert progress == (
        "  trial 1 of 9, train, epoch 2 of 8, step 3 of 19; best 0.5000 #0, val_loss 0.6500, ETA 2 h 05 min, "
        "memory 1.2 GB, temperature unavailable (no sensor)"
    )


def test_before_the_first_result_there_is_no_best(
    study: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No number replaces it; lines of progress have an interval."""
    logger = console(tmp_path, every=3600.0)
    origin = Origin(kind="forced", label="width:min")
    proposal = Proposal(architecture=shape(8), hyperparameters={"learning_rate": 0.01}, origin=origin)
    logger.trial_started(0, proposal, study([]))
    logger.progress(PROGRESS)
    assert capsys.readouterr().out == (
        "trial 0 of 4 starts (forced width:min): width=8 depth=2 params=128 learning_rate=0.01\n"
    )
    often = console(tmp_path)
    often.study_started(study([]))
    capsys.readouterr()
    often.progress(PROGRESS)
    assert "; no best yet, ETA 2 h 05 min, " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("end", "text"),
    [
        ("completed", "walk: completed (2 of 4 trials: 1 completed, 1 failed)"),
        ("exhausted", "walk: completed: every configuration has been tried (2 of 4 trials: 1 completed, 1 failed)"),
        ("stopped", "walk: stopped; run the same command again to resume (2 of 4 trials: 1 completed, 1 failed)"),
        (
            "timed_out",
            "walk: time limit reached; run the same command again to resume (2 of 4 trials: 1 completed, 1 failed)",
        ),
        ("failed", "walk: failed; finished trials are kept (2 of 4 trials: 1 completed, 1 failed)"),
    ],
)
def test_g38_the_end_has_its_kind_and_the_counts(
    study: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], end: str, text: str
) -> None:
    """It also prints the best trial, warnings, switched-off components and the place of the results."""
    records = [trial(0, 0.5), trial(1, state="failed", reason="x")]
    view = study(records, end=StudyEnd(end), duplicates_avoided=2, degraded=("logger 'x' raised OSError: gone",))
    console(tmp_path).study_finished(view)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == text
    assert lines[1] == "best: trial 0, width=16 depth=2 params=512, val_loss 0.5000"
    assert lines[-3:] == [
        "duplicates avoided: 2",
        "degraded: logger 'x' raised OSError: gone",
        f"results: {view.folder}",
    ]


def test_g09_a_collapsed_study_is_called_no_result(
    study: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """When each trial ends, and at the study's end."""
    record = trial(0, 0.5, flags=[COLLAPSED])
    logger = console(tmp_path)
    logger.trial_finished(record, study([record]))
    logger.study_finished(study([record], end=StudyEnd.COMPLETED))
    out = capsys.readouterr().out
    assert "  flag: predicts a constant\n" in out
    assert "  every completed trial predicts a constant: not a valid result\n" in out


def test_g19_a_study_of_lucky_rates_is_called_no_result(
    study: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """When each trial ends, and at the study's end."""
    few = {"guard": "G19", "kind": "small_denominator", "text": "precision 1.0000 is a rate over 1 window"}
    record = trial(0, 1.0, flags=[few])
    logger = console(tmp_path)
    logger.trial_finished(record, study([record]))
    logger.study_finished(study([record], end=StudyEnd.COMPLETED))
    out = capsys.readouterr().out
    assert "  flag: precision 1.0000 is a rate over 1 window\n" in out
    assert "  no completed trial has a value over enough windows: not a valid result\n" in out


def test_quiet_prints_only_the_end_and_warnings(
    study: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--quiet` omits progress."""
    logger = console(tmp_path, verbosity=-1)
    view = study([trial(0, 0.5)], end=StudyEnd.COMPLETED)
    logger.study_started(study([]))
    logger.message("info", "smoke step")
    logger.message("warning", "the disk fills up")
    logger.progress(PROGRESS)
    logger.trial_finished(view.trials[0], view)
    assert capsys.readouterr().out == "warning: the disk fills up\n"
    logger.study_finished(view)
    assert capsys.readouterr().out.startswith("walk: completed (1 of 4 trials: 1 completed)\nbest: trial 0, ")


def test_g14_a_retraining_counts_its_own_trainings(
    study: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lines name what is repeated, and neither the total nor the best trial of the search."""
    first = trial(1, 0.4)
    same = {"architecture": first.architecture, "hyperparameters": first.hyperparameters}
    record = trial(FIRST_RETRAINED, 0.5, **same, origin=Origin(kind="replicate", label="trial 1, replicate 1"))
    proposal = Proposal(architecture=record.architecture, hyperparameters=record.hyperparameters, origin=record.origin)
    for verbosity in (0, -1):
        logger = console(tmp_path, verbosity=verbosity)
        view = study([first], retraining=Retraining(title="confirmation of walk", total=2))
        logger.study_started(view)
        logger.trial_started(record.number, proposal, view)
        logger.progress(evolve(PROGRESS, number=record.number))
        logger.trial_finished(record, view)
        done = Retraining(title="confirmation of walk", total=2, done=1, end=StudyEnd.STOPPED)
        logger.study_finished(evolve(view, retraining=done))
        ended = "confirmation of walk, 1 of 2 trainings: stopped; run the same command again to resume\n"
        printed = (
            f"confirmation of walk: 2 trainings; results in {view.folder}\n"
            "trial 1, replicate 1 starts (replicate): width=8 depth=2 params=128 learning_rate=0.002 epochs=50\n"
            "  trial 1, replicate 1, train, epoch 2 of 8, step 3 of 19; ETA 2 h 05 min, memory 1.2 GB, "
            "temperature unavailable (no sensor)\n"
            "trial 1, replicate 1  width=8 depth=2 params=128 learning_rate=0.002 epochs=50 -> val_loss=0.5000\n"
        )
        assert capsys.readouterr().out == (printed if verbosity == 0 else "") + ended
        logger.study_finished(evolve(view, retraining=evolve(done, done=2, end=StudyEnd.COMPLETED)))
        assert (capsys.readouterr().out == "") is (verbosity < 0)


def test_nothing_reaches_stdout_beside_json(study: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A command that prints JSON trains with verbosity -2: warnings go to stderr."""
    logger = console(tmp_path, verbosity=-2)
    logger.message("warning", "the disk fills up")
    logger.study_finished(study([trial(0, 0.5)], end=StudyEnd.COMPLETED))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("warning: the disk fills up\nwalk: completed")


def test_verbose_prints_epochs_and_reasons(study: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--verbose` adds epochs and the reason for each trial."""
    logger = console(tmp_path, verbosity=1)
    origin = Origin(kind="redirected", reason="width=16 was tried before")
    logger.trial_started(2, Proposal(architecture=shape(8), hyperparameters={}, origin=origin), study([]))
    logger.epoch(2, {"epoch": 1, "train_loss": 0.7, "val_loss": 0.65, "train_seconds": 1.5})
    assert capsys.readouterr().out.splitlines()[1:] == [
        "  reason: width=16 was tried before",
        "  trial 2 epoch 1: train_loss=0.7000 val_loss=0.6500 (1.5 s)",
    ]
