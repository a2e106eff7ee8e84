"""Creates attempts as the driver does, on a random walk, for the contracts of executors and trainers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from attrs import evolve

from scalecore.execution.folder import AttemptFolder
from scalecore.testing.fakes import EXPERIMENT, write_walk

if TYPE_CHECKING:
    from scalecore.planning.plan import Plan
    from scalecore.planning.runtime import Runtime

WAIT = 60.0


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Poll until the condition is true; fail after a minute."""
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline, f"timed out after {WAIT:.0f} s waiting for {what}"
        time.sleep(0.01)


def plan_in(folder: Path, sections: Mapping[str, Any], *, registry: Mapping[str, Any]) -> tuple[Plan, Runtime]:
    """Write `EXPERIMENT` with these `sections`, without early stopping, to `folder`, and return its plan."""
    from scalecore.config.resolve import load_resolved
    from scalecore.planning.build_plan import build_plan
    from scalecore.plugins.registry import load_registry

    folder.mkdir(exist_ok=True)
    write_walk(folder)
    content = {**EXPERIMENT, **sections}
    content["training"] = {**content["training"], "early_stopping": None}
    file = folder / "experiment.yaml"
    file.write_text(yaml.safe_dump(content))
    loaded, resolved = load_resolved(file, registry=load_registry(**registry))
    plan, runtime = build_plan(loaded, resolved, folder=folder)
    plan.write_data(folder / "data")
    return plan, runtime


def attempt_in(
    folder: Path,
    plan: Plan,
    *,
    data: Path,
    registry: Mapping[str, Any],
    hyperparameters: Mapping[str, Any],
    mode: Literal["train", "smoke"] = "train",
    **changes: Any,
) -> AttemptFolder:
    """Create the folder and the spec of an attempt of the smallest shape; `changes` replace fields of the spec."""
    from scalecore.planning.build_spec import attempt_spec

    architecture = plan.grid.architectures[0]
    spec = attempt_spec(
        plan,
        mode=mode,
        attempt="0-0",
        number=0,
        architecture=architecture.values,
        num_parameters=architecture.num_parameters,
        flops=architecture.flops,
        hyperparameters={**plan.fixed, **hyperparameters},
        seed=5,
        micro_batch=plan.step_size.micro_batch,
        data=data,
        threads=1,
        registry=registry,
    )
    made = AttemptFolder(folder)
    made.create(evolve(spec, **changes))
    return made
