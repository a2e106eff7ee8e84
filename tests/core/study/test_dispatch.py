"""The ways in which a trial may run, without running it."""

from __future__ import annotations

from typing import Any

import pytest

from scalecore.api.memory_forecast import StepSize
from scalecore.store.asked_trial import Attempt
from scalecore.store.event_lines import event_of
from scalecore.store.events import AttemptEnded, AttemptStarted
from scalecore.study.dispatch import ways


def attempt(micro_batch: int, end: str | None = None, **more: Any) -> Attempt:
    """An attempt as in the journal; `halved` is the micro-batch after halvings within a step."""
    halved, blocks = more.pop("halved", None), more.pop("blocks", None)
    memory = None if halved is None else {"micro_batch": halved}
    one = {"number": 0, "index": 0}
    begun = {"micro_batch": micro_batch, "predicted_memory": 1, "memory": {"blocks": blocks}}
    return Attempt(
        started=event_of(AttemptStarted, **one, **begun, **more),
        ended=None if end is None else event_of(AttemptEnded, **one, **{"class": end, "memory": memory}),
    )


@pytest.mark.parametrize(
    ("setting", "attempts", "plain", "recomputed"),
    [
        ("off", [], [8, 4, 2, 1], []),
        ("on", [], [], [8, 4, 2, 1]),
        ("auto", [], [8, 4, 2, 1], [8, 4, 2, 1]),
        ("off", [attempt(4)], [4, 2, 1], []),
        ("off", [attempt(4, "interrupted")], [4, 2, 1], []),
        ("off", [attempt(4, "crashed", halved=2)], [2, 1], []),
        ("off", [attempt(4, "out_of_memory")], [2, 1], []),
        ("off", [attempt(1, "out_of_memory")], [], []),
        ("off", [attempt(4, "out_of_memory", halved=1)], [], []),
        ("off", [attempt(8, "out_of_memory"), attempt(4, "out_of_memory")], [2, 1], []),
        ("auto", [attempt(1, "out_of_memory", blocks=0)], [], []),
        ("auto", [attempt(1, "out_of_memory", blocks=2)], [], [4, 2, 1]),
        ("auto", [attempt(2, "out_of_memory", blocks=2, activation_checkpointing=True)], [], [1]),
        ("on", [attempt(2, "stopped", activation_checkpointing=True)], [], [2, 1]),
    ],
)
def test_g40_the_ways_of_a_trial(
    setting: str, attempts: list[Attempt], plain: list[int], recomputed: list[int]
) -> None:
    """The same or smaller; after out of memory only smaller, with recomputation only if the model has blocks."""
    found = ways(attempts, size=StepSize(effective_batch=8, micro_batch=8, checkpointing=setting))
    assert [way.micro_batch for way in found if not way.checkpointing] == plain
    assert [way.micro_batch for way in found if way.checkpointing] == recomputed
