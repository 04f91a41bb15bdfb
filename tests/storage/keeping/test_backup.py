"""Backups are taken while the store is used, are proved, and become a store again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import apsw
import pytest

from tallygate.core.ledger.entry import decode_entry
from tallygate.storage.journal import NotAStoreError
from tallygate.storage.keeping.backup import DamagedBackupError, back_up, restore
from tallygate.storage.replay import audit_file
from tallygate.storage.sql import MIGRATIONS
from tallygate.storage.sqlite import StoreLockedError
from tests.contract.world import RATE, USD, Machine, SqliteStore, fund, request, serve
from tests.storage.filled import TABLES, fill, find_drafts, list_files, read_bytes, read_identity, read_table

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store is."""
    return tmp_path / "data" / "tallygate.db"


async def test_backup_is_of_one_moment_while_the_store_goes_on(path: Path, tmp_path: Path) -> None:
    """A copy taken between two calls has all that was durable then, also what is in the log only, and nothing after."""
    machine = Machine(SqliteStore(path))
    ledger = await machine.start()
    account = await fund(ledger)
    await serve(ledger, account, "chatcmpl-1")
    await ledger.hold(request("chatcmpl-2", account))
    assert path.with_name("tallygate.db-wal").stat().st_size
    target = tmp_path / "backup.db"
    identity, report = back_up(path, target)
    then = {table: read_table(path, table) for table in TABLES}
    await serve(ledger, account, "chatcmpl-3")
    await machine.stop()

    assert {table: read_table(target, table) for table in TABLES} == then
    assert (report.clean, report.open_holds, report.kinds["settle"]) == (True, 1, 1)
    assert tuple(identity) == read_identity(target)
    assert audit_file(path).kinds["settle"] == 2
    assert target.stat().st_mode & 0o777 == 0o600
    assert {file.name for file in list_files(tmp_path)} == {"data", "backup.db"}


async def test_writer_never_waits_for_a_backup(path: Path, tmp_path: Path) -> None:
    """While the copy is read, page by page, the store commits; the copy is of the moment at which it began."""
    machine = Machine(SqliteStore(path))
    ledger = await machine.start()
    account = await fund(ledger)
    old = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    new = apsw.Connection(str(tmp_path / "copy.db"))
    old.execute("BEGIN")
    old.execute("SELECT * FROM installation").fetchall()
    with new.backup("main", old, "main") as copying:
        while not copying.step(1):
            await serve(ledger, account, f"chatcmpl-{copying.remaining}")
    await machine.stop()
    new.close()
    old.close()

    assert audit_file(tmp_path / "copy.db").problems == []
    assert audit_file(tmp_path / "copy.db").kinds["settle"] == 0
    assert audit_file(path).kinds["settle"] > 3


async def test_nothing_is_overwritten(path: Path, tmp_path: Path) -> None:
    """A file that is there already is no place for a backup."""
    await fill(path)
    (tmp_path / "there").write_text("precious")
    with pytest.raises(FileExistsError):
        back_up(path, tmp_path / "there")

    assert (tmp_path / "there").read_text() == "precious"


async def test_restored_store_is_the_one_that_was_backed_up(path: Path, tmp_path: Path) -> None:
    """At an empty place every table is as it was; the next start notes it, ends what was open, and goes on."""
    await fill(path)
    back_up(path, tmp_path / "backup.db")
    elsewhere = tmp_path / "elsewhere" / "tallygate.db"
    place, identity, report = restore(tmp_path / "backup.db", elsewhere)
    assert {table: read_table(elsewhere, table) for table in TABLES} == {t: read_table(path, t) for t in TABLES}
    assert tuple(identity) == read_identity(path) == read_identity(elsewhere)
    assert (place.set_aside, report.open_holds) == (None, 1)
    entries = len(read_table(path, "entries"))
    machine = Machine(SqliteStore(elsewhere))
    ledger = await machine.start()
    await ledger.expire_orphans(lambda _: RATE, charge_prompt=False)
    await serve(ledger, next(account for account in ledger.accounts() if account.name == "Ann"), "chatcmpl-9")
    await machine.stop()
    added = [decode_entry(row[2]) for row in read_table(elsewhere, "entries")][entries:]

    assert [entry.kind for entry in added] == ["note", "expire", "hold", "settle"]
    assert added[0].reason == f"restored from a backup that ends with batch {identity.sequence}"
    assert added[0].epoch == identity.epoch + 1
    assert audit_file(elsewhere).problems == []


