"""Training losses under `training: {loss: ...}`. Every loss belongs to a task; none changes `val_loss`.

`val_loss` is the same measure for every trial of a task: cross-entropy in nats, or the squared error of the forecast.
The training loss must not determine how trials are ranked: a focal loss is smaller than a cross-entropy for the same
predictions, without being better.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import attrs
from annotated_types import Ge, Gt, Lt, MinLen
from attrs import frozen

from scalecore.api.metrics import MEASURED, TASK_NAMES
from scalecore.api.options import Imported, option

Weight = Annotated[float, Gt(0)]
Smoothing = Annotated[float, Ge(0), Lt(1)]


@frozen(kw_only=True)
class BinaryCrossEntropy:
    """Binary cross-entropy, the loss of a binary task."""

    kind: Literal["bce"] = option("bce", help="Loss for binary tasks; their default.")
    positive_weight: Weight | Literal["auto"] | None = option(
        None,
        help="Weight of positive windows; `auto` is the ratio of negative to positive windows in the training split.",
    )
    label_smoothing: Smoothing = option(0.0, help="Labels 0 and 1 become s / 2 and 1 - s / 2.")


@frozen(kw_only=True)
class CrossEntropy:
    """Cross-entropy, the loss of a task with several classes."""

    kind: Literal["cross_entropy"] = option("cross_entropy", help="Loss for several classes; their default.")
    class_weights: Annotated[list[Weight], MinLen(2)] | Literal["auto"] | None = option(
        None, help="Weights of the windows of each class; `auto` is windows / (classes * windows of the class)."
    )
    label_smoothing: Smoothing = option(0.0, help="Share of each label that is spread evenly over all classes.")


@frozen(kw_only=True)
class Focal:
    """Focal loss: cross-entropy times (1 - p)^gamma, p being the probability of the true class (Lin et al. 2017)."""

    kind: Literal["focal"] = option("focal", help="Loss for binary tasks or several classes.")
    gamma: Annotated[float, Ge(0)] = option(
        2.0, help="How strongly to down-weight well-classified windows; 0 is cross-entropy."
    )
    positive_weight: Weight | Literal["auto"] | None = option(None, help="As for `bce`; binary tasks only.")
    class_weights: Annotated[list[Weight], MinLen(2)] | Literal["auto"] | None = option(
        None, help="As for `cross_entropy`; several classes only."
    )


@frozen(kw_only=True)
class SoftAuc:
    """Surrogate of the AUC: softplus(negative - positive logit), over all pairs within a micro-batch.

    Pairs do not determine the level of the logits; the cross-entropy does. Both are minimal at the true log odds. The
    loss is not a sum over windows: it ignores pairs of different micro-batches, so its result depends on the
    micro-batch, and a micro-batch of one class has only its cross-entropy.
    """

    kind: Literal["soft_auc"] = option("soft_auc", help="Loss for binary tasks.")
    bce_share: Annotated[float, Ge(0), Lt(1)] = option(
        0.1,
        help="Share of cross-entropy in the loss. With 0, `val_loss` is meaningless and cannot be the objective.",
    )


@frozen(kw_only=True)
class MeanSquared:
    """Squared error: the forecast is a mean."""

    kind: Literal["mse"] = option("mse", help="Loss for forecasts; their default.")


@frozen(kw_only=True)
class MeanAbsolute:
    """Absolute error: the forecast is a median."""

    kind: Literal["mae"] = option("mae", help="Loss for forecasts.")


@frozen(kw_only=True)
class Quantile:
    """Mean pinball loss of several quantiles, one output each; the median is the forecast."""

    kind: Literal["quantile"] = option("quantile", help="Loss for forecasts.")
    quantiles: Annotated[list[Annotated[float, Gt(0), Lt(1)]], MinLen(1)] = option(
        factory=lambda: [0.1, 0.5, 0.9], help="Quantiles in ascending order; they must include 0.5, the forecast."
    )

    def __attrs_post_init__(self) -> None:
        if sorted(set(self.quantiles)) != self.quantiles:
            raise ValueError("quantiles: must be in ascending order without duplicates")
        if 0.5 not in self.quantiles:
            raise ValueError("quantiles: must include 0.5, since val_loss evaluates the median as the forecast")


Loss = BinaryCrossEntropy | CrossEntropy | Focal | SoftAuc | MeanSquared | MeanAbsolute | Quantile

TASKS: Mapping[str, tuple[str, ...]] = {
    "bce": ("binary",),
    "cross_entropy": ("multiclass",),
    "focal": ("binary", "multiclass"),
    "soft_auc": ("binary",),
    "mse": ("forecast",),
    "mae": ("forecast",),
    "quantile": ("forecast",),
}
DEFAULTS: Mapping[str, type] = {"binary": BinaryCrossEntropy, "multiclass": CrossEntropy, "forecast": MeanSquared}


def loss_problem(loss: Loss | Imported | None, *, task: str, classes: int | None = None) -> tuple[str, str] | None:
    """The key of the loss that does not fit the task, and the reason (guard G11); None if there is no problem.

    `classes` is the number of classes, if known. For a loss by import path see `UserCode.loss_problem`.
    """
    if loss is None or isinstance(loss, Imported):
        return None
    if task not in TASKS[loss.kind]:
        own = ", ".join(kind for kind, tasks in TASKS.items() if task in tasks)
        return (
            "kind",
            f"{loss.kind} is not a loss for {TASK_NAMES[task]}, the task of the target; use one of {own} [G11]",
        )
    unused = {"binary": "class_weights", "multiclass": "positive_weight"}.get(task)
    if unused is not None and getattr(loss, unused, None) is not None:
        return unused, f"does not apply to {TASK_NAMES[task]}, the task of the target [G11]"
    weights = getattr(loss, "class_weights", None)
    if isinstance(weights, list) and classes is not None and len(weights) != classes:
        return "class_weights", f"has {len(weights)} weights for {classes} classes [G11]"
    return None


def objective_problem(loss: Loss | Imported | None, *, metric: str) -> str | None:
    """Why `metric` cannot rank trials of this loss, or None."""
    if isinstance(loss, SoftAuc) and loss.bce_share == 0 and metric == "val_loss":
        return (
            "val_loss cannot rank trials of soft_auc without cross-entropy, which leaves the level of the logits "
            "undetermined; set objective.metric to auc with direction maximize, or bce_share above 0"
        )
    return None


def measured_metrics(loss: Loss | Imported | None, *, task: str) -> tuple[str, ...]:
    """The metrics that can rank trials of this task and loss, sorted by name."""
    own = loss is None or attrs.asdict(loss) == attrs.asdict(DEFAULTS[task]())
    more = () if own or isinstance(loss, SoftAuc) else ("val_training_loss",)
    quantile = ("pinball", "coverage") if isinstance(loss, Quantile) else ()
    return tuple(sorted({*MEASURED[task], *more, *quantile}))


def metric_problem(
    loss: Loss | Imported | None, *, metric: str, task: str | None, own: Sequence[str] = ()
) -> str | None:
    """Why no trial of `task` has this metric (guard G23), or None. Without a task: why no task has it.

    `own` are the user's metrics.
    """
    tasks = MEASURED if task is None else (task,)
    known = sorted({*own, *(name for one in tasks for name in measured_metrics(loss, task=one))})
    if metric in known:
        return None
    scope = "any task" if task is None else f"the task {task}"
    return f"{metric!r} is not measured; {scope} measures {', '.join(known)} [G23]"


def outputs_of(loss: Loss | Imported | None, outputs: int) -> int:
    """Size of the model's head: the target's outputs, or one output for each quantile."""
    return len(loss.quantiles) if isinstance(loss, Quantile) else outputs


def settled(loss: Loss | Imported | None, *, task: str, counts: Sequence[int]) -> dict[str, Any]:
    """The loss as trained and recorded: defaults filled in, `auto` as numbers.

    `counts` are the training windows of each class; ignored for a forecast. The `kind` of a loss by import path is the
    path.
    """
    if isinstance(loss, Imported):
        return {"kind": loss.use.label, **loss.options}
    chosen: Any = DEFAULTS[task]() if loss is None else loss
    result = {key: value for key, value in attrs.asdict(chosen).items() if value is not None}
    if result.get("positive_weight") == "auto":
        result["positive_weight"] = counts[0] / counts[1]
    if result.get("class_weights") == "auto":
        result["class_weights"] = [sum(counts) / (len(counts) * count) if count else 0.0 for count in counts]
    return result
