"""Analysis `compare`: is one study better than another? Search against a fixed configuration, tiers, model families."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from scalecore.api.analysis import AnalysisPlan, AnalysisResult, PlannedTraining
from scalecore.api.errors import RefusedError
from scalecore.api.metrics import LARGE_IS_GOOD, SMALL_IS_GOOD
from scalecore.api.statistics import MIN_SEEDS
from scalecore.api.trials import StudyView
from scalecore_analysis.comparing.figures import BY_FEATURES, DIFFERENCES, comparison_figures
from scalecore_analysis.comparing.judged import JudgedComparison, judged
from scalecore_analysis.comparing.pairs import Pairs, pair_up
from scalecore_analysis.comparing.profile import HARD, contrast, profiles
from scalecore_analysis.comparing.tables import (
    differing_rows,
    feature_rows,
    missing_rows,
    missing_text,
    overall_rows,
    study_rows,
)
from scalecore_analysis.comparing.verdicts import Compared, Rules, compared, least_spreads
from scalecore_analysis.options import CompareOptions
from scalecore_analysis.report.html import figure_files, section_page
from scalecore_analysis.report.paper import table_files
from scalecore_analysis.report.section import Row, Section
from scalecore_analysis.vega import Spec

__all__ = ["CompareAnalysis"]


class CompareAnalysis:
    """Compares studies in pairs, by window; refuses studies that predict different things."""

    def __init__(self, options: CompareOptions) -> None:
        self._options = options

    def plan(self, studies: Sequence[StudyView], *, wanted: Sequence[PlannedTraining]) -> AnalysisPlan:
        """The comparisons, and whether the analyses before this one train the fresh seeds that they need."""
        groups = self._pairs(studies).groups
        pairs = [(other, group.reference) for group in groups for other in group.others]
        contrasts = Counter(contrast(*pair) for pair in pairs)
        seeds = {name: 0 for pair in pairs for name in (pair[0].study.name, pair[1].study.name)}
        for one in wanted:
            seeds[one.study] = max(seeds.get(one.study, 0), one.seeds)
        fewest = min(seeds.values())
        lines = [f"{text}{f' ({count} times)' if count > 1 else ''}" for text, count in contrasts.items()]
        if fewest < MIN_SEEDS:
            lines.append(
                f"verdicts: inconclusive, because {fewest} fresh seeds of a study are planned and a verdict needs "
                f"{MIN_SEEDS}; add `confirm: {{top: 1, seeds: 5}}` to the experiment file"
            )
        else:
            least = least_spreads(fewest, comparisons=len(pairs))
            lines.append(
                f"smallest detectable difference: {least:.2g} standard deviations between seeds, with {fewest} seeds "
                "of each study; the choice of windows adds to it"
            )
        return AnalysisPlan(lines=lines, data={"comparisons": dict(contrasts), "seeds": fewest})

    def _pairs(self, studies: Sequence[StudyView]) -> Pairs:
        options = self._options
        return pair_up(profiles(studies), reference=options.reference, by=options.by, allow=options.allow)

    def run(self, studies: Sequence[StudyView]) -> AnalysisResult:
        options, pairs = self._options, self._pairs(studies)
        made: list[Compared] = []
        left_out = list(pairs.left_out)
        for group in pairs.groups:
            metric = options.metric or group.reference.study.metric
            if metric not in (*SMALL_IS_GOOD, *LARGE_IS_GOOD, group.reference.study.metric):
                raise RefusedError(
                    f"{metric}: unknown whether larger is better; name a metric of scalecore, or the objective"
                )
            rules = Rules(
                metric=metric,
                margin=options.margin,
                min_samples=options.min_samples,
                other_labels=bool({"labels", "target"} & set(options.allow)),
            )
            for one in compared(group, rules):
                made += [one] if isinstance(one, Compared) else []
                left_out += [] if isinstance(one, Compared) else [one]
        if not made:
            lines = [f"  {profile.label}: {reason}" for profile, reason in left_out]
            raise RefusedError("\n".join(["no two studies can be compared:", *lines]))
        found = judged(made)
        figures = comparison_figures(found)
        tables = {
            "Comparisons": [{"number": number, **one.row()} for number, one in enumerate(found, 1)],
            "Verdicts by comparison": overall_rows(found),
            "Loss against number of features": feature_rows(found),
            "Missing for a verdict": missing_rows(found),
            "Studies": study_rows(found),
            "What differs": differing_rows(found),
            "Not compared": [{"study": profile.label, "reason": reason} for profile, reason in left_out],
        }
        shown = {title: _without_empty(rows) for title, rows in tables.items() if rows}
        title, sentence = f"Comparison of {len(studies)} studies", _overview(found)
        text = [*(one.sentence() for one in found), *filter(None, [missing_text(found)])]
        notes = _notes(found)
        sections = _sections(text, shown, figures, notes)
        return AnalysisResult(
            title=title,
            summary=[sentence, *text],
            tables=shown,
            data=_data(found),
            notes=notes,
            files={
                "compare.html": section_page(title, sentence, sections),
                **figure_files(figures, options.figures),
                **table_files(sections, options.tables, source=title),
            },
        )


def _sections(
    text: Sequence[str], tables: Mapping[str, Sequence[Row]], figures: Mapping[str, Spec], notes: Sequence[str]
) -> list[Section]:
    """The page, with the sentences above the first table."""
    chapters: dict[str, tuple[Sequence[str], tuple[str, ...]]] = {
        "Verdicts": (text, ("Comparisons", "Verdicts by comparison", "Missing for a verdict", DIFFERENCES)),
        "Features": ((), ("Loss against number of features", BY_FEATURES)),
        "Setup": (notes, ("Studies", "What differs", "Not compared")),
    }
    return [
        Section(
            title=title,
            text=sentences,
            tables={name: tables[name] for name in names if name in tables},
            figures={name: figures[name] for name in names if name in figures},
        )
        for title, (sentences, names) in chapters.items()
        if any(name in tables for name in names)
    ]


def _overview(found: Sequence[JudgedComparison]) -> str:
    counts = Counter(one.verdict for one in found)
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    return f"{len(found)} comparison{'s' * (len(found) > 1)}: {verdicts}."


def _without_empty(rows: Sequence[Row]) -> list[Row]:
    """The rows without columns that are empty in all of them."""
    names = [name for name in rows[0] if any(row.get(name) is not None for row in rows)]
    return [{name: row.get(name) for name in names} for row in rows]


def _data(found: Sequence[JudgedComparison]) -> Row:
    """All numbers by comparison, with the trainings that they were computed from (guard G13)."""
    rows = []
    for one in found:
        sides = {"study": one.compared.study, "reference": one.compared.reference}
        trainings = {
            name: {
                "folder": str(side.profile.study.folder),
                "numbers": [run.number for run in side.runs],
                "hashes": [run.hash for run in side.runs],
                "values": list(values),
            }
            for (name, side), values in zip(sides.items(), one.compared.values, strict=True)
        }
        rows.append(
            {
                **one.row(),
                "metric": one.compared.metric,
                "fresh": one.compared.fresh,
                "comparisons": one.comparisons,
                "left out": list(one.compared.left_out),
                "margin from": one.compared.margin_from,
                "trainings": trainings,
            }
        )
    return {"comparisons": rows}


def _notes(found: Sequence[JudgedComparison]) -> list[str]:
    count = len(found)
    together = f" for all {count} comparisons together (Bonferroni)" if count > 1 else ""
    notes = [
        "difference: the study less its reference, on the same windows. low, high: the 95 % interval"
        f"{together}, over seeds and windows; without fresh seeds over windows only, for each comparison alone.",
        "better, worse: the interval excludes 0. equivalent: both one-sided tests at 5 %"
        f"{together} reject a difference of the margin. detectable: the difference found in 80 % of repetitions.",
    ]
    if any(one.compared.margin_from == "default" for one in found):
        notes.append(
            "The default margin is the larger of half a percent of the reference and the standard deviation between "
            "seeds. Set `guards: {margin: ...}` before the studies, or the option `margin`."
        )
    if any(not side.profile.fixed for one in found for side in (one.compared.study, one.compared.reference)):
        notes.append(
            "The searches chose their configurations on the windows of this comparison, so a search is a little "
            "optimistic even with fresh seeds, and more so the more trials it had. `scalecore evaluate` on the test "
            "windows is not."
        )
    notes += [
        f"{one.compared.study.profile.label} against {one.compared.reference.profile.label}: the interval covers seeds "
        f"only, because {one.compared.note}."
        for one in found
        if one.compared.note
    ]
    notes += [
        f"{label}: every training predicts a constant, so its value is not a valid result."
        for label in dict.fromkeys(
            side.profile.label
            for one in found
            for side in (one.compared.study, one.compared.reference)
            if all(run.collapsed for run in side.runs)
        )
    ]
    notes += [
        f"{one.compared.study.profile.label} and {one.compared.reference.profile.label} differ in {name}, which "
        "`allow` permits: their values are not comparable."
        for one in found
        for name in HARD
        if name in one.compared.study.profile.differences(one.compared.reference.profile)
    ]
    return notes
