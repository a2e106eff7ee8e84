"""The eight kinds of components, each with its hook and its record."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from attrs import frozen

from scalecore.api import components


@frozen
class Kind:
    """One kind of component.

    `taken` are the study's own keys in the section of the experiment file that has the options of such a component: an
    option with one of these names could never be set.
    """

    name: str
    plural: str
    hook: str
    record: type[components.Record]
    taken: tuple[str, ...] = ()


_KINDS = (
    Kind("dataset", "datasets", "scalecore_datasets", components.DatasetRecord),
    Kind("model", "models", "scalecore_models", components.ModelRecord),
    Kind(
        "search",
        "search strategies",
        "scalecore_search_strategies",
        components.SearchStrategyRecord,
        taken=("trials", "budget", "tolerance", "exclude", "space"),
    ),
    Kind("logger", "loggers", "scalecore_loggers", components.LoggerRecord),
    Kind("monitor", "monitors", "scalecore_hardware_monitors", components.HardwareMonitorRecord),
    Kind(
        "executor",
        "executors",
        "scalecore_executors",
        components.ExecutorRecord,
        taken=("slots", "time_limit", "hang_after", "admission_wait", "stop_grace", "keep_awake", "retry"),
    ),
    Kind("analysis", "analyses", "scalecore_analyses", components.AnalysisRecord),
    Kind(
        "trainer",
        "trainers",
        "scalecore_trainers",
        components.TrainerRecord,
        taken=(
            "early_stopping",
            "hyperparameters",
            "device",
            "threads",
            "checkpoint_every",
            "checkpoint_epochs",
            "keep_weights",
        ),
    ),
)

KINDS: Mapping[str, Kind] = MappingProxyType({kind.name: kind for kind in _KINDS})
"""By name, in the order in which they are shown."""
