"""Shared by all tests: `pytest --quick`, and folders of studies as after a run.

`--quick` runs the tests that start no process, import no torch and are not marked as slow. A test is skipped when it
starts a process or imports torch, so these tests need no mark.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from scalecore.api.trials import StudyView

PROCESSES = frozenset(
    {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.exec", "os.system", "os.startfile"}
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="skip tests that are slow, start a process or import torch")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--quick"):
        config.pluginmanager.register(Quick())


class Quick:
    """Skips a test or a module as soon as it starts a process or imports torch."""

    def __init__(self) -> None:
        self._watching = False
        self._reasons: list[str] = []
        sys.addaudithook(self._look)

    def _look(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._watching:
            return
        if event in PROCESSES:
            reason = "starts a process"
        elif event == "import" and arguments[0] == "torch":
            reason = "imports torch"
        else:
            return
        self._reasons.append(reason)
        # Other threads continue, since the test may wait for them.
        if threading.current_thread() is threading.main_thread():
            pytest.skip(reason, allow_module_level=True)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        self._watching = True
        self._reasons.clear()
        try:
            yield
        finally:
            self._watching = False

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Ignore folders whose conftest.py imports torch, since all their tests do."""
        shared = collection_path / "conftest.py"
        return True if shared.is_file() and "\nimport torch\n" in shared.read_text(encoding="utf-8") else None

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if item.get_closest_marker("slow") is not None:
                item.add_marker(pytest.mark.skip(reason="slow"))

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        with self._watched():
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        with self._watched():
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        # The exception may have been caught by the code under test, or the process started in another thread.
        if self._reasons and report.when == "teardown":
            report.outcome, report.longrepr = "passed", None
        elif self._reasons and not report.skipped:
            report.outcome, report.longrepr = "skipped", (str(item.path), item.location[1] or 0, self._reasons[0])
        return report


@pytest.fixture
def write_study() -> Callable[..., Path]:
    """Write the journal of a study to its folder with scalecore's code and return the folder."""

    def write(study: StudyView, *, unfinished: int = 0) -> Path:
        from scalecore.api.trials import Proposal
        from scalecore.store import events
        from scalecore.store.journal import Journal

        study.folder.mkdir(parents=True)
        journal = Journal(study.folder / "journal.jsonl")
        journal.append(events.StudyBegun(experiment=study.experiment, plan=study.plan))
        journal.append(events.RunStarted(pid=1, host="here", versions={}, total=study.total))

        def proposed(record: Any) -> Proposal:
            return Proposal(
                architecture=record.architecture, hyperparameters=record.hyperparameters, origin=record.origin
            )

        def ask(record: Any, number: int) -> None:
            asked = {"hyperparameters": record.hyperparameters, "seed": record.seed, "proposal": proposed(record)}
            journal.append(events.AskedFor(number=number, hash=f"{record.hash}-{number}", **asked))

        for record in study.trials:
            ask(record, record.number)
            journal.append(events.TrialFinished(number=record.number, record=record))
        for _ in range(study.duplicates_avoided):
            first = study.trials[0]
            again = {"number": len(study.trials), "duplicate_of": first.number}
            journal.append(events.DuplicateAvoided(**again, proposal=proposed(first)))
        for extra in range(unfinished):
            ask(study.trials[-1], study.trials[-1].number + 1 + extra)
        if study.end is not None:
            journal.append(events.RunEnded(end=study.end))
        journal.close()
        return study.folder

    return write
