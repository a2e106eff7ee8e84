"""Load an experiment file with `sweep:` as a campaign; all its studies are checked before the first one runs."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from scalecore.campaign.sweep import Variant, expand
from scalecore.config.experiment import LONGEST_NAME, NAME, Experiment
from scalecore.config.load import LoadedExperiment, draft_of, read_tree
from scalecore.config.messages import ComponentsError, ExperimentFileError, Problem, raise_problems
from scalecore.config.resolve import resolved_draft
from scalecore.config.resolved import Resolved, ResolvedComponent
from scalecore.config.scalars import read_path

if TYPE_CHECKING:
    from scalecore.config.source import Tree
    from scalecore.plugins.registry import Registry


@frozen(kw_only=True)
class CampaignStudy:
    """One study of a campaign: its label, the swept keys with their values, and the resulting experiment."""

    label: str
    values: Mapping[str, Any]
    loaded: LoadedExperiment
    resolved: Resolved


@frozen(kw_only=True)
class Campaign:
    """All studies of an experiment file with `sweep:`, in the order in which they run."""

    name: str
    folder: Path
    studies: tuple[CampaignStudy, ...]

    @property
    def analyses(self) -> tuple[ResolvedComponent, ...]:
        """The analyses of the campaign, which are the same in every study."""
        return self.studies[0].resolved.analyses


def load_campaign(
    path: str | os.PathLike[str],
    *,
    overrides: Sequence[str] = (),
    registry: Registry,
    begun: Callable[[Experiment], bool] | None = None,
) -> Campaign | tuple[LoadedExperiment, Resolved]:
    """All studies of a file with `sweep:`; for a file without it, the result of `load_resolved`.

    The problems of all studies are reported together, each once. The folder and the name of a study are those of the
    campaign, followed by its label. `begun` as in `load_resolved`.
    """
    tree, source, parent = read_tree(path, overrides), os.fspath(path), Path(path).absolute().parent
    if "sweep" not in tree.root:
        return resolved_draft(draft_of(tree, source=source, folder=parent), registry, begun=begun)
    variants, problems = expand(tree)
    problems += _too_long(tree, variants)
    try:
        folder, studies = campaign_folder(tree, parent), []
    except ExperimentFileError as error:
        problems += error.problems
    if problems:
        raise_problems([*tree.problems, *problems])
    for variant in variants:
        root = variant.tree.root
        root["output"] = folder / variant.label  # a Path, unlike one in a file
        # An invalid name is reported as it is in the file.
        if isinstance(root.get("name"), str) and re.fullmatch(NAME, root["name"]) and len(root["name"]) <= LONGEST_NAME:
            root["name"] = f"{root['name']}-{variant.label}"
        try:
            draft = draft_of(variant.tree, source=source, folder=parent)
            loaded, resolved = resolved_draft(draft, registry, begun=begun)
        except (ExperimentFileError, ComponentsError) as error:
            problems += error.problems
            continue
        studies.append(CampaignStudy(label=variant.label, values=variant.values, loaded=loaded, resolved=resolved))
    if problems:
        raise_problems(problems)
    return Campaign(name=str(tree.root["name"]), folder=folder, studies=tuple(studies))


def campaign_folder(tree: Tree, parent: Path) -> Path:
    """`output:` of the file, relative to the file's folder, or `studies/NAME` in the working directory.

    Raises `ExperimentError` if `output:` is not a path.
    """
    output = tree.root.get("output")
    if output is None:
        return (Path("studies") / str(tree.root.get("name"))).absolute()
    try:
        return read_path(parent, frozenset(), output, None)
    except ValueError as error:
        problem = tree.problem(("output",), str(error))
        raise_problems([problem])


def _too_long(tree: Tree, variants: Sequence[Variant]) -> list[Problem]:
    """A problem if the campaign's name is too long once a study's label is appended."""
    name, label = tree.root.get("name"), max((variant.label for variant in variants), key=len, default="")
    if not isinstance(name, str) or len(name) > LONGEST_NAME or len(f"{name}-{label}") <= LONGEST_NAME:
        return []
    message = (
        f"with the label of a study appended, such as {label}, it has more than {LONGEST_NAME} characters; "
        "shorten it, or sweep fewer keys"
    )
    return [tree.problem(("name",), message)]
