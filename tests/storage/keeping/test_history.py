"""The history of a store, read page by page beside whoever writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tallygate.core.ledger import entry as e
from tallygate.storage.journal import NewAccount, NotAStoreError
from tallygate.storage.keeping import history
from tallygate.storage.keeping.history import read_sendings
from tallygate.storage.sqlite import SqliteJournal
from tests.core.ledger.world import USD, WRITER, World

if TYPE_CHECKING:
    from pathlib import Path

    from tallygate.core.ledger.records import Written


def make_entries(world: World, calls: int) -> list[Written]:
    """Make calls that end, and return the entries that have come since."""
    before = len(world.entries)
    for number in range(calls):
        world.settle(world.hold(f"chatcmpl-{before}-{number}"), 50, 20, 70)
    return world.entries[before:]


@pytest.fixture
def journal(tmp_path: Path) -> SqliteJournal:
    """Return an open store, as a running gateway has it."""
    opened = SqliteJournal(tmp_path / "s.db", WRITER)
    opened.open()
    return opened


def write(journal: SqliteJournal, entries: list[Written], *rows: NewAccount) -> None:
    """Make entries durable."""
    journal.write(entries, rows, 10**18)
    journal.flush()


@pytest.mark.parametrize("page", [1, 2, 3, 1000])
def test_all_sendings_come_in_their_order(
    journal: SqliteJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    """Whatever the size of a page, every entry about a sending comes once, and no other does."""
    monkeypatch.setattr(history, "PAGE_ENTRIES", page)
    world = World()
    account = world.open(picousd=USD)
    write(journal, world.entries, NewAccount(account.id, "Ann", 0))
    calls = make_entries(world, 3)
    write(journal, calls)
    found = list(read_sendings(tmp_path / "s.db"))
    journal.close()

    assert found == [written.entry for written in calls]
    assert {entry.kind for entry in found} == {e.HOLD, e.SETTLE}


def test_what_is_written_meanwhile_is_read_too(
    journal: SqliteJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reading that is under way holds nobody up, and comes to what was committed after it began."""
    monkeypatch.setattr(history, "PAGE_ENTRIES", 2)
    world = World()
    account = world.open(picousd=USD)
    write(journal, world.entries, NewAccount(account.id, "Ann", 0))
    calls = make_entries(world, 2)
    write(journal, calls)
    reading = read_sendings(tmp_path / "s.db")
    first = next(reading)
    later = make_entries(world, 1)
    write(journal, later)
    found = [first, *reading]
    journal.close()

    assert found == [written.entry for written in (*calls, *later)]


def test_what_is_no_store_is_told(tmp_path: Path) -> None:
    """A file that is something else is an error that names it."""
    path = tmp_path / "other.db"
    path.write_bytes(b"x" * 5000)
    with pytest.raises(NotAStoreError, match=r"other\.db"):
        list(read_sendings(path))
