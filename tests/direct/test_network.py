"""Finding nodes: by argument, by environment, by asking the network; and how nodes are named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tallygate.devnet import Devnet, DevnetSettings, NodeSettings, Scheme
from tallygate.devnet.server import Reply
from tallygate.direct import (
    EndpointError,
    Node,
    UnreachableError,
    ask_identity,
    find_nodes,
    look_around,
    new_wallet,
    parse_nodes,
)
from tallygate.direct.network import is_healthy
from tallygate.direct.nodes import resolve_node
from tallygate.direct.refusals import explain
from tallygate.direct.web import parse_base_url
from tests.direct.network import in_thread, nodes_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tallygate.devnet.server import Request

ADDRESS = new_wallet().address
OTHER = new_wallet().address


@pytest.fixture
async def devnet() -> AsyncIterator[Devnet]:
    """Run three nodes."""
    async with Devnet(DevnetSettings(base_port=0, pace_ms=0)) as world:
        yield world


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://host:8000", "http://host:8000"),
        ("http://host:8000/", "http://host:8000"),
        ("https://host/v1", "https://host"),
        (" https://host/gonka/v1/ ", "https://host/gonka"),
        ("http://[::1]:8000/v1", "http://[::1]:8000"),
    ],
)
def test_urls_are_taken_with_or_without_v1(text: str, url: str) -> None:
    """A node's URL may end with /v1, and with a slash."""
    assert parse_base_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host:8000",
        "ftp://host",
        "file:///etc/passwd",
        "http://",
        "http://u:p@host",
        "http://host?x=1",
        "http://h:x",
    ],
)
def test_what_is_no_url_is_refused(text: str) -> None:
    """What is no URL of a node is refused with an example."""
    with pytest.raises(EndpointError, match="http://host:8000"):
        parse_base_url(text)


def test_a_list_of_nodes_is_read() -> None:
    """`GONKA_ENDPOINTS` is a list of URLs with addresses."""
    text = f"http://a:1/v1;{ADDRESS}, http://b:2 ; {OTHER},"

    assert parse_nodes(text) == (Node("http://a:1", ADDRESS), Node("http://b:2", OTHER))
    assert find_nodes({"GONKA_ENDPOINTS": text}) == parse_nodes(text)


@pytest.mark.parametrize(
    "text", [",", "http://a:1", "http://a:1;", "http://a:1;gonka1nobody", pytest.param(f"a;{ADDRESS}", id="no URL")]
)
def test_a_list_with_what_is_no_node_is_refused(text: str) -> None:
    """A URL without an address, or with one that is none, is refused."""
    with pytest.raises(EndpointError):
        parse_nodes(text)


async def test_a_node_names_itself(devnet: Devnet) -> None:
    """A node's own word for its address counts; another address is refused before anything is signed for it."""
    (url, address), *_ = nodes_of(devnet)

    assert await in_thread(ask_identity, f"{url}/v1") == address
    assert await in_thread(resolve_node, f"{url}/v1/", None) == Node(url, address)
    assert await in_thread(resolve_node, url, address) == Node(url, address)
    assert await in_thread(find_nodes, {"GONKA_ENDPOINT": url}) == (Node(url, address),)
    with pytest.raises(EndpointError, match=f"goes by the address {address}, not by {OTHER}"):
        await in_thread(resolve_node, url, OTHER)


async def test_a_node_that_does_not_name_itself_has_to_be_named() -> None:
    """Where a node does not say its address, the one given counts; without one it is an error that says so."""
    assert await in_thread(resolve_node, "http://127.0.0.1:9", ADDRESS) == Node("http://127.0.0.1:9", ADDRESS)
    with pytest.raises(EndpointError, match="--provider-address, or GONKA_PROVIDER_ADDRESS"):
        await in_thread(resolve_node, "http://127.0.0.1:9", None)
    with pytest.raises(UnreachableError, match="cannot be reached"):
        await in_thread(ask_identity, "http://127.0.0.1:9")


async def test_the_network_names_its_nodes(devnet: Devnet) -> None:
    """Any node tells of all: those that are excluded or not allowed are shown as such, and not used."""
    first, second, third = nodes_of(devnet)
    view = await in_thread(look_around, first.url)

    assert {(host.url, host.address) for host in view.hosts} == set(nodes_of(devnet))
    assert all(host.allowed and host.excluded is None and host.models for host in view.hosts)
    assert view.prices == dict.fromkeys(devnet.settings.models, 1)

    devnet.chain.parameters.excluded[second.address] = "downtime"
    devnet.chain.parameters.allowed_transfer_addresses = (second.address, third.address)
    view = await in_thread(look_around, first.url)

    shown = {host.address: (host.allowed, host.excluded) for host in view.hosts}
    assert shown == {
        first.address: (False, None),
        second.address: (True, "downtime"),
        third.address: (True, None),
    }
    assert await in_thread(find_nodes, {"GONKA_SOURCE_URL": first.url}) == (third,)
    devnet.chain.parameters.excluded[third.address] = "downtime"
    with pytest.raises(EndpointError, match="No participant"):
        await in_thread(find_nodes, {"GONKA_SOURCE_URL": first.url})


async def test_who_answers_is_healthy(devnet: Devnet, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that answers is healthy; one that is not there is not."""
    monkeypatch.setattr("tallygate.direct.network.HEALTH_S", 120)  # the node is in this process, which may be slow
    assert await in_thread(is_healthy, devnet.nodes[0].url)
    assert not await in_thread(is_healthy, "http://127.0.0.1:9")


async def test_a_node_that_speaks_devshard_still_tells_of_the_network() -> None:
    """Nodes that take no signed chat answer look-ups all the same."""
    settings = DevnetSettings(base_port=0, nodes=(NodeSettings(Scheme.DEPRECATED),))
    async with Devnet(settings) as devnet:
        assert len((await in_thread(look_around, devnet.nodes[0].url)).hosts) == 1


def test_an_environment_without_nodes_says_what_to_set() -> None:
    """Without any of the variables, the error names them."""
    with pytest.raises(EndpointError, match=r"GONKA_ENDPOINTS.*GONKA_ENDPOINT.*GONKA_SOURCE_URL"):
        find_nodes({})


@pytest.mark.parametrize("status", [301, 400, 401, 402, 403, 404, 410, 413, 418, 422, 429, 500, 502, 503])
def test_every_status_is_explained(status: int) -> None:
    """Whatever a node says, there is a sentence on what to change, and words that are not known do not matter."""
    assert explain(status, "").endswith(".")
    assert explain(status, "words of a version to come").endswith(".")


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        (b'{"models": [{"id": "a", "price_per_token": 7}, {"id": "b", "price_per_token": 0}]}', {"a": 7, "b": 0}),
        (b'{"models": [{"id": "a", "price_per_token": -1}, {"id": "b", "price_per_token": 1.5}, {"id": "c"}]}', {}),
        (b'{"models": "many"}', {}),
        (b"<html>", {}),
    ],
)
async def test_prices_that_are_none_are_not_shown(
    monkeypatch: pytest.MonkeyPatch, devnet: Devnet, told: bytes, shown: dict[str, int]
) -> None:
    """A node's prices are read as a gateway reads them; what is no whole number of 0 or more is left out."""
    answer = devnet._nodes[0]._public.answer

    def lie(request: Request) -> Reply:
        return Reply(200, told) if request.path == "/v1/governance/pricing" else answer(request)

    monkeypatch.setattr(devnet._nodes[0]._public, "answer", lie)
    view = await in_thread(look_around, devnet.nodes[0].url)

    assert view.prices == shown
    assert len(view.hosts) == 3
