"""An ordeal: five nodes of which two go wrong in one way, and many calls.

What comes of it is judged by `audit`: what callers saw, what nodes did, and what both books hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import trustme

from tallygate.devnet import DevnetSettings
from tallygate.devnet.settings import NodeSettings
from tallygate.network.client import Timeouts
from tests.ordeal.audit import Audit, Outcome
from tests.ordeal.record import Record
from tests.relay.world import MODEL, open_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.ordeal.trials import Trial
    from tests.relay.caller import Answer, Caller
    from tests.relay.world import World

NODES = 5
WRONG = (1, 3)
"""The nodes that misbehave, by their place."""

TIMEOUTS = Timeouts(connect_s=3, first_byte_s=3, idle_s=3, total_s=60)
FOREVER_BLOCKS = 10**9
"""An epoch that long has no second quiet window."""


async def undergo(trial: Trial, calls: int, callers: int = 8) -> Outcome:
    """Send so many calls, half of them streamed, while two nodes of five go wrong; return what came of it."""
    loop, numbers, answers, record = asyncio.get_running_loop(), iter(range(calls)), {}, Record()
    async with open_trial(trial, record) as world, listen() as foreign:
        for host in WRONG:
            order = {"location": foreign.url, **trial.fields}
            world.order(trial.fault, host=host, times=None, **order)
        begun_s = loop.time()

        async def call_on() -> None:
            caller = None
            for number in numbers:
                caller = caller or await world.connect()
                answers[number] = answer = await ask(world, caller, number)
                if not answer.complete or answer.headers.get("connection") == "close":
                    caller = None

        await asyncio.gather(*(call_on() for _ in range(callers)))
        outcome = Outcome(seconds=loop.time() - begun_s, asked=record.asked[:NODES], foreign=foreign.accepted)
        world.clear_faults()
        await world.settle_down()
        await Audit(world, trial, WRONG, answers, record, outcome).run(callers)
    return outcome


async def ask(world: World, caller: Caller, number: int) -> Answer:
    """Send one call and return its answer."""
    messages = [{"role": "user", "content": f"Call {number}: what is a ledger?"}]
    await world.send(caller, model=MODEL, messages=messages, max_tokens=4 + number % 5, stream=number % 2 == 0)
    return await caller.answer()


@contextlib.asynccontextmanager
async def open_trial(trial: Trial, record: Record) -> AsyncIterator[World]:
    """Run a world with five nodes, all of which are watched; over TLS where its handshake is what goes wrong."""
    devnet = DevnetSettings(pace_ms=0, nodes=(NodeSettings(),) * NODES, epoch_blocks=FOREVER_BLOCKS)
    monotonic_s = asyncio.get_running_loop().time
    with contextlib.ExitStack() as stack:
        tls = stack.enter_context(make_tls()) if trial.fault == "slow_tls" else None
        async with open_world(devnet=devnet, timeouts=TIMEOUTS, usd=50, monotonic_s=monotonic_s, tls=tls) as world:
            record.watch(world)
            yield world


@contextlib.contextmanager
def make_tls() -> Iterator[tuple[ssl.SSLContext, Path]]:
    """Give what a server needs to be trusted, and the file that says whom to trust."""
    authority, server = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    with tempfile.TemporaryDirectory() as folder:
        ca_file = Path(folder, "ca.pem")
        authority.cert_pem.write_to_path(str(ca_file))
        yield server, ca_file


@dataclass
class Foreign:
    """A host that is none of ours."""

    url: str = ""
    accepted: int = 0


@contextlib.asynccontextmanager
async def listen() -> AsyncIterator[Foreign]:
    """Be that host: every connection is counted, and closed."""
    foreign = Foreign()

    async def receive(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        foreign.accepted += 1
        writer.close()

    async with await asyncio.start_server(receive, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield replace(foreign, url=f"http://127.0.0.1:{port}/v1/chat/completions")
