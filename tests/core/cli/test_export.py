"""`scalecore export`: its targets and options, and its error messages."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from click.testing import Result

from scalecore.store.layout import StudyFolder
from scalecore.store.lock import StudyLock
from scalecore.testing.fakes import make_study, make_trial

Invoke = Callable[..., Result]

CODE = """
from pathlib import Path
from attrs import frozen
from scalecore import hookimpl
from scalecore.api.components import LoggerRecord
from scalecore.api.options import option
from scalecore.api.logger import Logger

@frozen(kw_only=True)
class Options:
    address: str = option("here", help="Where.")
    path: Path | None = option(None, help="A file.")
    loud: bool = option(False, help="Loud.")

class Telling(Logger):
    def __init__(self, options, context):
        self.options = options

    def study_started(self, study):
        if self.options.address == "full":
            raise OSError(28, "No space left on device")
        if self.options.address == "broken":
            raise ZeroDivisionError("no such thing")
        print("started", study.name, len(study.trials), study.state, self.options.loud)

    def study_finished(self, study):
        print("finished")

    def take_remarks(self):
        return [("warning", "no pictures"), ("info", "look there")]

    def close(self):
        print("closed")

needs = lambda options: {"scalecore_nowhere": "acme[tell]"} if options.address == "nowhere" else {}

@hookimpl
def scalecore_loggers():
    return [LoggerRecord(name="tell", summary="Tells.", options=Options, factory=Telling, needs=needs, export=True)]
"""


@pytest.fixture
def study(tmp_path: Path, write_study: Callable[..., Path]) -> Callable[..., Path]:
    """Write the journal of a study of three finished trials and one unfinished trial, with these loggers."""

    def write(name: str = "walk", *loggers: dict[str, Any]) -> Path:
        view = make_study(tmp_path / "made", [make_trial(n, 0.7) for n in range(3)], name=name)
        experiment = {**view.experiment, "name": name, "loggers": list(loggers)}
        return write_study(evolve(view, folder=tmp_path / name, experiment=experiment), unfinished=1)

    return write


@pytest.fixture
def target(fake_plugin: Callable[..., Path]) -> None:
    """A logger of a plugin that prints its calls."""
    fake_plugin("acme", version="1.2", code=CODE)


def test_targets_are_listed(invoke: Invoke, target: None) -> None:
    """Only loggers that can export; the options of one on request."""
    done = invoke("export")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "csv" in done.stdout
    assert re.search(r"^tell +Tells\.$", done.stdout, re.MULTILINE)
    assert "console" not in done.stdout
    assert "Logger tell: Tells. From acme.\nOptions of the logger, KEY=VALUE or --key VALUE:\n" in (
        invoke("export", "tell", "--help").stdout
    )


def test_a_table_has_each_trial_once_after_repeated_exports(
    invoke: Invoke, study: Callable[..., Path], tmp_path: Path
) -> None:
    """Two studies, one of them running, are exported to one table named on the command line."""
    _, second = study("first"), study("second")
    before = (second / "journal.jsonl").read_bytes()
    lock = StudyLock(StudyFolder(second))
    try:
        for _ in range(2):
            done = invoke("export", "csv", "first", "second", "path=table.csv")
            assert (done.exit_code, done.stderr) == (0, "")
            assert done.stdout == "".join(
                f"{name}: 3 finished trials exported to csv (path={tmp_path}/table.csv)\n"
                for name in ("first", "second")
            )
    finally:
        lock.release()
    with (tmp_path / "table.csv").open() as stream:
        rows = [(row["experiment"], row["trial"], row["value"]) for row in csv.DictReader(stream)]
    assert rows == [(name, str(n), "0.7") for name in ("first", "second") for n in range(3)]
    assert (second / "journal.jsonl").read_bytes() == before


def test_the_command_line_overrides_the_options_of_the_study(
    invoke: Invoke, target: None, study: Callable[..., Path], tmp_path: Path
) -> None:
    """A logger that the study uses twice is exported to both places; a stored path with a `$` is used unchanged."""
    study(
        "walk", {"use": "files"}, {"use": "Acme/tell", "address": "a", "loud": True}, {"use": "tell", "path": "/x/$y"}
    )
    told = (
        "started walk 3 interrupted {}\nfinished\nclosed\nlook there\nwalk: 3 finished trials exported to tell ({})\n"
    )
    done = invoke("export", "tell", "walk")
    assert done.stdout == told.format(True, "address=a, loud=True") + told.format(
        False, "address=here, path=/x/$y, loud=False"
    )
    assert done.stderr == "warning: no pictures\n" * 2
    done = invoke("export", "tell", "walk", "address=b", "--loud", "--path", "z")
    assert done.stdout == told.format(True, f"address=b, path={tmp_path}/z, loud=True")  # both have this result
    assert invoke("export", "acme/tell", "walk").exit_code == 0


def test_a_logger_of_a_plugin_file_exports_its_study(
    invoke: Invoke, tmp_path: Path, write_study: Callable[..., Path]
) -> None:
    """The study names the file, so the logger is found even without installed plugins."""
    (tmp_path / "my_logger.py").write_text(CODE)
    view = make_study(tmp_path / "made", [make_trial(0, 0.7)])
    experiment = {**view.experiment, "plugins": [str(tmp_path / "my_logger.py")], "loggers": [{"use": "tell"}]}
    write_study(evolve(view, folder=tmp_path / "walk", experiment=experiment))
    done = invoke("export", "tell", "walk", "--no-plugins")
    assert (done.exit_code, done.stdout.splitlines()[0]) == (0, "started walk 1 interrupted False")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["console", "walk"], 2, "logger 'console' cannot export a study; the targets are csv, "),
        (["tall", "walk"], 3, "there is no logger 'tall' (did you mean 'tell'?); installed loggers: "),
        (["tell"], 2, "STUDY is missing: scalecore export tell STUDY, a folder or experiment file\n"),
        (["tell", "made"], 2, None),
        (["tell", "walk", "adress=x"], 2, "<command line>: adress=x: unknown key; did you mean 'address'?\n"),
        (
            ["tell", "walk", "address=nowhere"],
            3,
            "logger 'tell' needs the module 'scalecore_nowhere', which is not installed; `pip install 'acme[tell]'` "
            "provides it\n",
        ),
        (
            ["tell", "walk", "address=full"],
            6,
            "logger 'tell' cannot write walk: [Errno 28] No space left on device\n",
        ),
        (
            ["tell", "walk", "address=broken"],
            3,
            "logger 'tell' (acme 1.2) cannot export: ZeroDivisionError: no such thing\n",
        ),
    ],
)
def test_errors_of_export_are_one_message(
    arguments: list[str], code: int, message: str | None, invoke: Invoke, target: None, study: Callable[..., Path]
) -> None:
    """With the exit code of its kind; a folder without a study has the same message as `status`."""
    study()
    done = invoke("export", *arguments)
    expected = message if message is not None else invoke("status", arguments[1]).stderr
    assert (done.exit_code, done.stderr.count("\n")) == (code, 1)
    assert done.stderr.startswith(expected)
    assert done.stdout == ("closed\n" if code == 6 or "broken" in arguments[-1] else "")
    if code != 2 and arguments[0] == "tall":
        assert "; the targets are csv, " in done.stderr
