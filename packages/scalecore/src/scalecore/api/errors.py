"""Expected errors, and their exit codes.

::

    ScalecoreError                 1
     ├── ExperimentError           2   the experiment file, or the command line
     ├── PluginError               3   a plugin is missing, blocked, incompatible or broken
     ├── DataError                 4   the data cannot be trained on
     ├── RefusedError              5   a guard, a lock or a changed environment refuses the command
     │    ├── DeviceError              the device of the study is not available
     │    └── ChangedFileError         a file with code of the study changed during the run
     └── StudyError                6   the study could not continue; finished trials are kept

They are printed as a message without a traceback. Any other exception is a bug and keeps its traceback.
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
    """The exit codes of the `scalecore` command."""

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
    """Base of all expected errors. The message names the problem, its place and a remedy."""

    exit_code = ExitCode.UNEXPECTED


class ExperimentError(ScalecoreError):
    """The experiment file or the command line is invalid; the message lists every problem with its position."""

    exit_code = ExitCode.BAD_FILE


class PluginError(ScalecoreError):
    """A component of the experiment is not available."""

    exit_code = ExitCode.PLUGIN


class DataError(ScalecoreError):
    """The data cannot be trained on; the message names the file, column and first bad row, if there is one."""

    exit_code = ExitCode.DATA


class RefusedError(ScalecoreError):
    """A guard, a lock or a changed environment refuses the command; `guard` is the guard's id, if any."""

    exit_code = ExitCode.REFUSED

    def __init__(self, message: str, *, guard: str | None = None) -> None:
        super().__init__(message if guard is None else f"{message} [{guard}]")
        self.guard = guard


class DeviceError(RefusedError):
    """The device is not available now. No trial counts as failed: the study resumes once it is available (G48)."""


class ChangedFileError(RefusedError):
    """A file with code of the study changed since the start of the run. No trial counts as failed (guard G26)."""


class StudyError(ScalecoreError):
    """The study cannot continue: the strategy raised, or the first trials failed in the same way."""

    exit_code = ExitCode.FAILED
