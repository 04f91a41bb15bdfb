"""Refusals over HTTP: every code has its row, in OpenAI's shape, with the retry advice that is right for clients."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.api.problems import PROBLEMS, Problems
from tallygate.core.errors import Code, Refusal

# The design's and the contract's words: status, type, whether the clients' own rule for retries is corrected.
ROWS = {
    Code.INVALID_HTTP: (400, "invalid_request_error", "false"),
    Code.INVALID_JSON: (400, "invalid_request_error", None),
    Code.INVALID_VALUE: (400, "invalid_request_error", None),
    Code.UNKNOWN_PARAMETER: (400, "invalid_request_error", None),
    Code.DUPLICATE_PARAMETER: (400, "invalid_request_error", None),
    Code.UNSUPPORTED_PARAMETER: (400, "invalid_request_error", None),
    Code.UNSUPPORTED_HEADER: (400, "invalid_request_error", None),
    Code.UPSTREAM_REJECTED: (400, "invalid_request_error", None),
    Code.INVALID_API_KEY: (401, "invalid_request_error", None),
    Code.INSUFFICIENT_BALANCE: (402, "insufficient_quota", "false"),
    Code.ACCOUNT_DEACTIVATED: (403, "permission_error", None),
    Code.MODEL_NOT_ALLOWED: (403, "permission_error", None),
    Code.UNSUPPORTED_ENDPOINT: (404, "invalid_request_error", "false"),
    Code.MODEL_NOT_ALLOWED: (403, "permission_error", None),
    Code.MODEL_NOT_FOUND: (404, "invalid_request_error", None),
    Code.NOT_FOUND: (404, "invalid_request_error", None),
    Code.METHOD_NOT_ALLOWED: (405, "invalid_request_error", None),
    Code.REQUEST_TIMEOUT: (408, "invalid_request_error", "false"),
    Code.CONFLICT: (409, "invalid_request_error", "false"),
    Code.IDEMPOTENCY_IN_PROGRESS: (409, "invalid_request_error", None),
    Code.IDEMPOTENCY_ALREADY_CHARGED: (409, "invalid_request_error", "false"),
    Code.IDEMPOTENCY_KEY_REUSED: (422, "invalid_request_error", None),
    Code.REQUEST_TOO_LARGE: (413, "invalid_request_error", None),
    Code.UNSUPPORTED_MEDIA_TYPE: (415, "invalid_request_error", None),
    Code.UNSUPPORTED_EXPECTATION: (417, "invalid_request_error", None),
    Code.BALANCE_HELD: (429, "rate_limit_error", None),
    Code.RATE_LIMIT_EXCEEDED: (429, "rate_limit_error", None),
    Code.CONCURRENCY_LIMIT_EXCEEDED: (429, "rate_limit_error", None),
    Code.SPEND_LIMIT_EXCEEDED: (429, "insufficient_quota", None),
    Code.HEAD_TOO_LARGE: (431, "invalid_request_error", "false"),
    Code.INTERNAL_ERROR: (500, "server_error", None),
    Code.UPSTREAM_ERROR: (502, "server_error", None),
    Code.UPSTREAM_MISCONFIGURED: (502, "server_error", "false"),
    Code.UPSTREAM_INTERRUPTED: (502, "server_error", "false"),
    Code.NETWORK_UNAVAILABLE: (503, "server_error", None),
    Code.STORE_UNAVAILABLE: (503, "server_error", "false"),
    Code.UPSTREAM_TIMEOUT: (504, "server_error", None),
}


def headers(refusal: Refusal, problems: Problems | None = None) -> dict[str, str]:
    """Return the headers of a refusal, each of which stands once."""
    found = (problems or Problems()).headers(refusal)
    assert len({name for name, _ in found}) == len(found)
    return {name.decode(): value.decode() for name, value in found}


def test_every_code_has_a_row() -> None:
    """No code is without a status, and the table has no others."""
    assert set(Code) == set(PROBLEMS) == set(ROWS)


@pytest.mark.parametrize(("code", "row"), list(ROWS.items()), ids=[code.value for code in ROWS])
def test_row(code: Code, row: tuple[int, str, str | None]) -> None:
    """Each code has its status and type, and tells clients not to retry where their own rule would be wrong."""
    refusal = Refusal(code, "Words.")
    status, type_, should_retry = row
    assert Problems().status(refusal) == status
    assert json.loads(Problems().error(Refusal(code)))["message"] == PROBLEMS[code].message
    assert json.loads(Problems().body(refusal)) == {
        "error": {"message": "Words.", "type": type_, "param": None, "code": code.value}
    }
    assert headers(refusal).get("x-should-retry") == should_retry


@pytest.mark.parametrize("code", list(Code))
def test_what_must_not_be_repeated(code: Code) -> None:
    """A client that repeats 408, 409, 429 and 5xx by itself never repeats what only a person can mend."""
    status, _, should_retry = ROWS[code]
    repeated = (status in (408, 409, 429) or status >= 500) and should_retry is None
    assert repeated == (
        code
        in {
            Code.IDEMPOTENCY_IN_PROGRESS,
            Code.BALANCE_HELD,
            Code.RATE_LIMIT_EXCEEDED,
            Code.CONCURRENCY_LIMIT_EXCEEDED,
            Code.SPEND_LIMIT_EXCEEDED,
            Code.INTERNAL_ERROR,
            Code.UPSTREAM_ERROR,
            Code.NETWORK_UNAVAILABLE,
            Code.UPSTREAM_TIMEOUT,
        }
    )


@pytest.mark.parametrize(("status", "code"), [(402, "insufficient_balance"), (429, "insufficient_quota")])
def test_out_of_money(status: int, code: str) -> None:
    """Out of money is 402 or, as some clients expect, 429 with OpenAI's code; never to be retried in either."""
    refusal = Refusal(Code.INSUFFICIENT_BALANCE, "No money.", metadata={"balance_usd": "0", "required_usd": "1.5"})
    problems = Problems(status)
    assert problems.status(refusal) == status
    error = json.loads(problems.error(refusal))
    assert (error["type"], error["code"]) == ("insufficient_quota", code)
    assert error["metadata"] == {"balance_usd": "0", "required_usd": "1.5"}
    assert headers(refusal, problems)["x-should-retry"] == "false"


