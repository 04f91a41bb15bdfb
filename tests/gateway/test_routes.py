"""Every route of a built gateway, as its table has them: whom it answers, and whether it costs something.

What a route declares of itself is held against what it does. A route that is new is looked at by being in the table;
one that answers everybody, or that is billed, is named here too, so that neither happens by a slip.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from tallygate import app
from tallygate.api.edge import Edge
from tallygate.api.http import Access
from tallygate.api.problems import Problems
from tallygate.config import Secret
from tallygate.core.keys import mint_api_key
from tallygate.core.ledger import entry as e
from tallygate.core.proofs.checkpoint import CheckpointKey
from tallygate.storage.proofs.anchors import AnchorFile
from tallygate.storage.proofs.embedded import EmbeddedProofs
from tallygate.storage.proofs.memory_archive import MemoryArchive
from tests.gateway.processes import ADMIN_KEY
from tests.relay.world import MODEL, chat_body, open_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence
    from pathlib import Path

    from tallygate.api.http import Route
    from tests.relay.world import World

ANSWERS_EVERYBODY = {
    *("/health/live", "/health/ready", "/v1/checkpoints/latest"),
    *("/api/pricing", "/api/v1/public/pricing"),
    *("/docs", "/docs/reference", "/docs/pricing", "/docs/models", "/openapi.json"),
}
HAS_A_KEY = {Access.KEY, Access.TELLS, Access.OWN}
BILLED = {
    "POST /v1/chat/completions": chat_body(),
    "POST /v1/completions": json.dumps({"model": MODEL, "prompt": "What is a ledger?"}).encode(),
}
"""The routes that reach the network, each with a body that is a good call."""

PROVES = {"/v1/usage/{inference}", "/v1/balance/proof"}
"""The routes that prove what an account has paid, also while it is suspended."""

BAD_KEY = mint_api_key(b"\1" * 32)
WRONG_TOKENS = [None, "", "Bearer", f"Bearer {BAD_KEY}", f"Bearer {BAD_KEY[:-1]}", "Basic Og==", "Bearer ' OR 1=1 --"]


class House(NamedTuple):
    """A gateway with everything that has routes, without a server and without its gate in front."""

    world: World
    public: Edge
    admin: Edge

    def routes(self, edge: Edge) -> Sequence[Route]:
        """Return an edge's table."""
        return edge._router.routes


@asynccontextmanager
async def built(tmp_path: Path) -> AsyncIterator[House]:
    """Lend a gateway that is put together as in production, on a world with a funded account."""
    async with open_world(sound=False) as world:
        key = CheckpointKey(bytes(range(32)))
        anchors = AnchorFile(tmp_path / "anchors.jsonl")
        archive = MemoryArchive(world.disk)
        proofs = EmbeddedProofs(archive, anchors, key, now_ns=time.time_ns, store=world.ledger, apart_s=0)
        await proofs.checkpoint()
        settings = replace(world.settings, admin=replace(world.settings.admin, key=Secret(ADMIN_KEY)))
        gateway = app.build(settings, world.ledger, world.pepper, proofs=proofs)
        edges = (Edge(edge._router, Problems(), lambda: "req_1") for edge in (gateway.public_edge, gateway.admin_edge))
        try:
            yield House(world, *edges)
        finally:
            await gateway.upstreams.close()
            await proofs.close()


class Outcome(NamedTuple):
    """What an edge answered, and whether it looked at the body first."""

    status: int
    code: str | None
    has_read: bool


