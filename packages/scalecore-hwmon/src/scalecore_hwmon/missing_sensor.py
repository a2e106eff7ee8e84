"""What all monitors share: the unit of their options, and what to say where nothing can be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scalecore.api.readings import Finding

if TYPE_CHECKING:
    from scalecore_hwmon.options import OnMissing

GB = 10**9
"""Bytes."""


def missing_finding(subject: str, message: str, *, on_missing: OnMissing, remedy: str) -> Finding:
    """What a check says where a sensor is missing: never silent, whatever the policy (guard G41)."""
    if on_missing == "ignore":
        return Finding(level="ok", subject=subject, message=f"{message} (on_missing: ignore)")
    return Finding(level=on_missing, subject=subject, message=message, remedy=remedy)
