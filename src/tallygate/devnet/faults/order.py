"""What a control asks for: a fault by its name, and everything that shapes it."""

from dataclasses import dataclass

from tallygate.devnet.calls import JsonObject

REDIRECTS = (301, 302, 307, 308)
FAULT_STATUSES = (*REDIRECTS, 400, 401, 402, 403, 404, 409, 410, 422, 429, 500, 502, 503, 504)
DEFAULT_AFTER_FRAMES = 3
DEFAULT_SIZE_BYTES = 2 * 1024 * 1024  # twice the longest line that the network's own programs read


@dataclass(frozen=True)
class FaultOrder:
    """What a control asked for.

    Attributes:
        fault: The fault's name.
        times: How often it acts; None is until it is deleted.
        after_frames: How many frames of a stream come through first; a stream that has fewer meets the fault before
            its `[DONE]`.
        usage: What `wrong_usage` shows instead of the truth; None shows nothing.
        count: How many calls `barrier` waits for.
        message: The error's text instead of the host's own, for a status.
        location: Where a redirect points to.
        retry_after_s: What Retry-After says, if anything.
        probability: How likely it acts on a call; which calls it are, follows from the devnet's seed.
        offset_s: How far `clock_skew` puts the node's block time ahead.
        delay_ms: What `drip` waits before every few bytes, and `slow_tls` before its handshake.
        size_bytes: How long `huge_frame` is.
        for_ms: How long a host is `down`; None is until it is deleted.
    """

    fault: str
    times: int | None = 1
    after_frames: int = DEFAULT_AFTER_FRAMES
    usage: JsonObject | None = None
    count: int = 2
    message: str | None = None
    location: str = "http://elsewhere.invalid/v1/chat/completions"
    retry_after_s: int | None = None
    probability: float = 1.0
    offset_s: int = 3600
    delay_ms: int = 5
    size_bytes: int = DEFAULT_SIZE_BYTES
    for_ms: int | None = None
