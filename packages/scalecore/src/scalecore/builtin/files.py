"""Logger `files`: the files of a study, each replaced atomically."""

from __future__ import annotations

from scalecore.api.files import read_json, write_json, write_text
from scalecore.api.logger import Logger, LoggerContext
from scalecore.api.trials import Progress, StudyView, TrialRecord
from scalecore.builtin.options import FilesOptions
from scalecore.builtin.rewrite_schedule import Rewriting
from scalecore.builtin.study_files import study_summary, trial_file
from scalecore.builtin.summary_page import summary_markdown


class FilesLogger(Logger):
    """Writes one file per trial when it ends, and the files of the study every few seconds and at the end of a run.

    All content is derived from the study, so that the next start writes what a crash left out.
    """

    def __init__(self, options: FilesOptions, context: LoggerContext) -> None:
        self._folder = options.path or context.folder
        self._study: StudyView | None = None
        self._unwritten: list[TrialRecord] = []
        self._trials = Rewriting(self._write_trials, every=0.0)
        self._rewriting = Rewriting(self._write_study)

    def study_started(self, study: StudyView) -> None:
        self._unwritten, self._study = list(study.trials), study
        self._trials.changed(all_of_it=True)
        self._rewriting.changed(all_of_it=True)

    def trial_finished(self, record: TrialRecord, study: StudyView) -> None:
        if record.retrained:  # the tables are those of the search
            return
        self._unwritten.append(record)
        self._study = study
        self._trials.changed()
        self._rewriting.changed()

    def progress(self, progress: Progress) -> None:
        self._trials.look()
        self._rewriting.look()

    def take_remarks(self) -> list[tuple[str, str]]:
        return [*self._trials.take_remarks(), *self._rewriting.take_remarks()]

    def study_finished(self, study: StudyView) -> None:
        self._study = study
        self._trials.finish()
        self._rewriting.finish()

    def _write_trials(self) -> None:
        (self._folder / "trials").mkdir(parents=True, exist_ok=True)
        while self._unwritten:
            record = self._unwritten[0]
            path, content = self._folder / "trials" / f"trial_{record.number:04d}.json", trial_file(record)
            # A resumed study has most of these files: reading one is far cheaper than writing it.
            if read_json(path) != content:
                write_json(path, content, durable=False)
            self._unwritten.pop(0)

    def _write_study(self) -> None:
        # Not flushed to the disk: these files can be rebuilt from the journal, which is.
        study = self._study
        if study is None:
            return
        summary = study_summary(study)
        write_json(self._folder / f"{study.name}_{study.budget}_best.json", summary["best"], durable=False)
        write_json(self._folder / f"{study.name}_all_trials.json", summary["trials"], durable=False)
        write_json(self._folder / f"{study.name}_study_summary.json", summary, durable=False)
        write_text(self._folder / f"{study.name}_study_summary.md", summary_markdown(study, summary), durable=False)
