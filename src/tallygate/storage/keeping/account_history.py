"""One account's entries in the file of a store, found by their numbers and read in their order.

Only reads, through a connection of its own and as the store was at one moment, so it disturbs nobody who has the store
open. Nothing is kept in memory: a month of a million calls is read row by row.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tallygate.core.ledger.records import UnknownAccountError
from tallygate.core.ledger.statement import BooksDisagreeError, Period, missing
from tallygate.storage.journal import StoredAccount
from tallygate.storage.sql import QUERIES
from tallygate.storage.sqlite_file import open_for_reading, reading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import apsw


class SqliteHistory:
    """The entries of one account in a file."""

    def __init__(self, db: apsw.Connection, account: str, last: int) -> None:
        self._db = db
        self.account = account
        self.last = last

    def entry(self, number: int) -> bytes:
        """Return one entry."""
        for (raw,) in self._db.execute(QUERIES["entry_of_account"], (self.account, number)):
            return bytes(raw)
        raise missing(number)

    def entries(self, period: Period) -> Iterator[tuple[int, bytes]]:
        """Return the entries of a period with their numbers, in their order."""
        yield from self._db.execute(QUERIES["entries_of_account"], (self.account, *period))


@contextlib.contextmanager
def open_history(path: Path, account_id: str) -> Iterator[tuple[StoredAccount, SqliteHistory]]:
    """Lend an account of a store and its entries, whoever else has the store open.

    Raises:
        NotAStoreError: The file is no store of ours.
        UnknownAccountError: There is no such account.
        BooksDisagreeError: The account has other entries than the store says.
    """
    with reading(path), contextlib.closing(open_for_reading(path)) as db:
        db.execute("BEGIN")
        account = next((StoredAccount(*row) for row in db.execute(QUERIES["account"], (account_id,))), None)
        if account is None:
            raise UnknownAccountError(account_id)
        ((last,),) = db.execute(QUERIES["last_of_account"], (account_id,))
        if (last or 0) != account.sequence:
            raise BooksDisagreeError(f"the account has {last or 0} entries, the store says {account.sequence}")
        yield account, SqliteHistory(db, account_id, account.sequence)
