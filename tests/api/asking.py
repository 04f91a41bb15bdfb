"""Both APIs over some days of calls in memory, and somebody who asks them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from tallygate.api.admin import AdminApi
from tallygate.api.callers import Callers
from tallygate.api.edge import Edge
from tallygate.api.http import Router
from tallygate.api.problems import Problems
from tallygate.api.usage import UsageAnswers, UsageApi
from tallygate.core.calendar import DAY_NS
from tallygate.core.catalog import Catalog
from tallygate.core.keys import key_digest, mask, mint_api_key
from tallygate.core.tags import Tags
from tallygate.storage.past.embedded import EmbeddedHistory
from tallygate.storage.past.memory_past import MemoryPast
from tests.contract.traffic import DAY, Traffic
from tests.contract.world import Machine, MemoryStore

if TYPE_CHECKING:
    from tallygate.storage.embedded import EmbeddedLedger

PEPPER = bytes(32)
ADMIN_KEY = "an-admin-key-of-a-test"
NOW_NS = (DAY + 2) * DAY_NS + 5
"""On the last of the three days."""


class Told(NamedTuple):
    """An answer."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes

    @property
    def content(self) -> Any:
        """What it says in JSON."""
        return json.loads(self.body)


class Asking:
    """An installation with traffic on it."""

    def __init__(self, machine: Machine, ledger: EmbeddedLedger, traffic: Traffic, **limits: int) -> None:
        assert isinstance(machine.store, MemoryStore)
        history = EmbeddedHistory(MemoryPast(machine.store.disk), **limits)
        tags = Tags(PEPPER)
        answers = UsageAnswers(history, tags, lambda: NOW_NS)
        admin = AdminApi(
            ledger=ledger,
            keys=ledger,
            pepper=PEPPER,
            catalog=Catalog([], lambda _: True),
            history=history,
            upstreams=None,
            admin_key=ADMIN_KEY,
            entropy=os.urandom,
            now_ns=lambda: NOW_NS,
        )
        public = UsageApi(callers=Callers(ledger, PEPPER), answers=answers)
        self._edge = Edge(Router([*public.routes(), *admin.routes()]), Problems(), lambda: "req_1")
        self.machine, self.ledger, self.traffic, self.tags = machine, ledger, traffic, tags
        self.account = traffic.accounts[0]

    async def make_key(self, account: str) -> str:
        """Return the secret of a new key."""
        secret = mint_api_key(os.urandom(32))
        await self.ledger.add_key(account, "test", key_digest(PEPPER, secret), mask(secret), "operator")
        return secret

    async def get(self, target: str, key: str = ADMIN_KEY, **headers: str) -> Told:
        """Ask a route."""
        path, _, query = target.partition("?")
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        extra = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": query.encode(),
            "headers": [(b"authorization", f"Bearer {key}".encode()), *extra],
        }
        await self._edge(scope, receive, send)
        return Told(sent[0]["status"], dict(sent[0]["headers"]), b"".join(m.get("body", b"") for m in sent[1:]))

    async def follow(self, target: str, key: str = ADMIN_KEY) -> list[Any]:
        """Return the rows of all pages."""
        rows: list[Any] = []
        cursor = ""
        while True:
            content = (await self.get(target + cursor, key)).content
            rows += content["data"]
            if not content["has_more"]:
                assert content["next_cursor"] is None
                return rows
            cursor = f"&cursor={content['next_cursor']}"


async def install(**limits: int) -> Asking:
    """Return an installation with three days of traffic."""
    machine, traffic = Machine(MemoryStore()), Traffic()
    ledger = await traffic.run(machine)
    return Asking(machine, ledger, traffic, **limits)
