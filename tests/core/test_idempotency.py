"""What makes two requests one: keys, meanings, digests, and how long a claim stands."""

from __future__ import annotations

import hmac
import json
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.core.errors import Code, Refusal
from tallygate.core.idempotency import (
    KEPT_NS,
    Claimed,
    Digests,
    already_charged,
    in_progress,
    is_key,
    meaning_of,
    refuse,
    resolve,
)
from tallygate.core.openai import parse_chat_request

PEPPER = bytes(range(32))
SCOPE = ("acct_1", "key_1", "/v1/chat/completions")
BODY: dict[str, Any] = {
    "model": "some/model",
    "messages": [{"role": "user", "content": "What is é?"}],
    "temperature": 0.5,
    "max_tokens": 7,
    "metadata": {"a": "1", "b": "2"},
}
CLAIM = Digests(PEPPER).claim(b"key-1", SCOPE, ["x"])


def request_digest(body: bytes, model: str = "Some/Model") -> bytes:
    """Return the digest of a chat request's body."""
    return Digests(PEPPER).claim(b"key-1", SCOPE, meaning_of(parse_chat_request(body), model)).request


ORIGINAL = request_digest(json.dumps(BODY).encode())


@pytest.mark.parametrize("key", [b"a", b"!" * 255, b"8e03978e-40d5-43dd-bc93-6894a57f9324", b'"quoted"'])
def test_keys_are_visible_ascii(key: bytes) -> None:
    """Any 1 to 255 visible ASCII characters are a key."""
    assert is_key(key)


@pytest.mark.parametrize("key", [b"", b"a" * 256, b"two words", b"tab\t", b"line\n", "é".encode(), b"\x7f", b"\0"])
def test_others_are_no_keys(key: bytes) -> None:
    """What is empty, long, or could be read in two ways is no key."""
    assert not is_key(key)


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(dict(reversed(BODY.items())), indent=3),
        json.dumps(BODY, ensure_ascii=False),
        json.dumps({**BODY, "metadata": {"b": "2", "a": "1"}}),
        json.dumps({**BODY, "n": 1, "stream": False, "stop": None, "stream_options": None}),
        json.dumps({**BODY, "max_tokens": None, "max_completion_tokens": 7}),
        json.dumps({**BODY, "max_completion_tokens": 7}),
        json.dumps({**{k: v for k, v in BODY.items() if k != "temperature"}, "extra_body": {"temperature": 0.5}}),
        json.dumps({**BODY, "model": "an alias"}),
        json.dumps(BODY).replace("0.5", "5e-1"),
    ],
)
def test_what_means_the_same_is_the_same(body: str) -> None:
    """Order, white space, escapes, nulls, defaults, aliases and the two names of one limit make no difference."""
    assert request_digest(body.encode()) == ORIGINAL


@pytest.mark.parametrize(
    "changes",
    [
        {"messages": [{"role": "user", "content": "What is e?"}]},
        {"messages": [{"role": "system", "content": "What is é?"}]},
        {"max_tokens": 8},
        {"max_tokens": None},
        {"temperature": 0.6},
        {"temperature": None},
        {"n": 2},
        {"stream": True},
        {"seed": 1},
        {"metadata": {"a": "1"}},
        {"metadata": {"a": "2", "b": "1"}},
        {"stop": "7"},
    ],
)
def test_what_means_another_thing_is_another(changes: dict[str, Any]) -> None:
    """Each field that changes what is asked or how it is answered makes another request."""
    assert request_digest(json.dumps({**BODY, **changes}).encode()) != ORIGINAL


def test_streams_with_and_without_usage_differ() -> None:
    """`include_usage` changes the answer's bytes, so it makes another request; so does another model."""
    stream = json.dumps({**BODY, "stream": True})
    usage = json.dumps({**BODY, "stream": True, "stream_options": {"include_usage": True}})

    assert request_digest(stream.encode()) != request_digest(usage.encode())
    assert request_digest(json.dumps(BODY).encode(), "Other/Model") != ORIGINAL


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.floats(allow_nan=False, allow_infinity=False)))
def test_any_values_have_one_meaning(values: dict[str, Any]) -> None:
    """Whatever numbers and names a value holds, in whatever order, it is understood and means the same."""
    values = {name: value for name, value in values.items() if not isinstance(value, int) or abs(value) < 10**300}
    bodies = [{**BODY, "thinking": {"more": dict(items)}} for items in (values.items(), reversed(values.items()))]

    assert len({request_digest(json.dumps(body).encode()) for body in bodies}) == 1


