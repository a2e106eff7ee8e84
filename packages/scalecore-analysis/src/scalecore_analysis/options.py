"""The options of the analyses, given as `KEY=VALUE` or `--key VALUE` to `scalecore analyze NAME`."""

from typing import Annotated

from annotated_types import Ge, Gt, Le
from attrs import frozen

from scalecore.options import option

__all__ = ["CoverageOptions"]


@frozen(kw_only=True)
class CoverageOptions:
    """`scalecore analyze coverage`."""

    bins: Annotated[int, Ge(2), Le(100)] = option(
        10, help="Into how many parts the range of a hyper-parameter is cut, on its own scale."
    )
    edge: Annotated[float, Gt(0), Le(0.5)] = option(
        0.05, help="The best trial lies on an edge where it is within this share of a hyper-parameter's range."
    )
