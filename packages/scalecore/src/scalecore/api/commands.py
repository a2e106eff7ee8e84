"""For commands of plugins: argument types, shared options, and the command `analyze`."""

from scalecore.cli.analyze import analyze
from scalecore.cli.common import NewPath, plugin_options, study_argument, warn_removed
from scalecore.cli.retraining import end_early, opened_study, retraining_options

__all__ = [
    "NewPath",
    "analyze",
    "end_early",
    "opened_study",
    "plugin_options",
    "retraining_options",
    "study_argument",
    "warn_removed",
]
