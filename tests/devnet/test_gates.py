"""The doors of a transfer agent that are not about signatures, in their place among its checks."""

import json
from typing import Any

import pytest

from tests.devnet.conftest import World
from tests.devnet.wire import control, request


def body_without_model() -> bytes:
    """Gives a body that row 5 refuses."""
    return json.dumps({"messages": [{"role": "user", "content": "Hi"}]}).encode()


async def test_row_3_an_agent_that_is_not_allowed(world: World) -> None:
    """With a list of allowed agents, another one refuses everybody, before it misses the Authorization."""
    await control(world.url, "POST", "network", {"allowed_transfer_addresses": [world.devnet.nodes[1].address]})
    answer = await world.send({}, body_without_model())
    assert (answer.status, answer.json()) == (403, {"error": "Transfer Agent not allowed"})
    assert (await world.chat(1)).status == 200


async def test_row_6_a_restricted_developer(world: World) -> None:
    """Until the height, only allowed developers are served; it comes after the model and before the account."""
    height = world.devnet.chain.clock.latest().height + 3
    await control(world.url, "POST", "network", {"restricted_until_height": height})
    missing = await world.send({"authorization": "x"}, body_without_model())
    assert missing.json() == {"error": "No model specified"}
    words = f"inference requests are restricted until block height {height}"
    answer = await world.chat()
    assert (answer.status, answer.json()) == (403, {"error": words})
    await control(world.url, "POST", "network", {"allowed_developers": [world.developer.address]})
    assert (await world.chat()).status == 200
    await control(world.url, "POST", "network", {"allowed_developers": []})
    await control(world.url, "POST", "clock", {"skip_blocks": 3})
    assert (await world.chat()).status == 200


async def test_row_14_an_agent_that_has_its_fill(world: World) -> None:
    """A node takes in so much traffic per block, by the chain's estimate; others and later blocks are free."""
    await control(world.url, "POST", "network", {"kb_per_block": 64})  # 10 blocks of it are 1,000 completion tokens
    assert (await world.chat(max_tokens=900)).status == 200
    answer = await world.chat(max_tokens=900)
    where = f"{world.url}/v1/epochs/current/participants"
    assert (answer.status, answer.json()) == (
        429,
        {"error": f"Transfer Agent capacity reached. Try another TA from {where}"},
    )
    assert (await world.chat(1, max_tokens=900)).status == 200
    await control(world.url, "POST", "clock", {"skip_blocks": 10})
    assert (await world.chat(max_tokens=900)).status == 200


async def test_nothing_is_taken_where_a_door_is_closed(world: World) -> None:
    """No refusal of these rows begins an inference or takes any escrow."""
    await control(world.url, "POST", "network", {"kb_per_block": 0})
    assert (await world.chat()).status == 429
    await control(world.url, "POST", "network", {"kb_per_block": None, "phase": "PoCValidate"})
    assert (await world.chat()).status == 503
    state = await world.state()
    assert (state["inferences"], state["escrowed"]) == ([], {})


async def test_escrow_is_shown_while_an_inference_runs(world: World) -> None:
    """What an inference may cost is taken at its start; at its end what is left is given back."""
    await world.order("hold_stream", after_frames=1)
    wire = await world.open_chat(stream=True, max_tokens=50)
    await wire.receive_frames(1)
    state = await world.state()
    escrowed = state["escrowed"][world.developer.address]
    assert escrowed >= 50
    assert state["accounts"][world.developer.address]["balance"] == 10**9 - escrowed
    await control(world.url, "DELETE", "faults")
    await wire.receive_rest()
    wire.leave()
    await world.devnet.wait_idle()
    state = await world.state()
    assert state["escrowed"] == {}
    assert 10**9 - state["accounts"][world.developer.address]["balance"] == state["inferences"][0]["cost"] > 0


async def test_expiry_gives_everything_back(world: World) -> None:
    """An inference that has not finished after 20 blocks is free, also when it comes to its end later."""
    await world.order("hold_stream", after_frames=1)
    wire = await world.open_chat(stream=True)
    await wire.receive_frames(1)
    await control(world.url, "POST", "clock", {"skip_blocks": 21})
    assert (await world.state())["inferences"][0]["status"] == "EXPIRED"
    await control(world.url, "DELETE", "faults")
    assert b"[DONE]" in await wire.receive_rest()
    wire.leave()
    await world.devnet.wait_idle()
    state = await world.state()
    assert (state["accounts"][world.developer.address]["balance"], state["inferences"][0]["cost"]) == (10**9, 0)


async def test_the_price_is_locked_at_the_start(world: World) -> None:
    """A price that changes during an inference is of the next one."""
    await world.order("hold_stream", after_frames=1)
    wire = await world.open_chat(stream=True)
    await wire.receive_frames(1)
    await control(world.url, "POST", "network", {"price_ngonka": 7})
    await control(world.url, "DELETE", "faults")
    await wire.receive_rest()
    wire.leave()
    await world.devnet.wait_idle()
    await world.chat()
    locked, dearer = (await world.state())["inferences"]
    tokens = [one["prompt_tokens"] + one["completion_tokens"] for one in (locked, dearer)]
    assert (locked["cost"], dearer["cost"]) == (tokens[0], tokens[1] * 7)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"price_ngonka": -1}, "price_ngonka"),
        ({"allowed_transfer_addresses": ["x"]}, "allowed_transfer_addresses"),
        ({"excluded": {"x": "downtime"}}, "excluded"),
        ({"excluded": []}, "excluded"),
        ({"kb_per_block": 1.5}, "kb_per_block"),
        ({"delegate_ta": {"http://a": 1}}, "delegate_ta"),
        ({"phase": "Dreaming"}, "phase"),
        ({"confirmation_poc": 1}, "confirmation_poc"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
async def test_wrong_parameters_change_nothing(world: World, fields: dict[str, Any], name: str) -> None:
    """A parameter that is wrong is named, and none of the others is changed."""
    before = await control(world.url, "GET", "network")
    answer = await request(world.url, "POST", "/devnet/network", {}, json.dumps({"price_ngonka": 9} | fields).encode())
    assert (answer.status, answer.json()["field"]) == (400, name)
    assert await control(world.url, "GET", "network") == before
