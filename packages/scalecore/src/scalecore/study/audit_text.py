"""An audit for people."""

from __future__ import annotations

from scalecore import markdown
from scalecore.study.audit import Audit

__all__ = ["audit_lines"]


def audit_lines(audit: Audit, *, counted: str | None = None) -> list[str]:
    """The findings as a table in Markdown, the worst first; `counted` tells how parameters were."""
    states = ", ".join(f"{count} {state}" for state, count in sorted(audit.states.items())) or "none readable"
    levels = [sum(one.level == level for one in audit.findings) for level in ("wrong", "doubtful", "unknown")]
    return [
        "# Audit",
        "",
        f"Records: {audit.records}, in files: {audit.files}. States: {states}.",
        f"Findings: {levels[0]} wrong, {levels[1]} doubtful, {levels[2]} that cannot be judged.",
        *([] if counted is None else [f"Parameters are counted {counted}."]),
        "",
        *markdown.table([one.row() for one in audit.findings]),
    ][:-1]
