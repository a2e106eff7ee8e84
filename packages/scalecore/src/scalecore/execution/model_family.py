"""Creates the model family of a spec, with the plugins of the driver."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scalecore.api.model import ModelFamily
from scalecore.config.stored_paths import texts_in
from scalecore.config.structure import make_converter
from scalecore.execution.attempt_spec import ModelSpec
from scalecore.plugins.registry import load_registry


def build_family(model: ModelSpec, *, registry: Mapping[str, object]) -> ModelFamily:
    """Create the model family from the same plugins as in the driver, with the same plugins blocked."""
    record = load_registry(**registry).default("model", model.use).record  # type: ignore[arg-type]
    written = frozenset(texts_in(model.options))
    options: Any = make_converter(Path.cwd(), written).structure(model.options, record.options)
    family: ModelFamily = record.factory(options)
    return family
