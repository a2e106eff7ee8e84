"""Which plugins are installed and usable, for a plugin that other ones extend."""

from scalecore.plugins.discovery import Plugin, Status, discover

__all__ = ["Plugin", "Status", "discover"]
