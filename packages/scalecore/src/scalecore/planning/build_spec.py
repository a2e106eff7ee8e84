"""Build the spec of an attempt: everything that its process needs, by value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from scalecore.api.readings import Device
from scalecore.api.training import TrainingPlan
from scalecore.execution.attempt_spec import AttemptSpec, ModelSpec

if TYPE_CHECKING:
    from scalecore.planning.plan import Plan


def attempt_spec(
    plan: Plan,
    *,
    mode: Literal["train", "smoke"],
    attempt: str,
    number: int | None,
    architecture: Mapping[str, int],
    num_parameters: int,
    flops: int,
    hyperparameters: Mapping[str, Any],
    seed: int,
    micro_batch: int,
    data: Path,
    threads: int,
    registry: Mapping[str, Any],
    resume_from: Sequence[Path] = (),
    memory_limit: int | None = None,
    checkpointing: bool = False,
    device: Device | None = None,
    gpu: str | None = None,
    gpu_limit: int | None = None,
    gpu_sharers: int = 1,
    compiled: Path | None = None,
    keep_weights: bool | None = None,
) -> AttemptSpec:
    """Return everything that the attempt's process needs, by value.

    `device` is the study's device, if known; `gpu` the GPU for which the attempt was admitted; `gpu_sharers` the number
    of attempts that may share a GPU; `compiled` the folder of compiled blocks that attempts share. `keep_weights`
    defaults to the setting in the file.
    """
    training, objective = plan.resolved.experiment.training, plan.resolved.experiment.objective
    model, of_model = plan.experiment["model"], plan.resolved.model
    # The version of a plugin file is checked too: it is easily edited while a study runs.
    versions = {"versions": {of_model.provider: of_model.version}} if of_model.provider.endswith(".py") else {}
    stopping = training.early_stopping
    effective = plan.step_size.effective_batch if mode == "train" else min(plan.step_size.effective_batch, 8)
    spec = AttemptSpec(
        attempt=attempt,
        number=number,
        mode=mode,
        # Only the model's own plugin: finding and importing the others would take half of the time of a short attempt.
        registry={**plan.resolved.registry(registry), "only": of_model.provider, **versions},
        model=ModelSpec(use=model["use"], options={key: value for key, value in model.items() if key != "use"}),
        architecture=dict(architecture),
        num_parameters=num_parameters,
        hyperparameters=dict(hyperparameters),
        sampled=sorted(plan.resolved.experiment.search.space),
        shape=plan.shape,
        task=plan.data.task,
        loss=plan.loss,
        label_overlap=plan.data.target.overlap,
        data=str(data),
        seed=seed,
        device=device or training.device,
        threads=threads,
        flops=flops,
        memory_limit=memory_limit,
        gpu=gpu,
        gpu_limit=gpu_limit,
        gpu_sharers=gpu_sharers,
        activation_checkpointing=checkpointing,
        keep_weights=training.keep_weights > 0 if keep_weights is None else keep_weights,
        plan=TrainingPlan(
            effective_batch=effective,
            micro_batch=min(micro_batch, effective),
            patience=stopping.patience if stopping else None,
            min_delta=stopping.min_delta if stopping else 0.0,
            metric=objective.metric,
            direction=objective.direction,
            reduction=objective.reduction,
            seed=seed,
            checkpoint_every=training.checkpoint_every,
            checkpoint_epochs=training.checkpoint_epochs,
            min_denominator=plan.min_denominator,
        ),
        resume_from=[str(path) for path in resume_from],
    )
    return plan.resolved.training.spec(spec, conventions=plan.conventions, compiled=compiled)
