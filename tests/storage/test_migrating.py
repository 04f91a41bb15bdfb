"""A store of an older version is brought up to date in one step, with what no script can compute."""

from __future__ import annotations

from typing import TYPE_CHECKING

import apsw

from tallygate.storage.replay import audit_file
from tallygate.storage.sqlite import SqliteJournal
from tests.contract.world import WRITER
from tests.storage.filled import fill, read_table

if TYPE_CHECKING:
    from pathlib import Path


async def test_what_keys_have_spent_is_counted_once(tmp_path: Path) -> None:
    """A store from before there were spend limits gets from its entries what its keys have spent."""
    path = tmp_path / "tallygate.db"
    await fill(path)
    spent = read_table(path, "key_spending")
    db = apsw.Connection(str(path))
    db.execute("DROP TABLE key_spending")
    db.pragma("user_version", 5)
    db.close()
    SqliteJournal(path, WRITER).close()

    assert len(spent) == 2
    assert read_table(path, "key_spending") == spent
    assert audit_file(path).clean
