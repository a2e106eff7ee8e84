"""The eight hooks that a plugin module may define.

A plugin is a module named by an entry point of the group `scalecore`. Each hook is a function without arguments that
returns component records. It is called once when the registry is built, in the driver and again in each attempt's
process. A hook must not import heavy modules; the `factory` of a record does. An exception marks this plugin as
`broken` and does not affect others. The order of hooks and plugins does not matter. A complete plugin module:

    from scalecore import hookimpl
    from scalecore.api.components import ModelRecord
    from my_plugin.options import DLinearOptions

    def _dlinear(options):
        from my_plugin.model import DLinear  # imports torch only when the family is created

        return DLinear(options)

    @hookimpl
    def scalecore_models():
        return [ModelRecord(name="dlinear", summary="Two linear layers.", options=DLinearOptions, factory=_dlinear)]
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from scalecore.api.components import (
    AnalysisRecord,
    DatasetRecord,
    ExecutorRecord,
    HardwareMonitorRecord,
    LoggerRecord,
    ModelRecord,
    SearchStrategyRecord,
    TrainerRecord,
)

__all__ = ["hookimpl", "hookspec"]

hookspec = pluggy.HookspecMarker("scalecore")
hookimpl = pluggy.HookimplMarker("scalecore")


@hookspec
def scalecore_datasets() -> Iterable[DatasetRecord]:  # type: ignore[empty-body]
    """Datasets, for `dataset: {use: NAME}`.

        @hookimpl
        def scalecore_datasets():
            return [DatasetRecord(name="sales", summary="Daily sales.", options=SalesOptions, factory=_sales)]

    The factory of each record returns a `scalecore.api.dataset.Dataset`.
    """


@hookspec
def scalecore_models() -> Iterable[ModelRecord]:  # type: ignore[empty-body]
    """Model families, for `model: {use: NAME}`.

        @hookimpl
        def scalecore_models():
            return [ModelRecord(name="dlinear", summary="Two linear layers.", options=DLinearOptions, factory=_dlinear)]

    The factory of each record returns a `scalecore.api.model.ModelFamily`.
    """


@hookspec
def scalecore_search_strategies() -> Iterable[SearchStrategyRecord]:  # type: ignore[empty-body]
    """Search strategies, for `search: {use: NAME}`.

        @hookimpl
        def scalecore_search_strategies():
            return [SearchStrategyRecord(name="grid", summary="Every shape once.", factory=_grid)]

    The factory of each record returns a `scalecore.api.strategy.SearchStrategy`.
    """


@hookspec
def scalecore_loggers() -> Iterable[LoggerRecord]:  # type: ignore[empty-body]
    """Loggers, for the list `loggers:`.

        @hookimpl
        def scalecore_loggers():
            return [LoggerRecord(name="mail", summary="Sends a mail at the end.", options=MailOptions, factory=_mail)]

    The factory of each record returns a `scalecore.api.logger.Logger`.
    """


@hookspec
def scalecore_hardware_monitors() -> Iterable[HardwareMonitorRecord]:  # type: ignore[empty-body]
    """Hardware monitors, for the list `monitors:`.

        @hookimpl
        def scalecore_hardware_monitors():
            return [HardwareMonitorRecord(name="fan", summary="Watches the fan.", factory=_fan, quantities=("fan",))]

    The factory of each record returns a `scalecore.api.monitor.HardwareMonitor`.
    """


@hookspec
def scalecore_executors() -> Iterable[ExecutorRecord]:  # type: ignore[empty-body]
    """Executors, for `execution: {use: NAME}`.

        @hookimpl
        def scalecore_executors():
            return [ExecutorRecord(name="slurm", summary="Attempts as SLURM jobs.", options=SlurmOptions,
            factory=_slurm)]

    The factory of each record returns a `scalecore.api.executor.Executor`.
    """


@hookspec
def scalecore_analyses() -> Iterable[AnalysisRecord]:  # type: ignore[empty-body]
    """Analyses of finished studies, for `scalecore analyze NAME STUDY...`.

        @hookimpl
        def scalecore_analyses():
            return [AnalysisRecord(name="coverage", summary="Tried and untried shapes.", factory=_coverage)]

    The factory of each record returns a `scalecore.api.analysis.Analysis`.
    """


@hookspec
def scalecore_trainers() -> Iterable[TrainerRecord]:  # type: ignore[empty-body]
    """Trainers, for `training: {use: NAME}`.

        @hookimpl
        def scalecore_trainers():
            return [TrainerRecord(name="jax", summary="Trains in JAX.", options=JaxOptions, factory=_jax,
            worker="my_plugin.worker")]

    The factory of each record returns a `scalecore.api.trainer.Trainer`.
    """
