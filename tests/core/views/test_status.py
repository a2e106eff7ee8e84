"""The output of `scalecore status`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scalecore.api.trials import FIRST_RETRAINED, Note, Origin, Proposal, StudyEnd, TrialRecord
from scalecore.store.events import AskedFor, RunEnded, RunStarted, StudyBegun, TrialFinished
from scalecore.store.journal import Journal
from scalecore.store.layout import StudyFolder
from scalecore.store.verify import verify_study
from scalecore.testing.fakes import make_study, make_trial
from scalecore.views.status import note_lines, status_lines, study_status


def test_the_remaining_time_is_a_number_or_unknown() -> None:
    """Before the first trial it is unknown."""
    status: dict[str, Any] = {"name": "spy", "state": "running", "finished": 0, "total": 4, "counts": {}}
    status |= dict.fromkeys(("runner", "best", "baseline", "hardware", "search", "test_openings"))
    status |= {"unfinished": [], "left_out": [], "degraded": [], "folder": "studies/spy"}
    assert "time left: unknown" in status_lines({**status, "seconds_left": None})
    assert "time left: about 3 min 20 s" in status_lines({**status, "seconds_left": 200.0})


def test_description_and_notes_are_shown_escaped_with_their_lines() -> None:
    """A control character in the file's description cannot reach the terminal; further lines are indented."""
    notes = [
        Note(key="1", written="2026-11-30T19:36:02.857Z", text="fan replaced [G40]"),
        Note(key="2", written="2026-12-01T07:00:59.000Z", text="first\n\nthird"),
    ]
    assert note_lines("Does depth help?\n\x1b[2J\n", notes) == [
        "description: Does depth help?",
        "  \\x1b[2J",
        "note 2026-11-30 19:36 UTC: fan replaced [G40]",
        "note 2026-12-01 07:00 UTC: first",
        "",
        "  third",
    ]
    assert note_lines(None, []) == []


def test_a_journal_without_a_line_is_a_study_that_has_not_begun(tmp_path: Path) -> None:
    """A run that was killed before its first line has no name yet, and damaged none."""
    (tmp_path / "journal.jsonl").touch()
    folder = StudyFolder(tmp_path)
    first = "study: not begun (`scalecore run` starts it); 0 of 0 trials finished (none yet)"
    assert status_lines(study_status(folder))[0] == first
    assert [(one.level, one.message) for one in verify_study(folder) if one.subject == "journal"] == [
        ("ok", "0 lines, no gaps")
    ]


def test_g14_a_confirmation_is_shown_with_its_own_progress(tmp_path: Path) -> None:
    """The search stays complete; an interrupted confirmation says how to resume."""
    folder = StudyFolder(tmp_path / "study")
    view = make_study(folder.path, [make_trial(0, 0.5, duration=60.0)], total=1)
    journal = Journal(folder.journal)

    def write(record: TrialRecord) -> None:
        proposal = Proposal(
            architecture=record.architecture, hyperparameters=record.hyperparameters, origin=record.origin
        )
        asked = {"hash": record.hash, "seed": record.seed, "hyperparameters": record.hyperparameters}
        journal.append(AskedFor(number=record.number, **asked, proposal=proposal))
        journal.append(TrialFinished(number=record.number, record=record))

    journal.append(StudyBegun(experiment=view.experiment, plan=view.plan))
    journal.append(RunStarted(pid=1, host="here", versions={}, total=1))
    write(view.trials[0])
    journal.append(RunEnded(end=StudyEnd.COMPLETED, total=1))
    journal.append(RunStarted(pid=1, host="here", versions={}, total=3, retrains="confirmation of walk"))
    write(
        make_trial(FIRST_RETRAINED, 0.6, duration=30.0, origin=Origin(kind="replicate", label="trial 0, replicate 1"))
    )
    journal.close()
    found = study_status(folder)
    assert (found["state"], found["finished"], found["total"]) == ("completed", 1, 1)
    assert found["seconds_left"] == 2 * 30.0
    lines = status_lines(found)
    at = lines.index("trained after the search: 1 replicate")
    assert lines[at + 1] == (
        "  confirmation of walk, 1 of 3 trainings: interrupted; run the same command again to resume it"
    )
