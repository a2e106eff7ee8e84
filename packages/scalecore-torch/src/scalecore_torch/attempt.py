"""Runs one attempt: builds model and training from a spec, checks them, and trains."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from attrs import evolve
from torch import nn

from scalecore.api.errors import DeviceError, RefusedError
from scalecore.api.escaping import message_of
from scalecore.api.files import is_disk_error
from scalecore.api.machine import CUDA_VISIBLE_DEVICES
from scalecore.api.training import Diverged
from scalecore.api.worker import AttemptMonitor, Hyperparameters
from scalecore_torch.building import build_trainer
from scalecore_torch.compute_policy import compile_trainer, set_threads, settle
from scalecore_torch.evaluation import evaluate
from scalecore_torch.memory.allocation import measured, return_large_blocks
from scalecore_torch.memory.device_limits import contain
from scalecore_torch.spec import TorchSpec
from scalecore_torch.training import checkpoint
from scalecore_torch.training.best_predictions import write_best
from scalecore_torch.training.counting import count_parameters
from scalecore_torch.training.evaluation_batch import SMOKE_WINDOWS
from scalecore_torch.training.intervals import metric_intervals
from scalecore_torch.training.output_checks import removes_level, returns_probabilities
from scalecore_torch.training.product_library import use_library
from scalecore_torch.training.training_loop import TrainingLoop
from scalecore_torch.training.training_part import measure_training_part
from scalecore_torch.training.user_parts import optimizer_problem
from scalecore_torch.training.weights import KeepBest


def run_attempt(spec: TorchSpec, monitor: AttemptMonitor) -> dict[str, Any]:
    """Train, evaluate or run one smoke step, as the spec requires.

    Returns the content of `result.json` without the fields that the process adds.
    """
    set_threads(spec.threads)
    device = pick_device(spec.device)
    contained = monitor.contained(
        contain(spec.memory_limit, device=device, gpu_limit=spec.gpu_limit, gpu_sharers=spec.gpu_sharers)
    )
    if spec.mode == "evaluate":
        return evaluate(spec, monitor, device=device)
    if spec.activation_checkpointing and device.type == "cpu":
        return_large_blocks()
    trainer, hyperparameters = build_trainer(spec, device=device)
    setup = {
        "device": str(device),
        **({"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}),
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "torch": str(torch.__version__),
        "num_parameters": count_parameters(trainer.module),
        "contained": contained,
    }
    if spec.mode == "smoke":
        trainer.policy = settle(spec, trainer)
        if spec.own is not None and (problem := optimizer_problem(spec.own, device=device)) is not None:
            raise RefusedError(problem)
        return setup | smoke(trainer, hyperparameters, sampled=spec.sampled, outputs=spec.shape.outputs)

    warnings: list[str] = []
    skipped: list[str] = []
    resumed_from = None
    found = checkpoint.load_newest((Path(folder) for folder in spec.resume_from), skipped=skipped)
    warnings += [f"checkpoint skipped: {text}" for text in skipped]
    policy = settle(spec, trainer, earlier=found[0].get("policy") if found else None, warnings=warnings)
    compile_seconds = None
    if policy.compile == "block":
        compile_seconds, problem = compile_trainer(
            trainer,
            policy,
            folder=monitor.folder.compiled,
            asked=spec.compile == "block",
            shared=None if spec.compiled is None else Path(spec.compiled),
        )
        if problem is not None:
            trainer, hyperparameters = build_trainer(spec, device=device)
            use_library(trainer.module, policy.products)
            policy = evolve(policy, compile="off", why={**policy.why, "compile": problem})
    trainer.policy = policy
    if found:
        state, path, _ = found
        trainer.restore(state)
        resumed_from = {"checkpoint": f"{path.parent.name}/{path.name}", "step": trainer.progress.total_steps}

    began_at = trainer.progress.total_steps
    keeper = None
    if spec.keep_weights:
        earlier = [Path(folder) for folder in spec.resume_from]
        keeper = KeepBest(monitor, trainer, folder=monitor.folder.path, earlier=earlier)
    reason, ended = None, "diverged"
    try:
        ended = trainer.run(keeper or monitor)
    except Diverged as diverged:
        # A state with a reason: earlier epochs remain in its learning curve, but are no result (guard G36).
        reason = str(diverged)
    if trainer.graph is not None and trainer.graph.problem is not None:
        warnings.append(f"training.launches: graph: steps are not captured: {trainer.graph.problem}")
    if ended == "completed" and trainer.value() is None:
        where = "any epoch" if spec.plan.reduction == "best" else "the last epoch"
        reason, ended = f"{spec.plan.metric} has no value in {where}", "diverged"
    weights = trainer.final_weights or fingerprint(trainer.module)
    train = None
    if ended == "completed" and keeper is not None and (best_weights := keeper.path()) is not None:
        try:
            train = measure_training_part(trainer, keeper, best_weights=best_weights, fingerprint=weights)
            ended = "completed" if train is not None else "stopped"
        except Exception as error:
            if is_disk_error(error):
                raise
            # The result of the trial is worth more than this measurement.
            warnings.append(f"training part not measured: {type(error).__name__}: {message_of(error)}")
    progress, judged = trainer.progress, ended in ("completed", "pruned")
    if judged and progress.best is not None and trainer.best_logits_NC is not None:
        intervals, reasons = metric_intervals(
            trainer.task, trainer.best_logits_NC, trainer.validation.labels, overlap=spec.label_overlap
        )
        progress.best |= {"intervals": intervals} | ({"without_interval": reasons} if reasons else {})
    return setup | {
        "state": ended,
        "reason": reason,
        "value": trainer.value() if judged else None,
        "best": progress.best if judged else None,
        "last": trainer.last if judged else None,
        "train": train,
        "learning_curve": progress.curve,
        "policy": {**policy.plain(), "compile_seconds": compile_seconds},
        "predictions": write_best(trainer, Path(spec.data), monitor.folder.predictions) if judged else None,
        "steps": progress.total_steps,
        "steps_here": progress.total_steps - began_at,
        "epochs_ended": progress.epoch - 1,
        "windows": len(trainer.train),
        "train_seconds": progress.train_seconds,
        "resumed_from": resumed_from,
        "weights": weights,
        "best_weights": _relative(keeper.path(), monitor) if keeper is not None else None,
        "warnings": warnings,
        "unread": hyperparameters.unread(spec.sampled),
        "memory": measured(device, micro_batch=trainer.micro_batch),
        "batching": trainer.batching(),
    }


def _relative(path: Path | None, monitor: AttemptMonitor) -> str | None:
    """The path relative to the trial's folder: the file may be an earlier attempt's, and a study may be moved."""
    return None if path is None else str(path.relative_to(monitor.folder.path.parent))


def smoke(
    trainer: TrainingLoop, hyperparameters: Hyperparameters, *, sampled: Sequence[str], outputs: int
) -> dict[str, Any]:
    """Run one optimizer step and one evaluation, and check both. Raises `RefusedError` if a check fails."""
    trainer.optimizer_step()
    loss, metrics, logits_NC = trainer.evaluate(trainer.validation, limit=SMOKE_WINDOWS)
    count = min(SMOKE_WINDOWS, len(trainer.validation))
    if tuple(logits_NC.shape) != (count, outputs):
        raise RefusedError(
            f"the model returns {tuple(logits_NC.shape)} for {count} windows, expected logits of shape "
            f"{(count, outputs)}",
            guard="G11",
        )
    if unread := hyperparameters.unread(sampled):
        raise RefusedError(
            f"search.space varies {', '.join(unread)}, which neither the training core nor the model reads: "
            "every value would train the same model; remove it from search.space",
            guard="G03",
        )
    missing = [name for name in trainer.task.required_metrics if name not in metrics]
    if missing:
        raise RefusedError(f"the task {trainer.task.name} does not measure {', '.join(missing)}", guard="G23")
    line = {"val_loss": loss, "train_loss": loss, **metrics}
    known = sorted(name for name, value in line.items() if not isinstance(value, dict | list))
    if trainer.plan.metric not in known:
        raise RefusedError(
            f"objective.metric: {trainer.plan.metric!r} is not measured; the task {trainer.task.name} measures "
            f"{', '.join(known)}",
            guard="G23",
        )
    memory = measured(trainer.device, micro_batch=trainer.micro_batch)
    x_BTF, _ = trainer.validation.batch(torch.arange(count, device=trainer.device))
    if trainer.validation.scale is not None and removes_level(trainer.module, x_BTF):
        raise RefusedError(
            "the model removes the level of each window and does not restore it: its outputs do not change when all "
            "values of a feature increase by the same amount, so it cannot forecast a level; add the removed level "
            "to the outputs",
            guard="G57",
        )
    if trainer.task.name != "forecast" and returns_probabilities(trainer.module, x_BTF):
        raise RefusedError(
            "the model returns probabilities: its outputs stay between 0 and 1 whatever its weights are; return "
            "logits, which the loss converts to probabilities",
            guard="G10",
        )
    return {"state": "completed", "reason": None, "val_loss": loss, "memory": memory}


def pick_device(wanted: str) -> torch.device:
    """The requested device; `auto` selects CUDA, then MPS, then the CPU. Raises `DeviceError` if it is unavailable."""
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if wanted == "cuda":
        if not torch.cuda.is_available():
            seen = os.environ.get(CUDA_VISIBLE_DEVICES)
            where = "here" if seen is None else f"with {CUDA_VISIBLE_DEVICES}={seen}"
            raise DeviceError(f"torch {torch.__version__} finds no CUDA device {where}")
        try:
            torch.cuda.current_device()  # starts CUDA
        except RuntimeError as error:
            raise DeviceError(f"CUDA does not start: {' '.join(str(error).split())[:300]}") from error
    elif wanted == "mps" and not torch.backends.mps.is_available():
        raise DeviceError(f"torch {torch.__version__} finds no MPS device here")
    return torch.device(wanted)


def fingerprint(module: nn.Module) -> str:
    """SHA-256 of all weights: runs with equal results have equal fingerprints."""
    import hashlib

    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
