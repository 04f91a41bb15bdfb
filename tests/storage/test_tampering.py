"""Whoever changes the file behind the program's back is found by its audit, and told where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import apsw
import pytest

from tallygate.core.ledger.batch import Header, encode_header, header_hash
from tallygate.core.ledger.books import Books
from tallygate.core.ledger.merkle import leaf_hash, merkle_root
from tallygate.core.ledger.records import Account, Written
from tallygate.core.ledger.restoring import restore_sheet
from tallygate.storage.embedded import EmbeddedLedger
from tallygate.storage.replay import audit_file
from tallygate.storage.sqlite import NotAStoreError
from tests.contract.world import (
    RATE,
    SECOND,
    SHEET,
    USD,
    WRITER,
    Machine,
    SqliteStore,
    end,
    fund,
    request,
    serve,
    usage,
)
from tests.storage.test_replay import here as here  # noqa: PLC0414  (a fixture)

if TYPE_CHECKING:
    from pathlib import Path

TRIGGERS = ("entries_never_change", "entries_never_go", "batches_never_change", "batches_never_go")
WORDS = ("x", "hold", "end", "attempt")
INDEXES = ("entries_by_account", "entries_by_inference", "entries_by_reference")


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """The file of a store with some history: sheet, account, deposit, two calls, a hold that expired, an open one."""
    path = tmp_path / "tallygate.db"
    machine = Machine(SqliteStore(path))
    ledger = await machine.start()
    account = await ledger.open_account("Ann", "operator")
    await ledger.deposit(account.id, USD, "r", "operator")
    await serve(ledger, account, "chatcmpl-1")
    await serve(ledger, account, "chatcmpl-2")
    await ledger.hold(request("chatcmpl-3", account))
    ledger = await machine.restart()
    await ledger.expire_orphans(lambda _: RATE, charge_prompt=False)
    account = ledger.account(account.id)
    hold = await ledger.hold(request("chatcmpl-4", account))
    ledger.begin_attempt(hold, SECOND)
    await machine.stop()
    return path


def tamper(path: Path, *statements: str) -> None:
    """Run SQL on the file, with everything out of the way that would stop it."""
    db = apsw.Connection(str(path))
    for trigger in TRIGGERS:
        db.execute(f"DROP TRIGGER {trigger}")
    for index in INDEXES:
        db.execute(f"DROP INDEX {index}")
    for statement in statements:
        db.execute(statement)
    db.close()


def test_tamperer_changes_nothing_by_accident(path: Path) -> None:
    """Without the guards, and with nothing changed, the file is clean."""
    tamper(path)
    report = audit_file(path)

    assert report.problems == []
    assert (report.batches, report.entries, report.open_holds) == (11, 11, 1)


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        (
            "UPDATE entries SET bytes = zeroblob(length(bytes)) WHERE position = 5",
            "batch 5 of writer 00010203: the entries do not have",
        ),
        (
            "UPDATE entries SET bytes = (SELECT bytes FROM entries WHERE position = 7) WHERE position = 5",
            "batch 5 of writer 00010203: the entries",
        ),
        (
            "DELETE FROM entries WHERE position = 5",
            "batch 5 of writer 00010203: the header counts 1 entries, there are 0",
        ),
        ("DELETE FROM entries WHERE position = 11", "batch 11 of writer 00010203: the header counts 1"),
        (
            "INSERT INTO entries SELECT 99, 5, bytes, kind, account, 99, inference, 'x', NULL FROM entries LIMIT 1",
            "1 entries are in no batch's place; the first one says batch 5",
        ),
        (
            "UPDATE entries SET batch = 6 WHERE position = 5",
            "batch 5 of writer 00010203: the header counts 1 entries, there are 0",
        ),
        ("UPDATE entries SET batch = 99 WHERE position = 11", "batch 11 of writer 00010203: the header counts"),
        ("UPDATE entries SET position = 99 WHERE position = 5", "batch 5 of writer 00010203: the header counts 1"),
        (
            "UPDATE entries SET kind = 'note' WHERE position = 1",
            "batch 1, entry 0: the columns beside the entry differ",
        ),
        (
            "UPDATE entries SET account = 'x' WHERE position = 3",
            "batch 3, entry 0: the columns beside the entry differ",
        ),
        ("UPDATE entries SET account_sequence = 9 WHERE position = 3", "batch 3, entry 0: the columns beside"),
        (
            "UPDATE entries SET inference = 'x' WHERE position = 10",
            "batch 10, entry 0: the columns beside the entry differ",
        ),
        (
            "UPDATE entries SET slot = 'end' WHERE position = 10",
            "batch 10, entry 0: the columns beside the entry differ",
        ),
        (
            "UPDATE entries SET reference = NULL WHERE position = 3",
            "batch 3, entry 0: the columns beside the entry differ",
        ),
        ("UPDATE batches SET header = zeroblob(9) WHERE sequence = 5", "batch 5: not a batch header"),
        (
            "UPDATE batches SET header = (SELECT header FROM batches WHERE sequence = 4) WHERE sequence = 5",
            "batch 4 of",
        ),
        ("DELETE FROM batches WHERE sequence = 5", "batch 6 of writer 00010203: does not follow the batch before it"),
        ("DELETE FROM batches WHERE sequence = 11", "1 entries are in no batch's place; the first one says batch 11"),
        ("DELETE FROM batches", "11 entries are in no batch's place; the first one says batch 1"),
        ("UPDATE batches SET sequence = 99 WHERE sequence = 11", "batch 11 of writer 00010203: the header counts"),
        ("UPDATE installation SET sequence = 12", "writer 00010203: the batches end with 11, the store says 12"),
        ("UPDATE installation SET head = zeroblob(32)", "writer 00010203: the batches end with 11, the store says 11"),
        ("UPDATE installation SET writer = zeroblob(16)", "writer 00000000: the batches end with 0"),
        ("UPDATE accounts SET available = available + 1", "account acct_"),
        ("UPDATE accounts SET held = 0", "account acct_"),
        ("UPDATE accounts SET sequence = 1", "account acct_"),
        ("DELETE FROM accounts", "account acct_"),
        (
            "INSERT INTO accounts VALUES ('x', 'Eve', 1, 5, 0, 1, 0, NULL)",
            "account x: the entries give None, the store has (5, 0, 1)",
        ),
        ("DELETE FROM open_holds", "open holds: the store and the entries disagree on chatcmpl-4"),
        (
            "INSERT INTO open_holds VALUES ('chatcmpl-1')",
            "open holds: the store and the entries disagree on chatcmpl-1",
        ),
        ("DELETE FROM key_spending", "what keys have spent: the store and the entries disagree on key_1"),
        ("UPDATE key_spending SET of_day = '1'", "what keys have spent: the store and the entries disagree on key_1"),
        ("UPDATE key_spending SET month = 1", "what keys have spent: the store and the entries disagree on key_1"),
        ("UPDATE key_spending SET account = 'x'", "what keys have spent: the store and the entries disagree on key_1"),
        (
            "INSERT INTO key_spending VALUES ('acct_1', 'key_9', 1, '1', 1, '1', '1')",
            "what keys have spent: the store and the entries disagree on key_9",
        ),
    ],
)
@pytest.mark.usefixtures("here")
def test_change_behind_our_back_is_located(path: Path, statement: str, told: str) -> None:
    """Every table that has to do with money is checked, and the first problem says where."""
    tamper(path, statement)

    assert audit_file(path).problems[0].startswith(told)
    for span_entries in (1, 2, 3, 5):
        assert audit_file(path, span_entries=span_entries, processes=2).problems[0].startswith(told)


@pytest.mark.parametrize("column", ["kind", "account", "account_sequence", "inference", "slot", "reference"])
def test_no_column_beside_an_entry_can_be_another_one(path: Path, column: str) -> None:
    """Whatever a column says of whichever entry, be it what another entry says, nothing or a word: it is told."""
    tamper(path)
    db = apsw.Connection(str(path))
    there = dict(db.execute(f"SELECT position, {column} FROM entries"))
    for position, value in there.items():
        others = {*there.values(), None, *((0,) if column == "account_sequence" else WORDS)} - {value}
        for other in others if column != "kind" else others - {None}:
            db.execute(f"UPDATE entries SET {column} = ? WHERE position = ?", (other, position))
            told = f"batch {position}, entry 0: the columns beside the entry differ from its bytes"
            assert audit_file(path).problems[0] == told, (position, other)
        db.execute(f"UPDATE entries SET {column} = ? WHERE position = ?", (value, position))
    db.close()

    assert audit_file(path).clean


def test_lost_tail_is_found_even_where_it_was_cut_cleanly(path: Path) -> None:
    """Batches that were removed from the end, entries and all, are missed by the store's own head."""
    tamper(path, "DELETE FROM entries WHERE batch > 9", "DELETE FROM batches WHERE sequence > 9")

    assert audit_file(path).problems[0].startswith("writer 00010203: the batches end with 9, the store says 11")


