"""A classic node: its checks, one by one and in their order, and the habits of its answers."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from tallygate.devnet import Devnet, DevnetSettings, NodeSettings
from tallygate.devnet.chain import NS_PER_S
from tallygate.devnet.identity import Identity, is_signed_by
from tests.devnet.conftest import CHAT, HandClock, World
from tests.devnet.signing import MODEL, Developer, chat_body
from tests.devnet.wire import control, request

HASH, RAW, DEPRECATED = 0, 1, 2
STRANGER = Developer(b"\x07" * 32)


def assert_refused(answer: Any, status: int, message: str) -> None:
    """Checks a node's refusal: one text, nothing else."""
    assert (answer.status, answer.json()) == (status, {"error": message})


# The checks, by their rows in the protocol's table.


async def test_row_1_body_too_large(world: World) -> None:
    """More than 10 MiB is a 413, whoever sends it, told by the length or found out on the way."""
    body = b" " * (10 * 1024 * 1024 + 1)
    answer = await world.send({}, body)
    assert_refused(answer, 413, "request body too large")


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"model": 5}', b'{"messages": "hi"}', b'{"a": NaN}', b"\xff{}"])
async def test_row_2_body_is_no_chat_request(world: World, body: bytes) -> None:
    """What is not a JSON object of the right shape is a 400, before any signature is looked at."""
    answer = await world.send({}, body)
    assert answer.status == 400
    assert answer.json()["error"].startswith("invalid chat completion request: ")


@pytest.mark.parametrize("body", [b"{}", b'{"messages": []}', b'{"messages": null}'])
async def test_row_2_messages_are_missing(world: World, body: bytes) -> None:
    """No messages is a 400 with its own words."""
    assert_refused(await world.send({}, body), 400, "messages is required")


async def test_row_4_no_authorization(world: World) -> None:
    """An absent Authorization is a 401, even where the model is missing too."""
    body = json.dumps({"messages": [{"role": "user", "content": "Hi"}]}).encode()
    assert_refused(await world.send({}, body), 401, "Authorization is required")


async def test_row_5_no_model(world: World) -> None:
    """No model is a 400, before the account is looked up."""
    body = json.dumps({"messages": [{"role": "user", "content": "Hi"}]}).encode()
    answer = await world.send({"authorization": "anything"}, body)
    assert_refused(answer, 400, "No model specified")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"messages": ["Hi"]}, "messages[0] must be an object"),
        ({"messages": [{"content": "Hi"}]}, "messages[0].role is required"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            'messages[0].content[0].type must be "text"',
        ),
        ({"max_tokens": -1}, "max_tokens must be at least 1"),
        ({"max_tokens": 1.5}, "max_tokens must be an integer"),
        ({"max_tokens": True}, "max_tokens must be an integer"),
        ({"n": 0}, "n must be an integer from 1 to 5"),
        ({"stream": "yes"}, "stream must be a boolean"),
        ({"stop": 5}, "stop must be a string or an array of strings"),
        ({"tools": [{"type": "retrieval"}]}, 'tools[0].type must be "function"'),
        ({"tool_choice": "required"}, "tool_choice is required, but tools is empty"),
    ],
)
async def test_row_7_wrong_shapes(world: World, fields: dict[str, Any], message: str) -> None:
    """A field of a wrong shape is a 400 that names it."""
    answer = await world.chat(**fields)
    assert_refused(answer, 400, message)


async def test_row_8_unknown_account(world: World) -> None:
    """An account that the chain does not know is the chain's own error, as a 500."""
    body = chat_body()
    node = world.devnet.nodes[HASH]
    headers = STRANGER.headers(body, world.clock.time_ns, node.address)
    answer = await world.send(headers, body)
    assert_refused(answer, 500, "rpc error: code = NotFound desc = account not found")


