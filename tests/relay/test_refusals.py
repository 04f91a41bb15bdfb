"""Calls that are refused: by which check, told how, with nothing held, nothing sent and nothing written."""

import asyncio
import json
import os
from typing import Any

import pytest

from tallygate.core.keys import mint_api_key
from tallygate.core.ledger import entry as e
from tallygate.core.retry import LOST
from tests.relay.caller import Answer
from tests.relay.world import MODEL, World, chat_body, open_world, until

CHAT = "/v1/chat/completions"


def assert_refused(world: World, answer: Answer, status: int, code: str, param: str | None = None) -> None:
    """Check a refusal, and that it left no trace."""
    error = answer.json()["error"]
    assert (answer.status, error["code"], error["param"]) == (status, code, param), error
    assert set(error) - {"metadata"} == {"message", "type", "param", "code"}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"].startswith("req_")
    assert "x-inference-id" not in answer.headers
    assert answer.complete
    assert world.upstream_calls == 0
    assert world.entries(e.HOLD) == []


WRONGS: list[tuple[str, str, dict[str, Any], int, str, str | None]] = [
    # Ever later checks: method, path, what replaces a good header or body, and what is said.
    ("POST", "/v1/embeddings", {"authorization": "", "body": b"{"}, 404, "unsupported_endpoint", None),
    ("GET", CHAT, {"authorization": "", "body": b"{"}, 405, "method_not_allowed", None),
    ("POST", CHAT, {"authorization": "", "content-type": "text/plain", "body": b"{"}, 401, "invalid_api_key", None),
    ("POST", CHAT, {"content-type": "text/plain", "body": b"{"}, 415, "unsupported_media_type", None),
    ("POST", CHAT, {"content-encoding": "gzip", "body": b"{"}, 415, "unsupported_media_type", None),
    ("POST", CHAT, {"idempotency-key": "a b", "body": b"{"}, 400, "invalid_value", "Idempotency-Key"),
    ("POST", CHAT, {"body": b"{"}, 400, "invalid_json", None),
    ("POST", CHAT, {"body": chat_body(model="nope", n=0)}, 400, "invalid_value", "n"),
    ("POST", CHAT, {"body": chat_body(model="nope")}, 404, "model_not_found", "model"),
    ("POST", CHAT, {"body": chat_body()}, 402, "insufficient_balance", None),
]


@pytest.mark.parametrize(("method", "path", "changes", "status", "code", "param"), WRONGS)
async def test_checks_have_an_order(
    method: str, path: str, changes: dict[str, Any], status: int, code: str, param: str | None
) -> None:
    """A request that is wrong in several ways, and cannot pay besides, is refused by the contract's first check."""
    async with open_world(usd=0) as world:
        headers = {**world.headers(), **{name: value for name, value in changes.items() if name != "body"}}
        caller = await world.connect()
        await caller.request(method, path, headers, changes["body"])

        assert_refused(world, await caller.answer(), status, code, param)


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer  x y",
        "Basic dXNlcjpwYXNz",
        "Bearer sk-abcdefgh",
        f"Bearer {mint_api_key(bytes(32))}",
        "Bearer " + mint_api_key(bytes(32))[:-1] + "x",
        "Bearer ' OR '1'='1",
        "Bearer " + "a" * 5000,
    ],
)
async def test_a_key_that_is_none_of_ours_is_refused(authorization: str) -> None:
    """Whatever stands in the header, an unknown key is a 401 with our request id, and costs nothing."""
    async with open_world() as world:
        caller = await world.connect()
        headers = {**world.headers(), "authorization": authorization}
        await caller.request("POST", CHAT, headers, chat_body())

        assert_refused(world, await caller.answer(), 401, "invalid_api_key")


async def test_a_repeated_authorization_is_refused() -> None:
    """Two Authorization headers are no authorization, even when one of them is good."""
    async with open_world() as world:
        caller = await world.connect()
        authorization = f"authorization: Bearer {world.secret}\r\n"
        body = chat_body()
        head = f"POST {CHAT} HTTP/1.1\r\nhost: g\r\ncontent-length: {len(body)}\r\n{authorization * 2}\r\n"
        await caller.send_raw(head.encode() + body)

        assert (await caller.raw()).startswith(b"HTTP/1.1 401 ")
        assert world.upstream_calls == 0


