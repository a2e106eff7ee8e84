"""What hooks return: frozen records that tell the registry of a component before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

if TYPE_CHECKING:
    from scalecore.api.protocols import (  # noqa: TC004 (nothing reads these types)
        Analysis,
        DashboardContext,
        Dataset,
        DatasetContext,
        Executor,
        ExecutorContext,
        HardwareMonitor,
        Logger,
        LoggerContext,
        ModelFamily,
        MonitorContext,
        SearchContext,
        SearchStrategy,
    )

__all__ = [
    "AnalysisRecord",
    "DatasetRecord",
    "ExecutorRecord",
    "HardwareMonitorRecord",
    "LoggerRecord",
    "ModelRecord",
    "Record",
    "SearchStrategyRecord",
]


@frozen(kw_only=True)
class NoOptions:
    """The options of a component that has none."""


@frozen(kw_only=True)
class Record:
    """What all kinds have: the name used in the experiment file, one sentence, the attrs class of the options, the
    factory.

    `factory` is a short function that imports the heavy module inside and returns the run-time object.
    `needs(options)` names the modules of optional extras without which it cannot work, each with what pip installs for
    it, such as `{"mlflow": "scalecore-trackers[mlflow]"}`: one that is missing is told when the file is checked.
    """

    name: str
    summary: str
    options: type = NoOptions
    factory: Callable[..., Any]
    needs: Callable[[Any], Mapping[str, str]] | None = None


@frozen(kw_only=True)
class DatasetRecord(Record):
    """`factory(options, context)` returns a `Dataset`.

    `commands` names a `click.Group` as `module:attribute`, for a dataset that has files to look after: its commands are
    those of `scalecore data`. `task(options)` tells `binary`, `multiclass` or `forecast` where the options alone decide
    it, and None where the data do, so that `scalecore check` finds a loss that does not belong to it.
    """

    factory: Callable[[Any, DatasetContext], Dataset]
    commands: str | None = None
    task: Callable[[Any], str | None] | None = None


@frozen(kw_only=True)
class ModelRecord(Record):
    """`factory(options)` returns a `ModelFamily`.

    `grid` names the options that only say which architectures there are, and change nothing about one of them: a study
    may go on with other values of these.
    """

    factory: Callable[[Any], ModelFamily]
    grid: tuple[str, ...] = ()


@frozen(kw_only=True)
class SearchStrategyRecord(Record):
    """`factory(options, context)` returns a `SearchStrategy`."""

    factory: Callable[[Any, SearchContext], SearchStrategy]


@frozen(kw_only=True)
class LoggerRecord(Record):
    """`factory(options, context)` returns a `Logger`.

    `dashboard(options, context)` shows a study in the browser until it is interrupted, for `scalecore dashboard`; the
    options are those under which the study uses the logger, None where it does not.
    """

    factory: Callable[[Any, LoggerContext], Logger]
    dashboard: Callable[[Any, DashboardContext], None] | None = None


@frozen(kw_only=True)
class HardwareMonitorRecord(Record):
    """`factory(options, context)` returns a `HardwareMonitor`; `quantities` are those that its readings speak of."""

    factory: Callable[[Any, MonitorContext], HardwareMonitor]
    quantities: tuple[str, ...] = field(default=())


@frozen(kw_only=True)
class ExecutorRecord(Record):
    """`factory(options, context)` returns an `Executor`."""

    factory: Callable[[Any, ExecutorContext], Executor]


@frozen(kw_only=True)
class AnalysisRecord(Record):
    """`factory(options)` returns an `Analysis`.

    `studies` is the least number of studies that it can be given; 0 for one that can do without.
    """

    factory: Callable[[Any], Analysis]
    studies: int = 1
