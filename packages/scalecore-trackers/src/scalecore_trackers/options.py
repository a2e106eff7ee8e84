"""The options of the loggers `tensorboard`, `mlflow` and `wandb`."""

from pathlib import Path
from typing import Annotated, Literal

from attrs import frozen

from scalecore.api.options import PathPattern, option

__all__ = ["MlflowOptions", "TensorboardOptions", "WandbOptions"]

_URI = r"sqlite:///.+|https?://([^@:/\s\[\]]+|\[[\da-fA-F:]+\])(:\d{1,5})?(/[^@\s]*)?"
_URI_RULE = (
    "expected `sqlite:///PATH` or a server, `http://HOST:PORT` or `https://HOST`; a password is given by "
    "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, since the experiment is stored with the study"
)


@frozen(kw_only=True)
class TensorboardOptions:
    """`loggers: [tensorboard]`: event files, one folder a trial."""

    path: Path | None = option(
        None,
        help="Folder for several studies, each in a folder of its name; `tensorboard` in the study's folder by "
        "default.",
    )


@frozen(kw_only=True)
class MlflowOptions:
    """`loggers: [{use: mlflow, uri: ...}]`: runs of MLflow in a database file or on a server."""

    uri: Annotated[str, PathPattern(_URI, _URI_RULE)] | None = option(
        None,
        help="Where runs are kept: a server, `http://HOST:PORT`, or `sqlite:///PATH` with a path from the study's "
        "folder; the file `mlflow.db` beside the study's folder by default, with artifacts in `mlartifacts` there.",
    )
    experiment: str | None = option(None, help="The experiment of MLflow; the study's name by default.")
    artifacts: bool = option(
        True, help="Whether each trial's record and the experiment file are stored as artifacts too."
    )

    @property
    def is_file(self) -> bool:
        """Whether the runs are in a database file, and not on a server."""
        return self.uri is None or self.uri.startswith("sqlite:")


@frozen(kw_only=True)
class WandbOptions:
    """`loggers: [wandb]`: runs of Weights & Biases, on the disk or on its server."""

    mode: Literal["offline", "online"] = option(
        "offline",
        help="`offline` writes files that `wandb sync` uploads whenever you want; `online` sends everything as it "
        "happens, with the login of `wandb login` or WANDB_API_KEY.",
    )
    project: str = option("scalecore", help="The project of the runs.")
    entity: str | None = option(
        None, help="The team or user that the project belongs to; that of the login by default."
    )
    path: Path | None = option(
        None, help="Folder in which W&B makes its own folder `wandb`; the study's folder by default."
    )
