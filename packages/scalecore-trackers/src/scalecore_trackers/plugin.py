"""The loggers of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scalecore import hookimpl
from scalecore.api.components import LoggerRecord
from scalecore_trackers.options import MlflowOptions, TensorboardOptions, WandbOptions

if TYPE_CHECKING:
    from scalecore.api.logger import Logger, LoggerContext


def _tensorboard(options: TensorboardOptions, context: LoggerContext) -> Logger:
    from scalecore_trackers.tensorboard_logger import TensorboardLogger

    return TensorboardLogger(options, context)


def _mlflow(options: MlflowOptions, context: LoggerContext) -> Logger:
    from scalecore_trackers.mlflow_logger import MlflowLogger

    return MlflowLogger(options, context)


def _wandb(options: WandbOptions, context: LoggerContext) -> Logger:
    from scalecore_trackers.wandb_logger import WandbLogger

    return WandbLogger(options, context)


def _mlflow_needs(options: MlflowOptions) -> dict[str, str]:
    modules = ("mlflow", "sqlalchemy", "alembic") if options.is_file else ("mlflow",)
    return dict.fromkeys(modules, "scalecore-trackers[mlflow]")


@hookimpl
def scalecore_loggers() -> list[LoggerRecord]:
    """The loggers `tensorboard`, `mlflow` and `wandb`. Each needs the extra with its name."""
    return [
        LoggerRecord(
            name="tensorboard",
            summary="Learning curves and hyper-parameters for TensorBoard.",
            options=TensorboardOptions,
            factory=_tensorboard,
            background=True,
            export=True,
            needs=lambda options: {"tensorboard": "scalecore-trackers[tensorboard]"},
        ),
        LoggerRecord(
            name="mlflow",
            summary="An MLflow run for the study with a nested run for each trial, in a file or on a server.",
            options=MlflowOptions,
            factory=_mlflow,
            background=True,
            export=True,
            needs=_mlflow_needs,
        ),
        LoggerRecord(
            name="wandb",
            summary="A Weights & Biases run for each trial, offline by default.",
            options=WandbOptions,
            factory=_wandb,
            background=True,
            export=True,
            needs=lambda options: {"wandb": "scalecore-trackers[wandb]"},
        ),
    ]
