"""The SQL that lies in files of its own."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import apsw
import pytest

import tallygate.storage
from tallygate.core.access import ApiKey
from tallygate.storage.journal import KeyRow, StoredAccount
from tallygate.storage.sql import MIGRATIONS, QUERIES, SCHEMA
from tallygate.storage.sqlite import SqliteJournal
from tallygate.storage.sqlite_file import APPLICATION_ID, SCHEMA_VERSION

VERSION_1 = Path(__file__).with_name("version_1.sql")


@pytest.fixture
def db() -> apsw.Connection:
    """An empty store."""
    db = apsw.Connection(":memory:")
    db.execute(SCHEMA)
    return db


@pytest.mark.parametrize("name", QUERIES)
def test_query_fits_the_schema(db: apsw.Connection, name: str) -> None:
    """Each query is understood by SQLite and names only what the schema has."""
    arguments = re.findall(r":(\w+)", QUERIES[name])
    db.execute(f"EXPLAIN {QUERIES[name]}", dict.fromkeys(arguments) if arguments else [None] * QUERIES[name].count("?"))


def test_every_query_is_used_and_every_used_one_is_there() -> None:
    """No query lies unused, and none is missing."""
    trees = [ast.parse(file.read_text()) for file in Path(tallygate.storage.__path__[0]).rglob("*.py")]
    used = {
        node.slice.value
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "QUERIES"
        if isinstance(node.slice, ast.Constant)
    }

    assert used == set(QUERIES)


def test_every_table_is_strict(db: apsw.Connection) -> None:
    """No table takes a value of another type: an overflow cannot become a REAL without a word."""
    tables = list(
        db.execute("SELECT name, strict FROM pragma_table_list WHERE schema = 'main' AND name NOT LIKE 'sqlite_%'")
    )

    kept = {"accounts", "open_holds", "keys", "idempotency", "events", "pending_notes", "tiles", "key_spending"}
    assert {name for name, _ in tables} == {"installation", "batches", "entries", *kept}
    assert all(strict for _, strict in tables)
    with pytest.raises(apsw.ConstraintError, match="REAL"):
        db.execute("INSERT INTO accounts VALUES ('a', 'Ann', 1, 9223372036854775807 + 1, 0, 0, 0, NULL)")


def test_older_store_becomes_like_a_new_one(tmp_path: Path) -> None:
    """A store of version 1 is brought up to date when it is opened, has then what a new one has, and keeps its rows."""
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    db = apsw.Connection(str(old))
    db.execute(VERSION_1.read_text())
    db.execute("INSERT INTO installation VALUES (1, zeroblob(16), 3, 0, zeroblob(32))")
    db.execute("INSERT INTO accounts VALUES ('acct_1', 'Ann', 1, 5, 0, 2)")
    db.execute("INSERT INTO keys VALUES ('key_1', 'acct_1', 'laptop', x'0102', 'tg-A…z', 2, NULL)")
    db.pragma("application_id", APPLICATION_ID)
    db.pragma("user_version", 1)
    db.close()
    for path in (old, new):
        journal = SqliteJournal(path, bytes(16))
        if path == old:
            contents = journal.open()
        journal.close()

    assert list(contents.accounts) == [StoredAccount("acct_1", "Ann", 1, 5, 0, 2)]
    assert list(contents.keys) == [KeyRow(ApiKey("key_1", "acct_1", "laptop", "tg-A…z", 2, None), b"\1\2")]
    shapes = []
    for path in (old, new):
        db = apsw.Connection(str(path))
        assert db.pragma("user_version") == SCHEMA_VERSION == max(MIGRATIONS)
        rows = db.execute("SELECT type, name, sql FROM sqlite_schema")
        shapes.append(sorted((kind, name, without_layout(sql)) for kind, name, sql in rows))
        db.close()
    assert shapes[0] == shapes[1]


def without_layout(sql: str | None) -> str:
    """Return a statement without its comments and white space: where a column was added, both are others."""
    return re.sub(r"\s+(?=[,)])", "", " ".join(re.sub(r"--.*", "", sql or "").split()))


def test_no_amount_is_summed_in_sql() -> None:
    """Neither schema nor queries add, subtract or multiply amounts, or sum them; only the epoch counts up."""
    text = re.sub(r"--.*", "", SCHEMA + "".join(QUERIES.values())).replace("COUNT(*)", "").replace("epoch + 1", "")
    text = re.sub(r"SELECT\s+\*", "", text)

    assert not re.search(r"\b(sum|total|avg)\s*\(|[+*/]|\s-\s", text, re.IGNORECASE)
