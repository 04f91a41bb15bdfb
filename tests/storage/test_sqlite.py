"""The store in a file: its lock, its mode, its settings, its guards, and what it does when the disk is full."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import apsw
import pytest

from tallygate.core.access import ApiKey
from tallygate.core.errors import StoreUnavailableError
from tallygate.core.keys import key_digest, mint_api_key
from tallygate.core.ledger.books import Books
from tallygate.storage.journal import KeyRow
from tallygate.storage.replay import audit_file
from tallygate.storage.sqlite import NotAStoreError, SqliteJournal, StoreLockedError
from tallygate.storage.sqlite_file import APPLICATION_ID, SCHEMA_VERSION
from tests.contract.world import FIRST, RATE, USD, WRITER, Machine, SqliteStore, end, fund, request, serve, usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store is."""
    return tmp_path / "data" / "tallygate.db"


@pytest.fixture
async def machine(path: Path) -> AsyncIterator[Machine]:
    """A machine with an empty store."""
    machine = Machine(SqliteStore(path))
    yield machine
    await machine.stop()


def test_store_has_one_owner(path: Path) -> None:
    """While one has the store open a second is refused at once; afterwards it is free."""
    first = SqliteJournal(path, WRITER)
    with pytest.raises(StoreLockedError, match=r"tallygate\.db"):
        SqliteJournal(path, WRITER)
    first.close()

    SqliteJournal(path, WRITER).close()


def test_links_lead_to_the_same_lock(path: Path, tmp_path: Path) -> None:
    """A store that is reached by another name is locked all the same."""
    first = SqliteJournal(path, WRITER)
    (tmp_path / "link.db").symlink_to(path)
    (tmp_path / "folder").symlink_to(path.parent)
    for name in (tmp_path / "link.db", tmp_path / "folder" / path.name):
        with pytest.raises(StoreLockedError):
            SqliteJournal(name, WRITER)
    first.close()


async def test_only_the_owner_can_read_the_files(machine: Machine, path: Path) -> None:
    """Database, log, index and lock are 0600 and their folder 0700, whatever the umask."""
    before = os.umask(0)
    try:
        await fund(await machine.start())
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    finally:
        os.umask(before)

    assert modes == dict.fromkeys((path.name, f"{path.name}-wal", f"{path.name}-shm", f"{path.name}.lock"), 0o600)
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_commits_wait_for_the_disk(path: Path) -> None:
    """The log is written ahead and synced at each commit, and is kept when the store is reopened."""
    for _ in range(2):
        journal = SqliteJournal(path, WRITER)
        assert journal._db.pragma("journal_mode") == "wal"
        assert journal._db.pragma("synchronous") == 2
        assert journal._db.pragma("application_id") == APPLICATION_ID
        journal.close()


def test_missing_store_is_made_only_when_asked(path: Path) -> None:
    """Whoever expects a store is told that there is none, and nothing is made; an empty file is none either."""
    with pytest.raises(NotAStoreError, match="tallygate init"):
        SqliteJournal(path, WRITER, create=False)
    assert not path.parent.exists()
    path.parent.mkdir()
    path.touch()
    with pytest.raises(NotAStoreError):
        SqliteJournal(path, WRITER, create=False)
    assert path.stat().st_size == 0

    SqliteJournal(path, WRITER).close()
    SqliteJournal(path, WRITER, create=False).close()


def test_writer_is_given_once(path: Path) -> None:
    """The installation keeps the id of its first start."""
    for writer in (WRITER, bytes(16)):
        journal = SqliteJournal(path, writer)
        assert journal.open().writer == WRITER
        journal.close()


def make_foreign(path: Path) -> None:
    """Write another program's database, without any mark."""
    db = apsw.Connection(str(path))
    db.execute("CREATE TABLE recipes (name)")
    db.close()


def make_marked(path: Path) -> None:
    """Write an empty database with another program's mark."""
    db = apsw.Connection(str(path))
    db.pragma("application_id", 5)
    db.close()


def make_newer(path: Path) -> None:
    """Write a store of a version to come."""
    SqliteJournal(path, WRITER).close()
    db = apsw.Connection(str(path))
    db.pragma("user_version", SCHEMA_VERSION + 1)
    db.close()


def make_broken(path: Path) -> None:
    """Write a store, then rubbish over the pages of its tables."""
    SqliteJournal(path, WRITER).close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_text("[server]\n" * 100),
        lambda path: path.write_bytes(bytes(8192)),
        lambda path: path.mkdir(),
        make_foreign,
        make_marked,
        make_newer,
        make_broken,
    ],
    ids=["text", "zeros", "folder", "another program's", "marked", "newer", "broken"],
)
def test_what_is_no_store_is_told_and_left_alone(path: Path, make: Callable[[Path], object]) -> None:
    """Any other file is `NotAStoreError` for writing and for auditing, keeps its bytes, and does not stay locked."""
    path.parent.mkdir()
    make(path)
    before = None if path.is_dir() else path.read_bytes()
    for _ in range(2):
        with pytest.raises(NotAStoreError, match=r"tallygate\.db"):
            open_and_close(path)
        with pytest.raises(NotAStoreError, match=r"tallygate\.db"):
            audit_file(path)
    assert before is None or path.read_bytes() == before