async def test_store_with_books_is_moved_aside_on_demand_only(path: Path, tmp_path: Path) -> None:
    """Without being told a restore replaces no books; told so, it keeps them under another name."""
    machine = await fill(path)
    back_up(path, tmp_path / "backup.db")
    ledger = await machine.start()
    await ledger.deposit(ledger.accounts()[0].id, USD, "later", "operator")
    with pytest.raises(StoreLockedError):
        restore(tmp_path / "backup.db", path, replace=True)
    await machine.stop()
    later = read_table(path, "entries")
    with pytest.raises(FileExistsError):
        restore(tmp_path / "backup.db", path)
    assert read_table(path, "entries") == later
    place, *_ = restore(tmp_path / "backup.db", path, replace=True)

    assert place.set_aside == path.with_name("tallygate.db.replaced-1")
    assert read_table(path.with_name("tallygate.db.replaced-1"), "entries") == later
    assert len(read_table(path, "entries")) == len(later) - 1
    assert audit_file(path).clean


async def test_damaged_backup_replaces_nothing(path: Path, tmp_path: Path) -> None:
    """A backup whose books do not add up, that is no store, or is of a later version, leaves the store as it is."""
    await fill(path)
    backup = tmp_path / "backup.db"
    back_up(path, backup)
    before = read_bytes(path)
    db = apsw.Connection(str(backup))
    db.execute("UPDATE accounts SET available = available + 1 WHERE name = 'Ann'")
    with pytest.raises(DamagedBackupError, match="the store has"):
        restore(backup, path, replace=True)
    db.pragma("user_version", 99)
    with pytest.raises(NotAStoreError, match=r"backup\.db has store version 99"):
        restore(backup, path, replace=True)
    db.pragma("application_id", 1)
    with pytest.raises(NotAStoreError, match=r"backup\.db is not a Tallygate store"):
        restore(backup, path, replace=True)
    db.close()
    backup.write_bytes(read_bytes(backup)[:5000])
    with pytest.raises(NotAStoreError, match=r"backup\.db"):
        restore(backup, path, replace=True)
    backup.write_bytes(b"")
    with pytest.raises(NotAStoreError):
        restore(backup, path, replace=True)

    assert read_bytes(path) == before
    assert find_drafts(path.parent) == []


async def test_backup_of_damaged_books_is_kept_and_told(path: Path, tmp_path: Path) -> None:
    """Who has damaged books still gets a faithful copy of them, and the report that says so."""
    await fill(path)
    db = apsw.Connection(str(path))
    db.execute("UPDATE accounts SET available = available + 1 WHERE name = 'Ann'")
    db.close()
    _, report = back_up(path, tmp_path / "backup.db")

    assert not report.clean
    assert read_table(tmp_path / "backup.db", "accounts") == read_table(path, "accounts")


async def test_backup_of_an_older_version_is_brought_up_to_date(path: Path, tmp_path: Path) -> None:
    """A backup that an earlier version of the program has taken can be restored; the backup itself is not changed."""
    await fill(path)
    backup = tmp_path / "backup.db"
    back_up(path, backup)
    db = apsw.Connection(str(backup))
    db.execute("DROP TABLE pending_notes")
    db.execute("DROP TABLE tiles")
    db.execute("DROP TABLE key_spending")
    for table, column in re.findall(r"ALTER TABLE (\w+) ADD COLUMN (\w+)", MIGRATIONS[5]):
        db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    db.pragma("user_version", 2)
    db.close()
    older = read_bytes(backup)
    restore(backup, tmp_path / "new.db")

    assert audit_file(tmp_path / "new.db").clean
    assert read_bytes(backup) == older
    assert max(MIGRATIONS) >= 5
