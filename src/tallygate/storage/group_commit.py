"""Durability for many at the price of one: commits at once when idle, groups what comes while one is under way.

Entries are taken in the order in which they were made and written as one batch; then a thread waits for the disk.
Only the waiting is the thread's: everything else is done on the event loop, since two threads that both run Python
make each other wait. After the first failure nothing is committed any more: what the disk has kept is then unknown,
and only the next start, which reads it back, may go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple, Protocol

from tallygate.core.errors import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tallygate.core.ledger.records import Written
    from tallygate.storage.journal import Row


class Flusher(Protocol):
    """Who waits for the disk, so that the event loop does not; one flush at a time."""

    def begin(self, done: Callable[[Exception | None], None]) -> None:
        """Flush, then call `done` on the event loop with what went wrong, if anything did."""

    async def close(self) -> None:
        """End it; no flush is under way any more."""


class FlushThread:
    """Waits for the disk in a thread of its own.

    Args:
        flush: Waits until what was written is durable.
    """

    def __init__(self, flush: Callable[[], None]) -> None:
        self._flush = flush
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[Callable[[Exception | None], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="group-commit", daemon=True)
        self._thread.start()

    def begin(self, done: Callable[[Exception | None], None]) -> None:
        """Let the thread flush."""
        self._jobs.put(done)

    async def close(self) -> None:
        """End the thread."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        while (done := self._jobs.get()) is not None:
            failure = None
            try:
                self._flush()
            except Exception as error:  # noqa: BLE001  (whatever it was, the books must not go on without it)
                failure = error
            self._loop.call_soon_threadsafe(done, failure)


class _Batch(NamedTuple):
    entries: list[Written]
    rows: list[Row]
    waiters: list[asyncio.Future[None]]


class GroupCommit:
    """A queue of entries in front of a store that takes one batch at a time.

    Args:
        write: Takes one batch into the store without waiting for the disk; called on the event loop.
        flush: Waits until that batch is durable; called by the flusher. The two alternate.
        flusher: Makes who waits for the disk.
    """

    def __init__(
        self,
        write: Callable[[list[Written], list[Row]], None],
        flush: Callable[[], None],
        flusher: Callable[[Callable[[], None]], Flusher] = FlushThread,
    ) -> None:
        self._write = write
        self._loop = asyncio.get_running_loop()
        self._gathering = _Batch([], [], [])
        self._committing: _Batch | None = None
        self._scheduled = False
        self._failure: str | None = None
        self._closed = False
        self._flusher = flusher(flush)

    @property
    def failure(self) -> str | None:
        """Why nothing is committed any more, or None while all is well."""
        return "the store is closed" if self._failure is None and self._closed else self._failure

    def check(self) -> None:
        """Ask before an act, so that one that cannot become durable does not even change the memory.

        Raises:
            StoreUnavailableError: An earlier commit failed, or the store is closed.
        """
        if self._failure is not None or self._closed:
            raise StoreUnavailableError(self.failure)

    def append(self, written: Written | None, *rows: Row) -> None:
        """Take an entry, and rows that become durable with it; or rows alone.

        Raises:
            StoreUnavailableError: An earlier commit failed, or the store is closed.
        """
        self.check()
        if written is not None:
            self._gathering.entries.append(written)
        if rows:
            self._gathering.rows.extend(rows)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._dispatch)

    def durable(self) -> asyncio.Future[None]:
        """Return a future that is done when everything taken so far is durable."""
        waiter = self._loop.create_future()
        if self._failure is not None:
            waiter.set_exception(StoreUnavailableError(self._failure))
        elif self._gathering.entries or self._gathering.rows:
            self._gathering.waiters.append(waiter)
        elif self._committing is not None:
            self._committing.waiters.append(waiter)
        else:
            waiter.set_result(None)
        return waiter

    async def close(self) -> None:
        """Finish what was taken, then end the flusher; nothing more is taken from here on."""
        self._closed = True
        with contextlib.suppress(StoreUnavailableError):  # whoever waited for an entry has been told already
            await self.durable()
        await self._flusher.close()

    def _dispatch(self) -> None:
        if self._failure is not None:
            return
        batch = self._committing = self._gathering
        self._gathering = _Batch([], [], [])
        try:
            self._write(batch.entries, batch.rows)
        except Exception as error:  # noqa: BLE001  (the same)
            self._finish(error)
        else:
            self._flusher.begin(self._finish)

    def _finish(self, error: Exception | None) -> None:
        batch, self._committing = self._committing, None
        waiters = [] if batch is None else batch.waiters
        if error is not None:
            self._failure = failure = f"{type(error).__name__}: {error}"
            _wake(waiters + self._gathering.waiters, failure)
            return
        _wake(waiters, None)
        if self._gathering.entries or self._gathering.rows:
            self._dispatch()
        else:
            self._scheduled = False


def _wake(waiters: list[asyncio.Future[None]], failure: str | None) -> None:
    for waiter in waiters:
        if waiter.done():
            continue
        if failure is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(StoreUnavailableError(failure))