def test_the_network_is_quoted() -> None:
    """What the network has said of a request stands behind what the code means."""
    error = json.loads(Problems().error(Refusal(Code.UPSTREAM_REJECTED, quote="top_p must be above zero")))
    assert error["message"] == "The network rejected this request. It says: top_p must be above zero"


def test_every_code_is_explained() -> None:
    """Each code has a meaning and an advice of its own, as sentences; no meaning does for two codes."""
    for problem in PROBLEMS.values():
        assert re.fullmatch(r"[A-Z/].*[.…]", problem.message)
        assert re.fullmatch(r"[A-Z].*\.", problem.advice)
    assert len({problem.message for problem in PROBLEMS.values()}) == len(PROBLEMS)


def test_installations_are_apart() -> None:
    """One installation's setting does not change another's table."""
    Problems(429)
    assert Problems().status(Refusal(Code.INSUFFICIENT_BALANCE, "")) == 402


@pytest.mark.parametrize(
    ("wait_s", "shown"), [(None, None), (-5, "1"), (0, "1"), (1, "1"), (120, "120"), (9999, "120")]
)
def test_retry_after(wait_s: int | None, shown: str | None) -> None:
    """`retry-after` is in whole seconds between 1 and 120, and absent where none makes sense."""
    assert headers(Refusal(Code.NETWORK_UNAVAILABLE, "", retry_after_s=wait_s)).get("retry-after") == shown


def test_inference_id() -> None:
    """From the hold on, the id of the inference is told."""
    assert headers(Refusal(Code.UPSTREAM_ERROR, "", inference="chatcmpl-1"))["x-inference-id"] == "chatcmpl-1"
    assert "x-inference-id" not in headers(Refusal(Code.UPSTREAM_ERROR, ""))


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")) | st.none())
def test_any_words(message: str, param: str | None) -> None:
    """Whatever words a refusal has, its body is one line of JSON that says just them, or else what the code means."""
    refusal = Refusal(Code.INVALID_VALUE, message, param=param)
    body = Problems().body(refusal)
    error = json.loads(body)["error"]
    assert (error["message"], error["param"]) == (message or PROBLEMS[Code.INVALID_VALUE].message, param)
    assert not re.search(rb"[\r\n]", body)
    assert headers(refusal)["content-type"] == "application/json"
