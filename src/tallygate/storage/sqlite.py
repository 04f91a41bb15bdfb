"""A journal in one SQLite file, through `apsw` (which brings its own, current SQLite).

Write-ahead log with `synchronous = FULL`: a commit that has returned is on the disk, if the disk honours fsync.
One process owns the file, by a lock on a side file that the server and the command line take alike; beyond that,
an epoch in the file fences a process that was presumed dead. After the first error nothing more is written or
synced on the handle, for a second fsync after a failed one can report success over lost data.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from typing import TYPE_CHECKING, Any, Final

import apsw
import filelock

from tallygate.core.errors import FencedError, StoreUnavailableError
from tallygate.core.idempotency import Claimed
from tallygate.core.ledger import entry as e
from tallygate.core.ledger.batch import GENESIS, header_hash
from tallygate.core.ledger.entry import decode_entry
from tallygate.core.ledger.spending import KeySpent, Recount
from tallygate.core.proofs.totals import Totals
from tallygate.ports import KeptEvent
from tallygate.storage.access_rows import key_columns, limits_column, read_account, read_key
from tallygate.storage.journal import (
    AccountTerms,
    ClaimEnded,
    Contents,
    EventGone,
    KeyRow,
    NewAccount,
    NotAStoreError,
    NoteWritten,
    Row,
    seal,
)
from tallygate.storage.keeping.account_history import SqliteHistory, open_history
from tallygate.storage.migrating import migrate
from tallygate.storage.proofs.tiles import TILE_BATCHES, OpenTile, Tile
from tallygate.storage.replay import audit_apart
from tallygate.storage.sql import QUERIES, SCHEMA
from tallygate.storage.sqlite_file import (
    APPLICATION_ID,
    BUSY_MS,
    SCHEMA_VERSION,
    check_version,
    entry_row,
    open_for_reading,
    read_all_spending,
    reading,
    spending_row,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tallygate.core.audit.report import Report
    from tallygate.core.ledger.records import Written
    from tallygate.storage.journal import StoredAccount

__all__ = ["NotAStoreError", "SqliteJournal", "StoreLockedError"]

LOG_PIECE_BYTES: Final = 64 * 1024
"""How much of the log is written back at once; SQLite's own files take less than 128 KiB."""

_PRAGMAS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA wal_autocheckpoint = 4000",  # pages: a checkpoint each 16 MB instead of 4, for steadier commits
)


class StoreLockedError(Exception):
    """Another process has the store open for writing."""


