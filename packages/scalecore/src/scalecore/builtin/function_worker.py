"""The process of one attempt of the trainer `function`: `python -m scalecore.builtin.function_worker`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from scalecore.api.data_report import DataReport
from scalecore.api.errors import DeviceError, RefusedError
from scalecore.api.training import Diverged
from scalecore.builtin.function_checkpoint import load_newest, save
from scalecore.builtin.function_metrics import EpochReader
from scalecore.builtin.function_trainer import FunctionSpec
from scalecore.data.folder import read_description
from scalecore.data.intervals import NOT_NEGATIVE, mean_interval, too_few
from scalecore.data.measures import losses_of
from scalecore.data.predictions import Predictions, write_predictions
from scalecore.execution.attempt_control import AttemptMonitor
from scalecore.execution.epoch_track import EpochTrack
from scalecore.execution.function_trial import FunctionTrial, TrainingEnded
from scalecore.execution.local.containment import limit_data
from scalecore.execution.local.devices import find_gpus
from scalecore.execution.peak_memory import peak_memory
from scalecore.execution.worker import run_worker, work
from scalecore.plugins.imports import import_code

ENDS = {"done": "completed", "stop": "stopped", "prune": "pruned"}


def main(path: str, *, parent: int) -> int:
    """Run the attempt of this folder; see `scalecore.execution.worker.work`."""
    return work(path, parent=parent, kind=FunctionSpec, train=run_attempt, save=save)


def run_attempt(spec: FunctionSpec, monitor: AttemptMonitor) -> dict[str, Any]:
    """Train the trial, or run its smoke step, depending on the spec."""
    if spec.mode == "evaluate":
        raise RefusedError("the trainer function keeps no weights to evaluate")
    if spec.device == "cuda" and not (found := find_gpus()).names:
        raise DeviceError(f"no CUDA device found ({found.problem})" if found.problem else "no CUDA device found")
    contained = monitor.contained(limit_data(spec.memory_limit))
    _limit_threads(spec.threads)
    function = import_code(spec.target, sha256=spec.sha256).found
    return _Training(spec, monitor, contained=contained).run(function)


def _limit_threads(threads: int) -> None:
    """Limit threads of libraries imported from now on, and of imported ones as far as threadpoolctl supports them."""
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    with suppress(ImportError):
        from threadpoolctl import threadpool_limits  # type: ignore[import-not-found, unused-ignore]

        threadpool_limits(threads)


class _Training:
    """One attempt: requests epoch after epoch from the function, evaluates each, and writes checkpoints."""

    def __init__(self, spec: FunctionSpec, monitor: AttemptMonitor, *, contained: list[str]) -> None:
        self._spec, self._monitor, self._contained = spec, monitor, contained
        self._trial = FunctionTrial(spec, monitor)
        self._track = EpochTrack(plan=spec.plan)
        self._best_outputs: Any = None
        self._description: DataReport = read_description(Path(spec.data))
        self._reader = EpochReader(spec, self._trial, description=self._description)
        self._seconds = 0.0
        self._saved = time.monotonic()
        self._began = (self._saved, 0.0)
        """Start of the epoch, and the time that the trial had been paused until then."""
        self._warnings: list[str] = []

    def run(self, function: Any) -> dict[str, Any]:
        """Train, and return the content of `result.json`."""
        resumed = self._resume()
        began_at, reason, ended = self._trial.epoch, None, "completed"
        try:
            self._epochs(function)
        except Diverged as diverged:
            if self._trial.smoke:
                raise
            reason, ended = str(diverged), "diverged"
        except TrainingEnded as asked:
            ended = ENDS[asked.action]
        if self._trial.smoke:
            return self._smoke()
        plan, track = self._spec.plan, self._track
        if ended == "completed" and track.value() is None:
            where = "any epoch" if plan.reduction == "best" else "the last epoch"
            reason, ended = f"{plan.metric} has no value in {where}", "diverged"
        judged = ended in ("completed", "pruned")
        predictions = self._predictions() if judged else None
        return self._setup() | {
            "state": ended,
            "reason": reason,
            "value": track.value() if judged else None,
            "best": track.best if judged else None,
            "last": track.last if judged else None,
            "learning_curve": track.curve,
            "predictions": predictions,
            "steps_here": self._trial.epoch - began_at,
            "epochs_ended": self._trial.epoch,
            "windows": self._description.parts["train"].windows,
            "train_seconds": self._seconds,
            "resumed_from": resumed,
            "warnings": self._warnings,
            "unread": self._trial.hyperparameters.unread(self._spec.sampled),
        }

    # --- the loop ---------------------------------------------------------------------------------------------------

    def _epochs(self, function: Any) -> None:
        """Call the function, which yields or reports epoch after epoch. Raises `TrainingEnded` when it has to end."""
        if self._track.is_stale:
            return
        self._trial.receive = self._receive
        self._ask()
        made = function(self._trial)
        try:
            for given in self._each(made):
                self._receive(given)
        finally:
            if callable(close := getattr(made, "close", None)):
                close()
        if not self._track.curve:
            raise ValueError(f"{self._label} ended before its first epoch: it yields a mapping of metrics after each")

    def _each(self, made: Any) -> Iterable[Any]:
        """What the function yields; nothing where it has reported instead."""
        if made is None:
            return ()
        if not isinstance(made, Iterable) or isinstance(made, Mapping | str):
            raise RefusedError(
                f"{self._label} returned {type(made).__name__}; it must yield a mapping of metrics after each epoch"
            )
        return made

    def _ask(self) -> None:
        """What the study wants before the next epoch; blocks while the trial is paused."""
        action = self._monitor.step(epoch=self._trial.epoch + 1, step=0, phase="train")
        if action == "stop" and self._trial.epoch:
            self._checkpoint()
        if action != "go_on":
            raise TrainingEnded(action)
        self._began = (time.monotonic(), self._monitor.paused_seconds)

    def _receive(self, given: Any) -> None:
        """Process the metrics of a finished epoch. Raises `TrainingEnded` after the last one."""
        started, paused = self._began
        self._end_epoch(given, seconds=time.monotonic() - started - (self._monitor.paused_seconds - paused))
        if not self._trial.smoke:
            self._checkpoint_if_due()
        if self._trial.smoke or self._track.is_stale:
            raise TrainingEnded("done")
        self._ask()

    def _end_epoch(self, given: Any, *, seconds: float) -> None:
        trial, track = self._trial, self._track
        if trial.save is not None and not trial.resume_was_read:
            raise RefusedError(f"{self._label} saves checkpoints but does not read trial.resume to continue from one")
        self._monitor.step(epoch=trial.epoch + 1, step=0, phase="evaluate")
        started = time.monotonic()
        line, outputs = self._reader.line(given, epoch=trial.epoch + 1, seconds=seconds)
        line["evaluation_seconds"] = time.monotonic() - started
        if trial.smoke:
            self._reader.refuse_unmeasured(line)
        elif self._spec.plan.metric not in line:
            raise ValueError(f"objective.metric {self._spec.plan.metric!r} has no value in epoch {line['epoch']}")
        self._seconds += seconds
        if track.take(line):
            self._best_outputs = outputs
        trial.end_epoch()
        if not trial.smoke:
            self._monitor.epoch(line)

    # --- checkpoints ------------------------------------------------------------------------------------------------

    def _checkpoint_if_due(self) -> None:
        """Write a checkpoint if enough time or epochs have passed since the last one."""
        plan = self._spec.plan
        by_epochs = plan.checkpoint_epochs is not None and self._trial.epoch % plan.checkpoint_epochs == 0
        if by_epochs or time.monotonic() - self._saved >= plan.checkpoint_every:
            self._checkpoint()

    def _checkpoint(self) -> None:
        if self._trial.save is not None:
            self._monitor.checkpoint(self._state())
        self._saved = time.monotonic()

    def _state(self) -> dict[str, Any]:
        return {
            "save": self._trial.save,
            "epoch": self._trial.epoch,
            "seconds": self._seconds,
            "track": self._track.state(),
            "outputs": self._best_outputs,
        }

    def _resume(self) -> dict[str, Any] | None:
        found = load_newest((Path(folder) for folder in self._spec.resume_from), skipped=self._warnings)
        if found is None:
            return None
        state, path = found
        self._seconds, self._best_outputs = state["seconds"], state["outputs"]
        for name, value in state["track"].items():
            setattr(self._track, name, value)
        self._trial.continue_from(path, epoch=state["epoch"])
        return {"checkpoint": f"{path.parent.name}/{path.name}", "step": state["epoch"]}

    # --- the end ----------------------------------------------------------------------------------------------------

    @property
    def _label(self) -> str:
        return self._spec.target.label

    def _setup(self) -> dict[str, Any]:
        return {
            "device": self._trial.device,
            "threads": self._spec.threads,
            "num_parameters": self._trial.verified,
            "contained": self._contained,
            "memory": {**_peak(self._trial.device), "micro_batch": self._spec.plan.micro_batch},
        }

    def _smoke(self) -> dict[str, Any]:
        """Check the trial after one epoch. Raises `RefusedError` for a hyper-parameter that is not read."""
        if unread := self._trial.hyperparameters.unread(self._spec.sampled):
            raise RefusedError(
                f"search.space varies {', '.join(unread)}, which neither {self._label} nor the model reads: "
                "every value would train the same model; remove it from search.space",
                guard="G03",
            )
        if self._trial.save is not None:
            save(self._monitor.folder.path, self._state())
        loss = None if self._track.last is None else self._track.last["val_loss"]
        return self._setup() | {"state": "completed", "reason": None, "val_loss": loss}

    def _predictions(self) -> dict[str, Any] | None:
        """Store the outputs of the best epoch, if any, with the confidence interval of their loss."""
        best, outputs = self._track.best, self._best_outputs
        if best is None or outputs is None:
            return None
        data, labels, about = Path(self._spec.data), self._reader.labels(), self._description
        rows = np.load(data / "val.npy", allow_pickle=False)
        losses = losses_of(outputs, labels, task=self._spec.task)
        if self._spec.task == "binary" and (outputs >= 0).all() and (outputs <= 1).all():
            chances = np.where(labels == 1, outputs[:, 0], 1 - outputs[:, 0])
            if -np.log(np.maximum(chances, 1e-9)).mean() < losses.mean():
                text = "outputs of the best epoch have a lower loss as probabilities, but `outputs` must be logits"
                self._warnings.append(text)
        overlap = self._spec.label_overlap
        interval = mean_interval(losses, overlap=overlap, bounds=NOT_NEGATIVE)
        best["intervals"] = {"val_loss": None if interval is None else interval.plain()}
        if interval is None:
            best["without_interval"] = {"val_loss": too_few(len(losses), overlap=overlap)}
        kept = Predictions(
            outputs=outputs,
            labels=labels,
            times=np.load(data / "times.npy", mmap_mode="r", allow_pickle=False)[rows],
            rows=rows,
            about={
                "part": "val",
                "epoch": best["epoch"],
                "task": self._spec.task,
                "data": about.fingerprint,
                "target": about.target.hash,
                "horizon": about.target.horizon,
                "point": 0,
            },
        )
        digest = write_predictions(self._monitor.folder.predictions, kept)
        return {"sha256": digest, "part": "val", "epoch": best["epoch"], "windows": len(kept)}


def _peak(device: str) -> dict[str, Any]:
    """The peak memory of this attempt in bytes: of the process, or of the GPU as reported by torch."""
    if device == "cpu":
        return {"peak": peak_memory(), "source": "resident"}
    import sys

    torch: Any = sys.modules.get("torch")
    if device != "cuda" or torch is None or not torch.cuda.is_initialized():
        return {"peak": None, "source": "unknown"}
    return {"peak": torch.cuda.max_memory_reserved(), "source": "torch.cuda.max_memory_reserved"}


if __name__ == "__main__":
    run_worker(main)
