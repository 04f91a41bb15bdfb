"""A node's public API: what a client learns there before it sends anything."""

from dataclasses import replace
from typing import Any

import pytest

from tallygate.devnet import Devnet, DevnetSettings, ModelList, NodeSettings
from tests.devnet.conftest import HandClock, World
from tests.devnet.signing import MODEL
from tests.devnet.wire import Answer, control, request


async def get(world: World, path: str, index: int = 0) -> Answer:
    """Asks a node."""
    return await request(world.devnet.nodes[index].url, "GET", path)


async def read(world: World, path: str, index: int = 0) -> Any:
    """Asks a node for what it must have."""
    answer = await get(world, path, index)
    assert answer.status == 200, answer.body
    return answer.json()


async def test_participants_of_the_epoch(world: World) -> None:
    """Every node is a participant with its URL and its models; the proof is null, and nobody is out."""
    found = await read(world, "/v1/epochs/current/participants")
    active = found["active_participants"]
    assert [(one["inference_url"], one["index"]) for one in active["participants"]] == [
        (node.url, node.address) for node in world.devnet.nodes
    ]
    assert all(MODEL in one["models"] for one in active["participants"])
    assert found["addresses"] == [node.address for node in world.devnet.nodes]
    assert (found["proof_ops"], found["excluded_participants"]) == (None, [])
    assert await read(world, f"/v1/epochs/{active['epoch_id']}/participants", 2) == found


async def test_excluded_participants(world: World) -> None:
    """Who was excluded is still a participant, and named apart with the reason; it has no executors any more."""
    node = world.devnet.nodes[0]
    await control(world.url, "POST", "network", {"excluded": {node.address: "downtime"}})
    found = await read(world, "/v1/epochs/current/participants", 1)
    (excluded,) = found["excluded_participants"]
    assert (excluded["address"], excluded["reason"]) == (node.address, "downtime")
    assert node.address in found["addresses"]
    assert (await world.chat()).status == 503
    assert (await world.chat(1)).status == 200


@pytest.mark.parametrize(
    ("epoch", "status", "error"),
    [
        ("0", 400, "Invalid epoch id"),
        ("x", 400, "Invalid epoch id"),
        ("7", 404, "No active participants found for epoch 7"),
    ],
)
async def test_other_epochs(world: World, epoch: str, status: int, error: str) -> None:
    """Epoch 0 and nonsense are a 400, an epoch that nobody knows is a 404."""
    answer = await get(world, f"/v1/epochs/{epoch}/participants")
    assert (answer.status, answer.json()) == (status, {"error": error})


async def test_only_the_latest_epoch_is_told(world: World) -> None:
    """Stages and phase are those of now; no other epoch has any."""
    latest = await read(world, "/v1/epochs/latest")
    assert latest["phase"] == "Inference"
    assert latest["block_height"] == world.devnet.chain.clock.latest().height
    assert latest["epoch_stages"]["poc_start"] == latest["latest_epoch"]["poc_start_block_height"]
    assert latest["next_epoch_stages"]["poc_start"] == latest["epoch_stages"]["next_poc_start"]
    assert (await get(world, "/v1/epochs/5")).status == 400


async def test_both_shapes_of_the_model_list(settings: DevnetSettings) -> None:
    """Older nodes list the chain's records, with numbers as texts; newer ones list as OpenAI does."""
    nodes = (NodeSettings(models_as=ModelList.CHAIN), NodeSettings(models_as=ModelList.OPENAI))
    async with Devnet(replace(settings, nodes=nodes), now_ns=HandClock()) as devnet:
        old, new = [(await request(node.url, "GET", "/v1/models")).json() for node in devnet.nodes]
    assert old.keys() == {"models"}
    assert [model["id"] for model in old["models"]] == list(settings.models)
    assert old["models"][0]["units_of_compute_per_token"] == "1"
    assert new["object"] == "list"
    assert [model["id"] for model in new["data"]] == list(settings.models)


async def test_prices_of_now(world: World) -> None:
    """The governance pricing follows the price of a token, 0 included; the legacy pricing does not."""
    before = await read(world, "/v1/pricing")
    await control(world.url, "POST", "network", {"price_ngonka": 0})
    prices = await read(world, "/v1/governance/pricing")
    assert {model["id"]: model["price_per_token"] for model in prices["models"]} == dict.fromkeys(
        world.devnet.settings.models, 0
    )
    assert prices["dynamic_pricing_enabled"] is True
    assert await read(world, "/v1/pricing") == before
    assert before["models"][0]["price_per_token"] == 1000
    chain = await read(world, f"/chain-api/productscience/inference/inference/model_per_token_price/{MODEL}")
    assert chain == {"price": "0"}


async def test_delegates_are_told_by_identity(world: World) -> None:
    """A node tells of those who take requests for it only when there are any."""
    assert "delegate_ta" not in (await read(world, "/v1/identity"))["data"]
    delegates = {"http://elsewhere.invalid": world.devnet.nodes[1].address}
    await control(world.url, "POST", "network", {"delegate_ta": delegates})
    assert (await read(world, "/v1/identity"))["data"]["delegate_ta"] == delegates


@pytest.mark.parametrize("prefix", ["/v2/accounts", "/v1/participants"])
async def test_accounts(world: World, prefix: str) -> None:
    """An account shows key and balance; an unknown one is a 404 here, where chat answers 500."""
    found = await read(world, f"{prefix}/{world.developer.address}")
    assert (found["balance"], found["denom"]) == (10**9, "ngonka")
    stranger = await get(world, f"{prefix}/{world.devnet.nodes[0].address}")
    assert (stranger.status, stranger.json()) == (404, {"error": "account not found"})
    assert (await get(world, f"{prefix}/gonka1wrong")).status == 400


async def test_hosts_of_the_network(world: World) -> None:
    """Who is registered is listed with its URL, and can be looked up by its address."""
    node = world.devnet.nodes[1]
    listed = await read(world, "/v1/participants")
    assert {one["id"]: one["url"] for one in listed["participants"]}[node.address] == node.url
    found = await read(world, f"/v2/participants/{node.address}")
    assert found["participant"]["inference_url"] == node.url
    assert (await get(world, f"/v2/participants/{world.developer.address}")).status == 404


@pytest.mark.parametrize("path", ["/v1/status", "/v1/versions", "/v1/governance/models"])
async def test_other_look_ups(world: World, path: str) -> None:
    """Status, versions and the chain's models are there."""
    assert await read(world, path)


@pytest.mark.parametrize(("method", "path"), [("GET", "/v3/accounts/x"), ("POST", "/v1/status"), ("GET", "/")])
async def test_unknown_routes(world: World, method: str, path: str) -> None:
    """What a node does not offer is a 404 in its words."""
    answer = await request(world.url, method, path)
    assert (answer.status, answer.json()) == (404, {"error": "Not Found"})
