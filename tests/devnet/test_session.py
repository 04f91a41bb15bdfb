"""The Bearer gateway's operator: who may use what, limits, and a gateway that has moved or rests."""

import json
from typing import Any

import pytest

from tests.devnet.conftest import CHAT, World
from tests.devnet.signing import MODEL, chat_body
from tests.devnet.wire import Answer, Wire, control, request


async def ask(
    world: World, method: str, path: str, fields: object = None, key: str | None = None, body: bytes | None = None
) -> Answer:
    """Asks the Bearer gateway, with the caller's key unless another is given."""
    headers = {"authorization": f"Bearer {world.devnet.bearer_key if key is None else key}"}
    sent = body if body is not None else b"" if fields is None else json.dumps(fields).encode()
    return await request(world.devnet.bearer_url.removesuffix("/v1"), method, path, headers, sent)


async def administrate(world: World, method: str, path: str, fields: object = None) -> Any:
    """Asks for an admin route that must work."""
    key = world.devnet.settings.bearer_admin_key
    answer = await ask(world, method, f"/v1/admin/{path}", fields, key)
    assert answer.status == 200, answer.body
    return answer.json()


async def chat(world: World, key: str | None = None) -> Answer:
    """Makes a call."""
    return await ask(world, "POST", CHAT, key=key, body=chat_body())


@pytest.mark.parametrize("path", ["state", "settings", "devshards", "escrows", "nonsense"])
async def test_admin_routes_need_the_admin_key(world: World, path: str) -> None:
    """A caller's key opens none of them."""
    answer = await ask(world, "GET", f"/v1/admin/{path}")
    assert (answer.status, answer.json()["error"]["message"]) == (401, "requires an admin API key")


async def test_who_may_use_a_model(world: World) -> None:
    """A model is open to all, to keys, or to the admin's key alone; each refusal names the model."""
    assert (await chat(world, "wrong")).json()["error"]["message"] == f'model "{MODEL}" requires an API key'
    await administrate(world, "PUT", "settings", {"model_access": {MODEL: "open"}})
    assert (await chat(world, "wrong")).status == 200
    await administrate(world, "PUT", "settings", {"model_access": {MODEL: "admin_only"}})
    answer = await chat(world)
    assert (answer.status, answer.json()["error"]["message"]) == (401, f'model "{MODEL}" requires an admin API key')
    assert answer.headers["content-type"].startswith("text/plain")
    assert (await chat(world, world.devnet.settings.bearer_admin_key)).status == 200


async def test_a_gateway_that_has_moved(world: World) -> None:
    """A disabled gateway answers 308 as JSON to everything but its admin routes, without any Location."""
    moved = {"enabled": True, "message": "please use the new one", "new_url": "https://new.invalid/v1"}
    await administrate(world, "POST", "settings", {"disabled": moved})
    for answer in (await chat(world), await ask(world, "GET", "/v1/models")):
        assert (answer.status, answer.headers["content-type"]) == (308, "application/json")
        assert answer.json() == {
            "status": 308,
            "message": "please use the new one",
            "new_url": "https://new.invalid/v1",
        }
        assert "location" not in answer.headers
    await administrate(world, "POST", "settings", {"disabled": {"enabled": False}})
    assert (await chat(world)).status == 200


async def test_a_session_out_of_service(world: World) -> None:
    """A session that is deactivated answers 409, and takes calls again when it is activated."""
    (first, *_) = await administrate(world, "GET", "devshards")
    await administrate(world, "POST", f"devshards/{first['id']}/deactivate")
    assert (await chat(world)).status == 409
    await administrate(world, "POST", f"devshards/{first['id']}/activate")
    answer = await chat(world)
    assert (answer.status, answer.headers["x-devshard-id"]) == (200, first["id"])


async def test_both_limits_of_calls_in_flight(world: World) -> None:
    """Too many calls, or too many prompt tokens in flight, are a 429, each in its words."""
    url = world.devnet.bearer_url.removesuffix("/v1")
    await control(url, "POST", "faults", {"fault": "hold_stream", "after_frames": 1})
    wire = await Wire.open(url)
    headers = {"authorization": f"Bearer {world.devnet.bearer_key}"}
    await wire.send("POST", CHAT, headers, chat_body(stream=True))
    await wire.receive_frames(1)
    await administrate(world, "PUT", "settings", {"max_concurrent_requests": 1})
    words = "rate limit exceeded: too many concurrent requests"
    assert (await chat(world)).json()["error"]["message"] == words
    await administrate(world, "PUT", "settings", {"max_concurrent_requests": 9, "max_input_tokens_in_flight": 20})
    answer = await chat(world)
    assert (answer.status, answer.json()["error"]["message"]) == (429, "rate limit exceeded: input tokens in flight")
    metrics = await ask(world, "GET", "/metrics")
    assert b"devshard_gateway_requests_in_flight 1\n" in metrics.body
    await control(url, "DELETE", "faults")
    await wire.receive_rest()
    wire.leave()
    await world.devnet.wait_idle()
    assert (await chat(world)).status == 200


async def test_state_and_escrow(world: World) -> None:
    """The admin's state holds settings and sessions; the escrow shows what is left."""
    await chat(world)
    state = await administrate(world, "GET", "state")
    assert state["settings"]["model_access"][MODEL] == "api_key"
    assert [one["model"] for one in state["devshards"]] == list(world.devnet.settings.models)
    (escrow,) = (await administrate(world, "GET", "escrows"))["escrows"]
    assert escrow["escrow_id"] == state["devshards"][0]["id"]
    assert (escrow["nonce"], escrow["balance"] < world.devnet.settings.operator_balance_ngonka) == (1, True)


@pytest.mark.parametrize(
    "fields",
    [
        {"max_concurrent_requests": -1},
        {"max_input_tokens_in_flight": True},
        {"model_access": {"unknown": "open"}},
        {"model_access": {MODEL: "everybody"}},
        {"disabled": True},
    ],
)
async def test_wrong_settings_change_nothing(world: World, fields: dict[str, Any]) -> None:
    """A setting that is wrong is a 400; the others that came with it are not changed either."""
    before = await administrate(world, "GET", "settings")
    key = world.devnet.settings.bearer_admin_key
    answer = await ask(world, "PUT", "/v1/admin/settings", {"max_concurrent_requests": 5} | fields, key)
    assert answer.status == 400
    assert await administrate(world, "GET", "settings") == before


@pytest.mark.parametrize(
    ("fault", "fields", "retry_after"),
    [("502", {}, None), ("503", {}, None), ("503", {"retry_after_s": 10}, "10"), ("504", {}, None), ("409", {}, None)],
)
async def test_ordered_statuses(world: World, fault: str, fields: dict[str, Any], retry_after: str | None) -> None:
    """Each status comes as text/plain in OpenAI's shape, with an id, and with Retry-After only where it was ordered."""
    url = world.devnet.bearer_url.removesuffix("/v1")
    await control(url, "POST", "faults", {"fault": fault, **fields})
    answer = await chat(world)
    assert (answer.status, answer.headers.get("retry-after")) == (int(fault), retry_after)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.json()["error"]["message"]
    assert answer.headers["x-request-id"]


async def test_an_empty_escrow_says_when_to_come_back(world: World) -> None:
    """Without money for the reserve the model is unavailable for a while."""
    url = world.devnet.bearer_url.removesuffix("/v1")
    await control(url, "POST", "accounts", {"address": world.devnet.bearer_address, "balance": 10})
    answer = await chat(world)
    assert (answer.status, answer.headers["retry-after"]) == (503, "10")