class SqliteJournal:
    """The store of one installation in a file.

    Args:
        path: The database file; made, with its folder, where it is missing and `create` says so.
        writer: 16 random bytes, used as the installation's id if the file is new.
        vfs: The name of the SQLite VFS to go through; None is the system's files.
    """

    def __init__(self, path: Path, writer: bytes, *, create: bool = True, vfs: str | None = None) -> None:
        if not create and not (path.exists() and path.stat().st_size):
            raise NotAStoreError(f"there is no store at {path}; `tallygate init` makes one")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = path
        self._vfs = vfs
        self._new_writer = writer
        self._lock = lock_store(path)
        try:
            self._db = self._connect()
        except BaseException:
            self._lock.release()
            raise
        self._reader: apsw.Connection | None = None
        self._writer = b""
        self._epoch = self._sequence = 0
        self._head = GENESIS
        self._tile = OpenTile(0, Totals())
        self._broken: str | None = None

    def open(self) -> Contents:
        """Begin a new epoch, durably, and return what is there."""
        with reading(self._path):
            self._db.execute("BEGIN IMMEDIATE")
            ((self._writer, self._epoch, self._sequence, self._head),) = self._db.execute(QUERIES["begin_epoch"])
            self._tile = self._fill_tiles()
            self._db.execute("COMMIT")
            return Contents(
                writer=self._writer,
                epoch=self._epoch,
                accounts=[read_account(row) for row in self._db.execute(QUERIES["all_accounts"])],
                keys=[read_key(row) for row in self._db.execute(QUERIES["all_keys"])],
                sheets=[row[0] for row in self._db.execute(QUERIES["all_sheets"])],
                referenced_deposits=[row[0] for row in self._db.execute(QUERIES["all_referenced_deposits"])],
                open_holds=self._open_holds(),
                events=[KeptEvent(*row) for row in self._db.execute(QUERIES["all_events"])],
                claims_under_way=[Claimed(*row) for row in self._db.execute(QUERIES["claims_under_way"])],
                spent=list(read_all_spending(self._db)),
                notes=[row[0] for row in self._db.execute(QUERIES["all_pending_notes"])],
            )

    def write(self, entries: Sequence[Written], rows: Sequence[Row], time_ns: int) -> None:
        """Write one batch into a transaction; the pages stay in memory until `flush`."""
        if self._broken is not None:
            raise StoreUnavailableError(self._broken)
        sequence, head, header = self._sequence, self._head, None
        if entries:  # there is no empty batch
            sequence += 1
            header = seal(entries, self._writer, self._epoch, sequence, head, time_ns)
            head = header_hash(header)
        with self._breaking():
            self._db.execute("BEGIN IMMEDIATE")
            self._advance(sequence, head)
            for row in rows:
                self._put_row(row)
            if header is not None:
                self._append(sequence, header, head, entries)
        self._sequence, self._head = sequence, head

    def flush(self) -> None:
        """Commit the transaction: when this returns it is on the disk; after the first failure, nothing ever is."""
        if self._broken is not None:
            raise StoreUnavailableError(self._broken)
        with self._breaking():
            self._db.execute("COMMIT")

    def find_claim(self, digest: bytes) -> Claimed | None:
        """Return the claim that is durable under a digest."""
        return next((Claimed(*row) for row in self._look_up(QUERIES["find_claim"], (digest,))), None)

    def find_old_claims(self, before_ns: int, count_max: int) -> Sequence[bytes]:
        """Return the digests of claims that have ended and were taken before a time, oldest first."""
        return [row[0] for row in self._look_up(QUERIES["old_claims"], (before_ns, count_max))]

    def adopt(self, epoch: int, batches: Iterable[tuple[bytes | None, Sequence[Written], Sequence[Row]]]) -> None:
        """Take the batches of another store into a new one as they are: all of them, durably, or none.

        Args:
            epoch: The last one of the other store; the next start here begins a later one.
            batches: Header and entries of each, and rows; rows alone where there is no header.
        """
        recount = Recount()
        with self._breaking():
            self._db.execute("BEGIN IMMEDIATE")
            for header, entries, rows in batches:
                for row in rows:
                    self._put_row(row)
                for written in entries:
                    recount.take(written.entry)
                if header is not None:
                    self._sequence, self._head = self._sequence + 1, header_hash(header)
                    self._append(self._sequence, header, self._head, entries)
            for spent in recount.rows():
                self._put_row(spent)
            self._db.execute(QUERIES["adopt"], {"epoch": epoch, "sequence": self._sequence, "head": self._head})
            self._db.execute("COMMIT")

    def audit(self) -> Report:
        """Replay the file as it is now, through a connection that only reads."""
        return audit_apart(self._path)

    def history(self, account: str) -> AbstractContextManager[tuple[StoredAccount, SqliteHistory]]:
        """Lend an account and its entries as they are now, through a connection that only reads."""
        return open_history(self._path, account)

    def close(self) -> None:
        """Close the file and let others have it."""
        try:
            if self._reader is not None:
                self._reader.close()
            self._db.close()
        finally:
            self._lock.release()

    def _look_up(self, query: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        """Read through a connection of its own, since the writing one may be waiting for the disk in its thread."""
        try:
            if self._reader is None:
                self._reader = open_for_reading(self._path, self._vfs)
            return list(self._reader.execute(query, values))
        except apsw.Error as error:
            why = f"{type(error).__name__}: {error}"
        raise StoreUnavailableError(why)

    def _connect(self) -> apsw.Connection:
        with reading(self._path):
            if not self._path.exists():
                os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
            self._save_log()
            db = apsw.Connection(str(self._path), vfs=self._vfs)
            db.set_busy_timeout(BUSY_MS)
            ((objects,),) = db.execute(QUERIES["count_objects"])
            if not objects and not db.pragma("application_id"):
                self._create(db)
            migrate(db)
            check_version(db, self._path)
            for pragma in _PRAGMAS:
                db.execute(pragma)
            return db

    def _save_log(self) -> None:
        """Write the log that a crash has left over itself, and sync it.

        When a sync fails, the system may go on showing bytes that will never reach the disk. A start that read them
        and wrote behind them would lose it all with the power, since a log is read up to its first hole.
        """
        log = self._path.with_name(f"{self._path.name}-wal")
        if not log.exists():
            return
        file = apsw.VFSFile(self._vfs or "", str(log), [apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_WAL, 0])
        try:
            for offset in range(0, file.xFileSize(), LOG_PIECE_BYTES):
                size = min(LOG_PIECE_BYTES, file.xFileSize() - offset)
                file.xWrite(file.xRead(size, offset), offset)
            file.xSync(apsw.SQLITE_SYNC_FULL)
        finally:
            file.xClose()

    def _create(self, db: apsw.Connection) -> None:
        with db:
            db.execute(SCHEMA)
            db.execute(QUERIES["create_installation"], {"writer": self._new_writer, "head": GENESIS})
            db.pragma("application_id", APPLICATION_ID)
            db.pragma("user_version", SCHEMA_VERSION)

    def _advance(self, sequence: int, head: bytes) -> None:
        """Move the store's own head on, which only the process of the current epoch can."""
        fence = {"sequence": sequence, "head": head, "writer": self._writer, "epoch": self._epoch}
        self._db.execute(QUERIES["advance"], fence)
        if self._db.changes() != 1:
            raise FencedError(f"epoch {self._epoch} is over: another process has taken the store")

    def _put_row(self, row: Row) -> None:
        match row:
            case NewAccount():
                self._db.execute(QUERIES["open_account"], row)
            case AccountTerms(id_, suspended, limits):
                self._db.execute(QUERIES["put_account_terms"], (int(suspended), limits_column(limits), id_))
            case KeyRow():
                self._db.execute(QUERIES["put_key"], key_columns(row))
            case KeptEvent():
                self._db.execute(QUERIES["keep_event"], row)
            case EventGone():
                self._db.execute(QUERIES["forget_event"], row)
            case Claimed() | ClaimEnded():
                self._put_claim(row)
            case KeySpent():
                self._db.execute(QUERIES["put_spending"], spending_row(row))
            case NoteWritten():
                self._db.execute(QUERIES["drop_pending_note"], row)

    def _put_claim(self, row: Claimed | ClaimEnded) -> None:
        match row:
            case Claimed():
                self._db.execute(QUERIES["take_claim"], row)
            case ClaimEnded(digest, None):
                self._db.execute(QUERIES["free_claim"], (digest,))
                return
            case ClaimEnded(digest, picousd):
                self._db.execute(QUERIES["end_claim"], (picousd, digest))
        if self._db.changes() != 1:
            raise StoreUnavailableError("an idempotency key is claimed once, and its claim ends once")

    def _append(self, sequence: int, header: bytes, head: bytes, entries: Sequence[Written]) -> None:
        db = self._db
        db.execute(QUERIES["append_batch"], {"sequence": sequence, "header": header})
        db.executemany(
            QUERIES["append_entry"], [entry_row(sequence, written.raw, written.entry) for written in entries]
        )
        if tile := self._tile.take(head, [written.entry for written in entries]):
            self._put_tile(tile, db.last_insert_rowid())
        self._write_state(entries)

    def _put_tile(self, tile: Tile, position: int) -> None:
        self._db.execute(QUERIES["append_tile"], {**tile._asdict(), "position": position})

    def _fill_tiles(self) -> OpenTile:
        """Return the tile that is being filled, after what an older version has left to do."""
        db = self._db
        full, position, totals = next(db.execute(QUERIES["last_tile"]), (0, 0, Totals().encode()))
        tile = OpenTile(full, Totals.decode(totals))
        entries = itertools.groupby(db.execute(QUERIES["entries_after"], (position,)), key=lambda row: row[1])
        for sequence, header in db.execute(QUERIES["batches_of_span"], (full * TILE_BATCHES + 1, self._sequence)):
            found, rows = next(entries, (None, ()))
            batch = list(rows)
            if found != sequence:
                raise NotAStoreError("the entries in the store do not fit its batches; `tallygate verify` says where")
            if done := tile.take(header_hash(header), [decode_entry(row[2]) for row in batch]):
                self._put_tile(done, batch[-1][0])
        return tile

    def _write_state(self, entries: Sequence[Written]) -> None:
        """Bring the tables that a start reads up to the entries."""
        balances = {}
        opened, ended = set(), set()
        for entry, _, _ in entries:
            if entry.account is not None:
                balances[entry.account] = (entry.available_after, entry.held_after, entry.account_sequence)
            if entry.kind == e.HOLD:
                opened.add(entry.inference)
            elif entry.kind in e.ENDINGS:
                ended.add(entry.inference)
        db = self._db
        before = db.total_changes()
        db.executemany(QUERIES["balance_account"], [(*balance, name) for name, balance in balances.items()])
        if db.total_changes() - before != len(balances):
            raise StoreUnavailableError("an entry's account is not in the store")
        if still_open := opened - ended:
            db.executemany(QUERIES["open_hold"], [(inference,) for inference in still_open])
        if ended := ended - opened:
            before = db.total_changes()
            db.executemany(QUERIES["end_hold"], [(inference,) for inference in ended])
            if db.total_changes() - before != len(ended):
                raise StoreUnavailableError("an ending has no open hold in the store")

    def _open_holds(self) -> list[list[bytes]]:
        holds: dict[str | None, list[bytes]] = {}
        for (raw,) in self._db.execute(QUERIES["open_hold_entries"]):
            holds.setdefault(decode_entry(raw).inference, []).append(raw)
        return list(holds.values())

    @contextlib.contextmanager
    def _breaking(self) -> Iterator[None]:
        """Take note of a failure: whatever the disk has kept is then unknown until the next start reads it."""
        done = False
        try:
            yield
            done = True
        except StoreUnavailableError as error:
            self._break(str(error))
            raise
        except apsw.Error as error:
            self._break(f"{type(error).__name__}: {error}")
            raise StoreUnavailableError(self._broken) from None
        finally:
            if not done and self._broken is None:  # a defect of ours, on its way up
                self._break("a batch could not be written")

    def _break(self, why: str) -> None:
        self._broken = why
        with contextlib.suppress(apsw.Error):
            self._db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        with contextlib.suppress(apsw.Error):
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")


def lock_store(path: Path) -> filelock.BaseFileLock:
    """Take the lock that makes a store one process's own; release it to let others have the store.

    Raises:
        StoreLockedError: Another process has it.
    """
    # Beside the file itself, whatever links led to it: two names of one store must not be two locks.
    lock = filelock.FileLock(f"{path.resolve()}.lock", timeout=0, mode=0o600, thread_local=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise StoreLockedError(f"another process is using the store {path}") from None
    return lock
