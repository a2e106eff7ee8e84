"""The options of the loggers `tensorboard`, `mlflow` and `wandb`."""

from pathlib import Path
from typing import Annotated, Literal

from attrs import frozen

from scalecore.api.options import PathPattern, option

__all__ = ["MlflowOptions", "TensorboardOptions", "WandbOptions"]

_URI = r"sqlite:///.+|https?://([^@:/\s\[\]]+|\[[\da-fA-F:]+\])(:\d{1,5})?(/[^@\s]*)?"
_URI_RULE = (
    "expected `sqlite:///PATH` or a server, `http://HOST:PORT` or `https://HOST`; put a login into "
    "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, because the experiment is stored with the study"
)


@frozen(kw_only=True)
class TensorboardOptions:
    """`loggers: [tensorboard]`: event files, one folder a trial."""

    path: Path | None = option(
        None,
        help="Folder for several studies, with a subfolder for each; by default `tensorboard` in the study's folder.",
    )


@frozen(kw_only=True)
class MlflowOptions:
    """`loggers: [{use: mlflow, uri: ...}]`: MLflow runs in a database file or on a server."""

    uri: Annotated[str, PathPattern(_URI, _URI_RULE)] | None = option(
        None,
        help="Storage of the runs: a server, `http://HOST:PORT`, or `sqlite:///PATH` relative to the study's folder. "
        "By default `mlflow.db` beside the study's folder, with artifacts in `mlartifacts` there.",
    )
    experiment: str | None = option(None, help="MLflow experiment; the study's name by default.")
    artifacts: bool = option(True, help="Store each trial's record and the experiment file as artifacts.")

    @property
    def is_file(self) -> bool:
        """Whether the runs are in a database file instead of on a server."""
        return self.uri is None or self.uri.startswith("sqlite:")


@frozen(kw_only=True)
class WandbOptions:
    """`loggers: [wandb]`: Weights & Biases runs, on disk or on its server."""

    mode: Literal["offline", "online"] = option(
        "offline",
        help="`offline` writes files that `wandb sync` can upload later; `online` uploads during the run, with the "
        "login of `wandb login` or WANDB_API_KEY.",
    )
    project: str = option("scalecore", help="W&B project of the runs.")
    entity: str | None = option(None, help="Team or user that owns the project; by default that of the login.")
    path: Path | None = option(
        None, help="Folder in which W&B creates its folder `wandb`; the study's folder by default."
    )
