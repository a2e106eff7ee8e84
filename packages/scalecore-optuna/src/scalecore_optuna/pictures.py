"""What a mirror shows of a study: each trial as Optuna knows trials, from scalecore's records and proposals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from attrs import field, frozen
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from scalecore.api import trials
from scalecore.api.files import canonical_json, plain
from scalecore_optuna.sampler import WIDEST

if TYPE_CHECKING:
    from scalecore.api.trials import Proposal, RestoredTrial, StudyView, TrialRecord

__all__ = ["NUMBER", "Picture", "StudyPicture", "picture_of"]

NUMBER = "trial"
"""The user attribute by which a trial is known again; Optuna's own number may differ."""
STATES = {trials.TrialState.COMPLETED: TrialState.COMPLETE, trials.TrialState.PRUNED: TrialState.PRUNED}
"""Every other end is a failure to Optuna; the attribute `state` says which."""
CONSTANT = create_trial(state=TrialState.FAIL, constraints={"predicts a constant": 1.0}).system_attrs
"""The mark of a collapsed trial (guard G09)."""


@frozen(kw_only=True)
class Picture:
    """One trial: what Optuna stores of it."""

    number: int
    state: TrialState
    params: Mapping[str, Any]
    distributions: Mapping[str, BaseDistribution]
    attributes: Mapping[str, Any]
    value: float | None = None
    reports: Mapping[int, float] = field(factory=dict)
    started: datetime | None = None
    ended: datetime | None = None
    system: Mapping[str, Any] = field(factory=dict)
    """What Optuna itself reads: a broken constraint, with which a trial is never the study's best one."""

    @property
    def hash(self) -> str | None:
        return self.attributes.get("hash")

    def frozen(self) -> FrozenTrial:
        """As a template for a new trial of a storage."""
        shown = self.state is not TrialState.WAITING
        started = (self.started or datetime.now()) if shown else None
        return FrozenTrial(
            number=-1,
            trial_id=-1,
            state=self.state,
            value=self.value,
            datetime_start=started,
            datetime_complete=(self.ended or started) if self.state.is_finished() else None,
            params=dict(self.params),
            distributions=dict(self.distributions),
            user_attrs=dict(self.attributes),
            system_attrs=dict(self.system),
            intermediate_values=dict(self.reports),
        )


@frozen(kw_only=True)
class StudyPicture:
    """A study: its name, direction, space, and all trials by number."""

    name: str
    direction: str
    metric: str
    space: str
    """Canonical text of all distributions: a storage whose study has others is filled anew."""
    pictures: Mapping[int, Picture]


def picture_of(study: StudyView, *, name: str) -> StudyPicture:
    """The whole study. Trials that are unfinished are `RUNNING` while they run, else `WAITING`."""
    distributions = _distributions(study)
    metric = study.experiment["objective"]["metric"]
    pictures = {record.number: _finished(record, distributions, metric) for record in study.trials}
    for trial in study.unfinished:
        pictures[trial.number] = unfinished(trial, distributions, running=trial.number in study.running)
    space = {name: [type(one).__name__, one._asdict()] for name, one in sorted(distributions.items())}
    return StudyPicture(
        name=name,
        direction=study.experiment["objective"]["direction"],
        metric=metric,
        space=canonical_json(space),
        pictures=dict(sorted(pictures.items())),
    )


def unfinished(trial: RestoredTrial, distributions: Mapping[str, BaseDistribution], *, running: bool) -> Picture:
    """A trial without a record."""
    params = {**trial.proposal.hyperparameters, **trial.proposal.architecture.values}
    return Picture(
        number=trial.number,
        state=TrialState.RUNNING if running else TrialState.WAITING,
        **_known(params, distributions),
        attributes={NUMBER: trial.number, **_chosen(trial.proposal)},
        reports=trial.reports,
    )


