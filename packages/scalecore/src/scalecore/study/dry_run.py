"""Plans a study and reports what a run would refuse before its first trial, without writing anything."""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve, frozen

from scalecore.api.errors import ScalecoreError
from scalecore.api.logger import LoggerContext
from scalecore.config.instantiate import create
from scalecore.config.load import LoadedExperiment
from scalecore.config.resolved import Resolved
from scalecore.monitoring.sleep import sleep_finding
from scalecore.planning.build_plan import build_plan
from scalecore.planning.check_names import refuse_missing_trainer
from scalecore.planning.plan import Plan, silent
from scalecore.planning.preview import state_of
from scalecore.planning.slots import executor_context
from scalecore.store.layout import StudyFolder, output_folder
from scalecore.store.lock import refuse_running
from scalecore.store.state import StudyState
from scalecore.study.loggers import StudyLoggers
from scalecore.study.run import refuse_another_experiment, refuse_foreign_files, refuse_planned


@frozen(kw_only=True)
class Foreseen:
    """`refusal` is the error that `run_study` would raise before its first trial; None if the study would start."""

    plan: Plan
    state: StudyState
    refusal: ScalecoreError | None


def foresee(
    loaded: LoadedExperiment,
    resolved: Resolved,
    *,
    allow_changed_code: bool = False,
    say: Callable[[str], None] = silent,
) -> Foreseen:
    """Plan the study and run the checks of `run_study` in the same order.

    Problems that only a training step can show are left to the smoke step. Raises the error that prevents planning, or
    an earlier error that a run would raise. `say` prints one line at the start of each stage.
    """
    folder = StudyFolder(output_folder(resolved.experiment))
    first = _raised(lambda: _before_the_journal(folder)) or _raised(lambda: refuse_missing_trainer(loaded, resolved))
    if folder.journal.exists():
        say(f"reading the study in {folder.path}")
    state = state_of(folder)
    first = first or _raised(lambda: _before_the_plan(folder, state, resolved))
    try:
        device = state.device_needed(resolved.experiment.search.trials)
        plan, _ = build_plan(loaded, resolved, folder=folder.path, say=say, device=device, foresees=True)
        asleep = sleep_finding(keep_awake=resolved.experiment.execution.keep_awake)
        plan = evolve(plan, findings=(*plan.findings, asleep))
    except ScalecoreError as error:
        raise first or error from None
    then = _raised(lambda: _after_the_plan(folder, state, plan, allow_changed_code=allow_changed_code))
    return Foreseen(plan=plan, state=state, refusal=first or then)


def _before_the_journal(folder: StudyFolder) -> None:
    if folder.path.is_dir():
        refuse_foreign_files(folder)
        refuse_running(folder)


def _before_the_plan(folder: StudyFolder, state: StudyState, resolved: Resolved) -> None:
    refuse_another_experiment(folder, state, resolved)
    context = executor_context(resolved, folder.path)
    create("executor", resolved.executor, context).close()


def _after_the_plan(folder: StudyFolder, state: StudyState, plan: Plan, *, allow_changed_code: bool) -> None:
    refuse_planned(folder, state, plan, allow_changed_code=allow_changed_code)
    # Creating loggers is safe: they write nothing before a study starts.
    StudyLoggers(plan.resolved.loggers, LoggerContext(folder=folder.path)).close()


def _raised(check: Callable[[], None]) -> ScalecoreError | None:
    try:
        check()
    except ScalecoreError as error:
        return error
    return None
