"""Faults of how an answer is written, and of the usage it shows: what is said stays whole, and what is paid is true."""

import asyncio
import gzip
import json
import ssl
import zlib
from collections.abc import Callable
from typing import Any

import pytest
import trustme

from tallygate.devnet import Devnet, DevnetSettings
from tallygate.devnet.faults import FaultOrder
from tests.devnet.conftest import HandClock, World
from tests.devnet.wire import Answer, Wire, control, request


async def both(world: World, fault: str, **fields: Any) -> tuple[Answer, Answer]:
    """Gives a stream without and with a fault; both must have cost the same."""
    before = world.spent()
    well = await world.chat(stream=True, max_tokens=9)
    cost = world.spent() - before
    await world.order(fault, **fields)
    ill = await world.chat(stream=True, max_tokens=9)
    assert world.spent() - before == 2 * cost
    return well, ill


def text_of(answer: Answer) -> str:
    """Gives the text of a stream."""
    return "".join(
        choice["delta"].get("content") or "" for frame in answer.frames() for choice in frame.get("choices", ())
    )


@pytest.mark.parametrize(("fault", "fields"), [("drip", {"delay_ms": 0}), ("split_frames", {})])
async def test_bytes_come_in_other_pieces(world: World, fault: str, fields: dict[str, Any]) -> None:
    """However the bytes are cut and joined, they are all there, and end with [DONE] and the body's end."""
    well, ill = await both(world, fault, **fields)
    assert text_of(ill) == text_of(well)
    assert ill.done()
    assert ill.complete


async def test_frames_are_cut_and_joined_at_random(world: World) -> None:
    """Pieces of a split stream end within frames, and some hold more than one frame."""
    await world.order("split_frames")
    wire = await world.open_chat(stream=True)
    pieces = []
    while (event := await wire._next()) is not None and type(event).__name__ != "EndOfMessage":
        if type(event).__name__ == "Data":
            pieces.append(bytes(event.data))  # type: ignore[attr-defined]
    wire.leave()
    assert any(not piece.endswith(b"\n\n") for piece in pieces)
    assert any(piece.count(b"data: ") > 1 for piece in pieces)


async def test_unstreamed_answers_come_in_pieces_too(world: World) -> None:
    """An unstreamed answer is the same, whether it drips or comes in chunks."""
    well = (await world.chat(max_tokens=9)).json()["choices"]
    await world.order("drip", delay_ms=0)
    await world.order("split_frames")
    for _ in range(2):
        answer = await world.chat(max_tokens=9)
        assert (answer.json()["choices"], answer.complete) == (well, True)


async def test_frames_are_replayed(world: World) -> None:
    """After some frames, all frames so far come a second time; then the stream goes on."""
    well, ill = await both(world, "repeat_frames", after_frames=4)
    expected, seen = [frame["choices"] for frame in well.frames()], [frame["choices"] for frame in ill.frames()]
    assert seen == [*expected[:4], *expected[:4], *expected[4:]]
    assert ill.done()


async def test_a_garbage_frame(world: World) -> None:
    """One frame is no JSON and no text; everything else comes."""
    well, ill = await both(world, "garbage_frame", after_frames=2)
    frames = ill.body.split(b"\n\n")
    assert b"not json\xff" in frames[2]
    assert len(frames) == len(well.body.split(b"\n\n")) + 1


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_huge_frame(world: World, streamed: bool) -> None:
    """A frame, or an answer, is longer than any line should be, by as much as was ordered."""
    await world.order("huge_frame", size_bytes=3_000_000)
    answer = await world.chat(stream=streamed)
    longest = max(map(len, answer.body.split(b"\n\n")))
    assert 3_000_000 < longest < 3_100_000
    padded = next(frame for frame in answer.frames() if "padding" in frame) if streamed else answer.json()
    assert len(padded["padding"]) == 3_000_000


async def test_gzip_that_nobody_asked_for(world: World) -> None:
    """The answer says that it is compressed, is so frame by frame, and is the same inside."""
    well, ill = await both(world, "gzip")
    assert ill.headers["content-encoding"] == "gzip"
    plain = Answer(ill.status, ill.headers, gzip.decompress(ill.body), ill.complete)
    assert text_of(plain) == text_of(well)
    assert plain.done()
    await world.order("gzip")
    whole = await world.chat()
    assert whole.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(whole.body))["usage"]


async def test_each_compressed_frame_can_be_read_when_it_comes(world: World) -> None:
    """No frame waits in the compressor for the next one."""
    await world.order("gzip")
    await world.order("hold_stream")
    wire = await world.open_chat(stream=True)
    assert isinstance((await wire._next()), object)
    data = (await wire._next()).data  # type: ignore[attr-defined]
    assert zlib.decompressobj(wbits=31).decompress(bytes(data)).endswith(b"\n\n")
    wire.leave()
    await world.devnet.wait_idle()


