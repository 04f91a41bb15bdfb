"""One look-up: a GET whose answer is bounded, is read whole, and may fail in any way without harm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tallygate.network.client import HttpClient, Timeouts, trust
from tallygate.network.connection_errors import UpstreamConnectionError

if TYPE_CHECKING:
    from pathlib import Path

    from tallygate.network.origin import Origin

LOOK_TIMEOUTS: Final = Timeouts(connect_s=5.0, first_byte_s=15.0, idle_s=15.0, total_s=30.0)
"""How long a look-up may take. Nothing waits for it, and it comes again."""

ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
"""More than any list of models or prices has: a feed without end must not fill the memory."""


def make_asking_client(ca_file: Path | None) -> HttpClient:
    """Return what asks an upstream beside its calls: with its certificates, but at its own pace."""
    return HttpClient(timeouts=LOOK_TIMEOUTS, tls=trust(ca_file), connections_max=8)


class Told(NamedTuple):
    """An answer."""

    status: int
    body: bytes


async def look_up(
    client: HttpClient,
    origin: Origin,
    path: bytes,
    headers: bytes = b"",
    *,
    bytes_max: int = ANSWER_BYTES_MAX,
    fresh: bool = True,
) -> Told | None:
    """Return what was answered; None if nothing was, or too much. It is asked once, and no redirect is followed.

    Args:
        client: Asks; its timeouts are those of look-ups.
        origin: Whom.
        path: The request's target.
        headers: Rendered header lines.
        bytes_max: The most that an answer may have.
        fresh: On a connection of its own: most look-ups are so rare that one that was kept since the last has most
            likely been closed meanwhile.
    """
    try:
        answer = await client.get(origin, path, headers, fresh=fresh)
        return Told(answer.status, await answer.read_all(bytes_max))
    except UpstreamConnectionError:
        return None
