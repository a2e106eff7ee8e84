"""Logger `mlflow`: an MLflow run for the study with a nested run for each trial, in a file or on a server."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from attrs import define, field

from scalecore.api.errors import RefusedError, StudyError
from scalecore.api.logger import LoggerContext
from scalecore.api.trials import Proposal, StudyEnd, StudyView, TrialRecord, best_trial
from scalecore_trackers.mlflow_client import Client, key
from scalecore_trackers.options import MlflowOptions
from scalecore_trackers.trial_runs import OpenRun, TrialRuns
from scalecore_trackers.values import EpochPoint, facts, outcome, parameters, run_name, seconds, succeeded

__all__ = ["MlflowLogger", "location"]

STUDY, TRIAL, HASH, STORED = "scalecore.study", "scalecore.trial", "scalecore.hash", "scalecore.stored"
PARENT = "mlflow.parentRunId"
PAUSE = 0.5
"""Minimum seconds between two requests for a learning curve: short epochs are sent together."""
ENDS = {
    StudyEnd.COMPLETED: "FINISHED",
    StudyEnd.EXHAUSTED: "FINISHED",
    StudyEnd.STOPPED: "KILLED",
    StudyEnd.TIMED_OUT: "KILLED",
    StudyEnd.FAILED: "FAILED",
}


@define
class _MlflowRun(OpenRun):
    client: Client
    id: str
    at: int
    """End of the latest epoch in milliseconds since 1970, the sum of the start and the epochs' durations."""
    _waiting: list[tuple[str, float, int, int]] = field(factory=list)
    _sent: float = 0.0

    def write(self, point: EpochPoint) -> None:
        self.at += round(point.seconds * 1000)
        self._waiting += [(name, value, self.at, point.epoch) for name, value in point.values.items()]
        if time.monotonic() > self._sent + PAUSE:
            self._send()

    def finish(self, record: TrialRecord) -> None:
        at, found = _milliseconds(seconds(record.ended)), outcome(record)
        self._waiting += [(name, value, at, int(found.get("best/epoch", 0))) for name, value in found.items()]
        self._send()
        texts = {
            name: " ".join(value) if isinstance(value, list) else str(value) for name, value in facts(record).items()
        }
        tags = {f"scalecore.{name}": text for name, text in texts.items()}
        self.client.log(self.id, params={"flops": record.architecture.flops}, tags=tags)
        # Last: this status marks the run as complete.
        self.client.set_terminated(self.id, status="FINISHED" if succeeded(record) else "FAILED", end_time=at)

    def close(self) -> None:
        self._send()
        self.client.set_terminated(self.id, status="KILLED")

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        self.client.log(self.id, metrics=waiting)
        self._sent = time.monotonic()


