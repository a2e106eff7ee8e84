"""The finding that monitors report when a sensor is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scalecore.api.readings import Finding

if TYPE_CHECKING:
    from scalecore_hwmon.options import OnMissing


def missing_finding(subject: str, message: str, *, on_missing: OnMissing, remedy: str) -> Finding:
    """Report the missing sensor under every policy, `ignore` included (guard G41)."""
    if on_missing == "ignore":
        return Finding(level="ok", subject=subject, message=f"{message} (on_missing: ignore)")
    return Finding(level=on_missing, subject=subject, message=message, remedy=remedy)
