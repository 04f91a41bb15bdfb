"""The same relay behind three edges, for decision 3: uvicorn (as shipped), granian over ASGI, granian over RSGI.

    python benchmarks/edges.py uvicorn|granian-asgi|granian-rsgi PORT UPSTREAM_URL KEYFILE

serves until SIGTERM, with one Bearer upstream, money on SQLite, and writes the caller's key into KEYFILE.
`benchmarks/edges.sh` runs all three side by side. granian is no dependency of ours: install it by hand.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import structlog
import uvloop

from tallygate.api.callers import Callers
from tallygate.api.edge import CallerVanishedError, Edge
from tallygate.api.http import Request, Router
from tallygate.api.problems import Problems
from tallygate.api.public import PublicApi
from tallygate.api.server import HttpServer
from tallygate.config import BearerAccess, Secret, UpstreamSettings
from tallygate.core import ids
from tallygate.core.bounding import ModelCard
from tallygate.core.catalog import Catalog
from tallygate.core.errors import Refusal
from tallygate.core.idempotency import Digests
from tallygate.core.keys import key_digest, mask, mint_api_key
from tallygate.core.pricing import Price, Sheet, UpstreamRate
from tallygate.core.tags import Tags
from tallygate.entropy import EntropyPool
from tallygate.network.bearer import BearerUpstream
from tallygate.network.client import HttpClient, Timeouts
from tallygate.network.origin import Origin
from tallygate.network.pool import UpstreamPool
from tallygate.relay import Relay
from tallygate.storage.embedded import EmbeddedLedger
from tallygate.storage.sqlite import SqliteJournal

MODEL = "test-model"


class RsgiBody:
    """A request's body behind granian's own interface."""

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol

    async def read(self, bytes_max: int) -> bytes:
        body: bytes = await self._protocol()
        assert len(body) <= bytes_max
        return body


class RsgiSink:
    """A caller behind granian's own interface."""

    def __init__(self, request_id: str, protocol: Any) -> None:
        self._id = ("x-request-id", request_id)
        self._protocol = protocol
        self._stream: Any = None

    def _headers(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
        return [*((name.decode(), value.decode()) for name, value in headers), self._id]

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self._stream = self._protocol.response_stream(status, self._headers(headers))

    async def write(self, data: bytes) -> None:
        await self._stream.send_bytes(data)

    async def finish(self) -> None:
        self._stream = None

    async def respond(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self._protocol.response_bytes(status, self._headers(headers), body)

    def on_leave(self, callback: Any) -> None:
        self._watch = asyncio.ensure_future(self._protocol.client_disconnect())
        self._watch.add_done_callback(lambda _: callback())


def rsgi_app(router: Router, problems: Problems, entropy: EntropyPool) -> Any:
    """Return the routes as an RSGI application."""

    async def app(scope: Any, protocol: Any) -> None:
        request_id = ids.request_id(entropy(12))
        sink = RsgiSink(request_id, protocol)
        headers = {name.encode(): value.encode() for name, value in scope.headers.items()}
        try:
            route, argument = router.find(scope.method, scope.path)
            request = Request(
                request_id, scope.method, scope.path, b"", headers, frozenset(), RsgiBody(protocol), argument
            )
            response = await route.handler(request, sink)
            if response is not None:
                await sink.respond(response.status, response.headers, response.body)
        except Refusal as refusal:
            await sink.respond(problems.status(refusal), problems.headers(refusal), problems.body(refusal))
        except CallerVanishedError:
            pass

    return app


async def main() -> None:
    edge_kind, port, upstream_url, key_file = sys.argv[1], int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
    entropy = EntropyPool()
    folder = tempfile.TemporaryDirectory()
    ledger = EmbeddedLedger(
        SqliteJournal(Path(folder.name) / "bench.db", entropy(16)), now_ns=time.time_ns, entropy=entropy
    )
    account = await ledger.open_account("bench", "bench")
    await ledger.deposit(account.id, 5 * 10**17, None, "bench")
    await ledger.publish(Sheet(1, 100_000, {MODEL: Price(353, 353)}), "bench")
    pepper, secret = entropy(32), mint_api_key(entropy(32))
    await ledger.add_key(account.id, "bench", key_digest(pepper, secret), mask(secret), "bench")
    origin, base_path = Origin.parse(upstream_url)
    timeouts = Timeouts(5, 60, 60, 600)
    access = BearerAccess(origin, base_path, Secret("upstream-key"))
    settings = UpstreamSettings("bench", None, 0, 1, False, 1, UpstreamRate(), timeouts, None, access)
    client = HttpClient(timeouts=timeouts)
    upstream = BearerUpstream(settings=settings, access=access, client=client, now_s=time.monotonic)
    pool = UpstreamPool([upstream], lambda _: 0)
    problems = Problems()
    relay = Relay(
        ledger=ledger,
        upstreams=pool,
        mint_id=lambda: ids.inference_id(time.time_ns() // 1_000_000, entropy(10)),
        time_s=lambda: int(time.time()),
        render_error=problems.error,
        tags=Tags(pepper),
    )
    public = PublicApi(
        callers=Callers(ledger, pepper),
        ledger=ledger,
        digests=Digests(pepper),
        catalog=Catalog([ModelCard(MODEL)], pool.serves),
        relay=relay,
    )
    router = Router(public.routes())
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    key_file.write_text(secret)
    if edge_kind == "uvicorn":
        server = HttpServer(Edge(router, problems, lambda: ids.request_id(entropy(12))))
        await server.start("127.0.0.1", port)
        await stop.wait()
    else:
        from granian.constants import HTTPModes, Interfaces
        from granian.server.embed import Server

        rsgi = edge_kind == "granian-rsgi"
        app = (
            rsgi_app(router, problems, entropy) if rsgi else Edge(router, problems, lambda: ids.request_id(entropy(12)))
        )
        granian = Server(
            app,
            port=port,
            interface=Interfaces.RSGI if rsgi else Interfaces.ASGINL,
            http=HTTPModes.http1,
            websockets=False,
            log_enabled=False,
            backlog=2048,
        )
        serving = asyncio.ensure_future(granian.serve())
        await stop.wait()
        granian.stop()
        serving.cancel()
    os._exit(0)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    uvloop.run(main())