@pytest.mark.parametrize("streamed", [True, False])
async def test_reset_in_the_middle(world: World, streamed: bool) -> None:
    """Some of the answer comes, then the connection is reset; the inference is paid in full."""
    await world.chat(stream=streamed)
    cost = world.spent()
    await world.order("reset", after_frames=2)
    wire = await world.open_chat(stream=streamed)
    with pytest.raises(ConnectionResetError):
        await wire.receive_raw()
    wire.leave()
    await world.devnet.wait_idle()
    assert world.spent() == 2 * cost


USAGES: list[tuple[str, Callable[[int], Any]]] = [
    ("usage_low", lambda true: 1),
    ("usage_high", lambda true: true * 1000),
    ("usage_negative", lambda true: -true),
    ("usage_float", lambda true: true + 0.5),
]


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(("fault", "lie"), USAGES)
async def test_usage_that_is_wrong(world: World, fault: str, lie: Callable[[int], Any], streamed: bool) -> None:
    """Each lie is told in streams and whole answers alike; the chain knows better."""
    await world.order(fault)
    answer = await world.chat(stream=streamed)
    usage = (answer.frames()[-1] if streamed else answer.json())["usage"]
    (inference,) = (await world.state())["inferences"]
    true = {name: inference[name] for name in ("prompt_tokens", "completion_tokens")}
    assert {name: usage[name] for name in true} == {name: lie(value) for name, value in true.items()}
    assert inference["cost"] == sum(true.values())


@pytest.mark.parametrize("streamed", [True, False])
async def test_usage_that_is_absent_or_twice(world: World, streamed: bool) -> None:
    """Without usage nothing shows any; twice, it is in two frames, or twice in one object."""
    await world.order("usage_absent")
    await world.order("usage_twice")
    assert (await world.chat(stream=streamed)).body.count(b'"usage":{') == 0
    assert (await world.chat(stream=streamed)).body.count(b'"usage":{') == 2


@pytest.mark.parametrize(
    ("offset_s", "message"), [(3600, "signature is too old"), (-3600, "signature is in the future")]
)
async def test_a_node_with_another_time(world: World, offset_s: int, message: str) -> None:
    """A node whose clock is off refuses good timestamps, and only that node."""
    await world.order("clock_skew", offset_s=offset_s)
    answer = await world.chat()
    assert (answer.status, answer.json()) == (400, {"error": message})
    assert (await world.chat()).status == 200


async def test_a_redirect_elsewhere(world: World) -> None:
    """It names the place that was ordered; no inference begins."""
    await world.order("redirect", location="http://elsewhere.invalid/v1/chat/completions")
    answer = await world.chat()
    assert (answer.status, answer.headers["location"]) == (307, "http://elsewhere.invalid/v1/chat/completions")
    assert (await world.state())["inferences"] == []


async def test_a_slow_handshake(settings: DevnetSettings) -> None:
    """A TLS handshake waits as ordered, once; deleting the fault lets it go on."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    async with Devnet(settings, now_ns=HandClock(), tls=server) as devnet:

        async def ask(method: str, path: str, body: bytes = b"", index: int = 0) -> int:
            wire = await Wire.open(devnet.nodes[index].url, ssl=client)
            await wire.send(method, path, {}, body)
            status = (await wire.receive()).status
            wire.leave()
            return status

        assert await ask("POST", "/devnet/faults", b'{"fault": "slow_tls", "delay_ms": 600000}') == 200
        waiting = asyncio.ensure_future(ask("GET", "/v1/status"))
        while devnet._nodes[0].faults._handshakes:
            assert await ask("GET", "/v1/status", index=1) == 200
        assert await ask("GET", "/v1/status") == 200
        assert not waiting.done()
        assert await ask("DELETE", "/devnet/faults") == 200
        assert await waiting == 200


async def test_a_short_wait_before_the_handshake(settings: DevnetSettings) -> None:
    """After its delay the handshake goes on by itself; a client that leaves meanwhile breaks nothing."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    async with Devnet(settings, now_ns=HandClock(), tls=server) as devnet:
        host = devnet._nodes[0]
        host.faults.order(FaultOrder("slow_tls", times=2, delay_ms=20))
        _, leaver = await asyncio.open_connection("127.0.0.1", int(devnet.nodes[0].url.rpartition(":")[2]))
        leaver.close()
        wire = await Wire.open(devnet.nodes[0].url, ssl=client)
        await wire.send("GET", "/v1/status")
        assert (await wire.receive()).status == 200
        wire.leave()


async def test_controls_still_answer(world: World) -> None:
    """Faults meet calls, never the controls."""
    await world.order("refuse", times=None)
    assert (await request(world.url, "GET", "/devnet/state")).status == 200
    await control(world.url, "DELETE", "faults")
