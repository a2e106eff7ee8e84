"""Logger `wandb`: a run of Weights & Biases for each trial, in a group of the study's name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from scalecore.api.protocols import LoggerContext
from scalecore.study.following import Follower, StudyNow
from scalecore_trackers.options import WandbOptions

if TYPE_CHECKING:
    from scalecore_trackers.wandb_runs import StudyRuns

__all__ = ["WandbLogger"]


class WandbLogger(Follower):
    """Online, a server that cannot be reached costs one warning, and runs are written to the disk from then on."""

    def __init__(self, options: WandbOptions, context: LoggerContext) -> None:
        super().__init__(f"wandb ({options.mode})")
        self._options = options
        self._folder = options.path or context.folder
        self._mode: Literal["offline", "online"] = options.mode
        self._runs: StudyRuns | None = None
        # Nothing is sent to anyone without being asked for.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")

    def bring_in_line(self, now: StudyNow) -> None:
        if self._runs is None:
            from scalecore_trackers.wandb_runs import StudyRuns

            self._folder.mkdir(parents=True, exist_ok=True)
            self._runs = StudyRuns(self._options, folder=self._folder, mode=self._mode)
        try:
            self._runs.bring_in_line(now)
        except Exception as error:
            if self._mode == "offline":
                raise
            self._runs.give_up()
            self._runs, self._mode = None, "offline"
            self.remark(
                "warning",
                f"wandb cannot be reached: {self.why(error)}; runs are written to {self._folder / 'wandb'} from here "
                "on, and `wandb sync` uploads them from there",
            )
            self.bring_in_line(now)

    def forget(self) -> None:
        runs, self._runs = self._runs, None
        if runs is not None:
            runs.close()