@pytest.mark.parametrize(
    ("key", "scope", "pepper"),
    [
        (b"key-2", SCOPE, PEPPER),
        (b"key-1", ("acct_2", *SCOPE[1:]), PEPPER),
        (b"key-1", (SCOPE[0], "key_2", SCOPE[2]), PEPPER),
        (b"key-1", (*SCOPE[:2], "/v1/completions"), PEPPER),
        (b"1key-1", ("acct_1", "key_1", "/v1/chat/completions"), PEPPER),
        (b"key-1", SCOPE, bytes(32)),
    ],
)
def test_a_key_is_its_callers_own(key: bytes, scope: tuple[str, ...], pepper: bytes) -> None:
    """Another key, account, API key, route or installation has other digests, of the same request too."""
    claim = Digests(pepper).claim(key, scope, ["x"])

    assert claim.digest != CLAIM.digest
    assert claim.request != CLAIM.request


def test_parts_of_a_scope_do_not_run_together() -> None:
    """Two scopes that read the same when written one after the other have other digests."""
    one, other = (Digests(PEPPER).claim(b"k", scope, ["x"]) for scope in (("ab", "c"), ("a", "bc")))

    assert one.digest != other.digest


def test_digests_are_keyed_with_a_secret_of_their_own() -> None:
    """Digests are HMACs under a secret that is derived for this; they stay the same, or a restart would forget keys."""
    secret = hmac.digest(PEPPER, b"tallygate idempotency 1", "sha256")
    digest = hmac.digest(secret, b'[["acct_1","key_1","/v1/chat/completions"],"key-1"]', "sha256")

    assert digest == CLAIM.digest
    assert hmac.digest(secret, digest + b'["x"]', "sha256") == CLAIM.request
    assert sha256(b'["x"]').digest() != CLAIM.request


def claimed(picousd: int | None = 5, **changes: Any) -> Claimed:
    """Return what `CLAIM` stands for."""
    return Claimed(*CLAIM, "chatcmpl-1", 10, picousd)._replace(**changes)


@pytest.mark.parametrize(
    ("known", "now_ns", "stands"),
    [
        (None, 11, False),
        (claimed(), 11, True),
        (claimed(), 10 + KEPT_NS - 1, True),
        (claimed(), 10 + KEPT_NS, False),
        (claimed(0), 11, True),
        (claimed(None), 10 + 2 * KEPT_NS, True),
    ],
)
def test_claim_stands_for_a_day(known: Claimed | None, now_ns: int, stands: bool) -> None:
    """A claim stands for 24 hours, one for nothing too; and for as long as its call is under way."""
    assert resolve(known, CLAIM, now_ns) == (known if stands else None)


@pytest.mark.parametrize("picousd", [None, 0, 5])
def test_other_request_under_the_same_key_is_refused(picousd: int | None) -> None:
    """A key that stands for another request is refused with 422's code, until its day is over."""
    other = CLAIM._replace(request=bytes(32))
    with pytest.raises(Refusal) as refused:
        resolve(claimed(picousd), other, 11)
    assert (refused.value.code, refused.value.param) == (Code.IDEMPOTENCY_KEY_REUSED, "Idempotency-Key")
    assert resolve(claimed(5), other, 10 + KEPT_NS) is None


def test_refusals_say_what_became_of_the_call() -> None:
    """Both name the inference; the final one says exactly what it cost, the other when to ask again."""
    assert refuse(claimed(None)).code is in_progress(claimed()).code is Code.IDEMPOTENCY_IN_PROGRESS
    assert refuse(claimed(0)).code is already_charged(claimed()).code is Code.IDEMPOTENCY_ALREADY_CHARGED
    assert in_progress(claimed()).retry_after_s == 1
    charged = already_charged(claimed(17_500_000))
    assert charged.metadata == {"inference_id": "chatcmpl-1", "total_cost_usd": "0.0000175"}
    assert (charged.inference, charged.retry_after_s) == ("chatcmpl-1", None)
