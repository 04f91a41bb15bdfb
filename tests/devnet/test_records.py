"""What an inference cost, shown later to who asks: by a classic node, and by the Bearer gateway."""

import asyncio
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest

from tallygate.devnet import Devnet, DevnetSettings
from tests.devnet.conftest import CHAT, HandClock, World
from tests.devnet.signing import chat_body
from tests.devnet.wire import Answer, control, request

FEE = 1000


async def look_up(world: World, inference_id: str, index: int = 0) -> Answer:
    """Asks a node for the chain's record of an inference."""
    return await request(world.devnet.nodes[index].url, "GET", f"{CHAT}?id={quote(inference_id, safe='')}")


async def test_a_node_shows_the_chains_record(world: World) -> None:
    """A finished inference has the chain's number for that, its counts, its price and what it cost."""
    answer = await world.chat(max_tokens=7)
    found = (await look_up(world, answer.json()["id"])).json()
    usage = answer.json()["usage"]
    assert (found["status"], found["inference_id"]) == (1, answer.json()["id"])
    assert found["prompt_token_count"] == usage["prompt_tokens"]
    assert found["completion_token_count"] == usage["completion_tokens"]
    assert found["actual_cost"] == usage["total_tokens"] == world.spent()
    assert found["escrow_amount"] == len("What does a token cost?\n") + 7
    assert (found["requested_by"], found["transferred_by"]) == (world.developer.address, world.devnet.nodes[0].address)


async def test_every_node_shows_it(world: World) -> None:
    """The record is the chain's, so a node that had nothing to do with it shows the same; a deprecated one does not."""
    inference_id = (await world.chat()).json()["id"]
    assert (await look_up(world, inference_id, 1)).json() == (await look_up(world, inference_id, 0)).json()
    assert (await look_up(world, inference_id, 2)).status == 410


async def test_what_has_only_started_shows_no_zeros(world: World) -> None:
    """Until it finishes, status, counts and cost are left out, as Go leaves out zeros; later it counts as expired."""
    await world.order("hold_stream", after_frames=1)
    wire = await world.open_chat(stream=True)
    await wire.receive_frames(1)
    (inference_id,) = world.devnet.chain.inferences
    found = (await look_up(world, inference_id)).json()
    assert not found.keys() & {"status", "completion_token_count", "actual_cost", "end_block_height"}
    world.clock.time_ns += 21 * world.devnet.settings.block_interval_ns
    assert (await look_up(world, inference_id)).json()["status"] == 5
    wire.leave()
    await world.devnet.wait_idle()


@pytest.mark.parametrize(
    ("query", "status", "error"), [("", 400, "Id required"), ("?id=x", 404, "Inference not found")]
)
async def test_an_unknown_inference(world: World, query: str, status: int, error: str) -> None:
    """What the chain does not know is a 404 in a node's words; without an id it is a 400."""
    answer = await request(world.url, "GET", CHAT + query)
    assert (answer.status, answer.json()) == (status, {"error": error})


@pytest.fixture
async def gateway(settings: DevnetSettings) -> Any:
    """A devnet whose Bearer gateway pays a fee for every attempt."""
    async with Devnet(replace(settings, attempt_ngonka=FEE), now_ns=HandClock()) as devnet:
        yield devnet


async def call(devnet: Devnet, method: str, path: str, body: bytes = b"", key: str | None = None) -> Answer:
    """Asks the Bearer gateway."""
    headers = {"authorization": f"Bearer {devnet.bearer_key if key is None else key}"}
    return await request(devnet.bearer_url.removesuffix("/v1"), method, path, headers, body)


async def test_the_gateway_accounts_for_a_request(gateway: Devnet) -> None:
    """Under the id of its answer stand the attempt with its nonce and tokens, and the cost of all attempts."""
    answer = await call(gateway, "POST", CHAT, chat_body(max_tokens=7))
    usage = answer.json()["usage"]
    found = (await call(gateway, "GET", f"/v1/requests/{answer.headers['x-request-id']}")).json()
    (attempt,) = found["attempts"]
    assert (found["request_id"], found["escrow_id"]) == (
        answer.headers["x-request-id"],
        answer.headers["x-devshard-id"],
    )
    assert (attempt["nonce"], attempt["status"], attempt["winner"]) == (1, "finished", True)
    assert (attempt["input_tokens"], attempt["output_tokens"]) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert found["cost"]["all_attempts_actual_cost"] == attempt["actual_cost"] == usage["total_tokens"]


async def test_the_gateway_pays_a_fee_per_attempt(gateway: Devnet) -> None:
    """The operator pays the fee and the tokens; the state shows both, the session tells the fee."""
    answer = await call(gateway, "POST", CHAT, chat_body())
    root = gateway.bearer_url.removesuffix("/v1")
    state = await control(root, "GET", "state")
    (inference,) = state["inferences"]
    assert inference["cost"] == FEE + answer.json()["usage"]["total_tokens"]
    assert (inference["fee"], inference["request_id"]) == (FEE, answer.headers["x-request-id"])
    paid = gateway.settings.operator_balance_ngonka - state["accounts"][gateway.bearer_address]["balance"]
    assert paid == inference["cost"]
    status = (await call(gateway, "GET", "/v1/status")).json()
    assert status["config"] == {"token_price": 1, "fee_per_nonce": FEE}
    assert status["nonce"] == 1


async def test_a_refused_request_has_an_id_and_no_account(gateway: Devnet) -> None:
    """Every answer has an id of its own; what was refused before it had a nonce is not found under it."""
    refused = [await call(gateway, "POST", CHAT, b"{}"), await call(gateway, "POST", "/v1/embeddings")]
    await control(gateway.bearer_url.removesuffix("/v1"), "POST", "faults", {"fault": "308"})
    refused += [await call(gateway, "POST", CHAT, chat_body()), await call(gateway, "POST", CHAT, chat_body())]
    ids = [answer.headers["x-request-id"] for answer in refused]
    assert len(set(ids)) == 4
    for request_id in ids[:3]:
        answer = await call(gateway, "GET", f"/v1/requests/{request_id}")
        assert answer.status == 404
        assert answer.json()["error"]["message"].startswith(f"request {request_id} not found for devshard ")
    assert (await call(gateway, "GET", f"/v1/requests/{ids[3]}")).status == 200


async def test_accounting_needs_the_key(gateway: Devnet) -> None:
    """Nobody without the key learns what a request cost, nor whether there was one."""
    answer = await call(gateway, "POST", CHAT, chat_body())
    for request_id in (answer.headers["x-request-id"], "req-none"):
        assert (await call(gateway, "GET", f"/v1/requests/{request_id}", key="other")).status == 401


async def test_a_request_under_way_has_no_winner(gateway: Devnet) -> None:
    """While an answer is held, its attempt has started, has cost nothing, and has not won."""
    await control(gateway.bearer_url.removesuffix("/v1"), "POST", "faults", {"fault": "hold_stream"})
    calling = asyncio.ensure_future(call(gateway, "POST", CHAT, chat_body(stream=True)))
    while not gateway.chain.inferences:
        await call(gateway, "GET", "/v1/status")
    (inference,) = gateway.chain.inferences.values()
    found = (await call(gateway, "GET", f"/v1/requests/{inference.request_id}")).json()
    assert (found["attempts"][0]["status"], found["cost"]["all_attempts_actual_cost"]) == ("started", 0)
    assert "winner" not in found
    await control(gateway.bearer_url.removesuffix("/v1"), "DELETE", "faults")
    assert (await calling).done()
