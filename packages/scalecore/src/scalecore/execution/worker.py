"""The process of one attempt: a fork of the fork server, or `python -m scalecore.execution.worker FOLDER PARENT`.

Reads `spec.json`, trains, and writes `result.json` last. It writes nowhere but into its folder.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import evolve

from scalecore.api.errors import ChangedFileError, DeviceError, StudyError
from scalecore.api.escaping import message_of
from scalecore.api.files import create_json, is_disk_error, plain, utc_now, write_json
from scalecore.config.kept import checked
from scalecore.execution.attempt_result import AttemptResult
from scalecore.execution.folder import CANNOT_WRITE, DISK_EXIT, TAKEN_EXIT, AttemptFolder
from scalecore.execution.footprint import peak_memory
from scalecore.execution.lifeline import AttemptMonitor, end_with_parent
from scalecore.execution.local.containment import enter_group, prefer_as_victim, release
from scalecore.execution.local.devices import VARIABLE, FoundGpus, find_gpus
from scalecore.execution.process_file import describe_process


def main(path: str, *, parent: int) -> int:
    """Run the attempt of this folder as a child of `parent`; 0 when `result.json` says how it ended.

    1 when its spec cannot be read, for a reason that the log has. `DISK_EXIT` when something of it cannot be written:
    the trial is not to blame, and there is nowhere to say more.
    """
    faulthandler.enable()
    try:
        return _run(AttemptFolder(Path(path)), parent=parent)
    except StudyError as error:
        print(error, file=sys.stderr)
        return 1
    except Exception as error:
        if not is_disk_error(error):
            raise
        with suppress(OSError):  # the log may be on the same disk
            print(f"{CANNOT_WRITE}{message_of(error)}", file=sys.stderr)
        return DISK_EXIT


def _run(folder: AttemptFolder, *, parent: int) -> int:
    if folder.process.exists():
        return _taken(folder)
    given, spec = folder.read_group(), folder.read_spec()
    gpu = given.gpu or spec.gpu
    if gpu is not None:
        os.environ[VARIABLE] = gpu  # read when CUDA starts, which it has not yet
    contained = [*prefer_as_victim(), *enter_group(given.group)]
    try:
        create_json(folder.process, evolve(describe_process(folder.path), contained=contained, visible_gpus=gpu))
    except FileExistsError:
        return _taken(folder)
    monitor = AttemptMonitor(folder)
    monitor.obey_signals()
    end_with_parent(parent, monitor.stop)
    started, started_at = time.monotonic(), utc_now()
    try:
        from scalecore.execution.attempt import run_attempt

        result = run_attempt(spec, monitor)
    except BaseException as error:  # a model that exits or interrupts has failed, and would do it again
        if is_disk_error(error):
            raise
        import traceback

        traceback.print_exc()
        from scalecore.training.micro_batches import StepOutOfMemory

        release()  # telling the end needs some memory too
        result = end_by(error, device=spec.device)
        if isinstance(error, StepOutOfMemory):
            result["memory"] = {"micro_batch": error.batching["micro_batch"]}
            result["batching"] = error.batching
    result |= {
        "attempt": spec.attempt,
        "started": started_at,
        "ended": utc_now(),
        "seconds": time.monotonic() - started,
        "pauses": monitor.pauses,
        "paused_seconds": monitor.paused_seconds,
        "checkpoint_seconds": monitor.checkpoint_seconds,
        "warnings": [*result.get("warnings", []), *monitor.warnings],
        "peak_memory": peak_memory(),
    }
    write_json(folder.result, checked(AttemptResult, plain(result)))
    return 0


def _taken(folder: AttemptFolder) -> int:
    """Say which process has the attempt: it was there before this one."""
    first = folder.read_process()
    who = "another process" if first is None else first.who
    print(f"{folder.path}: this attempt was started already, by {who}; this process ends", file=sys.stderr)
    return TAKEN_EXIT


def end_by(error: BaseException, *, device: str, gpus: Callable[[], FoundGpus] = find_gpus) -> dict[str, Any]:
    """What an exception makes of the attempt: `state`, `reason` and the class of the `error`.

    `device` is that of the spec. That it cannot be had, or that a GPU is gone after an error of CUDA, is no trial's
    fault: the attempt is interrupted, and continues once the device is back (guard G48). Likewise where a file with
    code changed while the study ran (guard G26).
    """
    from scalecore.training.failures import classify, reason

    state: str = classify(error)
    if state == "crashed" and _used_cuda(device):
        found = gpus()
        if not found.names and found.problem:
            error = DeviceError(f"{reason(error)}; the GPU is gone ({found.problem})")
    if isinstance(error, DeviceError | ChangedFileError):
        state = "interrupted"
    return {"state": state, "reason": reason(error), "error": type(error).__name__}


def _used_cuda(device: str) -> bool:
    """Whether an attempt on the `device` of a spec computed with CUDA, which `auto` takes where it is."""
    import torch

    return device == "cuda" or (device == "auto" and bool(torch.cuda.is_initialized()))  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    code = main(sys.argv[1], parent=int(sys.argv[2]))
    # The result is on the disk; a library that hangs while the interpreter is torn down must not hold the study.
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
