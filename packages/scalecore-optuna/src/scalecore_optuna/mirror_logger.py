"""Logger `optuna`: keeps a copy of the study in a storage of Optuna, for optuna-dashboard and other readers."""

from __future__ import annotations

from functools import partial

from scalecore.api.protocols import LoggerContext
from scalecore.study.following import Follower, StudyNow
from scalecore_optuna.mirror import Mirror, open_storage, reason_of, storage_file
from scalecore_optuna.options import MirrorOptions
from scalecore_optuna.pictures import picture_of

__all__ = ["MirrorLogger"]


class MirrorLogger(Follower):
    """A storage that is slow, locked or gone never holds the study up: a follower writes in a thread of its own."""

    def __init__(self, options: MirrorOptions, context: LoggerContext) -> None:
        super().__init__(f"mirror {options.storage}")
        self._name = options.study_name
        connect = partial(open_storage, options.storage, context.folder, repair=True)
        self._mirror = Mirror(connect, file=storage_file(options.storage, context.folder))

    def bring_in_line(self, now: StudyNow) -> None:
        self._mirror.bring_in_line(picture_of(now.study, name=self._name or now.study.name))

    def forget(self) -> None:
        self._mirror.forget()

    def why(self, error: Exception) -> str:
        return reason_of(error)
