"""A gateway's reading routes in process: books in memory with a price sheet, one account with a key, no network."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any

from tallygate.api.callers import Callers
from tallygate.api.edge import Edge
from tallygate.api.http import Router
from tallygate.api.problems import Problems
from tallygate.core.bounding import ModelCard
from tallygate.core.catalog import Catalog
from tallygate.core.keys import key_digest, mask, mint_api_key
from tallygate.core.pricing import Price, Sheet
from tallygate.storage.embedded import EmbeddedLedger
from tallygate.storage.memory import MemoryDisk, MemoryJournal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from tallygate.api.http import Route
    from tallygate.core.ledger.records import Account

PEPPER = bytes(32)
PUBLISHED_NS = 1_770_563_000_251_999_999  # 2026-02-08T15:03:20.251999999Z
CARDS = (
    ModelCard("House/Model", aliases=("model",), context_length=8192, name="The Model", features=("tools",)),
    ModelCard("house/small", output_tokens_max=64),
    ModelCard("house/unpriced"),
)
PRICES = {"House/Model": Price(353, 1411, 1_000_003), "house/small": Price(0, 0, 0, free=True)}


class Shop:
    """What a reading route reads, and a way to ask it."""

    def __init__(self, ledger: EmbeddedLedger) -> None:
        self.ledger = ledger
        self.callers = Callers(ledger, PEPPER)
        self.catalog = Catalog(CARDS, lambda _: True)
        self.out: set[str] = set()
        self.secret = mint_api_key(os.urandom(32))
        self.account: Account

    def works(self, model: str) -> bool:
        """Return whether a model can be had now."""
        return model not in self.out

    async def ask(
        self, routes: Iterable[Route], method: str, path: str, key: str | None = None, body: bytes = b""
    ) -> tuple[int, Any, bytes]:
        """Send one request; return the status, what was answered, and the bytes of it."""
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        headers = [] if key is None else [(b"authorization", f"Bearer {key}".encode())]
        edge = Edge(Router(routes), Problems(), lambda: "req_1")
        await edge(
            {"type": "http", "method": method, "path": path, "query_string": b"", "headers": headers}, receive, send
        )
        return sent[0]["status"], json.loads(sent[1]["body"]), sent[1]["body"]


@contextlib.asynccontextmanager
async def open_shop(*, fee_ppm: int = 100_000, prices: dict[str, Price] | None = None) -> AsyncIterator[Shop]:
    """Lend a shop whose sheet was published at one known moment."""
    ledger = EmbeddedLedger(MemoryJournal(MemoryDisk(bytes(16))), now_ns=lambda: PUBLISHED_NS, entropy=os.urandom)
    try:
        await ledger.publish(Sheet(1, fee_ppm, PRICES if prices is None else prices), "test")
        shop = Shop(ledger)
        shop.account = await ledger.open_account("customer", "test")
        await ledger.add_key(shop.account.id, "key", key_digest(PEPPER, shop.secret), mask(shop.secret), "test")
        yield shop
    finally:
        await ledger.close()
