"""Conditions that prevent a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalecore.api.errors import RefusedError
from scalecore.store.layout import StudyFolder
from scalecore.store.state import StudyState
from scalecore.study.run import refuse_planned
from scalecore.testing.fakes import EXPERIMENT, make_trial, plan_walk


@pytest.mark.parametrize("training", [{"compile": "block"}, {"device": "cuda"}], ids=["no compiler", "no GPU"])
def test_a_complete_study_needs_no_machine_that_can_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, training: dict[str, str]
) -> None:
    """A machine that cannot train is refused only while a trial is left."""
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    folder = StudyFolder(tmp_path / "study")
    plan = plan_walk(tmp_path, "search.trials=1", training={**EXPERIMENT["training"], **training})
    (refused,) = [finding for finding in plan.findings if finding.level == "refuse"]
    text = f"the study was not started:\n  {refused.subject}: {refused.message}; {refused.remedy}"
    with pytest.raises(RefusedError) as caught:
        refuse_planned(folder, StudyState(), plan, allow_changed_code=False)
    assert str(caught.value) == text
    refuse_planned(folder, StudyState(records=[make_trial(0, 0.5)]), plan, allow_changed_code=False)
