"""Options of `model: {use: patchtst}`."""

from typing import Annotated

from annotated_types import Ge, MinLen
from attrs import frozen

from scalecore.api.options import option


@frozen(kw_only=True)
class PatchTSTOptions:
    """How windows are divided into patches, and which shapes the architecture grid contains."""

    patch_len: Annotated[int, Ge(1)] = option(10, help="Time steps per patch.")
    stride: Annotated[int, Ge(1)] = option(5, help="Time steps between the starts of two patches; at most `patch_len`.")
    revin: bool = option(
        False,
        help="Normalise each window by its own mean and standard deviation, then scale and shift each feature (RevIN). "
        "Refused for a forecast, since nothing adds the level of the window back to the output.",
    )
    d_model: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = option(
        (64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048), help="Model widths in the grid: numbers per patch."
    )
    n_layers: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = option(
        (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 160, 180, 192, 256),
        help="Depths in the grid: numbers of encoder layers.",
    )
    n_heads: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = option(
        (2, 4, 8, 16, 32), help="Numbers of attention heads in the grid; they must divide the width."
    )
    d_ff_ratio: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = option(
        (2, 4), help="Feed-forward widths in the grid, as multiples of `d_model`."
    )