@pytest.mark.usefixtures("here")
def test_second_life_of_an_inference_is_found_though_sealed(path: Path) -> None:
    """A call that is charged again under the same id, with a right hold and a right seal, is found by its slots."""
    books = read_books(path)
    hold, held = books.hold(request("chatcmpl-1", next(iter(books.accounts))))
    settlement, settled = books.settle(hold, end(), usage())
    db = apsw.Connection(str(path))
    ((spent,),) = db.execute("SELECT total FROM key_spending")
    db.close()
    spent = int(spent) + settlement.cost.total
    add_batch(
        path,
        (held, "hold"),
        (settled, "end"),
        statement=f"UPDATE key_spending SET of_day = '{spent}', of_month = '{spent}', total = '{spent}'",
    )

    assert problems_in_any_spans(path) == [
        "inference chatcmpl-1: has more than one end",
        "inference chatcmpl-1: has more than one hold",
    ]


@pytest.mark.usefixtures("here")
def test_second_hold_of_an_open_inference_is_found_though_sealed(path: Path) -> None:
    """A hold of an inference that has one, in order in all else, is told with its place, however far it is from it."""
    books = read_books(path)
    _, held = books.hold(request("chatcmpl-4", next(iter(books.accounts))))
    add_batch(path, (held, "hold"))

    assert problems_in_any_spans(path) == [
        "batch 12 of writer 00010203, entry 0 (hold): inference chatcmpl-4 has a hold already",
        "inference chatcmpl-4: has more than one hold",
    ]


