"""Converts a trial's record to a trial in an Optuna storage."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, create_trial
from optuna.trial import TrialState as OptunaState

from scalecore.api.files import plain
from scalecore.api.space import Choice
from scalecore.api.trials import TrialState
from scalecore_optuna.sampler import as_optuna

if TYPE_CHECKING:
    from scalecore.api.trials import StudyView, TrialRecord

__all__ = ["HASH", "NUMBER", "stored_distributions", "stored_trial"]

NUMBER, HASH = "trial", "hash"
"""The user attributes that identify a trial. Optuna's own number may differ."""
STATES = {TrialState.COMPLETED: OptunaState.COMPLETE, TrialState.PRUNED: OptunaState.PRUNED}
"""All other states are FAIL in Optuna; the user attribute `state` contains the original one."""


def stored_trial(record: TrialRecord, known: Mapping[str, BaseDistribution], *, metric: str) -> FrozenTrial:
    """The finished trial with the parameters in `known`. Other data of interest become user attributes."""
    state = STATES.get(record.state, OptunaState.FAIL) if record.value is not None else OptunaState.FAIL
    values = {**record.hyperparameters, **record.architecture.values}
    at_best = {} if record.best is None else record.best.plain()
    attributes = {
        NUMBER: record.number,
        HASH: record.hash,
        "seed": record.seed,
        "state": record.state,
        "ended because": record.reason,
        "origin": record.origin.kind,
        "label": record.origin.label,
        "chosen because": record.origin.reason,
        "moved from": record.origin.moved_from,
        "parameters": record.architecture.num_parameters,
        "flops": record.architecture.flops,
        "all hyperparameters": record.hyperparameters,
        **{f"best {name}": one for name, one in at_best.items() if type(one) in (int, float)},
        "duration": record.duration,
        "micro_batch": record.micro_batch,
        "peak_memory": record.memory.measured,
        "flags": sorted({flag.guard or "" for flag in record.flags}),
    }
    curve = [(line.get("epoch"), line.get(metric)) for line in record.learning_curve]
    trial = create_trial(
        state=state,
        value=None if state is OptunaState.FAIL else record.value,
        params={name: values[name] for name in known},
        distributions=dict(known),
        user_attrs={name: plain(one) for name, one in attributes.items() if one is not None},
        intermediate_values={int(epoch): one for epoch, one in curve if epoch is not None and one is not None},
        # A trial that violates a constraint is never Optuna's best trial (guard G09).
        constraints={"predicts a constant": 1.0} if record.collapsed else None,
    )
    started, ended = record.started or record.ended, record.ended or record.started
    if started is not None and ended is not None:
        trial.datetime_start, trial.datetime_complete = _local(started), _local(ended)
    return trial


def _local(text: str) -> datetime:
    """Convert to local time without a zone, as Optuna stores it."""
    return datetime.fromisoformat(text).astimezone().replace(tzinfo=None)


def stored_distributions(
    record: TrialRecord, study: StudyView, known: Mapping[str, BaseDistribution]
) -> dict[str, BaseDistribution]:
    """The distributions of all varied dimensions and hyper-parameters: the stored one, or the study's own.

    A range is widened to include the trial's value. A storage accepts no other choices or scale for an existing
    parameter: a parameter that would need that is left out.
    """
    found: dict[str, BaseDistribution | None] = {}
    for name, values in study.plan.architectures.dimensions.items():
        if (value := record.architecture.values.get(name)) is not None:
            every = [*values, value]
            own: BaseDistribution = IntDistribution(min(every), max(every), log=min(every) > 0)
            found[name] = _wide_enough(known.get(name, own), value)
    for name, declared in study.plan.space.items():
        if (given := record.hyperparameters.get(name)) is not None:
            own = as_optuna(declared)
            if isinstance(declared, Choice):  # include choices of an earlier space
                tried = [one.hyperparameters[name] for one in (*study.trials, record) if name in one.hyperparameters]
                own = CategoricalDistribution(list(dict.fromkeys([*declared.values, *tried])))
            found[name] = _wide_enough(known.get(name, own), given)
    return {name: one for name, one in found.items() if one is not None}


def _wide_enough(distribution: BaseDistribution, value: Any) -> BaseDistribution | None:
    if isinstance(distribution, IntDistribution | FloatDistribution) and not _holds(distribution, value):
        try:
            low, high = min(distribution.low, value), max(distribution.high, value)
            distribution = type(distribution)(low, high, log=distribution.log)
        except (TypeError, ValueError):
            return None
    return distribution if _holds(distribution, value) else None


def _holds(distribution: BaseDistribution, value: Any) -> bool:
    try:
        return distribution._contains(distribution.to_internal_repr(value))
    except (TypeError, ValueError):
        return False
