"""Idempotency keys on a gateway as an operator runs it: killed, restarted, and asked by the official client."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import apsw
import openai
import pytest

from tallygate.core.ledger import entry as e
from tests.gateway.processes import Gateway, Installation, installed, served
from tests.gateway.test_openai_client import QUESTION, client_of, note_in
from tests.relay.world import MODEL, charged, until

if TYPE_CHECKING:
    from pathlib import Path

KEY = "an-idempotency-key-that-nobody-may-see"


async def balance(gateway: Gateway, installation: Installation) -> int:
    """Return the account's balance in pico-dollars."""
    account = await gateway.admin("GET", f"accounts/{installation.account}")
    return int(Decimal(account["balance_usd"]) * 10**12)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_kill_after_the_charge_charges_nothing_again(tmp_path: Path, stream: bool) -> None:
    """After kill -9 and a restart the same key is told what the call cost; the books show one charge, and no key."""
    async with installed(tmp_path) as installation:
        async with served(installation) as gateway:
            first = await gateway.chat(stream=stream, key=KEY)
            assert (await gateway.chat(stream=stream, key=KEY)).headers["x-tallygate-replayed"] == "true"
            assert await gateway.end(signal.SIGKILL) == -signal.SIGKILL
        async with served(installation) as gateway:
            again = await gateway.chat(stream=stream, key=KEY)
            other = await gateway.chat(stream=not stream, key=KEY)
            assert await gateway.end(signal.SIGTERM) == 0

        assert (again.status, again.code, other.status) == (409, "idempotency_already_charged", 422)
        told = again.json()["error"]["metadata"]
        (settled,) = installation.entries(e.SETTLE)
        assert told == {
            "inference_id": first.headers["x-inference-id"],
            "total_cost_usd": first.usage["total_cost_usd_exact"],
        }
        assert Decimal(told["total_cost_usd"]) * 10**12 == charged(settled)
        assert (again.headers["x-should-retry"], again.headers["x-inference-id"]) == ("false", settled.inference)
        assert len(installation.entries(e.HOLD)) == len(installation.devnet.chain.inferences) == 1
        assert installation.audit().clean
        assert all(KEY.encode() not in content for content in installation.read_store().values())
        assert KEY.encode() not in gateway.log


async def test_a_kill_amid_the_call_frees_the_key(tmp_path: Path) -> None:
    """A call that the kill cut is not charged, and its key begins a new one, which is charged once."""
    async with installed(tmp_path) as installation:
        async with served(installation) as gateway:
            installation.order("barrier", count=1000)
            await gateway.send(key=KEY)
            await until(lambda: installation.calls_under_way)
            assert await gateway.end(signal.SIGKILL) == -signal.SIGKILL
        installation.clear_faults()
        async with served(installation) as gateway:
            first = await gateway.chat(key=KEY)
            again = await gateway.chat(key=KEY)
            assert (first.status, again.body) == (200, first.body)
            assert await balance(gateway, installation) == 5 * 10**12 - charged(installation.entries(e.SETTLE)[0])
        assert [entry.kind for entry in installation.entries(*e.ENDINGS)] == [e.EXPIRE, e.SETTLE]


async def test_old_keys_are_forgotten_at_a_start(tmp_path: Path) -> None:
    """A gateway forgets what is older than a day as soon as it runs, and keeps what is younger."""
    async with installed(tmp_path) as installation:
        async with served(installation) as gateway:
            for key in ("old", "young"):
                await gateway.chat(key=key)
        with contextlib.closing(apsw.Connection(str(installation.store))) as db:
            db.execute(
                "UPDATE idempotency SET created_ns = created_ns - 86400000000000 WHERE subject = ?",
                (installation.entries(e.HOLD)[0].inference,),
            )
        async with served(installation) as gateway:
            await until(lambda: b"idempotency keys forgotten" in gateway.log)
            assert (await gateway.chat(key="young")).code == "idempotency_already_charged"
            assert (await gateway.chat(key="old")).status == 200
        assert len(installation.entries(e.SETTLE)) == 3


async def test_the_official_client_gets_the_same_answer_again(tmp_path: Path) -> None:
    """With `extra_headers` the client's second call is the first one's answer, streamed and not: one charge each."""
    async with client_of(tmp_path) as world:
        create: Any = world.client.chat.completions.create
        wholes, streams = [], []
        for _ in range(2):
            fields: Any = {"model": MODEL, "messages": QUESTION, "max_tokens": 30}
            wholes.append(await create(**fields, extra_headers={"Idempotency-Key": "whole"}))
            stream = await create(**fields, stream=True, extra_headers={"Idempotency-Key": "stream"})
            streams.append([chunk async for chunk in stream])

        assert wholes[0] == wholes[1]
        assert streams[0] == streams[1]
        assert wholes[0].usage == streams[0][-1].usage
        assert world.upstream_calls == len(world.installation.entries(e.SETTLE)) == 2


async def test_the_official_client_waits_for_the_first_call(tmp_path: Path) -> None:
    """A second call while the first is under way repeats itself, as the client does with a 409, and gets its answer."""
    async with client_of(tmp_path, max_retries=8) as world:
        create: Any = world.client.chat.completions.with_raw_response.create
        fields: Any = {"model": MODEL, "messages": QUESTION, "extra_headers": {"Idempotency-Key": KEY}}
        world.installation.order("barrier", count=1000)
        first = asyncio.ensure_future(create(**fields))
        await until(lambda: world.installation.calls_under_way)
        with pytest.raises(openai.ConflictError) as early:
            await world.client.with_options(max_retries=0).chat.completions.create(**fields)
        statuses: list[int] = []
        noting = openai.DefaultAsyncHttpxClient(event_hooks={"response": [note_in(statuses)]})
        async with noting, world.client.with_options(http_client=noting) as patient:
            second = asyncio.ensure_future(patient.chat.completions.with_raw_response.create(**fields))
            await until(lambda: statuses)
            world.installation.clear_faults()
            answers = [await first, await second]

        assert statuses == [409, 200]
        assert early.value.code == "idempotency_in_progress"
        assert answers[0].content == answers[1].content
        assert answers[1].headers["x-tallygate-replayed"] == "true"
        assert world.upstream_calls == 1
