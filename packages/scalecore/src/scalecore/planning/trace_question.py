"""What the tracer is asked about a shape: the spec of an attempt, or of two shallow ones from which it extrapolates."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve

from scalecore.api.space import Architecture, middle
from scalecore.config.instantiate import of_plugin
from scalecore.planning.build_spec import attempt_spec
from scalecore.store.identity import content_hash
from scalecore.training.memory import Device
from scalecore.training.policies import Precision

if TYPE_CHECKING:
    from scalecore.planning.plan import Plan

SHALLOW = (2, 4)
"""Depths that are traced for any deeper model; see `scalecore.training.memory_trace`."""


def precision_of(plan: Plan, device: Device) -> Precision:
    """The precision that `auto` will come to: bfloat16 on a GPU alone (see `scalecore.training.policies`)."""
    setting = plan.resolved.experiment.training.precision
    return setting if setting != "auto" else "bf16" if device == "cuda" else "fp32"


def trace_question(
    plan: Plan,
    architecture: Architecture,
    micro_batch: int,
    *,
    device: Device,
    checkpointing: bool,
    evaluated: int,
    registry: Mapping[str, Any],
) -> dict[str, Any]:
    """What the tracer is asked: the spec of an attempt at two small depths, or of the shape itself.

    Hyper-parameters are the middle ones of the study: whether there is dropout counts, and not how much.
    """
    shapes = [dict(architecture.values)]
    depth = plan.grid.depth
    extrapolates = depth is not None and architecture.values[depth] > SHALLOW[-1]
    if depth is not None and extrapolates:
        shapes = [{**architecture.values, depth: small} for small in SHALLOW]
    accumulates = micro_batch < plan.resolved.experiment.training.effective_batch
    space = plan.resolved.experiment.search.space
    specs = []
    for values in shapes:
        with of_plugin("model", plan.resolved.model, "cannot tell its size"):
            count = plan.family.num_parameters(values, plan.shape)
        spec = attempt_spec(
            plan,
            mode="train",
            attempt="",
            number=None,
            architecture=values,
            num_parameters=count,
            hyperparameters={**plan.fixed, **{name: middle(one) for name, one in space.items()}},
            seed=0,
            micro_batch=micro_batch,
            data=Path(),
            threads=1,
            registry=registry,
            checkpointing=checkpointing,
        )
        # Two micro-batches stand for any number: from the second on, gradients are there while the next ones come.
        effective = micro_batch * (2 if accumulates else 1)
        windows = plan.data.parts["val"].windows
        evaluate = min(windows, max(evaluated, micro_batch))
        same_kernels = device != "cuda" or spec.launches == "graph"
        computed = evolve(
            spec,
            plan=evolve(spec.plan, micro_batch=micro_batch, effective_batch=effective),
            precision=precision_of(plan, device),
            launches="plain" if same_kernels else spec.launches,
        )
        specs.append({**computed.plain(), "evaluate": evaluate})
    content = {
        "specs": specs,
        "depths": list(SHALLOW) if extrapolates else [],
        "depth": architecture.values[depth] if depth is not None else None,
        "device": device,
    }
    return {**content, "key": content_hash([content, dict(plan.versions)])}
