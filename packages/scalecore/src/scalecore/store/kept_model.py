"""A model stored by `scalecore evaluate`: `model.json`, and the weights file with its checksum."""

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
"""Format 2 adds `target_scale`, the scale on which a forecast is trained, which version 0.1 would ignore."""


def model_content(folder: Path) -> Mapping[str, Any]:
    """Read `model.json` in `folder`; raise `ExperimentError` if there is none."""
    content = read_json(folder / MODEL_FILE)
    if not isinstance(content, dict) or "weights" not in content:
        raise ExperimentError(f"{folder}: no retrained model here (no valid {MODEL_FILE})")
    if content["format"] > MODEL_FORMAT:
        found = content["format"]
        raise RefusedError(f"{folder}: the model has format {found}, this scalecore reads formats up to {MODEL_FORMAT}")
    return content


def checked_weights(folder: Path, content: Mapping[str, Any]) -> Path:
    """Return the path of the weights file; raise `DataError` if it is missing or damaged."""
    path = folder / str(content["weights"]["file"])
    if not path.is_file():
        raise DataError(f"{path} is missing; a model consists of {MODEL_FILE} and its weights file")
    if checksum(path) != content["weights"]["sha256"]:
        why = "the file is damaged or belongs to another model"
        raise DataError(f"{path}: the checksum does not match {MODEL_FILE}: {why}")
    return path


def verify_model(folder: Path) -> list[Check]:
    """Check that a retrained model is complete and its weights match `model.json`."""
    if not (folder / MODEL_FILE).exists():
        text = "incomplete; `scalecore evaluate` resumes the training"
        return [Check(level="note", subject="model", message=text)]
    try:
        checked_weights(folder, model_content(folder))
    except ScalecoreError as error:
        return [Check(level="wrong", subject="model", message=str(error))]
    return [Check(level="ok", subject="model", message=f"the weights match {MODEL_FILE}")]
