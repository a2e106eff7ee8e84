"""Types of arguments for the commands of a plugin."""

from scalecore.cli.common import NewPath

__all__ = ["NewPath"]
