"""Analysis `results`: the best trials of studies, their noise, optimism and wasted time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scalecore.api.analysis import AnalysisResult
from scalecore.api.formatting import caution, measured, mixtures, number, shape
from scalecore.api.trials import StudyView, TrialRecord, TrialState
from scalecore_analysis.agreement import agreement
from scalecore_analysis.comparable import differences
from scalecore_analysis.edges import edges_of
from scalecore_analysis.groups import Group, comparable_groups, labelled_groups
from scalecore_analysis.options import ResultsOptions
from scalecore_analysis.paired import Paired, paired_with_best
from scalecore_analysis.runs import configurations, metric_of
from scalecore_analysis.studies import ratios

__all__ = ["ResultsAnalysis", "study_results"]


class ResultsAnalysis:
    """The results of studies, by groups of comparable ones."""

    def __init__(self, options: ResultsOptions) -> None:
        self._options = options

    def run(self, studies: Sequence[StudyView]) -> AnalysisResult:
        allow = self._options.allow
        groups = comparable_groups(studies, allow=allow)
        known = labelled_groups(groups)
        found = {name: study_results(study) for name, (study, _) in known.items()}
        within = {name: group for name, (_, group) in known.items()}
        notes = [
            "Tied: the 95 % confidence interval of the paired difference from the best (over windows) contains 0.",
            "Optimism: bootstrap estimate of how much better the best trial looks on the windows that selected it; "
            "after `scalecore confirm` also the estimate from fresh seeds.",
        ]
        notes += [f"{name}: {text}." for name, one in found.items() for text in one["mixtures"]]
        notes += [
            f"{name}: no ties and no optimism computed: {one['not paired']}."
            for name, one in found.items()
            if one["not paired"]
        ]
        notes += [
            group.titled(
                f"The studies differ in {', '.join(names)}, which `allow` permits: their values are not comparable."
            )
            for group in groups
            if (names := differences(group.studies))
        ]
        if len(groups) > 1:
            notes.insert(
                0,
                "Only studies of one group have the same data, target, split, model family and metric; values of "
                "different groups are not comparable.",
            )

        def column(name: str) -> dict[str, str]:
            """The cells that identify a study."""
            return {**within[name].head, "study": name}

        tables = {
            "Best of each study": [{**column(name), **one["best"]} for name, one in found.items()],
            "Trials": [{**column(name), **one["counts"]} for name, one in found.items()],
            "Tied with the best": [{**column(name), **row} for name, one in found.items() for row in one["tied"]],
            "Agreement of the optima": [
                {**head, **row}
                for head, names in _compared(groups, within)
                for row in agreement({name: found[name]["optimum"] for name in names})
            ],
            "Wasted": [{**column(name), **row} for name, one in found.items() for row in one["wasted"]],
            "Same values in different trials": [
                {**column(name), **row} for name, one in found.items() for row in one["identical"]
            ],
        }
        title = f"Results of {len(studies)} studies" if len(studies) > 1 else "Results"
        return AnalysisResult(
            title=f"{title} in {len(groups)} groups" if len(groups) > 1 else title,
            summary=[within[name].titled(_sentence(name, one)) for name, one in found.items()],
            tables=tables,
            data={name: {**within[name].head, **one} for name, one in found.items()},
            notes=notes,
        )


def _compared(groups: Sequence[Group], within: Mapping[str, Group]) -> Iterator[tuple[dict[str, str], list[str]]]:
    """The studies whose optima are compared: those of each group, and those of all groups.

    A place in the space, unlike a loss, is comparable between groups.
    """
    for group in groups:
        yield group.head, [name for name, one in within.items() if one is group]
    if len(groups) > 1:
        yield {"group": "all"}, list(within)


def study_results(study: StudyView) -> dict[str, Any]:
    """All numbers of one study, as plain JSON types."""
    best, metric = study.best, study.experiment["objective"]["metric"]
    completed = [trial for trial in study.counted if trial.state is TrialState.COMPLETED and trial.value is not None]
    paired: Paired | str = "no trial has completed"
    if best is not None:
        paired = paired_with_best(study, completed, best)
    tied = set(paired.tied) if isinstance(paired, Paired) else set()
    by_number = {trial.number: trial for trial in study.trials}
    return {
        "metric": metric,
        "caution": caution(best),
        "best": _best_row(study, best, paired),
        "counts": _counts(study),
        "tied": [_tied_row(row, by_number) for row in paired.rows if row["tied"]] if isinstance(paired, Paired) else [],
        "not paired": paired if isinstance(paired, str) else None,
        "optimum": {
            "best": None if best is None else _coordinates(study, best),
            "tied": [_coordinates(study, trial) for trial in study.trials if trial.number in tied],
        },
        "wasted": _wasted(study),
        "identical": _identical(completed),
        "mixtures": mixtures(study.counted),
    }


def _best_row(study: StudyView, best: TrialRecord | None, paired: Paired | str) -> dict[str, Any]:
    metric = study.experiment["objective"]["metric"]
    baseline = study.plan.data.best_baseline
    row: dict[str, Any] = dict.fromkeys(
        ("trial", metric, "low", "high", "tied", "optimism", "fresh seeds", "mean of them", "optimism by seeds")
    )
    row |= {"baseline": baseline.name if baseline else None, "its loss": baseline.loss if baseline else None}
    row |= {"better": None, "collapsed": None, "on edge": None, "architecture": None}
    if best is None:
        return row
    within = best.best and best.best.interval(metric)
    row |= {"trial": best.number, metric: best.value}
    row |= {"low": within and within.low, "high": within and within.high}
    loss = metric_of(best, "val_loss")
    if baseline is not None and baseline.loss is not None and loss is not None:
        row["better"] = loss < baseline.loss
    row["collapsed"] = best.collapsed
    row["on edge"] = ", ".join(f"{one['name']} {one['on edge']}" for one in edges_of(study, best) if one["on edge"])
    row["architecture"] = shape(best.architecture)
    if isinstance(paired, Paired):
        row |= {"tied": len(paired.tied), "optimism": paired.optimism}
    fresh = [one for one in configurations(study, metric) if one.fresh and one.searched is best]
    if fresh and best.value is not None:
        sign = 1.0 if study.experiment["objective"]["direction"] == "minimize" else -1.0
        row |= {"fresh seeds": len(fresh[0].values), "mean of them": fresh[0].mean}
        row["optimism by seeds"] = sign * (fresh[0].mean - best.value)
    return row


def _tied_row(row: Mapping[str, Any], trials: Mapping[int, TrialRecord]) -> dict[str, Any]:
    kept = {name: value for name, value in row.items() if name != "tied"}
    return kept | {"architecture": shape(trials[row["trial"]].architecture)}


def _counts(study: StudyView) -> dict[str, Any]:
    """The number of trials in every state (guard G27), and their durations."""
    states = Counter(str(trial.state) for trial in study.trials)
    seconds = sum(trial.duration or 0.0 for trial in study.trials)
    useless = sum(trial.duration or 0.0 for trial in study.trials if _waste(trial) is not None)
    return {
        "of": study.total,
        **{str(state): states[str(state)] for state in TrialState},
        "running": len(study.running),
        "collapsed": sum(trial.collapsed for trial in study.trials),
        "duplicates avoided": study.duplicates_avoided,
        "hours": seconds / 3600,
        "wasted hours": useless / 3600,
    }


def _waste(trial: TrialRecord) -> str | None:
    """Why a trial counts as wasted, or None. A pruned trial is not wasted."""
    if trial.state in (TrialState.COMPLETED, TrialState.PRUNED):
        return "predicts a constant [G09]" if trial.collapsed else None
    return str(trial.state)


def _wasted(study: StudyView) -> list[dict[str, Any]]:
    rows: dict[tuple[str, str | None], list[TrialRecord]] = {}
    for trial in study.trials:
        why = _waste(trial)
        if why is not None:
            rows.setdefault((why, trial.reason), []).append(trial)
    return [
        {
            "why": why,
            "trials": len(trials),
            "numbers": ", ".join(str(trial.number) for trial in trials),
            "hours": sum(trial.duration or 0.0 for trial in trials) / 3600,
            "reason": reason,
        }
        for (why, reason), trials in sorted(rows.items(), key=lambda one: -len(one[1]))
    ]


def _identical(completed: Sequence[TrialRecord]) -> list[dict[str, Any]]:
    """Trials with exactly equal values: constant predictions, or one result stored twice (guard G09)."""
    groups: dict[float, list[TrialRecord]] = {}
    for trial in completed:
        if trial.value is not None:
            groups.setdefault(trial.value, []).append(trial)
    return [
        {"value": value, "trials": len(trials), "numbers": ", ".join(str(trial.number) for trial in trials)}
        for value, trials in sorted(groups.items())
        if len(trials) > 1
    ]


def _coordinates(study: StudyView, trial: TrialRecord) -> dict[str, float]:
    """A trial's coordinates, in numbers that are comparable between budgets."""
    known = {ratio.name: ratio.of(trial.architecture) for ratio in ratios(study).values()}
    found = {name: value for name, value in known.items() if value is not None}
    for name, value in trial.hyperparameters.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            found[name] = float(value)
    return found


def _sentence(name: str, found: Mapping[str, Any]) -> str:
    best = found["best"]
    if best["trial"] is None:
        return f"{name}: no trial has completed."
    metric = found["metric"]
    within = None if best["low"] is None else {"low": best["low"], "high": best["high"]}
    text = f"{name}: trial {best['trial']}, {metric} {measured(best[metric], within)}"
    if best["tied"] is not None:
        others = best["tied"] - 1
        text += f", tied with {others} other trial{'s' * (others > 1)}" if others else ", no ties"
    if best["better"] is not None:
        text += f"; {'better' if best['better'] else 'NOT better'} than the best baseline ({best['baseline']} "
        text += f"{number(best['its loss'])})"
    if found["caution"]:
        text += f"; {found['caution']}"
    return f"{text}."
