"""Run an analysis and write its result to files: JSON for programs, Markdown for people, and its own files."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from scalecore import __version__
from scalecore.api import markdown
from scalecore.api.analysis import Analysis, AnalysisResult, SupportsTraining, TrainingContext
from scalecore.api.components import AnalysisRecord
from scalecore.api.errors import (
    DataError,
    ExitCode,
    ExperimentError,
    PluginError,
    RefusedError,
    ScalecoreError,
    StudyError,
)
from scalecore.api.files import plain, utc_now, write_bytes, write_json
from scalecore.api.trials import StudyEnd, StudyView
from scalecore.config.experiment_json import plain_value
from scalecore.config.instantiate import make
from scalecore.config.resolved import ResolvedComponent
from scalecore.plugins.registry import Registered
from scalecore.store.layout import StudyFolder
from scalecore.views.read_study import read_study


@frozen(kw_only=True)
class Analysed:
    """A result with its origin: the analysis, its options and the studies."""

    name: str
    result: AnalysisResult
    options: Mapping[str, Any]
    studies: Sequence[Mapping[str, Any]]
    versions: Mapping[str, str]
    made: str


class IncompleteTrainingError(StudyError):
    """The training runs that an analysis needs ended before they were complete."""

    def __init__(self, name: str, end: StudyEnd) -> None:
        super().__init__(f"analysis {name!r} needs training runs that ended early: {end}; run it again to resume them")
        codes = {StudyEnd.STOPPED: ExitCode.STOPPED, StudyEnd.TIMED_OUT: ExitCode.TIMED_OUT}
        self.exit_code = codes.get(end, ExitCode.FAILED)


def analyse(
    component: Registered | ResolvedComponent,
    *,
    options: Any,
    studies: Sequence[StudyView],
    training: TrainingContext,
    dry_run: bool = False,
) -> Analysed:
    """Run the analysis. Exceptions other than scalecore's own are reported as errors of its plugin.

    An analysis that trains does so first, under the studies' locks; with `dry_run` it only reports what it would train.
    Raises `IncompleteTrainingError` if the training was stopped.
    """
    record = component.record
    assert isinstance(record, AnalysisRecord)
    if len(studies) < record.studies:
        least = "a study" if record.studies == 1 else f"at least {record.studies} studies"
        raise ExperimentError(
            f"analysis {record.name!r} needs {least}: scalecore analyze {record.name} STUDY...; STUDY is a study's "
            "folder, its experiment file, or a folder of studies"
        )
    analysis: Analysis = make("analysis", component, options)
    try:
        if not dry_run:
            studies = _trained(record.name, analysis, studies, training=training)
        # Before the analysis: a running study may finish another trial in the meantime.
        sources = [_source(study) for study in studies]
        result = _planned(record.name, analysis, studies) if dry_run else analysis.run(studies)
    except ScalecoreError:
        raise
    except Exception as error:
        raise PluginError(
            f"analysis {record.name!r} ({component.provider} {component.version}) failed: "
            f"{type(error).__name__}: {error}"
        ) from error
    return Analysed(
        name=record.name,
        result=result,
        options=plain_value(options),
        studies=sources,
        versions={"scalecore": __version__, component.provider: component.version},
        made=utc_now(),
    )


def _planned(name: str, analysis: Analysis, studies: Sequence[StudyView]) -> AnalysisResult:
    if not isinstance(analysis, SupportsTraining):
        raise ExperimentError(f"analysis {name!r} trains nothing, so it has no plan; run it without --dry-run")
    return analysis.planned(studies)


def _trained(
    name: str, analysis: Analysis, studies: Sequence[StudyView], *, training: TrainingContext
) -> Sequence[StudyView]:
    """Train what the analysis needs, and return the studies with it."""
    if not isinstance(analysis, SupportsTraining):
        return studies
    end = analysis.train(studies, training)
    if end is not StudyEnd.COMPLETED:
        raise IncompleteTrainingError(name, end)
    return [read_study(StudyFolder(study.folder)) for study in studies]


def output_folder_of(name: str, studies: Sequence[StudyView]) -> Path:
    """The default folder of a result: `analyses/NAME` in the study's folder.

    For several studies, in their common parent folder; without studies, in the working directory.
    """
    if len(studies) == 1:
        return studies[0].folder / "analyses" / name
    parent = os.path.commonpath([study.folder.absolute() for study in studies]) if studies else ""
    return Path(parent) / "analyses" / name


def write_result(analysed: Analysed, folder: Path) -> list[Path]:
    """Write `result.json`, `result.md` and the analysis's own files; each replaces an older one atomically.

    Raises `RefusedError` if the folder cannot be written.
    """
    contents: dict[str, str | bytes] = {"result.md": result_markdown(analysed), **analysed.result.files}
    if strange := [name for name in contents if not is_inside(name)]:
        raise DataError(
            f"analysis {analysed.name!r} returned a file {strange[0]!r}, which is neither a plain file name nor one in "
            "a folder, such as 'figures/loss.svg'"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "result.json", result_json(analysed))
        for name, content in contents.items():
            (folder / name).parent.mkdir(exist_ok=True)
            write_bytes(folder / name, content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise RefusedError(f"{folder}: the result cannot be written: {error.strerror}; use another --output") from None
    return [folder / name for name in ("result.json", *contents)]


def listing(written: Sequence[Path], folder: Path) -> str:
    """The files in `folder` by name, and the number of files in each folder there: `result.md, figures (3 files)`."""
    names = [path.relative_to(folder) for path in written]
    below = Counter(name.parent.name for name in names if name.parent.name)
    counts = [f"{name} ({count} file{'s' * (count > 1)})" for name, count in below.items()]
    return ", ".join([*(name.name for name in names if not name.parent.name), *counts])


def is_inside(name: str) -> bool:
    """Whether a name is that of a file in the result's folder or in a folder inside it."""
    parts = name.split("/")
    return len(parts) <= 2 and all(part and part == Path(part).name and not part.startswith(".") for part in parts)