class MlflowLogger(TrialRuns):
    """Finds runs by their tags."""

    def __init__(self, options: MlflowOptions, context: LoggerContext) -> None:
        super().__init__()
        self._options = options
        self._uri, self._folder = location(options, context.folder)
        self._remarks: list[tuple[str, str]] = []

    def study_started(self, study: StudyView) -> None:
        self._client = Client(self._uri)
        self._open_experiment(study)
        self._found: dict[int, list[Any]] = {}
        """Trial number -> its runs."""
        parents = []
        for run in self._client.runs_of(self._experiment, f"tags.`{STUDY}` = '{study.id}'"):
            if TRIAL in run.data.tags:
                self._found.setdefault(int(run.data.tags[TRIAL]), []).append(run)
            else:
                parents.append(run)
        self._describe(study, parents[0] if parents else None)
        super().study_started(study)
        self._show_best(study)

    def trial_finished(self, record: TrialRecord, study: StudyView) -> None:
        super().trial_finished(record, study)
        self._show_best(study)

    def study_finished(self, study: StudyView) -> None:
        super().study_finished(study)
        if study.end is not None or not study.runs:
            for trial in study.unfinished:  # also trials of a killed process
                for run in self._found.get(trial.number, ()):
                    self._client.set_terminated(run.info.run_id, status="KILLED")
        if study.end is not None:
            self._client.log(self._parent, tags={"scalecore.state": str(study.end)})
            self._client.set_terminated(self._parent, status=ENDS[study.end])
        elif not study.runs:
            self._client.set_terminated(self._parent, status="KILLED")

    def take_remarks(self) -> list[tuple[str, str]]:
        taken, self._remarks = self._remarks, []
        return taken

    def begin(self, study: StudyView, number: int, trial: Proposal | TrialRecord) -> OpenRun:
        for run in self._found.pop(number, ()):
            self._client.delete_run(run.info.run_id)
        begun = _milliseconds(seconds(trial.started) if isinstance(trial, TrialRecord) else None)
        origin = trial.origin
        tags = {STUDY: study.id, TRIAL: str(number), PARENT: self._parent, "scalecore.origin": origin.kind}
        tags |= {"scalecore.label": origin.label} if origin.label else {}
        run = self._client.create_run(self._experiment, start_time=begun, tags=tags, run_name=run_name(number))
        self._found[number] = [run]
        self._client.log(run.info.run_id, params=parameters(study, trial))
        return _MlflowRun(self._client, run.info.run_id, begun)

    def is_complete(self, study: StudyView, record: TrialRecord) -> bool:
        found = self._found.get(record.number, [])
        if len(found) != 1 or found[0].info.status not in ("FINISHED", "FAILED"):
            return False
        tags = found[0].data.tags
        return (tags.get(HASH), tags.get(PARENT)) == (record.hash, self._parent)

    def write_trial(self, record: TrialRecord, study: StudyView) -> None:
        super().write_trial(record, study)
        from scalecore.api.studies import record_plain

        self._store(self._found[record.number][0], record_plain(record), "trial.json")

    def _open_experiment(self, study: StudyView) -> None:
        name = self._options.experiment or study.name
        found = self._client.get_experiment_by_name(name)
        there = self._folder if found is None else found.artifact_location
        moved = self._folder is not None and there != self._folder and re.fullmatch("file:.*/mlartifacts", str(there))
        self._artifacts = self._options.artifacts and not moved
        if self._options.artifacts and moved:
            # MLflow cannot change the location of an experiment's artifacts.
            text = f"mlflow stores no artifacts: the experiment stores them in {there}, the project's former place; "
            self._remarks.append(("warning", f"{text}set another `experiment`, or `artifacts: false`"))
        self._experiment: str = (
            self._client.create_experiment(name, artifact_location=self._folder)
            if found is None
            else found.experiment_id
        )

    def _describe(self, study: StudyView, found: Any) -> None:
        """Write the study's run. It omits the search, which may change later: MLflow cannot change parameters."""
        run = found or self._client.create_run(self._experiment, tags={STUDY: study.id}, run_name=study.name)
        self._parent: str = run.info.run_id
        history = self._client.get_metric_history(self._parent, "best") if "best" in run.data.metrics else ()
        self._best = {one.step for one in history}
        """Numbers of finished trials whose best value is stored."""
        experiment, objective = study.experiment, study.experiment["objective"]
        shown = {
            **{name: experiment[name]["use"] for name in ("dataset", "model", "search")},
            "budget": study.budget,
            "seed": experiment["seed"],
            **{name: objective[name] for name in ("metric", "direction")},
            **study.plan.fixed,
        }
        known = run.data.params
        self._client.log(
            self._parent,
            params={name: value for name, value in shown.items() if key(name) not in known},
            tags={"scalecore.folder": str(study.folder)},
        )
        self._client.update_run(self._parent, status="RUNNING")
        self._store(run, dict(experiment), "experiment.yaml")

    def _show_best(self, study: StudyView) -> None:
        """Log the best value after each finished trial."""
        counted, direction = study.counted, study.experiment["objective"]["direction"]
        found: list[tuple[str, float, int, int]] = []
        for count, last in enumerate(counted, start=1):
            if count not in self._best:
                best = best_trial(counted[:count], direction=direction)
                if best is not None and best.value is not None:
                    found.append(("best", best.value, _milliseconds(seconds(last.ended)), count))
        best = study.best
        self._client.log(self._parent, metrics=found, tags={} if best is None else {"scalecore.best": str(best.number)})
        self._best.update(step for *_, step in found)

    def _store(self, run: Any, content: dict[str, Any], name: str) -> None:
        """Store an artifact. If that fails, everything else is still written."""
        if not self._artifacts or STORED in run.data.tags:
            return
        try:
            self._client.log_dict(run.info.run_id, content, name)
        except StudyError as error:
            self._artifacts = False
            self._remarks.append(("warning", f"mlflow stores no artifacts: {error}"))
        else:
            self._client.log(run.info.run_id, tags={STORED: name})


def location(options: MlflowOptions, folder: Path) -> tuple[str, str | None]:
    """The URI of the runs, and the URI of a new experiment's artifacts; None if a server decides.

    Raises `RefusedError` for a file whose path MLflow would misread.
    """
    if not options.is_file:
        return str(options.uri), None
    path = folder.parent / "mlflow.db" if options.uri is None else folder / options.uri.removeprefix("sqlite:///")
    path = path.resolve()
    from sqlalchemy import make_url

    # Do not quote with `URL.create`: MLflow creates the folder named in the text of the URL.
    uri = f"sqlite:///{path}"
    if make_url(uri).database != str(path):
        raise RefusedError(
            f"logger 'mlflow': {path} cannot be part of a URL, where a path ends at `?` and `%41` is `A`; set a `uri` "
            "with another path, or another `output`"
        )
    return uri, (path.parent / "mlartifacts").as_uri()


def _milliseconds(at: float | None) -> int:
    """Convert seconds since 1970 to milliseconds; None means now."""
    return round((time.time() if at is None else at) * 1000)
