"""One account's entries, read from the file of a store and from memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import apsw
import pytest

from tallygate.core.ledger.entry import decode_entry
from tallygate.core.ledger.records import UnknownAccountError
from tallygate.core.ledger.statement import BooksDisagreeError, Period
from tallygate.storage.keeping.account_history import open_history
from tests.contract.world import Machine, MemoryStore, SqliteStore, fund, serve

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("kind", ["sqlite", "memory"])
async def test_history_has_the_entries_of_one_account_in_their_order(tmp_path: Path, kind: str) -> None:
    """Numbers, single entries and periods are those of the account alone, while the store is open for writing."""
    machine = Machine(SqliteStore(tmp_path / "tallygate.db") if kind == "sqlite" else MemoryStore())
    ledger = await machine.start()
    ann, bob = await fund(ledger), await fund(ledger)
    await serve(ledger, ann, "chatcmpl-1")
    await serve(ledger, bob, "chatcmpl-2")
    await serve(ledger, ann, "chatcmpl-3")
    with ledger._journal.history(ann.id) as (account, history):
        found = list(history.entries(Period(1, 5)))
        assert (account.id, account.available, history.account, history.last) == (ann.id, ann.available, ann.id, 6)
        assert [number for number, _ in found] == [2, 3, 4, 5]
        assert [history.entry(number) for number, _ in found] == [raw for _, raw in found]
        assert [decode_entry(raw).account_sequence for _, raw in found] == [2, 3, 4, 5]
        assert {decode_entry(raw).account for _, raw in found} == {ann.id}
    with pytest.raises(UnknownAccountError), ledger._journal.history("acct_x"):
        raise AssertionError
    await machine.stop()


async def test_history_that_is_not_what_the_store_says_is_told(tmp_path: Path) -> None:
    """Where the account's last entries are gone, or one in between, the store's own count finds it."""
    path = tmp_path / "tallygate.db"
    machine = Machine(SqliteStore(path))
    account = await fund(await machine.start())
    await machine.stop()
    db = apsw.Connection(str(path))
    db.execute("DROP TRIGGER entries_never_go")
    db.execute("DELETE FROM entries WHERE account_sequence = 1")
    with (
        open_history(path, account.id) as (_, history),
        pytest.raises(BooksDisagreeError, match="entry 1 of the account is missing"),
    ):
        history.entry(1)
    db.execute("DELETE FROM entries WHERE account_sequence = 2")
    db.close()

    with pytest.raises(BooksDisagreeError, match="has 0 entries, the store says 2"), open_history(path, account.id):
        raise AssertionError
