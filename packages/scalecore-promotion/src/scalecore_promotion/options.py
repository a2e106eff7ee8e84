"""Options of the analysis of this package."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Le
from attrs import frozen

from scalecore.api.options import option


@frozen(kw_only=True)
class CrossBudgetOptions:
    """Options of analysis `cross-budget`."""

    seeds: Annotated[int, Ge(2), Le(100)] = option(3, help="Fresh seeds for each configuration at each budget.")
