"""What this package gives to scalecore."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scalecore import hookimpl
from scalecore.api.components import LoggerRecord, SearchStrategyRecord
from scalecore_optuna.options import ArchitecturalOptions, MirrorOptions

if TYPE_CHECKING:
    from scalecore.api.protocols import DashboardContext, Logger, LoggerContext, SearchContext, SearchStrategy


def _architectural(options: ArchitecturalOptions, context: SearchContext) -> SearchStrategy:
    from scalecore_optuna.strategy import ArchitecturalStrategy  # Optuna is imported only where a study is run

    return ArchitecturalStrategy(options, context)


def _mirror(options: MirrorOptions, context: LoggerContext) -> Logger:
    from scalecore_optuna.mirror_logger import MirrorLogger

    return MirrorLogger(options, context)


def _dashboard(options: MirrorOptions | None, context: DashboardContext) -> None:
    from scalecore_optuna.dashboard import serve

    serve(options, context)


@hookimpl
def scalecore_loggers() -> list[LoggerRecord]:
    """The logger `optuna`."""
    return [
        LoggerRecord(
            name="optuna",
            summary="A copy of the study in SQLite, an Optuna journal or PostgreSQL, for optuna-dashboard.",
            options=MirrorOptions,
            factory=_mirror,
            dashboard=_dashboard,
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
        )
    ]
