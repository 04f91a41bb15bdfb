"""The ready OpenAI client, sync and async, against simulated nodes that check every signature by code of their own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import openai
import pytest

from tallygate.core.signing import Scheme as Signing
from tallygate.devnet import Devnet, DevnetSettings, NodeSettings, Scheme
from tallygate.direct import Node, new_wallet
from tallygate.direct.client import connect, connect_async
from tests.direct.network import control, fund, in_thread, nodes_of, open_account

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tallygate.core.signing import SigningKey

MODEL = "MiniMaxAI/MiniMax-M2.7"
QUESTION: Any = {"model": MODEL, "messages": [{"role": "user", "content": "What is a ledger?"}], "max_tokens": 40}


@pytest.fixture(autouse=True)
def _connects_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a node's connection for longer than the official client's five seconds: a machine may be slower."""
    patient = openai.Timeout(600, connect=120)
    monkeypatch.setattr(openai, "DEFAULT_TIMEOUT", patient)


@pytest.fixture
async def devnet() -> AsyncIterator[Devnet]:
    """Run three nodes."""
    async with Devnet(DevnetSettings(base_port=0, pace_ms=0)) as world:
        yield world


@pytest.fixture
def wallet(devnet: Devnet) -> SigningKey:
    """Return a wallet that can pay."""
    return fund(devnet)


async def ask(devnet: Devnet, wallet: SigningKey, *, stream: bool = False, **options: Any) -> str:
    """Return what an async client is told, asking any of the nodes."""
    nodes = options.pop("nodes", None) or nodes_of(devnet)
    async with connect_async(wallet, nodes, **options) as client:
        if not stream:
            return (await client.chat.completions.create(**QUESTION)).choices[0].message.content or ""
        parts = await client.chat.completions.create(**QUESTION, stream=True)
        return "".join([part.choices[0].delta.content or "" async for part in parts if part.choices])


async def order(devnet: Devnet, fault: str, *indexes: int, **fields: Any) -> None:
    """Have nodes fail from now on, all of them unless some are named."""
    for index in indexes or range(len(devnet.nodes)):
        await control(devnet, "faults", index, fault=fault, **{"times": None, **fields})


async def fail(devnet: Devnet, wallet: SigningKey, **options: Any) -> openai.APIStatusError:
    """Return what a client raises, and make sure that it says what to change."""
    with pytest.raises(openai.APIStatusError) as caught:
        await ask(devnet, wallet, **options)
    return caught.value


def inferences(devnet: Devnet) -> int:
    """Return how many inferences the chain knows."""
    return len(devnet.chain.inferences)


@pytest.mark.parametrize("scheme", list(Signing))
async def test_clients_chat_and_stream(scheme: Signing) -> None:
    """Sync and async clients get answers of nodes of either scheme, streamed and not, and see the models."""
    settings = DevnetSettings(base_port=0, pace_ms=0, nodes=(NodeSettings(Scheme(scheme.value)),) * 2)
    async with Devnet(settings) as devnet:
        wallet, nodes = fund(devnet), nodes_of(devnet)

        def ask_sync() -> tuple[str, str, list[str]]:
            with connect(wallet, nodes, scheme=scheme) as client:
                whole = client.chat.completions.create(**QUESTION).choices[0].message.content or ""
                parts = client.chat.completions.create(**QUESTION, stream=True)
                streamed = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
                return whole, streamed, [model.id for model in client.models.list()]

        whole, streamed, models = await in_thread(ask_sync)

        assert "ledger" in whole
        assert streamed == whole
        assert MODEL in models
        assert await ask(devnet, wallet, scheme=scheme) == whole
        assert await ask(devnet, wallet, scheme=scheme, stream=True) == whole
        assert inferences(devnet) == 4


async def test_requests_go_to_all_nodes(devnet: Devnet, wallet: SigningKey) -> None:
    """Every request is sent to a node drawn anew, signed for that one."""
    async with connect_async(wallet, nodes_of(devnet)) as client:
        for _ in range(30):
            await client.chat.completions.create(**QUESTION)

    assert {one.node_address for one in devnet.chain.inferences.values()} == {node.address for node in devnet.nodes}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", ["refuse", "429", "503", "403", "410", "404", "hang_up", "500", "502"])
async def test_another_node_answers(devnet: Devnet, wallet: SigningKey, fault: str, stream: bool) -> None:
    """While one node fails before the first byte, whatever way that may be tried again, no request does."""
    await order(devnet, fault, 0)

    async with connect_async(wallet, nodes_of(devnet)) as client:
        for _ in range(12):
            answer: Any = await client.chat.completions.create(**QUESTION, stream=stream)
            if stream:
                assert [part async for part in answer]
    assert inferences(devnet) == 12


@pytest.mark.parametrize("retries", [0, 5])
async def test_what_may_be_billed_is_sent_twice_at_most(devnet: Devnet, wallet: SigningKey, retries: int) -> None:
    """Where each node may have billed what it failed at, a request is sent twice, whatever the client's own retries."""
    await order(devnet, "500")
    error = await fail(devnet, wallet, max_retries=retries)

    assert error.status_code == 500
    assert "may have billed" in error.message
    assert "(2 nodes were tried.)" in error.message


@pytest.mark.parametrize(
    ("fault", "status", "advice"),
    [
        ("401", 401, "--scheme"),
        ("402", 402, "max_tokens"),
        ("403", 403, "tallygate nodes"),
        ("404", 404, "exact names"),
        ("410", 410, "Bearer key"),
        ("429", 429, "another one"),
        ("503", 503, "ask again"),
        ("308", 308, "new URL"),
        ("422", 422, "correct"),
        ("refuse", 502, "billed"),
        ("hang_up", 502, "billed"),
        ("garbage", 502, "not with a chat"),
        ("truncate", 502, "billed"),
    ],
)
async def test_each_failure_says_what_to_change(
    devnet: Devnet, wallet: SigningKey, fault: str, status: int, advice: str
) -> None:
    """What every node refuses is the official client's exception for that status, with a sentence on what to change."""
    await order(devnet, fault)
    error = await fail(devnet, wallet)

    assert error.status_code == status
    assert advice in error.message


