"""Stores to run the contract on: each outlives the ledgers that are opened on it, one after the other."""

from __future__ import annotations

import asyncio
import threading
from itertools import count
from typing import TYPE_CHECKING, Protocol

import apsw

from tallygate.core.errors import StoreUnavailableError
from tallygate.core.idempotency import Claim
from tallygate.core.ledger.entry import Flag
from tallygate.core.ledger.records import HoldRequest, Sending, SendingEnd
from tallygate.core.pricing import Price, Sheet, UpstreamRate
from tallygate.core.usage import Usage
from tallygate.storage.embedded import EmbeddedLedger
from tallygate.storage.memory import MemoryDisk, MemoryJournal
from tallygate.storage.sqlite import SqliteJournal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tallygate.core.audit.report import Report
    from tallygate.core.idempotency import Claimed
    from tallygate.core.ledger.records import Account, Hold, Written
    from tallygate.core.ledger.statement import History
    from tallygate.storage.journal import Contents, Journal, Row, StoredAccount
    from tallygate.storage.outbox import Outbox

WRITER = bytes(range(16))
USD = 10**12
DEADLINE_S = 120
"""No wait of a test lasts longer; reaching it is a failure, never a pace."""

MODEL = "Qwen/Qwen3"
SHEET = Sheet(1, 100_000, {MODEL: Price(100, 300, 7)})
HOLD = 143_008
"""What `request` holds: 1000 * 100 + 100 * 300 + 7, and 10 %."""
FIRST = Sending(0, 0, "nodes", "gonka1a")
SECOND = Sending(0, 1, "nodes", "gonka1b")
RATE = UpstreamRate(1, 1, 1000)
CLAIM = Claim(b"k" * 32, b"r" * 32)
OTHER_BODY = Claim(CLAIM.digest, b"s" * 32)
"""Of another request under the same key."""
_MACHINES = count(1)
"""So that no two machines ever give the same randomness."""


def request(inference: str, account: Account | str, claim: Claim | None = None) -> HoldRequest:
    """Return a request for a hold of `HOLD`."""
    owner = account if isinstance(account, str) else account.id
    return HoldRequest(inference, owner, "key_1", MODEL, 1000, 100, FIRST, claim=claim)


def end(sending: Sending = FIRST, bill: int = 0) -> SendingEnd:
    """Return the end of a sending."""
    return SendingEnd(sending, 0, 0, bill)


def usage(prompt: int = 50, completion: int = 20) -> Usage:
    """Return a usage: 12,108 pico-dollars by default."""
    return Usage(prompt, completion, Flag(0))


class Store(Protocol):
    """Something on which ledgers can be opened."""

    def journal(self) -> Journal:
        """Return a new journal, as a new process would have."""

    def fence(self) -> None:
        """Begin a later epoch behind the back of whoever has the store open."""

    def forget_owner(self) -> None:
        """Let the store be opened again, though whoever has it is alive."""


class MemoryStore:
    """A disk in memory."""

    def __init__(self) -> None:
        self.disk = MemoryDisk(WRITER)

    def journal(self) -> Journal:
        """Return a journal on the disk."""
        return MemoryJournal(self.disk)

    def fence(self) -> None:
        """Open it a second time."""
        MemoryJournal(self.disk).open()

    def forget_owner(self) -> None:
        """Do nothing: this disk keeps nobody out."""


class SqliteStore:
    """A file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def journal(self) -> Journal:
        """Return a journal on the file."""
        return SqliteJournal(self.path, WRITER)

    def fence(self) -> None:
        """Do what a process would that ignores the lock."""
        db = apsw.Connection(str(self.path))
        db.execute("UPDATE installation SET epoch = epoch + 1")
        db.close()

    def forget_owner(self) -> None:
        """Do what an operator might who takes a stopped process for dead: remove its lock."""
        self.path.with_name(f"{self.path.name}.lock").unlink()


class Flaky:
    """A journal that fails on demand, at `write` or at `flush`, before or after its disk has taken the batch.

    While its `gate` is closed, nothing that is written becomes durable; claims are found `finds_left` times, if so many
    are given.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.gate = threading.Event()
        self.gate.set()
        self.fails_at: str | None = None
        self.finds_left: int | None = None
        self.writes = 0

    def open(self) -> Contents:
        """Open the journal."""
        return self._journal.open()

    def write(self, entries: Sequence[Written], rows: Sequence[Row], time_ns: int) -> None:
        """Write, or fail."""
        self.writes += 1
        if self.fails_at == "write":
            raise StoreUnavailableError("disk I/O error")
        self._journal.write(entries, rows, time_ns)

    def flush(self) -> None:
        """Flush, or fail although the disk has taken it."""
        assert self.gate.wait(30), "the gate was never opened"
        self._journal.flush()
        if self.fails_at == "flush":
            raise StoreUnavailableError("disk I/O error")

    def find_claim(self, digest: bytes) -> Claimed | None:
        """Find a claim, unless that has been done often enough."""
        if self.finds_left is not None:
            self.finds_left -= 1
            if self.finds_left < 0:
                raise StoreUnavailableError("unable to open database file")
        return self._journal.find_claim(digest)

    def find_old_claims(self, before_ns: int, count_max: int) -> Sequence[bytes]:
        """Find old claims."""
        return self._journal.find_old_claims(before_ns, count_max)

    def audit(self) -> Report:
        """Audit."""
        return self._journal.audit()

    def history(self, account: str) -> AbstractContextManager[tuple[StoredAccount, History]]:
        """Lend a history."""
        return self._journal.history(account)

    def close(self) -> None:
        """Close."""
        self._journal.close()


