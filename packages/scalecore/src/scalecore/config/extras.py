"""Whether the optional dependencies that a component needs with its options are installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

from scalecore.api.components import Record


def missing_extras(kind: str, record: Record, options: Any) -> Iterator[str]:
    """One sentence for each missing module, with the command that installs it. Nothing is imported."""
    for module, requirement in (record.needs(options) if record.needs is not None else {}).items():
        if importlib.util.find_spec(module) is None:
            yield (
                f"{kind} {record.name!r} needs the module {module!r}, which is not installed; "
                f"`pip install '{requirement}'` provides it"
            )