async def test_a_revoked_key_ends_at_once() -> None:
    """The next call with a revoked key is a 401, on the same connection too."""
    async with open_world() as world:
        caller = await world.send()
        assert (await caller.answer()).status == 200
        (key,) = world.ledger.keys()

        await world.ledger.revoke_key(key.id, "test")
        answer = await (await world.send(caller)).answer()

        assert (answer.status, answer.code) == (401, "invalid_api_key")
        assert world.upstream_calls == 1


@pytest.mark.parametrize("good", [False, True])
async def test_a_body_is_not_waited_for_before_the_key_is_known(good: bool) -> None:
    """With a bad key the 401 comes while no byte of the body has been sent; so do 413 and 415 with a good one."""
    async with open_world() as world:
        caller = await world.connect()
        authorization = world.headers()["authorization"] if good else "Bearer tg-wrong"
        headers = {**world.headers(), "authorization": authorization, "content-length": str(11 * 2**20)}
        await caller.send_head("POST", CHAT, {**headers, "expect": "100-continue"})

        status, code = (413, "request_too_large") if good else (401, "invalid_api_key")
        assert_refused(world, await caller.answer(), status, code)


async def test_a_body_that_grows_too_large_is_refused() -> None:
    """A body without a declared length is a 413 as soon as it exceeds 10 MiB."""
    async with open_world() as world:
        caller = await world.connect()
        await caller.send_head("POST", CHAT, {**world.headers(), "transfer-encoding": "chunked"})
        piece = b"%x\r\n%s\r\n" % (2**20, b" " * 2**20)
        sending = asyncio.gather(*(caller.send_raw(piece) for _ in range(11)), return_exceptions=True)

        answer = await caller.answer()
        await sending
        assert_refused(world, answer, 413, "request_too_large")


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"max_tokens": 0}, "invalid_value", "max_tokens"),
        ({"max_tokens": -1}, "invalid_value", "max_tokens"),
        ({"max_tokens": 2**64}, "invalid_value", "max_tokens"),
        ({"max_tokens": "5"}, "invalid_value", "max_tokens"),
        ({"max_tokens": 1.5}, "invalid_value", "max_tokens"),
        ({"MAX_TOKENS": 5}, "unknown_parameter", "MAX_TOKENS"),
        ({"extra_body": {"max_tokens": 5}}, "duplicate_parameter", "extra_body.max_tokens"),
        ({"max_completion_tokens": 6}, "invalid_value", "max_completion_tokens"),
        ({"n": 0}, "invalid_value", "n"),
        ({"n": 18446744073686646784}, "invalid_value", "n"),
        ({"n": True}, "invalid_value", "n"),
        ({"messages": []}, "invalid_value", "messages"),
        ({"messages": "hello"}, "invalid_value", "messages"),
        ({"messages": [{"role": "user"}]}, "invalid_value", "messages[0].content"),
        ({"min_tokens": 5}, "unsupported_parameter", "min_tokens"),
        ({"logprobs": 1}, "invalid_value", "logprobs"),
        ({"stream": "yes"}, "invalid_value", "stream"),
        ({"stream_options": {}}, "invalid_value", "stream_options"),
        ({"model": 5}, "invalid_value", "model"),
        *(
            (
                {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": kind}]}]},
                "invalid_value",
                "messages[0].content[1].type",
            )
            for kind in ("image_url", "input_audio", "video_url", "file")
        ),
    ],
)
async def test_a_bad_field_is_named(fields: dict[str, Any], code: str, param: str) -> None:
    """A field of the wrong shape, smuggled, or not on offer is a 400 that names it."""
    async with open_world() as world:
        assert_refused(world, await world.chat(**fields), 400, code, param)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'"hi"',
        b'{"model": NaN}',
        b"\xff\xfe",
        b'{"a":' * 40 + b"1" + b"}" * 40,
        b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        chat_body()[:-1] + b', "max_tokens": 6}',
    ],
)
async def test_what_is_no_proper_json_object_is_refused(body: bytes) -> None:
    """A body that is empty, no object, no JSON, too deep, or that repeats a key is a 400."""
    async with open_world() as world:
        caller = await world.connect()
        await caller.request("POST", CHAT, world.headers(), body)
        answer = await caller.answer()

        assert answer.status == 400
        assert answer.code in {"invalid_json", "invalid_value", "duplicate_parameter"}
        assert world.upstream_calls == 0
        assert world.entries(e.HOLD) == []


