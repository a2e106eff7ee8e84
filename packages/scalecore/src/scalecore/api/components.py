"""What hooks return: frozen records that tell the registry of a component before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic

from attrs import field, frozen
from typing_extensions import TypeVar

from scalecore.api.analysis import Analysis
from scalecore.api.dataset import Dataset, DatasetContext
from scalecore.api.executor import Executor, ExecutorContext
from scalecore.api.logger import Logger, LoggerContext
from scalecore.api.model import ModelFamily
from scalecore.api.monitor import HardwareMonitor, MonitorContext
from scalecore.api.strategy import SearchContext, SearchStrategy
from scalecore.api.trainer import Trainer

__all__ = [
    "AnalysisRecord",
    "DatasetRecord",
    "ExecutorRecord",
    "HardwareMonitorRecord",
    "LoggerRecord",
    "ModelRecord",
    "Record",
    "SearchStrategyRecord",
    "TrainerRecord",
]


Options = TypeVar("Options", default=Any)
"""The class of a component's options."""


@frozen(kw_only=True)
class NoOptions:
    """The options of a component that has none."""


@frozen(kw_only=True)
class Record(Generic[Options]):
    """What all kinds have: the name used in the experiment file, one sentence, the attrs class of the options, the
    factory.

    `factory` is a short function that imports the heavy module inside and returns the run-time object.
    `needs(options)` names the modules of optional extras without which it cannot work, each with what pip installs for
    it, such as `{"mlflow": "scalecore-trackers[mlflow]"}`: one that is missing is told when the file is checked.
    """

    name: str
    summary: str
    options: type[Options] = NoOptions  # type: ignore[assignment] # the factory of a component without options
    factory: Callable[..., Any]
    needs: Callable[[Options], Mapping[str, str]] | None = None


@frozen(kw_only=True)
class DatasetRecord(Record[Options]):
    """`factory(options, context)` returns a `Dataset`.

    `task(options)` tells `binary`, `multiclass` or `forecast` where the options alone decide
    it, and None where the data do, so that `scalecore check` finds a loss that does not belong to it.
    """

    factory: Callable[[Options, DatasetContext], Dataset]
    task: Callable[[Options], str | None] | None = None


@frozen(kw_only=True)
class ModelRecord(Record[Options]):
    """`factory(options)` returns a `ModelFamily`.

    `grid` names the options that only say which architectures there are, and change nothing about one of them: a study
    may go on with other values of these.
    """

    factory: Callable[[Options], ModelFamily]
    grid: tuple[str, ...] = ()


@frozen(kw_only=True)
class SearchStrategyRecord(Record[Options]):
    """`factory(options, context)` returns a `SearchStrategy`."""

    factory: Callable[[Options, SearchContext], SearchStrategy]


@frozen(kw_only=True)
class LoggerRecord(Record[Options]):
    """`factory(options, context)` returns a `Logger`.

    `background` is for one that may be slow or out of reach, such as a server: everything but `progress` is passed on
    to it in a thread, and what it raises costs the user one warning instead of switching it off. After an error it is
    closed, and a fresh one gets `study_started` with the study as it is by then.

    `export` says that `study_started` and `study_finished` together write a whole study, and what is there already only
    once. `scalecore export NAME STUDY` calls these two, and `close`, in its own process, also while the study runs.
    """

    factory: Callable[[Options, LoggerContext], Logger]
    background: bool = False
    export: bool = False


@frozen(kw_only=True)
class HardwareMonitorRecord(Record[Options]):
    """`factory(options, context)` returns a `HardwareMonitor`; `quantities` are those that its readings speak of."""

    factory: Callable[[Options, MonitorContext], HardwareMonitor]
    quantities: tuple[str, ...] = field(default=())


@frozen(kw_only=True)
class ExecutorRecord(Record[Options]):
    """`factory(options, context)` returns an `Executor`."""

    factory: Callable[[Options, ExecutorContext], Executor]


@frozen(kw_only=True)
class AnalysisRecord(Record[Options]):
    """`factory(options)` returns an `Analysis`.

    `studies` is the least number of studies that it can be given; 0 for one that can do without.
    """

    factory: Callable[[Options], Analysis]
    studies: int = 1


@frozen(kw_only=True)
class TrainerRecord(Record[Options]):
    """`factory(options)` returns a `Trainer`.

    `worker` is the module of an attempt's process, started as `python -m WORKER FOLDER PARENT`. It has
    `main(path, *, parent)`, which returns the exit code, and may have `preload()`, which imports what every attempt
    needs: a process that has called it is forked for each attempt then. `keeps_weights` says whether attempts keep
    those of the best epoch, which `scalecore evaluate` measures.
    """

    factory: Callable[[Options], Trainer]
    worker: str
    keeps_weights: bool = True
