from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from scalecore.api.errors import ExperimentError
from scalecore.api.space import Architecture
from scalecore.api.trials import Origin, StudyEnd, StudyView, TrialRecord, TrialState
from scalecore.cli.component_arguments import split_arguments
from scalecore.store.layout import StudyFolder
from scalecore.store.lock import StudyLock
from scalecore.testing.plans import make_plan

Invoke = Callable[..., Result]

CODE = """
from attrs import frozen
from scalecore import hookimpl
from scalecore.api.errors import DataError
from scalecore.api.options import option
from scalecore.api.analysis import AnalysisResult
from scalecore.api.components import AnalysisRecord

@frozen(kw_only=True)
class Options:
    top: int = option(3, help="How many.")
    loud: bool = option(False, help="Loud.")

class Longest:
    def __init__(self, options):
        self.options = options

    def run(self, studies):
        if self.options.top == 0:
            raise DataError("nothing to show")
        if self.options.top < 0:
            raise ZeroDivisionError("top is below zero")
        rows = [{"study": s.name, "trial": t.number, "seconds": t.duration} for s in studies for t in s.trials]
        return AnalysisResult(
            title="Longest <b>trials</b>",
            summary=[f"{len(rows)} trials, loud={self.options.loud}."],
            tables={"Trials": rows[: self.options.top]},
            data={"running": [list(s.running) for s in studies], "nan": float("nan")},
            notes=["A note."],
            files={"page.html": "<html></html>", "figure.pdf": bytes([255]), "figures/a.svg": "", "figures/b.svg": "b"},
        )

@hookimpl
def scalecore_analyses():
    return [
        AnalysisRecord(name="longest", summary="The longest trials.", options=Options, factory=Longest),
        AnalysisRecord(name="alone", summary="Needs no study.", options=Options, factory=Longest, studies=0),
    ]
"""


@pytest.fixture
def longest(fake_plugin: Any) -> None:
    """An analysis of a plugin."""
    fake_plugin("acme", version="1.2", code=CODE)


def view(folder: Path, *, trials: int = 2, end: StudyEnd | None = StudyEnd.COMPLETED) -> StudyView:
    """A study of completed trials."""
    records = [
        TrialRecord(
            number=number,
            hash=f"hash-{number}",
            seed=number,
            state=TrialState.COMPLETED,
            reason=None,
            value=0.5,
            origin=Origin(kind="sampled"),
            architecture=Architecture(values={"width": 8}, num_parameters=64, flops=7),
            hyperparameters={"epochs": 2},
            duration=10.0 * number,
        )
        for number in range(trials)
    ]
    objective = {"metric": "val_loss", "direction": "minimize"}
    experiment = {
        "name": folder.name,
        "dataset": {"use": "parquet"},
        "model": {"use": "linear"},
        "training": {},
        "search": {"trials": 5},
        "objective": objective,
    }
    return StudyView(
        name=folder.name,
        folder=folder,
        experiment=experiment,
        plan=make_plan(),
        total=5,
        trials=tuple(records),
        end=end,
    )


def test_an_analysis_is_printed_and_stored(
    invoke: Invoke, longest: None, write_study: Callable[..., Path], tmp_path: Path
) -> None:
    """As Markdown on the terminal, and as JSON with options, versions and the journal that was read."""
    folder = write_study(view(tmp_path / "one"))
    before = (folder / "journal.jsonl").read_bytes()

    done = invoke("analyze", "longest", "one", "top=1", "--loud")

    output = folder / "analyses" / "longest"
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == (
        "# Longest \\<b>trials\\</b>\n\n"
        f"- one: 2 of 5 trials finished, completed; {folder}\n\n"
        "2 trials, loud=True.\n\n"
        "## Trials\n\n"
        "| study | trial | seconds |\n|-------|------:|--------:|\n| one   |     0 |       0 |\n\n"
        "## Notes\n\n- A note.\n"
        f"written to {folder}/analyses/longest: result.json, result.md, page.html, figure.pdf, "
        "figures (2 files)\n"
    )
    stored = json.loads((output / "result.json").read_text(), parse_constant=pytest.fail)
    assert stored["options"] == {"top": 1, "loud": True}
    assert stored["data"] == {"running": [[]], "nan": None}
    assert stored["versions"]["acme"] == "1.2"
    assert stored["studies"][0]["journal"]["lines"] == before.count(b"\n")
    assert (output / "result.md").read_text() == done.stdout.rpartition("written to")[0]
    assert (output / "page.html").read_text() == "<html></html>"
    assert (output / "figure.pdf").read_bytes() == b"\xff"
    assert (output / "figures" / "b.svg").read_text() == "b"
    assert (folder / "journal.jsonl").read_bytes() == before


def test_the_result_of_several_studies_is_in_their_parent_folder(
    invoke: Invoke, longest: None, write_study: Callable[..., Path], tmp_path: Path
) -> None:
    """A folder names all its studies; a study that is named twice counts once."""
    for name in ("b", "a"):
        write_study(view(tmp_path / "studies" / name))

    done = invoke("analyze", "longest", "studies", "studies/a", "--json")

    content = json.loads(done.stdout)
    assert [study["name"] for study in content["studies"]] == ["a", "b"]
    assert (tmp_path / "studies" / "analyses" / "longest" / "result.json").exists()
    again = invoke("analyze", "longest", "studies", "--output", "elsewhere")
    assert again.exit_code == 0
    assert (tmp_path / "elsewhere" / "result.md").exists()
    # The results written there are not a study.
    assert len(json.loads(invoke("analyze", "longest", "studies", "--json", "--no-files").stdout)["studies"]) == 2


