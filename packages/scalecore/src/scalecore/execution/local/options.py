"""Options of the local executor."""

from typing import Literal

from attrs import frozen

from scalecore.api.options import option


@frozen(kw_only=True)
class LocalOptions:
    """Options of executor `local`."""

    start: Literal["auto", "fork", "spawn"] = option(
        "auto",
        help="How to start the process of an attempt: `fork` a server that has imported torch (hundredths of a second) "
        "or `spawn` a new interpreter (over a second). `auto` forks on Linux.",
    )
