"""A dump, and the store that is made of it: the same bytes, the same hashes, or a line that says what is wrong."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import apsw
import pytest

from tallygate.core.idempotency import Claim
from tallygate.core.ledger.entry import decode_entry
from tallygate.storage.journal import NotAStoreError
from tallygate.storage.keeping.dump import DamagedBooksError, write_dump
from tallygate.storage.keeping.load import DamagedDumpError, load_dump
from tallygate.storage.replay import audit_file
from tallygate.storage.sqlite import SqliteJournal, StoreLockedError
from tests.contract.world import WRITER, Machine, SqliteStore, end, fund, request, serve, usage
from tests.storage.filled import TABLES, fill, read_identity, read_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tallygate.storage.keeping.dump import End

    Edit = Callable[[list[dict[str, Any]]], object]


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A store with some of everything."""
    path = tmp_path / "old" / "tallygate.db"
    await fill(path)
    return path


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """Where a new store can go."""
    return tmp_path / "new" / "tallygate.db"


def dump(path: Path, *, with_keys: bool = True) -> list[bytes]:
    """Return the lines of a dump."""
    lines: list[bytes] = []
    write_dump(path, lines.append, with_keys=with_keys)
    return lines


def edited(lines: Sequence[bytes], edit: Edit) -> list[bytes]:
    """Return a dump in which something was changed, and whose last line was made to fit in all but the head."""
    content = [json.loads(line) for line in lines]
    edit(content)
    raws = [json.dumps(line).encode() + b"\n" for line in content]
    types = [line["type"] for line in content]
    content[-1] |= {
        "accounts": types.count("account"),
        "keys": types.count("key"),
        "claims": types.count("claim"),
        "batches": types.count("batch"),
        "entries": sum(len(line.get("entries", ())) for line in content[:-1]),
        "sha256": sha256(b"".join(raws[:-1])).hexdigest(),
    }
    return [*raws[:-1], json.dumps(content[-1]).encode() + b"\n"]


def assert_nothing_there(store: Path) -> None:
    """There is neither a store nor a draft of one."""
    assert [file for file in store.parent.iterdir() if file.suffix != ".lock"] == []


