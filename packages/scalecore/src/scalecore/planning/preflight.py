"""Preflight checks of this machine, in addition to those of the monitors: each finding is `ok`, `warn` or `refuse`.

The checks are fast and write nothing. `scalecore plan`, `run` and `doctor` print the findings.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import psutil

from scalecore.api import formatting
from scalecore.api.data_report import BaselineReport
from scalecore.api.files import broken_link
from scalecore.api.readings import Finding
from scalecore.config.experiment import Experiment
from scalecore.execution.local.devices import FoundGpus, find_gpus
from scalecore.store.layout import StudyFolder, nearest_folder
from scalecore.store.study_device import StudyDevice, torch_build

OF_MACHINE = ("open files", "other runs", "containment")
"""Subjects of the findings that do not depend on the study."""

FEW_FILES, TOO_FEW_FILES = 256, 64
"""Limits of open files: the driver needs about twenty, an attempt with its libraries several dozen more."""

NETWORK_FILE_SYSTEMS = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "afpfs", "lustre")


def machine_findings() -> list[Finding]:
    """Check what does not depend on the study: the limit of open files, other runs, and memory containment."""
    return [_open_files(), _others(other_runs()), _containment()]


def _open_files() -> Finding:
    try:
        import resource
    except ImportError:
        return Finding(level="ok", subject="open files", message="not limited on this platform")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limited = soft != resource.RLIM_INFINITY
    message = f"limit of {soft}" if limited else "no limit"
    if limited and soft < FEW_FILES:
        raise_it = hard >= FEW_FILES or hard < 0
        remedy = f"raise the limit: ulimit -n {4 * FEW_FILES}" if raise_it else "ask an administrator to raise it"
        level: Literal["refuse", "warn"] = "refuse" if soft < TOO_FEW_FILES else "warn"
        return Finding(level=level, subject="open files", message=f"{message} is too low", remedy=remedy)
    return Finding(level="ok", subject="open files", message=message)


def other_runs() -> list[tuple[int, str]]:
    """Return process ids and working folders of other `scalecore run` processes visible to this user."""
    me = psutil.Process()
    mine = {me.pid, *(parent.pid for parent in me.parents())}
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        if process.info["pid"] in mine or not _is_run(process.info["cmdline"] or ()):
            continue
        try:
            found.append((process.pid, process.cwd()))
        except psutil.Error:
            continue
    return found


def _is_run(command: Sequence[str]) -> bool:
    """Return True for `scalecore run ...` and `python -m scalecore run ...`, not for `srun scalecore run ...`."""
    for at, word in enumerate(command[:-1]):
        interpreted = at == 1 and "python" in Path(command[0]).name
        started = Path(word).name == "scalecore" and (at == 0 or interpreted or command[at - 1] == "-m")
        if started and command[at + 1] == "run":
            return True
    return False


def _others(found: Sequence[tuple[int, str]]) -> Finding:
    if not found:
        return Finding(level="ok", subject="other runs", message="no other scalecore run on this machine")
    listed = ", ".join(f"process {pid} in {folder}" for pid, folder in found)
    return Finding(
        level="warn",
        subject="other runs",
        message=f"{len(found)} more on this machine ({listed}) share its memory, cores and GPUs",
        remedy="set training.threads and execution.slots of each; the memory monitor counts the memory of the others",
    )


def _containment() -> Finding:
    from scalecore.execution.local.containment import why_no_groups

    if sys.platform != "linux":
        message = "monitors watch each attempt; on MPS, its allocator is limited too"
        return Finding(level="ok", subject="containment", message=message)
    held = "if memory runs out, the kernel kills attempts first; RLIMIT_DATA limits each if a monitor sets a limit"
    if (why := why_no_groups()) is not None:
        return Finding(level="ok", subject="containment", message=f"{held}; no control group per attempt: {why}")
    return Finding(level="ok", subject="containment", message=f"{held}, and so does a control group per attempt")


def device_finding(
    wanted: str, *, study: StudyDevice | None = None, gpus: FoundGpus | None = None, build: str | None = None
) -> Finding:
    """Check, without importing torch, that this machine has the device of `training.device`.

    `study` is the device of the study to resume. `gpus` and torch's `build` are detected if not given.
    """
    build = build or torch_build()
    kind = wanted if study is None else study.kind
    gpus = (find_gpus() if gpus is None else gpus) if kind in ("auto", "cuda") else FoundGpus(source="")
    named = f"{len(gpus.names)} GPU{'s' if len(gpus.names) > 1 else ''} (by {gpus.source})"
    why = None
    if kind == "cuda":
        why = "torch is built without CUDA" if build == "cpu" else None if gpus.names else gpus.problem or gpus.source
    elif kind == "mps" and sys.platform != "darwin":
        why = "this machine is not a Mac"
    if why is not None:
        return _missing_device(wanted, kind, study, why)
    if gpus.names and build == "cpu":
        message = f"the driver reports {named}, but torch is built without CUDA: trials use the CPU"
        remedy = "install a build of torch with CUDA"
        return Finding(level="warn", subject="device", message=message, remedy=remedy)
    if gpus.names and gpus.problem:
        message = f"{wanted}: {named}, but CUDA may be unable to use them: {gpus.problem}"
        remedy = "give the container the compute libraries (NVIDIA_DRIVER_CAPABILITIES), or repair the driver"
        return Finding(level="warn", subject="device", message=message, remedy=remedy)
    found = named if kind == "cuda" else f"CUDA, {named}" if gpus.names else f"the CPU, no GPU found ({gpus.source})"
    if kind == "auto" and sys.platform == "darwin":
        found = "MPS if torch finds it"
    if kind in ("cpu", "mps"):
        found = "" if kind == wanted else kind
    began = ", the device of the study" if study is not None and wanted == "auto" else ""
    return Finding(level="ok", subject="device", message=f"{wanted}: {found}{began}" if found else wanted)


def _missing_device(wanted: str, kind: str, study: StudyDevice | None, why: str) -> Finding:
    if study is not None and wanted == "auto":
        message = f"this study trains on {study.text}, but {why}"
        remedy = "make the device available: a study must not rank results of different devices together"
    else:
        message = f"{kind} is set, but {why}"
        needed = "install the driver and a build of torch with CUDA, or " if kind == "cuda" else ""
        remedy = f"{needed}set training.device to auto or cpu"
    return Finding(level="refuse", subject="device", message=message, remedy=remedy)


def folder_findings(folder: Path) -> Iterator[Finding]:
    """Check that a study can be written to `folder`, or to its nearest existing parent."""
    place = next((one for one in (folder, *folder.parents) if one.exists()), folder)
    subject = "output"
    if (link := broken_link(folder)) is not None:
        yield Finding(level="refuse", subject=subject, message=f"{folder} {link}", remedy="set another `output`")
        return
    if not place.is_dir():
        remedy = "set another `output`"
        yield Finding(level="refuse", subject=subject, message=f"{place} is not a folder", remedy=remedy)
        return
    read_only = hasattr(os, "statvfs") and bool(os.statvfs(place).f_flag & os.ST_RDONLY)
    if read_only or not os.access(place, os.W_OK | os.X_OK):
        why = "is on a read-only file system" if read_only else "is not writable"
        remedy = "set another `output`, or make it writable"
        yield Finding(level="refuse", subject=subject, message=f"{place} {why}", remedy=remedy)
        return
    kind = _file_system(place)
    if kind in NETWORK_FILE_SYSTEMS:
        yield Finding(
            level="warn",
            subject=subject,
            message=f"{place} is on a network file system ({kind}): locks may fail and checkpoints are slow there",
            remedy="set `output` to a local disk, or make sure that only one machine runs the study",
        )
        return
    yield Finding(level="ok", subject=subject, message=f"{place} can be written" + (f" ({kind})" if kind else ""))


def _file_system(place: Path) -> str | None:
    """Return the type of the file system that contains `place`: that of its longest mount point."""
    resolved = str(place.resolve())
    held = [
        (len(partition.mountpoint), partition.fstype)
        for partition in psutil.disk_partitions(all=True)
        if resolved == partition.mountpoint or resolved.startswith(partition.mountpoint.rstrip("/") + "/")
    ]
    return max(held)[1] if held else None


def room_finding(folder: Path, *, data: int, checkpoints: int) -> Finding:
    """Check that the disk has room for the prepared data and the checkpoints, in bytes.

    A started study already has its data and may have checkpoints, so that it gets a warning only; it ends when a write
    fails.
    """
    place = nearest_folder(folder)
    study = StudyFolder(folder)
    begun = study.journal.exists()
    need = (0 if study.data.exists() else data) + checkpoints
    try:
        free = shutil.disk_usage(place).free
    except OSError as error:
        return Finding(level="warn", subject="room", message=f"cannot read the free space of {place}: {error}")
    message = (
        f"{formatting.size(free)} free at {place}, the study needs {formatting.size(need)} for data and checkpoints"
    )
    remedy = "free some space, or set another `output`"
    if free < need and not begun:
        return Finding(level="refuse", subject="room", message=message, remedy=remedy)
    if free < 2 * need:
        return Finding(level="warn", subject="room", message=message, remedy=remedy)
    return Finding(level="ok", subject="room", message=message)


def warmup_findings(*, warmup: int, epochs: int, steps_per_epoch: int) -> Iterator[Finding]:
    """Warn if the shortest warm-up (in steps) does not end within the longest training."""
    if warmup >= epochs * steps_per_epoch:
        yield Finding(
            level="warn",
            subject="warm-up",
            message=f"{warmup} warm-up steps, but the longest training has only {epochs * steps_per_epoch} steps "
            f"({epochs} epochs of {steps_per_epoch}): no trial reaches its learning rate",
            remedy="lower training.hyperparameters.warmup_steps, or raise epochs",
        )


def forced_findings(*, planned: int, trials: int) -> Iterator[Finding]:
    """Warn if the total is too small for the forced trials."""
    if planned > trials:
        yield Finding(
            level="warn",
            subject="forced",
            message=f"{planned} forced trials, but search.trials is {trials}: {planned - trials} of them never run",
            remedy="raise search.trials",
        )


def stopping_findings(experiment: Experiment, baselines: Sequence[BaselineReport]) -> Iterator[Finding]:
    """Warn if `min_delta` of early stopping exceeds a tenth of the best baseline's loss: improvements would not count.

    Applies to the objective `val_loss` only, because `min_delta` is in the unit of the loss.
    """
    stopping = experiment.training.early_stopping
    losses = [one.loss for one in baselines if one.loss is not None]
    if stopping is None or experiment.objective.metric != "val_loss" or not losses:
        return
    if stopping.min_delta > min(losses) / 10:
        yield Finding(
            level="warn",
            subject="early stopping",
            message=f"only improvements above {stopping.min_delta:g} count, but the best baseline's loss is "
            f"{formatting.number(min(losses))}: trials may stop while they still improve",
            remedy="set training.early_stopping.min_delta far below that loss, or to 0",
        )
