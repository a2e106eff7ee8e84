"""The built-in components, registered through the same hooks as those of plugins."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from scalecore.api.components import (
    DatasetRecord,
    ExecutorRecord,
    LoggerRecord,
    SearchStrategyRecord,
    TrainerRecord,
)
from scalecore.api.hookspecs import hookimpl
from scalecore.builtin.options import (
    ConsoleOptions,
    CsvOptions,
    FilesOptions,
    FunctionOptions,
)
from scalecore.builtin.options_dataset import ParquetOptions
from scalecore.execution.local.options import LocalOptions

if TYPE_CHECKING:
    from scalecore.api.dataset import Dataset, DatasetContext
    from scalecore.api.executor import Executor, ExecutorContext
    from scalecore.api.logger import Logger, LoggerContext
    from scalecore.api.strategy import SearchContext, SearchStrategy
    from scalecore.api.trainer import Trainer


def _parquet(options: ParquetOptions, context: DatasetContext) -> Dataset:
    from scalecore.builtin.parquet import ParquetDataset

    return ParquetDataset(options)


def _random(options: object, context: SearchContext) -> SearchStrategy:
    from scalecore.builtin.random_search import RandomSearch

    return RandomSearch(context)


def _console(options: ConsoleOptions, context: LoggerContext) -> Logger:
    from scalecore.builtin.console import ConsoleLogger

    return ConsoleLogger(options, context)


def _files(options: FilesOptions, context: LoggerContext) -> Logger:
    from scalecore.builtin.files import FilesLogger

    return FilesLogger(options, context)


def _csv(options: CsvOptions, context: LoggerContext) -> Logger:
    from scalecore.builtin.results_csv import CsvLogger

    return CsvLogger(options, context)


def _local(options: LocalOptions, context: ExecutorContext) -> Executor:
    from scalecore.execution.local.executor import LocalExecutor

    return LocalExecutor(options, worker=context.worker)


def _function(options: FunctionOptions) -> Trainer:
    from scalecore.builtin.function_trainer import FunctionTrainer

    return FunctionTrainer(options)


@hookimpl
def scalecore_datasets() -> Iterable[DatasetRecord]:
    return [
        DatasetRecord(
            name="parquet",
            summary="A parquet or CSV file with a time column: declared features, a computed or given target.",
            options=ParquetOptions,
            factory=_parquet,
            task=lambda options: options.target.task,
        )
    ]


@hookimpl
def scalecore_search_strategies() -> Iterable[SearchStrategyRecord]:
    return [
        SearchStrategyRecord(
            name="random", summary="Independent draws from the feasible architectures and the space.", factory=_random
        )
    ]


@hookimpl
def scalecore_loggers() -> Iterable[LoggerRecord]:
    return [
        LoggerRecord(
            name="console", summary="Progress and results on the terminal.", options=ConsoleOptions, factory=_console
        ),
        LoggerRecord(
            name="files", summary="The study's files: trials, best, summary.", options=FilesOptions, factory=_files
        ),
        LoggerRecord(
            name="csv",
            summary="One table of results across studies.",
            options=CsvOptions,
            factory=_csv,
            export=True,
        ),
    ]


@hookimpl
def scalecore_executors() -> Iterable[ExecutorRecord]:
    return [
        ExecutorRecord(
            name="local", summary="Supervised processes on this machine.", options=LocalOptions, factory=_local
        )
    ]


@hookimpl
def scalecore_trainers() -> Iterable[TrainerRecord]:
    return [
        TrainerRecord(
            name="function",
            summary="Train with your own function, with any library.",
            options=FunctionOptions,
            factory=_function,
            worker="scalecore.builtin.function_worker",
            keeps_weights=False,
        )
    ]
