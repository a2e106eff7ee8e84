"""Check that the training can call the user's code: signatures first, then a small trial call.

torch is imported only to check a loss or an optimizer.
"""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

from scalecore.api.plugins import reason_of

STEPS = (100, 1000)
"""Warm-up and total steps of the schedule's trial calls."""
WINDOWS = 4
"""Windows in the trial call of a loss."""
SIDE = 64
"""Rows and columns of the matrix that measures the state of an optimizer."""
TOLERANCE = 1e-6


@frozen(kw_only=True)
class MadeLoss:
    """A loss with its options."""

    call: Callable[..., Any]
    tasks: tuple[str, ...]
    over_windows: bool


def takes(
    function: Any, options: Mapping[str, object], *, label: str, groups: Sequence[str] = (), given: Sequence[str] = ()
) -> Iterator[tuple[str, str]]:
    """The problems of these options for the function: the option, or "", and the text.

    The function also receives `groups` as positional and `given` as keyword arguments.
    """
    signature = signature_of(function)
    if signature is None:
        return
    names = [
        name for name, one in signature.parameters.items() if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
    ]
    names = [name for name in names[len(groups) :] if name not in given]
    if not any(one.kind is one.VAR_KEYWORD for one in signature.parameters.values()):
        unknown = [name for name in options if name not in names]
        for name in unknown:
            near = difflib.get_close_matches(name, names, n=1)
            known = (
                f"did you mean {near[0]}?" if near else f"it has {', '.join(names)}" if names else "it has no options"
            )
            yield name, f"unknown option of {label}; {known}"
        if unknown:
            return
    try:
        signature.bind(*groups, **dict.fromkeys(given), **options)
    except TypeError as error:
        called = ", ".join([*groups, *(f"{name}=..." for name in (*given, *options))])
        yield "", f"{label} cannot be called as {function.__name__}({called}): {error}"


def signature_of(function: Any) -> inspect.Signature | None:
    """The signature; None if it cannot be determined."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None  # written in C


def takes_decay(factory: Any) -> bool:
    """Whether an optimizer accepts `weight_decay`."""
    signature = signature_of(factory)
    if signature is None:
        return True
    kinds = {one.kind for one in signature.parameters.values()}
    return "weight_decay" in signature.parameters or inspect.Parameter.VAR_KEYWORD in kinds


def _positional_problem(function: Any, *names: str) -> str | None:
    signature = signature_of(function)
    try:
        if signature is not None:
            signature.bind(*names)
    except TypeError as error:
        return f"({', '.join(names)}): {error}"
    return None


# --- losses ---------------------------------------------------------------------------------------------------------


def loss_made(
    factory: Any, options: Mapping[str, object], *, label: str, tasks: Sequence[str], task: str | None
) -> MadeLoss | str:
    """The loss, or its problem; `tasks` are all tasks, `task` is the target's task if known."""
    try:
        made = factory(**options)
    except (Exception, SystemExit) as error:
        return f"{label} cannot be created with these options: {reason_of(error)}"
    if not callable(made):
        return (
            f"{label} creates an object of type {type(made).__name__}, which cannot be called as loss(logits, labels)"
        )
    if (problem := _positional_problem(getattr(made, "forward", made), "logits", "labels")) is not None:
        return f"{label} creates a loss that cannot be called as loss{problem}"
    own = getattr(made, "tasks", None)
    own = (own,) if isinstance(own, str) else own
    if not isinstance(own, tuple | list) or not own or any(one not in tasks for one in own):
        problem_of_tasks = "it has no `tasks`" if own is None else f"its `tasks` are {own!r}"
        return (
            f'{label} must declare its tasks, as in `tasks = ("binary",)`, from {", ".join(tasks)}; {problem_of_tasks}'
        )
    parameters = getattr(made, "parameters", None)
    if callable(parameters) and any(one.requires_grad for one in parameters()):
        return f"{label} has parameters, which no optimizer would train; use buffers or numbers"
    found = MadeLoss(call=made, tasks=tuple(own), over_windows=bool(getattr(made, "over_windows", True)))
    if task in own or (task is None and len(own) == 1):
        tried = task or own[0]
        if tried != "multiclass" and (problem := _tried(found, label=label, forecast=tried == "forecast")) is not None:
            return problem
    return found


def _tried(loss: MadeLoss, *, label: str, forecast: bool) -> str | None:
    """Why the loss fails on a few artificial windows. The caller skips losses for several classes: their number is
    unknown."""
    import torch

    logits_BC = torch.linspace(-1, 1, WINDOWS)[:, None].requires_grad_()
    labels_B = torch.linspace(-1, 1, WINDOWS) if forecast else torch.arange(WINDOWS) % 2.0
    try:
        found = loss.call(logits_BC, labels_B)
    except (Exception, SystemExit) as error:
        return f"{label} failed on logits [{WINDOWS}, 1] and labels [{WINDOWS}]: {reason_of(error)}"
    problem = value_problem(found, labels_B, over_windows=loss.over_windows)
    if problem is None and not found.requires_grad:
        problem = "returned a tensor without a gradient: compute it from the logits with torch operations"
    return None if problem is None else f"{label} {problem}"