def open_and_close(path: Path) -> None:
    """Open a store as a start does."""
    journal = SqliteJournal(path, WRITER)
    try:
        journal.open()
    finally:
        journal.close()


def test_audit_of_nothing_makes_nothing(path: Path) -> None:
    """Auditing a store that is not there is told, and makes no file."""
    with pytest.raises(NotAStoreError):
        audit_file(path)
    assert not path.exists()


async def test_books_only_grow(machine: Machine, path: Path) -> None:
    """No row of the books can be changed or deleted, by whoever has the file open, nor entered twice."""
    await fund(await machine.start())
    db = apsw.Connection(str(path))
    for statement in (
        "UPDATE entries SET bytes = x'00'",
        "UPDATE entries SET batch = batch",
        "DELETE FROM entries WHERE position = 1",
        "UPDATE batches SET header = x'00'",
        "DELETE FROM batches",
    ):
        with pytest.raises(apsw.ConstraintError, match="append-only"):
            db.execute(statement)
    with pytest.raises(apsw.ConstraintError):
        db.execute("INSERT INTO installation SELECT 2, writer, epoch, sequence, head FROM installation")
    db.close()

    assert audit_file(path).problems == []


async def test_audit_runs_beside_an_open_writer(machine: Machine, path: Path) -> None:
    """A second process can audit the file while the first one writes."""
    ledger = await machine.start()
    account = await fund(ledger)
    for number in range(5):
        await serve(ledger, account, f"chatcmpl-{number}")
        report = audit_file(path)
        assert (report.problems, report.kinds["settle"]) == ([], number + 1)


async def test_full_disk_ends_the_writing_and_loses_nothing(machine: Machine, path: Path) -> None:
    """When the disk is full the act is told, the ledger is not ready, and a restart with room has all that was told."""
    ledger = await machine.start()
    account = await fund(ledger)
    database = ledger._journal._db  # type: ignore[attr-defined]
    database.pragma("max_page_count", database.pragma("page_count") + 8)
    served = 0

    async def serve_on() -> None:
        nonlocal served
        while True:
            await serve(ledger, account, f"chatcmpl-{served}")
            served += 1

    with pytest.raises(StoreUnavailableError, match="FullError"):
        await serve_on()
    assert not ledger.ready
    with pytest.raises(StoreUnavailableError):
        await ledger.deposit(account.id, 1, None, "operator")

    ledger = await machine.restart()
    await ledger.expire_orphans(lambda _: RATE, charge_prompt=False)
    report = await ledger.audit()
    assert (report.problems, report.open_holds, report.kinds["settle"]) == ([], 0, served)
    assert served > 5
    assert ledger.account(account.id).available == USD - served * 12_108
    await serve(ledger, account, "chatcmpl-after")


async def test_batch_that_cannot_be_written_leaves_nothing(machine: Machine, path: Path) -> None:
    """A value that SQLite cannot take ends the writing without a trace of its batch."""
    await fund(await machine.start())
    await machine.stop()
    journal = SqliteJournal(path, WRITER)
    contents = journal.open()
    books = Books(WRITER, contents.epoch, machine.now_ns, machine.entropy)
    good = books.note(None, "good", "operator")
    key = ApiKey("key_1", "a", "k", "…", 2**64, None)  # a time that no column can hold
    with pytest.raises((OverflowError, StoreUnavailableError)):
        journal.write([good], [KeyRow(key, b"digest")], 1)
    with pytest.raises(StoreUnavailableError):
        journal.flush()
    with pytest.raises(StoreUnavailableError):
        journal.write([good], [], 1)
    journal.close()

    assert audit_file(path).kinds["note"] == 1


def read_files(folder: Path) -> list[bytes]:
    """Return what is in each file of a folder."""
    return [file.read_bytes() for file in folder.iterdir()]


async def test_no_secret_is_in_any_file(machine: Machine, path: Path) -> None:
    """Of a key only the digest and the mask are kept: neither the key nor its random part is in any file."""
    secret = mint_api_key(bytes(range(100, 132)))
    digest = key_digest(b"pepper", secret)
    ledger = await machine.start()
    account = await ledger.open_account("Ann", "operator")
    await ledger.add_key(account.id, "k", digest, "tg-ABCD…wxyz", "operator")
    contents = read_files(path.parent)
    await machine.stop()
    contents += read_files(path.parent)

    assert any(digest in content for content in contents)
    assert not any(secret[4:40].encode() in content for content in contents)


async def test_holds_in_async_mode_are_kept_by_a_clean_stop(path: Path) -> None:
    """Without waiting for the hold it is durable with the next commit, at the latest when the store is closed."""
    machine = Machine(SqliteStore(path))
    ledger = await machine.start(wait=False)
    account = await fund(ledger)
    hold = await ledger.hold(request("chatcmpl-1", account))
    assert hold.open_sendings == {FIRST: None}
    await ledger.settle(hold, end(), usage())
    await ledger.hold(request("chatcmpl-2", account))
    await machine.stop()
    report = audit_file(path)

    assert (report.problems, report.open_holds, report.kinds["hold"]) == ([], 1, 2)
