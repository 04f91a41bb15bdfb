"""What the memory knows of idempotency keys: only what the store cannot know yet."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tallygate.core.errors import StoreUnavailableError
from tallygate.core.idempotency import Claim, Claimed
from tallygate.storage.claims import Claims
from tallygate.storage.group_commit import GroupCommit
from tests.contract.world import CLAIM, Flaky, Machine, MemoryStore, fund, request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tallygate.storage.journal import Row


class World:
    """Claims over a disk in memory, that can be held back."""

    def __init__(self, *under_way: Claimed) -> None:
        journal = MemoryStore().journal()
        journal.open()
        journal.write([], under_way, 1)
        self.flaky = Flaky(journal)
        self.written: list[Row] = []
        self.queue = GroupCommit(self._write, self.flaky.flush)
        self.claims = Claims(under_way, self.flaky, self.queue, lambda: 7)

    def _write(self, _: Any, rows: list[Row]) -> None:
        self.written += rows
        self.flaky.write([], rows, 1)

    async def settle_down(self) -> None:
        """Wait until all is durable, and noted to be."""
        await self.queue.durable()
        await asyncio.sleep(0)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Claims of which one is under way."""
    made = World(Claimed(*CLAIM, "chatcmpl-1", 1, None))
    yield made
    made.flaky.gate.set()
    await made.queue.close()


ENTRY: Any = None
"""No claim looks into the entry that it goes with."""


async def test_memory_holds_nothing_that_the_store_has(world: World) -> None:
    """Once an outcome is durable the store is asked for it, so memory does not grow with a day's calls."""
    assert repr(world.claims) == "<Claims 1 under way, 1 not known to the store>"
    world.claims.append_ending(ENTRY, "chatcmpl-1", 5)
    assert repr(world.claims) == "<Claims 0 under way, 1 not known to the store>"
    assert world.claims.find(CLAIM) == Claimed(*CLAIM, "chatcmpl-1", 1, 5)
    world.claims.append_act(None, b"\1", 6, Claim(b"act", b"r"))
    await world.settle_down()

    assert repr(world.claims) == "<Claims 0 under way, 0 not known to the store>"
    assert world.claims.find(CLAIM) == Claimed(*CLAIM, "chatcmpl-1", 1, 5)
    assert world.claims.find(Claim(b"act", b"r")) == Claimed(b"act", b"r", "01", 7, 6)


async def test_only_the_last_outcome_is_forgotten(world: World) -> None:
    """A key that was freed and taken again is not forgotten when the first outcome becomes durable."""
    world.flaky.gate.clear()
    world.claims.append_ending(ENTRY, "chatcmpl-1", None)
    await asyncio.sleep(0)  # its commit begins, and what follows is gathered for the next one
    world.claims.append_hold(ENTRY, "chatcmpl-2", CLAIM)
    world.claims.append_ending(ENTRY, "chatcmpl-2", None)
    world.claims.append_hold(ENTRY, "chatcmpl-3", CLAIM)
    world.flaky.gate.set()
    await world.settle_down()

    assert world.claims.find(CLAIM) == Claimed(*CLAIM, "chatcmpl-3", 7, None)
    assert repr(world.claims) == "<Claims 1 under way, 1 not known to the store>"


async def test_what_was_not_made_durable_is_not_forgotten(world: World) -> None:
    """When the store fails, the memory keeps what it knew."""
    world.flaky.fails_at = "flush"
    world.claims.append_ending(ENTRY, "chatcmpl-1", 5)
    with pytest.raises(StoreUnavailableError):
        await world.settle_down()
    await asyncio.sleep(0)

    assert repr(world.claims) == "<Claims 0 under way, 1 not known to the store>"


async def test_inference_without_a_key_writes_no_row(world: World) -> None:
    """A call without a key costs the store nothing beside its entries."""
    world.claims.append_hold(ENTRY, "chatcmpl-9", None)
    world.claims.append_ending(ENTRY, "chatcmpl-9", 5)
    world.claims.append_act(ENTRY, b"\1", 5, None)
    await world.settle_down()

    assert world.written == []


async def test_free_key_is_found_and_taken_in_one_step() -> None:
    """Nothing is waited for between the look at a free key and its claim, or two calls could both find it free."""
    machine = Machine(MemoryStore())
    ledger = await machine.start()
    account = await fund(ledger)
    finding = ledger.find_claim(CLAIM)
    with pytest.raises(StopIteration) as found:
        finding.send(None)
    assert found.value.value is None
    await ledger.hold(request("chatcmpl-1", account, CLAIM))
    await machine.stop()
