"""The folder of an attempt, for executors: its spec, the file of its process, its progress and its result."""

from scalecore.execution.attempt_result import AttemptProgress, AttemptResult
from scalecore.execution.attempt_spec import AttemptSpec, ModelSpec, of_some
from scalecore.execution.folder import AttemptFolder
from scalecore.execution.process_file import ProcessFile

__all__ = [
    "AttemptFolder",
    "AttemptProgress",
    "AttemptResult",
    "AttemptSpec",
    "ModelSpec",
    "ProcessFile",
    "of_some",
]
