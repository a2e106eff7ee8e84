"""Functions for the worker module of a trainer: see `scalecore.api.components.TrainerRecord`.

`work` runs the process of an attempt and calls the training function of the worker module.
"""

from scalecore.config.kept import checked, prepare
from scalecore.data.folder import read_description
from scalecore.data.splits import PARTS
from scalecore.execution.attempt_control import AttemptMonitor
from scalecore.execution.failures import classify, is_out_of_memory
from scalecore.execution.folder import prepare_readers
from scalecore.execution.function_trial import FunctionTrial
from scalecore.execution.hyperparameters import Hyperparameters
from scalecore.execution.local.containment import limit_data, prefer_as_victim
from scalecore.execution.local.parent_death import ending_after_parent
from scalecore.execution.model_family import build_family
from scalecore.execution.peak_memory import peak_memory
from scalecore.execution.worker import run_worker, work

__all__ = [
    "PARTS",
    "AttemptMonitor",
    "FunctionTrial",
    "Hyperparameters",
    "build_family",
    "checked",
    "classify",
    "ending_after_parent",
    "is_out_of_memory",
    "limit_data",
    "peak_memory",
    "prefer_as_victim",
    "prepare",
    "prepare_readers",
    "read_description",
    "run_worker",
    "work",
]