def value_problem(value: Any, labels_B: Any, *, over_windows: bool) -> str | None:
    """The problem of the value that a loss returned for these labels, as a phrase that follows its name."""
    wanted = tuple(labels_B.shape) if over_windows else ()
    shape = getattr(value, "shape", None)
    if shape is not None and tuple(shape) == wanted and hasattr(value, "requires_grad"):
        return None
    got = f"an object of type {type(value).__name__}" if shape is None else f"a tensor of shape {list(shape)}"
    what = f"one loss for each of {wanted[0]} windows" if over_windows else "one number for all windows"
    hint = (
        "; a loss that is not a sum over windows must set `over_windows = False`"
        if over_windows and shape == ()
        else ""
    )
    return f"returned {got}, expected a tensor of shape {list(wanted)}: {what}{hint}"


# --- metrics and schedules ------------------------------------------------------------------------------------------


def metric_problem(function: Any, *, label: str) -> str | None:
    """Why a metric cannot be called; the smoke step checks its value on real windows."""
    if isinstance(function, type):
        return f"{label} is a class; a metric must be a function(outputs, labels)"
    problem = _positional_problem(function, "outputs", "labels")
    return None if problem is None else f"{label} cannot be called as {function.__name__}{problem}"


def schedule_problem(function: Any, *, label: str) -> str | None:
    """Why a schedule fails for a training of 1,000 steps, 100 of them warm-up."""
    problem = _positional_problem(function, "step", "warmup_steps", "total_steps")
    if problem is not None:
        return f"{label} cannot be called as {function.__name__}{problem}"
    warmup, total = STEPS
    for step in range(total):
        try:
            share_of(function(step, warmup, total), step=step)
        except ValueError as error:
            return f"{label} {error}"
        except (Exception, SystemExit) as error:
            return f"{label} failed at step {step} of {total}: {reason_of(error)}"
    return None


def uses_warmup(schedule: Callable[[int, int, int], Any]) -> bool:
    """Whether a valid schedule depends on the warm-up."""
    warmup, total = STEPS
    return any(
        float(schedule(step, warmup, total)) != float(schedule(step, 2 * warmup, total)) for step in range(total)
    )


def share_of(value: Any, *, step: int) -> float:
    """The returned value as a share of the peak; raises `ValueError` for anything else."""
    try:
        share = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"returned {value!r} at step {step}, expected a share of the peak between 0 and 1") from None
    if math.isnan(share) or not -TOLERANCE <= share <= 1 + TOLERANCE:
        raise ValueError(f"returned {share:g} at step {step}, expected a share of the peak between 0 and 1")
    return min(max(share, 0.0), 1.0)


# --- optimizers -----------------------------------------------------------------------------------------------------


def optimizer_problem(factory: Any, options: Mapping[str, object], *, label: str) -> str | None:
    """Why the optimizer cannot be created for matrices and vectors, or requires more than gradients for a step."""
    import torch

    try:
        made, _ = _made(factory, options)
    except (Exception, SystemExit) as error:
        return f"{label} cannot be created with these options: {reason_of(error)}"
    if not isinstance(made, torch.optim.Optimizer):
        return f"{label} creates an object of type {type(made).__name__}, which is not a torch.optim.Optimizer"
    problem = _positional_problem(made.step)
    return None if problem is None else f"{label} cannot be used: its step requires more than gradients, step{problem}"


def make_optimizer(factory: Any, options: Mapping[str, object], groups: Any, *, lr: float, weight_decay: float) -> Any:
    """The optimizer of these parameter groups, each with its own `weight_decay`."""
    decay = {"weight_decay": weight_decay} if takes_decay(factory) else {}
    return factory(groups, lr=lr, **decay, **options)


def state_bytes(factory: Any, options: Mapping[str, object]) -> float | None:
    """Bytes per parameter of the optimizer's state after a step on the CPU; None if the step fails there."""
    import torch

    try:
        made, parameters = _made(factory, options)
        for one in parameters:
            one.grad = torch.ones_like(one)
        made.step()
    except (Exception, SystemExit):
        return None  # such as an optimizer only for GPUs; the smoke step tries it there
    kept = [one for state in made.state.values() for one in state.values() if isinstance(one, torch.Tensor)]
    kept_bytes: int = sum(one.nbytes for one in kept if one.ndim)
    return kept_bytes / int(sum(one.numel() for one in parameters))


def _made(factory: Any, options: Mapping[str, object]) -> tuple[Any, list[Any]]:
    import torch

    layer = torch.nn.Linear(SIDE, SIDE)
    groups = [
        {"params": [layer.weight], "weight_decay": 1e-3},
        {"params": [layer.bias], "weight_decay": 0.0},
    ]
    return make_optimizer(factory, options, groups, lr=1e-3, weight_decay=1e-3), list(layer.parameters())
