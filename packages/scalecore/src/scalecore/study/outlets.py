"""The loggers of a study, each isolated from the others: one that raises is reported once and switched off."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scalecore.config.load import ResolvedComponent
from scalecore.errors import PluginError, ScalecoreError
from scalecore.protocols import Logger, LoggerContext

__all__ = ["Outlets"]


class Outlets:
    """All loggers as one."""

    def __init__(self, components: Sequence[ResolvedComponent], context: LoggerContext) -> None:
        self._loggers: list[tuple[str, Logger]] = []
        self._all: list[tuple[str, Logger]] = []
        self.failures: list[str] = []
        """Messages about loggers that were switched off and that the journal does not have yet."""
        for component in components:
            try:
                logger = component.record.factory(component.options, context)
            except ScalecoreError:
                raise
            except Exception as error:
                raise PluginError(
                    f"logger {component.record.name!r} ({component.provider} {component.version}) cannot start: "
                    f"{type(error).__name__}: {error}"
                ) from error
            self._loggers.append((component.record.name, logger))
        self._all = list(self._loggers)

    def tell(self, what: Callable[[Logger], None]) -> None:
        """Tell every logger that is still on."""
        for name, logger in list(self._loggers):
            try:
                what(logger)
            except Exception as error:
                self._loggers.remove((name, logger))
                text = f"logger {name!r} raised {type(error).__name__}: {error}; it is switched off, the study goes on"
                self.failures.append(text)
                for _, other in self._loggers:
                    _quietly(lambda other=other: other.message("warning", text))  # type: ignore[misc]

    def close(self) -> None:
        """Close every logger, also those that were switched off."""
        for _, logger in self._all:
            _quietly(logger.close)


def _quietly(function: Callable[[], None]) -> None:
    try:
        function()
    except Exception:
        return  # it has been, or will be, reported through `tell`