async def test_nodes_that_are_not_there_are_named(wallet: SigningKey) -> None:
    """Where no node can be reached, that is a 503 that names the URL."""
    with pytest.raises(openai.InternalServerError, match=r"http://127\.0\.0\.1:9: could not be reached") as caught:
        async with connect_async(wallet, [Node("http://127.0.0.1:9", wallet.address)]) as client:
            await client.chat.completions.create(**QUESTION)

    assert caught.value.status_code == 503


async def test_a_silent_node_is_left_after_the_timeout(devnet: Devnet, wallet: SigningKey) -> None:
    """Where all nodes are silent, two are asked, as long as the client's timeout says, and it is a 504."""
    await order(devnet, "stall_headers")
    error = await fail(devnet, wallet, timeout=openai.Timeout(120, read=0.2))  # connecting may take its time

    assert error.status_code == 504
    assert "(2 nodes were tried.)" in error.message


async def test_a_wrong_scheme_is_explained(devnet: Devnet, wallet: SigningKey) -> None:
    """Nodes of the other scheme refuse the signature once, and the error names the scheme first."""
    error = await fail(devnet, wallet, scheme=Signing.RAW)

    assert isinstance(error, openai.AuthenticationError)
    assert "nodes were tried" not in error.message
    assert "scheme" in error.message


async def test_a_wrong_node_address_is_explained(devnet: Devnet, wallet: SigningKey) -> None:
    """A signature for another address is refused, and the error names the address."""
    error = await fail(devnet, wallet, nodes=[Node(devnet.nodes[0].url, new_wallet().address)])

    assert isinstance(error, openai.AuthenticationError)
    assert "node's own address" in error.message


async def test_a_wrong_clock_is_explained(devnet: Devnet, wallet: SigningKey) -> None:
    """A chain whose time is elsewhere refuses the timestamp at every node, and the error names the clock."""
    await control(devnet, "clock", offset_s=-3600)
    error = await fail(devnet, wallet)

    assert error.status_code == 400
    assert "clock" in error.message


async def test_an_unpublished_key_is_explained(devnet: Devnet) -> None:
    """An account whose key the chain does not know is told to publish it; one with too little, to get more."""
    unpublished, poor = new_wallet(), new_wallet()
    await open_account(devnet, unpublished.address, 10**9)
    devnet.chain.fund(poor.public_key, 1)

    assert "publish-pubkey" in (await fail(devnet, unpublished)).message
    error = await fail(devnet, poor)
    assert error.status_code == 402
    assert "send GNK" in error.message


@pytest.mark.parametrize("fault", ["cut", "cut_end"])
async def test_a_stream_that_is_cut_raises(devnet: Devnet, wallet: SigningKey, fault: str) -> None:
    """A stream that breaks off after its beginning raises, and is not asked for a second time."""
    await order(devnet, fault, after_frames=2)
    async with connect_async(wallet, nodes_of(devnet)) as client:
        answer = await client.chat.completions.create(**QUESTION, stream=True)
        seen = []
        if fault == "cut":
            with pytest.raises(openai.APIConnectionError):
                seen.extend([part async for part in answer])
        else:  # all is there, and the official client does not wait for the body's end
            seen.extend([part async for part in answer])
    assert inferences(devnet) == 1


@pytest.mark.parametrize(("end", "raises"), [("", True), ("data: [DONE]", True), ("data: [DONE]\n\n", False)])
async def test_a_stream_that_just_stops_raises(wallet: SigningKey, end: str, raises: bool) -> None:
    """A body that is whole for HTTP but lacks an answer's end raises, where the official client alone would take it."""
    chunk = '{"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": []}'
    body = f"data: {chunk}\n\n{end if not raises else end.replace('[DONE]', chunk)}".encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {len(body)}\r\n\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head.encode() + body)
            await writer.drain()
            await reader.read()
        finally:
            writer.close()  # also where the test is over before the client's leaving is heard of

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        node = Node(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", wallet.address)
        async with connect_async(wallet, [node]) as client:
            answer = await client.chat.completions.create(**QUESTION, stream=True)
            if raises:
                with pytest.raises(openai.APIConnectionError) as caught:
                    _ = [part async for part in answer]
                assert "without [DONE]" in str(caught.value.__cause__)
            else:
                assert len([part async for part in answer]) == 1


async def test_a_redirect_is_not_followed(devnet: Devnet, wallet: SigningKey) -> None:
    """A node that points elsewhere is not followed, not even where the caller asks for that."""
    await order(devnet, "308", location=f"{devnet.nodes[1].url}/v1/chat/completions")
    error = await fail(devnet, wallet, nodes=nodes_of(devnet)[:1])

    assert error.status_code == 308
    assert "location" not in error.response.headers
    assert inferences(devnet) == 0


async def test_only_what_nodes_want_is_sent(devnet: Devnet, wallet: SigningKey) -> None:
    """A caller's headers reach no node: not those with a meaning among nodes, not a key."""
    headers = {"X-Transfer-Address": new_wallet().address, "X-Inference-Id": "x", "X-Seed": "1", "Authorization": "no"}
    async with connect_async(wallet, nodes_of(devnet)) as client:
        answer = await client.chat.completions.create(**QUESTION, extra_headers=headers)

    assert answer.choices
