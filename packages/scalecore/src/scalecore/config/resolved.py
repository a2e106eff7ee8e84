"""An experiment with its components."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from scalecore.api.components import Record
from scalecore.api.trainer import Trainer
from scalecore.config.experiment import Experiment


@frozen(kw_only=True)
class ResolvedComponent:
    """A component that the experiment uses, with its checked options and who provides it."""

    record: Record
    options: Any
    provider: str
    version: str
    _use: str | None = field(default=None, alias="use")

    @property
    def name(self) -> str:
        """The name that its record gives it."""
        return self.record.name

    @property
    def use(self) -> str:
        """What follows `use:`, the name or `distribution/name`, as the file has it."""
        return self._use or self.name


@frozen(kw_only=True)
class Resolved:
    """An experiment with all its components; nothing of them is imported yet but their options."""

    experiment: Experiment
    dataset: ResolvedComponent
    model: ResolvedComponent
    search: ResolvedComponent
    trainer: ResolvedComponent
    training: Trainer
    """The trainer itself: it has looked at its options, and at the code that they name, while the file was checked."""
    executor: ResolvedComponent
    monitors: tuple[ResolvedComponent, ...]
    loggers: tuple[ResolvedComponent, ...]
    analyses: tuple[ResolvedComponent, ...]
    left_out: tuple[str, ...] = ()
    """What a study that was begun uses and this version has no more, in words; nothing else of the study needs it."""

    def registry(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of `load_registry` by which another process finds these components too."""
        files = [str(path) for path in self.experiment.plugins]
        return {**arguments, "files": files} if files else dict(arguments)
