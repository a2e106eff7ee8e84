"""The process of one attempt in torch: a fork of the fork server, or `python -m scalecore_torch.worker`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scalecore.api.worker import AttemptMonitor, run_worker, work
from scalecore_torch.preloading import preload as preload
from scalecore_torch.spec import TorchSpec


def main(path: str, *, parent: int) -> int:
    """Run the attempt in this folder; see `scalecore.execution.worker.work`."""
    return work(path, parent=parent, kind=TorchSpec, train=_train, save=_save)


def _train(spec: TorchSpec, monitor: AttemptMonitor) -> Mapping[str, Any]:
    from scalecore_torch.attempt import run_attempt

    return run_attempt(spec, monitor)


def _save(folder: Path, state: dict[str, Any]) -> None:
    from scalecore_torch.training import checkpoint

    checkpoint.save(folder, state)


def answer() -> None:
    """Predict memory in a fork of a process that called `preload`; reads questions from standard input."""
    from scalecore_torch.memory.tracer import serve

    serve(forked=True)


if __name__ == "__main__":
    run_worker(main)
