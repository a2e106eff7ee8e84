"""The tracer's request for a shape: the spec of an attempt, or of two shallow ones from which it extrapolates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve

from scalecore.api.files import content_hash
from scalecore.api.memory_forecast import TrainingSetup
from scalecore.api.readings import Device
from scalecore.api.space import Architecture, middle
from scalecore_torch.options import TorchOptions
from scalecore_torch.spec import TorchSpec
from scalecore_torch.training.policies import Precision

SHALLOW = (2, 4)
"""Depths that are traced for deeper models; see `scalecore_torch.memory.step_trace`."""


def precision_of(options: TorchOptions, device: Device) -> Precision:
    """The precision that `auto` will select: bfloat16 only on a GPU (see `scalecore_torch.training.policies`)."""
    setting = options.precision
    return setting if setting != "auto" else "bf16" if device == "cuda" else "fp32"


def trace_question(
    setup: TrainingSetup,
    architecture: Architecture,
    micro_batch: int,
    *,
    device: Device,
    checkpointing: bool,
    evaluated: int,
    registry: Mapping[str, Any],
    options: TorchOptions,
) -> dict[str, Any]:
    """The request: specs of attempts at two small depths, or of the shape itself.

    Hyper-parameters have the study's middle values: memory depends on whether there is dropout, not on its rate.
    """
    shapes = [dict(architecture.values)]
    depth = setup.depth
    extrapolates = depth is not None and architecture.values[depth] > SHALLOW[-1]
    if depth is not None and extrapolates:
        shapes = [{**architecture.values, depth: small} for small in SHALLOW]
    accumulates = micro_batch < options.effective_batch
    specs = []
    for values in shapes:
        spec = setup.spec(
            architecture=values,
            num_parameters=setup.family.num_parameters(values, setup.shape),
            flops=setup.family.flops(values, setup.shape),
            hyperparameters={**setup.fixed, **{name: middle(one) for name, one in setup.space.items()}},
            micro_batch=micro_batch,
            registry=registry,
            checkpointing=checkpointing,
        )
        assert isinstance(spec, TorchSpec)
        # Two micro-batches represent any number: from the second on, gradients exist while new ones are computed.
        effective = micro_batch * (2 if accumulates else 1)
        evaluate = min(setup.windows["val"], max(evaluated, micro_batch))
        same_kernels = device != "cuda" or spec.launches == "graph"
        computed = evolve(
            spec,
            plan=evolve(spec.plan, micro_batch=micro_batch, effective_batch=effective),
            precision=precision_of(options, device),
            launches="plain" if same_kernels else spec.launches,
        )
        specs.append({**computed.plain(), "evaluate": evaluate})
    content = {
        "specs": specs,
        "depths": list(SHALLOW) if extrapolates else [],
        "depth": architecture.values[depth] if depth is not None else None,
        "device": device,
    }
    return {**content, "key": content_hash([content, dict(setup.versions)])}
