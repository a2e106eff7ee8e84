"""Logger `wandb`: a Weights & Biases run for each trial, in a group with the study's name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from attrs import define

from scalecore.api.errors import StudyError
from scalecore.api.files import read_json, write_json
from scalecore.api.logger import LoggerContext
from scalecore.api.trials import Proposal, StudyView, TrialRecord
from scalecore_trackers.options import WandbOptions
from scalecore_trackers.trial_runs import OpenRun, TrialRuns
from scalecore_trackers.values import EpochPoint, facts, outcome, parameters, run_name, succeeded

__all__ = ["WandbLogger"]

MARKER = "scalecore.json"
"""The file in the folder of a complete run with the study's id, the trial's number, its hash, entity and project."""
SECONDS = 20
"""Seconds without a response after which W&B's server counts as unreachable."""


@define
class _WandbRun(OpenRun):
    run: Any
    content: dict[str, Any]

    def write(self, point: EpochPoint) -> None:
        if point.epoch >= self.run.starting_step:  # W&B accepts no earlier steps
            self.run.log(dict(point.values), step=point.epoch)

    def finish(self, record: TrialRecord) -> None:
        self.run.summary.update({**outcome(record), **facts(record)})
        folder = Path(self.run.sync_dir)
        with _study_errors():
            self.run.finish(exit_code=0 if succeeded(record) else 1)
        write_json(folder / MARKER, {**self.content, "hash": record.hash})

    def close(self) -> None:
        with _study_errors():
            self.run.finish(exit_code=1)


class WandbLogger(TrialRuns):
    """A run's id combines the study's id and the trial's number. Offline, an existing run is replaced, so that `wandb
    sync` uploads each trial once; online, W&B resumes it.
    """

    def __init__(self, options: WandbOptions, context: LoggerContext) -> None:
        super().__init__()
        self._options = options
        self._root = options.path or context.folder
        # Send nothing that the user did not request.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        # The login would print to the console.
        os.environ.setdefault("WANDB_SILENT", "true")

    def begin(self, study: StudyView, number: int, trial: Proposal | TrialRecord) -> OpenRun:
        import wandb

        for folder in self._folders(study, number):
            shutil.rmtree(folder)
        self._root.mkdir(parents=True, exist_ok=True)
        options, experiment, origin = self._options, study.experiment, trial.origin
        config: dict[str, Any] = {
            **parameters(study, trial),
            "study": {
                "id": study.id,
                "name": study.name,
                "trial": number,
                "origin": origin.kind,
                **({"label": origin.label} if origin.label else {}),
                **{name: experiment[name]["use"] for name in ("dataset", "model", "search")},
                "budget": study.budget,
                "seed": experiment["seed"],
                "fixed": dict(study.plan.fixed),
            },
        }
        with _study_errors():
            run = wandb.init(
                id=f"{study.id}-{number}",
                name=run_name(number),
                group=study.name,
                job_type="trial",
                project=options.project,
                entity=options.entity,
                mode=options.mode,
                resume="allow" if options.mode == "online" else None,
                reinit="create_new",
                dir=self._root,
                config=config,
                settings=wandb.Settings(
                    console="off",
                    silent=True,
                    disable_git=True,
                    disable_code=True,
                    x_disable_meta=True,
                    x_disable_machine_info=True,
                    x_disable_stats=True,
                    init_timeout=SECONDS,
                    finish_timeout=2 * SECONDS,
                    finish_timeout_raises=True,
                    x_graphql_timeout_seconds=SECONDS,
                    x_file_stream_timeout_seconds=SECONDS,
                    x_file_transfer_timeout_seconds=SECONDS,
                ),
            )
        return _WandbRun(run, self._content(study, number))

    def is_complete(self, study: StudyView, record: TrialRecord) -> bool:
        content = {**self._content(study, record.number), "hash": record.hash}
        folders = self._folders(study, record.number)
        return any(read_json(folder / MARKER) == content and any(folder.glob("*.wandb")) for folder in folders)

    def _content(self, study: StudyView, number: int) -> dict[str, Any]:
        place = {"entity": self._options.entity, "project": self._options.project}
        return {"study": study.id, "trial": number, **place}

    def _folders(self, study: StudyView, number: int) -> list[Path]:
        """The folders of this trial in this mode, complete or not."""
        prefix = "offline-run" if self._options.mode == "offline" else "run"
        return sorted(self._root.glob(f"wandb/{prefix}-*-{study.id}-{number}"))


@contextmanager
def _study_errors() -> Iterator[None]:
    """Raise errors of W&B as a one-line `StudyError`, and end the session, which would treat its ids as used."""
    import wandb

    try:
        yield
    except (wandb.Error, TimeoutError) as error:
        with suppress(Exception):
            wandb.teardown(exit_code=1)
        text = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise StudyError(f"W&B: {text}") from error
