"""Finished trials on fresh seeds, wherever a study keeps them: in its journal, or in the folders of version 0.1."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from attrs import evolve

from scalecore.api.trials import OriginKind, TrialRecord
from scalecore.store.layout import StudyFolder
from scalecore.store.state import StudyState, read_state


def confirmations(folder: StudyFolder, state: StudyState | None = None) -> Sequence[TrialRecord]:
    """The records with the origin `replicate` or `transfer` of the study in `folder`, one for each hash.

    `state` is its state, if it was read already. Version 0.1 kept replicates in `confirm/` and transfers in
    `cross-budget/`, each with a separate journal; their records name files relative to the study's folder here.
    """
    state = read_state(folder.journal) if state is None else state
    found = {record.hash: record for record in state.retrained if record.origin.kind != "final"}
    places: tuple[tuple[Path, OriginKind], ...] = (
        (folder.confirmation, "replicate"),
        (folder.cross_budget, "transfer"),
    )
    for place, kind in places:
        # A training that failed and was tried again counts as its last attempt ended.
        earlier = {record.hash: record for record in read_state(StudyFolder(place).journal).records}
        for record in earlier.values():
            kept = record.predictions
            if kept is not None:
                kept = evolve(kept, file=f"{place.name}/{kept.file}")
            origin = evolve(record.origin, kind=kind)
            found.setdefault(record.hash, evolve(record, predictions=kept, origin=origin))
    return tuple(found.values())
