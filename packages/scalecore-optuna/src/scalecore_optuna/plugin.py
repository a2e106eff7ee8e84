"""What this package gives to scalecore."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scalecore import hookimpl
from scalecore.records import SearchStrategyRecord
from scalecore_optuna.options import ArchitecturalOptions

if TYPE_CHECKING:
    from scalecore.protocols import SearchContext, SearchStrategy


def _architectural(options: ArchitecturalOptions, context: SearchContext) -> SearchStrategy:
    from scalecore_optuna.strategy import ArchitecturalStrategy  # Optuna is imported only where a study is run

    return ArchitecturalStrategy(options, context)


@hookimpl
def scalecore_search_strategies() -> list[SearchStrategyRecord]:
    """The strategy `architectural`."""
    return [
        SearchStrategyRecord(
            name="architectural",
            summary="Forced extremes, a space-filling start, then Optuna's TPE on what is feasible; no repeats.",
            options=ArchitecturalOptions,
            factory=_architectural,
        )
    ]