async def test_an_account_that_cannot_pay_is_told_what_it_would_take() -> None:
    """Out of money is a 402 that is not to be retried, with the exact amounts."""
    async with open_world(picousd=1000) as world:
        answer = await world.chat()

        assert_refused(world, answer, 402, "insufficient_balance")
        error = answer.json()["error"]
        assert error["type"] == "insufficient_quota"
        assert answer.headers["x-should-retry"] == "false"
        assert error["metadata"]["balance_usd"] == error["metadata"]["available_usd"] == "0.000000001"
        assert float(error["metadata"]["required_usd"]) > 0.000000001


async def test_money_that_calls_under_way_hold_is_a_429() -> None:
    """When the balance would do but is held, the answer is a 429 to retry after a second."""
    async with open_world(picousd=200_000) as world:
        world.order("barrier", count=1000, times=None)
        first = await world.send()
        await world.arrival(1)
        answer = await world.chat()

        assert (answer.status, answer.code) == (429, "balance_held")
        assert answer.json()["error"]["type"] == "rate_limit_error"
        assert answer.headers["retry-after"] == "1"
        assert "x-should-retry" not in answer.headers
        assert len(world.entries(e.HOLD)) == world.upstream_calls == 1
        world.clear_faults()
        assert (await first.answer()).status == 200


async def test_an_unknown_route_is_not_to_be_retried() -> None:
    """A route that is not offered is a 404 that clients do not repeat."""
    async with open_world() as world:
        for path in ("/v1/embeddings", "/v1/responses", "/", "/v1/chat/completions/", "/admin/v1/accounts"):
            caller = await world.connect()
            await caller.request("POST", path, world.headers(), b"{}")
            answer = await caller.answer()

            assert_refused(world, answer, 404, "unsupported_endpoint")
            assert answer.headers["x-should-retry"] == "false"


async def test_a_model_without_any_upstream_left_is_a_503() -> None:
    """When every node is out for good, a call is refused before anything is held, and told when to come again."""
    async with open_world() as world:
        for target, _ in world.gateway.upstreams.targets(MODEL):
            target.report(LOST._replace(out_for_s=float("inf")))
        answer = await world.chat()

        assert_refused(world, answer, 503, "network_unavailable")
        assert int(answer.headers["retry-after"]) >= 1


async def test_an_unknown_key_is_not_remembered() -> None:
    """A key that was refused works as soon as it exists, and a refused call does not show it."""
    async with open_world() as world:
        old, world.secret = world.secret, mint_api_key(os.urandom(32))
        refused = await world.chat()
        assert refused.status == 401
        assert world.secret not in json.dumps([refused.headers, refused.body.decode()])

        world.secret = old
        assert (await world.chat()).status == 200


async def test_a_refusal_is_over_when_the_refused_body_has_come() -> None:
    """A refused body is waited for until the rest of it is in, and not until patience ends."""
    async with open_world() as world:
        for authorization, size, status in (
            (world.headers()["authorization"], 10 * 2**20 + 1, 413),
            ("Bearer tg-wrong", 100, 401),
        ):
            caller = await world.connect()
            headers = {**world.headers(), "authorization": authorization, "transfer-encoding": "chunked"}
            await caller.send_head("POST", CHAT, headers)
            sending = asyncio.ensure_future(caller.send_raw(b"%x\r\n%s\r\n0\r\n\r\n" % (size, b" " * size)))
            answer = await caller.answer()

            assert answer.status == status
            await sending
            await until(lambda: not world.server._state.tasks)
