"""`scalecore predict`: apply a stored model to new rows, normalised as in its training.

A window ends at the row of its prediction and uses no later row. The normalisation uses stored statistics, and no label
is needed, so the newest rows are predicted too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from attrs import frozen

from scalecore.api.data import check_finite, check_panel, stamp
from scalecore.api.dataset import DatasetContext
from scalecore.api.engine import (
    MODEL_FILE,
    create,
    load_registry,
    standalone_component,
)
from scalecore.api.errors import DataError, DeviceError, ExperimentError, RefusedError, ScalecoreError
from scalecore.api.files import replacing, write_text
from scalecore.api.predictions import calibrator_from
from scalecore_promotion.model import StoredModel
from scalecore_promotion.threshold import threshold_from

if TYPE_CHECKING:
    import pandas as pd

OF_THE_MODEL = ("context", "normalise", "split", "target")
"""Options of a dataset that the model determines or a prediction does not need."""


@frozen(kw_only=True, eq=False)
class Rows:
    """Raw `values` [rows, features] in the order of the model's features, and `times` [rows]."""

    name: str
    times: npt.NDArray[np.datetime64]
    values: npt.NDArray[np.float64]


def rows_of_file(model: StoredModel, path: Path, *, time: str | None = None) -> Rows:
    """Read the model's features by name from a parquet or CSV file.

    `time` names the time column; the default is the time column of the model's dataset, else a usual name. Raises
    `DataError` if a feature is missing or has a value that is not a finite number.
    """
    from scalecore.api.data import numbers, read_table
    from scalecore.api.dataset_options import ReadOptions

    block = model.content["data"]["block"]
    stored, dataset = block.get("time"), block.get("use")
    written = block.get("read") if dataset == "parquet" else None
    reading = ReadOptions(**written) if isinstance(written, dict) else None
    table = read_table(path, time=time or (stored if isinstance(stored, str) else None), reading=reading)
    try:
        values = np.column_stack([numbers(table, name, role="feature") for name in model.features])
    except DataError as error:
        if dataset == "parquet":
            raise
        raise DataError(
            f"{error}. DATA must contain the features that dataset {dataset!r} computes; if it is an input file of "
            "that dataset, use --dataset KEY=VALUE instead"
        ) from error
    check_finite(values, columns=model.features, times=table.times, name=str(path))
    return Rows(name=str(path), times=table.times, values=values)


def rows_of_dataset(model: StoredModel, overrides: Sequence[str], *, registry: Mapping[str, Any]) -> Rows:
    """Read the rows of the dataset that the model was trained on, with `overrides` (`KEY=VALUE`) of its options.

    Raises `ExperimentError` for wrong options, `DataError` if the dataset fails, and `RefusedError` if its features
    differ from the model's.
    """
    for text in overrides:
        name = text.partition("=")[0].split(".")[0]
        if name in OF_THE_MODEL:
            raise ExperimentError(
                f"--dataset {text}: the model determines {name}; it cannot be changed for a prediction"
            )
    component = standalone_component(
        "dataset",
        model.content["data"]["block"],
        overrides,
        registry=load_registry(**model.registry(registry)),
        source=str(model.folder / MODEL_FILE),
    )
    dataset = create("dataset", component, DatasetContext(seed=0))
    try:
        panel = dataset.panel()
        check_panel(panel)
    except ScalecoreError:
        raise
    except Exception as error:
        raise DataError(
            f"dataset {component.name!r} ({component.provider} {component.version}) failed: "
            f"{type(error).__name__}: {error}"
        ) from error
    if tuple(panel.features) != tuple(model.features):
        raise RefusedError(f"{panel.name}: {_difference(panel.features, model.features)}", guard="G55")
    return Rows(name=panel.name, times=panel.times.astype("datetime64[ns]"), values=panel.values)


def predict(model: StoredModel, rows: Rows, *, registry: Mapping[str, Any], device: str = "auto") -> pd.DataFrame:
    """One line per window with `time`, the time of its last row, and by task:

    - binary target: `logit`, `probability`, `calibrated` if the model has a calibrator, and `decision`, 1 if the
      probability reaches the model's decision threshold, unless an older version wrote the model;
    - several classes: `logit_0`, ..., `probability_0`, ..., and `decision`, the most probable class;
    - forecast: `forecast`, and for quantiles `quantile_0.1`, ..., in the target's unit.

    Raises `DataError` if there are fewer rows than a window needs.
    """
    import pandas as pd
    import torch

    from scalecore.api.data import probabilities
    from scalecore_torch.api import all_logits, pick_device, windows_over

    if len(rows.times) < model.context:
        raise DataError(f"{rows.name}: {len(rows.times)} rows, but a window of the model needs {model.context}")
    module = model.build(registry)
    try:
        where = pick_device(device)
    except DeviceError as error:
        raise DeviceError(f"--device {device}: {error}; choose another device") from error
    source = windows_over(model.normalised(rows.values), context=model.context, scale=model.scale, device=where)
    logits_NC = all_logits(module.to(where), source, evaluation=model.content.get("evaluation", "fp32"))
    assert logits_NC is not None  # only an interrupted call returns None
    logits = logits_NC.numpy()
    columns: dict[str, Any] = {"time": rows.times[model.context - 1 :]}
    if model.task == "forecast":
        # Models written before the loss could be chosen have one output.
        quantiles = (model.content.get("loss") or {}).get("quantiles", [0.5])
        columns["forecast"] = logits[:, quantiles.index(0.5)]
        if len(quantiles) > 1:
            columns |= {f"quantile_{quantile:g}": logits[:, number] for number, quantile in enumerate(quantiles)}
    elif logits.shape[1] == 1:
        columns |= {"logit": logits[:, 0], "probability": torch.sigmoid(logits_NC[:, 0].double()).numpy()}
        if model.content.get("calibrator"):
            columns["calibrated"] = calibrator_from(model.content["calibrator"]).apply(logits[:, 0])
        if model.content.get("threshold"):
            columns["decision"] = threshold_from(model.content["threshold"]).decide(columns["probability"])
    else:
        chances = probabilities(logits.astype(np.float64))
        columns |= {f"logit_{number}": logits[:, number] for number in range(logits.shape[1])}
        columns |= {f"probability_{number}": chances[:, number] for number in range(logits.shape[1])}
        columns["decision"] = logits.argmax(axis=1)
    return pd.DataFrame(columns)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write parquet or CSV, by the suffix, atomically."""
    if path.suffix == ".csv":
        write_text(path, csv_text(table))
        return
    with replacing(path) as temporary:
        table.to_parquet(temporary, index=False)


def csv_text(table: pd.DataFrame) -> str:
    """CSV with times in ISO 8601 and numbers in full precision."""
    times = [stamp(moment) for moment in table["time"].to_numpy()]
    text: str = table.assign(time=times).to_csv(index=False, lineterminator="\n")
    return text


def _difference(found: Sequence[str], wanted: Sequence[str]) -> str:
    """Describe how the features differ."""
    missing = [name for name in wanted if name not in found]
    foreign = [name for name in found if name not in wanted]
    if missing:
        return f"the model was trained with {', '.join(missing)}, which the data does not contain"
    if foreign:
        return f"the model was not trained with {', '.join(foreign)}; remove them from the data"
    return f"the feature order is {', '.join(found)}, but the model was trained with {', '.join(wanted)}"
