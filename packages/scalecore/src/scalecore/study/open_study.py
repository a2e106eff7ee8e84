"""Open an existing study for work after its search: lock it, replay its journal, rebuild its plan, refuse changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from attrs import frozen

from scalecore.api.analysis import TrainingContext
from scalecore.api.errors import RefusedError
from scalecore.api.trials import TrialRecord
from scalecore.planning.build_plan import build_plan
from scalecore.planning.plan import Plan
from scalecore.planning.runtime import Runtime
from scalecore.plugins.registry import load_registry
from scalecore.store.disk import explained
from scalecore.store.events import Event, Repaired
from scalecore.store.journal import Journal
from scalecore.store.kept_study import load_stored
from scalecore.store.layout import StudyFolder
from scalecore.store.lock import StudyLock
from scalecore.store.state import StudyState, read_state
from scalecore.store.study_device import StudyDevice
from scalecore.study.run import refuse_another_experiment, refuse_changed_code, refuse_changed_data, refuse_findings
from scalecore.study.stop_requests import StopRequests


@frozen(kw_only=True, eq=False)
class OpenStudy:
    """A study that is locked while `open_study` is active."""

    folder: StudyFolder
    lock: StudyLock
    journal: Journal
    state: StudyState
    plan: Plan
    runtime: Runtime
    requests: StopRequests
    training: TrainingContext

    def record(self, event: Event) -> None:
        """Append to the study's journal and flush to disk."""
        for one in self.state.announced(event):
            self.state.apply(self.journal.append(one))

    def plan_with(self, overrides: Sequence[str]) -> tuple[Plan, Runtime]:
        """The study's plan with overridden keys of its experiment."""
        return _plan(self.folder, overrides, self.training.registry, device=self.state.device)

    def completed(self) -> list[TrialRecord]:
        """Completed trials, best first; trials that predict a constant come last (guard G09)."""
        return list(self.state.ranked)

    def openings(self) -> list[dict[str, Any]]:
        """Openings of the test data, as written to results."""
        names = ("time", "by", "models", "data", "test")
        return [{name: getattr(opening, name) for name in names} for opening in self.state.openings]


@contextmanager
def open_study(folder: StudyFolder, training: TrainingContext) -> Iterator[OpenStudy]:
    """Lock the study in `folder` and build its plan from the stored experiment.

    Raises `RefusedError`, before anything is written, if the study is running or if its experiment (G22), its data
    (G52) or the code (G26) has changed.
    """
    folder = StudyFolder(folder.path.absolute())
    with explained(folder.path):
        lock = StudyLock(folder)
    journal = None
    try:
        state = read_state(folder.journal)
        if not state.records:
            raise RefusedError(f"{folder.path}: the study has no finished trial; run it with `scalecore run`")
        plan, runtime = _plan(folder, (), training.registry, device=state.device)
        refuse_another_experiment(folder, state, plan.resolved)
        refuse_changed_data(folder, state, plan)
        refuse_changed_code(folder, state, plan, allow_changed_code=training.allow_changed_code)
        # The first attempt reports a missing device: without missing trainings or evaluations none is needed.
        refuse_findings([one for one in plan.findings if one.subject != "device"])
        with explained(folder.path):
            journal = Journal(folder.journal, lines=state.events)
            plan.write_data(folder.data)
        with explained(folder.path), StopRequests(folder) as requests:
            study = OpenStudy(
                folder=folder,
                lock=lock,
                journal=journal,
                state=state,
                plan=plan,
                runtime=runtime,
                requests=requests,
                training=training,
            )
            if journal.torn is not None:
                text = f"an incomplete last line of the journal was moved to {journal.torn.name}"
                study.record(Repaired(message=text))
            yield study
    finally:
        if journal is not None:
            journal.close()
        lock.release()


def _plan(
    folder: StudyFolder, overrides: Sequence[str], registry: Mapping[str, Any], *, device: StudyDevice | None
) -> tuple[Plan, Runtime]:
    loaded, resolved = load_stored(folder, overrides=overrides, registry=load_registry(**registry))
    return build_plan(loaded, resolved, folder=folder.path, device=device)
