"""The runs of one study in Weights & Biases, one a trial. This module imports wandb: import it where it is needed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import wandb
from attrs import define, field

from scalecore.api.files import read_json, write_json
from scalecore.api.space import Architecture, Value
from scalecore.api.trials import Epoch, Origin, StudyView, TrialRecord, TrialState
from scalecore.study.following import StudyNow
from scalecore_trackers.options import WandbOptions
from scalecore_trackers.values import numbers, outcome, parameters, run_name

__all__ = ["StudyRuns"]

WHOLE = "scalecore.json"
"""In the folder of a run that is whole, with the hash of its trial."""
SECONDS = 20
"""How long W&B's server is waited for before it counts as unreachable."""
RETRIES = 2


@define
class _Open:
    """A run that is being written, and the numbers of the epochs that it has."""

    run: wandb.Run
    epochs: dict[int, dict[str, float]] = field(factory=dict)

    @property
    def folder(self) -> Path:
        return Path(self.run.sync_dir)

    def add(self, lines: Sequence[Epoch]) -> None:
        """Log what is new; W&B takes no step that lies before one that it has."""
        for line in lines:
            epoch = int(line["epoch"] or 0)
            if epoch not in self.epochs and epoch >= self.run.starting_step:
                self.run.log(numbers(line), step=epoch)
            self.epochs.setdefault(epoch, numbers(line))


class StudyRuns:
    """Not for several threads. A run's id comes from the study and the number of its trial.

    A run that is whole has a file of ours in its folder; what else earlier runs of the study left of a trial is
    replaced, so that `wandb sync` uploads each trial once.
    """

    def __init__(self, options: WandbOptions, *, folder: Path, mode: Literal["offline", "online"]) -> None:
        self._options = options
        self._mode = mode
        self._root = folder
        self._open: dict[int, _Open] = {}
        self._whole: set[int] = set()

    def bring_in_line(self, now: StudyNow) -> None:
        """Write what is missing. Raises the errors of wandb where its server cannot be reached."""
        study = now.study
        for record in study.trials:
            if record.number not in self._whole:
                self._finish(study, record)
                self._whole.add(record.number)
        for trial in study.unfinished:
            number, proposal = trial.number, trial.proposal
            if number not in study.running:
                continue
            if number not in self._open:
                self._clear(study, number)
                self._open[number] = self._start(
                    study, number, proposal.architecture, proposal.hyperparameters, proposal.origin
                )
            self._open[number].add(now.curve(number))

    def close(self) -> None:
        """Close what is open; a trial that was interrupted goes on in a run of the same id."""
        opened, self._open = self._open, {}
        for one in opened.values():
            with suppress(Exception):
                one.run.finish(exit_code=1)

    def give_up(self) -> None:
        """Close what is open without waiting for the server, and let W&B forget the ids that it could not begin."""
        self._open = {}
        with suppress(Exception):
            wandb.teardown(exit_code=1)

    def _finish(self, study: StudyView, record: TrialRecord) -> None:
        known = [(folder, read_json(folder / WHOLE)) for folder in self._folders(study, record.number)]
        if any(isinstance(told, dict) and told.get("hash") == record.hash for _, told in known):
            return
        curve = record.learning_curve
        one = self._open.pop(record.number, None)
        if one is not None and self._mode == "offline" and not _extends(curve, one.epochs):
            one.run.finish(exit_code=1)
            one = None
        if one is None:
            self._clear(study, record.number)
            one = self._start(study, record.number, record.architecture, record.hyperparameters, record.origin)
        one.add(curve)
        valued = record.state in (TrialState.COMPLETED, TrialState.PRUNED)
        found = {**outcome(record), "state": str(record.state), "hash": record.hash, "seed": record.seed}
        if record.reason is not None:
            found["reason"] = record.reason
        if record.flags:
            found["flags"] = sorted({str(flag["guard"]) for flag in record.flags})
        one.run.summary.update(found)
        folder = one.folder
        one.run.finish(exit_code=0 if valued else 1)
        write_json(folder / WHOLE, {"study": study.id, "trial": record.number, "hash": record.hash})

    def _start(
        self, study: StudyView, number: int, architecture: Architecture, used: Mapping[str, Value], origin: Origin
    ) -> _Open:
        options = self._options
        experiment = study.experiment
        config: dict[str, Any] = {
            **parameters(study, architecture, used),
            "study": {
                "id": study.id,
                "name": study.name,
                "trial": number,
                "origin": origin.kind,
                **({"label": origin.label} if origin.label else {}),
                **{name: experiment[name]["use"] for name in ("dataset", "model", "search")},
                "budget": study.budget,
                "seed": experiment["seed"],
                "fixed": dict(study.plan.get("fixed", {})),
            },
        }
        run = wandb.init(
            id=_run_id(study, number),
            name=run_name(number),
            group=study.name,
            job_type="trial",
            project=options.project,
            entity=options.entity,
            mode=self._mode,
            resume="allow" if self._mode == "online" else None,
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
                x_graphql_retry_max=RETRIES,
                x_graphql_timeout_seconds=SECONDS,
                x_file_stream_retry_max=RETRIES,
                x_file_stream_timeout_seconds=SECONDS,
                x_file_transfer_retry_max=RETRIES,
                x_file_transfer_timeout_seconds=SECONDS,
            ),
        )
        return _Open(run)

    def _folders(self, study: StudyView, number: int) -> list[Path]:
        """What is on the disk of this trial, of this run and earlier ones, whole or not."""
        return sorted(self._root.glob(f"wandb/*run-*-{_run_id(study, number)}"))

    def _clear(self, study: StudyView, number: int) -> None:
        """Remove what earlier runs left of a trial that was not over; online, W&B has it."""
        for folder in self._folders(study, number):
            shutil.rmtree(folder)


def _run_id(study: StudyView, number: int) -> str:
    return f"{study.id}-{number}"


def _extends(curve: Sequence[Epoch], known: Mapping[int, Mapping[str, float]]) -> bool:
    """Whether a run that has these epochs becomes the whole curve by adding what comes after them: an epoch may have
    been trained twice, with other numbers.
    """
    return {int(line["epoch"] or 0): numbers(line) for line in curve[: len(known)]} == known