async def test_row_8_unpublished_key(world: World) -> None:
    """An account with money but without a published key is a 500 too."""
    world.devnet.chain.open_account(STRANGER.address).balance_ngonka = 10**9
    body = chat_body()
    node = world.devnet.nodes[HASH]
    headers = STRANGER.headers(body, world.clock.time_ns, node.address)
    answer = await world.send(headers, body)
    assert_refused(answer, 500, "rpc error: code = NotFound desc = account has no public key")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda headers, body: (headers, body + b" "),
        lambda headers, body: (headers | {"x-timestamp": "1"}, body),
        lambda headers, body: (headers | {"authorization": "Bearer tg-key"}, body),
        lambda headers, body: ({k: headers[k] for k in headers if k != "x-timestamp"}, body),
    ],
    ids=["body", "timestamp", "bearer", "no-timestamp"],
)
async def test_row_9_signature_of_something_else(world: World, spoil: Any) -> None:
    """A signature that does not fit body, timestamp and key is a 401."""
    body = chat_body()
    headers, sent = spoil(world.sign(body), body)
    answer = await world.send(headers, sent)
    message = "Unable to validate request against PubKey:invalid signature"
    assert_refused(answer, 401, message)


@pytest.mark.parametrize(("signed_for", "sent_to"), [(HASH, RAW), (RAW, HASH)])
async def test_row_9_other_node_or_scheme(world: World, signed_for: int, sent_to: int) -> None:
    """A request signed for one node, by its scheme, is a 401 at another."""
    body = chat_body()
    answer = await world.send(world.sign(body, signed_for), body, sent_to)
    assert answer.status == 401


async def test_row_9_exactly_one_scheme(world: World) -> None:
    """A node refuses the other scheme even with its own address."""
    body = chat_body()
    for index, other in ((HASH, "raw"), (RAW, "hash")):
        address = world.devnet.nodes[index].address
        headers = world.developer.headers(body, world.clock.time_ns, address, other)
        assert (await world.send(headers, body, index)).status == 401


async def test_row_10_unknown_model(world: World) -> None:
    """A model that nobody serves is a 404, after the signature is known to be good."""
    assert_refused(await world.chat(model="gpt-4"), 404, "model not found")


@pytest.mark.parametrize(
    ("fields", "needed"),
    [({"max_tokens": 10}, 3 + 10), ({}, 3 + 5000), ({"max_completion_tokens": 10}, 3 + 5000)],
)
async def test_row_11_balance_must_cover_the_bound(world: World, fields: dict[str, Any], needed: int) -> None:
    """The balance must reach (prompt bytes + max_tokens) x price; 5000 stands in for max_tokens."""
    account = world.devnet.chain.accounts[world.developer.address]
    account.balance_ngonka = needed - 1
    assert_refused(await world.chat(content="Hi", **fields), 402, "Insufficient balance")
    account.balance_ngonka = needed
    assert (await world.chat(content="Hi", **fields)).status == 200


@pytest.mark.parametrize(
    ("age_s", "message"),
    [(61, "signature is too old"), (-31, "signature is in the future")],
)
async def test_row_12_window(world: World, age_s: int, message: str) -> None:
    """A timestamp outside of the window around the latest block's time is a 400."""
    body = chat_body()
    headers = world.sign(body, timestamp_ns=world.clock.time_ns - age_s * NS_PER_S)
    assert_refused(await world.send(headers, body), 400, message)


async def test_row_12_a_missing_timestamp_is_too_old(world: World) -> None:
    """Without X-Timestamp the signed bytes hold none, and the request is too old; a raw node has older words for it."""
    body = chat_body()
    node = world.devnet.nodes[RAW]
    signature = world.developer.sign(body + node.address.encode())
    headers = {"authorization": signature, "x-requester-address": world.developer.address}
    assert_refused(await world.send(headers, body, RAW), 400, "Request timestamp is too old")


async def test_row_12_right_time_is_in_the_future_of_a_stalled_chain(world: World) -> None:
    """Block time decides, not the wall clock: when the chain stands still, now is the future."""
    await control(world.url, "POST", "clock", {"stall": True})
    world.clock.time_ns += 31 * NS_PER_S
    assert_refused(await world.chat(), 400, "signature is in the future")
    await control(world.url, "POST", "clock", {"stall": False})
    assert (await world.chat()).status == 200


async def test_row_12_right_time_is_too_old_for_a_chain_ahead(world: World) -> None:
    """When block times run ahead, a right timestamp is too old."""
    await control(world.url, "POST", "clock", {"offset_s": 61})
    assert_refused(await world.chat(), 400, "signature is too old")


