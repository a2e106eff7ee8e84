"""Logger `jsonl`: one strict JSON object a line."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scalecore.api.protocols import LoggerContext
from scalecore.api.trials import Origin, Proposal, StudyEnd, StudyView
from scalecore.builtin.events_jsonl import JsonlLogger
from scalecore.builtin.options import JsonlOptions

from .conftest import shape, trial

Make = Callable[..., StudyView]


def lines_of(path: Path) -> list[Any]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in {path}")

    return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]


def test_everything_that_happens_is_a_line(study: Make, tmp_path: Path) -> None:
    """In its order, with the time, and with null for what is not finite."""
    logger = JsonlLogger(JsonlOptions(), LoggerContext(folder=tmp_path))
    view = study([trial(0, 0.5)])
    proposal = Proposal(
        architecture=shape(8), hyperparameters={"learning_rate": 0.1}, origin=Origin(kind="forced", label="width:min")
    )
    logger.study_started(study([]))
    logger.trial_started(0, proposal, study([]))
    logger.epoch(0, {"epoch": 1, "val_loss": 0.5, "gradient_norm": math.nan})
    logger.message("warning", "it is warm")
    logger.trial_finished(view.trials[0], view)
    logger.study_finished(study(view.trials, end=StudyEnd.COMPLETED))
    logger.close()
    events = lines_of(tmp_path / "events.jsonl")
    assert [event["event"] for event in events] == [
        "study_started",
        "trial_started",
        "epoch",
        "message",
        "trial_finished",
        "study_finished",
    ]
    assert all(event["time"].endswith("Z") for event in events)
    assert events[1]["architecture"] == {"width": 8, "depth": 2}
    assert events[2]["gradient_norm"] is None
    assert (events[4]["number"], events[4]["value"]) == (0, 0.5)
    assert (events[5]["end"], events[5]["best"]) == ("completed", 0)


def test_a_second_run_goes_on_in_the_same_file(study: Make, tmp_path: Path) -> None:
    """Lines are added; nothing is written over."""
    for _ in range(2):
        logger = JsonlLogger(JsonlOptions(path=tmp_path / "deep" / "log.jsonl"), LoggerContext(folder=tmp_path))
        logger.study_started(study([trial(0, 0.5)]))
        logger.close()
    assert [(e["event"], e["finished"]) for e in lines_of(tmp_path / "deep" / "log.jsonl")] == [
        ("study_started", 1)
    ] * 2


def test_a_torn_last_line_spoils_no_other(study: Make, tmp_path: Path) -> None:
    """What a crash left half-written stays a line of its own, and the next one is whole."""
    path = tmp_path / "events.jsonl"
    path.write_text('{"event": "study_started"}\n{"event": "epo')
    logger = JsonlLogger(JsonlOptions(), LoggerContext(folder=tmp_path))
    logger.study_started(study([]))
    logger.close()
    first, torn, new = path.read_text().splitlines()
    assert (first, torn) == ('{"event": "study_started"}', '{"event": "epo')
    assert json.loads(new)["event"] == "study_started"


def test_an_empty_file_gets_no_empty_line(study: Make, tmp_path: Path) -> None:
    """A file that was just made has nothing torn in it."""
    (tmp_path / "events.jsonl").touch()
    logger = JsonlLogger(JsonlOptions(), LoggerContext(folder=tmp_path))
    logger.study_started(study([]))
    logger.close()
    assert len(lines_of(tmp_path / "events.jsonl")) == 1


def test_after_close_nothing_is_written(study: Make, tmp_path: Path) -> None:
    """Closing twice, or a message after the end, is no error."""
    logger = JsonlLogger(JsonlOptions(), LoggerContext(folder=tmp_path))
    logger.study_started(study([]))
    logger.close()
    logger.close()
    logger.message("info", "late")
    assert len(lines_of(tmp_path / "events.jsonl")) == 1
