"""Pruning with Optuna's pruners, within classes of depth, after a minimum number of epochs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import numpy as np
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, PatientPruner, WilcoxonPruner
from optuna.samplers import RandomSampler
from optuna.study import Study, create_study
from optuna.trial import TrialState as OptunaState
from optuna.trial import create_trial

from scalecore_optuna.trial_history import live_trial

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optuna.trial import Trial

    from scalecore.api.space import Architecture, Distribution
    from scalecore_optuna.grid import Grid
    from scalecore_optuna.options import ArchitecturalOptions
    from scalecore_optuna.trial_history import Known

__all__ = ["Pruning"]

LEAST_SHARE = 9
"""Hyperband's first rung is at least 1/9 of the longest training. At 1/27, deep networks that start slowly were
discarded in half of all simulated studies, at 1/9 in one of twenty."""


class Pruning:
    """Prunes trials. Keeps a separate Optuna study for each class of depth.

    It does not use the sampler's study, because Optuna's Hyperband would show the sampler only the trials of one
    bracket. With one trial at a time, a restored study prunes exactly like an uninterrupted one.
    """

    def __init__(
        self,
        options: ArchitecturalOptions,
        *,
        grid: Grid,
        depth: str | None,
        space: Mapping[str, Distribution],
        direction: Literal["minimize", "maximize"],
    ) -> None:
        self._options = options
        self._depth = depth
        self._direction = direction
        epochs = [int(value) for value in space["epochs"].bounds()] if "epochs" in space else []
        self._longest = max(epochs, default=None)
        depths = sorted(shape.values[depth] for shape in grid.architectures) if depth is not None else []
        shares = np.arange(1, options.prune_strata) / options.prune_strata
        self._edges = [float(edge) for edge in np.quantile(depths, shares)] if depths else []
        self._studies: dict[int, Study] = {}
        self._numbers: dict[int, tuple[int, int]] = {}

    def restore(self, trials: Mapping[int, Known]) -> None:
        """Add the trials of a journal, in the order of their numbers."""
        for number, trial in sorted(trials.items()):
            self.start(number, trial.architecture)
            for epoch, value in sorted(trial.reports.items()):
                live = self._live(number)
                live.report(value, epoch)
                if self._options.pruner == "hyperband":
                    # Hyperband stores the reached rungs in the trial.
                    live.should_prune()
            if trial.outcome is not None:
                self.finish(number, trial)

    def stratum(self, architecture: Architecture) -> int:
        """The class of depth of an architecture, 0 for the shallowest."""
        return 0 if self._depth is None else sum(architecture.values[self._depth] > edge for edge in self._edges)

    def start(self, number: int, architecture: Architecture) -> None:
        stratum = self.stratum(architecture)
        if stratum not in self._studies:
            # Hyperband assigns brackets by the study's name.
            self._studies[stratum] = create_study(
                study_name=f"depth-{stratum}",
                direction=self._direction,
                pruner=self._pruner(),
                sampler=RandomSampler(seed=0),
            )
        study = self._studies[stratum]
        study.add_trial(create_trial(state=OptunaState.RUNNING))
        self._numbers[number] = stratum, len(study.get_trials(deepcopy=False)) - 1

    def should_prune(self, number: int, *, epoch: int, value: float, new: bool) -> bool:
        live = self._live(number)
        if new:
            live.report(value, epoch)
        with _quietly():
            return live.should_prune() and epoch >= self._options.prune_after

    def finish(self, number: int, trial: Known) -> None:
        stratum, own = self._numbers[number]
        assert trial.outcome is not None, "a trial that is finished has an outcome"
        state = OptunaState.COMPLETE if trial.outcome.state == "completed" else OptunaState.PRUNED
        if not trial.informative:
            state = OptunaState.FAIL
        value = trial.outcome.value if state is OptunaState.COMPLETE else None
        self._studies[stratum].tell(own, value, state=state)

    def forget(self, number: int) -> None:
        """Drop a trial that was not run."""
        stratum, own = self._numbers.pop(number)
        self._studies[stratum].tell(own, state=OptunaState.FAIL)

    def _live(self, number: int) -> Trial:
        stratum, own = self._numbers[number]
        return live_trial(self._studies[stratum], own)

    def _pruner(self) -> BasePruner:
        """The pruner. For Hyperband, `prune_after` is also the first rung."""
        options = self._options
        with _quietly():
            match options.pruner:
                case "hyperband":
                    after, longest = options.prune_after, self._longest
                    least = after if longest is None else max(after, -(-longest // LEAST_SHARE))
                    most = "auto" if longest is None else max(longest, least)
                    return HyperbandPruner(min_resource=least, max_resource=most, reduction_factor=3)
                case "patient":
                    return PatientPruner(MedianPruner(), patience=options.prune_patience)
                case "wilcoxon":
                    return WilcoxonPruner()
            return MedianPruner()


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence Optuna's warnings about experimental pruners and different numbers of epochs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.filterwarnings("ignore", message="WilcoxonPruner finds steps")
        yield
