"""The runs of one study in MLflow: one for the study, and one within it for each trial. Brought in line, never trusted.

What is there is found by tags that the runs have from their first moment, so it does not matter what was lost on the
way, or by whom: nothing is written twice. This module imports mlflow: import it inside the function that writes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from attrs import define, field
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag

from scalecore.api.space import Value
from scalecore.api.trials import Origin, StudyEnd, StudyView, TrialRecord, TrialState, best_trial
from scalecore.study.following import StudyNow
from scalecore.study.record import record_plain
from scalecore_trackers.values import numbers, outcome, parameters, run_name, seconds, spent

__all__ = ["StudyRuns"]

STUDY, TRIAL, STATE, STORED = "scalecore.study", "scalecore.trial", "scalecore.state", "scalecore.stored"
BATCH = 900
"""Metrics in one request; MLflow takes a thousand entries."""
TEXT = 5000
"""Characters of a tag or parameter; MLflow takes some more."""
ENDS = {
    StudyEnd.COMPLETED: "FINISHED",
    StudyEnd.EXHAUSTED: "FINISHED",
    StudyEnd.STOPPED: "KILLED",
    StudyEnd.TIMED_OUT: "KILLED",
    StudyEnd.FAILED: "FAILED",
}


@define(kw_only=True)
class _Known:
    """What MLflow has of a run."""

    id: str
    start: int
    """Milliseconds since 1970."""
    status: str = "RUNNING"
    tags: dict[str, str] = field(factory=dict)
    params: set[str] = field(factory=set)
    steps: dict[str, set[int]] = field(factory=dict)
    """The steps of each metric."""

    @property
    def over(self) -> bool:
        """Whether everything of a finished trial is there, but for artifacts."""
        return self.status in ("FINISHED", "FAILED") and STATE in self.tags


class StudyRuns:
    """Not for several threads; whatever a call raises, a fresh object begins anew."""

    def __init__(self, study: StudyView, *, uri: str, experiment: str, artifacts: bool, folder: str | None) -> None:
        """`folder` is the URI under which the artifacts of a new experiment are kept, None for the server's own."""
        self._client = MlflowClient(tracking_uri=uri)
        found = self._client.get_experiment_by_name(experiment)
        self.elsewhere: str | None = None
        """Where the experiment keeps artifacts since the project lay there: MLflow cannot be told that it moved."""
        there = folder if found is None else found.artifact_location
        if folder is not None and there != folder and re.fullmatch("file:.*/mlartifacts", str(there)):
            self.elsewhere = str(there)
        self._artifacts = artifacts and self.elsewhere is None
        self._experiment: str = (
            found.experiment_id
            if found is not None
            else self._client.create_experiment(experiment, artifact_location=folder)
        )
        self._trials: dict[int, _Known] = {}
        self._described = False
        parent: _Known | None = None
        for run in self._search(study.id):
            known = self._known(run)
            if TRIAL in run.data.tags:
                self._trials[int(run.data.tags[TRIAL])] = known
            else:
                parent = known
        self._parent = parent or self._create(study.name, {STUDY: study.id}, at=None)

    def bring_in_line(self, now: StudyNow) -> None:
        """Numbers first, artifacts last: where these cannot be stored, everything else is there."""
        study = now.study
        self._set_status(self._parent, "RUNNING")
        self._describe(study)
        for record in study.trials:
            self._finish(study, record)
        for trial in study.unfinished:
            number, proposal = trial.number, trial.proposal
            if number not in study.running:
                if number in self._trials:
                    self._set_status(self._trials[number], "KILLED")
                continue
            known = self._trial(study, number, proposal.origin, at=None)
            self._set_status(known, "RUNNING")
            shown = parameters(study, proposal.architecture, proposal.hyperparameters)
            self._log(known, self._metrics(now.curve(number), known), params=shown)
        self._show_best(study)
        if study.end is not None:
            self._log(self._parent, [], tags={STATE: str(study.end)})
            self._set_status(self._parent, ENDS[study.end])
        if self._artifacts:
            self._store(study)

    # --- one run ----------------------------------------------------------------------------------------------------

    def _describe(self, study: StudyView) -> None:
        """What the study is, once; its search may change later, and parameters of MLflow may not."""
        if self._described:
            return
        experiment = study.experiment
        objective = experiment["objective"]
        shown = {
            **{name: experiment[name]["use"] for name in ("dataset", "model", "search")},
            "budget": study.budget,
            "seed": experiment["seed"],
            **{name: objective[name] for name in ("metric", "direction")},
            **study.plan.get("fixed", {}),
        }
        self._log(self._parent, [], params=shown, tags={"scalecore.folder": str(study.folder)})
        self._described = True

    def _show_best(self, study: StudyView) -> None:
        """The best value after each finished trial, those that ended while MLflow was away among them."""
        counted, direction = study.counted, study.experiment["objective"]["direction"]
        found: list[Metric] = []
        for count, last in enumerate(counted, start=1):
            if count in self._parent.steps.get("best", ()):
                continue
            best = best_trial(counted[:count], direction=direction)
            if best is not None and best.value is not None:
                at = _milliseconds(seconds(last.ended))
                found += self._new(self._parent, {"best": best.value}, step=count, at=at)
        best = study.best
        self._log(self._parent, found, tags={} if best is None else {"scalecore.best": str(best.number)})

    def _trial(self, study: StudyView, number: int, origin: Origin, *, at: float | None) -> _Known:
        """The run of a trial; made where it is missing, within that of the study."""
        if number not in self._trials:
            tags = {
                STUDY: study.id,
                TRIAL: str(number),
                "mlflow.parentRunId": self._parent.id,
                "scalecore.origin": origin.kind,
                **({"scalecore.label": origin.label} if origin.label else {}),
            }
            self._trials[number] = self._create(run_name(number), tags, at=at)
        return self._trials[number]

    def _finish(self, study: StudyView, record: TrialRecord) -> None:
        begun, over = seconds(record.started), seconds(record.ended)
        known = self._trial(study, record.number, record.origin, at=begun)
        if known.over:
            return
        metrics = self._metrics(record.learning_curve, known)
        found = outcome(record)
        metrics += self._new(known, found, step=int(found.get("best/epoch", 0)), at=_milliseconds(over))
        tags = {"scalecore.hash": record.hash, "scalecore.seed": str(record.seed), STATE: str(record.state)}
        if record.reason is not None:
            tags["scalecore.reason"] = record.reason
        if record.flags:
            tags["scalecore.flags"] = " ".join(sorted({str(flag["guard"]) for flag in record.flags}))
        shown = parameters(study, record.architecture, record.hyperparameters)
        self._log(known, metrics, params={**shown, "flops": record.architecture.flops}, tags=tags)
        valued = record.state in (TrialState.COMPLETED, TrialState.PRUNED)
        self._set_status(known, "FINISHED" if valued else "FAILED", at=over)

    def _store(self, study: StudyView) -> None:
        if STORED not in self._parent.tags:
            self._client.log_dict(self._parent.id, dict(study.experiment), "experiment.yaml")
            self._log(self._parent, [], tags={STORED: "experiment.yaml"})
        for record in study.trials:
            known = self._trials[record.number]
            if STORED not in known.tags:
                self._client.log_dict(known.id, record_plain(record), "trial.json")
                self._log(known, [], tags={STORED: "trial.json"})

    # --- requests ---------------------------------------------------------------------------------------------------

    def _search(self, study: str) -> list[Run]:
        found: list[Run] = []
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [self._experiment], f"tags.`{STUDY}` = '{study}'", max_results=1000, page_token=token
            )
            found += page
            token = page.token
            if not token:
                return found

    def _known(self, run: Run) -> _Known:
        known = _Known(
            id=run.info.run_id,
            start=run.info.start_time,
            status=run.info.status,
            tags=dict(run.data.tags),
            params=set(run.data.params),
        )
        if TRIAL not in known.tags or not known.over:
            for name in run.data.metrics:
                known.steps[name] = {one.step for one in self._client.get_metric_history(known.id, name)}
        return known

    def _create(self, name: str, tags: dict[str, str], *, at: float | None) -> _Known:
        run = self._client.create_run(self._experiment, start_time=_milliseconds(at), tags=tags, run_name=name)
        return _Known(id=run.info.run_id, start=run.info.start_time, tags=dict(tags))

    def _metrics(self, lines: Any, known: _Known) -> list[Metric]:
        """What is new in a learning curve, at the run's start plus the time that the epochs took.

        The same for a line that comes as it happens and for one that is made up for: times never run backwards.
        """
        found: list[Metric] = []
        at = known.start
        for line in lines:
            at += round(spent(line) * 1000)
            found += self._new(known, numbers(line), step=int(line["epoch"] or 0), at=at)
        return found

    def _new(self, known: _Known, values: Mapping[str, float], *, step: int, at: int) -> list[Metric]:
        return [
            Metric(_key(name), value, at, step)
            for name, value in values.items()
            if step not in known.steps.get(_key(name), ())
        ]

    def _log(
        self,
        known: _Known,
        metrics: list[Metric],
        *,
        params: Mapping[str, Value] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        new_params = {
            _key(name): str(value)[:TEXT] for name, value in (params or {}).items() if _key(name) not in known.params
        }
        new_tags = {name: text[:TEXT] for name, text in (tags or {}).items() if known.tags.get(name) != text[:TEXT]}
        for start in range(0, len(metrics), BATCH):
            self._client.log_batch(known.id, metrics=metrics[start : start + BATCH])
        for metric in metrics:
            known.steps.setdefault(metric.key, set()).add(metric.step)
        if new_params or new_tags:
            self._client.log_batch(
                known.id,
                params=[Param(name, text) for name, text in new_params.items()],
                tags=[RunTag(name, text) for name, text in new_tags.items()],
            )
            known.params |= new_params.keys()
            known.tags |= new_tags

    def _set_status(self, known: _Known, status: str, *, at: float | None = None) -> None:
        if known.status == status:
            return
        if status == "RUNNING":
            self._client.update_run(known.id, status=status)
        else:
            self._client.set_terminated(known.id, status=status, end_time=_milliseconds(at))
        known.status = status


def _key(name: str) -> str:
    """A name that MLflow takes: letters, digits, and `_-. /`."""
    return re.sub(r"[^\w\-. /]", "_", name)[:250]


def _now() -> int:
    return round(time.time() * 1000)


def _milliseconds(at: float | None) -> int:
    """Seconds since 1970 as MLflow counts; now for None."""
    return _now() if at is None else round(at * 1000)
