"""What speaks for or against a study on this machine, beside what the monitors say: each finding is ok, warn or refuse.

Reads only, and quickly. `scalecore plan` and `run` print it, `scalecore doctor` at any time.
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

FEW_FILES, TOO_FEW_FILES = 256, 64
"""Open files: the driver needs some twenty, an attempt and its libraries some dozens more."""

NETWORK_FILE_SYSTEMS = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "afpfs", "lustre")


def machine_findings() -> list[Finding]:
    """Of the machine, whatever will be run on it: open files, other runs, how memory can be held."""
    return [_open_files(), _others(other_runs()), _containment()]


def _open_files() -> Finding:
    try:
        import resource
    except ImportError:
        return Finding(level="ok", subject="open files", message="not limited on this platform")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limited = soft != resource.RLIM_INFINITY
    message = f"{soft} may be open at once" if limited else "as many as wanted may be open at once"
    if limited and soft < FEW_FILES:
        remedy = f"raise the limit: ulimit -n {4 * FEW_FILES}" if hard >= FEW_FILES or hard < 0 else "ask for more"
        level: Literal["refuse", "warn"] = "refuse" if soft < TOO_FEW_FILES else "warn"
        return Finding(level=level, subject="open files", message=f"only {message}", remedy=remedy)
    return Finding(level="ok", subject="open files", message=message)


def other_runs() -> list[tuple[int, str]]:
    """Process ids and folders of other `scalecore run` processes that this user may see."""
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
    """`scalecore run ...`, or `python -m scalecore run ...`."""
    for at, word in enumerate(command[:-1]):
        started = Path(word).name == "scalecore" and (at <= 1 or command[at - 1] == "-m")
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
        message=f"{len(found)} more on this machine ({listed}): they share its memory, cores and GPUs",
        remedy="give each its threads and slots; with the memory monitor each sees what the others leave free",
    )


def _containment() -> Finding:
    from scalecore.execution.local.containment import why_no_groups

    if sys.platform != "linux":
        message = "an attempt is watched by the monitors; on MPS its allocator is limited too"
        return Finding(level="ok", subject="containment", message=message)
    held = "attempts are the kernel's first victims, and limited by RLIMIT_DATA where a monitor gives a limit"
    if (why := why_no_groups()) is not None:
        return Finding(level="ok", subject="containment", message=f"{held}; no control group for each: {why}")
    return Finding(level="ok", subject="containment", message=f"{held}, and by a control group each")


def device_finding(
    wanted: str, *, study: StudyDevice | None = None, gpus: FoundGpus | None = None, build: str | None = None
) -> Finding:
    """Whether the device of `training.device` can be here, found without importing torch.

    `study` is the device of a study that continues. `gpus` and torch's `build` are looked for where not given.
    """
    build = build or torch_build()
    kind = wanted if study is None else study.kind
    gpus = (find_gpus() if gpus is None else gpus) if kind in ("auto", "cuda") else FoundGpus(source="")
    named = f"{len(gpus.names)} GPU{'s' if len(gpus.names) > 1 else ''} (by {gpus.source})"
    why = None
    if kind == "cuda":
        why = "torch is a build without CUDA" if build == "cpu" else None if gpus.names else gpus.problem or gpus.source
    elif kind == "mps" and sys.platform != "darwin":
        why = "this is no Mac"
    if why is not None:
        return _missing_device(wanted, kind, study, why)
    if gpus.names and build == "cpu":
        message = f"there is a driver with {named}, and torch is a build without CUDA: the CPU is used"
        remedy = "install a build of torch with CUDA"
        return Finding(level="warn", subject="device", message=message, remedy=remedy)
    if gpus.names and gpus.problem:
        message = f"{wanted}: {named}, and CUDA may not be able to use them: {gpus.problem}"
        remedy = "give the container the compute libraries (NVIDIA_DRIVER_CAPABILITIES), or repair the driver"
        return Finding(level="warn", subject="device", message=message, remedy=remedy)
    found = named if kind == "cuda" else f"CUDA, {named}" if gpus.names else f"the CPU, no GPU is found ({gpus.source})"
    if kind == "auto" and sys.platform == "darwin":
        found = "MPS where torch finds it"
    if kind in ("cpu", "mps"):
        found = "" if kind == wanted else kind
    began = ", as the study began" if study is not None and wanted == "auto" else ""
    return Finding(level="ok", subject="device", message=f"{wanted}: {found}{began}" if found else wanted)


def _missing_device(wanted: str, kind: str, study: StudyDevice | None, why: str) -> Finding:
    if study is not None and wanted == "auto":
        message = f"this study trains on {study.text}, and {why}"
        remedy = "make the device available: results of another one would be ranked together with those of the study"
    else:
        message = f"{kind} is asked for, and {why}"
        needed = "install the driver and a build of torch with CUDA, or " if kind == "cuda" else ""
        remedy = f"{needed}set training.device to auto or cpu"
    return Finding(level="refuse", subject="device", message=message, remedy=remedy)


def folder_findings(folder: Path) -> Iterator[Finding]:
    """Whether the study's folder, or the nearest one above it that exists, can hold a study."""
    place = next((one for one in (folder, *folder.parents) if one.exists()), folder)
    subject = "output"
    if (link := broken_link(folder)) is not None:
        yield Finding(level="refuse", subject=subject, message=f"{folder} {link}", remedy="give another `output`")
        return
    if not place.is_dir():
        remedy = "give another `output`"
        yield Finding(level="refuse", subject=subject, message=f"{place} is no folder", remedy=remedy)
        return
    read_only = hasattr(os, "statvfs") and bool(os.statvfs(place).f_flag & os.ST_RDONLY)
    if read_only or not os.access(place, os.W_OK | os.X_OK):
        why = "is on a read-only file system" if read_only else "may not be written"
        yield Finding(
            level="refuse", subject=subject, message=f"{place} {why}", remedy="give another `output`, or its rights"
        )
        return
    kind = _file_system(place)
    if kind in NETWORK_FILE_SYSTEMS:
        yield Finding(
            level="warn",
            subject=subject,
            message=f"{place} is on a network file system ({kind}): locks may not hold there, and checkpoints are slow",
            remedy="give an `output` on a disk of this machine, or be sure that only one machine runs the study",
        )
        return
    yield Finding(level="ok", subject=subject, message=f"{place} can be written" + (f" ({kind})" if kind else ""))


