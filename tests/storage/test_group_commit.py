"""Durability in groups: at once when idle, together while the disk is busy, in order, and never after a failure."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tallygate.core.errors import StoreUnavailableError
from tallygate.core.ledger.entry import Entry
from tallygate.core.ledger.records import Written
from tallygate.storage.group_commit import GroupCommit
from tallygate.storage.journal import NewAccount, Row


class SlowDisk:
    """Keeps batches; each flush waits until the test lets it go, or fails as it is told."""

    def __init__(self, *, free: bool = False) -> None:
        self.batches: list[list[str]] = []
        self.rows: list[Row] = []
        self.flushed = 0
        self.refuses: Exception | None = None
        self.fails: Exception | None = None
        self._free = free
        self._permits = threading.Semaphore(0)
        self._at_work = threading.Lock()

    def write(self, entries: list[Written], rows: list[Row]) -> None:
        """Take a batch; never while another is flushed."""
        assert self._at_work.acquire(blocking=False)
        self._at_work.release()
        if self.refuses is not None:
            raise self.refuses
        self.batches.append([written.entry.kind for written in entries])
        self.rows += rows

    def flush(self) -> None:
        """Wait for the test."""
        with self._at_work:
            if not self._free:
                assert self._permits.acquire(timeout=120)
            if self.fails is not None:
                raise self.fails
            self.flushed += 1

    def release(self, count: int = 1) -> None:
        """Let so many flushes go."""
        self._permits.release(count)


def written(name: str) -> Written:
    """Return an entry that is called so."""
    return Written(Entry(1, name, b"", 0, b"", 1), b"", b"")


async def turn(times: int = 3) -> None:
    """Let the event loop go round."""
    for _ in range(times):
        await asyncio.sleep(0)


async def test_idle_queue_commits_at_once() -> None:
    """An entry that comes alone is written in the next turn of the loop, without waiting for others."""
    disk = SlowDisk(free=True)
    queue = GroupCommit(disk.write, disk.flush)
    for name in ("a", "b"):
        queue.append(written(name))
        await queue.durable()

    assert disk.batches == [["a"], ["b"]]
    assert disk.flushed == 2
    await queue.close()


async def test_entries_of_one_turn_are_one_batch() -> None:
    """What is made in the same step of the loop becomes durable together or not at all."""
    disk = SlowDisk(free=True)
    queue = GroupCommit(disk.write, disk.flush)
    queue.append(written("a"), NewAccount("x", "Ann", 1))
    queue.append(written("b"))
    await queue.durable()

    assert disk.batches == [["a", "b"]]
    assert disk.rows == [NewAccount("x", "Ann", 1)]
    await queue.close()


async def test_rows_become_durable_without_any_entry() -> None:
    """What is not part of the books can be committed by itself, and is waited for like an entry."""
    disk = SlowDisk()
    queue = GroupCommit(disk.write, disk.flush)
    queue.append(None, NewAccount("x", "Ann", 1))
    await turn()
    queue.append(None, NewAccount("y", "Bob", 2))
    waiter = queue.durable()
    disk.release(2)
    await waiter

    assert disk.batches == [[], []]
    assert [row.id for row in disk.rows if isinstance(row, NewAccount)] == ["x", "y"]
    await queue.close()


async def test_entries_gather_while_a_commit_is_under_way() -> None:
    """However many come while the disk is busy are one batch after it, in their order, and each waits for its own."""
    disk = SlowDisk()
    queue = GroupCommit(disk.write, disk.flush)
    queue.append(written("first"))
    first = queue.durable()
    await turn()
    for number in range(5):
        queue.append(written(str(number)))
    later = queue.durable()
    await turn()
    assert disk.batches == [["first"]]
    assert not first.done()
    assert not later.done()

    disk.release()
    await first
    assert disk.batches == [["first"], ["0", "1", "2", "3", "4"]]
    assert not later.done()
    disk.release()
    await later
    await queue.close()


async def test_durable_waits_for_what_was_taken_and_for_nothing_else() -> None:
    """With nothing taken it is done at once; while a commit is under way it waits for that one only."""
    disk = SlowDisk()
    queue = GroupCommit(disk.write, disk.flush)
    assert queue.durable().done()
    queue.append(written("a"))
    await turn()
    under_way = queue.durable()
    assert not under_way.done()

    disk.release()
    await under_way
    assert queue.durable().done()
    await queue.close()


async def test_order_is_that_of_taking() -> None:
    """Over many batches the entries are in the order in which they were taken, each of them once."""
    disk = SlowDisk(free=True)
    queue = GroupCommit(disk.write, disk.flush)

    async def act(number: int) -> None:
        for _ in range(number % 4):
            await asyncio.sleep(0)
        taken.append(str(number))
        queue.append(written(str(number)))
        await queue.durable()

    taken: list[str] = []
    await asyncio.gather(*(act(number) for number in range(300)))

    assert [name for batch in disk.batches for name in batch] == taken
    assert len(disk.batches) < 300
    await queue.close()


@pytest.mark.parametrize("error", [StoreUnavailableError("disk full"), OSError("gone"), MemoryError(), KeyError("x")])
@pytest.mark.parametrize("where", ["refuses", "fails"])
async def test_failure_wakes_everyone_and_is_final(error: Exception, where: str) -> None:
    """Who waits for the failed batch or behind it is told; so is who comes later; nothing more is written."""
    disk = SlowDisk()
    queue = GroupCommit(disk.write, disk.flush)
    queue.append(written("fine"))
    fine = queue.durable()
    await turn()
    setattr(disk, where, error)
    queue.append(written("lost"))
    lost = queue.durable()
    if where == "refuses":
        disk.release()
        await fine
    else:
        disk.release(2)
        with pytest.raises(StoreUnavailableError):
            await fine
    with pytest.raises(StoreUnavailableError, match=type(error).__name__):
        await lost
    batches = len(disk.batches)
    setattr(disk, where, None)

    assert queue.failure is not None
    with pytest.raises(StoreUnavailableError):
        queue.check()
    with pytest.raises(StoreUnavailableError):
        queue.append(written("later"))
    with pytest.raises(StoreUnavailableError):
        await queue.durable()
    await queue.close()
    assert len(disk.batches) == batches


async def test_cancelled_waiter_harms_nobody() -> None:
    """Who no longer waits is left out; the entry is written all the same, and the others are woken."""
    disk = SlowDisk()
    queue = GroupCommit(disk.write, disk.flush)
    queue.append(written("a"))
    waiters = [queue.durable() for _ in range(3)]
    await turn()
    waiters[1].cancel()
    disk.release()
    await asyncio.gather(waiters[0], waiters[2])

    assert (disk.batches, disk.flushed, queue.failure) == ([["a"]], 1, None)
    await queue.close()


async def test_close_waits_for_what_was_taken() -> None:
    """Closing is over when all is durable, what was taken while a commit was under way too."""
    disk = SlowDisk()
    queue = GroupCommit(disk.write, disk.flush)
    queue.append(written("a"))
    await turn()
    queue.append(written("b"))
    closing = asyncio.create_task(queue.close())
    await turn()
    assert not closing.done()

    disk.release(2)
    await closing
    assert (disk.batches, disk.flushed) == ([["a"], ["b"]], 2)


async def test_nothing_is_taken_once_closing_has_begun() -> None:
    """An entry that comes too late is refused, since nobody would ever write it."""
    disk = SlowDisk()
    queue = GroupCommit(disk.write, disk.flush)
    queue.append(written("a"))
    closing = asyncio.create_task(queue.close())
    await turn()
    with pytest.raises(StoreUnavailableError, match="closed"):
        queue.append(written("late"))
    disk.release()
    await closing
    await queue.close()

    assert (disk.batches, queue.failure) == ([["a"]], "the store is closed")


async def test_close_after_a_failure_ends_the_thread() -> None:
    """A queue that has failed can be closed, and leaves no thread behind."""
    before = set(threading.enumerate())
    disk = SlowDisk(free=True)
    disk.fails = OSError("gone")
    queue = GroupCommit(disk.write, disk.flush)
    queue.append(written("a"))
    await queue.close()

    assert "group-commit" not in {thread.name for thread in set(threading.enumerate()) - before}
