"""Copies of a whole store: taken while it is in use, and put in its place again.

SQLite's own backup copies the pages of one moment, with what is in the log; whoever has the store open goes on
writing. A copy is one file. It is proved by its audit: when it is taken, and again before it becomes a store.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import apsw

from tallygate.storage.journal import NotAStoreError
from tallygate.storage.keeping.placing import Place, identify, leave_note, placing
from tallygate.storage.replay import audit_file
from tallygate.storage.sqlite import SqliteJournal
from tallygate.storage.sqlite_file import APPLICATION_ID, BUSY_MS, SCHEMA_VERSION, reading
from tallygate.wholefile import whole_file

if TYPE_CHECKING:
    from pathlib import Path

    from tallygate.core.audit.report import Report
    from tallygate.storage.keeping.placing import Identity


class DamagedBackupError(Exception):
    """The books in a backup do not add up; the first problem is told."""


def back_up(store: Path, target: Path) -> tuple[Identity, Report]:
    """Copy a store into a new file, whoever uses it, and replay the copy; it is kept whatever the report says.

    Raises:
        NotAStoreError: The file is no store of ours.
        FileExistsError: The target is there already.
    """
    with whole_file(target) as draft:
        _copy(store, draft)
        return identify(draft), audit_file(draft)


def restore(backup: Path, store: Path, *, replace: bool = False) -> tuple[Place, Identity, Report]:
    """Put a backup in the place of a store, once its books have been found to add up.

    Raises:
        NotAStoreError: The backup is no store of ours.
        DamagedBackupError: Its books do not add up.
        StoreLockedError: A process is using the store.
        FileExistsError: There is a store with books, and `replace` does not say that it may be moved aside.
    """
    with placing(store, replace=replace) as place:
        _copy(backup, place.draft)
        SqliteJournal(place.draft, b"", create=False).close()  # brings one of an older version up to date
        identity, report = identify(place.draft), audit_file(place.draft)
        if not report.clean:
            raise DamagedBackupError(f"{backup}: {report.problems[0]}")
        leave_note(place.draft, f"restored from a backup that ends with batch {identity.sequence}")
    return place, identity, report


def _copy(source: Path, draft: Path) -> None:
    """Copy a database into an empty file, as one file."""
    with (
        reading(source),
        contextlib.closing(apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READONLY)) as old,
        contextlib.closing(apsw.Connection(str(draft))) as new,
    ):
        old.set_busy_timeout(BUSY_MS)
        if old.pragma("application_id") != APPLICATION_ID:
            raise NotAStoreError(f"{source} is not a Tallygate store")
        if (version := old.pragma("user_version")) > SCHEMA_VERSION:
            raise NotAStoreError(f"{source} has store version {version}; this program works with {SCHEMA_VERSION}")
        with new.backup("main", old, "main") as copying:
            copying.step()  # all pages at once: those of one moment
        new.pragma("journal_mode", "delete")
