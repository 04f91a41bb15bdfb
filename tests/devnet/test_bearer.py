"""The Bearer personality, like the official gateway program."""

import json
from dataclasses import replace
from typing import Any

import pytest

from tallygate.devnet import Devnet, DevnetSettings
from tests.devnet.conftest import HandClock, World
from tests.devnet.signing import MODEL, chat_body
from tests.devnet.wire import Answer, Wire, control, request


def root(devnet: Devnet) -> str:
    """Gives the gateway's URL without /v1."""
    return devnet.bearer_url.removesuffix("/v1")


async def call(devnet: Devnet, key: str | None = None, **fields: Any) -> Answer:
    """Makes a call with a key."""
    headers = {"authorization": f"Bearer {devnet.bearer_key if key is None else key}"}
    return await request(root(devnet), "POST", "/v1/chat/completions", headers, chat_body(**fields))


def assert_refused(answer: Answer, status: int, message: str) -> None:
    """Checks a refusal: OpenAI's shape, sent as plain text."""
    assert (answer.status, answer.json()) == (status, {"error": {"message": message}})
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.fixture
def devnet(world: World) -> Devnet:
    """The running devnet alone."""
    return world.devnet


def operator_spent(devnet: Devnet) -> int:
    """Gives what the gateway's own account has paid."""
    account = devnet.chain.accounts[devnet.bearer_address]
    return devnet.settings.operator_balance_ngonka - account.balance_ngonka


async def test_answers_and_pays_itself(devnet: Devnet) -> None:
    """A call with the key is answered under the gateway's own id and paid by its operator."""
    answer = await call(devnet)
    found = answer.json()
    assert answer.status == 200
    assert found["id"].startswith("devshard-")
    assert answer.headers["x-devshard-id"] in found["id"]
    assert answer.headers["x-request-id"].startswith("req-")
    assert operator_spent(devnet) == found["usage"]["total_tokens"]
    assert devnet.chain.inferences[found["id"]].requester == devnet.bearer_address


async def test_shows_nothing_internal(devnet: Devnet) -> None:
    """No forced logprobs and no fields of a node's own come through."""
    for answer in (await call(devnet), await call(devnet, stream=True)):
        for name in (b"top_logprobs", b"token_ids", b"stop_reason", b"prompt_logprobs"):
            assert name not in answer.body


@pytest.mark.parametrize("options", [None, {"include_usage": False}, {"include_usage": True}])
async def test_stream_is_openais(devnet: Devnet, options: dict[str, bool] | None) -> None:
    """Role, content, finish, usage only when asked for, [DONE]."""
    answer = await call(devnet, stream=True, stream_options=options)
    frames = answer.frames()
    asked = bool(options and options["include_usage"])
    assert answer.done()
    assert frames[0]["choices"][0]["delta"]["role"] == "assistant"
    assert bool(frames[-1].get("usage")) == asked
    finish = frames[-2] if asked else frames[-1]
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert operator_spent(devnet) > 0


async def test_says_the_same_as_a_node(world: World) -> None:
    """The answer is the network's, whichever way it came."""
    signed = (await world.chat()).json()
    bearer = (await call(world.devnet)).json()
    assert bearer["choices"][0]["message"] == signed["choices"][0]["message"]
    assert bearer["usage"] == signed["usage"]


@pytest.mark.parametrize("key", ["x", "wrong key", "devnet-bearer-key-and-more"])
async def test_wrong_key(devnet: Devnet, key: str) -> None:
    """A call without the right key is a 401 that names the model."""
    assert_refused(await call(devnet, key), 401, f'model "{MODEL}" requires an API key')
    assert operator_spent(devnet) == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "gpt-4"}, 'unsupported model "gpt-4"'),
        ({"guided_json": {}}, '"guided_json" is currently rejected by the Gonka network'),
        ({"n": 6}, "n must be an integer from 1 to 5"),
        ({"max_tokens": -1}, "max_tokens must be at least 1"),
        ({"messages": []}, "messages is required"),
        ({"messages": [{"role": "user", "content": "x"}] * 2049}, "messages must not be more than 2048"),
    ],
)
async def test_bad_parameters(devnet: Devnet, fields: dict[str, Any], message: str) -> None:
    """A wrong, unknown or excessive field is a 400."""
    assert_refused(await call(devnet, **fields), 400, message)


