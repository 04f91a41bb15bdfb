"""The gate: what a head alone condemns is refused at once, in the same words as ever, and nothing is kept of it."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import tracemalloc
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import pytest

from tallygate.api.callers import Callers
from tallygate.api.edge import Edge
from tallygate.api.gate import Gate, read_path
from tallygate.api.http import Access, Request, Response, Route, Router
from tallygate.api.problems import Problems
from tallygate.api.server import HttpServer
from tallygate.api.turnstile import PER_S, Turnstile
from tallygate.config import EdgeSettings
from tallygate.core.errors import Code
from tallygate.core.keys import key_digest, mint_api_key
from tests.relay.world import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from tallygate.core.access import ApiKey

PEPPER = bytes(32)
GOOD = mint_api_key(bytes(32))
BAD = mint_api_key(b"\1" * 32)
PEER = ("192.0.2.1", 4711)
DEADLINE_S = 120.0


class Keys:
    """A table of one key, and how often it was asked."""

    has_imported = False

    def __init__(self) -> None:
        self.asked = 0

    def find_key(self, digest: bytes) -> ApiKey | None:
        """Return the key of a digest."""
        self.asked += 1
        key: Any = object()
        return key if digest == key_digest(PEPPER, GOOD) else None

    def refusal(self, key: ApiKey) -> None:
        """Let the key in."""


class House:
    """An edge with a gate, and what gets through it."""

    def __init__(self, settings: EdgeSettings | None = None) -> None:
        self.served: list[str] = []
        self.now_s = 0.0
        self.keys = Keys()
        keys: Any = self.keys
        callers = Callers(keys, PEPPER)

        async def keyed(request: Request, _: object) -> Response:
            callers.authenticate(request)
            return await self.serve(request, _)

        router = Router(
            [
                Route("POST", "/keyed", keyed, ""),
                Route("GET", "/keyed", keyed, ""),
                Route("GET", "/telling", self.serve, "", access=Access.TELLS),
                Route("GET", "/open", self.serve, "", access=Access.OPEN),
                Route("GET", "/probe", self.serve, "", access=Access.PROBE),
            ]
        )
        problems = Problems()
        self.gate = Gate(
            router=router,
            callers=callers,
            problems=problems,
            mint_id=lambda: "req_1",
            now_s=lambda: self.now_s,
            allowance=settings or EdgeSettings(),
        )
        self.edge = Edge(router, problems, lambda: "req_1", self.gate)

    async def serve(self, request: Request, _: object) -> Response:
        """Answer what got through."""
        self.served.append(request.path)
        return Response.json({"read": len(await request.body.read(10**6))})

    def code(self, method: str, path: str, key: str | None = None, peer: Any = PEER, **headers: str) -> Code | None:
        """Return what the gate says of a request."""
        pairs = [] if key is None else [(b"authorization", f"Bearer {key}".encode())]
        pairs += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        refusal = self.gate.judge(method, path, pairs, peer)
        return None if refusal is None else refusal.code


@asynccontextmanager
async def serving(house: House, *, gate: bool = True, per_s: int = PER_S) -> AsyncIterator[tuple[int, HttpServer]]:
    """The house on a free port, with its gate at the door or only behind it."""
    server = HttpServer(house.edge, gate=house.gate if gate else None, turnstile=Turnstile(per_s), sweep_s=0.01)
    port = await server.start("127.0.0.1", 0)
    try:
        yield port, server
    finally:
        await server.close()


def request(target: str, key: str | None, body: bytes = b"", **headers: str) -> bytes:
    """Return a request's bytes."""
    method = "POST" if body else "GET"
    fields: Mapping[str, str] = {"Host": "here", **({"Content-Length": str(len(body))} if body else {}), **headers}
    if key is not None:
        fields = {**fields, "Authorization": f"Bearer {key}"}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + body