def problems_in_any_spans(path: Path) -> list[str]:
    """Return what an audit finds, which is the same in whatever parts the history is shared out."""
    whole = audit_file(path)
    for span_entries in range(1, whole.entries):
        assert audit_file(path, span_entries=span_entries, processes=2) == whole
    return list(whole.problems)


def add_batch(path: Path, *added: tuple[Written, str], statement: str = "") -> None:
    """Add a batch of entries of an inference, each with its slot, and make all else in the file fit to it."""
    db = apsw.Connection(str(path))
    ((head, epoch, sequence),) = db.execute("SELECT head, epoch, sequence FROM installation")
    db.close()
    root = merkle_root([leaf_hash(written.raw) for written, _ in added])
    header = encode_header(Header(1, WRITER, epoch, sequence + 1, head, root, len(added), 1))
    last = added[-1][0].entry
    tamper(
        path,
        f"INSERT INTO batches VALUES ({sequence + 1}, x'{header.hex()}')",
        *(
            f"INSERT INTO entries VALUES (NULL, {sequence + 1}, x'{w.raw.hex()}', '{w.entry.kind}', "
            f"'{w.entry.account}', {w.entry.account_sequence}, '{w.entry.inference}', '{slot}', NULL)"
            for w, slot in added
        ),
        f"UPDATE installation SET sequence = {sequence + 1}, head = x'{header_hash(header).hex()}'",
        f"UPDATE accounts SET available = {last.available_after}, held = {last.held_after}, "
        f"sequence = {last.account_sequence}",
        statement,
    )


def read_books(path: Path) -> Books:
    """Return books that go on where a file ends, as a forger who knows the program would."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    ((epoch,),) = db.execute("SELECT epoch FROM installation")
    machine = Machine(SqliteStore(path))
    machine.entropy(16)
    books = Books(WRITER, epoch, machine.now_ns, lambda size: b"f" * size)
    for row in db.execute("SELECT id, name, created_ns, available, held, sequence FROM accounts"):
        books.accounts[row[0]] = Account(*row)
    db.close()
    restore_sheet(books, SHEET)
    return books


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET bytes = x'c0' WHERE kind = 'sheet'",
        "DELETE FROM entries WHERE kind = 'sheet'",
        "UPDATE entries SET bytes = x'c0' WHERE position = 10",
        "DELETE FROM accounts",
        "UPDATE entries SET reference = 'x' WHERE position = 4",
        "UPDATE key_spending SET total = 'much'",
    ],
)
async def test_books_that_do_not_fit_together_are_not_opened(path: Path, statement: str) -> None:
    """A start that cannot read its state back is refused with a word to the operator, not with a stack of calls."""
    tamper(path, statement)
    machine = Machine(SqliteStore(path))
    journal = machine.store.journal()
    with pytest.raises(NotAStoreError):
        EmbeddedLedger(journal, now_ns=machine.now_ns, entropy=machine.entropy)
    journal.close()


async def test_books_still_open_after_a_check(path: Path) -> None:
    """An audit leaves the file as it was: the next start goes on with the open hold."""
    assert audit_file(path).clean
    machine = Machine(SqliteStore(path))
    ledger = await machine.start()
    assert len(await ledger.expire_orphans(lambda _: RATE, charge_prompt=False)) == 1
    account = await fund(ledger)
    await serve(ledger, account, "chatcmpl-5")
    await machine.stop()

    assert audit_file(path).problems == []
