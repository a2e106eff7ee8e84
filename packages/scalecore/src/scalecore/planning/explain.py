"""Explain a search: forced trials, phase, coverage, redirections, and why the last trial was chosen.

Computed from the plan and the journal only, so that `plan` and `status` agree, also while the study runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from scalecore.api import formatting
from scalecore.api.files import plain
from scalecore.api.plan_report import GridReport, PlanReport
from scalecore.api.strategy import SearchStrategy, SupportsExplain
from scalecore.api.trials import Proposal, TrialState
from scalecore.store.asked_trial import AskedTrial
from scalecore.store.state import StudyState

NOT_COUNTED = ("replicate",)
"""Origins of trials that repeat a point on purpose and do not add coverage."""


def explain_search(plan: PlanReport, state: StudyState) -> dict[str, Any]:
    """Return the explanation as plain JSON types; the study may have no trial yet."""
    trials = [trial for _, trial in sorted(state.trials.items()) if not trial.retrained]
    searched = [trial for trial in trials if trial.proposal.origin.kind not in NOT_COUNTED]
    shared = Counter(proposal.architecture.id for proposal in plan.planned)
    forced = [_forced(proposal, searched, alone=shared[proposal.architecture.id] == 1) for proposal in plan.planned]
    # The phase reported by the strategy, or else inferred from the journal.
    phase = state.phase or _phase(forced, searched)
    result: dict[str, Any] = plain(
        {
            "phase": phase,
            "forced": forced,
            "origins": Counter(trial.proposal.origin.kind for trial in trials),
            "coverage": _coverage(plan.architectures, searched),
            "duplicates_avoided": state.duplicates_avoided,
            "moved": Counter(trial.proposal.origin.rule for trial in trials if trial.proposal.origin.rule),
            "strategy": None if state.explained is None else _healthy(state.explained, state),
            "imported": _imported(state),
            "last": _last(trials[-1]) if trials else None,
        }
    )
    return result


def explain_lines(search: Mapping[str, Any]) -> list[str]:
    """Return the result of `explain_search` as text."""
    coverage = search["coverage"]
    origins = ", ".join(f"{count} {kind}" for kind, count in search["origins"].items()) or "none yet"
    lines = [f"search: phase {search['phase']}; trials by origin: {origins}"]
    if search["forced"]:
        done = sum(one["state"] in ("completed", "pruned") for one in search["forced"])
        lines.append(f"forced trials: {done} of {len(search['forced'])} done")
        for one in search["forced"]:
            trial = "" if one["trial"] is None else f", trial {one['trial']}"
            lines.append(f"  {one['label']}: {one['state']}{trial}; {one['shape']}")
    lines.append(f"coverage (tried/feasible): {coverage['tried']}/{coverage['feasible']} architectures")
    for name, values in coverage["dimensions"].items():
        shown = ", ".join(f"{one['value']}: {one['tried']}/{one['feasible']}" for one in values)
        lines.append(f"  {name}  {shown}")
    if coverage["pairs"]:
        shown = ", ".join(f"{one['pair']} {one['tried']}/{one['feasible']}" for one in coverage["pairs"])
        lines.append(f"  pairs of values: {shown}")
    moved = ", ".join(f"{count} by {rule}" for rule, count in search["moved"].items())
    lines.append(f"duplicates avoided: {search['duplicates_avoided']}; suggestions moved: {moved or 'none'}")
    if search["imported"]["count"]:
        one = search["imported"]
        proven = f"{one['comparable']} with verified equal data, model, objective and training"
        lines.append(f"imported results, used by the search but not counted as trials: {one['count']}; {proven}")
    lines += _strategy_lines(search["strategy"])
    last = search["last"]
    if last is not None:
        label = f" {last['label']}" if last["label"] else ""
        lines.append(f"last proposed: trial {last['number']}, {last['origin']}{label}; {last['shape']}")
        if last["reason"]:
            lines.append(f"  because: {last['reason']}")
        if last["moved_from"]:
            lines.append(f"  moved from: {formatting.settings(last['moved_from'])}")
    return lines


def strategy_plain(strategy: SearchStrategy, state: StudyState) -> dict[str, Any] | None:
    """Return the strategy's own report: its method, the phase of the next trial, and the trial that it recommends.

    None if the strategy does not implement `SupportsExplain`.
    """
    if not isinstance(strategy, SupportsExplain):
        return None
    report = strategy.explain()
    one = report.recommended
    recommended: dict[str, Any] | None = None
    if one is not None:
        shape = formatting.shape(one.architecture)
        recommended = {key: getattr(one, key) for key in ("number", "observed", "value", "deviation")} | {
            "shape": shape
        }
    result: dict[str, Any] = plain({"method": report.method, "phase": report.phase, "recommended": recommended})
    return _healthy(result, state)


def _healthy(report: Mapping[str, Any], state: StudyState) -> dict[str, Any]:
    """Drop a recommended trial with a censored value (G09, G19), whatever the strategy."""
    one = report["recommended"]
    trial = None if one is None else state.trials.get(one["number"])
    censored = trial is not None and trial.outcome is not None and trial.outcome.censored
    # The report is that of the end of the last run; the phase may have changed since.
    return {**report, "phase": state.phase or report.get("phase"), "recommended": None if censored else one}


def _strategy_lines(report: Mapping[str, Any] | None) -> list[str]:
    if report is None:
        return []
    lines = [f"strategy: {report['method']}"]
    one = report["recommended"]
    if one is not None:
        expected, deviation = one["value"], formatting.number(one["deviation"], like=one["value"])
        spread = "" if one["deviation"] is None else f", standard deviation {deviation}"
        observed = "" if one["observed"] is None else f"; observed {formatting.number(one['observed'])}"
        lines.append(
            f"recommended by the strategy: trial {one['number']}, {one['shape']}, expected "
            f"{formatting.number(expected)}{spread}{observed}"
        )
    return lines


def _forced(proposal: Proposal, trials: Sequence[AskedTrial], *, alone: bool) -> dict[str, Any]:
    """Return a forced design with its last trial; state `to come` if it has none.

    Designs of one architecture differ in their hyper-parameters; `alone` is False for them.
    """
    mine = [
        trial
        for trial in trials
        if trial.proposal.origin.kind == "forced"
        and trial.proposal.architecture.id == proposal.architecture.id
        and (alone or trial.proposal.hyperparameters == proposal.hyperparameters)
    ]
    # A failed trial is retried once; the one with a result counts.
    done = [t for t in mine if t.record is not None and t.record.state in (TrialState.COMPLETED, TrialState.PRUNED)]
    trial = (done or mine)[-1] if mine else None
    state = "to come" if trial is None else "unfinished" if trial.record is None else str(trial.record.state)
    return {
        "label": proposal.origin.label,
        "shape": formatting.shape(proposal.architecture),
        "architecture": proposal.architecture.values,
        "state": state,
        "trial": None if trial is None else trial.number,
    }


def _phase(forced: Sequence[Mapping[str, Any]], trials: Sequence[AskedTrial]) -> str:
    """Infer the phase from the journal: `forced` while a forced design has no trial, else the last trial's origin."""
    if any(one["trial"] is None for one in forced):
        return "forced"
    # The origin of a redirected trial does not name its phase.
    kinds = [trial.proposal.origin.kind for trial in trials]
    known = [kind for kind in kinds if kind in ("startup", "sampled")]
    if known:
        return known[-1]
    return "forced" if kinds and forced else "not begun" if not kinds else kinds[-1]


