"""Trials on fresh seeds, in the journal of a study and in the folders of version 0.1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import evolve

from scalecore.api.record_parts import KeptPredictions
from scalecore.api.trials import FIRST_RETRAINED, Origin, StudyView, TrialRecord
from scalecore.store.confirmations import confirmations
from scalecore.store.layout import StudyFolder
from scalecore.testing.fakes import make_study, make_trial

Write = Callable[[StudyView], Path]


def again(number: int, value: float | None, *, identity: str, kind: str = "replicate") -> TrialRecord:
    one = make_trial(number, value, hash=identity)
    kept = KeptPredictions(file=f"predictions/trial_{number:04d}.npz", sha256="0" * 64, epoch=1, windows=9)
    return evolve(one, origin=Origin(kind=kind), predictions=kept)  # type: ignore[arg-type]


def study(folder: Path, trials: Sequence[TrialRecord]) -> StudyView:
    return evolve(make_study(folder.parent / f"data of {folder.name}", trials, total=9), folder=folder)


def test_replicates_of_both_versions_are_one_list(tmp_path: Path, write_study: Write) -> None:
    """Each once; files of 0.1 are named relative to the study; final trainings are none of them."""
    folder = tmp_path / "study"
    search = make_trial(0, 0.5, hash="search")
    new = again(FIRST_RETRAINED, 0.6, identity="both")
    final = again(FIRST_RETRAINED + 1, 0.5, identity="search", kind="final")
    write_study(study(folder, [search, new, final]))
    write_study(study(folder / "confirm", [again(0, 0.7, identity="both"), again(1, 0.8, identity="old")]))
    write_study(study(folder / "cross-budget", [again(0, 0.9, identity="elsewhere")]))
    found = confirmations(StudyFolder(folder))
    assert [(one.hash, one.value, one.origin.kind) for one in found] == [
        ("both", 0.6, "replicate"),
        ("old", 0.8, "replicate"),
        ("elsewhere", 0.9, "transfer"),
    ]
    assert [one.predictions.file for one in found if one.predictions] == [
        f"predictions/trial_{FIRST_RETRAINED}.npz",
        "confirm/predictions/trial_0001.npz",
        "cross-budget/predictions/trial_0000.npz",
    ]


def test_a_training_of_0_1_that_was_tried_again_counts_as_its_retry(tmp_path: Path, write_study: Write) -> None:
    """The first one failed."""
    folder = tmp_path / "study"
    write_study(study(folder, [make_trial(0, 0.5)]))
    tried = [again(0, None, identity="same"), again(1, 0.7, identity="same")]
    write_study(study(folder / "cross-budget", tried))
    assert [one.value for one in confirmations(StudyFolder(folder))] == [0.7]
