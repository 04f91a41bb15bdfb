"""A whole small world in one event loop: a devnet, a gateway in front of it, a wallet, an account with a key.

The gateway is put together by `app.build`, as in production; only the disk is a stage where a test can hold commits
back or break them. Whatever a test did, `World.settle_down` proves that no money is held and that the books add up.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from tallygate import app
from tallygate.api.server import HttpServer
from tallygate.config import LimitsSettings
from tallygate.core.access import KeyTerms
from tallygate.core.bounding import ModelCard
from tallygate.core.errors import StoreUnavailableError
from tallygate.core.keys import key_digest, mask, mint_api_key
from tallygate.core.ledger import entry as e
from tallygate.core.ledger.entry import Entry, decode_entry
from tallygate.core.limits import Limits
from tallygate.core.openai import STRICT
from tallygate.core.pricing import Cost, Price, cost_of
from tallygate.core.signing import Scheme as SigningScheme
from tallygate.core.signing import SigningKey
from tallygate.devnet import Devnet, DevnetSettings, Scheme
from tallygate.devnet.faults import FaultOrder
from tallygate.metrics import Metrics
from tallygate.network.client import Timeouts
from tallygate.storage.embedded import EmbeddedLedger
from tallygate.storage.memory import MemoryDisk, MemoryJournal
from tallygate.storage.metered import MeteredJournal
from tests.relay import wiring
from tests.relay.caller import DEADLINE_S, Answer, Caller

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from tallygate.config import UpstreamSettings
    from tallygate.core.ledger.records import Account, Written
    from tallygate.core.openai import Policy
    from tallygate.devnet.server import Application, Exchange, Reply, Request
    from tallygate.storage.journal import Row

MODEL = "Qwen/Qwen3-235B-A22B-Instruct-2507-FP8"
CARD = ModelCard(MODEL)
PRICE = Price(353, 1411)
FEE_PPM = 100_000
PATIENT = Timeouts(connect_s=30, first_byte_s=30, idle_s=30, total_s=60)
WALLET = SigningKey.from_hex("11" * 32)
WALLET_NGONKA = 10**12


class StageJournal(MemoryJournal):
    """A journal whose disk can be held back, and can break."""

    def __init__(self, disk: MemoryDisk) -> None:
        super().__init__(disk)
        self.broken = False
        self.flushes = 0
        self._open = threading.Event()
        self._open.set()

    def hold_back(self) -> None:
        """From the next commit on, keep commits from becoming durable."""
        self._open.clear()

    def let_go(self) -> None:
        """Let commits become durable again."""
        self._open.set()

    def write(self, entries: Sequence[Written], rows: Sequence[Row], time_ns: int) -> None:
        """Write a batch, unless the disk is broken."""
        if self.broken:
            raise StoreUnavailableError("the disk is full")
        super().write(entries, rows, time_ns)

    def flush(self) -> None:
        """Wait until commits are let go."""
        self.flushes += 1
        assert self._open.wait(DEADLINE_S), "a commit was never let go"


@dataclass
class Counted:
    """A devnet host in front of which every chat call is counted; `answer` overrides what it says."""

    application: Application
    calls: list[Request] = field(default_factory=list)
    under_way: int = 0

    async def answer(self, exchange: Exchange) -> None:
        """Count a chat call and let the host answer it."""
        chat = exchange.request.path == "/v1/chat/completions"
        if chat:
            self.calls.append(exchange.request)
        self.under_way += chat
        try:
            await self.application.answer(exchange)
        finally:
            self.under_way -= chat

    def refuse(self, status: int, message: str) -> Reply:
        """Word an error as the host does."""
        return self.application.refuse(status, message)


class World:
    """Everything that a test of a whole call touches."""

    def __init__(
        self,
        devnet: Devnet,
        upstreams: Sequence[UpstreamSettings],
        *,
        keep_alive_s: float,
        left_drain_s: float,
        picousd: int,
        tokenizer_file: Path | None = None,
        short_balance: Literal["refuse", "shrink"] = "refuse",
        calls_under_way: Literal["finish", "cut"] = "finish",
        metrics_listener: Literal["admin", "public", "off"] = "admin",
        card: ModelCard = CARD,
        parameters: Policy = STRICT,
        limits: LimitsSettings = LimitsSettings(),  # noqa: B008  (an immutable constant)
        monotonic_s: Callable[[], float] = wiring.stand_still,
    ) -> None:
        self.devnet = devnet
        self.upstreams = list(upstreams)
        self.keep_alive_s = keep_alive_s
        self.left_drain_s = left_drain_s
        self.tokenizer_file = tokenizer_file
        self.picousd = picousd
        self.short_balance = short_balance
        self.calls_under_way = calls_under_way
        self.metrics_listener = metrics_listener
        self.card = card
        self.parameters = parameters
        self.limits = limits
        self.machine = app.Machine(monotonic_s=monotonic_s)
        self.disk = MemoryDisk(bytes(16))
        self.journal: StageJournal
        self.ledger: EmbeddedLedger
        self.gateway: app.Gateway
        self.server: HttpServer
        self.admin: HttpServer
        self.metrics: Metrics
        self.port = self.admin_port = 0
        self.account: Account
        self.secret = mint_api_key(os.urandom(32))
        self.pepper = bytes(32)
        self.hosts = [Counted(server.application) for server in devnet._servers]
        for server, host in zip(devnet._servers, self.hosts, strict=True):
            server.application = host
        self._callers: list[Caller] = []

    # --- its life ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the books, with one funded account, and listen."""
        self.settings = settings = wiring.settings(
            self.upstreams,
            self.card,
            PRICE,
            fee_ppm=FEE_PPM,
            keep_alive_s=self.keep_alive_s,
            left_drain_s=self.left_drain_s,
            tokenizer_file=self.tokenizer_file,
            short_balance=self.short_balance,
            calls_under_way=self.calls_under_way,
            metrics=self.metrics_listener,
            parameters=self.parameters,
            limits=self.limits,
        )
        self.journal, self.metrics = StageJournal(self.disk), Metrics()
        metered = MeteredJournal(self.journal, self.metrics)
        self.ledger = EmbeddedLedger(metered, now_ns=time.time_ns, entropy=os.urandom)
        self.gateway = app.build(settings, self.ledger, self.pepper, self.machine, metrics=self.metrics)
        await self.ledger.expire_orphans(self.gateway.upstreams.rate, charge_prompt=False)
        await app.publish_prices(settings, self.ledger)
        if not self.ledger.accounts():
            opened = await self.ledger.open_account("customer", "test")
            digest = key_digest(self.pepper, self.secret)
            await self.ledger.add_key(opened.id, "key", digest, mask(self.secret), "test")
            if self.picousd:
                await self.ledger.deposit(opened.id, self.picousd, None, "test")
        (self.account,) = self.ledger.accounts()
        self.server = HttpServer(self.gateway.public_edge, gate=self.gateway.public_edge.gate)
        self.port = await self.server.start("127.0.0.1", 0)
        self.admin = HttpServer(self.gateway.admin_edge)
        self.admin_port = await self.admin.start("127.0.0.1", 0)

    async def add_upstream(self, upstream: UpstreamSettings) -> None:
        """Put the gateway together anew, on the same books, with one more upstream."""
        await self.stop()
        self.upstreams = [upstream, *self.upstreams]
        await self.start()

    async def stop(self) -> None:
        """Close everything of the gateway."""
        for caller in self._callers:
            caller.leave()
        self.journal.let_go()
        await self.server.close()
        await self.admin.close()
        await self.gateway.upstreams.close()
        await self.ledger.close()

    # --- what callers do ---------------------------------------------------------------------------------------

    async def connect(self, *, receive_bytes: int | None = None) -> Caller:
        """Open a connection to the gateway."""
        return await self.connect_to(self.port, receive_bytes=receive_bytes)

    async def connect_to(self, port: int, *, receive_bytes: int | None = None) -> Caller:
        """Open a connection to one of its listeners."""
        caller = await Caller.open(port, receive_bytes=receive_bytes)
        self._callers.append(caller)
        return caller

    def headers(self) -> dict[str, str]:
        """Return the headers of a caller with a good key."""
        return {"authorization": f"Bearer {self.secret}", "content-type": "application/json"}

    async def send(self, caller: Caller | None = None, *, key: str | None = None, **fields: Any) -> Caller:
        """Send a chat request, with an idempotency key if one is given; a connection of its own unless one is given."""
        caller = caller or await self.connect()
        headers = self.headers() if key is None else {**self.headers(), "idempotency-key": key}
        await caller.request("POST", "/v1/chat/completions", headers, chat_body(**fields))
        return caller

    async def chat(self, **fields: Any) -> Answer:
        """Send a chat request and wait for the whole answer."""
        return await (await self.send(**fields)).answer()

    async def limit(self, **limits: int) -> None:
        """Give the key limits of its own."""
        (key,) = self.ledger.keys()
        await self.ledger.change_key(key.id, key.name, KeyTerms(limits=Limits(**limits)), "test")

    async def get(self, path: str) -> Answer:
        """Look something up."""
        caller = await self.connect()
        await caller.request("GET", path, self.headers())
        return await caller.answer()

    # --- what devnet does --------------------------------------------------------------------------------------

    @property
    def upstream_calls(self) -> int:
        """How many chat calls have arrived at any host."""
        return sum(len(host.calls) for host in self.hosts)

    async def arrival(self, count: int) -> None:
        """Wait until so many chat calls have arrived at the hosts, counted from the beginning."""
        await until(lambda: self.upstream_calls >= count)

    def order(self, fault: str, *, host: int | None = None, **fields: Any) -> None:
        """Order a fault of one host, or of all."""
        books = [*(node.faults for node in self.devnet._nodes), self.devnet._bearer.faults]
        for book in books if host is None else [books[host]]:
            book.order(FaultOrder(fault, **fields))

    def clear_faults(self) -> None:
        """End all faults, and let go whatever they hold."""
        for book in (*(node.faults for node in self.devnet._nodes), self.devnet._bearer.faults):
            book.clear()

    def open_barriers(self) -> None:
        """Let go whoever waits at a barrier, and leave every other fault as it is."""
        for book in (*(node.faults for node in self.devnet._nodes), self.devnet._bearer.faults):
            for fault in book._arrivals:
                fault.release()

    @property
    def devnet_prompt_tokens(self) -> int:
        """The prompt tokens of the last inference, as the chain has them."""
        return list(self.devnet.chain.inferences.values())[-1].prompt_tokens

    @property
    def billed_ngonka(self) -> int:
        """What the chain has debited for all inferences."""
        return sum(inference.cost_ngonka for inference in self.devnet.chain.inferences.values())

    # --- what the books say ------------------------------------------------------------------------------------

    def entries(self, *kinds: str) -> list[Entry]:
        """Return the durable entries of some kinds."""
        raws = itertools.chain.from_iterable(raws for _, raws in self.disk.batches)
        return [entry for entry in map(decode_entry, raws) if entry.kind in kinds]

    def ending(self) -> Entry:
        """Return how the last inference ended."""
        return self.entries(*e.ENDINGS)[-1]

    def posted_ngonka(self, name: str) -> int:
        """Return the sum of a ledger account in the ngonka book."""
        entries = self.entries(e.ATTEMPT, *e.ENDINGS)
        return sum(amount for entry in entries for book, to, amount in entry.postings if (book, to) == (e.NGONKA, name))

    async def settle_down(self) -> None:
        """Wait until nothing is under way, then prove that nothing is held and the books add up."""
        await until(lambda: not self.gateway.relay.under_way)
        await until(lambda: not self.account.held)
        report = await self.ledger.audit()
        assert report.clean, report.problems
        assert report.open_holds == 0
        came_in = -report.totals[e.USD, e.WORLD]
        assert self.account.available == came_in - sum(charged(entry) for entry in self.entries(*e.ENDINGS))
        assert self.account.available >= 0


