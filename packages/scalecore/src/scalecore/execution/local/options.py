"""Options of the local executor."""

from typing import Literal

from attrs import frozen

from scalecore.api.options import option


@frozen(kw_only=True)
class LocalOptions:
    """Options of executor `local`."""

    start: Literal["auto", "fork", "spawn"] = option(
        "auto",
        help="How the process of an attempt is started: forked from a server that has imported torch, which takes "
        "hundredths of a second, or as a fresh interpreter; `auto` forks on Linux.",
    )
