"""Past calls from the file of a store: a connection of its own for every look, which only reads."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tallygate.core.ledger.records import UnknownAccountError
from tallygate.core.ledger.statement import missing
from tallygate.storage.sql import QUERIES
from tallygate.storage.sqlite_file import open_for_reading, reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import apsw

    from tallygate.core.ledger.statement import Period


class SqlitePast:
    """What is durable in a store's file.

    Args:
        path: The database file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextlib.contextmanager
    def look(self, account: str | None) -> Iterator[SqliteShelf]:
        """Lend the entries of an account, or all of them."""
        with reading(self._path), contextlib.closing(open_for_reading(self._path)) as db:
            db.execute("BEGIN")
            if account is None:
                yield SqliteShelf(db)
                return
            if next(db.execute(QUERIES["account"], (account,)), None) is None:
                raise UnknownAccountError(account)
            yield AccountShelf(db, account)


class SqliteShelf:
    """All entries, by their positions."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        ((self.last, _),) = db.execute(QUERIES["ends"])

    def entry(self, number: int) -> bytes:
        """Return one entry."""
        return _read_one(self._db, QUERIES["entry_at"], number)

    def billing(self, period: Period) -> Iterator[bytes]:
        """Return the entries of a period that can charge or bill something."""
        return (raw for (raw,) in self._db.execute(QUERIES["billing_of_span"], period))

    def holds(self, period: Period, count_max: int) -> Sequence[tuple[int, bytes]]:
        """Return the last holds of a period, newest first."""
        return list(self._db.execute(QUERIES["last_holds_of_span"], (*period, count_max)))

    def open_holds(self, period: Period) -> Sequence[tuple[int, bytes]]:
        """Return the holds of a period that nothing has ended, newest first."""
        return list(self._db.execute(QUERIES["open_holds_of_span"], period))

    def inference(self, inference: str) -> Sequence[bytes]:
        """Return all entries of an inference."""
        return [raw for _, _, raw in self._db.execute(QUERIES["entries_of_inference"], (inference,))]


class AccountShelf(SqliteShelf):
    """The entries of one account, by their numbers in it."""

    def __init__(self, db: apsw.Connection, account: str) -> None:
        super().__init__(db)
        self._account = account
        ((last,),) = db.execute(QUERIES["last_of_account"], (account,))
        self.last = last or 0

    def entry(self, number: int) -> bytes:
        """Return one entry."""
        return _read_one(self._db, QUERIES["entry_of_account"], self._account, number)

    def billing(self, period: Period) -> Iterator[bytes]:
        """Return the entries of a period that can charge or bill something."""
        return (raw for (raw,) in self._db.execute(QUERIES["billing_of_account"], (self._account, *period)))

    def holds(self, period: Period, count_max: int) -> Sequence[tuple[int, bytes]]:
        """Return the last holds of a period, newest first."""
        return list(self._db.execute(QUERIES["last_holds_of_account"], (self._account, *period, count_max)))

    def open_holds(self, period: Period) -> Sequence[tuple[int, bytes]]:
        """Return the holds of a period that nothing has ended, newest first."""
        return list(self._db.execute(QUERIES["open_holds_of_account"], (self._account, *period)))


def _read_one(db: apsw.Connection, query: str, *place: str | int) -> bytes:
    for (raw,) in db.execute(query, place):
        return bytes(raw)
    raise missing(int(place[-1]))