def _finished(record: TrialRecord, distributions: Mapping[str, BaseDistribution], metric: str) -> Picture:
    best = record.best or {}
    measured = {name: one for name, one in best.items() if isinstance(one, int | float) and not isinstance(one, bool)}
    attributes = {
        NUMBER: record.number,
        "hash": record.hash,
        "seed": record.seed,
        "state": record.state,
        "ended because": record.reason,
        **_chosen(record),
        "all hyperparameters": record.hyperparameters,
        **{f"best {name}": one for name, one in measured.items()},
        "started": record.started,
        "ended": record.ended,
        "duration": record.duration,
        "micro_batch": record.micro_batch,
        "peak_memory": record.memory.get("measured"),
        "flags": sorted({flag["guard"] for flag in record.flags}),
    }
    state = STATES.get(record.state, TrialState.FAIL)
    lines = [line for line in record.learning_curve if line.get(metric) is not None and line.get("epoch") is not None]
    return Picture(
        number=record.number,
        state=state,
        **_known({**record.hyperparameters, **record.architecture.values}, distributions),
        attributes=_shown(attributes),
        value=record.value if state is not TrialState.FAIL else None,
        reports={int(line["epoch"] or 0): float(line[metric] or 0.0) for line in lines},
        started=_local(record.started),
        ended=_local(record.ended),
        system=CONSTANT if record.collapsed else {},
    )


def _chosen(of: Proposal | TrialRecord) -> dict[str, Any]:
    """Where the trial comes from, and how large it is."""
    origin = of.origin
    attributes = {
        "origin": origin.kind,
        "label": origin.label,
        "chosen because": origin.reason,
        "moved from": origin.moved_from,
        "parameters": of.architecture.num_parameters,
        "flops": of.architecture.flops,
    }
    return _shown(attributes)


def _shown(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What is missing is not shown."""
    return {name: plain(value) for name, value in attributes.items() if value is not None}


def _known(params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    """Those parameters that the study's space has, with their distributions."""
    known = {
        name: params[name] for name in distributions if name in params and _fits(distributions[name], params[name])
    }
    return {"params": known, "distributions": {name: distributions[name] for name in known}}


def _fits(distribution: BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return True  # the choices were made of all values
    return isinstance(value, int | float) and not isinstance(value, bool)


def _distributions(study: StudyView) -> dict[str, BaseDistribution]:
    """One distribution for each dimension and each hyper-parameter varied today, wide enough for every trial so far.

    SQLite refuses a study in which one name has two lists of choices, so they are made of all values that were tried.
    """
    proposals = [trial.proposal for trial in study.unfinished]
    sources: list[Mapping[str, Any]] = [
        *({**one.hyperparameters, **one.architecture.values} for one in study.trials),
        *({**one.hyperparameters, **one.architecture.values} for one in proposals),
    ]
    found: dict[str, BaseDistribution] = {}
    for name, values in study.plan["architectures"]["dimensions"].items():
        low = min([1, *values, *(one[name] for one in sources if name in one)])
        high = max([WIDEST, *values, *(one[name] for one in sources if name in one)])
        found[name] = IntDistribution(low, high, log=low >= 1)
    for name, content in study.experiment["search"].get("space", {}).items():
        found[name] = _distribution(content, [one[name] for one in sources if name in one])
    return found


def _distribution(content: Mapping[str, Any], values: Sequence[Any]) -> BaseDistribution:
    """Of the space as the experiment file writes it; Optuna's own is widened by the values that were tried."""
    if "choice" in content:
        choices = list(content["choice"])
        choices += [value for value in dict.fromkeys(values) if value not in choices]
        return CategoricalDistribution(choices)
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    kind = next(key for key in ("log_uniform", "uniform", "int") if key in content)
    low, high = min([content[kind][0], *numbers]), max([content[kind][1], *numbers])
    if kind == "int" and all(isinstance(value, int) for value in numbers):
        log = bool(content.get("log")) and low >= 1
        return IntDistribution(low, high, log=log)
    return FloatDistribution(float(low), float(high), log=kind == "log_uniform" and low > 0)


def _local(text: str | None) -> datetime | None:
    """Optuna keeps local time without a zone."""
    return None if text is None else datetime.fromisoformat(text).astimezone().replace(tzinfo=None)
