"""Contract of analyses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from attrs import evolve

from scalecore.api.analysis import Analysis, AnalysisResult, SupportsPlan
from scalecore.api.errors import DataError, ExperimentError, RefusedError, ScalecoreError
from scalecore.api.files import plain
from scalecore.api.trials import Origin, StudyView, TrialState
from scalecore.testing.fakes import make_study, make_trial
from scalecore.testing.logger import HOSTILE
from scalecore.views.analysis import is_inside

__all__ = ["AnalysisContract"]


class AnalysisContract:
    """Inherit and define the fixture `analysis`. `studies` is the smallest number of studies that it accepts."""

    studies: int = 1
    gives_a_result: bool = True
    """False for an analysis that refuses the test's studies. They have nine trials each, differ only in their names,
    and have neither stored predictions nor attempts."""

    @pytest.fixture
    def analysis(self) -> Analysis:
        """The analysis under test."""
        pytest.fail("define the fixture `analysis`: return your analysis")

    def test_result_can_be_stored(self, analysis: Analysis, tmp_path: Path) -> None:
        """The result has a title, and its tables and data are valid JSON without NaN or infinity."""
        studies = [self._study(tmp_path, number) for number in range(max(1, self.studies))]
        if self.gives_a_result:
            self._storable(analysis.run(studies))
        elif (result := self._run(analysis, studies)) is not None:
            self._storable(result)

    def test_a_study_without_a_result(self, analysis: Analysis, tmp_path: Path) -> None:
        """For no trials, only failures or one trial, return a result or raise `DataError` or `RefusedError`."""
        for name, trials in (
            ("none", []),
            ("failed", [make_trial(0), make_trial(1, state=TrialState.OUT_OF_MEMORY)]),
            ("one", [make_trial(0, 0.7)]),
        ):
            study = make_study(tmp_path / name, trials, name=name)
            result = self._run(analysis, [study] * max(1, self.studies))
            if result is not None:
                self._storable(result)

    def test_a_plan_needs_no_trial(self, analysis: Analysis, tmp_path: Path) -> None:
        """If the analysis has a plan: it describes studies that have not begun, or raises `ScalecoreError`."""
        if not isinstance(analysis, SupportsPlan):
            return
        studies = [self._study(tmp_path, number) for number in range(max(1, self.studies))]
        try:
            planned = analysis.plan([evolve(study, trials=()) for study in studies], wanted=())
        except ScalecoreError:
            return
        assert {one.study for one in planned.trainings} <= {study.name for study in studies}
        json.dumps(plain(dict(planned.data)), allow_nan=False)

    def test_hostile_texts(self, analysis: Analysis, tmp_path: Path) -> None:
        """Names and reasons may contain any characters; HTML files must escape them."""
        trials = [make_trial(n, 0.7 - n / 100, origin=Origin(kind="forced", label=HOSTILE)) for n in range(6)]
        trials.append(make_trial(6, reason=HOSTILE))
        study = make_study(tmp_path / "hostile", trials)
        result = self._run(analysis, [study] * max(1, self.studies))
        if result is None:
            return
        self._storable(result)
        for name, content in result.files.items():
            if isinstance(content, str) and name.endswith(".html"):
                assert "<script>|" not in content, f"{name}: escape texts of trials with html.escape"

    def test_it_writes_no_files(self, analysis: Analysis, tmp_path: Path) -> None:
        """An analysis returns its result; scalecore writes the files."""
        studies = [self._study(tmp_path, number) for number in range(max(1, self.studies))]
        before = self._listing(tmp_path)
        self._run(analysis, studies)
        assert self._listing(tmp_path) == before

    # --- helpers ----------------------------------------------------------------------------------------------------

    def _study(self, root: Path, number: int) -> StudyView:
        trials = [make_trial(trial, 0.7 - 0.01 * (trial * 7 % 5)) for trial in range(8)]
        return make_study(root / f"study-{number}", [*trials, make_trial(8)], name=f"study-{number}")

    def _run(self, analysis: Analysis, studies: list[StudyView]) -> AnalysisResult | None:
        """Return the result, or None if the analysis refuses the studies."""
        try:
            return analysis.run(studies)
        except (DataError, RefusedError, ExperimentError):
            return None

    def _storable(self, result: AnalysisResult) -> None:
        assert result.title, "the result has no title"
        for name, rows in result.tables.items():
            assert all(set(row) <= set(rows[0]) for row in rows), f"table {name!r}: the first row lacks columns"
        content = plain(
            {"tables": result.tables, "data": result.data, "notes": result.notes, "summary": result.summary}
        )
        json.dumps(content, allow_nan=False)
        for name in result.files:
            assert is_inside(name), f"{name!r} is neither a plain file name nor one in a folder"

    def _listing(self, root: Path) -> dict[str, tuple[int, int]]:
        return {
            str(path.relative_to(root)): (path.stat().st_mtime_ns, path.stat().st_size)
            for path in sorted(root.rglob("*"))
            if path.is_file()
        }
