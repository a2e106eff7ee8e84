"""The main function of an attempt's process, which a trainer's worker module calls with its training function.

It reads `spec.json`, trains, and writes `result.json` last, all inside its folder. A worker module:

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
"""Trains and returns the content of `result.json`, at least `state`; `work` adds the fields about the process."""


def work(path: str, *, parent: int, kind: type[Spec], train: Train[Spec], save: Save) -> int:
    """Run the attempt of this folder as a child of `parent`; return the exit code.

    `kind` is the class of the spec; `save` writes a checkpoint. An exception of `train` ends the attempt; if it has an
    attribute `measured`, that is merged into the result. Exit codes: 0 if `result.json` was written, 1 if the spec
    cannot be read (the log has the reason), `DISK_EXIT` if the folder cannot be written, which is not the trial's
    fault and cannot be reported in another way.
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
        os.environ[VARIABLE] = gpu  # in time: CUDA reads it when it starts
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
    except BaseException as error:  # a model that raises SystemExit or KeyboardInterrupt has failed too
        if is_disk_error(error):
            raise
        import traceback

        traceback.print_exc()
        release()  # reporting the end needs some memory
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
    """Report that another process started the attempt before this one."""
    first = folder.read_process()
    who = "another process" if first is None else first.who
    print(f"{folder.path}: this attempt was already started by {who}; this process ends", file=sys.stderr)
    return TAKEN_EXIT


def end_by(error: BaseException, *, device: str, gpus: Callable[[], FoundGpus] = find_gpus) -> dict[str, Any]:
    """Return the end of an attempt by an exception: `state`, `reason` and the class of the `error`.

    `device` is that of the spec. A missing device, or a GPU that is gone after a CUDA error, is not the trial's fault:
    the attempt is interrupted, and the trial resumes once the device is back (guard G48). The same applies to a file
    with code that changed while the study ran (guard G26).
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
    """Whether an attempt on the `device` of a spec used CUDA, which `auto` prefers."""
    torch: Any = sys.modules.get("torch")
    return device == "cuda" or (device == "auto" and torch is not None and bool(torch.cuda.is_initialized()))


def run_worker(main: Callable[..., int]) -> NoReturn:
    """Run a worker module as a program: `python -m MODULE FOLDER PARENT`."""
    code = main(sys.argv[1], parent=int(sys.argv[2]))
    # The result is on the disk; a library that hangs during interpreter shutdown must not block the study.
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":  # as executors for version 0.1 start it
    sys.exit("scalecore.execution.worker does not train: start the module named by `ExecutorContext.worker`")
