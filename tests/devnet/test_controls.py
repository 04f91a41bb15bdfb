"""The control routes: what they do, and how they refuse wrong input."""

import base64
import json
from typing import Any

import pytest

from tests.devnet.conftest import BALANCE, World
from tests.devnet.signing import Developer
from tests.devnet.wire import control, request

SOMEONE = Developer(b"\x09" * 32)
PUBKEY = base64.b64encode(SOMEONE.public_key).decode()


async def test_accounts_are_funded_and_published(world: World) -> None:
    """An account by its key is known, published and rich on every node."""
    fields = {"pubkey": PUBKEY, "balance": 77, "publish": True}
    found = await control(world.url, "POST", "accounts", fields)
    expected = {"balance": 77, "published": True}
    assert found == {"address": SOMEONE.address, **expected}
    for node in world.devnet.nodes:
        state = await control(node.url, "GET", "state")
        assert state["accounts"][SOMEONE.address] == expected


async def test_an_account_by_its_address_is_unpublished(world: World) -> None:
    """An address alone makes an account known; its key can be published later."""
    fields: dict[str, Any] = {"address": SOMEONE.address, "balance": 5}
    found = await control(world.url, "POST", "accounts", fields)
    assert (found["balance"], found["published"]) == (5, False)
    found = await control(world.url, "POST", "accounts", {"pubkey": PUBKEY})
    assert (found["balance"], found["published"]) == (5, True)
    found = await control(world.url, "POST", "accounts", {"pubkey": PUBKEY, "publish": False})
    assert (found["balance"], found["published"]) == (5, False)


@pytest.mark.parametrize(
    ("path", "fields", "name"),
    [
        ("accounts", {}, "address"),
        ("accounts", {"address": "gonka1nobody"}, "address"),
        ("accounts", {"address": 5}, "address"),
        ("accounts", {"address": Developer(b"\x01" * 32).address, "pubkey": PUBKEY}, "address"),
        ("accounts", {"pubkey": "AAAA"}, "pubkey"),
        ("accounts", {"pubkey": "é"}, "pubkey"),
        ("accounts", {"address": SOMEONE.address, "publish": True}, "pubkey"),
        ("accounts", {"pubkey": PUBKEY, "publish": "yes"}, "publish"),
        ("accounts", {"pubkey": PUBKEY, "balance": -1}, "balance"),
        ("accounts", {"pubkey": PUBKEY, "balance": 1.5}, "balance"),
        ("accounts", {"pubkey": PUBKEY, "balance": None}, "balance"),
        ("accounts", {"pubkey": PUBKEY, "balance": 2**63}, "balance"),
        ("accounts", {"pubkey": PUBKEY, "money": 1}, "money"),
        ("faults", {}, "fault"),
        ("faults", {"fault": "fire"}, "fault"),
        ("faults", {"fault": 503}, "fault"),
        ("faults", {"fault": "503", "times": -1}, "times"),
        ("faults", {"fault": "503", "times": True}, "times"),
        ("faults", {"fault": "cut", "after_frames": "2"}, "after_frames"),
        ("faults", {"fault": "wrong_usage", "usage": 5}, "usage"),
        ("faults", {"fault": "barrier", "count": 0}, "count"),
        ("faults", {"fault": "503", "retry_after_s": -1}, "retry_after_s"),
        ("faults", {"fault": "503", "message": 5}, "message"),
        ("faults", {"fault": "308", "location": "http://a\r\nb: c"}, "location"),
        ("faults", {"fault": "503", "when": "now"}, "when"),
        ("clock", {"stall": 1}, "stall"),
        ("clock", {"offset_s": 0.5}, "offset_s"),
        ("clock", {"offset": 5}, "offset"),
    ],
)
async def test_wrong_input_names_its_field(world: World, path: str, fields: dict[str, Any], name: str) -> None:
    """A wrong field is a 400 that names it, and changes nothing."""
    before = await world.state()
    body = json.dumps(fields).encode()
    answer = await request(world.url, "POST", f"/devnet/{path}", body=body)
    assert answer.status == 400
    assert answer.json()["field"] == name
    assert answer.json()["error"].startswith(name)
    assert await world.state() == before
    assert (await world.chat()).status == 200


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'{"balance": NaN}'])
async def test_a_control_needs_a_json_object(world: World, body: bytes) -> None:
    """Anything but a JSON object is a 400 about the body."""
    answer = await request(world.url, "POST", "/devnet/accounts", body=body)
    assert (answer.status, answer.json()["field"]) == (400, "body")


@pytest.mark.parametrize(("method", "path"), [("GET", "faults"), ("POST", "fire")])
async def test_unknown_controls(world: World, method: str, path: str) -> None:
    """What is no control is a 404."""
    answer = await request(world.url, method, f"/devnet/{path}")
    assert answer.status == 404


async def test_clock_tells_and_keeps_its_settings(world: World) -> None:
    """Stall and offset are set apart from each other, and the answer tells the latest block."""
    start = world.devnet.chain.clock.latest()
    found = await control(world.url, "POST", "clock", {"stall": True, "offset_s": -7})
    assert (found["stall"], found["offset_s"]) == (True, -7)
    assert found["block"]["time_ns"] == start.time_ns - 7 * 10**9
    found = await control(world.url, "POST", "clock", {"stall": False})
    assert (found["stall"], found["offset_s"]) == (False, -7)
    assert found["block"]["height"] == start.height + 1


async def test_state_tells_everything(world: World) -> None:
    """The state tells node, block, accounts, and what each inference took."""
    usage = (await world.chat()).json()["usage"]
    state = await world.state()
    node = world.devnet.nodes[0]
    block = world.devnet.chain.clock.latest()
    assert (state["node_address"], state["scheme"]) == (node.address, "hash")
    assert state["block"] == {"height": block.height, "time_ns": block.time_ns}
    account = state["accounts"][world.developer.address]
    assert account == {"balance": BALANCE - usage["total_tokens"], "published": True}
    (inference,) = state["inferences"]
    assert inference["status"] == "FINISHED"
    assert inference["cost"] == usage["total_tokens"]
    assert inference["prompt_tokens"] == usage["prompt_tokens"]
    assert inference["completion_tokens"] == usage["completion_tokens"]
    assert inference["requester"] == world.developer.address
