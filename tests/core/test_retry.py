"""The retry table: what each answer and each failure means for the next try, the money, the caller, and the log."""

from __future__ import annotations

import json
import re
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.core import retry
from tallygate.core.errors import Code
from tallygate.core.retry import INFINITY_S, Failure, Retry, judge_status, refusal_of, retry_after

SIGNED, BEARER = True, False
SECRET = "zebra7f3a"


def judge(status: int, said: str, *, signed: bool, headers: dict[str, str] | None = None) -> Failure:
    """Return the row for what a place says in its own form of an error."""
    error: object = said if signed else {"message": said}
    return judge_status(status, headers or {}, json.dumps({"error": error}).encode(), signed=signed)


PUBKEY = "Unable to validate request against PubKey:invalid signature"
ENGINE = "Inference node response with an error. code = 400. error = {bad}."
NODE, RISKY, UPSTREAM, NEVER = Retry.NODE, Retry.RISKY, Retry.UPSTREAM, Retry.NEVER
MISCONFIGURED, UNAVAILABLE = Code.UPSTREAM_MISCONFIGURED, Code.NETWORK_UNAVAILABLE
REJECTED, BROKEN = Code.UPSTREAM_REJECTED, Code.UPSTREAM_ERROR

# status, what the node says, then: retry, code, charged, out for, alarm
ROWS = [
    (413, "request body too large", SIGNED, NEVER, REJECTED, False, 0, False),
    (400, "invalid chat completion request: x", SIGNED, NEVER, REJECTED, False, 0, False),
    (400, "messages is required", SIGNED, NEVER, REJECTED, False, 0, False),
    (403, "Transfer Agent not allowed", SIGNED, NODE, UNAVAILABLE, False, 300, False),
    (401, "Authorization is required", SIGNED, UPSTREAM, MISCONFIGURED, False, 5, True),
    (400, "No model specified", SIGNED, NEVER, REJECTED, False, 0, False),
    (403, "inference requests are restricted until block height 7", SIGNED, UPSTREAM, MISCONFIGURED, False, 5, True),
    (503, "unable to fetch chain params", SIGNED, NODE, UNAVAILABLE, False, 5, False),
    (400, "messages[0].content: bad", SIGNED, NEVER, REJECTED, False, 0, False),
    (500, "rpc error: code = NotFound desc = account not found", SIGNED, UPSTREAM, MISCONFIGURED, False, 5, True),
    (401, PUBKEY, SIGNED, UPSTREAM, MISCONFIGURED, False, 5, True),
    (404, "model not found", SIGNED, NODE, UNAVAILABLE, False, 0, False),
    (402, "Insufficient balance", SIGNED, UPSTREAM, MISCONFIGURED, False, 5, True),
    (400, "signature is too old", SIGNED, NODE, BROKEN, False, 5, False),
    (400, "signature is in the future", SIGNED, NODE, BROKEN, False, 5, False),
    (400, "Request timestamp is too old", SIGNED, NODE, BROKEN, False, 5, False),
    (400, "AuthKey has already been used for a transfer request", SIGNED, NODE, BROKEN, False, 0, False),
    (400, "AuthKey has already been used for an executor request", SIGNED, NODE, BROKEN, False, 0, False),
    (429, "Transfer Agent capacity reached. Try another TA from x", SIGNED, NODE, UNAVAILABLE, False, 5, False),
    (503, "no executors available for model", SIGNED, NODE, UNAVAILABLE, False, 5, False),
    (503, "no inference nodes available", SIGNED, NODE, UNAVAILABLE, False, 5, False),
    (400, ENGINE, SIGNED, NEVER, REJECTED, True, 0, False),
    (422, ENGINE, SIGNED, NEVER, REJECTED, True, 0, False),
    (500, "Inference node response with an error. code = 500.", SIGNED, RISKY, BROKEN, True, 5, False),
    (500, "runtime error: invalid memory address or nil pointer dereference", SIGNED, RISKY, BROKEN, True, 5, False),
    (502, "bad gateway", SIGNED, RISKY, BROKEN, True, 5, False),
    (504, "timeout", SIGNED, RISKY, BROKEN, True, 5, False),
    (204, "", SIGNED, RISKY, BROKEN, True, 5, False),
    (410, "deprecated", SIGNED, NODE, MISCONFIGURED, False, INFINITY_S, True),
    (308, "moved", SIGNED, UPSTREAM, MISCONFIGURED, False, 5, True),
    (302, "moved", SIGNED, UPSTREAM, MISCONFIGURED, False, 5, True),
    (405, "x", SIGNED, UPSTREAM, MISCONFIGURED, False, 5, True),
    # a Bearer upstream
    (400, "unsupported model", BEARER, NEVER, REJECTED, False, 0, False),
    (400, "signature is too old", BEARER, NEVER, REJECTED, False, 0, False),
    (422, "bad", BEARER, NEVER, REJECTED, False, 0, False),
    (413, "too large", BEARER, NEVER, REJECTED, False, 0, False),
    (401, 'model "a/b" requires an API key', BEARER, UPSTREAM, MISCONFIGURED, False, 5, True),
    (402, "pay", BEARER, UPSTREAM, MISCONFIGURED, False, 5, True),
    (403, "Transfer Agent not allowed", BEARER, UPSTREAM, MISCONFIGURED, False, 5, True),
    (404, "model not found", BEARER, NODE, UNAVAILABLE, False, 0, False),
    (410, "gone", BEARER, NODE, UNAVAILABLE, False, 0, False),
    (429, "rate limit exceeded: too many concurrent requests", BEARER, NODE, UNAVAILABLE, False, 5, False),
    (429, "insufficient_quota", BEARER, UPSTREAM, MISCONFIGURED, False, 5, True),
    (500, "rpc error: code = NotFound desc = account not found", BEARER, RISKY, BROKEN, True, 0, False),
    (502, "all_providers_failed", BEARER, RISKY, BROKEN, True, 0, False),
    (504, "reduced max tokens", BEARER, RISKY, BROKEN, True, 0, False),
    (503, "admission blocked", BEARER, NODE, UNAVAILABLE, False, 5, False),
    (308, "disabled", BEARER, UPSTREAM, MISCONFIGURED, False, 5, True),
    (409, "devshard is finalizing", BEARER, NODE, UNAVAILABLE, False, 5, False),
    (409, "conflict", BEARER, UPSTREAM, MISCONFIGURED, False, 5, True),
]


