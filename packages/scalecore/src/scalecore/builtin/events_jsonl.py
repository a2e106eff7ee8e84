"""Logger `jsonl`: what happens, one JSON object a line, for programs that follow a study."""

from __future__ import annotations

import json
from typing import Any, TextIO

from scalecore.api.files import detach, plain, utc_now
from scalecore.api.protocols import Logger, LoggerContext
from scalecore.api.trials import Epoch, Proposal, StudyView, TrialRecord
from scalecore.builtin.options import JsonlOptions
from scalecore.builtin.study_files import row

__all__ = ["JsonlLogger"]


class JsonlLogger(Logger):
    """Appends; every run adds its own `study_started`. The journal stays the truth.

    This file may end in the middle of a line.
    """

    def __init__(self, options: JsonlOptions, context: LoggerContext) -> None:
        self._path = options.path or context.folder / "events.jsonl"
        self._stream: TextIO | None = None

    def study_started(self, study: StudyView) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        torn = self._path.exists() and not self._path.read_bytes().endswith(b"\n") and self._path.stat().st_size > 0
        detach(self._path)
        self._stream = self._path.open("a", encoding="utf-8")
        if torn:
            self._stream.write("\n")
        self._write("study_started", name=study.name, total=study.total, finished=len(study.trials))

    def trial_started(self, number: int, proposal: Proposal, study: StudyView) -> None:
        self._write(
            "trial_started",
            number=number,
            origin=proposal.origin.kind,
            architecture=proposal.architecture.values,
            hyperparameters=proposal.hyperparameters,
        )

    def epoch(self, number: int, epoch: Epoch) -> None:
        self._write("epoch", number=number, **epoch)

    def trial_finished(self, record: TrialRecord, study: StudyView) -> None:
        self._write("trial_finished", **row(record))

    def message(self, level: str, text: str) -> None:
        self._write("message", level=level, text=text)

    def study_finished(self, study: StudyView) -> None:
        best = study.best
        self._write("study_finished", end=study.end, finished=len(study.trials), best=best.number if best else None)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _write(self, event: str, **content: Any) -> None:
        if self._stream is None:
            return
        line = plain({"time": utc_now(), "event": event, **content})
        self._stream.write(json.dumps(line, allow_nan=False, ensure_ascii=False) + "\n")
        self._stream.flush()
