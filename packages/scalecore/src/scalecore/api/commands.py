"""For commands of plugins: argument types, shared options, and the command `analyze`."""

from scalecore.cli.analyze import analyze
from scalecore.cli.common import NewPath, plugin_options, study_argument, warn_removed

__all__ = ["NewPath", "analyze", "plugin_options", "study_argument", "warn_removed"]
