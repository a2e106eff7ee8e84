"""`scalecore run`: lock the folder, replay the journal, refuse incompatible changes, run the smoke step, drive."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress

from scalecore.api.analysis import TrainingContext
from scalecore.api.clock import RunningClock
from scalecore.api.errors import RefusedError
from scalecore.api.executor import Executor, SupportsTracer
from scalecore.api.files import is_disk_error, write_text
from scalecore.api.logger import LoggerContext
from scalecore.api.readings import Finding
from scalecore.api.trials import StudyEnd
from scalecore.config.instantiate import create
from scalecore.config.load import LoadedExperiment
from scalecore.config.resolved import Resolved
from scalecore.config.source import dump
from scalecore.execution.folder import AttemptFolder
from scalecore.execution.local.launch import kill_group
from scalecore.execution.process_file import lives_in
from scalecore.planning.build_plan import build_plan
from scalecore.planning.continuation import (
    Continuation,
    compare_study,
    continuation_lines,
    differences,
    misfits,
)
from scalecore.planning.plan import Plan, silent
from scalecore.planning.runtime import new_strategy
from scalecore.planning.slots import executor_context
from scalecore.store.disk import explained
from scalecore.store.event_parts import Change
from scalecore.store.events import Repaired, RunStarted, SearchChanged
from scalecore.store.identity import by_name
from scalecore.store.journal import Journal
from scalecore.store.layout import StudyFolder, output_folder
from scalecore.store.lock import StudyLock
from scalecore.store.state import StudyState, read_state
from scalecore.study.driver import Driver
from scalecore.study.loggers import StudyLoggers
from scalecore.study.session import Session
from scalecore.study.stop_requests import StopRequests

ORPHAN_SECONDS = 20.0


def run_study(
    loaded: LoadedExperiment,
    resolved: Resolved,
    training: TrainingContext,
    *,
    say: Callable[[str], None] = silent,
) -> StudyEnd:
    """Run or resume the study of an experiment file; return how it ended.

    `say` prints one line at the start of each stage until the loggers start, unless the console is quiet. Raises the
    errors of `scalecore.api.errors`; finished trials are in the journal in any case.
    """
    folder = StudyFolder(output_folder(resolved.experiment))
    if training.verbosity < 0 or not _has_console(resolved):
        say = silent
    with locked_folder(folder) as lock, ExitStack() as opened, ExitStack() as undriven:
        if folder.journal.exists():
            say(f"reading the study in {folder.path}")
        state = read_state(folder.journal)
        continuation = refuse_another_experiment(folder, state, resolved)
        context = executor_context(resolved, folder.path)
        executor: Executor = create("executor", resolved.executor, context)
        undriven.callback(executor.close)
        # Predicting memory needs the libraries of an attempt; importing them takes over a second.
        fork = executor.fork_tracer if isinstance(executor, SupportsTracer) else None
        plan, runtime = build_plan(
            loaded,
            resolved,
            folder=folder.path,
            registry=training.registry,
            fork_tracer=fork,
            say=say,
            device=state.device_needed(resolved.experiment.search.trials),
        )
        refuse_planned(folder, state, plan, allow_changed_code=training.allow_changed_code)
        say(f"preparing the study in {folder.path}")
        strategy = new_strategy(plan)
        loggers = StudyLoggers(resolved.loggers, LoggerContext(folder=folder.path, verbosity=training.verbosity))
        # Nothing was written so far: a refused run leaves no trace.
        with explained(folder.path):
            journal = opened.enter_context(closing(Journal(folder.journal, lines=state.events)))
            plan.write_data(folder.data)
            runtime.forecast.keep()
        with explained(folder.path), StopRequests(folder) as requests:
            end_orphans(folder, state, say=say)
            _remove_temporary(folder)
            write_text(folder.source, dump(plan.experiment))
            session = Session(
                plan,
                runtime,
                folder=folder,
                lock=lock,
                journal=journal,
                state=state,
                strategy=strategy,
                loggers=loggers,
            )
            begin(session, resolved.experiment.search.trials, changes=continuation.allowed)
            driver = Driver(session, executor=executor, requests=requests, registry=training.registry)
            undriven.pop_all()  # the driver closes the executor itself
            return driver.run()


def _has_console(resolved: Resolved) -> bool:
    """Whether the logger `console` is active and not quiet."""
    return any(one.record.name == "console" and one.options.verbosity != "quiet" for one in resolved.loggers)


@contextmanager
def locked_folder(folder: StudyFolder) -> Iterator[StudyLock]:
    """Create and lock the study's folder; on exit, remove the folder if no study was started in it.

    Raises `RefusedError` if the folder is not writable, contains other files, or its study is running.
    """
    with explained(folder.path):
        _make(folder)
        lock = StudyLock(folder)
    try:
        yield lock
    finally:
        _unmake(folder)
        lock.release()


def _make(folder: StudyFolder) -> None:
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        probe = folder.path / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        if is_disk_error(error) and folder.journal.exists():  # a run of an existing study fails, it is not refused
            raise
        raise RefusedError(
            f"{folder.path}: the study's folder cannot be written: {error.strerror}; give another `output`"
        ) from None
    refuse_foreign_files(folder)


def refuse_foreign_files(folder: StudyFolder) -> None:
    """Raise `RefusedError` for a folder that contains other files and no study."""
    # A lease without a journal comes from a runner that was killed in its first moments.
    ours = folder.lease.name
    foreign = [path.name for path in folder.path.iterdir() if not path.name.startswith(".") and path.name != ours]
    if foreign and not folder.journal.exists():
        raise RefusedError(
            f"{folder.path}: this folder contains other files ({', '.join(sorted(foreign)[:3])}) and no study; give "
            "another `output`"
        )


def _unmake(folder: StudyFolder) -> None:
    """Remove the folder of a study that did not start, unless it contains other files."""
    if not folder.journal.exists():
        with suppress(OSError):  # the error that stopped the study is the one to report
            folder.lease.unlink(missing_ok=True)
            folder.epoch.unlink(missing_ok=True)
            folder.lock.unlink(missing_ok=True)
            folder.path.rmdir()


def begin(session: Session, total: int, *, changes: Sequence[Change] = ()) -> None:
    """Journal the first events of this run: changes of the search, a new or changed experiment, a repair, the run."""
    plan = session.plan
    if changes:
        left_out = misfits(session.state, plan)
        left = {str(number): why for number, why in left_out.items()}
        session.record(SearchChanged(changes=changes, left_out=left))
        for line in continuation_lines(changes, left_out, session.state.next_number(retrained=False)):
            session.message("info", line)
    if session.retraining is None and session.state.experiment != plan.experiment:
        session.record(plan.begun())
    if session.journal.torn is not None:
        session.record(Repaired.of_torn(session.journal.torn))
    device = session.state.device  # for a study of an older version, taken from its trials
    session.record(
        RunStarted(
            pid=os.getpid(),
            host=socket.gethostname(),
            versions=plan.versions,
            total=total,
            device=device if session.state.settled is None else None,
            retrains=None if session.retraining is None else session.retraining.title,
        )
    )


def _remove_temporary(folder: StudyFolder) -> None:
    """Remove temporary files that a killed runner, or a disk that became read-only, left behind."""
    for place in ("", "trials", "predictions", "weights"):
        for path in (folder.path / place).glob(".*.tmp"):
            path.unlink(missing_ok=True)


def refuse_planned(folder: StudyFolder, state: StudyState, plan: Plan, *, allow_changed_code: bool) -> None:
    """Refuse a planned study if its data or code changed, or if this machine cannot run the remaining trials."""
    refuse_changed_data(folder, state, plan)
    refuse_changed_code(folder, state, plan, allow_changed_code=allow_changed_code)
    if not state.is_complete(plan.resolved.experiment.search.trials):
        refuse_findings(plan.findings)


def refuse_another_experiment(folder: StudyFolder, state: StudyState, resolved: Resolved) -> Continuation:
    """Refuse changes of settings that decide results: one folder, one experiment (G22). Return the other changes."""
    continuation = compare_study(state, resolved, folder=folder.path)
    if continuation.refused:
        lines = "\n".join(f"  {change.text()}" for change in continuation.refused)
        raise RefusedError(
            f"{folder.path} contains a study of another experiment; these settings differ (study -> file):\n{lines}\n"
            "Give another `output` or `name`, or undo the change. search, loggers, monitors and execution may "
            "change.",
            guard="G22",
        )
    return continuation


def refuse_changed_data(folder: StudyFolder, state: StudyState, plan: Plan) -> None:
    """Refuse data that differ in any value, whether or not the folder still contains the prepared copy (G52)."""
    before = state.plan.data.fingerprint if state.plan else plan.data.fingerprint
    if before != plan.data.fingerprint:
        raise RefusedError(
            f"{folder.path}: the data changed since the study began (fingerprint {before[:12]} -> "
            f"{plan.data.fingerprint[:12]}); restore the old data, or give another `output`",
            guard="G52",
        )


def refuse_changed_code(folder: StudyFolder, state: StudyState, plan: Plan, *, allow_changed_code: bool) -> None:
    """Refuse changed code unless the user allows it (G26)."""
    if not state.versions:
        return
    was, now = dict(state.versions), dict(plan.versions)
    before = by_name("search", state.experiment.get("search", {})).get("use")
    if before is not None and before != by_name("search", plan.experiment["search"])["use"]:
        # Another strategy comes with another package: a change of the search, not of the trials.
        both = was.keys() & now.keys() - {"code"}
        was, now = {name: was[name] for name in both}, {name: now[name] for name in both}
    changes = sorted(differences(was, now), key=lambda one: one.key.startswith("code"))  # hashes last
    if changes and not allow_changed_code:
        text = ", ".join(f"{one.key} {json.dumps(one.before)} -> {json.dumps(one.after)}" for one in changes)
        raise RefusedError(
            f"{folder.path}: the code changed since the study was last run ({text}); results of two versions would be "
            "mixed. "
            "Go back to the previous version, or pass --allow-changed-code: every record names its versions",
            guard="G26",
        )


def refuse_findings(findings: Sequence[Finding]) -> None:
    """Raise `RefusedError` with everything that the monitors' preflight refuses."""
    refused = [finding for finding in findings if finding.level == "refuse"]
    if refused:
        raise RefusedError(
            "the study was not started:\n"
            + "\n".join(f"  {f.subject}: {f.message}" + (f"; {f.remedy}" if f.remedy else "") for f in refused)
        )


def end_orphans(folder: StudyFolder, state: StudyState, *, say: Callable[[str], None] = silent) -> None:
    """Wait for attempts of a killed driver, which end on their own without their parent; kill those that do not.

    Only processes of this folder are killed: in a copy of a running study, `process.json` names processes of the
    original. Version 0.1 did not store the folder, so its processes are not killed.
    """
    clock = RunningClock()
    deadline = clock() + ORPHAN_SECONDS
    for trial in state.open:
        for index in range(len(trial.attempts)):
            attempt = AttemptFolder(folder.attempt(trial.number, index))
            process = attempt.read_process()
            if process is None or not lives_in(process, attempt.path):
                continue
            say(f"waiting for attempt {trial.number}-{index} of an earlier run to end")
            while (alive := lives_in(process, attempt.path)) and clock() < deadline:
                time.sleep(0.05)
            if alive and process.folder is not None:
                kill_group(process.pid)
