"""A journal that keeps everything in memory: the fast twin of `sqlite`, for tests and trials. Nothing survives it."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tallygate.core.audit.audit import Audit
from tallygate.core.errors import FencedError, StoreUnavailableError
from tallygate.core.idempotency import Claimed
from tallygate.core.ledger import entry as e
from tallygate.core.ledger.batch import GENESIS, header_hash
from tallygate.core.ledger.entry import decode_entry
from tallygate.core.ledger.records import UnknownAccountError
from tallygate.core.ledger.spending import KeySpent
from tallygate.ports import KeptEvent
from tallygate.storage.journal import (
    AccountTerms,
    ClaimEnded,
    Contents,
    EventGone,
    KeyRow,
    NewAccount,
    NoteWritten,
    Row,
    StoredAccount,
    places_of,
    seal,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tallygate.core.audit.report import Report
    from tallygate.core.ledger.records import Written
    from tallygate.core.ledger.statement import Period


@dataclass(slots=True)
class MemoryDisk:
    """What a file is to SQLite: it outlives the journals that are opened on it, one after the other."""

    writer: bytes
    epoch: int = 0
    head: bytes = GENESIS
    batches: list[tuple[bytes, list[bytes]]] = field(default_factory=list)
    accounts: dict[str, StoredAccount] = field(default_factory=dict)
    keys: dict[str, KeyRow] = field(default_factory=dict)
    open_holds: set[str] = field(default_factory=set)
    events: dict[str, KeptEvent] = field(default_factory=dict)
    claims: dict[bytes, Claimed] = field(default_factory=dict)
    spent: dict[tuple[str, str], KeySpent] = field(default_factory=dict)
    notes: set[str] = field(default_factory=set)
    places: set[tuple[object, ...]] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)  # an audit runs in a thread beside the writer


class MemoryHistory:
    """The entries of one account in memory."""

    def __init__(self, account: str, raws: list[bytes]) -> None:
        self.account = account
        self._raws = raws

    @property
    def last(self) -> int:
        """The number of the last entry."""
        return len(self._raws)

    def entry(self, number: int) -> bytes:
        """Return one entry."""
        return self._raws[number - 1]

    def entries(self, period: Period) -> Iterator[tuple[int, bytes]]:
        """Return the entries of a period with their numbers."""
        return enumerate(self._raws[period.after : period.to], period.after + 1)


class MemoryJournal:
    """One process's journal on a `MemoryDisk`; a later one on the same disk fences it."""

    def __init__(self, disk: MemoryDisk) -> None:
        self._disk = disk
        self._epoch = 0
        self._broken: str | None = None

    def open(self) -> Contents:
        """Begin a new epoch and return what is there."""
        disk = self._disk
        disk.epoch += 1
        self._epoch = disk.epoch
        raws = [raw for _, entries in disk.batches for raw in entries]
        entries = [(raw, decode_entry(raw)) for raw in raws]
        return Contents(
            writer=disk.writer,
            epoch=disk.epoch,
            accounts=list(disk.accounts.values()),
            keys=list(disk.keys.values()),
            sheets=[raw for raw, entry in entries if entry.kind == e.SHEET],
            referenced_deposits=[raw for raw, entry in entries if entry.reference is not None],
            open_holds=[
                [raw for raw, entry in entries if entry.inference == inference] for inference in sorted(disk.open_holds)
            ],
            events=sorted(disk.events.values(), key=lambda event: (event.created_ns, event.id)),
            claims_under_way=[claimed for claimed in disk.claims.values() if claimed.picousd is None],
            spent=list(disk.spent.values()),
            notes=sorted(disk.notes),
        )

    def write(self, entries: Sequence[Written], rows: Sequence[Row], time_ns: int) -> None:
        """Keep one batch, or nothing of it; after the first failure, nothing ever."""
        if self._broken is not None:
            raise StoreUnavailableError(self._broken)
        try:
            self._check(entries)
            claims = _with_rows(self._disk.claims, rows)
        except StoreUnavailableError as error:
            self._broken = str(error)
            raise
        disk = self._disk
        with disk.lock:
            if entries:  # there is no empty batch
                header = seal(entries, disk.writer, disk.epoch, len(disk.batches) + 1, disk.head, time_ns)
                disk.head = header_hash(header)
                disk.batches.append((header, [written.raw for written in entries]))
            for row in rows:
                self._put_row(row)
            disk.claims = claims
            for written in entries:
                disk.places.update(places_of(written.entry))
                self._keep_state(written.entry)

    def flush(self) -> None:
        """Memory is as durable as it gets."""

    def find_claim(self, digest: bytes) -> Claimed | None:
        """Return the claim under a digest."""
        return self._disk.claims.get(digest)

    def find_old_claims(self, before_ns: int, count_max: int) -> Sequence[bytes]:
        """Return the digests of claims that have ended and were taken before a time."""
        old = [c for c in self._disk.claims.values() if c.picousd is not None and c.created_ns < before_ns]
        return [claimed.digest for claimed in sorted(old, key=lambda claimed: claimed.created_ns)[:count_max]]

    def audit(self) -> Report:
        """Replay every batch."""
        disk = self._disk
        audit = Audit()
        with disk.lock:
            for header, entries in disk.batches:
                audit.take(header, entries)
            accounts = {a.id: (a.available, a.held, a.sequence) for a in disk.accounts.values()}
            heads = {disk.writer: (len(disk.batches), disk.head)}
            return audit.finish(accounts, set(disk.open_holds), heads, set(disk.spent.values()))

    @contextmanager
    def history(self, account: str) -> Iterator[tuple[StoredAccount, MemoryHistory]]:
        """Lend an account and its entries as they are now."""
        disk = self._disk
        with disk.lock:
            if account not in disk.accounts:
                raise UnknownAccountError(account)
            raws = [raw for _, entries in disk.batches for raw in entries if decode_entry(raw).account == account]
            found = disk.accounts[account], MemoryHistory(account, raws)
        yield found

    def close(self) -> None:
        """Nothing to let go of."""

    def _check(self, entries: Sequence[Written]) -> None:
        """Refuse what SQLite's fence and unique indexes refuse."""
        disk = self._disk
        if disk.epoch != self._epoch:
            raise FencedError(f"epoch {self._epoch} is over: epoch {disk.epoch} has begun")
        places = [place for written in entries for place in places_of(written.entry)]
        if len(set(places)) != len(places) or disk.places.intersection(places):
            raise StoreUnavailableError("an entry's place is taken: an inference has one hold and one ending")
        opened = disk.open_holds | {w.entry.inference for w in entries if w.entry.kind == e.HOLD}
        if any(w.entry.kind in e.ENDINGS and w.entry.inference not in opened for w in entries):
            raise StoreUnavailableError("an ending has no open hold in the store")

    def _put_row(self, row: Row) -> None:
        disk = self._disk
        match row:
            case NewAccount():
                disk.accounts[row.id] = StoredAccount(row.id, row.name, row.created_ns, 0, 0, 0)
            case AccountTerms():
                account = disk.accounts[row.id]
                disk.accounts[row.id] = account._replace(suspended=row.suspended, limits=row.limits)
            case KeyRow():
                disk.keys[row.key.id] = row
            case KeptEvent():
                disk.events[row.id] = row
            case EventGone():
                disk.events.pop(row.id, None)
            case NoteWritten():
                disk.notes.discard(row.reason)
            case KeySpent():
                disk.spent[row.account, row.key] = row

    def _keep_state(self, entry: e.Entry) -> None:
        disk = self._disk
        if entry.account is not None:
            disk.accounts[entry.account] = disk.accounts[entry.account]._replace(
                available=entry.available_after or 0,
                held=entry.held_after or 0,
                sequence=entry.account_sequence or 0,
            )
        if entry.inference is not None:
            if entry.kind == e.HOLD:
                disk.open_holds.add(entry.inference)
            elif entry.kind in e.ENDINGS:
                disk.open_holds.discard(entry.inference)


def _with_rows(claims: dict[bytes, Claimed], rows: Sequence[Row]) -> dict[bytes, Claimed]:
    """Return the claims as these rows leave them; refuses what SQLite refuses."""
    after = claims
    for row in rows:
        if isinstance(row, Claimed | ClaimEnded):
            after = dict(claims) if after is claims else after
            known = after.get(row.digest)
            if isinstance(row, Claimed):
                if known is not None and known.picousd is None:
                    raise StoreUnavailableError("an idempotency key is claimed once")
                after[row.digest] = row
            elif row.picousd is None:
                after.pop(row.digest, None)
            elif known is None or known.picousd is not None:
                raise StoreUnavailableError("a claim has ended that was not under way")
            else:
                after[row.digest] = known._replace(picousd=row.picousd)
    return after
