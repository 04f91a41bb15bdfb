"""A tile that was changed behind the program's back is found before a checkpoint can sign what it says."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import apsw
import pytest

from tallygate.core.proofs.checkpoint import CheckpointKey
from tallygate.core.proofs.totals import Totals
from tallygate.storage.journal import NotAStoreError
from tallygate.storage.proofs.anchor_check import check_anchors
from tallygate.storage.proofs.anchors import AnchorFile
from tallygate.storage.proofs.embedded import EmbeddedProofs
from tallygate.storage.proofs.sqlite_archive import SqliteArchive
from tallygate.storage.replay import audit_end, audit_file
from tests.contract.world import Machine, SqliteStore, fund, serve

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """The file of a store with two tiles."""
    machine = Machine(SqliteStore(tmp_path / "tallygate.db"))
    ledger = await machine.start()
    account = await fund(ledger)
    for number in range(260):
        await serve(ledger, account, f"chatcmpl-{number}")
    await machine.stop()
    return tmp_path / "tallygate.db"


def change(path: Path, statement: str, *values: object) -> None:
    """Run one statement on the file."""
    with contextlib.closing(apsw.Connection(str(path))) as db:
        db.execute(statement, values)


def test_tiles_of_our_own_are_right(path: Path) -> None:
    """What the program keeps is what the books give, in a whole replay and in one of the end."""
    assert audit_file(path).problems == []
    assert audit_end(path, entries_max=100).problems == []
    assert audit_end(path, entries_max=400).problems == []


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE tiles SET root = zeroblob(32) WHERE number = 1", "tile 1: its root is not that of its batches"),
        ("UPDATE tiles SET root = zeroblob(32) WHERE number = 2", "tile 2: its root is not that of its batches"),
        ("UPDATE tiles SET position = position + 1 WHERE number = 2", "tile 2: does not end with the last entry"),
        ("UPDATE tiles SET position = position - 1 WHERE number = 1", "tile 1: does not end with the last entry"),
        ("UPDATE tiles SET totals = zeroblob(3) WHERE number = 2", "tile 2: no totals"),
        ("DELETE FROM tiles WHERE number = 2", "tiles: 523 batches make 2 of them, the store has 1"),
        ("INSERT INTO tiles SELECT 3, root, position, totals FROM tiles LIMIT 1", "tiles: 523 batches make 2"),
    ],
)
def test_changed_tile_is_located(path: Path, statement: str, told: str) -> None:
    """Root, place, number and form of each tile are held against the books."""
    change(path, statement)

    assert audit_file(path).problems[0].startswith(told)


def test_end_of_a_history_is_proved_with_its_tiles(path: Path) -> None:
    """Where only the end is replayed, the tiles that are whole in it are checked."""
    change(path, "UPDATE tiles SET root = zeroblob(32) WHERE number = 2")

    assert audit_end(path, entries_max=400).problems == ["tile 2: its root is not that of its batches"]


def test_income_that_was_moved_in_a_tile_is_found(path: Path) -> None:
    """Totals that still sum to zero, as a checkpoint would sign them, are those that were posted or are told."""
    with contextlib.closing(apsw.Connection(str(path))) as db:
        ((raw,),) = db.execute("SELECT totals FROM tiles WHERE number = 2")
    totals = Totals.decode(raw)
    totals.sums["USD", "income/base"] -= 7
    totals.sums["USD", "income/fee"] += 7
    change(path, "UPDATE tiles SET totals = ? WHERE number = 2", totals.encode())
    problems = audit_file(path).problems

    assert [problem.split(" ")[2:5] for problem in problems] == [
        ["makes", "USD", "income/base"],
        ["makes", "USD", "income/fee"],
    ]


async def test_start_on_a_damaged_tile_is_told(path: Path) -> None:
    """A store whose tile cannot be read is not opened, and the message is one for its owner."""
    change(path, "UPDATE tiles SET totals = zeroblob(3) WHERE number = 2")
    with pytest.raises(NotAStoreError, match="no totals"):
        await Machine(SqliteStore(path)).start()


@pytest.mark.parametrize(
    "statement", ["DELETE FROM accounts", "UPDATE entries SET bytes = zeroblob(9) WHERE position = 515"]
)
async def test_damage_after_the_last_anchor_leaves_the_other_proofs_standing(path: Path, statement: str) -> None:
    """Where accounts or entries are gone that lead back to an anchor, that is told, and nothing falls over."""
    machine = Machine(SqliteStore(path))
    ledger = await machine.start()
    anchors = path.with_name("anchors.jsonl")
    key = CheckpointKey(bytes(32))
    archive = SqliteArchive(path)
    proofs = EmbeddedProofs(archive, AnchorFile(anchors), key, now_ns=machine.now_ns, store=ledger)
    await proofs.checkpoint()
    await fund(ledger)
    await machine.stop()
    change(path, "DROP TRIGGER entries_never_change")
    change(path, statement)
    faults = check_anchors(archive, anchors, key).faults

    assert faults[-1].startswith(("the last anchor commits to other balances", "the last anchor's totals cannot be"))


@pytest.mark.parametrize("number", [1, 2])
def test_tile_that_lies_in_several_parts_is_checked(path: Path, number: int) -> None:
    """A tile that begins in one part of a replayed history and ends in another is made of its batches all the same."""
    assert audit_file(path, span_entries=100).problems == []
    assert audit_file(path, processes=2, span_entries=100).problems == []

    change(path, "UPDATE tiles SET root = zeroblob(32) WHERE number = ?", number)

    told = [f"tile {number}: its root is not that of its batches"]
    assert audit_file(path, span_entries=100).problems == told
    assert audit_file(path, processes=2, span_entries=100).problems == told
