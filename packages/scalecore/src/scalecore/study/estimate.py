"""How long a study still takes: from what its trials took so far."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from scalecore.api.trials import TrialRecord


def seconds_left(
    records: Sequence[TrialRecord], *, total: int, slots: int, running: Sequence[tuple[float, float]]
) -> float | None:
    """Seconds until `total` trials are finished, or None while nothing is known.

    `running` holds, per running trial, the seconds it has taken and the share of its epochs that is done. A trial not
    begun counts as the median of the finished ones, or else of what the running ones will have taken.
    """
    done = [record.duration for record in records if record.duration]
    whole = [seconds / share for seconds, share in running if share > 0.05]
    if not done and not whole:
        return None
    typical = statistics.median(done or whole)
    ahead = sum(max(0.0, (seconds / share if share > 0.05 else typical) - seconds) for seconds, share in running)
    ahead += typical * max(0, total - len(records) - len(running))
    return ahead / max(1, slots)
