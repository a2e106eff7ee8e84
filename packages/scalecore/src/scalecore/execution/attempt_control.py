"""The attempt's side of the folder protocol: end with the driver, follow the control file, report progress."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from attrs import evolve

from scalecore.api.clock import sleep_running
from scalecore.api.files import plain, write_json
from scalecore.execution.attempt_result import AttemptProgress
from scalecore.execution.folder import AttemptFolder
from scalecore.execution.local.parent_death import end_after_parent, spare
from scalecore.execution.local.reaper import ORPHAN_GRACE
from scalecore.execution.process_file import describe_process

PROGRESS_EVERY = 0.5
PAUSE_POLL = 0.2
PARENT_POLL = 0.5


def end_with_parent(parent: int, stop: threading.Event) -> None:
    """Watch for the end of the process `parent`, which is the driver, or the fork server that ends with the driver.

    When the parent has ended, the attempt writes a checkpoint at its next step and ends. If it does not end within some
    seconds, its whole process group is killed. If it can no longer run Python,
    `scalecore.execution.local.reaper` kills it, or the kernel does (`scalecore.execution.local.parent_death`).
    """
    end_after_parent(parent)

    def watch() -> None:
        # The system gives an orphan another parent.
        while os.getppid() == parent:
            spare()
            time.sleep(PARENT_POLL)
        stop.set()
        sleep_running(ORPHAN_GRACE)
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


Save = Callable[[Path, dict[str, Any]], object]


class AttemptMonitor:
    """Implements `scalecore.api.training.TrainingMonitor` through the attempt's folder."""

    def __init__(self, folder: AttemptFolder, *, save: Save) -> None:
        """`save` writes the state of a training as the newest checkpoint of a folder."""
        self.folder = folder
        self._save = save
        self.stop = threading.Event()
        self.pauses = 0
        self.paused_seconds = 0.0
        self.checkpoint_seconds = 0.0
        self.warnings: list[str] = []
        self._action: Literal["go_on", "pause", "stop", "prune"] = "go_on"
        self._control_seen: tuple[int, int] | None = None
        self._written = 0.0

    def obey_signals(self) -> None:
        """On SIGTERM, stop with a checkpoint at the next step. SIGINT kills: the model gets no KeyboardInterrupt."""

        def on_signal(number: int, frame: FrameType | None) -> None:
            self.stop.set()

        signal.signal(signal.SIGTERM, on_signal)
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    def step(self, *, epoch: int, step: int, phase: str) -> Literal["go_on", "stop", "prune"]:
        action = self._read_control()
        if action == "pause":
            action = self._pause(epoch=epoch, step=step)
        if self.stop.is_set():
            return "stop"
        self._say(epoch=epoch, step=step, phase=phase)
        return action  # type: ignore[return-value]  # never "pause" here

    def contained(self, by: list[str]) -> list[str]:
        """Add memory limits of this process to `process.json`; return all of them."""
        process = self.folder.read_process() or describe_process(self.folder.path)
        process = evolve(process, contained=[*(process.contained or ()), *by])
        write_json(self.folder.process, process, durable=False)
        return list(process.contained or ())

    def epoch(self, line: Mapping[str, Any]) -> None:
        with self.folder.epochs.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(plain(line), allow_nan=False) + "\n")

    def checkpoint(self, state: dict[str, Any]) -> None:
        started = time.monotonic()
        try:
            self._save(self.folder.path, state)
        except (OSError, RuntimeError) as error:
            # torch.save reports a full disk as RuntimeError. Continue: the trial matters more than its checkpoint.
            self.warnings.append(f"checkpoint not written: {error}")
        self.checkpoint_seconds += time.monotonic() - started

    def _read_control(self) -> Literal["go_on", "pause", "stop", "prune"]:
        # One stat per step takes about a microsecond; the file is read only after it was replaced.
        try:
            found = os.stat(self.folder.control)
        except FileNotFoundError:
            return self._action
        # Compare the inode too: the clock of some file systems has a resolution of seconds.
        seen = (found.st_ino, found.st_mtime_ns)
        if seen != self._control_seen:
            self._control_seen = seen
            self._action = self.folder.read_control() or self._action
        return self._action

    def _pause(self, *, epoch: int, step: int) -> Literal["go_on", "pause", "stop", "prune"]:
        started = time.monotonic()
        self.pauses += 1
        while (action := self._read_control()) == "pause" and not self.stop.is_set():
            self._say(epoch=epoch, step=step, phase="paused")
            time.sleep(PAUSE_POLL)
        self.paused_seconds += time.monotonic() - started
        return action

    def _say(self, *, epoch: int, step: int, phase: str) -> None:
        now = time.monotonic()
        if now - self._written >= PROGRESS_EVERY or phase == "evaluate":
            self._written = now
            # `waited` changes during a pause, so that a waiting process can be told apart from a hanging one.
            waited = round(now, 1) if phase == "paused" else None
            progress = AttemptProgress(phase=phase, epoch=epoch, step=step, waited=waited)
            write_json(self.folder.progress, progress, durable=False, indent=None)
