"""Checks that the files of the built-in loggers match the journal."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from scalecore.api.files import read_json
from scalecore.api.trials import StudyEnd, StudyView
from scalecore.builtin.results_csv import differences
from scalecore.builtin.study_files import study_summary, trial_file
from scalecore.builtin.summary_page import summary_markdown
from scalecore.store.kept_study import move_of
from scalecore.store.layout import StudyFolder
from scalecore.store.verify import Check

REMEDY = "run the study again to rebuild it"


def verify_derived(study: StudyView) -> list[Check]:
    """Return one check for each logger that writes files, and one for `experiment.yaml`.

    After a kill or a failure, for example of the disk, the files may be out of date. The next run rewrites them, so
    that is a note.
    """
    level: Any = "note" if study.end in (None, StudyEnd.FAILED) else "wrong"
    checks = []
    for subject, found in _found(study).items():
        checks += [Check(level=level, subject=subject, message=f"{text}; {REMEDY}") for text in found]
        if not found:
            checks.append(Check(level="ok", subject=subject, message="matches the journal"))
    return checks


def _found(study: StudyView) -> dict[str, list[str]]:
    found = {"experiment.yaml": list(_experiment(study))}
    move = move_of(study.experiment, study.plan, study.folder)
    for logger in study.experiment["loggers"]:
        path = move.find(Path(logger["path"])) if logger.get("path") else None
        use = logger["use"].removeprefix("scalecore/")
        if use == "files":
            found["logger files"] = list(_files(study, path or study.folder))
        elif use == "csv":
            table = path or study.folder.parent / "experiment_results.csv"
            try:
                found["logger csv"] = list(differences(table, study))
            except (OSError, csv.Error, UnicodeDecodeError) as error:
                found["logger csv"] = [f"{table.name} cannot be read: {error}"]
    return found


def _experiment(study: StudyView) -> Iterator[str]:
    source = StudyFolder(study.folder).source
    try:
        same = yaml.safe_load(source.read_text(encoding="utf-8")) == study.experiment
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        same = False
    if not same:
        yield f"{source.name} is missing or differs from the experiment of the last run"


def _files(study: StudyView, folder: Path) -> Iterator[str]:
    summary = study_summary(study)
    expected: dict[str, Any] = {
        f"{study.name}_{study.budget}_best.json": summary["best"],
        f"{study.name}_all_trials.json": summary["trials"],
        f"{study.name}_study_summary.json": summary,
        **{f"trials/trial_{record.number:04d}.json": trial_file(record) for record in study.trials},
    }
    for name, content in expected.items():
        if read_json(folder / name) != content:
            yield _what(folder / name, name)
    name = f"{study.name}_study_summary.md"
    try:
        same = (folder / name).read_text(encoding="utf-8") == summary_markdown(study, summary)
    except (OSError, UnicodeDecodeError):
        same = False
    if not same:
        yield _what(folder / name, name)


def _what(path: Path, name: str) -> str:
    return f"{name} differs from the journal" if path.exists() else f"{name} is missing"
