"""One start of the gateway inside a simulation, from opening its store to whatever ends it.

It is put together by `app.build` over the real ledger, the real SQLite journal and the real network client. What is
ours: the disk behind SQLite, the flusher that waits in virtual time, and the ends that no program writes for itself.
"""

from __future__ import annotations

import contextlib
import tempfile
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw

from tallygate import app
from tallygate.storage.embedded import EmbeddedLedger
from tallygate.storage.replay import audit_file
from tallygate.storage.sqlite import SqliteJournal
from tests.sim.auditor import ALL_ENTRIES
from tests.sim.loop import Process, SimLoop

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from tallygate.config import Settings
    from tallygate.core.audit.report import Report
    from tallygate.core.ledger.records import Written
    from tallygate.storage.journal import Contents, Row
    from tests.sim.auditor import Auditor
    from tests.sim.disk import Disk

WRITER = bytes(range(16))
PEPPER = bytes(32)
CHECKPOINT_PAGES = 64
"""SQLite moves its log into the file this often here: what happens once in thousands of calls should happen in each."""


@cache
def empty_store() -> bytes:
    """Return the file of a store that has just been made."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        SqliteJournal(path, WRITER).close()
        return path.read_bytes()


class SimFlusher:
    """Waits for the disk in virtual time; the flush itself is one step, at a time that is drawn."""

    def __init__(self, loop: SimLoop, flush: Callable[[], None]) -> None:
        self._loop = loop
        self._flush = flush
        self._done: Callable[[Exception | None], None] | None = None

    def begin(self, done: Callable[[Exception | None], None]) -> None:
        """Flush a little later, or much later."""
        self._done = done
        self._loop.call_later(self._delay_s(), self.hurry)

    def hurry(self) -> None:
        """Flush now, if it has not happened yet."""
        done, self._done = self._done, None
        if done is None:
            return
        failure = None
        try:
            self._flush()
        except Exception as error:  # noqa: BLE001  (as the thread does)
            failure = error
        self._loop.call_later(self._loop.draw.random() * 0.001, done, failure)

    async def close(self) -> None:
        """Nothing is under way."""

    def _delay_s(self) -> float:
        draw = self._loop.draw
        chance = draw.random()
        return draw.random() * (0.001 if chance < 0.8 else 0.03 if chance < 0.98 else 3.0)


class SimJournal(SqliteJournal):
    """The journal, watched by the auditor: what is written, and what the disk has acknowledged."""

    def __init__(self, running: Running, path: Path, disk: Disk, auditor: Auditor) -> None:
        self._running = running
        self._disk = disk
        self._auditor = auditor
        running.hurry_others()
        super().__init__(path, WRITER, vfs=disk.vfs)
        self._db.pragma("wal_autocheckpoint", CHECKPOINT_PAGES)

    def open(self) -> Contents:
        """Begin an epoch."""
        self._running.hurry_others()
        contents = super().open()
        self._auditor.saw_opened([raw for (raw,) in self._db.execute(ALL_ENTRIES)])
        return contents

    def write(self, entries: Sequence[Written], rows: Sequence[Row], time_ns: int) -> None:
        """Write a batch, once whoever else has the file has done with it."""
        self._running.hurry_others()
        super().write(entries, rows, time_ns)
        self._auditor.saw_written(self._epoch, entries)

    def flush(self) -> None:
        """Commit."""
        super().flush()
        if self._running.process.alive:
            self._auditor.saw_durable(self._epoch)

    def audit(self) -> Report:
        """Replay what another process would read now."""
        return audit_file(self._auditor.copy_store(self._disk))

    def abandon(self) -> None:
        """Let go of the file as the system does for a dead process: nothing is written any more."""
        closings: list[Callable[[], object]] = []
        for db in (self._reader, self._db):
            if db is not None:
                closings += (partial(db.config, apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1), partial(db.close, True))
        for act in (*closings, self._lock.release):
            with contextlib.suppress(apsw.Error):
                act()


class Running:
    """One start of the gateway.

    Attributes:
        process: What dies with it.
        gateway: Its parts, once it serves.
        callers: How to close each caller's connection.
        stopping: Whether it is ending.
        told_to_stop: Whether the operator wants it to.
        ended_well: Whether it has stopped with everything durable.
        presumed_dead: Whether another may have been started, though it lives.
    """

    def __init__(self, loop: SimLoop, number: int, others: Callable[[], Sequence[Running]]) -> None:
        self.process = Process(f"gateway {number}")
        self.journal: SimJournal | None = None
        self.ledger: EmbeddedLedger | None = None
        self.gateway: app.Gateway | None = None
        self.flusher: SimFlusher | None = None
        self.callers: list[Callable[[], None]] = []
        self.stopping = False
        self.told_to_stop = False
        self.presumed_dead = False
        self.ended_well = False
        self._loop = loop
        self._others = others
        self._sweeping: asyncio.Task[None]

    @property
    def serves(self) -> bool:
        """Whether a caller can reach it."""
        return self.process.alive and self.gateway is not None and not self.stopping

    @property
    def epoch(self) -> int:
        """The epoch that it began in its store."""
        return 0 if self.journal is None else self.journal._epoch

    def hurry_others(self) -> None:
        """Let whoever has the file's lock come to the end of its commit, as one would wait for it."""
        for other in self._others():
            if other is not self and other.flusher is not None and other.process.alive:
                other.process.context.run(other.flusher.hurry)

    async def start(self, settings: Settings, path: Path, disk: Disk, auditor: Auditor) -> None:
        """Open the store and come to serve; runs in the process."""
        loop = self._loop
        self.journal = SimJournal(self, path, disk, auditor)
        self.ledger = ledger = EmbeddedLedger(
            self.journal,
            now_ns=loop.now_ns,
            entropy=loop.draw.randbytes,
            wait_for_hold=settings.store.hold_durability == "wait",
            flusher=self._make_flusher,
        )
        machine = app.Machine(loop.now_ns, loop.time, loop.draw.randbytes, loop.draw.randrange)
        gateway = app.build(settings, ledger, PEPPER, machine)
        await app.sweep(settings, gateway)
        await app.publish_prices(settings, ledger)
        self._sweeping = loop.create_task(app._keep_sweeping(settings, gateway))
        self.gateway = gateway

    async def stop(self, drain_s: float) -> None:
        """End as on SIGTERM; runs in the process."""
        gateway, ledger = self.gateway, self.ledger
        assert gateway is not None
        assert ledger is not None
        self._sweeping.cancel()
        public: Any = self
        await app._drain(gateway, public, drain_s)
        await gateway.upstreams.close()
        await ledger.close()
        self.ended_well = ledger._queue._failure is None

    def stop_accepting(self) -> None:
        """Take no more callers; as the HTTP server does when the gateway stops."""
        self.stopping = True

    def abort(self) -> None:
        """Close every connection, as the HTTP server does in the end: whoever is too slow is gone."""
        for leave in self.callers:
            leave()

    def bury(self) -> None:
        """Clear away what is left of it after its death."""
        if self.ledger is not None:
            self.ledger._queue._failure = "dead"  # or its last clean-ups would try to end holds
        self.process.bury()
        if self.journal is not None:
            self.journal.abandon()

    def _make_flusher(self, flush: Callable[[], None]) -> Any:
        self.flusher = SimFlusher(self._loop, flush)
        return self.flusher
