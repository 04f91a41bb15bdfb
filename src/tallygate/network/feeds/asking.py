"""One look-up: a GET whose answer is small, is read whole, and may fail in any way without harm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tallygate.network.client import Timeouts
from tallygate.network.connection_errors import UpstreamConnectionError

if TYPE_CHECKING:
    from tallygate.network.client import HttpClient
    from tallygate.network.origin import Origin

LOOK_TIMEOUTS: Final = Timeouts(connect_s=5.0, first_byte_s=15.0, idle_s=15.0, total_s=30.0)
"""How long a look-up may take. Nothing waits for it, and it comes again."""

ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
"""More than any list of models or prices has: a feed without end must not fill the memory."""


class Told(NamedTuple):
    """An answer."""

    status: int
    body: bytes


async def look_up(client: HttpClient, origin: Origin, path: bytes, headers: bytes = b"") -> Told | None:
    """Return what was answered; None if nothing was, or too much. Redirects are never followed."""
    try:
        # Look-ups are rare: a connection that was kept since the last one has most likely been closed meanwhile.
        answer = await client.get(origin, path, headers, fresh=True)
        return Told(answer.status, await answer.read_all(ANSWER_BYTES_MAX))
    except UpstreamConnectionError:
        return None
