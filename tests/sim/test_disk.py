"""The simulated disk keeps what was synced, and of the rest what it likes; and what our journal makes of that."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import apsw
import pytest

from tallygate.core.errors import StoreUnavailableError
from tallygate.core.ledger.books import Books
from tallygate.storage.sqlite import SqliteJournal
from tests.sim.disk import SECTOR_BYTES, Disk, File

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WRITER = bytes(16)


@pytest.fixture
def disk() -> Iterator[Disk]:
    """Return a disk that SQLite knows."""
    made = Disk(random.Random(1))
    yield made
    made.close()


def write_note(journal: SqliteJournal, reason: str) -> None:
    """Commit a batch of one note."""
    journal.write([Books(WRITER, journal._epoch, lambda: 1, bytes).note(None, reason, "operator")], [], 1)
    journal.flush()


def leave(journal: SqliteJournal) -> None:
    """Let go of a journal as a process does that is killed."""
    journal._db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    journal._db.close()
    journal._lock.release()


def test_power_failure_keeps_what_was_synced(disk: Disk) -> None:
    """Synced bytes stay whatever happens; of later ones, whole sectors may stay, in any mixture."""
    outcomes = set()
    for _ in range(200):
        file = File()
        file.write(0, b"a" * 3 * SECTOR_BYTES)
        file.sync()
        file.write(SECTOR_BYTES - 1, b"b" * (SECTOR_BYTES + 2))
        file.tear(disk.draw)
        outcomes.add(bytes(file.kept))
        assert file.kept[: SECTOR_BYTES - 1] == b"a" * (SECTOR_BYTES - 1)

    assert len(outcomes) == 8
    assert bytes(file.seen).count(b"b") == SECTOR_BYTES + 2


def test_failed_sync_leaves_bytes_that_can_be_read_but_are_not_there(disk: Disk) -> None:
    """As on Linux: a second sync reports success and brings nothing back."""
    file = File()
    file.write(0, b"a" * 64 * SECTOR_BYTES)
    file.drop(random.Random(5))
    file.sync()

    assert bytes(file.seen) == b"a" * 64 * SECTOR_BYTES
    assert bytes(file.kept) != bytes(file.seen)


@pytest.mark.parametrize("seed", range(20))
def test_acts_after_a_failed_sync_outlive_the_power(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that finds a batch whose sync had failed keeps it for good: it builds on nothing that is not there."""
    disk = Disk(random.Random(seed))
    path = tmp_path / "store.db"
    journal = SqliteJournal(path, WRITER, vfs=disk.vfs)
    journal.open()
    write_note(journal, "before")
    with monkeypatch.context() as broken:
        broken.setattr(File, "sync", lambda file: file.drop(disk.draw))
        write_note(journal, "unsynced")
    leave(journal)

    later = SqliteJournal(path, WRITER, vfs=disk.vfs)
    later.open()
    write_note(later, "after")
    leave(later)
    disk.lose_power()
    last = SqliteJournal(path, WRITER, vfs=disk.vfs)
    ((count,),) = last._db.execute("SELECT COUNT(*) FROM entries")
    assert count == 3
    last.close()
    disk.close()


def test_full_disk_takes_nothing_more_until_it_is_mended(disk: Disk, tmp_path: Path) -> None:
    """A write that needs room fails from the planned operation on; after the operator has made room it goes on."""
    journal = SqliteJournal(tmp_path / "store.db", WRITER, vfs=disk.vfs)
    journal.open()
    disk.break_later(1, "full")
    with pytest.raises(StoreUnavailableError, match="FullError"):
        write_note(journal, "too much")
    leave(journal)
    disk.mend()
    later = SqliteJournal(tmp_path / "store.db", WRITER, vfs=disk.vfs)
    later.open()
    write_note(later, "fits")
    later.close()
    assert disk.struck == {"full": 1}
