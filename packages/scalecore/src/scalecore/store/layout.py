"""Paths in a study's folder. The journal is the only source of truth; results files can be rebuilt from it."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from scalecore.api.errors import ExperimentError
from scalecore.execution.relative_paths import Below

if TYPE_CHECKING:
    from scalecore.config.experiment import Experiment

CAMPAIGN = "campaign.json"
"""The index of a campaign, in the folder with its studies."""


@frozen
class StudyFolder:
    """Paths of one study."""

    path: Path

    journal = Below("journal.jsonl")
    lock = Below(".lock")
    lease = Below("lease.json")
    epoch = Below(".epoch")
    """Counts the runners of this folder, so that each has its own number."""
    stop_file = Below("STOP")
    notes = Below("notes")
    """The user's notes that are not in the journal yet, a file each."""
    source = Below("experiment.yaml")
    """The experiment of the last run: overrides applied, every default filled in."""
    hardware = Below("hardware.csv")
    readings = Below("hardware.json")
    """The latest readings of the monitors."""
    attempts = Below("attempts")
    promoted = Below("promoted")
    """A folder for each model of `scalecore evaluate`."""
    confirmation = Below("confirm")
    """Results of `scalecore confirm`; in version 0.1 also the replicates, with a separate journal."""
    cross_budget = Below("cross-budget")
    """In version 0.1: best configurations of other budgets, trained at this one, with a separate journal."""
    compiled = Below("compiled")
    """Compiled blocks that the attempts of a run share; exists only during a run."""

    @property
    def data(self) -> Path:
        return self.path / "data"

    def predictions(self, number: int) -> Path:
        """Validation logits of the best epoch of a finished trial; see `scalecore.store.predictions`."""
        return self.path / "predictions" / f"trial_{number:04d}.npz"

    def attempt(self, number: int, attempt: int) -> Path:
        return self.attempts / f"trial_{number:04d}" / f"attempt_{attempt}"

    def models(self) -> list[Path]:
        """Folders of the models of `scalecore evaluate`."""
        return sorted(path for path in self.promoted.glob("*") if path.is_dir())

    def journals_of_retrainings(self) -> list[StudyFolder]:
        """Folders of trainings after the search by version 0.1, each with a separate journal."""
        folders = map(StudyFolder, [self.confirmation, self.cross_budget, *self.models()])
        return [folder for folder in folders if folder.journal.exists()]

    def weights(self, number: int) -> Path:
        """Weights of the best epoch of a finished trial, if they are kept."""
        return self.path / "weights" / f"trial_{number:04d}.safetensors"

    def smoke(self, label: str) -> Path:
        return self.attempts / f"smoke_{label}"


def find_study(path: Path) -> StudyFolder:
    """Find the study of a command-line argument: a study folder or an experiment file.

    Raises `ExperimentError` if there is no study.
    """
    study = holding_study(path)
    if study is None and is_file(path):
        from scalecore.config.load import load_experiment

        study = StudyFolder(output_folder(load_experiment(path).experiment))
    study = study or StudyFolder(path.absolute())
    if not study.journal.exists():
        raise ExperimentError(f"{path}: no study here (there is no {study.journal}); start one with `scalecore run`")
    return study


def holding_study(file: Path) -> StudyFolder | None:
    """Return the study whose stored experiment this file is; None for any other file.

    Its `output` may name a previous place of the study.
    """
    study = StudyFolder(file.absolute().parent)
    return study if file.name == study.source.name and study.journal.exists() else None


def is_file(path: Path) -> bool:
    """Whether an argument is a file; raise `ExperimentError` if it cannot be read."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise ExperimentError(f"{path}: cannot be read ({error.strerror})") from None


def has_begun(experiment: Experiment) -> bool:
    """Whether a study of this experiment, or of its campaign, exists."""
    folder = output_folder(experiment)
    return os.path.exists(StudyFolder(folder).journal) or os.path.exists(folder.parent / CAMPAIGN)


def nearest_folder(path: Path) -> Path:
    """`path`, or the nearest folder above it that exists."""
    return next(one for one in (path, *path.absolute().parents) if one.is_dir())


def output_folder(experiment: Experiment) -> Path:
    """`output:` of the experiment file, or `studies/NAME` under the working directory.

    Raises `ExperimentError` for a working directory whose name cannot be stored.
    """
    from scalecore.config.scalars import storable

    try:
        return storable((experiment.output or Path("studies") / experiment.name).absolute())
    except ValueError as error:
        raise ExperimentError(str(error)) from None
