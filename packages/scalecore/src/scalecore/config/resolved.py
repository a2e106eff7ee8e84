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
    """A component that the experiment uses, with its checked options and its provider."""

    record: Record
    options: Any
    provider: str
    version: str
    _use: str | None = field(default=None, alias="use")

    @property
    def name(self) -> str:
        """The name in its record."""
        return self.record.name

    @property
    def use(self) -> str:
        """The value of `use:` in the file: the name, or `distribution/name`."""
        return self._use or self.name


@frozen(kw_only=True)
class Resolved:
    """An experiment with all its components, of which only the options are imported so far."""

    experiment: Experiment
    dataset: ResolvedComponent
    model: ResolvedComponent
    search: ResolvedComponent
    trainer: ResolvedComponent
    training: Trainer
    """The trainer itself: it checked its options, and the code that they name, while the file was checked."""
    executor: ResolvedComponent
    monitors: tuple[ResolvedComponent, ...]
    loggers: tuple[ResolvedComponent, ...]
    analyses: tuple[ResolvedComponent, ...]
    """In the order in which they run: that of `confirm:` first, if the file has this key."""
    left_out: tuple[str, ...] = ()
    """Messages about removed components that a begun study uses and can be resumed without."""

    def registry(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of `load_registry` by which another process finds these components too."""
        files = [str(path) for path in self.experiment.plugins]
        return {**arguments, "files": files} if files else dict(arguments)
