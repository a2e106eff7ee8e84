"""Changes allowed when a study resumes, and the past trials that still fit (guards G22, G34).

The search may change: its grid, space, strategy and number of trials. Settings that decide a trial's result may not,
because trials would no longer be comparable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from attrs import evolve, frozen

from scalecore.api.components import ModelRecord
from scalecore.api.space import Distribution, Value
from scalecore.api.trials import RestoredTrial
from scalecore.config.experiment_json import to_plain
from scalecore.config.import_paths import without_folders
from scalecore.config.resolved import Resolved
from scalecore.planning.plan import Plan
from scalecore.plugins.metadata import canonical_name
from scalecore.store.asked_trial import AskedTrial
from scalecore.store.event_parts import Change
from scalecore.store.identity import Unbound, binding, by_name, model_content, unbound
from scalecore.store.kept_study import move_of
from scalecore.store.state import StudyState


@frozen(kw_only=True)
class Continuation:
    """Differences between an experiment and the study that it resumes."""

    allowed: tuple[Change, ...] = ()
    """Changes of the search: shown, stored and applied."""
    refused: tuple[Change, ...] = ()
    """Changes of settings that decide results."""


def compare(
    was: Mapping[str, Any],
    now: Mapping[str, Any],
    *,
    unbound: Unbound,
    grid: Sequence[str] = (),
    providers: Mapping[str, str] = MappingProxyType({}),
    versions: Iterable[str] = (),
) -> Continuation:
    """Compare two resolved experiments; `grid` names the model's options that only decide which shapes exist.

    `providers` are the current distributions of dataset, model and search, `versions` all distributions that the study
    has run with: a component of the same distribution is equal whether or not the file names the distribution.

    A hyper-parameter that moves between `search.space` and `training.hyperparameters` changes the space: the record of
    a past trial has its value in both cases.
    """
    if not was:
        return Continuation()
    was, now = unbound.strip(was), unbound.strip(now)
    for kind, provider in providers.items():
        now = {**now, kind: _named_as(was[kind], now[kind], provider=provider, versions=versions)}
    was, now = ({**one, "search": by_name("search", one["search"])} for one in (was, now))
    allowed = differences(was["search"], now["search"], "search.")
    refused: list[Change] = []
    varied = {*was["search"].get("space", {}), *now["search"].get("space", {})}
    free = {f"training.hyperparameters.{name}" for name in varied}
    if by_name("model", was["model"])["use"] == by_name("model", now["model"])["use"]:
        free |= {f"model.{name}" for name in grid}
    for change in differences(binding(was, unbound), binding(now, unbound)):
        if not change.key.startswith("search."):
            (allowed if change.key in free else refused).append(change)
    return Continuation(allowed=tuple(allowed), refused=tuple(refused))


def _named_as(
    was: Mapping[str, Any], now: Mapping[str, Any], *, provider: str, versions: Iterable[str]
) -> Mapping[str, Any]:
    distribution, _, name = str(was["use"]).rpartition("/")
    providers = (distribution,) if distribution else versions
    same = canonical_name(provider) in map(canonical_name, providers)
    same = same and name == str(now["use"]).rpartition("/")[2]
    return {**now, "use": was["use"]} if same else now


def compare_study(state: StudyState, resolved: Resolved, *, folder: Path) -> Continuation:
    """Compare the study in `folder` with a resolved experiment."""
    if not state.experiment:
        return Continuation()
    now = to_plain(resolved)
    if state.model_files is not None:
        was_model, now["model"] = state.model_files, model_content(resolved)
    else:
        # Version 0.1 stored only the paths of a model's files: they are unchanged if they moved with the study.
        was_model = move_of(state.experiment, state.plan, folder).apply(state.experiment["model"])
    was = {**state.experiment, "model": was_model}
    # A file of an import path may have moved; its content is code and compared as such (guard G26).
    was, now = ({**one, "training": without_folders(one["training"])} for one in (was, now))
    return compare(
        was,
        now,
        unbound=unbound(resolved),
        grid=grid_options(resolved),
        providers={kind: getattr(resolved, kind).provider for kind in ("dataset", "model", "search")},
        versions=state.versions,
    )


def grid_options(resolved: Resolved) -> tuple[str, ...]:
    """Return the options of the study's model that only decide which shapes exist."""
    record = resolved.model.record
    return record.grid if isinstance(record, ModelRecord) else ()


def misfits(state: StudyState, plan: Plan) -> dict[int, str]:
    """Return the past trials outside the current grid or space, by number, with the reason."""
    space = plan.resolved.experiment.search.space
    feasible = {architecture.id for architecture in plan.grid.architectures}
    found = {}
    for number, trial in sorted(state.trials.items()):
        if trial.retrained:
            continue
        reason = misfit(trial, feasible=feasible, space=space, fixed=plan.fixed)
        if reason is not None:
            found[number] = reason
    return found


def misfit(
    trial: AskedTrial, *, feasible: set[str], space: Mapping[str, Distribution], fixed: Mapping[str, Value]
) -> str | None:
    """Return why a past trial, with the values that it used, does not fit; None if it fits."""
    if trial.proposal.architecture.id not in feasible:
        return f"{trial.proposal.architecture.id} is no longer a feasible architecture"
    used = trial.hyperparameters
    for name, distribution in space.items():
        if name not in used:
            return f"it has no {name}"
        if not distribution.contains(used[name]):
            return f"{name}={used[name]!r} is outside the current space"
    for name, value in fixed.items():
        if name in used and used[name] != value:
            return f"{name}={used[name]!r}, but it is now fixed at {value!r}"
    return None


def restored_today(
    state: StudyState, plan: Plan, reports: Callable[[AskedTrial], Mapping[int, float]]
) -> list[RestoredTrial]:
    """Return the results from which a strategy restores itself: imported ones, then all trials.

    Imported results have negative numbers, the latest -1. A trial that fits has its values of the hyper-parameters that
    are varied now.
    """
    space = plan.resolved.experiment.search.space
    left_out = misfits(state, plan)
    count = len(state.imported)
    trials = [one.restored(index - count, space=space) for index, one in enumerate(state.imported.values())]
    for trial in state.restored(reports):
        if trial.number not in left_out:
            used = state.trials[trial.number].hyperparameters
            proposal = evolve(trial.proposal, hyperparameters={name: used[name] for name in space})
            trials.append(evolve(trial, proposal=proposal))
        else:
            trials.append(trial)
    return trials


def continuation_lines(changes: Sequence[Change], left_out: Mapping[Any, str], trials: int) -> list[str]:
    """Return the allowed changes and their effect on past trials as text; empty without changes."""
    if not changes:
        return []
    lines = ["the search changed since the last run of the study (study -> file):"]
    lines += [f"  {change.text()}" for change in changes]
    if trials:
        lines.append(f"  {trials - len(left_out)} of {trials} past trials still fit and count")
        lines += [f"  trial {number} no longer counts: {reason}" for number, reason in sorted(left_out.items())]
    return lines


def differences(was: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[Change]:
    """Return the leaves that differ, by dotted path."""
    changes: list[Change] = []
    for key in sorted({*was, *now}):
        before, after, path = was.get(key), now.get(key), f"{prefix}{key}"
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            changes += differences(before, after, f"{path}.")
        elif before != after:
            changes.append(Change(key=path, before=before, after=after))
    return changes
