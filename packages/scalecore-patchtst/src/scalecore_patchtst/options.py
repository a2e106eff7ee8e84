"""Options of `model: {use: patchtst}`."""

from typing import Annotated

from annotated_types import Ge, MinLen
from attrs import frozen

from scalecore.api.options import option


@frozen(kw_only=True)
class PatchTSTOptions:
    """How windows become patches, and which shapes the architecture grid holds."""

    patch_len: Annotated[int, Ge(1)] = option(10, help="Time steps in a patch.")
    stride: Annotated[int, Ge(1)] = option(5, help="Time steps between the starts of two patches; at most `patch_len`.")
    revin: bool = option(
        False,
        help="Normalise each window by its own mean and standard deviation, then scale and shift each feature (RevIN). "
        "Refused for a forecast: nothing adds the level of the window to the output again.",
    )
    d_model: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = option(
        (64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048), help="Widths of the grid: numbers per patch."
    )
    n_layers: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = option(
        (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 160, 180, 192, 256), help="Depths of the grid: encoder layers."
    )
    n_heads: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = option(
        (2, 4, 8, 16, 32), help="Attention heads of the grid; only shapes whose width they divide are legal."
    )
    d_ff_ratio: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = option(
        (2, 4), help="Widths of the feed-forward layer in the grid, as multiples of `d_model`."
    )