def test_loaded_store_is_the_same(path: Path, empty: Path) -> None:
    """Every batch and entry byte for byte, every table, writer, epoch, sequence and head are those of the old store."""
    _, end = load_dump(dump(path), empty)

    for table in TABLES:
        assert read_table(empty, table) == read_table(path, table), table
    assert read_identity(empty) == read_identity(path)
    assert end.head == read_identity(path)[3].hex()
    assert audit_file(empty).problems == []
    assert (empty.stat().st_mode & 0o777, empty.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert {file.name for file in empty.parent.iterdir()} <= {"tallygate.db", "tallygate.db.lock"}


def test_dump_of_the_loaded_is_the_dump(path: Path, empty: Path) -> None:
    """What was loaded is dumped as it came, to the byte."""
    lines = dump(path)
    load_dump(lines, empty)

    assert dump(empty) == lines


def test_a_limit_from_the_future_is_told(path: Path, empty: Path) -> None:
    """A dump that limits a key in a way that this program does not know is not loaded as if it were unlimited."""

    def edit(content: list[dict[str, Any]]) -> None:
        content[next(n for n, line in enumerate(content) if "limits" in line)]["limits"]["smiles_per_day"] = 1

    with pytest.raises(DamagedDumpError, match="limited in a way"):
        load_dump(edited(dump(path), edit), empty)
    assert_nothing_there(empty)


async def test_loaded_store_goes_on(path: Path, empty: Path) -> None:
    """A ledger opens on it under the same writer and a later epoch, first notes the load, and serves calls."""
    _, end = load_dump(dump(path), empty)
    epoch = read_identity(path)[1]
    machine = Machine(SqliteStore(empty))
    ledger = await machine.start()
    (account,) = (account for account in ledger.accounts() if account.name == "Ann")
    assert ledger.find_key(b"d" * 32) is not None
    assert ledger.find_key(b"e" * 32) is None
    await serve(ledger, account, "chatcmpl-9")
    await machine.stop()
    added = [decode_entry(row[2]) for row in read_table(empty, "entries")][end.entries :]

    assert [entry.kind for entry in added] == ["note", "hold", "settle"]
    assert added[0].reason == f"loaded from a dump of {end.batches} batches"
    assert {(entry.writer, entry.epoch) for entry in added} == {(WRITER, epoch + 1)}
    assert audit_file(empty).problems == []
    ledger = await machine.start()
    await serve(ledger, ledger.account(account.id), "chatcmpl-10")
    await machine.stop()
    assert audit_file(empty).kinds["note"] == audit_file(path).kinds["note"] + 1


async def test_idempotency_keys_stand_for_the_same_after_a_load(tmp_path: Path) -> None:
    """A call that was charged before a dump is not charged again after the load, nor is one that was under way."""
    machine = Machine(SqliteStore(tmp_path / "tallygate.db"))
    ledger = await machine.start()
    account = await fund(ledger)
    done, open_ = Claim(b"1" * 32, b"a" * 32), Claim(b"2" * 32, b"b" * 32)
    hold = await ledger.hold(request("chatcmpl-1", account)._replace(claim=done))
    cost = (await ledger.settle(hold, end(), usage(1, 1))).cost.total
    await ledger.hold(request("chatcmpl-2", account)._replace(claim=open_))
    await machine.stop()
    lines = dump(tmp_path / "tallygate.db")
    _, last = load_dump(lines, tmp_path / "new.db")
    ledger = await Machine(SqliteStore(tmp_path / "new.db")).start()
    found = [await ledger.find_claim(claim) for claim in (done, open_)]

    assert [claimed and (claimed.subject, claimed.picousd) for claimed in found] == [
        ("chatcmpl-1", cost),
        ("chatcmpl-2", None),
    ]
    assert last.claims == 2
    assert sum(b'"type":"claim"' in line for line in dump(tmp_path / "tallygate.db", with_keys=False)) == 0


async def test_claim_under_way_with_a_call_that_is_not_is_refused(path: Path, empty: Path) -> None:
    """A claim whose call has ended would keep the loaded store from opening; the dump is refused instead."""
    claim = {"type": "claim", "digest": b64encode(bytes(32)).decode(), "request": "", "created_ns": 1, "picousd": None}
    with pytest.raises(DamagedDumpError, match="under way with chatcmpl-1, which is not"):
        load_dump(edited(dump(path), lambda lines: lines.insert(1, claim | {"subject": "chatcmpl-1"})), empty)

    load_dump(edited(dump(path), lambda lines: lines.insert(1, claim | {"subject": "chatcmpl-4"})), empty)
    assert read_table(empty, "idempotency") == [(bytes(32), b"", "chatcmpl-4", 1, None)]


def test_keys_are_left_out_by_choice(path: Path, empty: Path) -> None:
    """Without keys, neither name, mask nor digest is in the dump; all else is."""
    lines = dump(path, with_keys=False)
    load_dump(lines, empty)

    assert b"laptop" not in b"".join(lines)
    assert b64encode(b"d" * 32) not in b"".join(lines)
    assert read_table(empty, "keys") == []
    assert read_table(empty, "entries") == read_table(path, "entries")


def test_store_is_dumped_while_it_is_used(tmp_path: Path) -> None:
    """A new and empty store that is open for writing gives a dump of nothing, which can be loaded."""
    journal = SqliteJournal(tmp_path / "tallygate.db", WRITER)
    journal.open()
    lines = dump(tmp_path / "tallygate.db")
    journal.close()
    _, end = load_dump(lines, tmp_path / "new.db")

    assert (len(lines), end.batches, end.entries) == (2, 0, 0)
    assert audit_file(tmp_path / "new.db").clean


def test_store_with_books_is_never_replaced(path: Path, tmp_path: Path) -> None:
    """A store in which something was written, and a file that is no store, are left as they are."""
    lines = dump(path)
    before = path.read_bytes()
    other = tmp_path / "other.db"
    other.write_text("something else")
    for there in (path, other):
        with pytest.raises(FileExistsError):
            load_dump(lines, there)

    assert (path.read_bytes(), other.read_text()) == (before, "something else")


def test_empty_store_makes_room(path: Path, empty: Path) -> None:
    """A store that was made and never written to is moved aside; one that a process has open is not."""
    journal = SqliteJournal(empty, bytes(16))
    with pytest.raises(StoreLockedError):
        load_dump(dump(path), empty)
    journal.close()
    load_dump(dump(path), empty)

    assert read_identity(empty) == read_identity(path)
    assert read_identity(empty.with_name("tallygate.db.replaced-1"))[0] == bytes(16)


def test_books_that_do_not_add_up_are_not_dumped(path: Path) -> None:
    """A dump of damaged books has no last line, and the first problem is told."""
    db = apsw.Connection(str(path))
    db.execute("UPDATE accounts SET available = available + 1 WHERE name = 'Ann'")
    db.close()
    lines: list[bytes] = []
    with pytest.raises(DamagedBooksError, match="the store has"):
        write_dump(path, lines.append, with_keys=True)
    assert b'"end"' not in b"".join(lines)

    db = apsw.Connection(str(path))
    db.execute("DROP TRIGGER entries_never_go")
    db.execute("DELETE FROM entries WHERE position = 5")
    db.close()
    with pytest.raises(DamagedBooksError, match="batch"):
        dump(path)


def test_only_a_store_is_dumped(tmp_path: Path) -> None:
    """A file that is none of ours is told."""
    (tmp_path / "x").write_text("x" * 4096)
    with pytest.raises(NotAStoreError):
        dump(tmp_path / "x")


def test_any_line_that_is_missing_is_noticed(path: Path, empty: Path) -> None:
    """Whichever line is left out, nothing is loaded, and some line is told."""
    lines = dump(path)
    for number in range(len(lines)):
        with pytest.raises(DamagedDumpError, match=r"line \d+: "):
            load_dump([*lines[:number], *lines[number + 1 :]], empty)
    if empty.parent.exists():
        assert_nothing_there(empty)


def test_any_line_that_comes_twice_is_noticed(path: Path, empty: Path) -> None:
    """Whichever line is repeated, the second one is told, or the last line counts otherwise."""
    lines = dump(path)
    for number in range(len(lines)):
        with pytest.raises(DamagedDumpError, match=r"line \d+: "):
            load_dump([*lines[: number + 1], *lines[number:]], empty)
    assert_nothing_there(empty)


def test_nothing_comes_after_the_last_line(path: Path, empty: Path) -> None:
    """What follows the last line is told."""
    lines = dump(path)
    with pytest.raises(DamagedDumpError, match=f"line {len(lines) + 1}: there is more after the last line"):
        load_dump([*lines, b"{}"], empty)
    assert_nothing_there(empty)


def test_any_cut_is_noticed(path: Path, empty: Path) -> None:
    """A dump that ends after any line, or within any, is not loaded; the line where it ends is told."""
    lines = dump(path)
    for number, line in enumerate(lines):
        for rest in ([], [line[: len(line) // 2]]):
            with pytest.raises(DamagedDumpError, match=rf"^line {number + 1}: "):
                load_dump([*lines[:number], *rest], empty)


def test_any_changed_byte_is_noticed(path: Path, empty: Path) -> None:
    """In every line a few bytes are changed, one at a time: nothing is ever loaded."""
    lines = dump(path)
    for number, line in enumerate(lines):
        for place in range(0, len(line) - 1, max(1, len(line) // 3)):
            changed = line[:place] + bytes([line[place] ^ 1]) + line[place + 1 :]
            with pytest.raises(DamagedDumpError, match=r"line \d+: "):
                load_dump([*lines[:number], changed, *lines[number + 1 :]], empty)


def first(lines: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """Return the first line of a type."""
    return next(line for line in lines if line["type"] == kind)


def swap_entries(lines: list[dict[str, Any]]) -> None:
    """Reorder the entries of the first batch that has more than one."""
    next(line for line in lines if line["type"] == "batch" and len(line["entries"]) > 1)["entries"].reverse()


def spoil_entry(lines: list[dict[str, Any]]) -> None:
    """Change a byte of an entry."""
    batch = first(lines, "batch")
    raw = bytearray(b64decode(batch["entries"][0]))
    raw[-1] ^= 1
    batch["entries"][0] = b64encode(raw).decode()


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda lines: lines[0].update(version=2), "line 1: this is a dump of version 2; this program reads 1"),
        (lambda lines: lines[0].update(writer="00"), "line 1: this names no writer"),
        (lambda lines: lines[0].update(writer="xx" * 16), "line 1: this names no writer"),
        (lambda lines: lines[0].update(epoch=-1), "line 1: this names no writer"),
        (lambda lines: lines[0].update(writer="00" * 16), "line 7: the batch was written by another writer"),
        (lambda lines: lines[0].update(epoch=0), "line 7: the batch was written by another writer or epoch"),
        (lambda lines: lines[0].update(more=1), "line 1: not a line of a dump: .*more"),
        (lambda lines: lines.pop(0), "line 1: a dump begins with"),
        (lambda lines: lines.insert(2, lines[0]), "line 3: another dump begins here"),
        (lambda lines: lines.insert(2, lines[1]), "line 3: .*UNIQUE"),
        (lambda lines: lines[1].update(created_ns=2**64), "line 2: "),
        (lambda lines: first(lines, "key").update(account="acct_x"), "line 4: there is no account acct_x"),
        (lambda lines: lines.pop(1), "line 3: there is no account|line 5: an entry's account is not in the store"),
        (swap_entries, r"line \d+: .* the entries do not have the sealed root"),
        (spoil_entry, "line 7: .* the entries do not have the sealed root"),
        (lambda lines: lines.pop(6), "line 7: .* does not follow the batch before it"),
        (lambda lines: lines.pop(-2), r"line \d+: the last line counts or names other batches"),
    ],
)  # fmt: skip
def test_dump_made_to_fit_is_refused_all_the_same(path: Path, empty: Path, edit: Edit, told: str) -> None:
    """Whoever changes a dump and its last line with it is found by the seals of the books, and the line is named."""
    with pytest.raises(DamagedDumpError, match=told):
        load_dump(edited(dump(path), edit), empty)
    if empty.parent.exists():
        assert_nothing_there(empty)


def test_name_that_was_changed_is_found_by_the_sum(path: Path, empty: Path) -> None:
    """A name is in no seal; the SHA-256 of the last line still finds that it is another."""
    lines = [line.replace(b'"Ann"', b'"Eve"') for line in dump(path)]
    with pytest.raises(DamagedDumpError, match="one of them was changed"):
        load_dump(lines, empty)


def test_end_counts_what_there_was(path: Path) -> None:
    """The last line has the numbers of accounts, keys, batches and entries."""
    lines: list[bytes] = []
    end: End = write_dump(path, lines.append, with_keys=True)
    report = audit_file(path)

    assert (end.accounts, end.keys, end.batches, end.entries) == (2, 3, report.batches, report.entries)
    assert len(lines) == 2 + 2 + 3 + report.batches
    assert end.sha256 == sha256(b"".join(lines[:-1])).hexdigest()
