"""Discover installed plugins, and import code by its import path."""

from scalecore.plugins.discovery import Plugin, Status, discover
from scalecore.plugins.imports import ImportPathError, import_code
from scalecore.plugins.manager import reason_of

__all__ = ["ImportPathError", "Plugin", "Status", "discover", "import_code", "reason_of"]
