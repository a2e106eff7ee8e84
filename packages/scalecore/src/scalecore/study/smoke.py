"""The smoke step: one step on the smallest and one on the largest shape before the study costs anything.

It finds what would make every trial worthless: a sampled hyper-parameter that nobody reads (G03), a model whose size is
not its formula's (G04), outputs of the wrong shape (G11), an objective that is not measured (G23).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from typing import Any

from scalecore.errors import RefusedError, StudyError
from scalecore.execution.folder import AttemptFolder
from scalecore.protocols import Executor
from scalecore.space import Architecture, middle
from scalecore.study.attempts import attempt_spec
from scalecore.study.control import StopRequests
from scalecore.study.layout import StudyFolder
from scalecore.study.plan import Plan

__all__ = ["smoke_steps"]


def smoke_steps(
    plan: Plan,
    *,
    folder: StudyFolder,
    executor: Executor,
    threads: int,
    registry: Mapping[str, Any],
    requests: StopRequests,
) -> dict[str, Any] | None:
    """Run both steps; what they measured, or None when a stop was asked for meanwhile.

    Raises `RefusedError` with the first thing that does not hold. A largest shape that the monitors refuse is left out,
    and said.
    """
    shapes = {"smallest": plan.grid.architectures[0], "largest": plan.grid.architectures[-1]}
    results: dict[str, Any] = {}
    for label, architecture in shapes.items():
        if label == "largest" and architecture == shapes["smallest"]:
            continue
        admission = plan.monitors.admit(plan.demand(architecture, 1))
        if admission.action == "refuse":
            results[label] = {"architecture": architecture.id, "left_out": admission.reason}
            continue
        result = _one_step(plan, architecture, label, folder, executor, threads, registry, requests)
        if result is None:
            return None
        results[label] = {"architecture": architecture.id, **result}
    return results


def _one_step(
    plan: Plan,
    architecture: Architecture,
    label: str,
    folder: StudyFolder,
    executor: Executor,
    threads: int,
    registry: Mapping[str, Any],
    requests: StopRequests,
) -> dict[str, Any] | None:
    attempt = AttemptFolder(folder.smoke(label))
    if attempt.path.exists():
        shutil.rmtree(attempt.path)
    sampled = {name: middle(distribution) for name, distribution in plan.resolved.experiment.search.space.items()}
    attempt.create(
        attempt_spec(
            plan,
            mode="smoke",
            attempt=label,
            number=None,
            architecture=architecture.values,
            num_parameters=architecture.num_parameters,
            hyperparameters={**plan.fixed, **sampled},
            seed=plan.resolved.experiment.seed,
            micro_batch=plan.first_micro_batch(),
            data=folder.data,
            threads=threads,
            registry=registry,
        )
    )
    started = time.monotonic()
    handle = executor.submit(attempt.path)
    limit = plan.resolved.experiment.execution.hang_after
    while (status := executor.poll([handle])[0]).state == "running":
        requests.look()
        late = time.monotonic() - started > limit
        if requests.asked or late:
            executor.stop(handle, kill=True)
            if late:
                raise StudyError(
                    f"the smoke step of {architecture.id} took longer than {limit:.0f} s (execution.hang_after)"
                )
            return None
        time.sleep(0.02)
    result = attempt.read_result(label)
    if result is None:
        raise StudyError(
            f"the smoke step of {architecture.id} ended with exit code {status.exit_code} and no "
            f"result:\n{attempt.log_tail()}"
        )
    if result["state"] != "completed":
        model = plan.resolved.model
        where = f"smoke step of model {model.record.name!r} ({model.provider} {model.version}) with {architecture.id}"
        if result.get("error") == "RefusedError":
            raise RefusedError(f"{where}: {result['reason']}")
        raise StudyError(f"{where}: {result['reason']}\n{attempt.log_tail()}")
    return {
        "seconds": result["seconds"],
        "num_parameters": result["num_parameters"],
        "peak_memory": result["peak_memory"],
        "predicted_memory": plan.demand(architecture, 8).memory,
        "device": result["device"],
        "torch": result["torch"],
    }
