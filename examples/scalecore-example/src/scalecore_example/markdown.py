"""A table of all trials in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scalecore.api.logger import Logger, LoggerContext

if TYPE_CHECKING:
    from scalecore.api.trials import StudyView, TrialRecord
    from scalecore_example.options import MarkdownOptions

__all__ = ["MarkdownLogger"]


class MarkdownLogger(Logger):
    """Writes the whole file anew after each trial, from what the study holds: nothing is lost or doubled by a kill.

    Methods of `Logger` that it does not override do nothing. An exception here would switch the logger off, and cost
    the study nothing.
    """

    def __init__(self, options: MarkdownOptions, context: LoggerContext) -> None:
        self._path = context.folder / options.file

    def study_started(self, study: StudyView) -> None:
        self._write(study)

    def trial_finished(self, record: TrialRecord, study: StudyView) -> None:
        self._write(study)

    def study_finished(self, study: StudyView) -> None:
        self._write(study)

    def _write(self, study: StudyView) -> None:
        metric = str(study.experiment["objective"]["metric"])
        lines = [
            f"# {_cell(study.name)}",
            "",
            f"{len(study.trials)} of {study.total} trials, {study.end or 'running'}.",
            "",
            f"| trial | state | {metric} | parameters | shape | hyper-parameters | origin |",
            "|---|---|---|---|---|---|---|",
            *(_row(record, best=study.best) for record in study.trials),
        ]
        # Replaced in one step, so that a reader never sees half a table.
        draft = self._path.with_name(f".{self._path.name}.new")
        draft.write_text("\n".join(lines) + "\n", encoding="utf-8")
        draft.replace(self._path)


def _row(record: TrialRecord, *, best: TrialRecord | None) -> str:
    # A trial without a value has a reason: what is missing is never a number.
    result = _cell(record.reason or "") if record.value is None else f"{record.value:.4f}"
    if best is not None and best.number == record.number:
        result = f"**{result}**"
    values = " ".join(f"{name}={_number(value)}" for name, value in record.hyperparameters.items())
    cells = (
        str(record.number),
        str(record.state),
        result,
        f"{record.architecture.num_parameters:,}",
        _cell(record.architecture.id),
        _cell(values),
        _cell(record.origin.reason or record.origin.kind),
    )
    return f"| {' | '.join(cells)} |"


def _number(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _cell(text: str) -> str:
    """Texts come from plugins, paths and logs: no line end, no bar, no HTML and no image gets out of its cell."""
    return " ".join(text.split()).translate({ord(sign): f"&#{ord(sign)};" for sign in "|<>[]`"})
