"""What every logger must hold."""

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
"""A text that paths, HTML, Markdown, CSV and spreadsheets each take for something else."""


class LoggerContract:
    """Inherit, and give the fixture `make`: a function from a `LoggerContext` to a fresh logger.

    A logger that keeps a copy elsewhere needs that place in these tests: what it would warn the user of fails them.
    """

    @pytest.fixture
    def make(self) -> Make:
        """Makes the logger under test."""
        pytest.fail("give the fixture `make`: it returns a function from a LoggerContext to your logger")

    @pytest.fixture
    def study(self, tmp_path: Path) -> StudyView:
        """A study in a folder of its own, without a trial yet."""
        return make_study(tmp_path / "study")

    @pytest.mark.parametrize("verbosity", [-1, 0, 1])
    def test_a_whole_study(self, make: Make, study: StudyView, verbosity: int) -> None:
        """Everything that a logger is told, in the order in which it is told."""
        records = [
            make_trial(0, 0.7),
            make_trial(1, reason="exit code -11"),
            make_trial(2, 0.65, state=TrialState.PRUNED, reason="worse than the median"),
            make_trial(3, state=TrialState.OUT_OF_MEMORY),
        ]
        self._drive(make(LoggerContext(folder=study.folder, verbosity=verbosity)), study, records)

    def test_a_study_that_goes_on(self, make: Make, study: StudyView) -> None:
        """A second logger is given what the first saw, and the rest."""
        first = make(LoggerContext(folder=study.folder))
        first.study_started(study)
        first.trial_started(0, self._proposal(make_trial(0)), study)
        first.close()
        before = make_study(study.folder, [make_trial(0, 0.7)])
        self._drive(make(LoggerContext(folder=study.folder)), before, [make_trial(1, 0.6)])

    def test_values_that_are_missing(self, make: Make, study: StudyView) -> None:
        """None stands wherever a number is not known, in the record and in the curve."""
        line = dict.fromkeys(make_trial(0, 0.7).learning_curve[0]) | {"epoch": 1, "val_loss": 0.7}
        unknown = {"duration": None, "started": None, "ended": None, "micro_batch": None}
        bare = make_trial(0, 0.7, best=line, last=line, learning_curve=[line], **unknown)
        self._drive(make(LoggerContext(folder=study.folder)), study, [bare])

    def test_hostile_texts(self, make: Make, study: StudyView) -> None:
        """Reasons and labels come from plugins and file names: they are text, whatever stands in them."""
        hostile = make_trial(0, reason=HOSTILE, origin=Origin(kind="forced", label=HOSTILE, reason=HOSTILE))
        logger = make(LoggerContext(folder=study.folder))
        logger.message("warning", HOSTILE)
        self._drive(logger, study, [hostile])

    def test_it_can_be_closed_at_any_time(self, make: Make, study: StudyView) -> None:
        """Before a study started, in the middle of a trial, and after a study without a trial."""
        make(LoggerContext(folder=study.folder)).close()
        logger = make(LoggerContext(folder=study.folder))
        logger.study_started(study)
        logger.trial_started(0, self._proposal(make_trial(0)), study)
        logger.close()
        self._drive(make(LoggerContext(folder=study.folder)), study, [])

    def test_it_writes_nothing_where_it_was_not_told_to(self, make: Make, study: StudyView) -> None:
        """The journal of the study and the experiment are not touched."""
        before = {study.folder / name: f"{name}\n" for name in ("journal.jsonl", "experiment.yaml")}
        for path, text in before.items():
            path.write_text(text)
        self._drive(make(LoggerContext(folder=study.folder)), study, [make_trial(0, 0.7)])
        for path, text in before.items():
            assert path.is_file(), f"{path.name} is gone"
            assert path.read_text() == text, f"{path.name} was written to"

    # --- helpers ----------------------------------------------------------------------------------------------------

    def _drive(self, logger: Logger, study: StudyView, records: list[TrialRecord]) -> None:
        """One run of a study: it starts, each trial runs, it ends."""
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
        logger.message("info", "a text for the user")
        logger.study_finished(evolve(view, end=StudyEnd.COMPLETED))
        # What fails in a thread of the logger's own is raised nowhere: it is only told.
        remarks = [text for level, text in logger.take_remarks() if level != "info"]
        logger.close()
        assert not remarks, f"the logger warns: {'; '.join(remarks)}"

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
