from __future__ import annotations

from scalecore.api.space import Architecture
from scalecore.api.trials import Origin, Proposal
from scalecore.study.outcome import over_attempts
from scalecore.study.state import AskedTrial


def test_pauses_of_all_attempts_are_added_up() -> None:
    """A trial that was paused in its first and its last attempt was paused for both; a killed one tells nothing."""
    ends = ({"paused_seconds": 2.0, "pauses": 1}, {"paused_seconds": None}, {}, {"paused_seconds": 3.5, "pauses": 2})
    asked = AskedTrial(
        number=0,
        proposal=Proposal(
            architecture=Architecture(values={}, num_parameters=1, flops=1),
            hyperparameters={},
            origin=Origin(kind="sampled"),
        ),
        hyperparameters={},
        hash="",
        seed=0,
        attempts=[{"index": index, "ended": end} for index, end in enumerate(ends)],
    )
    assert over_attempts(asked, "paused_seconds") == 5.5
    assert over_attempts(asked, "pauses") == 3
