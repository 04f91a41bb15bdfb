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

    from tallygate.core.standing import End, Sent, Standing
    from tallygate.network.answer import Answer
    from tallygate.network.client import HttpClient
    from tallygate.network.origin import Origin

ESCROW_MARK: Final = "@"
"""Stands between the two ids of one attempt; no id has it."""

_REFERENCE: Final = re.compile(r"[A-Za-z0-9_.:+/=-]{1,128}", re.ASCII)


class SentAnswer:
    """An answer whose body is read with the retry table's errors, and whose place learns how it went.

    Attributes:
        status: The HTTP status.
        reference: The upstream's own id of this attempt.
    """

    __slots__ = ("_answer", "_begun", "_sent", "_standing", "reference", "status")

    def __init__(self, answer: Answer, reference: str | None, standing: Standing, sent: Sent) -> None:
        self._answer = answer
        self._standing = standing
        self._sent = sent
        self._begun = False
        self.status = answer.status
        self.reference = reference

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, names in lower case."""
        return self._answer.headers

    async def read(self) -> bytes:
        """Return the body's bytes that have come, waiting for at least one; empty at its complete end."""
        try:
            data = await self._answer.read()
        except UpstreamConnectionError as error:
            failure = judge(error)
        else:
            if not data:
                self._standing.finish(self._sent)
            elif not self._begun:
                self._begun = True
                if self.status == 200:
                    self._standing.answered(self._sent)
            return data
        self._standing.finish(self._sent)
        raise SendingError(failure)

    async def read_all(self, bytes_max: int) -> bytes:
        """Return the rest of the body."""
        try:
            data = await self._answer.read_all(bytes_max)
        except UpstreamConnectionError as error:
            failure = judge(error)
        else:
            self._standing.finish(self._sent)
            return data
        self._standing.finish(self._sent)
        raise SendingError(failure)

    def abandon(self) -> None:
        """Let the connection go at once."""
        self._standing.finish(self._sent)
        self._answer.abandon()

    def conclude(self, end: End, tokens: tuple[int, int] | None = None, *, is_odd: bool = False) -> None:
        """Tell the place how its answer ended; see `Standing.conclude`."""
        self._standing.conclude(self._sent, end, tokens, is_odd=is_odd)


class KnownAnswer(SentAnswer):
    """An answer whose body has been read already."""

    __slots__ = ("_body",)

    def __init__(self, answer: SentAnswer, body: bytes) -> None:
        super().__init__(answer._answer, answer.reference, answer._standing, answer._sent)  # noqa: SLF001  (its own kind)
        self._body = body

    async def read(self) -> bytes:
        """Return what is left of the body."""
        body, self._body = self._body, b""
        return body

    async def read_all(self, bytes_max: int) -> bytes:
        """Return what is left of the body, which was bounded when it was read."""
        del bytes_max
        return await self.read()


async def send(
    client: HttpClient,
    origin: Origin,
    path: bytes,
    headers: bytes,
    body: bytes,
    standing: Standing,
    *,
    fresh: bool,
    streams: bool = False,
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
        standing: How the place stands, which learns of this sending.
        fresh: On a connection that has not served before.
        streams: Whether the answer is to come as a stream.
        on_sent: Called once a connection has begun to carry the request, with the reference, if it is known by then.
        reference: The id that the upstream gives this attempt, where we know it beforehand; else its header's.

    Raises:
        SendingError: It failed before the headers of an answer.
    """
    sent = standing.begin(streams=streams)
    answer = None
    try:
        noted = None if on_sent is None else partial(on_sent, reference)
        answer = await client.post(origin, path, headers, body, fresh=fresh, on_sent=noted)
    except UpstreamConnectionError as error:
        failure = judge(error)
    else:
        return SentAnswer(answer, reference or _reference(answer.headers), standing, sent)
    finally:
        if answer is None:  # also where the caller has left meanwhile
            standing.finish(sent)
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
    """Return the id that an upstream gives an attempt; what does not look like one might be a text of a caller.

    The network's gateway program names the request and, besides, the escrow that pays it: both are kept, as
    `request@escrow`, since only the two together find the attempt again once the escrow has been settled.
    """
    named = [headers.get(name) for name in ("x-request-id", "x-devshard-id")]
    ids = [name for name in named if name is not None and _REFERENCE.fullmatch(name)]
    return ESCROW_MARK.join(ids) or None


def request_of(reference: str) -> str:
    """Return the id of the request in a reference, without that of its escrow."""
    return reference.partition(ESCROW_MARK)[0]
