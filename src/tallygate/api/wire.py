"""A refusal as the bytes of a whole HTTP/1.1 answer: for what is refused before any handler could be asked.

The words are those of the one table (`problems`), so that nobody can tell by the answer how early a request was
refused. What may not live here: deciding what is refused, and how a connection goes on afterwards.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from tallygate.api.problems import Problems
from tallygate.core.errors import Refusal

if TYPE_CHECKING:
    from tallygate.api.http import Headers
    from tallygate.core.errors import Code

KEPT_MAX: Final = 256
"""How many different answers are kept ready: a handful for each route and each time to wait."""


class RefusalWriter:
    """Writes refusals, and keeps what is the same in each of a kind.

    Args:
        problems: How refusals are told.
    """

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._kept: dict[tuple[Code, str, int | None, str | None], tuple[bytes, bytes, bytes]] = {}

    def write(self, refusal: Refusal, request_id: str, headers: Headers, *, has_body: bool) -> bytes:
        """Return the answer to a request, with these headers too; one to HEAD has no body."""
        kind = (refusal.code, refusal.message, refusal.retry_after_s, refusal.allow)
        kept = self._kept.get(kind)
        if kept is None:
            if len(self._kept) >= KEPT_MAX:
                self._kept.clear()
            kept = self._kept[kind] = self._render(refusal)
        start, end, body = kept
        more = b"".join([b"%s: %s\r\n" % header for header in headers])
        return b"".join((start, more, end, request_id.encode(), b"\r\n\r\n", body if has_body else b""))

    def _render(self, refusal: Refusal) -> tuple[bytes, bytes, bytes]:
        status = self._problems.status(refusal)
        body = self._problems.body(refusal)
        headers = [*self._problems.headers(refusal), (b"content-length", b"%d" % len(body))]
        end = b"".join([b"%s: %s\r\n" % header for header in headers]) + b"x-request-id: "
        return b"HTTP/1.1 %d %s\r\n" % (status, HTTPStatus(status).phrase.encode()), end, body


def last_answer(code: Code, request_id: str) -> bytes:
    """Return the answer after which a connection is closed, to what is not even a request."""
    return RefusalWriter(Problems()).write(Refusal(code), request_id, [(b"connection", b"close")], has_body=True)
