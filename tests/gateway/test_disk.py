"""A real gateway on a disk that fills up or breaks: nobody is told a charge, and the next start ends the holds."""

from __future__ import annotations

import asyncio
import json
import resource
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.relay.caller import Caller
from tests.storm.aims import BROKEN, SYNC_FAILS, Aim
from tests.storm.calls import Plan, make_call
from tests.storm.witness import Books
from tests.storm.world import World, eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.relay.caller import Answer
    from tests.storm.world import Gateway, Key

PAID_IN = 10**9


def fill_up(world: World, gateway: Gateway) -> None:
    """Let no file of the gateway's grow any more: the kernel refuses the write."""
    sizes = [path.stat().st_size for path in world.store.parent.iterdir()]
    resource.prlimit(gateway.program.pid, resource.RLIMIT_FSIZE, (min(filter(None, sizes)), resource.RLIM_INFINITY))


def break_sync(world: World, _: Gateway) -> None:
    """Let no sync of the gateway's succeed any more."""
    (world.folder / BROKEN).touch()


async def send(gateway: Gateway, key: Key, *, stream: bool) -> Caller:
    """Send a usual call."""
    caller = await Caller.open(gateway.port)
    headers = {"authorization": f"Bearer {key.secret}", "content-type": "application/json"}
    await caller.request("POST", "/v1/chat/completions", headers, Plan.usual(stream=stream).body)
    return caller


async def get(gateway: Gateway, path: str) -> Answer:
    """Look something up."""
    caller = await Caller.open(gateway.port)
    await caller.request("GET", path, {})
    answer = await caller.answer()
    await caller.close()
    return answer


@pytest.mark.parametrize("strike", [fill_up, break_sync], ids=["disk full", "sync fails"])
async def test_a_failing_disk_charges_nobody(tmp_path: Path, strike: Callable[[World, Gateway], None]) -> None:
    """Streams end with an error and no charge, other calls are 503, readiness is lost; a restart ends all holds."""
    async with World(tmp_path) as world:
        gateway = await world.start(accounts=1, aim=Aim(SYNC_FAILS))
        (key,) = world.keys
        await gateway.pay_in(key.account, PAID_IN)
        before = await make_call(gateway.port, key.secret, Plan.usual())
        await world.devnet.order_all("POST", {"fault": "barrier", "count": 10**6, "times": None})
        callers = [await send(gateway, key, stream=stream) for stream in (True, True, False, False)]
        await eventually(lambda: len(Books.read(world.store).open_holds) == len(callers))
        strike(world, gateway)
        await world.devnet.order_all("DELETE")
        answers = await asyncio.gather(*(caller.answer() for caller in callers))
        await asyncio.gather(*(caller.close() for caller in callers))

        for streamed in answers[:2]:
            assert streamed.complete
            assert b"[DONE]" not in streamed.body
            assert b"cost_usd" not in streamed.body
            assert json.loads(streamed.events[-1])["error"]["code"] == "store_unavailable"
        for whole in answers[2:]:
            assert (whole.status, whole.code) == (503, "store_unavailable")
        ready = await get(gateway, "/health/ready")
        assert (ready.status, ready.json()["status"]) == (503, "not_ready")
        assert (await get(gateway, "/health/live")).status == 200
        assert (await make_call(gateway.port, key.secret, Plan.usual())).ending == "503 store_unavailable"

        await gateway.program.kill()
        gateway = await world.start()
        assert (await make_call(gateway.port, key.secret, Plan.usual())).ending == "streamed to the end"
        await world.stop(gateway)
        books = await world.proven_books()
        ended = [entry.kind for entry in books.entries if entry.kind in ("settle", "void", "expire")]
        assert len(ended) == len(callers) + 2
        if strike is fill_up:  # what was not synced may be there after all; what was not written cannot be
            assert Counter(ended) == {"expire": len(callers), "settle": 2}
        assert before.picousd is not None
        charged = sum(amount for entry in books.entries for _, name, amount in entry.postings if "income" in name)
        assert books.balance(key.account) == (PAID_IN - charged, 0)
