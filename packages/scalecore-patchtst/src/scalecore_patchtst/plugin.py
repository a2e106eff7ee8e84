"""The plugin's entry point: the model family `patchtst`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scalecore import hookimpl
from scalecore.api.components import ModelRecord
from scalecore_patchtst.options import PatchTSTOptions

if TYPE_CHECKING:
    from scalecore.api.model import ModelFamily


def _patchtst(options: PatchTSTOptions) -> ModelFamily:
    from scalecore_patchtst.family import PatchTSTFamily

    return PatchTSTFamily(options)


@hookimpl
def scalecore_models() -> list[ModelRecord]:
    """The model family of this package."""
    return [
        ModelRecord(
            name="patchtst",
            summary="Transformer encoder over patches of the window, with all features mixed in each patch.",
            options=PatchTSTOptions,
            factory=_patchtst,
            grid=("d_model", "n_layers", "n_heads", "d_ff_ratio"),
        )
    ]