@pytest.mark.parametrize(("status", "said", "signed", "retry", "code", "charged", "out_for_s", "alarm"), ROWS)
def test_row(
    status: int, said: str, signed: bool, retry: Retry, code: Code, charged: bool, out_for_s: float, alarm: bool
) -> None:
    """Each answer of the protocol has its row: where to try again, what it may have cost, who has to act."""
    failure = judge(status, said, signed=signed)
    assert (failure.retry, failure.code, failure.charged) == (retry, code, charged)
    assert (failure.out_for_s, failure.alarm) == (out_for_s, alarm)
    assert failure.message == (said if code is REJECTED else None)


def test_node_of_another_era() -> None:
    """A node that says 410 is told to the operator with the remedy."""
    assert "devshard" in judge(410, "deprecated", signed=SIGNED).detail


@pytest.mark.parametrize(
    ("failure", "again", "code", "charged"),
    [
        (retry.UNREACHED, Retry.NODE, Code.NETWORK_UNAVAILABLE, False),
        (retry.LOST_ON_REUSE, Retry.FRESH, Code.UPSTREAM_ERROR, True),
        (retry.LOST, Retry.RISKY, Code.UPSTREAM_ERROR, True),
        (retry.SILENT, Retry.RISKY, Code.UPSTREAM_TIMEOUT, True),
        (retry.GARBLED, Retry.NEVER, Code.UPSTREAM_ERROR, True),
        (retry.UNUSABLE, Retry.NEVER, Code.UPSTREAM_ERROR, True),
    ],
)
def test_row_below_http(failure: Failure, again: Retry, code: Code, charged: bool) -> None:
    """What fails below HTTP is free only if nothing was sent, and tried again at most once if something was."""
    assert (failure.retry, failure.code, failure.charged) == (again, code, charged)


