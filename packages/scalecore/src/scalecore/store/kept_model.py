"""A model that `scalecore evaluate` kept: `model.json`, and the weights that it names by their checksum."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scalecore.api.errors import DataError, ExperimentError, RefusedError, ScalecoreError
from scalecore.api.files import read_json
from scalecore.data.predictions import checksum
from scalecore.store.verify import Check

MODEL_FILE = "model.json"
WEIGHTS_FILE = "weights.safetensors"
MODEL_FORMAT = 2
"""2 where a forecast was trained on another scale (`target_scale`), which version 0.1 would ignore."""


def model_content(folder: Path) -> Mapping[str, Any]:
    """The content of `model.json` in `folder`; an `ExperimentError` where there is none."""
    content = read_json(folder / MODEL_FILE)
    if not isinstance(content, dict) or "weights" not in content:
        raise ExperimentError(f"{folder}: no retrained model here (there is no whole {MODEL_FILE})")
    if content["format"] > MODEL_FORMAT:
        raise RefusedError(f"{folder}: the model is of format {content['format']}, this scalecore reads {MODEL_FORMAT}")
    return content


def checked_weights(folder: Path, content: Mapping[str, Any]) -> Path:
    """The file of the weights; a `DataError` where it is missing or damaged."""
    path = folder / str(content["weights"]["file"])
    if not path.is_file():
        raise DataError(f"{path} is missing; a model is {MODEL_FILE} and its weights, together")
    if checksum(path) != content["weights"]["sha256"]:
        raise DataError(f"{path}: the checksum does not match {MODEL_FILE}: the file is damaged or another model's")
    return path


def verify_model(folder: Path) -> list[Check]:
    """Whether a retrained model is whole: its weights are those that `model.json` names."""
    if not (folder / MODEL_FILE).exists():
        text = "it is not finished; `scalecore evaluate` continues it"
        return [Check(level="note", subject="model", message=text)]
    try:
        checked_weights(folder, model_content(folder))
    except ScalecoreError as error:
        return [Check(level="wrong", subject="model", message=str(error))]
    return [Check(level="ok", subject="model", message=f"its weights are those of {MODEL_FILE}")]
