"""The whole of several studies and their analyses: trainings counted once, times only where measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from attrs import evolve

from scalecore.api import formatting
from scalecore.api.analysis import AnalysisPlan, AnalysisResult, PlannedTraining
from scalecore.api.components import AnalysisRecord, NoOptions
from scalecore.api.errors import RefusedError
from scalecore.api.readings import Finding
from scalecore.api.trials import Proposal, StudyEnd, StudyView
from scalecore.config.resolved import ResolvedComponent
from scalecore.planning.plan import Plan
from scalecore.planning.preview import preview
from scalecore.planning.time_estimates import BACKWARD
from scalecore.store.events import AskedFor, RunStarted, TrialFinished
from scalecore.store.journal import Journal
from scalecore.store.layout import StudyFolder
from scalecore.store.state import StudyState, read_state
from scalecore.study.dry_run import Foreseen
from scalecore.testing.fakes import changed, make_trial, plan_walk
from scalecore.views.whole_plan import PlannedStudy, WholePlan, whole_plan
from scalecore.views.whole_plan_text import search_lines, total_lines, warning_lines

Plans = Callable[[Sequence[StudyView], Sequence[PlannedTraining]], AnalysisPlan]
EACH = 6.0
"""Seconds of each trial of a study of two epochs."""


def begin(folder: StudyFolder, plan: Plan, count: int) -> StudyState:
    """Write a study with `count` finished trials of its first shape, each of two epochs and `EACH` seconds."""
    folder.path.mkdir(parents=True)
    with closing(Journal(folder.journal)) as journal:
        journal.append(plan.begun())
        journal.append(RunStarted(pid=1, host="here", versions={}, total=4))
        for number in range(count):
            record = changed(make_trial(number), duration=EACH, learning_curve=[{"epoch": 1}, {"epoch": 2}])
            record = evolve(record, architecture=plan.grid.architectures[0])
            proposal = Proposal(architecture=record.architecture, hyperparameters={}, origin=record.origin)
            journal.append(AskedFor(number=number, hash=record.hash, seed=1, hyperparameters={}, proposal=proposal))
            journal.append(TrialFinished(number=number, record=record))
    return read_state(folder.journal)


def planned(folder: Path, label: str, *overrides: str, finished: int = 0, **changes: object) -> PlannedStudy:
    """A study with some finished trials; `changes` replace keys of the experiment."""
    plan = plan_walk(folder / label, f"output={folder / label / 'study'}", *overrides, name=label, **changes)
    state = begin(StudyFolder(folder / label / "study"), plan, finished) if finished else StudyState()
    foreseen = Foreseen(plan=plan, state=state, refusal=None)
    return PlannedStudy(label=label, values={}, foreseen=foreseen, preview=preview(plan, state))


@pytest.fixture
def studies(tmp_path: Path) -> list[PlannedStudy]:
    """Two studies of four trials; three of the second have finished."""
    return [planned(tmp_path, "small"), planned(tmp_path, "large", "dataset.context=8", finished=3)]


def analysis(name: str, plans: Plans, *, studies: int = 1) -> ResolvedComponent:
    """An analysis with this plan."""

    class Planned:
        def run(self, studies: Sequence[StudyView]) -> AnalysisResult:
            raise AssertionError("a plan runs no analysis")

        def plan(self, studies: Sequence[StudyView], *, wanted: Sequence[PlannedTraining]) -> AnalysisPlan:
            return plans(studies, wanted)

    record = AnalysisRecord(name=name, summary="One.", factory=lambda options: Planned(), studies=studies)
    return ResolvedComponent(record=record, options=NoOptions(), provider="acme", version="1.0")


def whole(studies: Sequence[PlannedStudy], *analyses: ResolvedComponent) -> WholePlan:
    return whole_plan(studies, analyses, folder=studies[0].folder.path)


def test_no_time_is_estimated_before_a_trial_finished(tmp_path: Path) -> None:
    """Times are unknown, in the table and in all; memory and disk are known."""
    found = whole([planned(tmp_path, "one"), planned(tmp_path, "two")])
    assert [(one.trial_seconds, one.seconds_left, one.measured) for one in found.searches] == [(None, None, 0)] * 2
    assert found.seconds_left is None
    assert found.disk > 0
    head, first, _ = search_lines(found)
    assert head.split() == ["study", "parameters", "shapes", "memory", "trials", "a", "trial", "time", "left"]
    assert first.split()[-4:] == ["of", "4", "unknown", "unknown"]
    assert "  time: unknown until the first trial finishes" in total_lines(found)


def test_a_study_without_trials_borrows_the_speed_of_another(studies: list[PlannedStudy]) -> None:
    """Scaled by FLOPs, training windows and epochs, and marked; the other's own time is that of `status`."""
    small, large = whole(studies).searches
    assert (large.seconds_left, large.borrowed, large.left) == (EACH, False, 1)
    plans = [one.foreseen.plan for one in studies]
    operations = [BACKWARD * plan.grid.architectures[0].flops * plan.data.parts["train"].windows for plan in plans]
    assert small.trial_seconds == pytest.approx(EACH * operations[0] / operations[1])
    assert (small.borrowed, small.measured, small.seconds_left) == (True, 3, pytest.approx(4 * small.trial_seconds))
    lines = search_lines(whole(studies))
    assert lines[1].endswith(" s*")
    assert lines[2].endswith(" 6 s")
    text = " ".join(total_lines(whole(studies)))
    assert "* by those of other studies with the same model and device, usually too long for larger shapes" in " ".join(
        text.split()
    )