class Wrapper:
    """Puts a `Flaky` around a journal, and keeps it."""

    flaky: Flaky

    def __call__(self, journal: Journal) -> Journal:
        """Wrap."""
        self.flaky = Flaky(journal)
        return self.flaky


class Machine:
    """Opens ledgers on one store, with a clock and randomness that go on from one to the next."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._ticks = count(10**18)
        self._numbers = count(next(_MACHINES) * 10**6)
        self._open: list[EmbeddedLedger] = []
        self.make_outbox: Callable[[], Outbox | None] = lambda: None

    def now_ns(self) -> int:
        """Return a later time at each look."""
        return next(self._ticks)

    def skip(self, duration_ns: int) -> None:
        """Let time go by."""
        self._ticks = count(next(self._ticks) + duration_ns)

    def entropy(self, size: int) -> bytes:
        """Return bytes that never repeat."""
        return next(self._numbers).to_bytes(size, "big")

    async def start(
        self, wrap: Callable[[Journal], Journal] = lambda journal: journal, *, wait: bool = True
    ) -> EmbeddedLedger:
        """Open a ledger; the first one also gets its prices."""
        journal = wrap(self.store.journal())
        outbox = self.make_outbox()
        ledger = EmbeddedLedger(journal, now_ns=self.now_ns, entropy=self.entropy, wait_for_hold=wait, outbox=outbox)
        self._open.append(ledger)
        if not ledger.sheet.version:
            await ledger.publish(SHEET, "operator")
        return ledger

    async def restart(self, *, wait: bool = True) -> EmbeddedLedger:
        """Close what is open and open it again."""
        await self.stop()
        return await self.start(wait=wait)

    async def succeed(self) -> EmbeddedLedger:
        """Open it again beside what is open, which is taken for dead."""
        self.store.forget_owner()
        return await self.start()

    async def now_and_restarted(self, ledger: EmbeddedLedger) -> AsyncIterator[EmbeddedLedger]:
        """Give a ledger, and then the one that a restart finds in its place."""
        yield ledger
        yield await self.restart()

    async def stop(self) -> None:
        """Close what is open."""
        while self._open:
            await self._open.pop().close()


async def turn_until(is_so: Callable[[], object]) -> None:
    """Let the event loop go round until something is so: how often, is for the disk's thread and the machine to say."""
    deadline_s = asyncio.get_running_loop().time() + DEADLINE_S
    while not is_so():
        assert asyncio.get_running_loop().time() < deadline_s, "it never was"
        await asyncio.sleep(0)


async def fund(ledger: EmbeddedLedger, picousd: int = USD) -> Account:
    """Open an account with a balance."""
    account = await ledger.open_account("Ann", "operator")
    await ledger.deposit(account.id, picousd, None, "operator")
    return account


async def serve(ledger: EmbeddedLedger, account: Account, inference: str) -> Hold:
    """Hold and settle one inference."""
    hold = await ledger.hold(request(inference, account))
    await ledger.settle(hold, end(), usage())
    return hold


def find_balance(ledger: EmbeddedLedger, account_id: str) -> tuple[int, int]:
    """Return what is available and held."""
    account = ledger.account(account_id)
    return account.available, account.held


async def meaning(ledger: EmbeddedLedger, claim: Claim = CLAIM) -> tuple[str, int | None] | None:
    """Return what a claim stands for: the inference and its cost."""
    known = await ledger.find_claim(claim)
    return known and (known.subject, known.picousd)