def _coverage(grid: GridReport, trials: Sequence[AskedTrial]) -> dict[str, Any]:
    """Count how much of the current grid was tried: architectures, values of each dimension, pairs of values."""
    names = list(grid.dimensions)
    feasible = {_key(shape.values, names) for shape in grid.architectures}
    keys = [_key(trial.proposal.architecture.values, names) for trial in trials]
    tried = feasible.intersection(keys)
    visits = Counter(key for key in keys if key in feasible)
    dimensions = {}
    for column, name in enumerate(names):
        dimensions[name] = [
            {
                "value": value,
                "feasible": sum(key[column] == value for key in feasible),
                "tried": sum(key[column] == value for key in tried),
                "trials": sum(key[column] == value for key in keys),
            }
            for value in grid.dimensions[name]
        ]
    varying = [column for column, name in enumerate(names) if len(grid.dimensions[name]) > 1]
    pairs = []
    for first, second in combinations(varying, 2):
        possible = {(key[first], key[second]) for key in feasible}
        met = {(key[first], key[second]) for key in tried}
        pairs.append(
            {
                "pair": f"{names[first]} x {names[second]}",
                "dimensions": [names[first], names[second]],
                "feasible": len(possible),
                "tried": len(met),
                "untried": [list(pair) for pair in sorted(possible - met)],
            }
        )
    return {
        "feasible": len(feasible),
        "tried": len(tried),
        "most_visits": max(visits.values(), default=0),
        "off_grid": sum(key not in feasible for key in keys),
        "dimensions": dimensions,
        "pairs": pairs,
    }


def _key(values: Mapping[str, Any], names: Sequence[str]) -> tuple[int | None, ...]:
    return tuple(values.get(name) for name in names)


def _imported(state: StudyState) -> dict[str, int]:
    found = state.imported.values()
    return {"count": len(found), "comparable": sum(one.comparable for one in found)}


def _last(trial: AskedTrial) -> dict[str, Any]:
    origin = trial.proposal.origin
    return {
        "number": trial.number,
        "origin": origin.kind,
        "label": origin.label,
        "reason": origin.reason,
        "moved_from": origin.moved_from,
        "shape": formatting.shape(trial.proposal.architecture),
        "hyperparameters": trial.proposal.hyperparameters,
    }
