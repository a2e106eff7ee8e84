"""The losses, metrics, optimizers and schedules that an experiment names by import path, as an attempt uses them."""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from attrs import field, frozen
from torch import Tensor

from scalecore.api.errors import RefusedError
from scalecore.api.plugins import ImportPathError, import_code, reason_of
from scalecore.api.worker import classify
from scalecore_torch.training.losses import TrainingLoss
from scalecore_torch.user_code import UserCode, UserPart, name_of
from scalecore_torch.user_code_checks import make_optimizer, share_of, takes_decay, value_problem

Metric = Callable[[Tensor, Tensor], float | None]
"""From outputs [windows, outputs] and labels [windows] in the target's unit; None if undefined."""


@frozen(kw_only=True)
class OwnOptimizer:
    """Builds the optimizer from parameter groups."""

    make: Callable[..., torch.optim.Optimizer]
    decays: bool
    """Whether it accepts `weight_decay`."""


@frozen(kw_only=True)
class UserParts:
    """The user's replacements for scalecore's own parts; None without one."""

    loss: TrainingLoss | None = None
    metrics: Mapping[str, Metric] = field(factory=dict)
    optimizer: OwnOptimizer | None = None
    schedule: Callable[[int, int, int], float] | None = None


def user_parts(own: UserCode | None) -> UserParts:
    """The imported code of `own`. Raises `ChangedFileError` if a file differs from the one that the driver checked."""
    if own is None:
        return UserParts()
    optimizer = schedule = None
    if own.optimizer is not None:
        factory = _imported(own.optimizer)
        made = partial(make_optimizer, factory, own.optimizer.options)
        optimizer = OwnOptimizer(make=made, decays=takes_decay(factory))
    if own.schedule is not None:
        schedule = partial(_share, _imported(own.schedule), own.schedule.use.label)
    return UserParts(
        loss=None if own.loss is None else _loss(own.loss),
        metrics={name_of(one.use): partial(_measured, _imported(one), one.use.label) for one in own.metrics},
        optimizer=optimizer,
        schedule=schedule,
    )


def _imported(part: UserPart) -> Any:
    try:
        return import_code(part.use, sha256=part.sha256).found
    except ImportPathError as error:
        raise RefusedError(f"{part.use.label}: {error}") from error


@contextmanager
def _naming(label: str) -> Iterator[None]:
    """Name the user's code in its errors; memory and device errors pass unchanged."""
    try:
        yield
    except Exception as error:
        if classify(error) != "failed":
            raise
        raise RefusedError(f"{label} failed: {reason_of(error)}") from error


def _loss(part: UserPart) -> TrainingLoss:
    made = _imported(part)(**part.options)
    label, over_windows, elsewhere = part.use.label, bool(getattr(made, "over_windows", True)), {}
    buffers = list(made.buffers()) if isinstance(made, torch.nn.Module) else []

    def on(device: torch.device) -> Any:
        """The loss with its buffers on the device; evaluations call it on the CPU too."""
        if not buffers or buffers[0].device == device:
            return made
        if device not in elsewhere:
            elsewhere[device] = copy.deepcopy(made).to(device)
        return elsewhere[device]

    def total(logits_BC: Tensor, labels_B: Tensor) -> Tensor:
        with _naming(label):
            value = on(logits_BC.device)(logits_BC, labels_B)
        if (problem := value_problem(value, labels_B, over_windows=over_windows)) is not None:
            raise RefusedError(f"{label} {problem}", guard="G11")
        loss: Tensor = value.sum() if over_windows else value * len(labels_B)
        return loss

    return TrainingLoss(kind=label, total=total, over_windows=over_windows, standardised=True)


def _share(function: Any, label: str, step: int, warmup_steps: int, total_steps: int) -> float:
    try:
        with _naming(label):
            found = function(step, warmup_steps, total_steps)
        return share_of(found, step=step)
    except ValueError as error:
        raise RefusedError(f"{label} {error}") from error


def _measured(function: Any, label: str, outputs_NC: Tensor, labels_N: Tensor) -> float | None:
    """None if the function returns None, NaN or an infinity."""
    arrays = [one.numpy() for one in (outputs_NC, labels_N)]
    for one in arrays:
        one.flags.writeable = False  # the stored predictions share these arrays
    with _naming(label):
        found = function(*arrays)
    try:
        value = math.nan if found is None else float(found)
    except (TypeError, ValueError):
        raise RefusedError(
            f"{label} returned {type(found).__name__}, expected a number, or None if the metric is undefined"
        ) from None
    return value if math.isfinite(value) else None


def optimizer_problem(own: UserCode, *, device: torch.device) -> str | None:
    """Why a trial with this optimizer could not resume: a checkpoint contains only tensors and plain values."""
    if own.optimizer is None:
        return None
    factory, layer = _imported(own.optimizer), torch.nn.Linear(4, 4, device=device)
    groups = [{"params": list(layer.parameters()), "weight_decay": 0.0}]
    made, again = (make_optimizer(factory, own.optimizer.options, groups, lr=1e-3, weight_decay=0.0) for _ in range(2))
    for one in layer.parameters():
        one.grad = torch.ones_like(one)
    made.step()
    stream = io.BytesIO()
    try:
        torch.save(made.state_dict(), stream)
        stream.seek(0)
        again.load_state_dict(torch.load(stream, weights_only=True))
    except Exception as error:
        reason = str(error).partition("\n")[0][:200]
        return (
            f"{own.optimizer.use.label} has a state that cannot be stored in a checkpoint ({type(error).__name__}: "
            f"{reason}); its state_dict() must contain only tensors, numbers, strings, lists and dictionaries"
        )
    return None