def test_an_interrupted_study_with_a_torn_line_can_be_analysed(
    invoke: Invoke, longest: None, write_study: Callable[..., Path], tmp_path: Path
) -> None:
    """The incomplete line is ignored and stays; the unfinished trial is not counted as running."""
    folder = write_study(view(tmp_path / "torn", end=None), unfinished=1)
    with (folder / "journal.jsonl").open("ab") as stream:
        stream.write(b'{"seq": 7, "tim')
    size = (folder / "journal.jsonl").stat().st_size

    done = invoke("analyze", "longest", "torn", "--no-files")

    assert f"- torn: 2 of 5 trials finished, interrupted; {folder}\n" in done.stdout
    assert (folder / "journal.jsonl").stat().st_size == size
    assert not (folder / "analyses").exists()


def test_a_running_study_can_be_analysed(
    invoke: Invoke, longest: None, write_study: Callable[..., Path], tmp_path: Path
) -> None:
    """The study is locked, and its running trials are listed."""
    folder = write_study(view(tmp_path / "busy", end=None), unfinished=1)
    lock = StudyLock(StudyFolder(folder))
    try:
        done = invoke("analyze", "longest", "busy", "--json")
    finally:
        lock.release()
    assert json.loads(done.stdout)["data"]["running"] == [[2]]
    assert "busy/analyses/longest" in done.stderr


@pytest.mark.parametrize(("end", "state"), [(None, "running"), (StudyEnd.COMPLETED, "completed")])
def test_a_study_between_two_trials_is_not_interrupted(
    invoke: Invoke,
    longest: None,
    write_study: Callable[..., Path],
    tmp_path: Path,
    end: StudyEnd | None,
    state: str,
) -> None:
    """Nor during its smoke step, which may take a minute; a completed study that is being confirmed stays completed."""
    folder = write_study(view(tmp_path / "quiet", end=end))
    lock = StudyLock(StudyFolder(folder))
    try:
        done = invoke("analyze", "longest", "quiet", "--no-files")
    finally:
        lock.release()
    assert f"- quiet: 2 of 5 trials finished, {state}; {folder}\n" in done.stdout


def test_errors_of_analyze_are_plain_messages(
    invoke: Invoke, longest: None, write_study: Callable[..., Path], tmp_path: Path
) -> None:
    """A missing study, a wrong option, an unknown analysis, an empty journal, a refusal and an error of the plugin."""
    write_study(view(tmp_path / "one"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "journal.jsonl").touch()

    def told(*arguments: str) -> tuple[int, str]:
        done = invoke("analyze", *arguments)
        assert done.stdout == ""
        return done.exit_code, done.stderr.rstrip("\n")

    assert told("longest") == (
        2,
        "analysis 'longest' needs a study: scalecore analyze longest STUDY...; STUDY is a study's folder, its "
        "experiment file, or a folder of studies",
    )
    assert told("longest", "one", "tops=1") == (2, "<command line>: tops=1: unknown key; did you mean 'top'?")
    assert told("longest", "one", "--top") == (2, "--top needs a value: --top VALUE")
    assert told("longest", "one", "--top", "many") == (
        2,
        "<command line>: top=many: expected an integer, got string 'many'",
    )
    assert told("longest", "empty") == (
        2,
        f"{tmp_path / 'empty'}: the journal contains no study yet; start it with `scalecore run`",
    )
    assert told("longest", "one", "top=0") == (4, "nothing to show")
    assert told("longest", "one", "top=-1") == (
        3,
        "analysis 'longest' (acme 1.2) failed: ZeroDivisionError: top is below zero",
    )
    code, message = told("longst", "one")
    assert (code, message.partition(";")[0]) == (3, "there is no analysis 'longst' (did you mean 'longest'?)")
    assert not (tmp_path / "one" / "analyses").exists()


def test_an_analysis_may_need_no_study(invoke: Invoke, longest: None, tmp_path: Path) -> None:
    """Its result is written below the working directory."""
    done = invoke("analyze", "alone")
    assert done.exit_code == 0
    assert (tmp_path / "analyses" / "alone" / "result.json").exists()


def test_help_lists_analyses_and_their_options(invoke: Invoke, longest: None) -> None:
    """Without a name the list; with a name its options and their defaults."""
    assert re.search(r"^longest +The longest trials\.$", invoke("analyze").stdout, re.MULTILINE)
    text = invoke("analyze", "longest", "--help").stdout
    assert "Analysis longest: The longest trials. From acme." in text
    assert "top   How many. (default 3)" in text


def test_arguments_are_studies_or_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All forms of an option; a folder with an equals sign in its name is a study."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b").mkdir()
    given = ["x", "a=b", "c=d", "--trial", "7", "--e=f=g", "--dry-run", "y.z=[1, 2]"]
    assert split_arguments(given, flags=["dry_run"]) == (
        [Path("x"), Path("a=b")],
        ["c=d", "trial=7", "e=f=g", "dry_run=true", "y.z=[1, 2]"],
    )
    # Longer than any file name.
    long = f"title={'x' * 300}"
    assert split_arguments([long]) == ([], [long])
    with pytest.raises(ExperimentError, match=r"^--trial needs a value: --trial VALUE$"):
        split_arguments(["--trial"])
