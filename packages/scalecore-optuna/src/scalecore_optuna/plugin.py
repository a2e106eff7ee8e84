"""The strategy and the logger of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scalecore import hookimpl
from scalecore.api.components import LoggerRecord, SearchStrategyRecord
from scalecore_optuna.options import ArchitecturalOptions, OptunaOptions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from scalecore.api.logger import Logger, LoggerContext
    from scalecore.api.space import ArchitectureSpace, Distribution
    from scalecore.api.strategy import SearchContext, SearchStrategy


def _architectural(options: ArchitecturalOptions, context: SearchContext) -> SearchStrategy:
    from scalecore_optuna.strategy import ArchitecturalStrategy  # import Optuna only to run a study

    return ArchitecturalStrategy(options, context)


def _problems(
    options: ArchitecturalOptions, space: Mapping[str, Distribution], shapes: ArchitectureSpace
) -> Iterable[str]:
    if not options.configurations:
        return ()
    from scalecore_optuna.configurations import configuration_problems

    return configuration_problems(options, space, shapes)


def _optuna(options: OptunaOptions, context: LoggerContext) -> Logger:
    from scalecore_optuna.logger import OptunaLogger

    return OptunaLogger(options, context)


def _driver(options: OptunaOptions) -> dict[str, str]:
    """The driver module that SQLAlchemy needs for a server, with the extra of this package that installs it."""
    return {"psycopg": "scalecore-optuna[postgresql]"} if options.storage.startswith("postgresql://") else {}


@hookimpl
def scalecore_loggers() -> list[LoggerRecord]:
    """The logger `optuna`."""
    return [
        LoggerRecord(
            name="optuna",
            summary="Adds finished trials to an Optuna storage (journal, SQLite, PostgreSQL) for optuna-dashboard.",
            options=OptunaOptions,
            factory=_optuna,
            needs=_driver,
            background=True,
            export=True,
        )
    ]


@hookimpl
def scalecore_search_strategies() -> list[SearchStrategyRecord]:
    """The strategy `architectural`."""
    return [
        SearchStrategyRecord(
            name="architectural",
            summary="Forced extremes, a space-filling start, then a Gaussian process over feasible shapes; no repeats.",
            options=ArchitecturalOptions,
            factory=_architectural,
            problems=_problems,
        )
    ]