@given(st.integers(100, 599), st.booleans(), st.text(max_size=30))
def test_no_free_try_of_what_may_cost(status: int, signed: bool, said: str) -> None:
    """Whatever comes, what may have been charged is never tried again freely, and what is rejected never."""
    failure = judge(status, said, signed=signed)
    assert not failure.charged or failure.retry in (Retry.RISKY, Retry.FRESH, Retry.NEVER)
    assert failure.code is not Code.UPSTREAM_REJECTED or failure.retry is Retry.NEVER
    assert (failure.message is not None) == (failure.code is Code.UPSTREAM_REJECTED)
    assert failure.alarm == (failure.code is Code.UPSTREAM_MISCONFIGURED)
    assert refusal_of(failure).code is failure.code


NETWORK_WORDS = [
    "", "Insufficient balance", PUBKEY, "Transfer Agent not allowed", "model not found", "Invalid API key", 'model "',
    "signature is too old", "rpc error: code = ", "rpc error: code = NotFound desc = account not found",
    "Authorization is required", "inference requests are restricted",
]  # fmt: skip


@pytest.mark.parametrize("status", [204, 302, 400, 401, 402, 403, 404, 405, 410, 413, 422, 429, 500, 502, 503])
def test_no_free_words_in_the_log(status: int) -> None:
    """The log's detail never holds an upstream's own words, which could repeat a prompt, whatever they begin with."""
    for before, between in product(
        NETWORK_WORDS, ["", " ", ": ", '" requires an API key ', " desc = account not found"]
    ):
        for said in (f"{before}{between}{SECRET}", f"{before}{SECRET}{between}", f"{SECRET}{before}"):
            for signed in (SIGNED, BEARER):
                failure = judge(status, said, signed=signed)
                assert SECRET not in failure.detail
                assert re.fullmatch(r'[\w .:;=",()|-]{1,160}', failure.detail, re.ASCII)


def test_network_words_in_the_log() -> None:
    """The network's own words do reach the log, since they tell the operator what to mend."""
    assert PUBKEY in judge(401, PUBKEY, signed=SIGNED).detail
    assert "Insufficient balance" in judge(402, "Insufficient balance", signed=SIGNED).detail
    assert "account not found" in judge(500, ROWS[9][1], signed=SIGNED).detail
    assert "too old" in judge(400, "signature is too old", signed=SIGNED).detail
    assert "requires an admin API key" in judge(401, 'model "x" requires an admin API key', signed=BEARER).detail


@pytest.mark.parametrize(
    "error",
    [
        {"message": "You exceeded your current quota", "code": "insufficient_quota"},
        {"message": "You exceeded your current quota", "type": "insufficient_quota"},
        {"message": "insufficient_quota"},
        "insufficient_quota",
    ],
)
def test_quota_is_no_rate_limit(error: object) -> None:
    """A 429 that says `insufficient_quota` anywhere is the operator's to mend, and no other try of it makes sense."""
    body = json.dumps({"error": error}).encode()
    failure = judge_status(429, {"retry-after": "9"}, body, signed=BEARER)
    assert (failure.retry, failure.code, failure.alarm) == (Retry.UPSTREAM, Code.UPSTREAM_MISCONFIGURED, True)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1", 1), ("0", 1), ("30", 30), ("120", 120), ("121", 120), ("9" * 9, 120), ("9" * 5000, 120), ("007", 7),
     ("", None), ("-1", None), ("1.5", None), ("1, 2", None), (" 1", None), ("²", None), ("٣", None),
     ("Wed, 21 Oct 2026 07:28:00 GMT", None)],
)  # fmt: skip
def test_retry_after(value: str, expected: int | None) -> None:
    """A `Retry-After` in seconds is kept between 1 and 120; any other is as if there were none."""
    assert retry_after({"retry-after": value}) == expected
    assert retry_after({}) is None


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_passed_on(status: int) -> None:
    """A place that is full is left out for as long as it asks, and the caller is told the same."""
    failure = judge(status, "x", signed=BEARER, headers={"retry-after": "17"})
    assert failure.retry_after_s == refusal_of(failure).retry_after_s == 17
    assert failure.out_for_s == (17 if status == 429 else 5)
    assert refusal_of(judge(status, "x", signed=BEARER)).retry_after_s == 5


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"error":"text"}', "text"),
        (b'{"error":{"message":"text","code":1}}', "text"),
        (b'{"error":{"message":"a\\nb\\u0000c\\u001bd"}}', "a b c d"),
        (b'{"error":"\\u00e9 \xc3\xa9"}', "é é"),
        (b"plain text", "plain text"),
        (b"bad \xff\r\n\tutf-8", "bad \ufffd utf-8"),
        (b"", ""),
        (b"[]", "[]"),
        (b'"x"', '"x"'),
        (b'{"error":5}', '{"error":5}'),
        (b'{"error":null}', '{"error":null}'),
        (b'{"error":{"message":{"a":1}}}', '{"error":{"message":{"a":1}}}'),
        (b'{"message":"x"}', '{"message":"x"}'),
        (b'{"error":"' + b"x" * 9000 + b'"}', "x" * 500),
        (b"y" * 9000, "y" * 300),
        (b"[" * 60_000, "[" * 300),
        (b'{"error":' * 10_000, ('{"error":' * 10_000)[:300]),
    ],
)
def test_upstream_message(body: bytes, expected: str) -> None:
    """An error body's words are found in either form, on one line, at most 500 characters, whatever the body is."""
    assert (judge_status(413, {}, body, signed=False).message or "") == expected


