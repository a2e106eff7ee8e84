"""Study folders as runs leave them, made by hand of given records."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from scalecore.api.trials import StudyView


@pytest.fixture
def write_study() -> Callable[..., Path]:
    """Write the journal of a study into its folder, by the journal's own code; the folder."""

    def write(study: StudyView, *, unfinished: int = 0) -> Path:
        import attrs

        from scalecore.api.trials import Proposal
        from scalecore.study.journal import Journal
        from scalecore.study.record import record_plain

        study.folder.mkdir(parents=True)
        journal = Journal(study.folder / "journal.jsonl")
        journal.append("study", {"experiment": study.experiment, "plan": study.plan})
        journal.append("run_started", {"pid": 1, "host": "here", "versions": {}, "total": study.total})
        for _ in range(study.duplicates_avoided):
            journal.append("duplicate", {})

        def ask(record: Any, number: int) -> None:
            proposal = Proposal(
                architecture=record.architecture, hyperparameters=record.hyperparameters, origin=record.origin
            )
            asked = {"number": number, "proposal": attrs.asdict(proposal), "hash": f"{record.hash}-{number}"}
            journal.append("asked", {**asked, "hyperparameters": record.hyperparameters, "seed": record.seed})

        for record in study.trials:
            ask(record, record.number)
            journal.append("trial_finished", {"number": record.number, "record": record_plain(record)})
        for extra in range(unfinished):
            ask(study.trials[-1], study.trials[-1].number + 1 + extra)
        if study.end is not None:
            journal.append("run_ended", {"end": study.end})
        journal.close()
        return study.folder

    return write
