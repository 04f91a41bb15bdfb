"""What the file of a store is: how it is recognised, opened for reading, and which columns an entry has in it.

Shared by who writes the file (`sqlite`) and who proves it (`replay`); nothing here writes.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import apsw

from tallygate.core.ledger import entry as e
from tallygate.core.ledger.spending import KeySpent
from tallygate.core.proofs.totals import MalformedTotalsError
from tallygate.storage.journal import NotAStoreError, slot_of
from tallygate.storage.sql import QUERIES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCHEMA_VERSION: Final = 6
APPLICATION_ID: Final = 0x54616C79
"""`Taly` in ASCII: lets `file` and us recognise a store."""

BUSY_MS: Final = 500
"""How long a write waits for a stranger's lock (a shell, a backup): short, since the event loop waits with it."""


def open_for_reading(path: Path, vfs: str | None = None) -> apsw.Connection:
    """Return a connection to a store that cannot write, through a SQLite VFS; None is the system's files.

    No two threads may use it at a time: to lock it for each column would cost more than to read it.
    """
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_NOMUTEX, vfs=vfs)
    db.set_busy_timeout(BUSY_MS)
    check_version(db, path)
    return db


def check_version(db: apsw.Connection, path: Path) -> None:
    """Raise NotAStoreError unless the file is a store of this version."""
    if db.pragma("application_id") != APPLICATION_ID:
        raise NotAStoreError(f"{path} is not a Tallygate store")
    if (version := db.pragma("user_version")) != SCHEMA_VERSION:
        raise NotAStoreError(f"{path} has store version {version}; this program works with {SCHEMA_VERSION}")


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what goes wrong while a store is opened or read into an error that names the file."""
    try:
        yield
    except (apsw.Error, e.MalformedEntryError, MalformedTotalsError) as error:
        raise NotAStoreError(f"{path} cannot be read as a store: {error}") from None


def spending_row(spent: KeySpent) -> tuple[object, ...]:
    """Return the row of what a key has spent."""
    account, key, day, of_day, month, of_month, total = spent
    return account, key, day, str(of_day), month, str(of_month), str(total)


def read_all_spending(db: apsw.Connection) -> set[KeySpent]:
    """Return what each key has spent, as the tables say it.

    Raises:
        NotAStoreError: What they say is no amount.
    """
    try:
        return {
            KeySpent(account, key, day, int(of_day), month, int(of_month), int(total))
            for account, key, day, of_day, month, of_month, total in db.execute(QUERIES["all_spending"])
        }
    except ValueError as error:
        raise NotAStoreError(f"what keys have spent cannot be read: {error}") from None


def entry_row(sequence: int, raw: bytes, entry: e.Facts) -> tuple[object, ...]:
    """Return the row of an entry: its bytes, and beside them what the store finds it by."""
    return (
        sequence,
        raw,
        entry.kind,
        entry.account,
        entry.account_sequence,
        entry.inference,
        slot_of(entry),
        entry.reference,
    )
