"""Options of the three components. No `from __future__ import annotations` here: types are read at run time."""

from typing import Annotated

from annotated_types import Ge, Gt, Le, MinLen
from attrs import frozen

from scalecore.api.options import option


@frozen(kw_only=True)
class TCNOptions:
    """Which shapes the family `tcn` has. Those that look back further than the window are left out."""

    channels: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = option(
        (4, 8, 16, 32, 64), help="Widths of the grid: channels of every convolution."
    )
    levels: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = option(
        (1, 2, 3, 4, 5), help="Depths of the grid: residual blocks, each of which looks twice as far apart as the last."
    )
    kernel: Annotated[tuple[Annotated[int, Ge(2)], ...], MinLen(1)] = option(
        (2, 3), help="Time steps that a convolution reads."
    )


@frozen(kw_only=True)
class EvolutionOptions:
    """How the strategy `evolution` chooses a parent and changes it."""

    population: Annotated[int, Ge(2)] = option(8, help="The newest trials that may become parents; so many are random.")
    tournament: Annotated[int, Ge(1)] = option(3, help="Of so many, drawn from the population, the best is the parent.")
    step: Annotated[float, Gt(0), Le(1)] = option(
        0.2, help="Standard deviation of a change of a hyper-parameter, as a share of its range."
    )

    def __attrs_post_init__(self) -> None:
        # What a ValueError says here is shown at the component's place in the experiment file.
        if self.tournament > self.population:
            raise ValueError(f"tournament is {self.tournament}, more than the population of {self.population}")


@frozen(kw_only=True)
class MarkdownOptions:
    """Where the logger `markdown` writes."""

    file: Annotated[str, MinLen(1)] = option("results.md", help="Name of the file in the study's folder.")
