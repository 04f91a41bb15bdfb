"""One sending over the HTTP client, with everything that can go wrong in it told in the retry table's terms."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Final

from tallygate.core import retry
from tallygate.core.retry import Failure, SendingError
from tallygate.network.connection_errors import (
    ConnectionLostError,
    FirstByteTimeoutError,
    IdleTimeoutError,
    NoFreeConnectionError,
    TotalTimeoutError,
    UpstreamConnectionError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tallygate.network.answer import Answer
    from tallygate.network.client import HttpClient
    from tallygate.network.origin import Origin

_REFERENCE: Final = re.compile(r"[A-Za-z0-9_.:+/=-]{1,128}", re.ASCII)


class SentAnswer:
    """An answer whose body is read with the retry table's errors.

    Attributes:
        status: The HTTP status.
        reference: The upstream's own id of this attempt.
    """

    __slots__ = ("_answer", "reference", "status")

    def __init__(self, answer: Answer, reference: str | None) -> None:
        self._answer = answer
        self.status = answer.status
        self.reference = reference

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, names in lower case."""
        return self._answer.headers

    async def read(self) -> bytes:
        """Return the body's bytes that have come, waiting for at least one; empty at its complete end."""
        try:
            return await self._answer.read()
        except UpstreamConnectionError as error:
            failure = judge(error)
        raise SendingError(failure)

    async def read_all(self, bytes_max: int) -> bytes:
        """Return the rest of the body."""
        try:
            return await self._answer.read_all(bytes_max)
        except UpstreamConnectionError as error:
            failure = judge(error)
        raise SendingError(failure)

    def abandon(self) -> None:
        """Let the connection go at once."""
        self._answer.abandon()


async def send(
    client: HttpClient,
    origin: Origin,
    path: bytes,
    headers: bytes,
    body: bytes,
    *,
    fresh: bool,
    on_sent: Callable[[str | None], None] | None = None,
    reference: str | None = None,
) -> SentAnswer:
    """Post a body and return the answer once its headers are in.

    Args:
        client: The upstream's client.
        origin: Where to.
        path: The request's target.
        headers: Rendered header lines.
        body: The bytes to send.
        fresh: On a connection that has not served before.
        on_sent: Called once a connection has begun to carry the request, with the reference, if it is known by then.
        reference: The id that the upstream gives this attempt, where we know it beforehand; else its header's.

    Raises:
        SendingError: It failed before the headers of an answer.
    """
    try:
        noted = None if on_sent is None else partial(on_sent, reference)
        answer = await client.post(origin, path, headers, body, fresh=fresh, on_sent=noted)
    except UpstreamConnectionError as error:
        failure = judge(error)
    else:
        return SentAnswer(answer, reference or _reference(answer.headers))
    raise SendingError(failure)


def judge(error: UpstreamConnectionError) -> Failure:
    """Return the retry table's row for a failure below HTTP."""
    if isinstance(error, NoFreeConnectionError):
        return retry.BUSY
    if not error.request_sent:
        return retry.UNREACHED
    if isinstance(error, ConnectionLostError):
        return retry.LOST_ON_REUSE if error.reused and not error.any_byte else retry.LOST
    if isinstance(error, (FirstByteTimeoutError, TotalTimeoutError, IdleTimeoutError)):
        return retry.SILENT
    return retry.GARBLED


def _reference(headers: Mapping[str, str]) -> str | None:
    """Return the id that an upstream gives an attempt; what does not look like one might be a text of a caller."""
    named = (headers.get(name, "") for name in ("x-request-id", "x-devshard-id"))
    return next(filter(_REFERENCE.fullmatch, named), None)