@contextlib.asynccontextmanager
async def open_world(
    *kinds: str,
    timeouts: Timeouts = PATIENT,
    keep_alive_s: float = 30.0,
    left_drain_s: float = 30.0,
    usd: int = 5,
    picousd: int | None = None,
    devnet: DevnetSettings | None = None,
    scheme: Scheme = Scheme.HASH,
    short_balance: Literal["refuse", "shrink"] = "refuse",
    calls_under_way: Literal["finish", "cut"] = "finish",
    sound: bool = True,
    tokenizer_file: Path | None = None,
    metrics: Literal["admin", "public", "off"] = "admin",
    card: ModelCard = CARD,
    parameters: Policy = STRICT,
    limits: LimitsSettings = LimitsSettings(),  # noqa: B008  (an immutable constant)
    monotonic_s: Callable[[], float] = wiring.stand_still,
    tls: tuple[ssl.SSLContext, Path] | None = None,
) -> AsyncIterator[World]:
    """Run a world with upstreams of these kinds, in this order (over `tls`, trusting a file); its books end `sound`."""
    settings = devnet or DevnetSettings(pace_ms=0)
    certificate, trusted = tls or (None, None)
    async with Devnet(replace(settings, base_port=0), tls=certificate) as network:
        network.chain.fund(WALLET.public_key, WALLET_NGONKA)
        upstreams = [
            wiring.gonka(network, WALLET, timeouts, priority=priority, scheme=SigningScheme(scheme))
            if kind == "gonka"
            else wiring.bearer(network.bearer_url, network.bearer_key, timeouts, priority=priority)
            for priority, kind in enumerate(kinds or ("gonka",))
        ]
        world = World(
            network,
            [replace(upstream, ca_file=trusted) for upstream in upstreams],
            keep_alive_s=keep_alive_s,
            left_drain_s=left_drain_s,
            picousd=usd * 10**12 if picousd is None else picousd,
            tokenizer_file=tokenizer_file,
            short_balance=short_balance,
            calls_under_way=calls_under_way,
            metrics_listener=metrics,
            card=card,
            parameters=parameters,
            limits=limits,
            monotonic_s=monotonic_s,
        )
        await world.start()
        try:
            yield world
            if sound:
                await world.settle_down()
        finally:
            await world.stop()


def chat_body(**fields: Any) -> bytes:
    """Return the body of a chat request; what is given replaces or extends a short question."""
    question = {"model": MODEL, "messages": [{"role": "user", "content": "What is a ledger?"}], "max_tokens": 5}
    chosen = {name: value for name, value in {**question, **fields}.items() if value is not ...}
    return json.dumps(chosen).encode()


def charged(entry: Entry) -> int:
    """Return what an entry charged, in pico-dollars."""
    return sum(amount for _, name, amount in entry.postings if name in (e.INCOME_BASE, e.INCOME_FEE))


def cost(prompt_tokens: int, completion_tokens: int) -> Cost:
    """Return what so many tokens cost here."""
    return cost_of(PRICE, FEE_PPM, prompt_tokens, completion_tokens)


async def until(condition: Callable[[], object]) -> None:
    """Let everything run until a condition holds."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, "what was waited for did not happen"
        await asyncio.sleep(0)