async def test_row_13_replay(world: World) -> None:
    """The same signed request is served once."""
    body = chat_body()
    headers = world.sign(body)
    assert (await world.send(headers, body)).status == 200
    message = "AuthKey has already been used for a transfer request"
    assert_refused(await world.send(headers, body), 400, message)
    assert len(world.devnet.chain.inferences) == 1


async def test_refusals_cost_nothing(world: World) -> None:
    """No refusal starts an inference or takes money."""
    await world.chat(model="gpt-4")
    await world.send({}, chat_body())
    assert world.spent() == 0
    assert not world.devnet.chain.inferences


@pytest.mark.parametrize(("method", "path"), [("POST", CHAT), ("POST", "/v1/completions"), ("GET", CHAT)])
async def test_deprecated_node_answers_410(world: World, method: str, path: str) -> None:
    """A node from v0.2.14 on points to devshard and looks at nothing."""
    answer = await request(world.devnet.nodes[DEPRECATED].url, method, path)
    assert answer.status == 410
    assert answer.headers["deprecation"] == "true"
    assert answer.headers["link"] == '</devshard/{version}>; rel="successor-version"'
    assert answer.json() == {
        "error": "deprecated",
        "message": "classic inference is deprecated; use devshard",
    }


# The habits of an answer.


@pytest.mark.parametrize("index", [HASH, RAW])
async def test_both_schemes_are_served(world: World, index: int) -> None:
    """A right request is answered, its id is its signature, and it is paid by the token."""
    body = chat_body()
    headers = world.sign(body, index)
    answer = await world.send(headers, body, index)
    found = answer.json()
    assert answer.status == 200
    assert found["id"] == headers["authorization"]
    assert found["object"] == "chat.completion"
    assert found["model"] == MODEL
    usage = found["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert world.spent() == usage["total_tokens"]


async def test_streamed_is_unstreamed(world: World) -> None:
    """The same request says and costs the same, streamed or not."""
    whole = (await world.chat()).json()
    unstreamed_cost = world.spent()
    answer = await world.chat(stream=True)
    frames = answer.frames()
    text = "".join(c["delta"].get("content", "") for f in frames for c in f["choices"])
    assert answer.headers["content-type"] == "text/event-stream"
    assert text == whole["choices"][0]["message"]["content"]
    assert frames[-1]["usage"] == whole["usage"]
    assert frames[-1]["choices"] == []
    assert answer.done()
    assert world.spent() == 2 * unstreamed_cost


async def test_stream_habits(world: World) -> None:
    """Every frame carries the signature as id and sorted keys; usage is forced into the last."""
    body = chat_body(stream=True, logprobs=False, stream_options={"include_usage": False})
    headers = world.sign(body)
    answer = await world.send(headers, body)
    lines = [line for line in answer.body.decode().split("\n\n") if line]
    assert lines[-1] == "data: [DONE]"
    for line in lines[:-1]:
        payload = line.removeprefix("data: ")
        frame = json.loads(payload)
        assert frame["id"] == headers["authorization"]
        assert payload == json.dumps(frame, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert ("usage" in frame) == (line == lines[-2])


async def test_forced_logprobs(world: World) -> None:
    """Each token of an answer has an entry with five alternatives, asked for or not."""
    frames = (await world.chat(stream=True, max_tokens=7)).frames()
    entries = [
        entry
        for frame in frames
        for choice in frame["choices"]
        for entry in (choice["logprobs"] or {"content": []})["content"]
    ]
    assert len(entries) == 7 == frames[-1]["usage"]["completion_tokens"]
    for entry in entries:
        assert set(entry) == {"token", "logprob", "bytes", "top_logprobs"}
        assert bytes(entry["bytes"]).decode() == entry["token"]
        assert len(entry["top_logprobs"]) == 5


async def test_token_ids_are_a_nodes_setting(settings: DevnetSettings) -> None:
    """A newer node shows token ids, one of v0.2.13 does not."""
    nodes = (NodeSettings(return_token_ids=True), NodeSettings(return_token_ids=False))
    clock = HandClock()
    async with Devnet(replace(settings, nodes=nodes), now_ns=clock) as devnet:
        world = World(devnet, clock)
        new, old = (await world.chat(0)).json(), (await world.chat(1)).json()
        assert len(new["prompt_token_ids"]) == new["usage"]["prompt_tokens"]
        assert len(new["choices"][0]["token_ids"]) == new["usage"]["completion_tokens"]
        assert "prompt_token_ids" not in old
        assert "token_ids" not in old["choices"][0]
        streamed = await world.chat(1, stream=True)
        assert b"token_ids" not in streamed.body
        assert b'"prompt_token_ids":[' in (await world.chat(0, stream=True)).body


async def test_several_choices(world: World) -> None:
    """With n = 3 there are three answers, and all their tokens are paid."""
    frames = (await world.chat(stream=True, n=3, max_tokens=4)).frames()
    endings = [c for f in frames for c in f["choices"] if c["finish_reason"]]
    assert sorted(choice["index"] for choice in endings) == [0, 1, 2]
    assert frames[-1]["usage"]["completion_tokens"] == 12
    assert world.spent() == frames[-1]["usage"]["total_tokens"]


async def test_price_counts(settings: DevnetSettings) -> None:
    """A cost is tokens times the price; a price of 0 is legal."""
    for price in (0, 7):
        clock = HandClock()
        async with Devnet(replace(settings, price_ngonka=price), now_ns=clock) as devnet:
            world = World(devnet, clock)
            usage = (await world.chat()).json()["usage"]
            assert world.spent() == usage["total_tokens"] * price


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_left_pays_for_the_whole_answer(world: World, stream: bool) -> None:
    """An inference runs to its end unseen and is debited in full."""
    expected = (await world.chat(content="600 words")).json()["usage"]["total_tokens"]
    before = world.spent()
    wire = await world.open_chat(content="600 words", stream=stream)
    if stream:
        await wire.receive_frames(2)
    wire.leave()
    while len(world.devnet.chain.inferences) < 2:
        await control(world.url, "GET", "state")
    await world.devnet.wait_idle()
    assert world.spent() - before == expected
    inference = (await world.state())["inferences"][-1]
    assert (inference["status"], inference["cost"]) == ("FINISHED", expected)


# The look-ups.


async def test_status(world: World) -> None:
    """A node says that it is well."""
    answer = await request(world.url, "GET", "/v1/status?verbose=1")
    assert (answer.status, answer.json()) == (200, {"status": "ok"})


async def test_identity(world: World) -> None:
    """A node tells its address and the latest block, and signs it."""
    answer = (await request(world.url, "GET", "/v1/identity")).json()
    data = answer["data"]
    block = world.devnet.chain.clock.latest()
    assert data == {
        "address": world.devnet.nodes[0].address,
        "block": block.height,
        "timestamp": "2027-01-15T08:00:00Z",
    }
    signed = json.dumps(data, sort_keys=True, separators=(",", ":")).encode()
    public_key = Identity.derive(world.devnet.settings.seed, "node 0").public_key
    assert is_signed_by(public_key, signed, base64.b64decode(answer["signature"]))


async def test_models(world: World) -> None:
    """The list of models has the shape of v0.2.12."""
    answer = (await request(world.url, "GET", "/v1/models")).json()
    assert answer["object"] == "list"
    assert [model["id"] for model in answer["data"]] == list(world.devnet.settings.models)
    assert {"hugging_face_id", "context_length", "max_output_length"} <= set(answer["data"][0])


async def test_accounts(world: World) -> None:
    """A published account shows its key and balance; any other is a 404, no address a 400."""
    path = f"/v2/accounts/{world.developer.address}"
    answer = await request(world.url, "GET", path)
    assert answer.json() == {
        "pubkey": base64.b64encode(world.developer.public_key).decode(),
        "balance": 10**9,
        "denom": "ngonka",
    }
    unknown = await request(world.url, "GET", f"/v2/accounts/{STRANGER.address}")
    assert_refused(unknown, 404, "account not found")
    world.devnet.chain.open_account(STRANGER.address)
    unpublished = await request(world.url, "GET", f"/v2/accounts/{STRANGER.address}")
    assert_refused(unpublished, 404, "account has no public key")
    nonsense = await request(world.url, "GET", "/v2/accounts/gonka1nobody")
    assert_refused(nonsense, 400, "invalid address")


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("POST", "/v1/models"), ("GET", "/v3/accounts/x")])
async def test_other_routes(world: World, method: str, path: str) -> None:
    """What a node does not offer is a 404."""
    assert_refused(await request(world.url, method, path), 404, "Not Found")
