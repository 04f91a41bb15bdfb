"""From a refusal to HTTP: the one table of status, type, meaning and advice, and the one way to write an error.

The reference in `docs/contract.md` is drawn from it. A message is for the caller; what the log says is for the
operator, has words of its own, and is written by whoever knows more than the caller may.

OpenAI's clients repeat 408, 409, 429 and every 5xx by themselves; where that would be wrong, `x-should-retry: false`
tells them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from tallygate.core.errors import RETRY_AFTER_S_MAX, Code

if TYPE_CHECKING:
    from tallygate.core.errors import Refusal


class Problem(NamedTuple):
    """How one code is told over HTTP.

    Attributes:
        status: The HTTP status.
        type: The `error.type`.
        message: What it means: what a caller is told where whoever refuses has nothing more exact to say.
        advice: What a caller can do about it, for the reference.
        retry: What `x-should-retry` says; None leaves clients to their own rule.
    """

    status: int
    type: str
    message: str
    advice: str
    retry: bool | None = None


_REQUEST: Final = "invalid_request_error"
_LIMIT: Final = "rate_limit_error"
_SERVER: Final = "server_error"

PROBLEMS: Final[dict[Code, Problem]] = {
    Code.INVALID_HTTP: Problem(
        400, _REQUEST, "The request is not valid HTTP/1.1.", "Mend the client or the proxy that wrote it.", retry=False
    ),
    Code.INVALID_JSON: Problem(400, _REQUEST, "The body is not valid JSON.", "Send one JSON object, in UTF-8."),
    Code.INVALID_VALUE: Problem(
        400, _REQUEST, "A parameter has a value that it cannot have.", "Change what `param` names."
    ),
    Code.UNKNOWN_PARAMETER: Problem(
        400, _REQUEST, "There is no such parameter.", "Leave out, or spell as documented, what `param` names."
    ),
    Code.DUPLICATE_PARAMETER: Problem(
        400, _REQUEST, "A parameter is given twice.", "Give what `param` names once; letter case makes no difference."
    ),
    Code.UNSUPPORTED_PARAMETER: Problem(
        400, _REQUEST, "This parameter is not offered here.", "Leave out what `param` names."
    ),
    Code.UNSUPPORTED_HEADER: Problem(
        400, _REQUEST, "This header is not offered here.", "Leave out the header that `param` names."
    ),
    Code.UPSTREAM_REJECTED: Problem(
        400,
        _REQUEST,
        "The network rejected this request.",
        "Change the request as the message says; it would be rejected again.",
    ),
    Code.INVALID_API_KEY: Problem(
        401,
        _REQUEST,
        "There is no such API key; send yours as Authorization: Bearer tg-….",
        "Check the key for typing errors; if it was ended, ask the operator for another.",
    ),
    Code.INSUFFICIENT_BALANCE: Problem(
        402,
        "insufficient_quota",
        "The account does not have enough money for this call.",
        "Pay in, or ask for less: `metadata` says what is there and what is needed.",
        retry=False,
    ),
    Code.ACCOUNT_DEACTIVATED: Problem(
        403, "permission_error", "The account is suspended.", "Ask the operator; nothing in the request is wrong."
    ),
    Code.MODEL_NOT_ALLOWED: Problem(
        403, "permission_error", "This API key may not use this model.", "Choose another model, or ask the operator."
    ),
    Code.UNSUPPORTED_ENDPOINT: Problem(
        404, _REQUEST, "This route is not offered here.", "Use one of the routes below.", retry=False
    ),
    Code.MODEL_NOT_FOUND: Problem(
        404,
        _REQUEST,
        "There is no such model here; /v1/models lists what there is.",
        "Choose a model that `GET /v1/models` lists.",
    ),
    Code.NOT_FOUND: Problem(
        404, _REQUEST, "There is nothing with this id.", "Check the id; what is another account's is not there, either."
    ),
    Code.METHOD_NOT_ALLOWED: Problem(
        405, _REQUEST, "This route does not take this method.", "Use a method that the header `allow` lists."
    ),
    Code.REQUEST_TIMEOUT: Problem(
        408,
        _REQUEST,
        "The request took too long to come.",
        "Send the whole request at once; the limits are the operator's.",
        retry=False,
    ),
    Code.CONFLICT: Problem(
        409,
        _REQUEST,
        "This contradicts what was done before.",
        "Look at what is there before trying again.",
        retry=False,
    ),
    Code.IDEMPOTENCY_IN_PROGRESS: Problem(
        409, _REQUEST, "The call with this idempotency key is under way.", "Wait, and send the same request again."
    ),
    Code.IDEMPOTENCY_ALREADY_CHARGED: Problem(
        409,
        _REQUEST,
        "The call with this idempotency key was charged, and its answer is gone.",
        "Send it under another key if you want to pay for a new answer.",
        retry=False,
    ),
    Code.REQUEST_TOO_LARGE: Problem(413, _REQUEST, "The body is too large.", "Send less; the message says how much."),
    Code.UNSUPPORTED_MEDIA_TYPE: Problem(
        415,
        _REQUEST,
        "The body is of a kind that is not taken here.",
        "Send `Content-Type: application/json`, and no `Content-Encoding`.",
    ),
    Code.UNSUPPORTED_EXPECTATION: Problem(
        417,
        _REQUEST,
        "The only expectation that is met here is Expect: 100-continue.",
        "Leave out the header `Expect`.",
    ),
    Code.IDEMPOTENCY_KEY_REUSED: Problem(
        422, _REQUEST, "This idempotency key was used for another request.", "Use a new key for a new request."
    ),
    Code.BALANCE_HELD: Problem(
        429,
        _LIMIT,
        "The account's money is held by calls under way.",
        "Wait for one of them to end: what it does not use comes back.",
    ),
    Code.RATE_LIMIT_EXCEEDED: Problem(
        429, _LIMIT, "Too many requests.", "Wait for as long as `retry-after` says, and send less often."
    ),
    Code.CONCURRENCY_LIMIT_EXCEEDED: Problem(
        429, _LIMIT, "Too many calls are under way.", "Wait for one of them to end before the next."
    ),
    Code.SPEND_LIMIT_EXCEEDED: Problem(
        429,
        "insufficient_quota",
        "What this API key or account may spend is spent.",
        "Wait for the next day or month, as the message says, or ask the operator.",
    ),
    Code.HEAD_TOO_LARGE: Problem(
        431, _REQUEST, "The request's head is too large.", "Send fewer or shorter headers.", retry=False
    ),
    Code.INTERNAL_ERROR: Problem(
        500,
        _SERVER,
        "The gateway made a mistake; it has been logged under this request's id.",
        "Try again; tell the operator the `x-request-id`.",
    ),
    Code.UPSTREAM_ERROR: Problem(
        502, _SERVER, "The network's answer could not be used; nothing was charged.", "Try again."
    ),
    Code.UPSTREAM_MISCONFIGURED: Problem(
        502,
        _SERVER,
        "The gateway's access to the network is not in order; its operator has been told.",
        "Wait for the operator to mend it.",
        retry=False,
    ),
    Code.UPSTREAM_INTERRUPTED: Problem(
        502,
        _SERVER,
        "The network broke the answer off; what had come until then was charged.",
        "Use what came, or pay for a new answer.",
        retry=False,
    ),
    Code.NETWORK_UNAVAILABLE: Problem(
        503,
        _SERVER,
        "No node of the network could take this call; nothing was charged.",
        "Wait for as long as `retry-after` says, and try again.",
    ),
    Code.STORE_UNAVAILABLE: Problem(
        503,
        _SERVER,
        "The gateway's books cannot be written now.",
        "Tell the operator: it takes a new start of the gateway.",
        retry=False,
    ),
    Code.UPSTREAM_TIMEOUT: Problem(
        504, _SERVER, "The network did not answer in time; nothing was charged.", "Try again, or ask for fewer tokens."
    ),
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
            told = PROBLEMS[Code.INSUFFICIENT_BALANCE]
            self._table[Code.INSUFFICIENT_BALANCE] = told._replace(status=429)
            self._out_of_money_code = "insufficient_quota"

    def status(self, refusal: Refusal) -> int:
        """Return the HTTP status of a refusal."""
        return self._table[refusal.code].status

    def status_of(self, code: Code) -> int:
        """Return the HTTP status of every refusal with this code."""
        return self._table[code].status

    def headers(self, refusal: Refusal) -> list[tuple[bytes, bytes]]:
        """Return the headers that a refusal adds to its answer."""
        problem = self._table[refusal.code]
        headers = [(b"content-type", b"application/json")]
        if refusal.inference is not None:
            headers.append((b"x-inference-id", refusal.inference.encode()))
        if refusal.allow is not None:
            headers.append((b"allow", refusal.allow.encode()))
        retry = problem.retry if refusal.retry is None else refusal.retry
        if retry is not None:
            headers.append((b"x-should-retry", b"true" if retry else b"false"))
        if refusal.retry_after_s is not None:
            headers.append((b"retry-after", b"%d" % min(max(refusal.retry_after_s, 1), RETRY_AFTER_S_MAX)))
        if refusal.rates is not None:
            headers += refusal.rates.headers()
        return headers

    def error(self, refusal: Refusal) -> bytes:
        """Return the JSON of the `error` member."""
        problem = self._table[refusal.code]
        out_of_money = refusal.code is Code.INSUFFICIENT_BALANCE
        message = refusal.message or problem.message
        if refusal.quote is not None:
            message = f"{message} It says: {refusal.quote}"
        error: dict[str, object] = {
            "message": message,
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
