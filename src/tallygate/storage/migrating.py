"""How an older store is brought up to date: by the scripts in `sql/migrations`, and what no script can compute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tallygate.core.ledger.entry import decode_entry
from tallygate.core.ledger.spending import Recount
from tallygate.storage.sql import MIGRATIONS, QUERIES
from tallygate.storage.sqlite_file import APPLICATION_ID, spending_row

if TYPE_CHECKING:
    import apsw

SPENDING_VERSION: Final = 6
"""Of the first store that has what keys have spent."""


def migrate(db: apsw.Connection) -> None:
    """Bring an older store up to date, version by version, each step whole or not at all."""
    if db.pragma("application_id") != APPLICATION_ID:
        return
    for version, script in MIGRATIONS.items():
        if db.pragma("user_version") == version - 1:
            with db:
                db.execute(script)
                if version == SPENDING_VERSION:
                    _count_spending(db)
                db.pragma("user_version", version)


def _count_spending(db: apsw.Connection) -> None:
    """Fill the table of what keys have spent from all entries: once, a million of them takes some seconds."""
    recount = Recount()
    for _, _, raw in db.execute(QUERIES["entries_after"], (0,)):
        recount.take(decode_entry(raw))
    db.executemany(QUERIES["put_spending"], map(spending_row, recount.rows()))
