"""How a store comes to its place, and what becomes of what was there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tallygate.core.ledger.entry import decode_entry
from tallygate.storage.keeping.placing import identify, leave_note, placing
from tallygate.storage.replay import audit_file
from tallygate.storage.sqlite import SqliteJournal
from tests.contract.world import Machine, SqliteStore, fund
from tests.storage.filled import fill, find_drafts, list_files, read_bytes, read_table

if TYPE_CHECKING:
    from pathlib import Path


async def test_what_was_there_is_moved_aside_whole(tmp_path: Path) -> None:
    """The old store goes aside with its log, under a name that is free, and is as good there as it was."""
    path = tmp_path / "tallygate.db"
    await fill(path)
    kept = read_bytes(path)
    path.with_name("tallygate.db-wal").write_text("log")
    path.with_name("tallygate.db-shm").write_text("index")
    for number in (1, 2):
        with placing(path, replace=True) as place:
            place.draft.write_text(f"store {number}")
            assert path.exists()
        assert place.set_aside == path.with_name(f"tallygate.db.replaced-{number}")
    found = {file.name: read_bytes(file) for file in list_files(tmp_path)}

    assert found.pop("tallygate.db.lock", b"") == b""
    assert found == {
        "tallygate.db": b"store 2",
        "tallygate.db.replaced-1": kept,
        "tallygate.db.replaced-1-wal": b"log",
        "tallygate.db.replaced-2": b"store 1",
    }


async def test_failure_leaves_what_was_there(tmp_path: Path) -> None:
    """Where the draft does not come about, the old store stays in its place."""
    path = tmp_path / "tallygate.db"
    await fill(path)
    with pytest.raises(ZeroDivisionError), placing(path, replace=True):
        raise ZeroDivisionError

    assert audit_file(path).clean
    assert find_drafts(tmp_path) == []
    SqliteJournal(path, b"").close()  # and it is not locked


async def test_link_goes_on_leading_to_the_store(tmp_path: Path) -> None:
    """A store that is reached by a link is replaced where it is."""
    path, link = tmp_path / "data" / "tallygate.db", tmp_path / "link.db"
    await fill(path)
    link.symlink_to(path)
    with placing(link, replace=True) as place:
        place.draft.write_text("new")

    assert link.is_symlink()
    assert path.read_text() == "new"


@pytest.mark.parametrize("acts", [0, 1])
async def test_note_is_the_first_thing_that_is_written(tmp_path: Path, acts: int) -> None:
    """What was left to be noted comes with the first act, before it and once; a start alone writes nothing."""
    path = tmp_path / "tallygate.db"
    machine = await fill(path)
    before, head = len(read_table(path, "entries")), identify(path).head
    leave_note(path, "restored")
    leave_note(path, "restored")
    for _ in range(acts + 1):
        ledger = await machine.start()
        if acts:
            await fund(ledger)
        await machine.stop()
    added = [decode_entry(row[2]).reason for row in read_table(path, "entries")][before:]

    assert added.count("restored") == acts
    assert added[:1] == ["restored"] * acts
    assert (identify(path).head == head) is not bool(acts)
    assert read_table(path, "pending_notes") == ([] if acts else [("restored",)])
    assert audit_file(path).problems == []


async def test_new_store_has_nothing_to_note(tmp_path: Path) -> None:
    """A store that was made here begins with its first act."""
    machine = Machine(SqliteStore(tmp_path / "tallygate.db"))
    await machine.start()
    await machine.stop()

    assert audit_file(tmp_path / "tallygate.db").kinds["note"] == 0
