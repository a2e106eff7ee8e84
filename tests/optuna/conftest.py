"""Shared fixtures: the real 2M grid of facts.md, its training space, and helpers that drive a strategy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from scalecore.api.space import Architecture, Choice, Distribution, LogUniform, Uniform
from scalecore.api.strategy import SearchContext, SearchStrategy
from scalecore.api.trials import Outcome, Proposal, RestoredTrial, TrialState

Make = Callable[..., Any]

WIDTHS = (64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
DEPTHS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 160, 180, 192, 256)
HEADS = (2, 4, 8, 16, 32)


def count(d: int, depth: int, d_ff: int) -> int:
    """Parameters of PatchTST with 25 features, context 60, patches of 10 at stride 5, one output."""
    features, patch, patches = 25, 10, 11
    layer = 4 * d * d + 4 * d + 4 * d + 2 * d * d_ff + d_ff + d
    return (patch * features) * d + d + (patches + 10) * d + depth * layer + 2 * d + d * patches + 1


def grid(budget: float) -> list[Architecture]:
    shapes = [(d, depth, heads, ratio * d) for d in WIDTHS for depth in DEPTHS for heads in HEADS for ratio in (2, 4)]
    return [
        Architecture(
            values={"d_model": d, "n_layers": depth, "n_heads": heads, "d_ff": d_ff},
            num_parameters=count(d, depth, d_ff),
            flops=2 * count(d, depth, d_ff),
        )
        for d, depth, heads, d_ff in shapes
        if d % heads == 0 and 0.75 * budget <= count(d, depth, d_ff) <= 1.25 * budget
    ]


@pytest.fixture
def grid_of() -> Callable[[float], list[Architecture]]:
    """The architectures of a budget."""
    return grid


@pytest.fixture
def architectures() -> list[Architecture]:
    """The 80 architectures of the 2M budget."""
    return grid(2e6)


@pytest.fixture
def space() -> dict[str, Distribution]:
    return {
        "learning_rate": LogUniform(low=1e-4, high=1e-3),
        "epochs": Choice(values=(50, 75, 100)),
        "weight_decay": LogUniform(low=1e-4, high=5e-3),
        "warmup_steps": Choice(values=(100, 200, 300, 500)),
        "dropout": Uniform(low=0.1, high=0.3),
    }


@pytest.fixture
def context_of(architectures: list[Architecture], space: dict[str, Distribution]) -> Callable[..., SearchContext]:
    """A context of the 2M study, with changes."""

    def build(**changes: Any) -> SearchContext:
        settings: dict[str, Any] = {
            "architectures": architectures,
            "space": space,
            "direction": "minimize",
            "trials": 50,
            "seed": 42,
            **changes,
        }
        shapes = settings["architectures"]
        dimensions = {name: tuple(sorted({shape.values[name] for shape in shapes})) for name in shapes[0].values}
        return SearchContext(dimensions=dimensions, **settings)

    return build


@pytest.fixture
def make(context_of: Callable[..., SearchContext]) -> Make:
    """A strategy with TPE inside: changes of the context, and `options` of the strategy."""
    from scalecore_optuna.options import ArchitecturalOptions
    from scalecore_optuna.strategy import ArchitecturalStrategy

    def build(*, options: dict[str, Any] | None = None, **changes: Any) -> ArchitecturalStrategy:
        return ArchitecturalStrategy(ArchitecturalOptions(**{"inner": "tpe", **(options or {})}), context_of(**changes))

    return build


def loss(proposal: Proposal, number: int) -> float:
    """A surface with a minimum in the middle of the grid and pseudo-noise."""
    shape, values = proposal.architecture.values, proposal.hyperparameters
    aspect = math.log2(shape.get("d_model", 8) / shape.get("n_layers", 1))
    rate = math.log10(float(values.get("learning_rate", 3e-4)) / 3e-4)
    return 0.4 + 0.02 * abs(aspect - 3) + 0.1 * rate**2 + 0.01 * math.sin(37.0 * number)


@pytest.fixture
def loss_of() -> Callable[[Proposal, int], float]:
    return loss


@pytest.fixture
def drive() -> Callable[[SearchStrategy, Iterable[int]], list[Proposal]]:
    """Ask for these numbers one after another; each trial completes before the next."""

    def run(strategy: SearchStrategy, numbers: Iterable[int]) -> list[Proposal]:
        proposals = []
        for number in numbers:
            proposal = strategy.ask(number)
            assert proposal is not None
            strategy.tell(number, Outcome(state=TrialState.COMPLETED, value=loss(proposal, number)))
            proposals.append(proposal)
        return proposals

    return run


@pytest.fixture
def journal_of() -> Callable[[Sequence[Proposal]], list[RestoredTrial]]:
    """The journal's content for trials that `drive` has run, numbered from 0."""

    def build(proposals: Sequence[Proposal]) -> list[RestoredTrial]:
        return [
            RestoredTrial(
                number=number,
                proposal=proposal,
                outcome=Outcome(state=TrialState.COMPLETED, value=loss(proposal, number)),
            )
            for number, proposal in enumerate(proposals)
        ]

    return build