def test_speeds_of_another_model_are_not_borrowed(tmp_path: Path, studies: list[PlannedStudy]) -> None:
    """A model of another family computes at another speed."""
    other = studies[1]
    plan = other.foreseen.plan
    model = evolve(plan.resolved.model, record=evolve(plan.resolved.model.record, name="mine"))
    changed = evolve(plan, resolved=evolve(plan.resolved, model=model))
    found = whole([studies[0], evolve(other, foreseen=evolve(other.foreseen, plan=changed))])
    assert found.searches[0].trial_seconds is None
    text = " ".join(" ".join(total_lines(found)).split())
    assert "unknown without a timed trial of the same model and device" in text


def test_slots_divide_the_time(tmp_path: Path) -> None:
    """Trials left run at the same time; the memory is given for one and for all slots."""
    found = whole([planned(tmp_path, "one", "execution.slots=2", "search.trials=5", finished=1)])
    assert found.searches[0].seconds_left == 4 * EACH / 2
    text = " ".join(" ".join(total_lines(found)).split())
    assert "up to 2 trials at a time" in text
    assert ", 2 at a time " in text


def test_a_trial_above_the_memory_of_the_machine_has_its_least(tmp_path: Path) -> None:
    """The largest trial at micro-batch 1 decides whether the study can run here."""
    found = whole([planned(tmp_path, "one")])
    least = found.searches[0].memory_floor
    assert least is not None
    assert "at micro-batch 1" not in " ".join(" ".join(total_lines(found)).split())
    text = " ".join(" ".join(total_lines(evolve(found, machine_memory=1_000_000))).split())
    assert f"; this machine has 1 MB; at micro-batch 1 it needs {formatting.size(least)} disk:" in text


def test_an_exhausted_study_has_nothing_left(tmp_path: Path) -> None:
    """It ended with fewer trials than its total, because there was nothing new to try."""
    one = planned(tmp_path, "one", finished=2)
    one.foreseen.state.end, one.foreseen.state.total = StudyEnd.EXHAUSTED, 4
    found = whole([one]).searches[0]
    assert (found.finished, found.left, found.seconds_left) == (2, 0, 0.0)


def test_equal_trainings_of_two_analyses_count_once(studies: list[PlannedStudy]) -> None:
    """The second adds what the first does not train; times are by study, shape and epochs."""
    shape = studies[1].foreseen.plan.grid.architectures[0]

    def first(views: Sequence[StudyView], wanted: Sequence[PlannedTraining]) -> AnalysisPlan:
        assert [view.name for view in views] == ["small", "large"]
        assert not wanted
        best = PlannedTraining(study="large", configuration="best", seeds=5, done=2, architecture=shape, epochs=4)
        return AnalysisPlan(trainings=[best])

    def second(views: Sequence[StudyView], wanted: Sequence[PlannedTraining]) -> AnalysisPlan:
        assert [one.seeds for one in wanted] == [5]
        mine = PlannedTraining(study="large", configuration="best", seeds=3, done=2)
        other = PlannedTraining(study="small", configuration="best", seeds=3)
        return AnalysisPlan(trainings=[mine, other], at_most=True, lines=["six runs"], data={"runs": 6})

    found = whole(studies, analysis("confirm", first), analysis("matrix", second))
    confirm, matrix = found.analyses
    assert (confirm.trainings, confirm.left, confirm.shared, confirm.seconds_left) == (
        5,
        3,
        0,
        pytest.approx(3 * 2 * EACH),
    )
    assert (matrix.trainings, matrix.left, matrix.shared) == (3, 3, 3)
    assert found.searches[0].trial_seconds is not None
    assert matrix.seconds_left == pytest.approx(3 * found.searches[0].trial_seconds)
    lines = total_lines(found)
    assert [line.split() for line in lines[2:5]] == [
        ["2", "searches", "8", "5", *lines[2].split()[4:]],
        ["confirm", "5", "3", "36", "s"],
        ["matrix", "at", "most", "3", "at", "most", "3", *lines[4].split()[7:]],
    ]
    assert lines[5].split()[:7] == ["all", "at", "most", "16", "at", "most", "11"]
    assert "  matrix: 3 more are those of an earlier analysis" in lines
    assert lines[-2:] == ["matrix:", "  six runs"]
    assert matrix.data == {"runs": 6}


