"""Converts the metrics that a training function yields after an epoch to a line of the learning curve."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from numbers import Real
from typing import Any

import numpy as np

from scalecore.api.data_report import DataReport
from scalecore.api.errors import RefusedError
from scalecore.api.training import Diverged
from scalecore.builtin.function_trainer import FunctionSpec
from scalecore.data.measures import MEASURES, measures
from scalecore.execution.function_trial import FunctionTrial

OUTPUTS = "outputs"
RESERVED = (
    "epoch",
    "train_seconds",
    "evaluation_seconds",
    "confusion_matrix",
    "predictions",
    "intervals",
    "without_interval",
)
"""Keys that the core writes into each line of the learning curve."""


class EpochReader:
    """Checks the metrics that a function yields, and computes further ones from its outputs."""

    def __init__(self, spec: FunctionSpec, trial: FunctionTrial, *, description: DataReport) -> None:
        self._spec, self._trial, self._description = spec, trial, description
        self._labels: Any = None

    def line(self, given: Any, *, epoch: int, seconds: float) -> tuple[dict[str, Any], Any]:
        """Return the line of the learning curve for the mapping `given`, and the outputs in it."""
        if not isinstance(given, Mapping):
            raise RefusedError(f"{self._label} yielded {type(given).__name__}; it must yield a mapping of metrics")
        metrics = {str(name): self._number(str(name), one) for name, one in given.items() if name != OUTPUTS}
        outputs, found = None, {}
        if OUTPUTS in given:
            outputs = self._outputs(given[OUTPUTS])
            found = measures(outputs, self.labels(), task=self._spec.task)
        taken = [name for name in metrics if name in RESERVED or (outputs is not None and name in self._measured)]
        if taken:
            why = "computed from its outputs" if outputs is not None else "set by the study"
            raise RefusedError(f"{self._label} yields {', '.join(taken)}, which is {why}: remove it", guard="G23")
        line = {"epoch": epoch, "train_loss": None, "train_seconds": seconds, **metrics, **found}
        loss = line.get("val_loss")
        if "val_loss" not in line:
            raise RefusedError(
                f"{self._label} yields no val_loss: yield it, or the outputs of the validation windows as `outputs`",
                guard="G23",
            )
        for name, value in (("validation", loss), ("training", metrics.get("train_loss", 0.0))):
            if value is None or not math.isfinite(value):
                raise Diverged(f"{name} loss is {value} after epoch {epoch}")
        return {name: _finite(one) for name, one in line.items()}, outputs

    @property
    def _measured(self) -> tuple[str, ...]:
        return MEASURES[self._spec.task]

    def _number(self, name: str, value: Any) -> float | None:
        if value is None:
            return None
        if not isinstance(value, Real) and callable(getattr(value, "item", None)):
            with suppress(ValueError, RuntimeError):
                value = value.item()  # of numpy or torch
        if not isinstance(value, Real) or isinstance(value, bool):
            raise RefusedError(f"{self._label} yields {name} as {type(value).__name__}: a metric must be one number")
        return float(value)

    def _outputs(self, given: Any) -> Any:
        """[windows, outputs] in the precision of stored predictions, so that their loss equals the reported one."""
        if callable(detach := getattr(given, "detach", None)):
            given = detach().cpu()
        scaled = self._description.target_scale is not None
        outputs = np.asarray(given, dtype=np.float64 if scaled else np.float32)
        outputs = outputs[:, None] if outputs.ndim == 1 else outputs
        wanted = (len(self.labels()), self._spec.shape.outputs)
        if outputs.shape != wanted:
            raise RefusedError(
                f"{self._label} yields outputs of shape {outputs.shape}, expected {wanted}: one row per window of "
                "trial.data('val')",
                guard="G11",
            )
        if self._spec.task == "multiclass" and outputs.min() >= 0 and np.allclose(outputs.sum(axis=1), 1, atol=1e-5):
            raise RefusedError(
                f"{self._label} yields probabilities as outputs; yield logits, such as their logarithms",
                guard="G10",
            )
        return outputs

    def labels(self) -> Any:
        """Labels of the validation windows, as stored with predictions."""
        if self._labels is None:
            labels = self._trial.data("val")[1]
            self._labels = labels if self._description.target_scale is not None else labels.astype(np.float32)
        return self._labels

    def refuse_unmeasured(self, line: Mapping[str, Any]) -> None:
        """Raise `RefusedError` if the objective is not a metric of the line (guard G23)."""
        metric = self._spec.plan.metric
        known = sorted(name for name, one in line.items() if not isinstance(one, dict | list) and name not in RESERVED)
        if metric not in known:
            raise RefusedError(
                f"objective.metric: {metric!r} is not measured; {self._label} yields {', '.join(known)}", guard="G23"
            )

    @property
    def _label(self) -> str:
        return self._spec.target.label


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
