"""Loads the experiment stored in a study's folder, with its paths adapted if the folder was moved."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve

from scalecore.api.plan_report import PlanReport
from scalecore.config.load import LoadedExperiment, draft_of, read_tree
from scalecore.config.overrides import apply_overrides
from scalecore.config.resolve import resolved_draft
from scalecore.config.resolved import Resolved
from scalecore.config.stored_paths import Move, texts_in
from scalecore.plugins.registry import Registry
from scalecore.store.layout import StudyFolder
from scalecore.store.state import read_state


def load_stored(
    folder: StudyFolder, *, overrides: Sequence[str] = (), registry: Registry
) -> tuple[LoadedExperiment, Resolved]:
    """Like `load_resolved`, for the experiment with which the study was last run.

    Stored paths are absolute. If the folder was moved, they are resolved relative to its new place. Loggers that no
    longer exist are left out.
    """
    tree = read_tree(folder.source, ())
    state = read_state(folder.journal)
    tree = evolve(tree, root=move_of(state.experiment, state.plan, folder.path).apply(tree.root))
    written = frozenset(texts_in(tree.root))
    tree.root["output"] = folder.path
    apply_overrides(tree, overrides)
    draft = draft_of(tree, source=str(folder.source), folder=folder.path, written=written)
    return resolved_draft(draft, registry, begun=lambda _: True)


def move_of(experiment: Mapping[str, Any], plan: PlanReport | None, now: Path) -> Move:
    """Return the move from the folder at the time of this experiment and plan to `now`."""
    if experiment.get("output"):
        return Move(Path(experiment["output"]), now)
    # Version 0.1 stored no folder if the file named none; only the finding of its folder check contains it.
    for finding in plan.findings if plan is not None else ():
        found = re.match(r"(/.*) (?:can be written|is on a network file system)", finding.message, re.DOTALL)
        if finding.subject == "output" and found:
            return Move(Path(found[1]), now)
    return Move(None, now)
