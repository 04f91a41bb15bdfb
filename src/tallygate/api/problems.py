"""From a refusal to HTTP: the one table of status, type and retry advice, and the one way to write an error.

OpenAI's clients repeat 408, 409, 429 and every 5xx by themselves; where that would be wrong, `x-should-retry: false`
tells them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from tallygate.core.errors import Code

if TYPE_CHECKING:
    from tallygate.core.errors import Refusal


class Problem(NamedTuple):
    """How one code is told over HTTP."""

    status: int
    type: str
    retry: bool | None = None


_REQUEST: Final = "invalid_request_error"
_SERVER: Final = "server_error"

PROBLEMS: Final[dict[Code, Problem]] = {
    Code.INVALID_JSON: Problem(400, _REQUEST),
    Code.INVALID_VALUE: Problem(400, _REQUEST),
    Code.UNKNOWN_PARAMETER: Problem(400, _REQUEST),
    Code.DUPLICATE_PARAMETER: Problem(400, _REQUEST),
    Code.UNSUPPORTED_PARAMETER: Problem(400, _REQUEST),
    Code.UNSUPPORTED_HEADER: Problem(400, _REQUEST),
    Code.UPSTREAM_REJECTED: Problem(400, _REQUEST),
    Code.INVALID_API_KEY: Problem(401, _REQUEST),
    Code.INSUFFICIENT_BALANCE: Problem(402, "insufficient_quota", retry=False),
    Code.ACCOUNT_DEACTIVATED: Problem(403, "permission_error"),
    Code.MODEL_NOT_ALLOWED: Problem(403, "permission_error"),
    Code.UNSUPPORTED_ENDPOINT: Problem(404, _REQUEST, retry=False),
    Code.MODEL_NOT_FOUND: Problem(404, _REQUEST),
    Code.NOT_FOUND: Problem(404, _REQUEST),
    Code.METHOD_NOT_ALLOWED: Problem(405, _REQUEST),
    Code.CONFLICT: Problem(409, _REQUEST, retry=False),
    Code.IDEMPOTENCY_IN_PROGRESS: Problem(409, _REQUEST),
    Code.IDEMPOTENCY_ALREADY_CHARGED: Problem(409, _REQUEST, retry=False),
    Code.REQUEST_TOO_LARGE: Problem(413, _REQUEST),
    Code.UNSUPPORTED_MEDIA_TYPE: Problem(415, _REQUEST),
    Code.IDEMPOTENCY_KEY_REUSED: Problem(422, _REQUEST),
    Code.BALANCE_HELD: Problem(429, "rate_limit_error"),
    Code.INTERNAL_ERROR: Problem(500, _SERVER),
    Code.UPSTREAM_ERROR: Problem(502, _SERVER),
    Code.UPSTREAM_MISCONFIGURED: Problem(502, _SERVER, retry=False),
    Code.UPSTREAM_INTERRUPTED: Problem(502, _SERVER, retry=False),
    Code.NETWORK_UNAVAILABLE: Problem(503, _SERVER),
    Code.STORE_UNAVAILABLE: Problem(503, _SERVER, retry=False),
    Code.UPSTREAM_TIMEOUT: Problem(504, _SERVER),
}

_encode = msgspec.json.Encoder().encode


class Problems:
    """The table as one installation has it.

    Args:
        out_of_money_status: What the operator answers when an account cannot pay: 402, or 429 as some clients expect.
    """

    def __init__(self, out_of_money_status: int = 402) -> None:
        self._table = dict(PROBLEMS)
        self._out_of_money_code = Code.INSUFFICIENT_BALANCE.value
        if out_of_money_status == 429:
            self._table[Code.INSUFFICIENT_BALANCE] = Problem(429, "insufficient_quota", retry=False)
            self._out_of_money_code = "insufficient_quota"

    def status(self, refusal: Refusal) -> int:
        """Return the HTTP status of a refusal."""
        return self._table[refusal.code].status

    def headers(self, refusal: Refusal) -> list[tuple[bytes, bytes]]:
        """Return the headers that a refusal adds to its answer."""
        problem = self._table[refusal.code]
        headers = [(b"content-type", b"application/json")]
        if refusal.inference is not None:
            headers.append((b"x-inference-id", refusal.inference.encode()))
        if refusal.allow is not None:
            headers.append((b"allow", refusal.allow.encode()))
        if problem.retry is not None:
            headers.append((b"x-should-retry", b"true" if problem.retry else b"false"))
        if refusal.retry_after_s is not None:
            headers.append((b"retry-after", b"%d" % min(max(refusal.retry_after_s, 1), 120)))
        return headers

    def error(self, refusal: Refusal) -> bytes:
        """Return the JSON of the `error` member."""
        problem = self._table[refusal.code]
        out_of_money = refusal.code is Code.INSUFFICIENT_BALANCE
        error: dict[str, object] = {
            "message": refusal.message,
            "type": problem.type,
            "param": refusal.param,
            "code": self._out_of_money_code if out_of_money else refusal.code.value,
        }
        if refusal.metadata is not None:
            error["metadata"] = dict(refusal.metadata)
        return _encode(error)

    def body(self, refusal: Refusal) -> bytes:
        """Return the JSON body of an answer that is nothing but this refusal."""
        return b'{"error":' + self.error(refusal) + b"}"
