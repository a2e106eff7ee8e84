"""What scalecore finds through the entry point: records, and factories that import what is heavy when it is needed.

Every command and every attempt imports this module, so it imports the standard library, attrs and scalecore only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scalecore import hookimpl
from scalecore.api.components import LoggerRecord, ModelRecord, SearchStrategyRecord
from scalecore_example.options import EvolutionOptions, MarkdownOptions, TCNOptions

if TYPE_CHECKING:
    from scalecore.api.logger import Logger, LoggerContext
    from scalecore.api.model import ModelFamily
    from scalecore.api.strategy import SearchContext, SearchStrategy


def _tcn(options: TCNOptions) -> ModelFamily:
    from scalecore_example.family import TCNFamily

    return TCNFamily(options)


def _evolution(options: EvolutionOptions, context: SearchContext) -> SearchStrategy:
    from scalecore_example.evolution import Evolution

    return Evolution(options, context)


def _markdown(options: MarkdownOptions, context: LoggerContext) -> Logger:
    from scalecore_example.markdown import MarkdownLogger

    return MarkdownLogger(options, context)


@hookimpl
def scalecore_models() -> list[ModelRecord]:
    return [
        ModelRecord(
            name="tcn",
            summary="Temporal convolutional network: residual blocks of dilated causal convolutions.",
            options=TCNOptions,
            factory=_tcn,
            # These only say which shapes there are; a study may go on with others.
            grid=("channels", "levels", "kernel"),
        )
    ]


@hookimpl
def scalecore_search_strategies() -> list[SearchStrategyRecord]:
    return [
        SearchStrategyRecord(
            name="evolution",
            summary="Aging evolution: one change to the best of a few recent trials.",
            options=EvolutionOptions,
            factory=_evolution,
        )
    ]


@hookimpl
def scalecore_loggers() -> list[LoggerRecord]:
    return [
        LoggerRecord(
            name="markdown",
            summary="A table of all trials in Markdown, in the study's folder.",
            options=MarkdownOptions,
            factory=_markdown,
        )
    ]