async def test_body_that_is_no_json(devnet: Devnet) -> None:
    """Nonsense is a 400."""
    answer = await request(root(devnet), "POST", "/v1/chat/completions", {}, b"nonsense")
    assert answer.status == 400
    assert answer.json()["error"]["message"].startswith("json: ")


@pytest.mark.parametrize(("asked", "given"), [(None, 3072), (5000, 4096), (3100, 3100)])
async def test_token_limits(devnet: Devnet, asked: int | None, given: int) -> None:
    """Without a limit it is 3072, and no limit is above 4096."""
    answer = await call(devnet, content="9999 words", max_tokens=asked)
    assert answer.json()["usage"]["completion_tokens"] == given


async def test_too_many_at_once(settings: DevnetSettings) -> None:
    """Above the limit of calls in flight the next one is a 429; when one ends, it is served."""
    async with Devnet(replace(settings, bearer_concurrency=1), now_ns=HandClock()) as devnet:
        await control(root(devnet), "POST", "faults", {"fault": "stall_stream", "after_frames": 1})
        wire = await Wire.open(root(devnet))
        headers = {"authorization": f"Bearer {devnet.bearer_key}"}
        await wire.send("POST", "/v1/chat/completions", headers, chat_body(stream=True))
        await wire.receive_frames(1)
        assert_refused(await call(devnet), 429, "rate limit exceeded: too many concurrent requests")
        wire.leave()
        await devnet.wait_idle()
        assert (await call(devnet)).status == 200


async def test_operator_without_money(settings: DevnetSettings) -> None:
    """An operator who cannot pay has no model to offer: 503."""
    poor = replace(settings, operator_balance_ngonka=100)
    async with Devnet(poor, now_ns=HandClock()) as devnet:
        assert_refused(await call(devnet), 503, "model temporarily unavailable")


async def test_a_client_that_left_is_billed(devnet: Devnet) -> None:
    """The gateway drains what its client no longer reads, and pays for it."""
    expected = (await call(devnet, content="600 words")).json()["usage"]["total_tokens"]
    wire = await Wire.open(root(devnet))
    headers = {"authorization": f"Bearer {devnet.bearer_key}"}
    body = chat_body(content="600 words", stream=True)
    await wire.send("POST", "/v1/chat/completions", headers, body)
    await wire.receive_frames(2)
    wire.leave()
    await devnet.wait_idle()
    assert operator_spent(devnet) == 2 * expected


async def test_models(devnet: Devnet) -> None:
    """The list of models is OpenRouter-like and open to all."""
    answer = (await request(root(devnet), "GET", "/v1/models")).json()
    assert [model["id"] for model in answer["data"]] == list(devnet.settings.models)
    assert answer["data"][0]["owned_by"] == "gonka"
    assert answer["data"][0]["pricing"] == {"prompt": "0", "completion": "0", "request": "0"}


async def test_other_routes(devnet: Devnet) -> None:
    """What the gateway does not offer is a 404 in its own words; its status is there."""
    assert_refused(await request(root(devnet), "POST", "/v1/embeddings"), 404, "not found")
    assert (await request(root(devnet), "GET", "/v1/status")).status == 200


async def test_state(devnet: Devnet) -> None:
    """Its state has a node's shape, with its operator's address and its own scheme."""
    found = await control(root(devnet), "GET", "state")
    assert (found["node_address"], found["scheme"]) == (devnet.bearer_address, "bearer")
    assert found["accounts"][devnet.bearer_address]["published"] is True


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("429", "rate limit exceeded: too many concurrent requests"),
        ("503", "model temporarily unavailable"),
        ("502", "all providers failed"),
        ("401", f'model "{DevnetSettings().models[0]}" requires an API key'),
    ],
)
async def test_status_faults_in_its_own_words(devnet: Devnet, fault: str, message: str) -> None:
    """An ordered status has the gateway's words, not a node's."""
    order = {"fault": fault, "retry_after_s": 10}
    await control(root(devnet), "POST", "faults", order)
    answer = await call(devnet)
    assert_refused(answer, int(fault), message)
    assert answer.headers["retry-after"] == "10"
    assert (await call(devnet)).status == 200


async def test_moved(devnet: Devnet) -> None:
    """A 308 tells the new place in its body and in Location."""
    order = {"fault": "308", "location": "http://127.0.0.1:1/v1/chat/completions"}
    await control(root(devnet), "POST", "faults", order)
    answer = await call(devnet)
    assert answer.status == 308
    assert answer.headers["location"] == order["location"]
    assert json.loads(answer.body)["new_url"] == order["location"]