@given(st.integers(100, 599), st.binary(max_size=80), st.booleans())
def test_any_error_body(status: int, body: bytes, signed: bool) -> None:
    """No body of an answer makes the judgement fail."""
    failure = judge_status(status, {"retry-after": body.decode("latin-1")}, body, signed=signed)
    assert failure.retry_after_s is None or 1 <= failure.retry_after_s <= 120


def test_rejection_is_explained() -> None:
    """A rejected request is a refusal with the upstream's message; all other words of an upstream stay behind."""
    rejected = refusal_of(judge(400, "top_p must be above zero", signed=BEARER), "chatcmpl-1")
    assert rejected.quote == "top_p must be above zero"
    assert (rejected.code, rejected.inference) == (Code.UPSTREAM_REJECTED, "chatcmpl-1")
    for status in (401, 402, 403, 404, 410, 429, 500, 503, 308):
        refusal = refusal_of(judge(status, SECRET, signed=SIGNED))
        assert (refusal.message, refusal.quote) == ("", None)


@pytest.mark.parametrize("status", [401, 402, 403, 308])
def test_our_credentials_are_not_the_callers(status: int) -> None:
    """The operator's trouble with an upstream never looks like the caller's own 401 or 402."""
    assert refusal_of(judge(status, "x", signed=SIGNED)).code is Code.UPSTREAM_MISCONFIGURED


@pytest.mark.parametrize(
    ("headers", "body", "where"),
    [
        ({"location": "https://new.example/v1"}, b"", "https://new.example/v1"),
        ({"location": "http://n.example:8000"}, b"", "http://n.example:8000"),
        ({}, b'{"status": 308, "message": "moved", "new_url": "https://new.example/v1"}', "https://new.example/v1"),
        ({"location": "https://new.example/v1?key=secret"}, b"", "https://new.example/v1"),
        ({"location": "https://new.example/tell%20me%20a%20secret"}, b"", "https://new.example"),
        ({"location": "https://user:password@new.example/"}, b"", None),
        ({"location": "/elsewhere"}, b"", None),
        ({}, b'{"new_url": 5}', None),
        ({}, b"moved", None),
    ],
)
def test_where_a_redirect_points_is_told(headers: dict[str, str], body: bytes, where: str | None) -> None:
    """The operator is told where an upstream has moved to, without whatever might be a password or a prompt."""
    for status in (301, 302, 307, 308):
        failure = judge_status(status, headers, body, signed=True)

        assert (failure.moved_to, failure.retry, failure.alarm) == (where, Retry.UPSTREAM, True)
        assert failure.kind == f"status {status}"
        assert "secret" not in failure.detail
        assert "password" not in failure.detail