def test_an_analysis_that_cannot_be_planned_does_not_break_the_plan(studies: list[PlannedStudy]) -> None:
    """Its refusal, its bug or too few studies are reported with its name; the other analyses are planned."""

    def refuses(_: Sequence[StudyView], __: Sequence[PlannedTraining]) -> AnalysisPlan:
        raise RefusedError("no two studies are comparable")

    def fails(_: Sequence[StudyView], __: Sequence[PlannedTraining]) -> AnalysisPlan:
        raise ZeroDivisionError("division by zero")

    def unknown(_: Sequence[StudyView], __: Sequence[PlannedTraining]) -> AnalysisPlan:
        return AnalysisPlan(trainings=[PlannedTraining(study="medium", configuration="best", seeds=1)])

    def fine(_: Sequence[StudyView], wanted: Sequence[PlannedTraining]) -> AnalysisPlan:
        assert not wanted
        return AnalysisPlan(lines=["fine"])

    parts = [analysis("a", refuses), analysis("b", fails), analysis("c", unknown), analysis("d", fine, studies=3)]
    found = whole(studies, *parts, analysis("e", fine))
    assert [one.problem for one in found.analyses] == [
        "no two studies are comparable",
        "acme 1.0 failed: ZeroDivisionError: division by zero",
        "acme 1.0 planned trainings of a study 'medium', which is none of small and large",
        "it needs at least 3 studies",
        None,
    ]
    lines = total_lines(found)
    assert "a: no plan: no two studies are comparable" in lines
    assert lines[-2:] == ["e:", "  fine"]


def test_an_analysis_without_a_plan_is_left_out(studies: list[PlannedStudy]) -> None:
    """It trains nothing that could be counted before it runs."""
    record = AnalysisRecord(name="plain", summary="One.", factory=lambda options: Unplanned())
    component = ResolvedComponent(record=record, options=NoOptions(), provider="acme", version="1.0")
    assert whole(studies, component).analyses == []


class Unplanned:
    def run(self, studies: Sequence[StudyView]) -> AnalysisResult:
        raise AssertionError("a plan runs no analysis")


def test_studies_of_one_target_on_other_windows_are_named(tmp_path: Path, studies: list[PlannedStudy]) -> None:
    """A longer context moves the validation windows; equal windows and other targets need no warning."""
    small, large = (one.preview.plan for one in studies)
    parts = [one.data.parts["val"] for one in (small, large)]
    assert whole(studies).notes == [
        "validation windows differ between studies of one target, so their losses are not comparable: small "
        f"{parts[0].windows} from {parts[0].samples[0]} to {parts[0].samples[1]}; large {parts[1].windows} from "
        f"{parts[1].samples[0]} to {parts[1].samples[1]}"
    ]
    texts = warning_lines(whole(studies), {"small": small, "large": large})
    assert any(line.startswith("  warn   comparison: validation windows differ") for line in texts)
    assert all(len(line) <= 100 for line in texts)
    other = planned(tmp_path, "other", "dataset.target.horizon=3", "guards.min_validation_samples=20")
    assert whole([studies[0], planned(tmp_path, "same"), other]).notes == []


def test_a_warning_of_all_studies_is_printed_once(tmp_path: Path) -> None:
    """One of a single study has its label; one about the machine is printed once, though its text may change."""
    one, two = planned(tmp_path, "one"), planned(tmp_path, "two", "training.hyperparameters.warmup_steps=500")
    plans = {each.label: each.preview.plan for each in (one, two)}
    for count, (label, plan) in enumerate(plans.items(), start=1):
        runs = Finding(level="warn", subject="other runs", message=f"{count} more on this machine")
        others = [each for each in plan.findings if each.subject != "other runs"]
        plans[label] = evolve(plan, findings=(*others, runs))
    lines = warning_lines(whole([one, two]), plans)
    assert lines[0] == "  warn   other runs: 1 more on this machine"
    text = " ".join(" ".join(lines).split())
    assert text.count("other runs") == 1
    assert text.count("no hardware monitor is active") == 1
    assert "or raise epochs (two)" in text


def test_the_json_has_every_number(studies: list[PlannedStudy]) -> None:
    """`plain` has JSON types, with the values of the sweep."""
    found = whole([evolve(studies[0], values={"dataset.context": 4}), studies[1]]).plain()
    assert found["searches"][0]["values"] == {"dataset.context": 4}  # type: ignore[index]
    assert set(found) == {"searches", "analyses", "seconds_left", "machine_memory", "disk", "disk_free", "notes"}