def _file_system(place: Path) -> str | None:
    """Its type by the longest mount point that holds `place`."""
    resolved = str(place.resolve())
    held = [
        (len(partition.mountpoint), partition.fstype)
        for partition in psutil.disk_partitions(all=True)
        if resolved == partition.mountpoint or resolved.startswith(partition.mountpoint.rstrip("/") + "/")
    ]
    return max(held)[1] if held else None


def room_finding(folder: Path, *, largest: int, slots: int, data: int, checkpoint: float) -> Finding:
    """Whether the disk holds the prepared data (bytes) and two checkpoints of the largest model (parameters) a slot.

    `checkpoint` are the bytes of one per parameter.

    A study that was begun has its data, and may have checkpoints: it is warned, and ends when a write fails.
    """
    place = nearest_folder(folder)
    study = StudyFolder(folder)
    begun = study.journal.exists()
    need = (0 if study.data.exists() else data) + int(2.2 * checkpoint * largest * slots)
    try:
        free = shutil.disk_usage(place).free
    except OSError as error:
        return Finding(level="warn", subject="room", message=f"the free space of {place} cannot be read: {error}")
    message = (
        f"{formatting.size(free)} free at {place}, the study needs {formatting.size(need)} for data and checkpoints"
    )
    remedy = "make room, or give another `output`"
    if free < need and not begun:
        return Finding(level="refuse", subject="room", message=message, remedy=remedy)
    if free < 2 * need:
        return Finding(level="warn", subject="room", message=message, remedy=remedy)
    return Finding(level="ok", subject="room", message=message)


def warmup_findings(*, warmup: int, epochs: int, steps_per_epoch: int) -> Iterator[Finding]:
    """Whether the shortest warm-up, in steps, ends within the longest training; nothing where it does."""
    if warmup >= epochs * steps_per_epoch:
        yield Finding(
            level="warn",
            subject="warm-up",
            message=f"{warmup} steps of warm-up, and the longest training has {epochs * steps_per_epoch} (epochs "
            f"{epochs}, {steps_per_epoch} steps each): no trial reaches its learning rate",
            remedy="set training.hyperparameters.warmup_steps lower, or epochs higher",
        )


def stopping_findings(experiment: Experiment, baselines: Sequence[BaselineReport]) -> Iterator[Finding]:
    """Whether early stopping sees improvements: `min_delta` is in the unit of the loss, which the baselines show.

    Nothing where the objective is no loss, or where `min_delta` is below a tenth of the best baseline's loss.
    """
    stopping = experiment.training.early_stopping
    losses = [one.loss for one in baselines if one.loss is not None]
    if stopping is None or experiment.objective.metric != "val_loss" or not losses:
        return
    if stopping.min_delta > min(losses) / 10:
        yield Finding(
            level="warn",
            subject="early stopping",
            message=f"only improvements of more than {stopping.min_delta:g} count, and the best baseline's "
            f"loss is {formatting.number(min(losses))}: trials may end while they still learn",
            remedy="set training.early_stopping.min_delta far below that loss, or to 0",
        )
