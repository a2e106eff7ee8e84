"""The experiment that a study's folder holds, with the paths of where the project lies now."""

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
    """Like `load_resolved`, of the experiment with which the study was last run.

    Its paths are absolute. Where the folder lies elsewhere now, they are looked for in the same place relative to it.
    Loggers that were removed since are left out.
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
    """From where the study lay when its journal got this experiment and plan, to `now`."""
    if experiment.get("output"):
        return Move(Path(experiment["output"]), now)
    # Version 0.1 left out a folder that was not given; only its check of that folder tells it.
    for finding in plan.findings if plan is not None else ():
        told = re.match(r"(/.*) (?:can be written|is on a network file system)", finding.message, re.DOTALL)
        if finding.subject == "output" and told:
            return Move(Path(told[1]), now)
    return Move(None, now)
