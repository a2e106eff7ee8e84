"""What `scalecore status` says of a study."""

from __future__ import annotations

from typing import Any

from scalecore.study.status import status_lines


def test_the_time_that_is_left_is_a_number_or_not_known_yet() -> None:
    """Never a made-up one before the first trial."""
    status: dict[str, Any] = {"name": "spy", "state": "running", "finished": 0, "total": 4, "counts": {}}
    status |= dict.fromkeys(("runner", "best", "baseline", "hardware", "search", "test_openings"))
    status |= {"unfinished": [], "left_out": [], "degraded": [], "folder": "studies/spy"}
    assert "time left: not known yet" in status_lines({**status, "seconds_left": None})
    assert "time left: about 3 min 20 s" in status_lines({**status, "seconds_left": 200.0})