def result_markdown(analysed: Analysed) -> str:
    """The result as Markdown, printed and stored."""
    result = analysed.result
    lines = [f"# {markdown.escaped(result.title)}", ""]
    lines += [f"- {_study_text(study)}" for study in analysed.studies]
    lines += [""] if analysed.studies else []
    for sentence in result.summary:
        lines += [markdown.escaped(sentence), ""]
    for name, rows in result.tables.items():
        lines += [f"## {markdown.escaped(name)}", "", *markdown.table(rows)]
    if result.notes:
        lines += ["## Notes", "", *(f"- {markdown.escaped(note)}" for note in result.notes), ""]
    return "\n".join(lines).rstrip() + "\n"


def result_json(analysed: Analysed) -> dict[str, Any]:
    """The content of `result.json`, as strict JSON types."""
    result = analysed.result
    content: dict[str, Any] = plain(
        {
            "analysis": analysed.name,
            **{name: getattr(result, name) for name in ("title", "summary", "tables", "data", "notes")},
            "options": analysed.options,
            "studies": analysed.studies,
            "versions": analysed.versions,
            "made": analysed.made,
        }
    )
    return content


def _source(study: StudyView) -> dict[str, Any]:
    """The study that a result was computed from (guard G13), with the journal as it was read."""
    return {
        "name": study.name,
        "folder": str(study.folder),
        "finished": len(study.trials),
        "total": study.total,
        "end": study.end,
        "state": study.state,
        "running": list(study.running),
        "journal": _fingerprint(study.folder),
    }


def _fingerprint(folder: Path) -> dict[str, Any]:
    """The number of complete lines of a journal, and their checksum."""
    journal = StudyFolder(folder).journal
    content = journal.read_bytes() if journal.exists() else b""
    whole = content[: content.rfind(b"\n") + 1]
    return {"lines": whole.count(b"\n"), "sha256": hashlib.sha256(whole).hexdigest()}


def _study_text(study: Mapping[str, Any]) -> str:
    name, folder = markdown.escaped(study["name"]), markdown.escaped(study["folder"])
    return f"{name}: {study['finished']} of {study['total']} trials finished, {study['state']}; {folder}"
