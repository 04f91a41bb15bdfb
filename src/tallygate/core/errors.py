"""Why a call can be refused or fail, in the words of the contract.

A `Refusal` is an expected outcome with a stable code and, where it helps, a more exact message for the caller and the
place in the request. What a code means and what HTTP makes of it is the edge's table (`api/problems.py`), not ours.
Anything that is *not* a `Refusal` or one of the few errors below is a defect of ours.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tallygate.core.limits import Rates


class Code(StrEnum):
    """The stable codes of the contract (`error.code`)."""

    INVALID_HTTP = "invalid_http"
    INVALID_JSON = "invalid_json"
    INVALID_VALUE = "invalid_value"
    UNKNOWN_PARAMETER = "unknown_parameter"
    DUPLICATE_PARAMETER = "duplicate_parameter"
    UNSUPPORTED_PARAMETER = "unsupported_parameter"
    UNSUPPORTED_HEADER = "unsupported_header"
    UNSUPPORTED_ENDPOINT = "unsupported_endpoint"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    REQUEST_TIMEOUT = "request_timeout"
    REQUEST_TOO_LARGE = "request_too_large"
    HEAD_TOO_LARGE = "head_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    UNSUPPORTED_EXPECTATION = "unsupported_expectation"
    INVALID_API_KEY = "invalid_api_key"
    ACCOUNT_DEACTIVATED = "account_deactivated"
    MODEL_NOT_ALLOWED = "model_not_allowed"
    MODEL_NOT_FOUND = "model_not_found"
    RATE_LIMIT_EXCEEDED = "rate_limit_exceeded"
    CONCURRENCY_LIMIT_EXCEEDED = "concurrency_limit_exceeded"
    SPEND_LIMIT_EXCEEDED = "spend_limit_exceeded"
    BALANCE_HELD = "balance_held"
    INSUFFICIENT_BALANCE = "insufficient_balance"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    IDEMPOTENCY_IN_PROGRESS = "idempotency_in_progress"
    IDEMPOTENCY_ALREADY_CHARGED = "idempotency_already_charged"
    UPSTREAM_REJECTED = "upstream_rejected"
    UPSTREAM_ERROR = "upstream_error"
    UPSTREAM_MISCONFIGURED = "upstream_misconfigured"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    UPSTREAM_INTERRUPTED = "upstream_interrupted"
    NETWORK_UNAVAILABLE = "network_unavailable"
    STORE_UNAVAILABLE = "store_unavailable"
    INTERNAL_ERROR = "internal_error"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"


STORE_RETRY_AFTER_S: Final = 30
"""When a caller may try again after the store has failed: it takes a new start of the process to mend it."""


RETRY_AFTER_S_MAX: Final = 120
"""OpenAI's clients take a longer `retry-after` for none at all, and come back within a second."""


class Refusal(Exception):  # noqa: N818  (it is an answer, not a fault of the program)
    """A call ends here, and the caller is told why.

    Args:
        code: What happened, for programs.
        message: What happened and what to change, for people, where more can be said than the code means by itself.
            Never a secret, never a caller's text.
        param: The path of the offending place, such as `messages[3].content[1].type`.
        metadata: Further exact strings (402: `balance_usd`, `available_usd`, `required_usd`; 409: what was charged).
        retry_after_s: When a new try makes sense, in seconds.
        retry: Whether a client should try again by itself, where the code alone does not tell.
        inference: The id of the inference that it ended, from the hold on.
        allow: The methods that would do (405).
        quote: What the network has said of it, to be added to the message.

    Attributes:
        rates: What is left of the caller's limits per minute, where they have been asked.
    """

    def __init__(
        self,
        code: Code,
        message: str = "",
        *,
        param: str | None = None,
        metadata: Mapping[str, str] | None = None,
        retry_after_s: int | None = None,
        retry: bool | None = None,
        inference: str | None = None,
        allow: str | None = None,
        quote: str | None = None,
    ) -> None:
        super().__init__(message or code.value)
        self.code = code
        self.message = message
        self.param = param
        self.metadata = metadata
        self.retry_after_s = retry_after_s
        self.retry = retry
        self.inference = inference
        self.allow = allow
        self.quote = quote
        self.rates: Rates | None = None


class InvariantBrokenError(Exception):
    """A rule that guards money would have been broken; the step was not taken. Always a defect of ours."""


class StoreUnavailableError(Exception):
    """The store cannot take writes (any more); what was not yet durable may or may not be kept by the disk."""


class FencedError(StoreUnavailableError):
    """Another process has taken the books over (a later epoch exists); this one may not write again."""
