"""`training: {loss: ...}`: what each trial minimises. Every loss belongs to a task; none of them changes `val_loss`.

`val_loss` is one number per task, the same for every trial: cross-entropy in nats, or the squared error of the
forecast. What a model was trained with must not decide the yardstick by which it is ranked: a focal loss is smaller
than a cross-entropy for the same predictions, and that is no merit.
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

    kind: Literal["bce"] = option("bce", help="Of a binary task; its default.")
    positive_weight: Weight | Literal["auto"] | None = option(
        None, help="How much a positive window counts; `auto` is negative by positive windows of the training split."
    )
    label_smoothing: Smoothing = option(0.0, help="Labels 0 and 1 become s / 2 and 1 - s / 2.")


@frozen(kw_only=True)
class CrossEntropy:
    """Cross-entropy, the loss of a task of several classes."""

    kind: Literal["cross_entropy"] = option("cross_entropy", help="Of several classes; its default.")
    class_weights: Annotated[list[Weight], MinLen(2)] | Literal["auto"] | None = option(
        None, help="How much a window of each class counts; `auto` is windows / (classes * windows of the class)."
    )
    label_smoothing: Smoothing = option(0.0, help="Share of each label that is spread evenly over all classes.")


@frozen(kw_only=True)
class Focal:
    """Focal loss: cross-entropy times (1 - p)^gamma, p being the probability of the true class (Lin et al. 2017)."""

    kind: Literal["focal"] = option("focal", help="Of a binary task or several classes.")
    gamma: Annotated[float, Ge(0)] = option(2.0, help="How little well-classified windows count; 0 is cross-entropy.")
    positive_weight: Weight | Literal["auto"] | None = option(None, help="As for `bce`; only of a binary task.")
    class_weights: Annotated[list[Weight], MinLen(2)] | Literal["auto"] | None = option(
        None, help="As for `cross_entropy`; only of several classes."
    )


@frozen(kw_only=True)
class SoftAuc:
    """Surrogate of the AUC: softplus(negative - positive logit), over all pairs within a micro-batch.

    Cross-entropy holds the level of the logits, which pairs leave open; both are least at the true log odds. It is no
    sum over windows: pairs of different micro-batches are not seen, so its result depends on the micro-batch, and a
    micro-batch of one class has the cross-entropy alone.
    """

    kind: Literal["soft_auc"] = option("soft_auc", help="Of a binary task.")
    bce_share: Annotated[float, Ge(0), Lt(1)] = option(
        0.1,
        help="Share of cross-entropy in the loss; with 0 `val_loss` says nothing, and cannot be the objective.",
    )


@frozen(kw_only=True)
class MeanSquared:
    """Squared error: the forecast is a mean."""

    kind: Literal["mse"] = option("mse", help="Of a forecast; its default.")


@frozen(kw_only=True)
class MeanAbsolute:
    """Absolute error: the forecast is a median."""

    kind: Literal["mae"] = option("mae", help="Of a forecast.")


@frozen(kw_only=True)
class Quantile:
    """Mean pinball loss of several quantiles, one output each; the median is the forecast."""

    kind: Literal["quantile"] = option("quantile", help="Of a forecast.")
    quantiles: Annotated[list[Annotated[float, Gt(0), Lt(1)]], MinLen(1)] = option(
        factory=lambda: [0.1, 0.5, 0.9], help="The quantiles, ascending, 0.5 among them: it is the forecast."
    )

    def __attrs_post_init__(self) -> None:
        if sorted(set(self.quantiles)) != self.quantiles:
            raise ValueError("quantiles: must ascend, each once")
        if 0.5 not in self.quantiles:
            raise ValueError("quantiles: 0.5 must be among them, since the median is the forecast that val_loss judges")


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
    """The key of the loss that does not belong to the task, and why (guard G11); None where all is well.

    `classes` is the number of classes where it is known. For a loss by import path see `UserCode.loss_problem`.
    """
    if loss is None or isinstance(loss, Imported):
        return None
    if task not in TASKS[loss.kind]:
        own = ", ".join(kind for kind, tasks in TASKS.items() if task in tasks)
        return (
            "kind",
            f"{loss.kind} does not belong to {TASK_NAMES[task]}, which the target is; its losses are {own} [G11]",
        )
    unused = {"binary": "class_weights", "multiclass": "positive_weight"}.get(task)
    if unused is not None and getattr(loss, unused, None) is not None:
        return unused, f"has no meaning for {TASK_NAMES[task]}, which the target is [G11]"
    weights = getattr(loss, "class_weights", None)
    if isinstance(weights, list) and classes is not None and len(weights) != classes:
        return "class_weights", f"has {len(weights)} weights for {classes} classes [G11]"
    return None


def objective_problem(loss: Loss | Imported | None, *, metric: str) -> str | None:
    """Why trials of this loss cannot be ranked by `metric`, or None."""
    if isinstance(loss, SoftAuc) and loss.bce_share == 0 and metric == "val_loss":
        return (
            "val_loss says nothing of a soft_auc without cross-entropy, which leaves the level of the logits open; set "
            "objective.metric to auc with direction maximize, or a bce_share above 0"
        )
    return None


def measured_metrics(loss: Loss | Imported | None, *, task: str) -> tuple[str, ...]:
    """The metrics by which trials of this task and loss can be ranked, in the order of their names."""
    own = loss is None or attrs.asdict(loss) == attrs.asdict(DEFAULTS[task]())
    more = () if own or isinstance(loss, SoftAuc) else ("val_training_loss",)
    quantile = ("pinball", "coverage") if isinstance(loss, Quantile) else ()
    return tuple(sorted({*MEASURED[task], *more, *quantile}))


def metric_problem(
    loss: Loss | Imported | None, *, metric: str, task: str | None, own: Sequence[str] = ()
) -> str | None:
    """Why no trial has this metric (guard G23), or None; without a task where no task has it.

    `own` are the metrics of the user's.
    """
    tasks = MEASURED if task is None else (task,)
    known = sorted({*own, *(name for one in tasks for name in measured_metrics(loss, task=one))})
    if metric in known:
        return None
    whose = "any task" if task is None else f"the task {task}"
    return f"{metric!r} is not measured; {whose} gives {', '.join(known)} [G23]"


def outputs_of(loss: Loss | Imported | None, outputs: int) -> int:
    """Size of the model's head: that of the target, or one output for each quantile."""
    return len(loss.quantiles) if isinstance(loss, Quantile) else outputs


def settled(loss: Loss | Imported | None, *, task: str, counts: Sequence[int]) -> dict[str, Any]:
    """The loss as a trial is trained with it and its record tells it: defaults filled in, `auto` as numbers.

    `counts` are the training windows of each class; not looked at for a forecast. Of a loss by import path the `kind`
    is the path.
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