async def ask(edge: Edge, route: Route, authorizations: Iterable[str | None], body: bytes = b"{}") -> Outcome:
    """Send a request to a route, with anything where its pattern catches something."""
    has_read = has_come = False
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        nonlocal has_read, has_come
        if has_come:
            await asyncio.Event().wait()  # the caller stays, and says no more
        has_read, has_come = not sent, True  # what is still taken after an answer is thrown away
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [(b"authorization", value.encode()) for value in authorizations if value is not None]
    scope = {
        "type": "http",
        "method": route.method,
        "path": re.sub(r"\{[a-z.]+\}", "anything", route.path),
        "query_string": b"",
        "headers": [*headers, (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))],
        "state": {},
    }
    await edge(scope, receive, send)
    content = b"".join(message.get("body", b"") for message in sent)
    error = json.loads(content).get("error") if content.startswith(b"{") else None
    return Outcome(sent[0]["status"], error["code"] if isinstance(error, dict) else None, has_read)


def name_of(route: Route) -> str:
    """Return how a route is named here."""
    return f"{route.method} {route.path}"


async def test_every_keyed_route_looks_at_the_key_before_the_body(tmp_path: Path) -> None:
    """No key, a wrong one, or two at once: each route that is not for everybody says 401, with its body unread."""
    async with built(tmp_path) as house:
        operator, caller = f"Bearer {ADMIN_KEY}", f"Bearer {house.world.secret}"
        cases: list[tuple[Edge, list[str | None], list[str | None]]] = [
            (house.public, [operator], [caller, caller]),
            (house.admin, [caller], [operator, operator]),
        ]
        wrong = []
        for edge, *others in cases:
            for route in house.routes(edge):
                if route.access not in HAS_A_KEY:
                    continue
                for tokens in [*([token] for token in WRONG_TOKENS), *others]:
                    outcome = await ask(edge, route, tokens)
                    if outcome != (401, "invalid_api_key", False):
                        wrong.append((name_of(route), tokens, outcome))

        assert wrong == []
        assert house.world.entries(e.HOLD) == []


async def test_only_named_routes_answer_everybody(tmp_path: Path) -> None:
    """The routes that need no key are those that are named here, and they answer; on the admin listener none is."""
    async with built(tmp_path) as house:
        free = [route for route in house.routes(house.public) if route.access not in HAS_A_KEY]
        answers = {route.path: (await ask(house.public, route, [])).status for route in free}

        assert answers == dict.fromkeys(ANSWERS_EVERYBODY, 200)
        assert {route.access for route in house.routes(house.admin)} <= HAS_A_KEY


async def test_a_suspended_account_gets_nothing_but_proofs(tmp_path: Path) -> None:
    """While its account is suspended, a key gets a 403 of each route but those that prove what was paid."""
    async with built(tmp_path) as house:
        await house.world.ledger.suspend_account(house.world.account.id, "a dispute", "test")
        caller = [f"Bearer {house.world.secret}"]
        keyed = [route for route in house.routes(house.public) if route.access in HAS_A_KEY]
        answers = {route.path: (await ask(house.public, route, caller, chat_body())).status for route in keyed}

        assert {path for path, status in answers.items() if status != 403} == PROVES
        assert {answers[path] for path in PROVES} == {200, 404}  # there is no inference of the name that is asked for


async def test_whatever_reaches_the_network_is_billed(tmp_path: Path) -> None:
    """Each route that is declared as billed makes a paid call; no other reaches the network, whatever it is sent."""
    async with built(tmp_path) as house:
        world, caller = house.world, f"Bearer {house.world.secret}"
        billed = {name_of(route) for route in house.routes(house.public) if route.billed}
        assert billed == set(BILLED)

        for route in house.routes(house.public):
            calls, balance = world.upstream_calls, world.account.balance
            outcome = await ask(house.public, route, [caller], BILLED.get(name_of(route), chat_body()))
            if route.billed:
                assert outcome.status == 200, route
                assert world.upstream_calls == calls + 1
                assert world.account.balance < balance
                assert world.ending().kind == e.SETTLE
            else:
                assert (world.upstream_calls, world.account.balance) == (calls, balance), route
        assert len(world.entries(e.HOLD)) == len(BILLED)
        assert not any(route.billed for route in house.routes(house.admin))
