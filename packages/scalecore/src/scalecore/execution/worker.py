"""The frame of an attempt's process, which a trainer's worker module fills with the training.

Reads `spec.json`, trains, and writes `result.json` last. It writes nowhere but into its folder. A worker module:

    def main(path, *, parent):
        return work(path, parent=parent, kind=MySpec, train=train, save=save)  # train(spec, monitor) returns the result

    if __name__ == "__main__":
        run_worker(main)
"""

from __future__ import annotations

import faulthandler
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from attrs import evolve

from scalecore.api.errors import ChangedFileError, DeviceError, StudyError
from scalecore.api.escaping import message_of
from scalecore.api.files import create_json, is_disk_error, plain, utc_now, write_json
from scalecore.config.kept import checked
from scalecore.execution.attempt_control import AttemptMonitor, Save, end_with_parent
from scalecore.execution.attempt_result import AttemptResult
from scalecore.execution.attempt_spec import AttemptSpec
from scalecore.execution.failures import classify, reason
from scalecore.execution.folder import CANNOT_WRITE, DISK_EXIT, TAKEN_EXIT, AttemptFolder
from scalecore.execution.local.containment import enter_group, prefer_as_victim, release
from scalecore.execution.local.devices import VARIABLE, FoundGpus, find_gpus
from scalecore.execution.peak_memory import peak_memory
from scalecore.execution.process_file import describe_process

Spec = TypeVar("Spec", bound=AttemptSpec)
Train = Callable[[Spec, AttemptMonitor], Mapping[str, Any]]
"""Trains, and returns the content of `result.json` but for what the process itself knows: `state` at least."""


def work(path: str, *, parent: int, kind: type[Spec], train: Train[Spec], save: Save) -> int:
    """Run the attempt of this folder as a child of `parent`; 0 when `result.json` says how it ended.

    `kind` is the class of the spec; `save` writes a checkpoint. An exception of `train` is the attempt's end; what its
    `measured` holds, if it has that, goes into the result. 1 when the spec cannot be read, for a reason that the log
    has. `DISK_EXIT` when something of it cannot be written: the trial is not to blame, and there is nowhere to say
    more.
    """
    faulthandler.enable()
    try:
        return _run(AttemptFolder(Path(path)), parent=parent, kind=kind, train=train, save=save)
    except StudyError as error:
        print(error, file=sys.stderr)
        return 1
    except Exception as error:
        if not is_disk_error(error):
            raise
        with suppress(OSError):  # the log may be on the same disk
            print(f"{CANNOT_WRITE}{message_of(error)}", file=sys.stderr)
        return DISK_EXIT


def _run(folder: AttemptFolder, *, parent: int, kind: type[Spec], train: Train[Spec], save: Save) -> int:
    if folder.process.exists():
        return _taken(folder)
    given, spec = folder.read_group(), folder.read_own_spec(kind)
    gpu = given.gpu or spec.gpu
    if gpu is not None:
        os.environ[VARIABLE] = gpu  # read when CUDA starts, which it has not yet
    contained = [*prefer_as_victim(), *enter_group(given.group)]
    try:
        create_json(folder.process, evolve(describe_process(folder.path), contained=contained, visible_gpus=gpu))
    except FileExistsError:
        return _taken(folder)
    monitor = AttemptMonitor(folder, save=save)
    monitor.obey_signals()
    end_with_parent(parent, monitor.stop)
    started, started_at = time.monotonic(), utc_now()
    try:
        result = dict(train(spec, monitor))
    except BaseException as error:  # a model that exits or interrupts has failed, and would do it again
        if is_disk_error(error):
            raise
        import traceback

        traceback.print_exc()
        release()  # telling the end needs some memory too
        result = end_by(error, device=spec.device) | getattr(error, "measured", {})
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
    torch: Any = sys.modules.get("torch")
    return device == "cuda" or (device == "auto" and torch is not None and bool(torch.cuda.is_initialized()))


def run_worker(main: Callable[..., int]) -> NoReturn:
    """What a worker module does as a program: `python -m MODULE FOLDER PARENT`."""
    code = main(sys.argv[1], parent=int(sys.argv[2]))
    # The result is on the disk; a library that hangs while the interpreter is torn down must not hold the study.
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":  # as executors for version 0.1 start it
    sys.exit("scalecore.execution.worker trains nothing: start the module that `ExecutorContext.worker` names")
