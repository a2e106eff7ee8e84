"""Analysis `confirm`: retrain the best trials of each study on fresh seeds and test whether they differ.

`confirm: {top: 3, seeds: 5}` in an experiment file is this analysis, run before all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scalecore.api import formatting
from scalecore.api.analysis import AnalysisPlan, AnalysisResult, PlannedTraining, TrainingContext
from scalecore.api.engine import forecast, open_study
from scalecore.api.errors import DataError
from scalecore.api.files import read_json
from scalecore.api.studies import StudyFolder
from scalecore.api.trials import StudyEnd, StudyView, TrialRecord, best_first
from scalecore_analysis.confirmation.confirm import RESULT_FILE, confirm
from scalecore_analysis.confirmation.text import sentences_of
from scalecore_analysis.options import ConfirmOptions
from scalecore_analysis.planned_trainings import best_trials, planned_best, planned_training

__all__ = ["ConfirmAnalysis"]


class ConfirmAnalysis:
    """Satisfies `scalecore.api.analysis.Analysis` and `SupportsTraining`."""

    def __init__(self, options: ConfirmOptions) -> None:
        self._options = options

    def planned(self, studies: Sequence[StudyView]) -> AnalysisResult:
        """The missing replicates and their forecast durations."""
        rows: list[dict[str, Any]] = []
        missing, total, unknown = 0, 0.0, 0
        for study in studies:
            for trial in best_first(study.counted, direction=study.direction)[: self._options.top]:
                done = planned_training(study, trial, seeds=self._options.seeds).done
                left, each = self._options.seeds - done, _seconds(study, trial)
                missing += left
                total += (each or 0.0) * left
                unknown += left if each is None else 0
                rows.append(
                    {
                        "study": study.name,
                        "trial": trial.number,
                        "architecture": formatting.shape(trial.architecture),
                        "seeds": self._options.seeds,
                        "done": done,
                        "each": formatting.duration(each),
                    }
                )
        cost = f"{missing} trainings left, about {formatting.duration(total)} of trial time in total"
        return AnalysisResult(
            title="Plan of the confirmation",
            summary=[cost + (f"; duration of {unknown} trainings unknown" if unknown else "")],
            tables={"trainings": rows},
            data={"trainings": missing, "seconds": total if not unknown else None},
        )

    def plan(self, studies: Sequence[StudyView], *, wanted: Sequence[PlannedTraining]) -> AnalysisPlan:
        """The replicates of the best trials, known once a search is over."""
        trainings = []
        for study in studies:
            ranked = best_trials(study)
            top = self._options.top if ranked is None else min(self._options.top, len(ranked))
            trainings += [planned_best(study, rank, seeds=self._options.seeds) for rank in range(top)]
        return AnalysisPlan(trainings=trainings)

    def train(self, studies: Sequence[StudyView], context: TrainingContext) -> StudyEnd:
        """Train the missing replicates, study by study; the next call resumes a stopped training."""
        for one in studies:
            others = [study.folder for study in studies if study is not one]
            with open_study(StudyFolder(one.folder), context) as study:
                done = confirm(study, top=self._options.top, seeds=self._options.seeds, elsewhere=others)
            if done.end is not StudyEnd.COMPLETED:
                return done.end
        return StudyEnd.COMPLETED

    def run(self, studies: Sequence[StudyView]) -> AnalysisResult:
        """The ranking of the retrained trials of each study, with a verdict on each difference from the best."""
        contents = [_content(study) for study in studies]
        several = len(contents) > 1
        rows = [
            {
                **({"study": content["study"]} if several else {}),
                "rank": row["rank"],
                "trial": row["trial"],
                "architecture": " ".join(f"{name}={value}" for name, value in row["architecture"].items()),
                "seeds": row["seeds"],
                "mean": row["mean"],
                **dict(zip(("low", "high"), row["interval"] or (None, None), strict=True)),
                "SD of seeds": row["between_seeds"],
                "search value": row["claimed"],
                "optimism": row["optimism"],
                "verdict": row["verdict"] or "best",
            }
            for content in contents
            for row in content["validation"]["rows"]
        ]
        return AnalysisResult(
            title="Confirmation on fresh seeds",
            summary=[
                f"{content['study']}: {text}" if several else text
                for content in contents
                for text in sentences_of(content)
            ],
            tables={"Retrained trials": rows},
            data={"studies": contents},
            notes=[
                "Means of the objective over replicates on fresh seeds. Their intervals contain the variance between "
                "seeds and, for losses, over windows. The verdict compares a trial with the best one.",
            ],
        )


def _content(study: StudyView) -> dict[str, Any]:
    path = StudyFolder(study.folder).confirmation / RESULT_FILE
    found = read_json(path)
    if not isinstance(found, dict):
        raise DataError(f"{path}: missing or damaged; `scalecore confirm {study.folder}` writes it again")
    return found


def _seconds(study: StudyView, trial: TrialRecord) -> float | None:
    """Forecast duration of one training, from the finished trials."""
    windows = study.plan.data.parts["train"].windows
    epochs = int(trial.hyperparameters.get("epochs") or len(trial.learning_curve))
    found = forecast([trial.architecture], study.trials, windows=windows, epochs=epochs)
    return found.seconds[trial.architecture.id]
