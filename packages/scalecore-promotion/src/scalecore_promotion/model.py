"""A stored model: `model.json` and `weights.safetensors`, the only files that `scalecore predict` needs.

Neither file contains executable code. `model.json` contains the model family with its options, the features in order,
their normalisation, and a probe: the logits of synthetic windows at the time of writing. The probe detects changed code
or damaged weights before a prediction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from attrs import frozen

from scalecore.api.data_report import TargetScale
from scalecore.api.engine import MODEL_FILE, Move, checked_weights, model_content, move_of, read_state, structured
from scalecore.api.errors import DataError, RefusedError
from scalecore.api.studies import StudyFolder

if TYPE_CHECKING:
    from torch import nn

PROBE_TOLERANCE = 1e-3
"""Processors and thread counts change only the last bits; changed code changes far more."""


@frozen(kw_only=True)
class StoredModel:
    """`content` is the content of `model.json`."""

    folder: Path
    content: Mapping[str, Any]

    @property
    def features(self) -> Sequence[str]:
        features: Sequence[str] = self.content["data"]["features"]
        return features

    @property
    def context(self) -> int:
        return int(self.content["shape"]["context"])

    @property
    def task(self) -> str:
        return str(self.content["task"])

    def normalised(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        """`values` [rows, features], normalised as in training."""
        from scalecore.api.data import Normaliser

        stored = self.content["data"]["normalise"]
        normaliser = Normaliser(
            kind=stored["kind"],
            center=np.array([stored["center"][name] for name in self.features]),
            scale=np.array([stored["scale"][name] for name in self.features]),
            constant=(),
        )
        return normaliser.apply(values)

    def registry(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of `load_registry`, with the plugin files in the model's folder."""
        files = [str(self.folder / name) for name in self.content.get("plugins", ())]
        return {**arguments, "files": files} if files else dict(arguments)

    @property
    def scale(self) -> TargetScale | None:
        """The target scale of a forecast; None for classes and for a model of version 0.1."""
        content = self.content["data"].get("target_scale")
        if content is None:
            return None
        return structured(TargetScale, content, place=f"{self.folder / MODEL_FILE}: target_scale", error=DataError)

    def build(self, registry: Mapping[str, Any]) -> nn.Module:
        """The model with its weights, on the CPU, in evaluation mode.

        Raises `PluginError` if its family is missing, `DataError` if a file is damaged, and `RefusedError` if the
        installed code computes other logits.
        """
        from scalecore.api.engine import structured
        from scalecore.api.worker import Hyperparameters
        from scalecore_torch.api import ModelToBuild, build_module, load_weights, probe_logits

        path = checked_weights(self.folder, self.content)
        hyperparameters = Hyperparameters(self.content["hyperparameters"])
        content = {**self.content, "registry": self.registry(registry)}
        spec = structured(ModelToBuild, content, place=str(self.folder / MODEL_FILE), error=DataError)
        module = build_module(spec, hyperparameters)
        load_weights(path, module)
        module.eval()
        now, then = np.array(probe_logits(module, spec.shape)), np.array(self.content["probe"])
        if now.shape != then.shape or not np.allclose(now, then, rtol=PROBE_TOLERANCE, atol=PROBE_TOLERANCE):
            made = self.content["versions"]
            raise RefusedError(
                f"{self.folder}: the installed code computes other logits than the stored model; install the versions "
                f"that wrote it, scalecore {made.get('scalecore')} and torch {made.get('torch')}",
                guard="G26",
            )
        return module


def read_model(folder: Path) -> StoredModel:
    """The model in `folder`; raises `ExperimentError` if there is none."""
    content = model_content(folder)
    return StoredModel(folder=folder, content=_located(content, folder))


def _is_in_a_study(folder: Path) -> bool:
    study = StudyFolder(folder.parents[1])
    return folder.parent == study.promoted and study.journal.exists()


def _located(content: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """The content with file paths adjusted to a moved project; a model copied without its study keeps its paths."""
    was, journal = content.get("folder"), StudyFolder(folder).journal
    if journal.exists():  # version 0.1 wrote one, and no folder
        state = read_state(journal)
        study = move_of(state.experiment, state.plan, folder).was
        move = Move(study / "promoted" / folder.name if study else None, folder.absolute())
    elif isinstance(was, str) and _is_in_a_study(folder.absolute()):
        move = Move(Path(was), folder.absolute())
    else:
        return content
    data = {**content["data"], "block": move.apply(content["data"]["block"])}
    return {**content, "model": move.apply(content["model"]), "data": data}
