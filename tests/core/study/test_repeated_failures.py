"""Failures that show that the study itself is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from scalecore.api.trials import StudyEnd, TrialRecord, TrialState
from scalecore.store.layout import StudyFolder
from scalecore.study.repeated_failures import no_result
from scalecore.testing.fakes import make_study, make_trial
from scalecore.views.read_study import read_study
from scalecore.views.status import study_status


def ended(number: int, state: TrialState) -> TrialRecord:
    value = 0.5 if state in (TrialState.COMPLETED, TrialState.PRUNED) else None
    return make_trial(number, state=state, value=value, reason=None if state is TrialState.COMPLETED else "why")


@pytest.mark.parametrize("state", [one for one in TrialState if one is not TrialState.COMPLETED])
def test_g38_trials_of_which_none_completed_are_no_result(state: TrialState) -> None:
    """Failed, out of memory, diverged, timed out, and pruned, whose value comes from an unfinished training."""
    assert no_result([ended(0, state), ended(1, state)]) == (
        f"none of 2 trials completed (2 {state}), so the study has no result; trial 1: why. "
        "Increase search.trials to add trials; after fixing the cause, give another `output`"
    )
    assert no_result([ended(0, state), ended(1, TrialState.COMPLETED)]) is None


def test_g38_a_study_without_a_trial_has_no_result() -> None:
    """A strategy that proposes nothing has not searched."""
    assert no_result([]) == ("no trial was run: the search strategy had nothing to propose, so the study has no result")


def test_a_study_that_version_0_1_called_completed_stays_readable(
    tmp_path: Path, write_study: Callable[..., Path]
) -> None:
    """Its journal is read unchanged; running it again reports today's state."""
    study = make_study(tmp_path, trials=[ended(0, TrialState.FAILED)], end=StudyEnd.COMPLETED)
    folder = StudyFolder(write_study(evolve(study, folder=tmp_path / "old")))
    assert read_study(folder).state == "completed"
    assert (study_status(folder)["state"], study_status(folder)["end_reason"]) == ("completed", None)
