"""Component records, returned by hooks: they describe a component to the registry without heavy imports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic

from attrs import field, frozen
from typing_extensions import TypeVar

from scalecore.api.analysis import Analysis
from scalecore.api.dataset import Dataset, DatasetContext
from scalecore.api.executor import Executor, ExecutorContext
from scalecore.api.logger import Logger, LoggerContext
from scalecore.api.model import ModelFamily
from scalecore.api.monitor import HardwareMonitor, MonitorContext
from scalecore.api.space import ArchitectureSpace, Distribution
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
    """The options class of a component without options."""


@frozen(kw_only=True)
class Record(Generic[Options]):
    """Base of all component records.

    `name` is the name used in the experiment file, `summary` one sentence for listings, `options` the attrs class of
    the options (see `scalecore.api.options`). `factory` is a short function that imports the heavy module and returns
    the run-time object. `needs(options)` returns the modules of optional extras that the component requires, each with
    the package to install, such as `{"mlflow": "scalecore-trackers[mlflow]"}`; `scalecore check` reports missing ones.
    """

    name: str
    summary: str
    options: type[Options] = NoOptions  # type: ignore[assignment] # the factory of a component without options
    factory: Callable[..., Any]
    needs: Callable[[Options], Mapping[str, str]] | None = None


@frozen(kw_only=True)
class DatasetRecord(Record[Options]):
    """`factory(options, context)` returns a `Dataset`.

    `task(options)` returns `binary`, `multiclass` or `forecast` if the options alone decide the task, and None if the
    data do. `scalecore check` uses it to refuse a loss of another task.
    """

    factory: Callable[[Options, DatasetContext], Dataset]
    task: Callable[[Options], str | None] | None = None


@frozen(kw_only=True)
class ModelRecord(Record[Options]):
    """`factory(options)` returns a `ModelFamily`.

    `grid` names the options that only decide which architectures exist, and change no architecture: a resumed study may
    change them.
    """

    factory: Callable[[Options], ModelFamily]
    grid: tuple[str, ...] = ()


@frozen(kw_only=True)
class SearchStrategyRecord(Record[Options]):
    """`factory(options, context)` returns a `SearchStrategy`.

    `problems(options, space, shapes)` may find mistakes in the options before the data is read: one line each, which
    may begin with a key of the file, such as `search.forced.1.hyperparameters.dropout: ...`. `shapes` are the legal
    shapes of the model for made-up data, so their sizes are unknown.
    """

    factory: Callable[[Options, SearchContext], SearchStrategy]
    problems: Callable[[Options, Mapping[str, Distribution], ArchitectureSpace], Iterable[str]] | None = None


@frozen(kw_only=True)
class LoggerRecord(Record[Options]):
    """`factory(options, context)` returns a `Logger`.

    Set `background` for a logger that may be slow or unreachable, such as one that writes to a server. The core then
    calls it, except for `progress`, in a thread. An exception causes one warning instead of switching the logger off:
    the core closes the logger, creates a new one, and calls its `study_started` with the current study.

    Set `export` if `study_started` and `study_finished` together write a whole study without writing existing content
    twice. `scalecore export NAME STUDY` calls these two and `close` in its own process, also while the study runs.
    """

    factory: Callable[[Options, LoggerContext], Logger]
    background: bool = False
    export: bool = False


@frozen(kw_only=True)
class HardwareMonitorRecord(Record[Options]):
    """`factory(options, context)` returns a `HardwareMonitor`; `quantities` lists the quantities of its readings."""

    factory: Callable[[Options, MonitorContext], HardwareMonitor]
    quantities: tuple[str, ...] = field(default=())


@frozen(kw_only=True)
class ExecutorRecord(Record[Options]):
    """`factory(options, context)` returns an `Executor`."""

    factory: Callable[[Options, ExecutorContext], Executor]


@frozen(kw_only=True)
class AnalysisRecord(Record[Options]):
    """`factory(options)` returns an `Analysis`.

    `studies` is the minimum number of studies on the command line; 0 if the analysis works without any.
    """

    factory: Callable[[Options], Analysis]
    studies: int = 1


@frozen(kw_only=True)
class TrainerRecord(Record[Options]):
    """`factory(options)` returns a `Trainer`.

    `worker` is the module of an attempt's process, started as `python -m WORKER FOLDER PARENT`. It defines
    `main(path, *, parent)`, which returns the exit code. It may define `preload()`, which imports what every attempt
    needs: the executor then calls it in one process and forks that process for each attempt. `keeps_weights` is True if
    attempts store the weights of the best epoch, which `scalecore evaluate` needs.
    """

    factory: Callable[[Options], Trainer]
    worker: str
    keeps_weights: bool = True