async def exchange(port: int, *requests: bytes) -> bytes:
    """Send requests on one connection, then a last good one; return the answers to all, without their dates."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"".join(requests) + request("/open", None, Connection="close"))
    try:
        answers = await asyncio.wait_for(reader.read(), DEADLINE_S)
    finally:
        writer.close()
    return re.sub(rb"date: [^\r]+", b"date: today", answers)


CONDEMNED = {
    "no key": request("/keyed", None),
    "a bad key": request("/keyed", BAD),
    "a key with a slip": request("/keyed", GOOD[:-1]),
    "a bad key and a body": request("/keyed", BAD, b"x" * 5000),
    "no route": request("/nowhere", GOOD),
    "no route and a query": request("/nowhere?a=b", None),
    "another method": request("/open", None, b"x"),
    "a bad key for HEAD": request("/keyed", BAD).replace(b"GET", b"HEAD"),
    "an encoded path": request("/%6beyed", BAD),
    "a whole URL": request("http://here/keyed", BAD),
}


@pytest.mark.parametrize("data", CONDEMNED.values(), ids=CONDEMNED)
async def test_the_short_way_and_the_long_way_end_alike(data: bytes) -> None:
    """Refused at the door or behind it, a request has the same answer to the last byte, and the connection goes on."""
    answers = []
    for gate in (True, False):
        house = House()
        async with serving(house, gate=gate) as (port, _):
            answers.append(await exchange(port, data, data))
        assert house.served[-1:] == ["/open"] or b"connection: close" in answers[-1]

    at_the_door, behind = (answer.replace(b"connection: close\r\n", b"") for answer in answers)
    assert at_the_door.startswith(behind.split(b"\r\n\r\n")[0])
    assert at_the_door.count(b"HTTP/1.1 ") == 3


@pytest.mark.parametrize(
    "data",
    [
        request("/keyed", BAD, b"x" * 10, Expect="100-continue"),
        request("/keyed", BAD, b"x" * 100_000),
        request("/keyed", BAD, Connection="close"),
        request("/keyed", BAD, b"1\r\nx\r\n0\r\n\r\n", Transfer_Encoding="chunked").replace(
            b"Content-Length: 11\r\n", b""
        ),
        request("/keyed", BAD).replace(b"1.1", b"1.0"),
    ],
    ids=["expect", "a long body", "close", "chunks", "HTTP/1.0"],
)
async def test_what_ends_a_connection_goes_the_long_way(data: bytes) -> None:
    """What cannot be refused with one write gets its 401 all the same, and its body is not taken for a request."""
    house = House()
    async with serving(house) as (port, _):
        answer = await exchange(port, data)

    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in answer
    assert b"100 Continue" not in answer


async def test_a_good_key_gets_through() -> None:
    """Good and bad keys in turn on one connection each have their answer, sent at once or one after the other."""
    house = House()
    good, bad, worse = request("/keyed", GOOD), request("/keyed", BAD), request("/keyed", BAD, b"67")
    async with serving(house) as (port, _):
        at_once = await exchange(port, bad, good, bad, worse, good)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        in_turn = []
        for data in (worse, good, worse, bad, good):
            writer.write(data)
            in_turn.append(await asyncio.wait_for(reader.readuntil(b"}"), DEADLINE_S))
            if b" 401 " in in_turn[-1]:
                await reader.readuntil(b"}")
        writer.close()

    assert re.findall(rb"HTTP/1.1 (\d+)", at_once) == [b"401", b"200", b"401", b"401"]
    assert [re.findall(rb"HTTP/1.1 (\d+)", answer) for answer in in_turn] == [
        [status] for status in (b"401", b"200", b"401", b"401", b"200")
    ]


async def test_a_defect_at_the_door_is_not_the_callers_fault() -> None:
    """If the gate itself fails, the request goes the long way, where that is logged and told as what it is."""
    house = House()
    house.keys.find_key = None  # type: ignore[assignment, method-assign]
    async with serving(house) as (port, _):
        answers = await exchange(port, request("/keyed", BAD))

    assert answers.startswith(b"HTTP/1.1 500 ")
    assert b'"internal_error"' in answers


async def test_a_bad_key_costs_nothing_that_lasts() -> None:
    """Thousands of bad keys make no task, ask the table for those only that look like keys, and keep no memory."""
    house = House()
    async with serving(house) as (port, _):
        keys = [mint_api_key(os.urandom(32)) for _ in range(200)] + ["tg-none"] * 200
        data = b"".join(request("/keyed", key, b"{}") for key in keys)
        await exchange(port, data)
        gc.collect()
        tracemalloc.start()
        try:
            before = tracemalloc.take_snapshot()
            for _ in range(5):
                await exchange(port, data)
            gc.collect()
            grown = tracemalloc.take_snapshot().compare_to(before, "filename")
        finally:
            tracemalloc.stop()

    assert house.keys.asked == 6 * 200
    assert house.served == ["/open"] * 6
    assert sum(line.size_diff for line in grown if "tallygate" in line.traceback[0].filename) < 4000


async def test_an_answer_that_is_not_read_holds_later_requests_back() -> None:
    """A caller that sends bad keys without reading the answers fills its own connection, and not our memory."""
    house = House()
    async with serving(house, per_s=10**6) as (port, server):
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # asyncio types it as a write transport
        (connection,) = await _connections(server)
        data = request("/keyed", BAD) * 500
        for _ in range(100):
            writer.write(data)
        await until(lambda: connection.flow.write_paused and connection.flow.read_paused)

        assert connection.transport.get_write_buffer_size() < 2**20
        writer.transport.abort()


async def _connections(server: HttpServer) -> list[Any]:
    await until(lambda: bool(server._state.connections))
    return list(server._state.connections)


# --- limits by address ---------------------------------------------------------------------------------------------


def test_an_address_has_its_share() -> None:
    """Beyond its limit an address is told to wait, whatever key it shows; others, and probes, are served."""
    house = House(EdgeSettings(requests_per_minute_per_address=3))
    assert [house.code("GET", "/open"), house.code("GET", "/keyed", GOOD), house.code("GET", "/nowhere")] == [
        None,
        None,
        Code.UNSUPPORTED_ENDPOINT,
    ]

    assert house.code("GET", "/keyed", GOOD) is Code.RATE_LIMIT_EXCEEDED
    assert house.code("GET", "/keyed", BAD) is Code.RATE_LIMIT_EXCEEDED
    assert house.code("GET", "/nowhere") is Code.UNSUPPORTED_ENDPOINT
    assert house.code("GET", "/probe") is None
    assert house.code("GET", "/open", peer=("192.0.2.2", 1)) is None
    assert house.code("GET", "/open", peer=None) is None
    house.now_s = 70
    assert house.code("GET", "/open") is None


def test_failed_keys_shut_nobody_out() -> None:
    """An address whose keys fail too often is told to wait (429 for 401), but a good key is served as ever."""
    house = House(EdgeSettings(failed_keys_per_minute_per_address=2))
    codes = [house.code("GET", "/keyed", key) for key in (BAD, None, BAD, "'; --", GOOD)]

    assert codes == [Code.INVALID_API_KEY] * 2 + [Code.RATE_LIMIT_EXCEEDED] * 2 + [None]
    refusal = house.gate.judge("GET", "/keyed", [], PEER)
    assert refusal is not None
    assert refusal.retry_after_s == 70
    assert house.code("GET", "/keyed", BAD, peer=("192.0.2.2", 1)) is Code.INVALID_API_KEY


def test_failed_keys_count_where_the_route_tells_them_itself() -> None:
    """A route that refuses bad keys in its own words is asked, but no more often than any other about bad keys."""
    house = House(EdgeSettings(failed_keys_per_minute_per_address=2))
    codes = [house.code("GET", "/telling", key) for key in (BAD, None, BAD, GOOD)]

    assert codes == [None, None, Code.RATE_LIMIT_EXCEEDED, None]
    assert house.code("GET", "/keyed", BAD) is Code.RATE_LIMIT_EXCEEDED


def test_callers_behind_a_trusted_proxy_are_apart() -> None:
    """With a proxy in front, the limit is that of whom it names last; what a caller wrote itself changes nothing."""
    trusting = EdgeSettings(requests_per_minute_per_address=1, trusted_proxies=(ip_network("192.0.2.0/24"),))
    house = House(trusting)
    first = {"x_forwarded_for": "203.0.113.1, 198.51.100.1"}
    assert house.code("GET", "/open", **first) is None
    assert house.code("GET", "/open", x_forwarded_for="203.0.113.99, 198.51.100.1") is Code.RATE_LIMIT_EXCEEDED
    assert house.code("GET", "/open", x_forwarded_for="198.51.100.2") is None
    assert house.code("GET", "/open", forwarded="for=198.51.100.3", **first) is Code.RATE_LIMIT_EXCEEDED
    assert not house.gate.may_rest(PEER)

    untrusting = House(replace(trusting, trusted_proxies=()))
    assert untrusting.code("GET", "/open", x_forwarded_for="198.51.100.1") is None
    assert untrusting.code("GET", "/open", x_forwarded_for="198.51.100.2") is Code.RATE_LIMIT_EXCEEDED
    assert untrusting.gate.may_rest(PEER)


@pytest.mark.parametrize(
    ("header", "values", "path"),
    [
        (b"x-forwarded-for", b"1.2.3.4", ["1.2.3.4"]),
        (b"x-forwarded-for", b"1.2.3.4:80 ,\t[2001:db8::1]:443,::2", ["1.2.3.4", "2001:db8::1", "::2"]),
        (b"x-forwarded-for", b"evil\xff,,5.6.7.8", ["evil\xff", "", "5.6.7.8"]),
        (b"x-forwarded-for", b"9.9.9.9," * 40 + b"5.6.7.8", ["9.9.9.9"] * 31 + ["5.6.7.8"]),
        (b"forwarded", b'for=1.2.3.4;proto=http, For="[2001:db8::1]:4711"', ["1.2.3.4", "2001:db8::1"]),
        (b"forwarded", b"proto=https;by=1.1.1.1, proto=http;for=_hidden", ["", "_hidden"]),
    ],
)
def test_paths_are_read(header: bytes, values: bytes, path: list[str]) -> None:
    """Both forms of the header are read, with ports and brackets, the last 32 hops of them."""
    assert read_path(values, header) == path


async def test_one_who_does_not_stop_is_not_even_read() -> None:
    """A connection that goes on beyond the limit is read again only at the next look at everybody's patience."""
    house = House(EdgeSettings(failed_keys_per_minute_per_address=1))
    server = HttpServer(house.edge, gate=house.gate, sweep_s=60)
    port = await server.start("127.0.0.1", 0)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request("/keyed", BAD) + request("/keyed", BAD))
        answers = await asyncio.wait_for(reader.readuntil(b"failed API keys"), DEADLINE_S)
        (connection,) = await _connections(server)
        is_read_before = not connection.flow.read_paused
        connection.check_patience(0.0, 10.0, 10.0)
        is_read_after = not connection.flow.read_paused
        writer.close()
    finally:
        await server.close()

    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"401", b"429"]
    assert (is_read_before, is_read_after) == (False, True)
