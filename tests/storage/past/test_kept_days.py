"""What was counted of past days is not counted again, and never stands for anything else."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from tallygate.core.calendar import DAY_NS
from tallygate.core.ledger.rollup import CallSums, Days, Finest, Question
from tallygate.core.ledger.statement import Period
from tallygate.storage.journal import NotAStoreError
from tallygate.storage.past.embedded import EmbeddedHistory
from tallygate.storage.past.kept_days import KeptDays
from tallygate.storage.past.memory_past import MemoryPast, MemoryShelf
from tests.contract.traffic import DAY, Traffic
from tests.contract.world import FIRST, Machine, MemoryStore, end, request, usage

if TYPE_CHECKING:
    from collections.abc import Iterator

QUESTION = Question(Days(DAY, DAY + 9), ("day", "model"), {}, 100)


class Watched(MemoryPast):
    """A past that notes how many entries were counted, and that can fail beyond so many."""

    counted: int = 0
    fails_at: int | None = None

    @contextlib.contextmanager
    def look(self, account: str | None) -> Iterator[MemoryShelf]:
        """Lend a shelf that notes it."""
        with super().look(account) as shelf:
            yield WatchedShelf(self, shelf)


class WatchedShelf(MemoryShelf):
    """A shelf of such a past."""

    def __init__(self, past: Watched, shelf: MemoryShelf) -> None:
        self.__dict__.update(shelf.__dict__)
        self._past = past

    def billing(self, period: Period) -> Iterator[bytes]:
        """Note how many are asked for."""
        past = self._past
        past.counted += period.to - period.after
        if past.fails_at is not None and past.counted >= past.fails_at:
            raise NotAStoreError("the file cannot be read")
        return super().billing(period)


async def test_a_day_is_counted_once_and_what_comes_later_is_added() -> None:
    """Asked again, in any order of rows, nothing is counted; a call more costs its own entries, and is in the sums."""
    machine, traffic = Machine(MemoryStore()), Traffic()
    ledger = await traffic.run(machine)
    assert isinstance(machine.store, MemoryStore)
    past, account = Watched(machine.store.disk), ledger.account(traffic.accounts[0])
    history = EmbeddedHistory(past)
    first = await history.usage(account.id, QUESTION)
    counted = past.counted
    again = await history.usage(account.id, QUESTION)
    by_key = await history.usage(account.id, QUESTION._replace(by=("key",)))
    assert past.counted == counted > 0
    assert again == first
    assert sum(sums.fee for _, sums in by_key.rows) == sum(sums.fee for _, sums in first.rows)

    for day in (3, 3, 4):
        hold = await ledger.hold(request(f"chatcmpl-late-{past.counted}", account))
        await ledger.settle(hold, end(FIRST), usage())
        before = past.counted
        after = await history.usage(account.id, QUESTION)
        assert past.counted == before + 2
        assert after == await EmbeddedHistory(MemoryPast(machine.store.disk)).usage(account.id, QUESTION)
        if day == 3:
            machine.skip(DAY_NS // 3)
    await machine.stop()


async def test_a_count_that_breaks_off_leaves_what_was_kept() -> None:
    """Where the store cannot be read midway through what is new, the next answer is as if nobody had tried."""
    machine, traffic = Machine(MemoryStore()), Traffic()
    ledger = await traffic.run(machine)
    assert isinstance(machine.store, MemoryStore)
    past, account = Watched(machine.store.disk), ledger.account(traffic.accounts[0])
    history = EmbeddedHistory(past, look_entries=2)
    await ledger.settle(await ledger.hold(request("chatcmpl-late-1", account)), end(FIRST), usage())
    await history.usage(account.id, QUESTION)
    for number in range(2, 5):
        await ledger.settle(await ledger.hold(request(f"chatcmpl-late-{number}", account)), end(FIRST), usage())
    past.fails_at = past.counted + 3
    with pytest.raises(NotAStoreError):
        await history.usage(account.id, QUESTION)
    past.fails_at = None

    assert await history.usage(account.id, QUESTION) == await EmbeddedHistory(past).usage(account.id, QUESTION)
    await machine.stop()


def rows(count: int) -> dict[Finest, CallSums]:
    """Return so many rows."""
    return {(str(number),): CallSums(calls=1) for number in range(count)}


def test_what_was_not_asked_for_goes_first() -> None:
    """Beyond what there is room for, the periods that were asked for least lately are let go, whole."""
    kept: KeptDays[CallSums] = KeptDays(lambda *_: None, (), rows_max=12)
    for number in range(3):
        kept.keep(f"acct_{number}", Period(0, 10), rows(3))
    assert kept.begin("acct_0", Period(0, 10)) == (10, rows(3))
    kept.keep("acct_3", Period(0, 10), rows(3))

    assert kept.begin("acct_0", Period(0, 10))[0] == 10
    assert kept.begin("acct_1", Period(0, 10)) == (0, {})
    assert kept.begin("acct_2", Period(0, 10))[0] == kept.begin("acct_3", Period(0, 10))[0] == 10
    kept.keep("acct_4", Period(0, 10), rows(12))  # more than there is room for at all
    assert kept.begin("acct_4", Period(0, 10)) == (0, {})
    kept.keep("acct_5", Period(0, 10), rows(11))
    assert kept.begin("acct_5", Period(0, 10))[0] == 10


def test_only_the_same_beginning_is_gone_on_from() -> None:
    """A shorter period of the same beginning is a beginning; a longer one, a later one or another's is none."""
    kept: KeptDays[CallSums] = KeptDays(lambda *_: None, ())
    kept.keep("acct_1", Period(5, 10), rows(2))

    assert kept.begin("acct_1", Period(5, 12)) == (10, rows(2))
    assert kept.begin("acct_1", Period(5, 9)) == (5, {})
    assert kept.begin("acct_1", Period(6, 12)) == (6, {})
    assert kept.begin(None, Period(5, 12)) == (5, {})
    kept.keep("acct_1", Period(5, 8), rows(1))
    assert kept.begin("acct_1", Period(5, 12)) == (10, rows(2))
    kept.keep("acct_1", Period(5, 12), rows(3))
    assert kept.begin("acct_1", Period(5, 12)) == (12, rows(3))
