"""Gateways that are killed in the middle of everything: what was charged stays charged, what was held comes free."""

import asyncio
import signal
from decimal import Decimal
from pathlib import Path

import pytest

from tallygate.core.ledger import entry as e
from tests.gateway.processes import Gateway, Installation, installed, served
from tests.relay.world import charged, until
from tests.storm.aims import Aim
from tests.storm.calls import Plan, make_call
from tests.storm.world import World


async def available(gateway: Gateway, installation: Installation) -> int:
    """Return the account's available pico-dollars, after checking that none is held."""
    account = await gateway.admin("GET", f"accounts/{installation.account}")
    assert Decimal(account["held_usd"]) == 0
    return int(Decimal(account["available_usd"]) * 10**12)


@pytest.mark.parametrize("frames", [0, 1, 4])
async def test_a_kill_loses_no_charge_and_leaves_no_hold(tmp_path: Path, frames: int) -> None:
    """After kill -9 amid streams, each charge that a caller was told of is in the books, and every hold has expired."""
    async with installed(tmp_path) as installation:
        async with served(installation) as gateway:
            told = [(await gateway.chat(stream=index % 2 == 0)).usage for index in range(4)]
            installation.order("stall_stream" if frames else "barrier", after_frames=frames, count=1000, times=None)
            callers = [await gateway.send(stream=True) for _ in range(5)]
            if frames:
                for caller in callers:
                    await caller.head()
                    await caller.frames(frames)
            else:
                await until(lambda: installation.calls_under_way == len(callers))
            assert await gateway.end(signal.SIGKILL) == -signal.SIGKILL
        installation.clear_faults()

        assert installation.audit().clean
        held = len(installation.entries(e.HOLD)) - len(installation.entries(e.SETTLE))
        async with served(installation) as gateway:
            settled, expired = installation.entries(e.SETTLE), installation.entries(e.EXPIRE)
            due = sorted(int(Decimal(usage["total_cost_usd_exact"]) * 10**12) for usage in told)
            assert sorted(map(charged, settled)) == due
            assert len(expired) == held > 0
            assert sum(map(charged, expired)) == 0
            assert await available(gateway, installation) == 5 * 10**12 - sum(due)
            assert (await gateway.admin("POST", "verify"))["clean"]
            assert (await gateway.chat()).status == 200
            assert await gateway.end(signal.SIGTERM) == 0
        code, report, _ = await installation.outcome("verify")
        assert (code, report["clean"], report["open_holds"]) == (0, True, 0)


async def test_kills_at_random_moments_never_lose_a_charge(tmp_path: Path) -> None:
    """Killed again and again amid a load, the books stay clean, and hold every usage that any caller was ever told."""
    told: set[str] = set()

    async def load(gateway: Gateway) -> None:
        while True:
            answer = await gateway.chat(stream=True, max_tokens=3)
            if answer.body.endswith(b"[DONE]\n\n"):
                told.add(answer.headers["x-inference-id"])

    async with installed(tmp_path) as installation:
        for answers in (3, 11, 26):
            async with served(installation) as gateway:
                loads = [asyncio.ensure_future(load(gateway)) for _ in range(4)]
                await until(lambda: len(told) >= answers)  # noqa: B023  (it has come true before the loop goes on)
                await gateway.end(signal.SIGKILL)
                for task in loads:
                    task.cancel()
                await asyncio.gather(*loads, return_exceptions=True)
            assert installation.audit().clean
            assert told <= {entry.inference for entry in installation.entries(e.SETTLE)}
        async with served(installation) as gateway:
            assert await available(gateway, installation) == 5 * 10**12 - sum(
                map(charged, installation.entries(*e.ENDINGS))
            )


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("stage", "ending"), [("before", e.EXPIRE), ("written", e.EXPIRE), ("durable", e.SETTLE)])
async def test_a_charge_is_there_once_it_is_durable(tmp_path: Path, stage: str, ending: str, stream: bool) -> None:
    """Killed around the commit of a charge, before the last byte, a gateway has charged once, or not at all."""
    async with World(tmp_path) as world:
        gateway = await world.start(accounts=1, aim=Aim(f"settle {stage}"))
        (key,) = world.keys
        await gateway.pay_in(key.account, 10**9)
        told = await make_call(gateway.port, key.secret, Plan.usual(stream=stream))
        assert told.ending in {"connection lost", "no answer"}
        assert told.picousd is None
        assert await gateway.program.wait() == -signal.SIGKILL

        for _ in range(2):
            await world.stop(await world.start())
            books = await world.proven_books()
            (ended,) = (entry for entry in books.entries if entry.kind in e.ENDINGS)
            assert ended.kind == ending
            assert (charged(ended) > 0) == (ending == e.SETTLE)
            assert books.balance(key.account) == (10**9 - charged(ended), 0)
