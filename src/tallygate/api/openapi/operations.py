"""What each route asks and answers beyond its declaration, by method and path: the one table of the reference.

A route that is not in it cannot be described, which a test meets before anybody else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tallygate.api.metrics import MEDIA_TYPE
from tallygate.api.openapi import answered, asked, operated
from tallygate.api.openapi.shapes import Schema, ref, text
from tallygate.api.public import CHAT, COMPLETIONS
from tallygate.core.errors import Code

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON: Final = "application/json"
STREAM: Final = "text/event-stream"
HTML: Final = "text/html"

_HEAVY: Final = (Code.REQUEST_TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE)
_BODY: Final = (
    *(Code.INVALID_JSON, Code.INVALID_VALUE, Code.UNKNOWN_PARAMETER, Code.DUPLICATE_PARAMETER),
    *_HEAVY,
)


class Operation(NamedTuple):
    """What a route asks and answers.

    Attributes:
        answers: By status, the media types and shapes of answers that are no refusals.
        codes: Why it can refuse, beyond what its declaration says.
        required: The members of its body or parameters of its query that it cannot go without.
        body: The shape of its body, where that is not a few members with types.
        body_codes: Why its body can be refused.
        bounds: What is more exact here than where a parameter is described for all routes.
        refused: Another shape in which its refusals are told, beside the usual one.
        key: The name of its key, where that is not the one of all routes of the listener.
        headers: Headers of its good answers, beyond those of every answer.
    """

    answers: Mapping[int, Mapping[str, Schema]]
    codes: tuple[Code, ...] = ()
    required: tuple[str, ...] = ()
    body: Schema | None = None
    body_codes: tuple[Code, ...] = _BODY
    bounds: Mapping[str, Schema] = {}
    refused: Schema | None = None
    key: str | None = None
    headers: tuple[str, ...] = ()


def _json(shape: Schema | str, status: int = 200) -> Mapping[int, Mapping[str, Schema]]:
    return {status: {JSON: ref(shape) if isinstance(shape, str) else shape}}


SCHEMAS: Final[Mapping[str, Schema]] = {
    "Error": answered.ERROR,
    "Usage": answered.USAGE,
    "ChatRequest": asked.CHAT,
    "ChatCompletion": answered.CHAT_COMPLETION,
    "ChatChunk": answered.CHAT_CHUNK,
    "StreamError": answered.STREAM_ERROR,
    "CompletionRequest": asked.COMPLETION,
    "TextCompletion": answered.TEXT_COMPLETION,
    "TextChunk": answered.TEXT_CHUNK,
    "Balance": answered.BALANCE_NOW,
    "Model": answered.MODEL,
    "UsageSums": answered.USAGE_SUMS,
    "Checkpoint": answered.CHECKPOINT,
    "Receipt": answered.RECEIPT_DOCUMENT,
    "Account": operated.ACCOUNT,
    "Key": operated.KEY,
    "PriceSheet": operated.SHEET,
}
"""The shapes that have a name, since they stand in more than one place or people ask for them."""

_CALL_HEADERS: Final = (
    *("x-inference-id", "x-tallygate-changes", "x-tallygate-replayed"),
    *(f"x-ratelimit-{what}-{of}" for of in ("requests", "tokens") for what in ("limit", "remaining", "reset")),
)
_CALL_CODES: Final = (Code.MODEL_NOT_FOUND, Code.MODEL_NOT_ALLOWED)
_KEYED: Final = (Code.INVALID_API_KEY, Code.ACCOUNT_DEACTIVATED)
_USAGE: Final = Operation(
    {200: {JSON: ref("UsageSums"), "text/csv": answered.CSV}},
    bounds={"limit": {"maximum": 5000}},
    headers=("x-next-cursor",),
)
_PAGE: Final = {200: {HTML: text("A page.")}}

PUBLIC: Final[Mapping[tuple[str, str], Operation]] = {
    ("POST", CHAT): Operation(
        {200: {JSON: ref("ChatCompletion"), STREAM: answered.stream_of("ChatChunk")}},
        (*_CALL_CODES, Code.UNSUPPORTED_PARAMETER),
        body=ref("ChatRequest"),
        headers=_CALL_HEADERS,
    ),
    ("POST", COMPLETIONS): Operation(
        {200: {JSON: ref("TextCompletion"), STREAM: answered.stream_of("TextChunk")}},
        (*_CALL_CODES, Code.UNSUPPORTED_PARAMETER),
        body=ref("CompletionRequest"),
        headers=_CALL_HEADERS,
    ),
    ("GET", "/health/live"): Operation(_json(answered.LIVE)),
    ("GET", "/health/ready"): Operation({**_json(answered.READY), **_json(answered.READY, 503)}),
    ("GET", "/v1/models"): Operation(_json(answered.MODELS), _KEYED),
    ("GET", "/v1/models/{id}"): Operation(_json("Model"), (*_KEYED, *_CALL_CODES)),
    ("POST", "/v1/estimate"): Operation(_json(answered.ESTIMATE), body=ref("ChatRequest"), body_codes=_HEAVY),
    ("GET", "/api/v1/public/pricing"): Operation(_json(answered.PRICE_LIST)),
    ("GET", "/api/v1/pricing"): Operation(_json(answered.PRICE_LIST)),
    ("GET", "/api/pricing"): Operation(_json(answered.MONITORED_PRICES)),
    ("GET", "/v1/balance"): Operation(_json("Balance")),
    ("GET", "/v1/test-auth"): Operation(_json(answered.KEY_STATUS)),
    ("GET", "/api/v1/whoami"): Operation(_json(answered.WHOAMI), _KEYED, refused=answered.WHOAMI_ERROR),
    ("GET", "/v1/usage"): _USAGE,
    ("GET", "/v1/checkpoints/latest"): Operation(_json("Checkpoint"), (Code.NOT_FOUND,)),
    ("GET", "/v1/usage/{inference}"): Operation(_json("Receipt")),
    ("GET", "/v1/balance/proof"): Operation(_json(answered.BALANCE_DOCUMENT), (Code.NOT_FOUND,)),
    ("GET", "/openapi.json"): Operation(_json({"type": "object", "description": "An OpenAPI document."})),
    ("GET", "/metrics"): Operation(
        {200: {MEDIA_TYPE.decode().split(";")[0]: text("Prometheus's text format.")}}, key="metrics_key"
    ),
    ("GET", "/docs"): Operation(_PAGE),
    ("GET", "/docs/reference"): Operation(_PAGE),
    ("GET", "/docs/pricing"): Operation(_PAGE),
    ("GET", "/docs/models"): Operation(_PAGE),
}

_ONE: Final = "/admin/v1/accounts/{id}"
_KEY: Final = "/admin/v1/keys/{id}"

ADMIN: Final[Mapping[tuple[str, str], Operation]] = {
    ("POST", "/admin/v1/accounts"): Operation(_json("Account", 201), required=("name",)),
    ("GET", "/admin/v1/accounts"): Operation(_json(operated.ACCOUNTS)),
    ("GET", _ONE): Operation(_json(operated.ACCOUNT_WITH_KEYS)),
    ("POST", _ONE + "/deposits"): Operation(
        {**_json(operated.DEPOSIT), **_json(operated.DEPOSIT, 201)}, (Code.CONFLICT,), required=("usd",)
    ),
    ("POST", _ONE + "/corrections"): Operation(
        {**_json(operated.CORRECTION), **_json(operated.CORRECTION, 201)}, required=("usd", "reason")
    ),
    ("PATCH", _ONE): Operation(_json("Account")),
    ("POST", _ONE + "/suspend"): Operation(_json("Account"), required=("reason",)),
    ("POST", _ONE + "/resume"): Operation(_json("Account"), required=("reason",)),
    ("GET", _ONE + "/statement"): Operation(_json(operated.STATEMENT), required=("month",)),
    ("GET", _ONE + "/usage"): _USAGE,
    ("POST", "/admin/v1/keys"): Operation(
        _json(operated.NEW_KEY, 201), (Code.CONFLICT, Code.NOT_FOUND), required=("account",)
    ),
    ("GET", "/admin/v1/keys"): Operation(_json(operated.KEYS), (Code.NOT_FOUND,)),
    ("GET", _KEY): Operation(_json("Key")),
    ("PATCH", _KEY): Operation(_json("Key"), (Code.CONFLICT,)),
    ("DELETE", _KEY): Operation(_json("Key"), (Code.CONFLICT,)),
    ("POST", _KEY + "/pause"): Operation(_json("Key"), (Code.CONFLICT,)),
    ("POST", _KEY + "/resume"): Operation(_json("Key"), (Code.CONFLICT,)),
    ("POST", _KEY + "/rotate"): Operation(_json(operated.ROTATED_KEY), (Code.CONFLICT,)),
    ("GET", "/admin/v1/prices"): Operation(_json("PriceSheet")),
    ("POST", "/admin/v1/prices"): Operation(_json("PriceSheet"), required=("model",)),
    ("GET", "/admin/v1/upstreams"): Operation(_json(operated.UPSTREAMS), (Code.NOT_FOUND,)),
    ("GET", "/admin/v1/alarms"): Operation(_json(operated.ALARMS), (Code.NOT_FOUND,)),
    ("GET", "/admin/v1/wallets"): Operation(_json(operated.WALLETS), (Code.NOT_FOUND,)),
    ("GET", "/admin/v1/inferences"): Operation(_json(operated.CALLS), bounds={"limit": {"maximum": 500}}),
    ("GET", "/admin/v1/inferences/{id}"): Operation(_json(operated.CALL)),
    ("GET", "/admin/v1/margin"): Operation(_json(operated.MARGIN), bounds={"limit": {"maximum": 5000}}),
    ("GET", "/admin/v1/events"): Operation(_json(operated.EVENTS)),
    ("POST", "/admin/v1/checkpoints"): Operation(_json("Checkpoint", 201), (Code.NOT_FOUND,)),
    ("GET", "/admin/v1/receipts/{inference}"): Operation(_json("Receipt")),
    ("POST", "/admin/v1/verify"): Operation(_json(operated.REPORT)),
    ("GET", "/openapi.json"): PUBLIC["GET", "/openapi.json"],
    ("GET", "/metrics"): PUBLIC["GET", "/metrics"],
}
