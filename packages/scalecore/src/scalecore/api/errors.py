"""Errors that scalecore expects, and the exit code of each.

::

    ScalecoreError                 1
     ├── ExperimentError           2   the experiment file, or the command line
     ├── PluginError               3   a plugin is missing, blocked, incompatible or broken
     ├── DataError                 4   the data cannot be trained on
     ├── RefusedError              5   a guard, a lock or a changed environment says no
     │    ├── DeviceError              the device that trials of the study need is not here
     │    └── ChangedFileError         a file with code of the study changed while it ran
     └── StudyError                6   the study could not go on; everything finished is kept

They are printed as one plain message without a traceback. Anything else is a bug and keeps its traceback.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = [
    "ChangedFileError",
    "DataError",
    "DeviceError",
    "ExitCode",
    "ExperimentError",
    "PluginError",
    "RefusedError",
    "ScalecoreError",
    "StudyError",
]


class ExitCode(IntEnum):
    """What the `scalecore` command returns to the shell."""

    COMPLETED = 0
    UNEXPECTED = 1
    BAD_FILE = 2
    PLUGIN = 3
    DATA = 4
    REFUSED = 5
    FAILED = 6
    STOPPED = 7
    TIMED_OUT = 8
    UNSOUND = 9


class ScalecoreError(Exception):
    """Base of all expected errors. The message says what, where, and what to do."""

    exit_code = ExitCode.UNEXPECTED


class ExperimentError(ScalecoreError):
    """The experiment file or the command line is wrong; the message lists every problem with its position."""

    exit_code = ExitCode.BAD_FILE


class PluginError(ScalecoreError):
    """A component that the experiment needs cannot be provided."""

    exit_code = ExitCode.PLUGIN


class DataError(ScalecoreError):
    """The data cannot be trained on; the message names file, column and first bad row where there is one."""

    exit_code = ExitCode.DATA


class RefusedError(ScalecoreError):
    """A guard refuses to spend compute; `guard` is its id where it has one."""

    exit_code = ExitCode.REFUSED

    def __init__(self, message: str, *, guard: str | None = None) -> None:
        super().__init__(message if guard is None else f"{message} [{guard}]")
        self.guard = guard


class DeviceError(RefusedError):
    """The device cannot be had now. No trial is to blame: the study continues where the device is (guard G48)."""


class ChangedFileError(RefusedError):
    """A file with code of the study is not what it was when the run began. No trial is to blame (guard G26)."""


class StudyError(ScalecoreError):
    """The study cannot go on: the strategy raised, or the first trials failed in the same way."""

    exit_code = ExitCode.FAILED
