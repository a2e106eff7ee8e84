"""Contract of loggers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from scalecore.api.logger import Logger, LoggerContext
from scalecore.api.trials import Origin, Progress, Proposal, StudyEnd, StudyView, TrialRecord, TrialState
from scalecore.testing.fakes import make_study, make_trial

__all__ = ["LoggerContract"]

Make = Callable[[LoggerContext], Logger]

HOSTILE = 'a/../b"<script>|\n,=1+1'
"""A text with special characters of paths, HTML, Markdown, CSV and spreadsheets."""


class LoggerContract:
    """Inherit and define the fixture `make`: a function from a `LoggerContext` to a new logger.

    A logger that writes to a server needs one in these tests: they fail if `take_remarks` returns a warning.
    """

    @pytest.fixture
    def make(self) -> Make:
        """A function that creates the logger under test."""
        pytest.fail("define the fixture `make`: return a function from a LoggerContext to your logger")

    @pytest.fixture
    def study(self, tmp_path: Path) -> StudyView:
        """A study without trials in a separate folder."""
        return make_study(tmp_path / "study")

    @pytest.mark.parametrize("verbosity", [-1, 0, 1])
    def test_a_whole_study(self, make: Make, study: StudyView, verbosity: int) -> None:
        """The logger handles every call of a study, in the order of a run."""
        records = [
            make_trial(0, 0.7),
            make_trial(1, reason="exit code -11"),
            make_trial(2, 0.65, state=TrialState.PRUNED, reason="worse than the median"),
            make_trial(3, state=TrialState.OUT_OF_MEMORY),
        ]
        self._drive(make(LoggerContext(folder=study.folder, verbosity=verbosity)), study, records)

    def test_a_resumed_study(self, make: Make, study: StudyView) -> None:
        """A new logger resumes a study that an earlier logger of the same folder began."""
        first = make(LoggerContext(folder=study.folder))
        first.study_started(study)
        first.trial_started(0, self._proposal(make_trial(0)), study)
        first.close()
        before = make_study(study.folder, [make_trial(0, 0.7)])
        self._drive(make(LoggerContext(folder=study.folder)), before, [make_trial(1, 0.6)])

    def test_missing_values(self, make: Make, study: StudyView) -> None:
        """A number that is unknown is None, in the record and in the learning curve."""
        line = dict.fromkeys(make_trial(0, 0.7).learning_curve[0]) | {"epoch": 1, "val_loss": 0.7}
        unknown = {"duration": None, "started": None, "ended": None, "micro_batch": None}
        bare = make_trial(0, 0.7, best=line, last=line, learning_curve=[line], **unknown)
        self._drive(make(LoggerContext(folder=study.folder)), study, [bare])

    def test_hostile_texts(self, make: Make, study: StudyView) -> None:
        """Reasons and labels come from plugins and file names and may contain any characters."""
        hostile = make_trial(0, reason=HOSTILE, origin=Origin(kind="forced", label=HOSTILE, reason=HOSTILE))
        logger = make(LoggerContext(folder=study.folder))
        logger.message("warning", HOSTILE)
        self._drive(logger, study, [hostile])

    def test_it_can_be_closed_at_any_time(self, make: Make, study: StudyView) -> None:
        """`close` works before a study starts, during a trial, and after a study without trials."""
        make(LoggerContext(folder=study.folder)).close()
        logger = make(LoggerContext(folder=study.folder))
        logger.study_started(study)
        logger.trial_started(0, self._proposal(make_trial(0)), study)
        logger.close()
        self._drive(make(LoggerContext(folder=study.folder)), study, [])

    def test_it_leaves_journal_and_experiment_unchanged(self, make: Make, study: StudyView) -> None:
        """Only the driver writes `journal.jsonl` and `experiment.yaml`."""
        before = {study.folder / name: f"{name}\n" for name in ("journal.jsonl", "experiment.yaml")}
        for path, text in before.items():
            path.write_text(text)
        self._drive(make(LoggerContext(folder=study.folder)), study, [make_trial(0, 0.7)])
        for path, text in before.items():
            assert path.is_file(), f"the logger removed {path.name}"
            assert path.read_text() == text, f"the logger changed {path.name}"

    # --- helpers ----------------------------------------------------------------------------------------------------

    def _drive(self, logger: Logger, study: StudyView, records: list[TrialRecord]) -> None:
        """Call the logger as one run of a study does."""
        from attrs import evolve

        logger.study_started(study)
        view = study
        for record in records:
            running = evolve(view, running=(record.number,))
            logger.trial_started(record.number, self._proposal(record), running)
            logger.progress(self._progress(record))
            for line in record.learning_curve:
                logger.epoch(record.number, line)
            view = evolve(view, trials=(*view.trials, record))
            logger.trial_finished(record, view)
        logger.message("info", "a message for the user")
        logger.study_finished(evolve(view, end=StudyEnd.COMPLETED))
        # An exception in a background thread of the logger appears only here.
        remarks = [text for level, text in logger.take_remarks() if level != "info"]
        logger.close()
        assert not remarks, f"the logger warned: {'; '.join(remarks)}"

    def _proposal(self, record: TrialRecord) -> Proposal:
        return Proposal(architecture=record.architecture, hyperparameters=record.hyperparameters, origin=record.origin)

    def _progress(self, record: TrialRecord) -> Progress:
        return Progress(
            number=record.number,
            phase="train",
            epoch=1,
            epochs=10,
            step=3,
            steps_per_epoch=20,
            trial_seconds=1.5,
            study_seconds_left=None,
            readings={"memory": "1.2 of 20.4 GB", "temperature": "unavailable (no sensor)"},
        )
